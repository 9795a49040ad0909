//! What comes on a stream of HTTP/2, as bytes of HTTP/1.1.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use h2::RecvStream;
use tokio::io::ReadBuf;

use super::head;
use super::messages::Messages;

/// What comes after what was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// Another head is still to come.
    Head,
    /// As many bytes as the head says, or all until the end.
    Raw,
    Chunked,
    /// Bytes, once the tunnel stands.
    Tunnel,
    /// The message has ended.
    Over,
    /// The tunnel's other side has ended.
    End,
}

/// The side of a stream that is read.
#[derive(Debug)]
pub(super) struct Inbound {
    body: Option<RecvStream>,
    pub(super) kind: Source,
    /// Framing to be read before `data`.
    framing: Vec<u8>,
    framing_read: usize,
    data: Bytes,
    /// The messages of gRPC, if these are some.
    messages: Option<Messages>,
}

impl Inbound {
    /// Begins with `framing`, a message's head, which `body` follows as `kind` says.
    pub(super) fn new(framing: Vec<u8>, body: Option<RecvStream>, kind: Source) -> Self {
        Self {
            body,
            kind,
            framing,
            framing_read: 0,
            data: Bytes::new(),
            messages: None,
        }
    }

    /// Notes that the body holds messages of gRPC.
    pub(super) fn follow_messages(&mut self) {
        self.messages = Some(Messages::default());
    }

    /// How many of gRPC's messages were read; `None` within one, or if there are none at all.
    pub(super) fn messages(&self) -> Option<u64> {
        let messages = self.messages.as_ref().filter(|_| self.is_empty())?;
        messages.whole()
    }

    /// True if there is nothing to read before more has come.
    pub(super) fn is_empty(&self) -> bool {
        self.framing_read == self.framing.len() && self.data.is_empty()
    }

    /// Puts a head before what comes.
    pub(super) fn set_framing(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.framing.clear();
        self.framing_read = 0;
        write(&mut self.framing);
    }

    /// What follows the last head.
    pub(super) fn begin_body(&mut self, body: RecvStream, kind: Source) {
        self.body = Some(body);
        self.kind = kind;
    }

    /// Waits for more of the body.
    pub(super) fn poll_data(&mut self, context: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        let Some(body) = &mut self.body else {
            self.kind = Source::Over;
            return Poll::Ready(Ok(()));
        };
        match ready!(body.poll_data(context)) {
            Some(Ok(data)) => {
                if self.kind == Source::Chunked && !data.is_empty() {
                    let size = format!("{:x}\r\n", data.len());
                    self.set_framing(|out| out.extend_from_slice(size.as_bytes()));
                }
                if let Some(messages) = &mut self.messages {
                    messages.follow(&data);
                }
                self.data = data;
            }
            Some(Err(error)) => return Poll::Ready(Err(error)),
            None => self.kind = ready!(self.poll_end(context))?,
        }
        Poll::Ready(Ok(()))
    }

    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<Result<Source, h2::Error>> {
        match (self.kind, &mut self.body) {
            (Source::Tunnel | Source::End, _) => Poll::Ready(Ok(Source::End)),
            (Source::Chunked, Some(body)) => {
                let trailers = ready!(body.poll_trailers(context))?;
                self.set_framing(|out| {
                    out.extend_from_slice(b"0\r\n");
                    head::write_trailers(trailers.as_ref(), out);
                });
                Poll::Ready(Ok(Source::Over))
            }
            (Source::Head | Source::Raw | Source::Over | Source::Chunked, _) => {
                Poll::Ready(Ok(Source::Over))
            }
        }
    }

    /// Gives out what is there.
    pub(super) fn read(&mut self, room: &mut ReadBuf<'_>) {
        let framing = &self.framing[self.framing_read..];
        let count = framing.len().min(room.remaining());
        room.put_slice(&framing[..count]);
        self.framing_read += count;
        let count = self.data.len().min(room.remaining());
        if count == 0 {
            return;
        }
        room.put_slice(&self.data[..count]);
        self.data.advance(count);
        // What was read makes room for more; a stream that is gone needs none.
        let body = self.body.as_mut();
        let _ = body.map(|body| body.flow_control().release_capacity(count));
        if self.data.is_empty() && self.kind == Source::Chunked {
            self.set_framing(|out| out.extend_from_slice(b"\r\n"));
        }
    }
}

/// An end that the other side, or its connection, has made.
pub(super) fn broken<E>(_: E) -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}
