//! Which certificate a client gets: by the name it asks for.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::certificate::Certificate;

/// Certificates by name. The first one is for clients that name none, or an unknown one.
#[derive(Debug, Default)]
pub struct Certificates {
    all: Vec<Certificate>,
    /// The certificates of each name as it stands in them, in their order.
    by_name: BTreeMap<String, Vec<usize>>,
}

impl Certificates {
    /// Certificates in the order of the configuration.
    #[must_use]
    pub fn new(all: Vec<Certificate>) -> Self {
        let mut by_name: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (at, certificate) in all.iter().enumerate() {
            for name in &certificate.names {
                by_name.entry(name.clone()).or_default().push(at);
            }
        }
        Self { all, by_name }
    }

    /// True if there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The certificate for a name in lower case: one with exactly it, else a wildcard, else the
    /// first; of several equal ones the first that `fits`.
    #[must_use]
    pub fn choose(
        &self,
        name: Option<&str>,
        fits: impl Fn(&Certificate) -> bool,
    ) -> Option<&Certificate> {
        let first = |places: Option<&Vec<usize>>| {
            let mut found = places?.iter().map(|&at| &self.all[at]);
            found.find(|certificate| fits(certificate))
        };
        let exact = name.and_then(|name| first(self.by_name.get(name)));
        let wild = || {
            let (_, domain) = name?.split_once('.')?;
            first(self.by_name.get(&format!("*.{domain}")))
        };
        exact
            .or_else(wild)
            .or_else(|| self.all.iter().find(|certificate| fits(certificate)))
            .or_else(|| self.all.first())
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let schemes = hello.signature_schemes();
        let fits = |one: &Certificate| one.key.key.choose_scheme(schemes).is_some();
        let chosen = self.choose(hello.server_name(), fits)?;
        Some(Arc::clone(&chosen.key))
    }
}
