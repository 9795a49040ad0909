//! The client's connection: what the response says about it, and what is read from it next.

use thiserror::Error;

use super::{Persist, RequestPhase, ResponsePhase};
use crate::framing::Framing;
use crate::limits::DISCARD_BYTES_MAX;
use crate::method::Version;
use crate::request::RequestHead;

/// What to do with the client's connection when the response is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Read the next request.
    Request,
    /// Read and throw away the rest of this request's body, then the next request.
    Discard,
    /// Carry opaque bytes.
    Tunnel,
    /// Close the connection. While the client still sends, close only the writing half at first
    /// and read on for a moment: closing over unread bytes resets the connection, and the
    /// client may lose the response.
    Close,
}

/// Why the rest of a request's body is not read; the connection must be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DiscardError {
    /// It is longer than we read for nothing.
    #[error("more than {DISCARD_BYTES_MAX} bytes of an unread request body")]
    TooLong,
}

/// The exchange as the client's connection sees it.
#[derive(Clone, Copy, Debug)]
pub struct ClientSide {
    version: Version,
    request: RequestPhase,
    response: ResponsePhase,
    held_back: bool,
    body_left: Option<u64>,
    discarded: u64,
    persist: Persist,
}

impl ClientSide {
    /// A request whose head was read.
    #[must_use]
    pub fn new(request: &RequestHead) -> Self {
        let body_left = match request.framing() {
            Framing::None => Some(0),
            Framing::Length(bytes) => Some(bytes),
            Framing::Chunked | Framing::UntilClose => None,
        };
        Self {
            version: request.version(),
            request: RequestPhase::of(request.framing()),
            response: ResponsePhase::Waiting,
            held_back: request.wants_continue(),
            body_left,
            discarded: 0,
            persist: if request.keep_alive() {
                Persist::KeepAlive
            } else {
                Persist::Close
            },
        }
    }

    /// True while the client waits for 100 before it sends its body.
    #[must_use]
    pub fn is_held_back(&self) -> bool {
        self.held_back
    }

    /// Notes that 100 was sent on to the client.
    pub fn continued(&mut self) {
        self.held_back = false;
    }

    /// Notes that `bytes` of the request's body were taken from the client.
    pub fn body_read(&mut self, bytes: usize) {
        self.held_back = false;
        self.body_left = self.body_left.map(|left| left.saturating_sub(bytes as u64));
    }

    /// Notes that the request was read whole, its body's end included.
    pub fn request_ended(&mut self) {
        self.held_back = false;
        self.request = RequestPhase::Ended;
    }

    /// Decides, as the final response's head is written, what it says about the connection.
    /// `framing` is the body's framing towards the client; `wish` is ours, [`Persist::Close`]
    /// while we drain.
    #[must_use = "the response's head must say it"]
    pub fn begin_response(&mut self, framing: Framing, wish: Persist) -> Persist {
        if wish == Persist::Close || framing == Framing::UntilClose || !self.may_discard() {
            self.persist = Persist::Close;
        }
        self.response = ResponsePhase::Body;
        self.persist
    }

    /// Notes that the final response was written whole, its body's end included.
    pub fn response_ended(&mut self) {
        self.response = self.response.ended();
    }

    /// Notes that 101 was written.
    pub fn tunnel_began(&mut self) {
        self.response = ResponsePhase::Tunnel;
    }

    /// What to do with the connection now that the exchange is over: no byte of a further
    /// request is read before the response is whole.
    #[must_use]
    pub fn next(&self) -> Next {
        match (self.response, self.persist, self.request) {
            (ResponsePhase::Tunnel, _, _) => Next::Tunnel,
            (ResponsePhase::Waiting | ResponsePhase::Body, _, _) | (_, Persist::Close, _) => {
                Next::Close
            }
            (ResponsePhase::Ended, Persist::KeepAlive, RequestPhase::Ended) => Next::Request,
            (ResponsePhase::Ended, Persist::KeepAlive, RequestPhase::Body)
                if self.may_discard() =>
            {
                Next::Discard
            }
            (ResponsePhase::Ended, Persist::KeepAlive, RequestPhase::Body) => Next::Close,
        }
    }

    /// Notes that `bytes` of an unread request body were thrown away.
    ///
    /// # Errors
    ///
    /// [`DiscardError::TooLong`] when that is more than we read for nothing.
    pub fn discarded(&mut self, bytes: usize) -> Result<(), DiscardError> {
        self.discarded = self.discarded.saturating_add(bytes as u64);
        if self.discarded > DISCARD_BYTES_MAX {
            Err(DiscardError::TooLong)
        } else {
            Ok(())
        }
    }

    /// The client's version.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// True if what is left of the request's body may be read and thrown away. A client that
    /// still waits for 100 may send its body or not: nobody could tell it from a new request.
    fn may_discard(&self) -> bool {
        match self.request {
            RequestPhase::Ended => true,
            RequestPhase::Body => {
                !self.held_back && self.body_left.is_none_or(|left| left <= DISCARD_BYTES_MAX)
            }
        }
    }
}
