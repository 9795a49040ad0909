//! The program over TLS.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use super::Speech;

/// What the program identifies itself with: files in PEM form.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Its certificate, then what leads to an authority.
    pub cert: PathBuf,
    /// The certificate's key.
    pub key: PathBuf,
}

/// Reads the files.
///
/// # Errors
///
/// When they cannot be read or used.
pub(super) fn acceptor(identity: &Identity, speech: Speech) -> io::Result<TlsAcceptor> {
    let chain = CertificateDer::pem_file_iter(&identity.cert).map_err(io::Error::other)?;
    let chain: Result<Vec<_>, _> = chain.collect();
    let key = PrivateKeyDer::from_pem_file(&identity.key).map_err(io::Error::other)?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(chain.map_err(io::Error::other)?, key)
        .map_err(io::Error::other)?;
    config.alpn_protocols = match speech {
        Speech::Http => vec![b"http/1.1".to_vec()],
        Speech::H2c => vec![b"h2".to_vec()],
        Speech::Tcp => Vec::new(),
    };
    Ok(TlsAcceptor::from(Arc::new(config)))
}
