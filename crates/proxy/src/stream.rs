//! What a client's connection is made of: a socket, or something that behaves like one.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustix::event::{PollFd, PollFlags, Timespec};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Bytes from and to a client. Everything that serves requests is written for any of them and
/// compiled for each, so that a plain socket pays nothing for the others.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin {
    /// The protocol spoken, where it is not the one that a request's head names.
    const PROTOCOL: Option<&'static str> = None;

    /// Whether a client may be sent an interim response, to find out if it is there.
    const IS_ASKABLE: bool = true;

    /// Ready once a read would bring bytes, the end or an error.
    fn poll_read_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// True if it is open and nothing has come that the runtime does not know of yet.
    fn is_quiet(&self) -> bool {
        true
    }

    /// True if it failed, or the other side has reset it.
    fn is_broken(&self) -> bool {
        false
    }

    /// Says that no more will be written, where the closing of the socket alone does not.
    fn poll_goodbye(&mut self, context: &mut Context<'_>) -> Poll<()>;

    /// True if the other side has ended, though not all that it sent was read.
    fn is_hung_up(&self) -> bool {
        false
    }

    /// Makes sure that the other side cannot take what it has for a whole message.
    fn abort(&mut self);
}

impl Stream for TcpStream {
    fn poll_read_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        TcpStream::poll_read_ready(self, context)
    }

    fn is_quiet(&self) -> bool {
        crate::pool::is_surely_open(self)
    }

    fn is_broken(&self) -> bool {
        self.take_error().map_or(true, |error| error.is_some())
    }

    fn is_hung_up(&self) -> bool {
        let mut asked = [PollFd::new(self, PollFlags::RDHUP)];
        let told = rustix::event::poll(&mut asked, Some(&Timespec::default()));
        told.is_ok() && !asked[0].revents().is_empty()
    }

    fn poll_goodbye(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    fn abort(&mut self) {
        // If the kernel refuses, the missing end of the message says the same.
        let _ = self.set_zero_linger();
    }
}

/// A client's socket whose bytes mean nothing to us.
#[derive(Debug)]
pub(crate) struct Opaque(pub(crate) TcpStream);

impl Stream for Opaque {
    const PROTOCOL: Option<&'static str> = Some("TCP");
    const IS_ASKABLE: bool = false;

    fn poll_read_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_read_ready(context)
    }

    fn is_quiet(&self) -> bool {
        self.0.is_quiet()
    }

    fn is_broken(&self) -> bool {
        self.0.is_broken()
    }

    fn is_hung_up(&self) -> bool {
        self.0.is_hung_up()
    }

    fn poll_goodbye(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.0.poll_goodbye(context)
    }

    fn abort(&mut self) {
        self.0.abort();
    }
}

impl AsyncRead for Opaque {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_read(context, room)
    }
}

impl AsyncWrite for Opaque {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(context)
    }
}
