//! Whether a client is still there while it waits for its response.
//!
//! A client may end its side of the connection once its request is whole, and wait for the
//! response: `nc -N` does. One that closes both sides looks the same to us until something is
//! sent to it, when its machine answers with a reset. So whoever ends its side while it waits
//! is sent an interim response, which every client of HTTP/1.1 skips (RFC 9110, 15.2.1): if it
//! has left, its place is free after a round trip, and its endpoint need not work for nobody.
//! Within a response there is nothing that may be sent: the response itself shows it, or the
//! kernel's own question after a minute.

use std::pin::Pin;
use std::task::{Context, Poll};

use http1::Version;

use crate::buffer::Fill;
use crate::client::Client;
use crate::flow::Flow;
use crate::stream::Stream;

/// How much is kept of what a client sends while nobody asks for it.
const KEPT_BYTES_MAX: usize = 16 * 1024;
const INTERIM: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The client's side of its connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Side {
    /// More can come from it.
    #[default]
    Open,
    /// It has ended.
    Ended,
    /// It has ended, and was sent something that only a client that is there leaves unanswered.
    Asked,
}

/// Whether an interim response may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asking {
    Allowed,
    Forbidden,
    /// It would not be understood: who has said nothing before its end is taken to be gone.
    Futile,
}

impl Asking {
    /// Before the final response begins.
    pub(crate) fn before_response<S: Stream>(client: Version) -> Self {
        match client {
            Version::Http11 if S::IS_ASKABLE => Self::Allowed,
            Version::Http11 | Version::Http10 => Self::Forbidden,
        }
    }

    /// While there is no endpoint.
    pub(crate) fn before_endpoint<S: Stream>(client: Version) -> Self {
        if S::IS_ASKABLE {
            Self::before_response::<S>(client)
        } else {
            Self::Futile
        }
    }
}

impl<S: Stream> Client<S> {
    /// Ready once the client has left; keeps what it sends meanwhile, up to a bound.
    pub(crate) fn poll_gone(
        &mut self,
        context: &mut Context<'_>,
        up: &mut Flow,
        asking: Asking,
    ) -> Poll<()> {
        while self.side == Side::Open {
            if up.input.len() >= KEPT_BYTES_MAX {
                // Nobody tells when it ends: whoever waits is woken now and then.
                if !self.stream.is_hung_up() {
                    return Poll::Pending;
                }
                self.note_ended();
                break;
            }
            match up
                .input
                .poll_fill(context, &mut self.stream, &self.thread.blocks)
            {
                Poll::Ready(Ok(Fill::Bytes)) => {}
                Poll::Ready(Ok(Fill::Full)) | Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(Fill::End)) if asking == Asking::Futile && up.input.is_empty() => {
                    return Poll::Ready(());
                }
                Poll::Ready(Ok(Fill::End)) if up.is_body_there() => {
                    self.note_ended();
                }
                Poll::Ready(Ok(Fill::End) | Err(_)) => return Poll::Ready(()),
            }
        }
        if self.stream.is_broken() {
            return Poll::Ready(());
        }
        match (self.side, asking) {
            (Side::Ended, Asking::Allowed) => self.ask(context),
            (Side::Open | Side::Asked, _) | (Side::Ended, Asking::Forbidden | Asking::Futile) => {
                Poll::Pending
            }
        }
    }

    fn note_ended(&mut self) {
        self.side = Side::Ended;
        // From here on the runtime has nothing to tell.
        self.watch.wake_each_tick();
    }

    fn ask(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.side = Side::Asked;
        match Pin::new(&mut self.stream).poll_write(context, INTERIM) {
            Poll::Ready(Ok(written)) if written == INTERIM.len() => {
                // A stream that has it in hand sends it with the response at the latest.
                let _ = Pin::new(&mut self.stream).poll_flush(context);
                Poll::Pending
            }
            Poll::Pending => Poll::Pending,
            // A part of it would be taken for the response's beginning.
            Poll::Ready(_) => Poll::Ready(()),
        }
    }
}
