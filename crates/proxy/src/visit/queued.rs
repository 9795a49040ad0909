//! A request that waits for a place at an endpoint, all of which are full.

use std::rc::Rc;

use model::EndpointLimits;
use traffic::{Cell, Choice, FullRelease, Load, Rejected, ServiceTable};

use super::{Admission, Visit, Wait};
use crate::claim::Claim;
use crate::client::Client;
use crate::clock::{micros, now_micros};
use crate::pool::Place;
use crate::queue::{Line, Queued};
use crate::stream::Stream;
use crate::thread::Thread;

/// Where a request stands with the queue.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// Its number among all requests that ever waited, and since when it has.
    number: Option<(u64, u64)>,
    place: Option<Queued>,
    /// The tick at which it last asked although another thread's has waited for longer.
    asked_micros: u64,
}

/// The endpoints' load as a request sees it.
pub(super) struct Seen<'a> {
    pub(super) thread: &'a Thread,
    /// Where the request itself is open still.
    pub(super) own: Option<Cell>,
    /// Whether it could go over a connection that is idle.
    pub(super) may_use_idle: bool,
    /// Whether it is a connection itself.
    pub(super) is_connection: bool,
}

impl Load for Seen<'_> {
    fn open(&self, cell: Cell) -> u32 {
        self.thread.writer.open(cell)
    }

    fn open_everywhere(&self, cell: Cell) -> u32 {
        let own = u32::from(self.own == Some(cell));
        self.thread.writer.open_everywhere(cell).saturating_sub(own)
    }

    fn connections(&self, cell: Cell) -> u32 {
        if self.is_connection {
            return self.open_everywhere(cell);
        }
        if self.may_use_idle && self.thread.pool.has(cell) {
            return 0;
        }
        self.thread.links.count(cell)
    }
}

/// A full release: what waits for it, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Full {
    line: Line,
    limits: EndpointLimits,
}

fn line((service, release): (&ServiceTable, &FullRelease)) -> Line {
    Line {
        service: service.cell,
        side: release.side,
        only: release.only,
    }
}

impl Visit {
    /// Claims a chosen endpoint of a service whose endpoints may be full, unless others have
    /// waited for its place.
    pub(super) fn claim_limited<S: Stream>(
        &mut self,
        client: &Client<S>,
        (service, choice): (&ServiceTable, &Choice<'_>),
        limits: &EndpointLimits,
    ) -> Admission {
        let thread = &client.thread;
        let place = Place::of(choice.endpoint);
        let is_sticky = service.stick_to_instance && service.affinity.is_some();
        let release = FullRelease {
            release: choice.release,
            side: choice.side,
            only: is_sticky.then_some(place.cell),
        };
        if !self.is_turn(thread, line((service, &release))) {
            return self.full((service, &release), limits);
        }
        let before = client.watch.state();
        let claim = Claim::limited(thread, &client.watch, (service.cell, place));
        let seen = self.seen::<S>(thread);
        let connections = limits.connections_max.filter(|_| seen.is_connection);
        let most = limits.requests_max.into_iter().chain(connections).min();
        if most.is_some_and(|most| seen.open_everywhere(place.cell) > most) {
            // Another thread was quicker, by less than it takes to see.
            claim.undo();
            client.watch.set_state(before);
            return self.full((service, &release), limits);
        }
        self.turn.place = None;
        self.connections_max = limits.connections_max;
        self.note_choice(thread, choice);
        Admission::Claimed(claim)
    }

    pub(super) fn seen<'a, S: Stream>(&self, thread: &'a Thread) -> Seen<'a> {
        Seen {
            thread,
            own: self.at,
            may_use_idle: self.attempts == 0 && self.proxy_protocol.is_none(),
            is_connection: !S::IS_ASKABLE,
        }
    }

    /// It is to wait for a release, and stays with it.
    pub(super) fn full(
        &mut self,
        (service, release): (&ServiceTable, &FullRelease),
        limits: &EndpointLimits,
    ) -> Admission {
        self.kept = Some(release.release);
        Admission::Full(Full {
            line: line((service, release)),
            limits: *limits,
        })
    }

    fn is_turn(&mut self, thread: &Thread, line: Line) -> bool {
        let number = self.turn.number.map(|(number, _)| number);
        if thread.queues.is_oldest(line, number) {
            return true;
        }
        // Whoever is older may be unable to use the place: it is waited for until the next tick.
        let now = thread.watches.coarse_micros();
        let is_next = number.is_some() && thread.queues.is_first(line, number);
        let is_late = self.turn.asked_micros != 0 && self.turn.asked_micros != now;
        if is_next {
            self.turn.asked_micros = now;
        }
        is_next && is_late
    }

    /// True if it is the first of the line that it waits in.
    pub(super) fn is_called(&self, thread: &Thread) -> bool {
        let place = self.turn.place.as_ref();
        let number = self.turn.number.map(|(number, _)| number);
        place.is_some_and(|place| thread.queues.is_first(place.line, number))
    }

    /// Takes back a claim that the endpoint's connections do not suffice for.
    pub(crate) fn took_back(&mut self, claim: Claim) {
        claim.undo();
        self.attempts -= 1;
    }

    /// True if it waits for a place.
    pub(super) fn is_queued(&self) -> bool {
        self.turn.place.is_some()
    }

    pub(super) fn leave_queue(&mut self) {
        self.turn.place = None;
    }

    /// Puts it in the line, at the place that its number gives it. Returns until when it waits.
    pub(super) fn queue<S: Stream>(&mut self, client: &Client<S>, full: Full) -> u64 {
        let thread = &client.thread;
        let (number, since) = *self
            .turn
            .number
            .get_or_insert_with(|| (thread.queues.number(), now_micros()));
        let is_there = |place: &Queued| place.line == full.line;
        if !self.turn.place.as_ref().is_some_and(is_there) {
            let at = (number, client.watch.place());
            self.turn.place = Some(Queued::new(thread, full.line, at));
        }
        since.saturating_add(micros(full.limits.queue.wait))
    }

    /// True if there is no room for it to wait.
    pub(super) fn is_too_many(&self, thread: &Rc<Thread>, why: Wait) -> bool {
        match (why, self.service) {
            (Wait::Place(full), Some(service)) => {
                thread.writer.waiting_everywhere(service) > full.limits.queue.length_max
            }
            (Wait::Place(_) | Wait::Endpoint | Wait::PauseEnd(_), _) => false,
        }
    }

    /// What a wait for a place ends with that has lasted too long.
    pub(super) fn queued_too_long(&self) -> Option<Rejected> {
        self.is_queued().then_some(Rejected::QueueTimeout)
    }
}
