//! One direction of an exchange: bytes read from one side, bytes to be written to the other.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http1::{BodyError, BodyRelay};
use tokio::io::AsyncWrite;

use crate::buffer::Buffer;
use crate::shadow::Copy;

/// Runs of a body up to this length are copied behind what is to be written before them:
/// cheaper than a write of two parts.
const COPY_BYTES_MAX: usize = 4 * 1024;
/// The most of a request that is held for another attempt.
const HELD_BYTES_MAX: usize = 16 * 1024;
/// Memory that an output may keep when it is empty.
const KEPT_BYTES_MAX: usize = 16 * 1024;

/// Whether what was written is kept, so that it can be written again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Hold {
    /// It is not.
    #[default]
    Nothing,
    /// All of it is.
    Everything,
}

/// One direction.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    /// Bytes from the source.
    pub(crate) input: Buffer,
    /// Bytes for the target, written before those of the input that are passed on.
    pub(crate) out: Vec<u8>,
    /// The body, once its head is through.
    pub(crate) relay: Option<BodyRelay>,
    pub(crate) hold: Hold,
    /// What goes to the service's shadow, too.
    pub(crate) copy: Option<Box<Copy>>,
    written: usize,
    /// How many bytes at the input's beginning go to the target as they are.
    passed: usize,
    /// Whether any byte was ever written.
    begun: bool,
    /// Whether the target may still hold back some of what was written.
    held_back: bool,
}

impl Flow {
    /// Forgets everything but the memory and the input that was not taken.
    pub(crate) fn begin(&mut self) {
        self.forget_passed();
        self.out.clear();
        self.out.shrink_to(KEPT_BYTES_MAX);
        self.relay = None;
        self.hold = Hold::Nothing;
        self.copy = None;
        self.written = 0;
        self.begun = false;
        self.held_back = false;
    }

    /// Throws away everything that was read.
    pub(crate) fn forget_input(&mut self) {
        self.passed = 0;
        self.input.clear();
    }

    /// Throws away what was to be passed on.
    pub(crate) fn forget_passed(&mut self) {
        self.input.consume(self.passed);
        self.passed = 0;
    }

    /// Goes back to the beginning of what is held.
    pub(crate) fn rewind(&mut self) {
        self.written = 0;
        self.begun = false;
        self.held_back = false;
    }

    /// True if a byte was written since the beginning.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun
    }

    /// True if everything given to it was written, and nothing of it is held back.
    pub(crate) fn is_flushed(&self) -> bool {
        self.is_written() && !self.held_back
    }

    fn is_written(&self) -> bool {
        self.written == self.out.len() && self.passed == 0
    }

    /// True if the body has ended, or there is none.
    pub(crate) fn is_body_ended(&self) -> bool {
        self.relay.as_ref().is_none_or(BodyRelay::is_ended)
    }

    /// True if the input has all of the body that is still to come, or there is none.
    pub(crate) fn is_body_there(&self) -> bool {
        let input = &self.input.filled()[self.passed..];
        self.relay.as_ref().is_none_or(|relay| {
            let mut ahead = relay.clone();
            ahead.discard(input).is_ok() && ahead.is_ended()
        })
    }

    /// Takes what it can of the body off the input. Returns how many bytes that were.
    pub(crate) fn take_body(&mut self) -> Result<usize, BodyError> {
        let Some(relay) = &mut self.relay else {
            return Ok(0);
        };
        let mut taken = 0;
        while self.passed == 0 && !self.input.is_empty() && !relay.is_ended() {
            let input = self.input.filled();
            if self.hold == Hold::Everything && self.out.len() + input.len() > HELD_BYTES_MAX {
                self.hold = Hold::Nothing;
                self.out.drain(..self.written);
                self.written = 0;
            }
            let passed = match self.hold {
                Hold::Nothing => relay.pass(input)?,
                Hold::Everything => 0,
            };
            if self
                .copy
                .as_mut()
                .is_some_and(|copy| !copy.add(&input[..passed]))
            {
                self.copy = None;
            }
            taken += if passed == 0 {
                let before = self.out.len();
                let pumped = relay.pump(input, &mut self.out)?;
                let copy = self.copy.as_mut();
                if copy.is_some_and(|copy| !copy.add(&self.out[before..])) {
                    self.copy = None;
                }
                self.input.consume(pumped);
                pumped
            } else if passed <= COPY_BYTES_MAX && self.written < self.out.len() {
                self.out.extend_from_slice(&input[..passed]);
                self.input.consume(passed);
                passed
            } else {
                self.passed = passed;
                passed
            };
        }
        Ok(taken)
    }

    /// Ends a chunked body with these trailers in its source's stead.
    pub(crate) fn end_with(&mut self, trailers: &[u8]) {
        self.out.extend_from_slice(b"0\r\n");
        self.out.extend_from_slice(trailers);
        self.out.extend_from_slice(b"\r\n");
    }

    /// Passes on the first bytes that were read, whatever they are.
    pub(crate) fn take_first(&mut self, bytes: usize) {
        self.passed = bytes;
    }

    /// Writes until everything is written or the target takes no more.
    pub(crate) fn poll_write<W: AsyncWrite + Unpin>(
        &mut self,
        context: &mut Context<'_>,
        target: &mut W,
    ) -> Poll<io::Result<()>> {
        while !self.is_written() {
            let made = &self.out[self.written..];
            let passed = &self.input.filled()[..self.passed];
            let target = Pin::new(&mut *target);
            let written = match (made.is_empty(), passed.is_empty()) {
                (false, false) => {
                    let parts = [IoSlice::new(made), IoSlice::new(passed)];
                    ready!(target.poll_write_vectored(context, &parts))?
                }
                (false, true) => ready!(target.poll_write(context, made))?,
                (true, _) => ready!(target.poll_write(context, passed))?,
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.begun = true;
            self.held_back = true;
            self.note_written(written);
        }
        ready!(Pin::new(target).poll_flush(context))?;
        self.held_back = false;
        Poll::Ready(Ok(()))
    }

    fn note_written(&mut self, bytes: usize) {
        let made = bytes.min(self.out.len() - self.written);
        self.written += made;
        self.passed -= bytes - made;
        self.input.consume(bytes - made);
        if self.written == self.out.len() && self.hold == Hold::Nothing {
            self.out.clear();
            self.written = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use http1::Framing;

    use super::*;

    fn request(hold: Hold, body: &[u8], more: &[u8]) -> Flow {
        let mut flow = Flow {
            input: Buffer::of(&[body, more].concat()),
            relay: Some(BodyRelay::for_request(Framing::Length(body.len() as u64))),
            hold,
            ..Flow::default()
        };
        assert_eq!(flow.take_body().unwrap(), body.len());
        flow
    }

    #[test]
    fn what_was_to_be_passed_on_is_never_taken_for_the_next_request() {
        let mut flow = request(Hold::Nothing, b"body", b"GET / ");
        assert!(!flow.is_flushed());
        flow.begin();
        assert_eq!(flow.input.filled(), b"GET / ");
        assert!(flow.is_flushed());
    }

    #[test]
    fn what_is_held_can_be_written_again() {
        let mut flow = request(Hold::Everything, b"body", b"");
        flow.note_written(4);
        assert!(flow.is_flushed());
        flow.rewind();
        assert!(!flow.is_flushed());
        assert_eq!(flow.out, b"body");
    }

    #[test]
    fn a_body_too_long_to_be_held_is_passed_on() {
        let body = vec![b'x'; HELD_BYTES_MAX + 1];
        let flow = request(Hold::Everything, &body, b"");
        assert_eq!(flow.hold, Hold::Nothing);
        assert!(flow.out.is_empty());
    }
}
