//! Responses without an end of their own: streams of events, and of gRPC's messages.
//!
//! They may be silent for longer than others, and are ended with their own goodbye before
//! their endpoint is cut: each at its own time, and between two messages only.

use std::task::{Context, Poll};

use http1::{Framing, RequestHead, ResponseHead, Version};

use super::{End, Relay};
use crate::stream::Stream;

/// Says to a client of gRPC that its time is over.
const OVERDUE: &[u8] = b"grpc-status: 4\r\ngrpc-message: the time for the call is over\r\n";

/// Says to a client of gRPC that it may try again, elsewhere.
const GOODBYE: &[u8] = b"grpc-status: 14\r\ngrpc-message: the instance is being replaced\r\n";

impl<S: Stream> Relay<'_, S> {
    /// Ends what is to end now; true while a goodbye is on its way.
    ///
    /// # Errors
    ///
    /// How it ended.
    pub(super) fn part(&mut self, context: &mut Context<'_>) -> Result<bool, End> {
        let watch = &self.client.watch;
        let (is_cut, is_parting) = (watch.is_cut(), watch.is_parting());
        if !is_cut && !is_parting {
            return Ok(false);
        }
        if is_parting && self.is_quiet_event_stream() {
            return Err(End::Parted);
        }
        match self.poll_goodbye(context, (GOODBYE, if is_cut { 0 } else { 1 })) {
            Poll::Ready(()) => Err(End::Parted),
            Poll::Pending if is_cut => Err(End::Cut),
            Poll::Pending => Ok(self.is_parted),
        }
    }

    /// True in a stream of events all of which, as far as they came, are with the client. It
    /// never ends by itself, and a client of it comes back wherever it was ended.
    fn is_quiet_event_stream(&self) -> bool {
        self.is_begun && self.down.is_flushed() && is_event_stream(self.response)
    }

    /// How a response ends that took too long: where the time of the whole call is over and it is
    /// between two messages of gRPC, with a status.
    pub(super) fn end_overdue(&mut self, context: &mut Context<'_>) -> End {
        let now = self.client.thread.watches.coarse_micros();
        if self.visit.late(now).is_some() && self.poll_goodbye(context, (OVERDUE, 0)).is_ready() {
            End::Overdue
        } else {
            End::Stalled
        }
    }

    /// Ends a response of gRPC in its program's stead with these trailers, if it has had
    /// `messages_min` messages and is between two. Ready once that is with the client.
    fn poll_goodbye(
        &mut self,
        context: &mut Context<'_>,
        (trailers, messages_min): (&[u8], u64),
    ) -> Poll<()> {
        if !self.is_parted {
            if !self.is_between_messages(messages_min) {
                return Poll::Pending;
            }
            self.is_parted = true;
            self.down.end_with(trailers);
        }
        let written = self.down.poll_write(context, &mut self.client.stream);
        written.map(drop)
    }

    fn is_between_messages(&self, messages_min: u64) -> bool {
        self.is_begun
            && self.down.is_flushed()
            && self.down.input.is_empty()
            && !self.down.is_body_ended()
            && self.response.declared() == Framing::Chunked
            && self.visit.client_side.version() == Version::Http11
            && self
                .upstream
                .messages()
                .is_some_and(|messages| messages >= messages_min)
    }

    /// Notes that nothing has moved for as long as it may: a stream may be silent for longer.
    ///
    /// # Errors
    ///
    /// Who it was that did not move.
    pub(super) fn be_patient(&mut self) -> Result<(), End> {
        let longer = self.visit.limits.stream_idle;
        let longer = longer.saturating_sub(self.patience());
        let is_idle = self.down.is_flushed() && self.up.is_flushed();
        let until = self.visit.until();
        let is_late = until <= self.client.thread.watches.coarse_micros();
        if is_late || self.is_patient || longer.is_zero() || !is_idle || !self.is_streamed() {
            return Err(self.lateness());
        }
        self.is_patient = true;
        self.client.watch.set_deadline_before(longer, until);
        Ok(())
    }

    /// True for a stream that may be silent: one of gRPC also before its response begins, since
    /// many programs begin it with their first message.
    fn is_streamed(&self) -> bool {
        is_grpc(self.request) || self.is_begun && is_event_stream(self.response)
    }
}

pub(super) fn is_event_stream(response: &ResponseHead) -> bool {
    response.fields().first("content-type").is_some_and(|kind| {
        let kind = kind.split(|&byte| byte == b';').next().unwrap_or_default();
        kind.trim_ascii().eq_ignore_ascii_case(b"text/event-stream")
    })
}

/// True for a request of gRPC.
pub(crate) fn is_grpc(request: &RequestHead) -> bool {
    request
        .fields()
        .first("content-type")
        .is_some_and(traffic::grpc::is_grpc)
}
