//! The program's connection: what a response means, and whether the connection is used again.

use thiserror::Error;

use super::{Persist, RequestPhase, ResponsePhase};
use crate::framing::Framing;
use crate::limits::INTERIM_RESPONSES_MAX;
use crate::method::{Method, Version};
use crate::request::RequestHead;
use crate::response::ResponseHead;
use crate::rewrite::{RewriteRequest, Tunnel};

/// What a response's head means for the exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// An interim response: send it on if the client speaks HTTP/1.1, and read another head.
    Interim,
    /// The change to the protocol that the client offered: opaque bytes both ways from here.
    Tunnel,
    /// The final response, and its body's framing.
    Final(Framing),
}

/// Why a response cannot be an answer to this request; the client gets 502.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AnswerError {
    /// More interim responses than the limit.
    #[error("more than {INTERIM_RESPONSES_MAX} interim responses")]
    TooManyInterim,
    /// 101 that nobody asked for, or to another protocol.
    #[error("protocol changed without a matching upgrade")]
    UnaskedUpgrade,
    /// A head after the final one.
    #[error("response after the final response")]
    AfterFinal,
}

/// The exchange as the upstream connection sees it; one per attempt.
#[derive(Clone, Copy, Debug)]
pub struct UpstreamSide {
    method: Method,
    request: RequestPhase,
    response: ResponsePhase,
    interim: u8,
    tunnel: Tunnel,
    persist: Persist,
}

impl UpstreamSide {
    /// A request that is written as `rewrite` says.
    #[must_use]
    pub fn new(request: &RequestHead, rewrite: &RewriteRequest<'_>) -> Self {
        Self {
            method: request.method(),
            request: RequestPhase::of(request.framing()),
            response: ResponsePhase::Waiting,
            interim: 0,
            tunnel: rewrite.tunnel,
            persist: rewrite.persist,
        }
    }

    /// Notes that the request was written whole, its body's end included.
    pub fn request_ended(&mut self) {
        self.request = RequestPhase::Ended;
    }

    /// Judges a response's head that answers `request`.
    ///
    /// # Errors
    ///
    /// The [`AnswerError`]; the connection must then be closed.
    pub fn answer(
        &mut self,
        request: &RequestHead,
        response: &ResponseHead,
    ) -> Result<Answer, AnswerError> {
        if self.response != ResponsePhase::Waiting {
            return Err(AnswerError::AfterFinal);
        }
        match response.status() {
            101 => self.begin_tunnel(request, response),
            100..200 => {
                self.interim += 1;
                if self.interim > INTERIM_RESPONSES_MAX {
                    return Err(AnswerError::TooManyInterim);
                }
                Ok(Answer::Interim)
            }
            _ => Ok(Answer::Final(self.begin_final(response))),
        }
    }

    /// Notes that the final response was read whole, its body's end included.
    pub fn response_ended(&mut self) {
        self.response = self.response.ended();
    }

    /// True once any head of a response was judged: the request has reached a program.
    #[must_use]
    pub fn has_answered(&self) -> bool {
        self.interim > 0 || self.response != ResponsePhase::Waiting
    }

    /// True if the connection may carry another request: both messages ended, `unread` (the
    /// bytes that came after the response) is 0, nobody said close and no tunnel began.
    #[must_use]
    pub fn may_reuse(&self, unread: usize) -> bool {
        unread == 0
            && self.request == RequestPhase::Ended
            && self.response == ResponsePhase::Ended
            && self.persist == Persist::KeepAlive
    }

    fn begin_tunnel(
        &mut self,
        request: &RequestHead,
        response: &ResponseHead,
    ) -> Result<Answer, AnswerError> {
        let matching = match (request.upgrade(), response.upgrade()) {
            (Some(offered), Some(chosen)) => {
                self.tunnel == Tunnel::Offered && offered.eq_ignore_ascii_case(chosen)
            }
            (None | Some(_), None) | (None, Some(_)) => false,
        };
        if !matching || response.version() == Version::Http10 {
            return Err(AnswerError::UnaskedUpgrade);
        }
        self.response = ResponsePhase::Tunnel;
        Ok(Answer::Tunnel)
    }

    fn begin_final(&mut self, response: &ResponseHead) -> Framing {
        let framing = response.framing(self.method);
        if framing == Framing::UntilClose || !response.keep_alive() {
            self.persist = Persist::Close;
        }
        self.response = if framing.is_empty() {
            ResponsePhase::Ended
        } else {
            ResponsePhase::Body
        };
        framing
    }
}
