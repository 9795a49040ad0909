//! What a connection to an endpoint is made of: a socket, or one that was secured.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use model::Protocol;
use tls::Trust;
use tokio::io::{AsyncBufRead as _, AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::stream::Stream;

/// A connection to an endpoint.
#[derive(Debug)]
pub(crate) enum Wire {
    /// In the clear.
    Plain(TcpStream),
    /// Over TLS.
    Secured(Box<Secured>),
}

/// A connection whose other end has proven who it is.
#[derive(Debug)]
pub(crate) struct Secured {
    stream: TlsStream<TcpStream>,
    /// By what.
    trust: Arc<Trust>,
}

/// Why a connection is not secured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotSecured {
    /// The handshake failed.
    #[error("the handshake failed")]
    Handshake(#[from] io::Error),
    /// The program speaks something else.
    #[error("the program agreed to speak another protocol")]
    Protocol,
}

/// Secures a connection to a program that speaks `protocol`.
///
/// # Errors
///
/// [`NotSecured`] when the program does not prove what it must, or speaks something else.
pub(crate) async fn secure(
    stream: TcpStream,
    (trust, protocol): (Arc<Trust>, Protocol),
) -> Result<Wire, NotSecured> {
    let connector = TlsConnector::from(trust.config(protocol));
    let stream = connector.connect(trust.name(), stream).await?;
    if !Trust::is_agreed(protocol, stream.get_ref().1.alpn_protocol()) {
        return Err(NotSecured::Protocol);
    }
    Ok(Wire::Secured(Box::new(Secured { stream, trust })))
}

/// True if both are the same, not only equal: what was proven to one holds for the other.
pub(crate) fn is_same(one: Option<&Arc<Trust>>, other: Option<&Arc<Trust>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

impl Wire {
    /// By what its other end has proven who it is; `None`: it did not have to.
    pub(crate) fn trust(&self) -> Option<&Arc<Trust>> {
        match self {
            Self::Plain(_) => None,
            Self::Secured(secured) => Some(&secured.trust),
        }
    }

    /// The socket.
    pub(crate) fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Secured(secured) => secured.stream.get_ref().0,
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, room),
            Self::Secured(secured) => Pin::new(&mut secured.stream).poll_read(context, room),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Secured(secured) => Pin::new(&mut secured.stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(context, parts),
            Self::Secured(secured) => {
                Pin::new(&mut secured.stream).poll_write_vectored(context, parts)
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Secured(secured) => Pin::new(&mut secured.stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Secured(secured) => Pin::new(&mut secured.stream).poll_shutdown(context),
        }
    }
}

impl Stream for Wire {
    fn poll_read_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => Stream::poll_read_ready(stream, context),
            // Tickets and the like come at any time, and are nothing to read.
            Self::Secured(secured) => Pin::new(&mut secured.stream)
                .poll_fill_buf(context)
                .map_ok(|_| ()),
        }
    }

    fn poll_goodbye(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Plain(stream) => stream.poll_goodbye(context),
            Self::Secured(secured) => Pin::new(&mut secured.stream)
                .poll_shutdown(context)
                .map(drop),
        }
    }

    fn abort(&mut self) {
        match self {
            Self::Plain(stream) => stream.abort(),
            Self::Secured(secured) => secured.stream.get_mut().0.abort(),
        }
    }
}
