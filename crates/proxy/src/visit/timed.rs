//! A request that has to be answered in time.

use http1::RequestHead;
use model::Deadline;
use traffic::{Deadlines, Late, grpc_timeout};

use super::Visit;

/// How a client of gRPC says what time it gives a call.
const GRPC_TIMEOUT: &str = "grpc-timeout";

impl Visit {
    /// Works out until when the request has to be answered.
    pub(super) fn give_time(&mut self, deadline: &Deadline, request: &RequestHead) {
        let asked = request.fields().first(GRPC_TIMEOUT).and_then(grpc_timeout);
        self.deadlines = Deadlines::new(deadline, asked);
    }

    /// When the next of the request's times is over.
    pub(crate) fn until(&self) -> u64 {
        self.deadlines.until(self.arrived_micros)
    }

    /// Which of the request's times is over.
    pub(crate) fn late(&self, now_micros: u64) -> Option<Late> {
        self.deadlines.late(self.arrived_micros, now_micros)
    }

    /// When the whole exchange has to have ended.
    pub(super) fn total_until(&self) -> u64 {
        self.deadlines.total_until(self.arrived_micros)
    }
}
