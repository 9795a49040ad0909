//! A body in HTTP/1.1's framing, sent on a stream of HTTP/2.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http1::{BodyReader, Framing, SegmentKind};

use super::head;
use super::inbound::broken;

/// The most of a body that is taken at a time.
const TAKEN_BYTES_MAX: usize = 16 * 1024;

/// The side of a stream that is written, after its head.
#[derive(Debug)]
pub(super) struct Outbound {
    stage: Stage,
    /// Part of the body that was taken and not sent.
    data: Bytes,
}

#[derive(Debug)]
enum Stage {
    Body(SendStream<Bytes>, BodyReader),
    Tunnel(SendStream<Bytes>),
    /// The stream's end was sent.
    Over,
}

impl Outbound {
    /// A body that comes as `framing` says.
    pub(super) fn body(send: SendStream<Bytes>, framing: Framing) -> Self {
        Self::at(Stage::Body(send, BodyReader::new(framing)))
    }

    /// Bytes as they come.
    pub(super) fn tunnel(send: SendStream<Bytes>) -> Self {
        Self::at(Stage::Tunnel(send))
    }

    /// Nothing more.
    pub(super) fn over() -> Self {
        Self::at(Stage::Over)
    }

    fn at(stage: Stage) -> Self {
        Self {
            stage,
            data: Bytes::new(),
        }
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over)
    }

    pub(super) fn is_tunnel(&self) -> bool {
        matches!(self.stage, Stage::Tunnel(_))
    }

    /// Ready once the other side has reset the stream; an end of ours is none.
    pub(super) fn poll_reset(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stage {
            Stage::Body(send, _) | Stage::Tunnel(send) => {
                send.poll_reset(context).map(|reset| Err(broken(reset)))
            }
            Stage::Over => Poll::Ready(Ok(())),
        }
    }

    /// Takes bytes, up to the next run of payload. Returns how many.
    pub(super) fn take(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let bytes = &bytes[..bytes.len().min(TAKEN_BYTES_MAX)];
        let reader = match &mut self.stage {
            Stage::Body(_, reader) => reader,
            Stage::Tunnel(_) => {
                self.data = Bytes::copy_from_slice(bytes);
                return Ok(bytes.len());
            }
            // Nothing belongs to this stream after its message.
            Stage::Over => return Err(io::ErrorKind::BrokenPipe.into()),
        };
        let mut taken = 0;
        while let Some(segment) = reader.advance(&bytes[taken..]).map_err(io::Error::other)? {
            let begin = taken;
            taken += segment.bytes;
            if segment.kind == SegmentKind::Payload {
                self.data = Bytes::copy_from_slice(&bytes[begin..taken]);
                break;
            }
        }
        Ok(taken)
    }

    /// Sends what was taken, as far as the other side has room for it.
    pub(super) fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.data.is_empty() {
            let (send, is_last) = match &mut self.stage {
                Stage::Body(send, reader) => {
                    let is_last = reader.is_ended() && reader.trailer().is_empty();
                    (send, is_last)
                }
                Stage::Tunnel(send) => (send, false),
                Stage::Over => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            };
            if send.capacity() == 0 {
                send.reserve_capacity(self.data.len());
                match ready!(send.poll_capacity(context)) {
                    Some(Ok(_)) => continue,
                    Some(Err(error)) => return Poll::Ready(Err(broken(error))),
                    None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
                }
            }
            let count = send.capacity().min(self.data.len());
            let data = self.data.split_to(count);
            let is_over = is_last && self.data.is_empty();
            send.send_data(data, is_over).map_err(broken)?;
            if is_over {
                self.stage = Stage::Over;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Sends the end of a body that has ended.
    pub(super) fn send_end(&mut self) -> io::Result<()> {
        let Stage::Body(send, reader) = &mut self.stage else {
            return Ok(());
        };
        if !reader.is_ended() {
            return Ok(());
        }
        match head::read_trailers(reader.trailer()) {
            Some(trailers) => send.send_trailers(trailers).map_err(broken)?,
            None => send.send_data(Bytes::new(), true).map_err(broken)?,
        }
        self.stage = Stage::Over;
        Ok(())
    }

    /// Ends a tunnel.
    pub(super) fn end_tunnel(&mut self) -> io::Result<()> {
        if let Stage::Tunnel(send) = &mut self.stage {
            send.send_data(Bytes::new(), true).map_err(broken)?;
            self.stage = Stage::Over;
        }
        Ok(())
    }

    /// Makes sure that the other side cannot take what it has for a whole message.
    pub(super) fn reset(&mut self, reason: Reason) {
        match &mut self.stage {
            Stage::Body(send, _) | Stage::Tunnel(send) => send.send_reset(reason),
            Stage::Over => {}
        }
    }
}
