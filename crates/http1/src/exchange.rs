//! What one exchange does to its two connections: no I/O, no memory, only facts and rules.

mod client;
mod upstream;

use std::time::Duration;

use crate::framing::Framing;
use crate::limits::UNREPEATABLE_IDLE_MS_MAX;
use crate::method::Method;

pub use client::{ClientSide, DiscardError, Next};
pub use upstream::{Answer, AnswerError, UpstreamSide};

/// Whether a connection goes on after an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persist {
    /// It goes on.
    KeepAlive,
    /// It is closed.
    Close,
}

/// How far a response has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ResponsePhase {
    Waiting,
    Body,
    Ended,
    Tunnel,
}

impl ResponsePhase {
    /// The phase after a body's end: only a response that began can end, and no tunnel does.
    fn ended(self) -> Self {
        match self {
            Self::Body | Self::Ended => Self::Ended,
            Self::Waiting => Self::Waiting,
            Self::Tunnel => Self::Tunnel,
        }
    }
}

/// How far a request's body has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RequestPhase {
    Body,
    Ended,
}

impl RequestPhase {
    fn of(framing: Framing) -> Self {
        if framing.is_empty() {
            Self::Ended
        } else {
            Self::Body
        }
    }
}

/// True if a connection that was idle for `idle` may carry a request with `method`. One that
/// may not be repeated needs a connection that is new or was busy a moment ago, since a reused
/// one may have been closed by the program without our knowledge.
#[must_use]
pub fn may_use_idle(method: Method, idle: Duration) -> bool {
    method.is_idempotent() || idle < Duration::from_millis(UNREPEATABLE_IDLE_MS_MAX)
}
