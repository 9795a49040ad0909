//! A request that a pause of its service holds.

use std::time::Duration;

use model::{PAUSE_MAX, ReleaseId};
use traffic::{Rejected, ServiceTable};

use super::{Visit, Wait};
use crate::client::Client;
use crate::clock::{micros, now_micros};
use crate::routing::Routing;
use crate::stream::Stream;
use crate::thread::Thread;
use crate::watch::State;

/// Where a request stands with pauses. Times are microseconds of the monotonic clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct PauseHold {
    /// When it was first held.
    since: Option<u64>,
    /// When the pause that holds it ends, as far as is known.
    until: u64,
    /// Whether it is held now.
    is_on: bool,
}

impl Visit {
    /// Until when the service's pause holds the request; `None` lets it go.
    ///
    /// One that was admitted before goes on: only new requests are held, and none on its way to
    /// a preview.
    pub(super) fn held_until(
        &mut self,
        thread: &Thread,
        (routing, service): (&Routing, &ServiceTable),
        only: Option<ReleaseId>,
    ) -> Option<u64> {
        if service.paused.is_none() && !self.pause.is_on {
            return None;
        }
        let now = thread.watches.coarse_micros();
        let is_new = self.attempts == 0 && only.is_none();
        let until = routing.held_until(service, now).filter(|_| is_new);
        if until.is_none() && self.pause.is_on {
            self.pause.is_on = false;
            // A person asked for the time that is over: no figure counts it, and a wait for an
            // endpoint begins here.
            self.arrived_micros = now_micros();
        }
        until
    }

    /// Sets the time at which the wait is over.
    pub(super) fn begin_wait<S: Stream>(&mut self, client: &Client<S>, why: Wait) {
        client.watch.set_state(State::Waiting);
        if !matches!(why, Wait::Place(_)) {
            self.leave_queue();
        }
        let deadline = match why {
            Wait::Place(full) => self.queue(client, full).min(self.total_until()),
            Wait::Endpoint => self
                .arrived_micros
                .saturating_add(micros(self.limits.wait_ready))
                .min(self.total_until()),
            Wait::PauseEnd(until) => self.hold(&client.thread, until),
        };
        client.watch.set_deadline(deadline);
    }

    /// Holds it, and says for how long at most.
    fn hold(&mut self, thread: &Thread, until: u64) -> u64 {
        let is_first = self.pause.since.is_none();
        if let (true, Some(service)) = (is_first, self.service) {
            thread.writer.held(service);
        }
        let since = *self.pause.since.get_or_insert_with(now_micros);
        self.pause.until = until;
        self.pause.is_on = true;
        until.min(since.saturating_add(micros(PAUSE_MAX)))
    }

    pub(super) fn is_held(&self) -> bool {
        self.pause.is_on
    }

    /// Why a request is not held: there is no room.
    pub(super) fn no_room(&mut self, why: Wait) -> Rejected {
        match why {
            Wait::Endpoint => Rejected::Overload,
            Wait::Place(_) => Rejected::QueueFull,
            Wait::PauseEnd(until) => {
                self.pause.until = until;
                Rejected::Paused
            }
        }
    }

    /// Why a wait that has lasted too long is over.
    pub(super) fn out_of_time(&self) -> Rejected {
        if self.pause.is_on {
            Rejected::Paused
        } else {
            self.queued_too_long().unwrap_or(Rejected::NoEndpoint)
        }
    }

    /// The client has left while it waited.
    pub(super) fn note_left(&self, thread: &Thread) {
        let Some(service) = self.service else {
            return;
        };
        if self.pause.is_on {
            thread.writer.held_left(service);
        } else if self.is_queued() {
            thread.writer.queue_left(service);
        }
    }

    /// When it is worth coming back, if that is known.
    pub(crate) fn retry_after_seconds(&self, rejected: Rejected) -> Option<u32> {
        if rejected == Rejected::Maintenance {
            return self.closed.as_ref().map(|it| it.retry_after_seconds);
        }
        if rejected != Rejected::Paused {
            return None;
        }
        let left = Duration::from_micros(self.pause.until.saturating_sub(now_micros()));
        let seconds = left.as_millis().div_ceil(1_000).max(1);
        u32::try_from(seconds).ok()
    }
}
