//! How connections to programs are secured: what a program must prove, and what it is shown.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use model::{ProgramTls, Protocol};
use rustls::ClientConfig;
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;

use crate::certificate::{LoadError, Stamp, authorities, chain, load};
use crate::pin::Pinned;

/// What the protocols are called in a handshake.
const HTTP1: &[u8] = b"http/1.1";
const HTTP2: &[u8] = b"h2";
/// How many are kept at a time: as many as anybody configures.
const KEPT_MAX: usize = 1_000;

/// What is needed to connect to a program that speaks TLS.
#[derive(Debug)]
pub struct Trust {
    name: ServerName<'static>,
    http1: Arc<ClientConfig>,
    http2: Arc<ClientConfig>,
}

impl Trust {
    /// Reads the files that `wanted` names.
    ///
    /// # Errors
    ///
    /// The [`LoadError`] says which file is at fault; nothing of a key is in it.
    pub fn load(wanted: &ProgramTls) -> Result<Self, LoadError> {
        let unusable = |reason: String| LoadError::Unusable {
            path: wanted.ca.clone().into(),
            reason,
        };
        let path = Path::new(&wanted.ca);
        let provider = Arc::new(ring::default_provider());
        let paths = WebPkiServerVerifier::builder_with_provider(
            Arc::new(authorities(path)?),
            Arc::clone(&provider),
        );
        let pinned = Pinned {
            paths: paths.build().map_err(|error| unusable(error.to_string()))?,
            named: chain(path)?,
        };
        let name = ServerName::try_from(wanted.name.clone());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(pinned));
        let config = match &wanted.certificate {
            None => builder.with_no_client_auth(),
            Some(files) => {
                let shown = SingleCertAndKey::from(load(files)?.key);
                builder.with_client_cert_resolver(Arc::new(shown))
            }
        };
        let speaking = |protocol: &[u8]| {
            let mut config = config.clone();
            config.alpn_protocols = vec![protocol.to_vec()];
            Arc::new(config)
        };
        Ok(Self {
            name: name.map_err(|error| unusable(error.to_string()))?,
            http1: speaking(HTTP1),
            http2: speaking(HTTP2),
        })
    }

    /// The name that the program's certificate must be for.
    #[must_use]
    pub fn name(&self) -> ServerName<'static> {
        self.name.clone()
    }

    /// How a connection to a program that speaks `protocol` is secured.
    #[must_use]
    pub fn config(&self, protocol: Protocol) -> Arc<ClientConfig> {
        Arc::clone(match protocol.is_http2() {
            true => &self.http2,
            false => &self.http1,
        })
    }

    /// True if a program has agreed to speak `protocol`. One that says nothing speaks HTTP/1.1.
    #[must_use]
    pub fn is_agreed(protocol: Protocol, said: Option<&[u8]>) -> bool {
        match said {
            Some(said) => said == if protocol.is_http2() { HTTP2 } else { HTTP1 },
            None => !protocol.is_http2(),
        }
    }
}

/// What programs must prove, read again when its files change.
#[derive(Debug, Default)]
pub struct Trusts(BTreeMap<ProgramTls, Kept>);

#[derive(Debug)]
struct Kept {
    stamp: Stamp,
    trust: Arc<Trust>,
}

impl Trusts {
    /// What `wanted` says, from its files as they are now. The same as before, and not only
    /// equal to it, as long as they have not changed; also if they have and cannot be read
    /// any more, which is logged.
    ///
    /// # Errors
    ///
    /// [`LoadError`] when they never could be read.
    pub fn read(&mut self, wanted: &ProgramTls) -> Result<Arc<Trust>, LoadError> {
        let stamp = stamp(wanted);
        let kept = self.0.get_mut(wanted);
        if let Some(kept) = kept.as_ref().filter(|kept| kept.stamp == stamp) {
            return Ok(Arc::clone(&kept.trust));
        }
        match (Trust::load(wanted), kept) {
            (Ok(trust), _) => {
                let trust = Arc::new(trust);
                if self.0.len() >= KEPT_MAX {
                    self.0.clear();
                }
                let kept = Kept {
                    stamp,
                    trust: Arc::clone(&trust),
                };
                self.0.insert(wanted.clone(), kept);
                Ok(trust)
            }
            (Err(error), Some(kept)) => {
                let error: &dyn std::error::Error = &error;
                tracing::error!(error, "what programs must prove cannot be read");
                kept.stamp = stamp;
                Ok(Arc::clone(&kept.trust))
            }
            (Err(error), None) => Err(error),
        }
    }
}

fn stamp(wanted: &ProgramTls) -> Stamp {
    let shown = wanted.certificate.iter();
    let shown = shown.flat_map(|files| [&files.cert, &files.key]);
    Stamp::of_paths(std::iter::once(&wanted.ca).chain(shown))
}
