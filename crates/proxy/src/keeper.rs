//! Keeps the certificates that are served: read when a table names them, and again when their
//! files change. One that cannot be read any more is served as it was.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::CertificateFiles;
use rustls::ServerConfig;
use tls::{Certificate, Certificates, Stamp, Tickets};

use crate::secure::PROTOCOLS;

/// How often the files are looked at.
pub(crate) const LOOK: Duration = Duration::from_secs(2);

/// The certificates of the table in force.
#[derive(Debug)]
pub(crate) struct Keeper {
    tickets: Arc<Tickets>,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// In the table's order.
    files: Vec<CertificateFiles>,
    loaded: BTreeMap<CertificateFiles, Loaded>,
    config: Option<Arc<ServerConfig>>,
}

#[derive(Debug)]
struct Loaded {
    stamp: Stamp,
    /// The last one that could be read.
    certificate: Option<Certificate>,
}

impl Keeper {
    pub(crate) fn new(tickets: Tickets) -> Self {
        Self {
            tickets: Arc::new(tickets),
            kept: Mutex::default(),
        }
    }

    /// Follows a table. Returns what connections are secured with from now on; `None`: no TLS.
    pub(crate) fn follow(&self, files: &[CertificateFiles]) -> Option<Arc<ServerConfig>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let differs = kept.files != files;
        if differs {
            kept.files = files.to_vec();
            kept.loaded.retain(|own, _| files.contains(own));
        }
        if kept.load_changed() || differs {
            kept.config = kept.config(&self.tickets);
        }
        kept.config.clone()
    }

    /// Looks whether files have changed. `Some`: connections are secured with this instead.
    pub(crate) fn look(&self) -> Option<Arc<ServerConfig>> {
        if let Err(error) = self.tickets.renew() {
            tracing::warn!(%error, "the keys of session tickets cannot be renewed");
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if !kept.load_changed() {
            return None;
        }
        kept.config = kept.config(&self.tickets);
        kept.config.clone()
    }
}

impl Kept {
    /// Reads what has changed since it was read last. True if there was anything.
    fn load_changed(&mut self) -> bool {
        let mut changed = false;
        for files in &self.files {
            let stamp = Stamp::of(files);
            if self.loaded.get(files).is_some_and(|own| own.stamp == stamp) {
                continue;
            }
            let before = self.loaded.remove(files).and_then(|own| own.certificate);
            let certificate = match tls::load(files) {
                Ok(certificate) => {
                    changed = true;
                    Some(certificate)
                }
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    let is_served = before.is_some();
                    tracing::error!(error, is_served, "a certificate cannot be read");
                    before
                }
            };
            let loaded = Loaded { stamp, certificate };
            self.loaded.insert(files.clone(), loaded);
        }
        changed
    }

    fn config(&self, tickets: &Arc<Tickets>) -> Option<Arc<ServerConfig>> {
        let loaded = self.files.iter().filter_map(|files| self.loaded.get(files));
        let certificates: Vec<Certificate> = loaded
            .filter_map(|loaded| loaded.certificate.clone())
            .collect();
        if certificates.is_empty() {
            return None;
        }
        match tls::server(
            Arc::new(Certificates::new(certificates)),
            tickets,
            PROTOCOLS,
        ) {
            Ok(config) => Some(Arc::new(config)),
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::error!(error, "connections cannot be secured");
                self.config.clone()
            }
        }
    }
}
