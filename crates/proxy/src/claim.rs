//! What a request holds while it waits for an endpoint and while it is at one.

use std::rc::Rc;

use model::Protocol;
use traffic::{Cell, Outcome};

use crate::pool::Place;
use crate::thread::Thread;
use crate::watch::{State, Watch};

/// A place among the requests that wait for an endpoint.
#[derive(Debug)]
pub(crate) struct Waiting {
    thread: Rc<Thread>,
    service: Option<Cell>,
    pub(crate) number: u32,
}

impl Waiting {
    pub(crate) fn new(thread: &Rc<Thread>, service: Option<Cell>) -> Self {
        let number = service.map_or(0, |service| thread.writer.waiting_begins(service));
        Self {
            thread: Rc::clone(thread),
            service,
            number,
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(service) = self.service {
            self.thread.writer.waiting_ends(service);
        }
    }
}

/// A request's right to an endpoint, open in the ledger until it ends with an outcome.
#[derive(Debug)]
pub(crate) struct Claim {
    thread: Rc<Thread>,
    pub(crate) place: Place,
    pub(crate) connection: Connection,
    is_ended: bool,
    service: Cell,
    /// The place of its connection among the watches.
    watch: usize,
    /// Whose other requests wait for its place, if any may.
    awaited_by: Option<Cell>,
}

/// Which connection an attempt uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Connection {
    /// One made for it.
    New,
    /// One that has carried other requests.
    Reused,
}

/// Descriptors that a request at an endpoint takes for itself alone.
fn files(place: Place) -> u32 {
    match place.protocol {
        Protocol::Http1 | Protocol::Https => 1,
        Protocol::H2c | Protocol::H2 => 0,
    }
}

impl Claim {
    pub(crate) fn new(thread: &Rc<Thread>, watch: &Watch, (service, place): (Cell, Place)) -> Self {
        thread.writer.claim(place.cell);
        thread.claims.set(thread.claims.get() + files(place));
        watch.set_state(State::At(place.cell));
        Self {
            thread: Rc::clone(thread),
            place,
            connection: Connection::New,
            is_ended: false,
            service,
            watch: watch.place(),
            awaited_by: None,
        }
    }

    /// Notes that the endpoint took the request, whose connection is a tunnel from here on.
    pub(crate) fn opens_tunnel(&self) {
        let opened = Outcome::TunnelOpened;
        self.thread
            .note_end(self.place.cell, opened, self.connection);
        self.thread.writer.count(self.place.cell, opened);
    }

    /// The same where endpoints of `service` may be full.
    pub(crate) fn limited(
        thread: &Rc<Thread>,
        watch: &Watch,
        (service, place): (Cell, Place),
    ) -> Self {
        let mut claim = Self::new(thread, watch, (service, place));
        claim.awaited_by = Some(service);
        claim
    }

    /// Takes it back as if it had never been.
    pub(crate) fn undo(mut self) {
        self.is_ended = true;
        self.thread.writer.unclaim(self.place.cell);
    }

    /// Ends it.
    pub(crate) fn end(mut self, outcome: Outcome) {
        self.is_ended = true;
        self.thread
            .note_end(self.place.cell, outcome, self.connection);
        self.count(outcome);
    }

    fn count(&self, outcome: Outcome) {
        let writer = &self.thread.writer;
        if outcome == Outcome::Cut {
            writer.cut(self.service, self.thread.watches.carrier(self.watch));
        }
        writer.end(self.place.cell, outcome);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let claims = self.thread.claims.get() - files(self.place);
        self.thread.claims.set(claims);
        if !self.is_ended {
            // The thread itself ends with this request open.
            self.count(Outcome::Cut);
        }
        if let Some(service) = self.awaited_by {
            self.thread.place_is_free(service);
        }
    }
}
