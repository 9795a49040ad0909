//! The connection that a question is asked on.

use std::net::SocketAddr;
use std::sync::Arc;

use model::Protocol;
use tls::Trust;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::Failure;

/// Bytes both ways, in the clear or not.
pub(super) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// Whom a question is put to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) address: SocketAddr,
    pub(super) protocol: Protocol,
    pub(super) trust: Option<&'a Arc<Trust>>,
}

impl Asked<'_> {
    /// What its URLs begin with.
    pub(super) fn scheme(&self) -> &'static str {
        match self.protocol.is_secured() {
            true => "https",
            false => "http",
        }
    }

    /// Connects in what the instance speaks.
    pub(super) async fn connect(&self) -> Result<Box<dyn Wire>, Failure> {
        let address = self.address;
        let stream = TcpStream::connect(address)
            .await
            .map_err(|error| Failure::because(format!("cannot connect to {address}: {error}")))?;
        if !self.protocol.is_secured() {
            return Ok(Box::new(stream));
        }
        let Some(trust) = self.trust else {
            return Err(Failure::because("nothing says what it must prove over TLS"));
        };
        let connector = TlsConnector::from(trust.config(self.protocol));
        let secured = connector.connect(trust.name(), stream).await;
        let secured = secured.map_err(|error| {
            let name = trust.name();
            let name = name.to_str();
            Failure::because(format!(
                "{address} does not prove over TLS to be `{name}`: {error}"
            ))
        })?;
        let said = secured.get_ref().1.alpn_protocol();
        if !Trust::is_agreed(self.protocol, said) {
            let said = said.unwrap_or(b"nothing");
            let said = String::from_utf8_lossy(said).escape_debug().to_string();
            let reason = format!("{address} agreed over TLS to speak {said}, not what it should");
            return Err(Failure::because(reason));
        }
        Ok(Box::new(secured))
    }
}
