//! How clients' connections are secured.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::{NoServerSessionStorage, ProducesTickets, ResolvesServerCert};

use crate::clients::Clients;
use crate::ticket::Tickets;

/// Why a configuration cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The library refuses it.
    #[error("TLS cannot be set up")]
    Refused(#[from] rustls::Error),
}

/// TLS 1.2 and 1.3 with these certificates; `protocols` are offered by ALPN, the preferred
/// first. Sessions are resumed by tickets alone, which every worker can read; where clients
/// identify themselves, not at all: each handshake looks at their certificates anew.
///
/// # Errors
///
/// [`ConfigError`] when the library refuses.
pub fn server(
    certificates: Arc<dyn ResolvesServerCert>,
    tickets: &Arc<Tickets>,
    protocols: &[&[u8]],
    clients: Option<&Clients>,
) -> Result<ServerConfig, ConfigError> {
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?;
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(clients) => builder.with_client_cert_verifier(Arc::clone(&clients.verifier)),
    };
    let mut config = builder.with_cert_resolver(certificates);
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    if clients.is_none() {
        config.ticketer = Arc::clone(tickets) as Arc<dyn ProducesTickets>;
        config.send_tls13_tickets = 1;
    } else {
        config.send_tls13_tickets = 0;
    }
    Ok(config)
}
