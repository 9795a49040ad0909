//! Wakes connections for reasons other than their sockets: a deadline, a new table, a cut.
//!
//! A deadline is one number in a list that a tick looks through ten times a second, so that
//! setting one for each request costs a store and no timer.

use std::cell::{Cell as Local, RefCell};
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;

use traffic::Cell;

use crate::clock::{micros, now_micros};

/// How often deadlines are looked at.
pub(crate) const TICK: Duration = Duration::from_millis(100);
const NEVER: u64 = u64::MAX;

/// All connections of a thread.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    lists: RefCell<Lists>,
    /// The time of the last tick.
    coarse_micros: Local<u64>,
}

#[derive(Debug, Default)]
struct Lists {
    deadlines: Vec<u64>,
    entries: Vec<Entry>,
    free: Vec<usize>,
}

#[derive(Debug, Default)]
struct Entry {
    waker: Option<Waker>,
    state: State,
    /// Set when the endpoint that the connection has a request at is cut.
    cut: bool,
}

/// What a connection is doing, as far as others ask.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum State {
    /// It has no request.
    #[default]
    Idle,
    /// It has one that waits for an endpoint.
    Waiting,
    /// It has one at this endpoint.
    At(Cell),
    /// It reads a request's head, or what is left of one that was answered.
    Busy,
}

impl Watches {
    /// The time of the last tick, good enough for deadlines.
    pub(crate) fn coarse_micros(&self) -> u64 {
        self.coarse_micros.get()
    }

    /// Notes the time and wakes every connection whose deadline has passed.
    pub(crate) fn tick(&self) {
        let now = now_micros();
        self.coarse_micros.set(now);
        let lists = self.lists.borrow();
        for (at, &deadline) in lists.deadlines.iter().enumerate() {
            if deadline <= now {
                lists.entries[at].wake();
            }
        }
    }

    /// Wakes every connection in a state.
    pub(crate) fn wake(&self, wanted: impl Fn(State) -> bool) {
        let lists = self.lists.borrow();
        let waking = lists.entries.iter().filter(|entry| wanted(entry.state));
        waking.for_each(Entry::wake);
    }

    /// Cuts every connection that has a request at this endpoint.
    pub(crate) fn cut(&self, cell: Cell) {
        let mut lists = self.lists.borrow_mut();
        let there = lists
            .entries
            .iter_mut()
            .filter(|entry| entry.state == State::At(cell));
        for entry in there {
            entry.cut = true;
            entry.wake();
        }
    }
}

impl Entry {
    fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }
}

/// One connection's place among the watches; given back when dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    watches: Rc<Watches>,
    at: usize,
}

impl Watch {
    pub(crate) fn new(watches: &Rc<Watches>) -> Self {
        let mut lists = watches.lists.borrow_mut();
        let at = lists.free.pop().unwrap_or(lists.entries.len());
        if at == lists.entries.len() {
            lists.entries.push(Entry::default());
            lists.deadlines.push(NEVER);
        }
        drop(lists);
        Self {
            watches: Rc::clone(watches),
            at,
        }
    }

    /// Notes who to wake: the task that the connection lives in.
    pub(crate) fn wake_me(&self, context: &Context<'_>) {
        let entry = &mut self.watches.lists.borrow_mut().entries[self.at];
        entry.waker = Some(context.waker().clone());
    }

    /// Sets the deadline to `span` from now, within a tick.
    pub(crate) fn set_deadline_in(&self, span: Duration) {
        self.set_deadline(self.watches.coarse_micros().saturating_add(micros(span)));
    }

    /// Sets the deadline.
    pub(crate) fn set_deadline(&self, micros: u64) {
        self.watches.lists.borrow_mut().deadlines[self.at] = micros;
    }

    /// Takes the deadline away.
    pub(crate) fn clear_deadline(&self) {
        self.set_deadline(NEVER);
    }

    /// True once the deadline has passed.
    pub(crate) fn is_overdue(&self) -> bool {
        self.watches.lists.borrow().deadlines[self.at] <= self.watches.coarse_micros()
    }

    /// Says what the connection is doing.
    pub(crate) fn set_state(&self, state: State) {
        let entry = &mut self.watches.lists.borrow_mut().entries[self.at];
        entry.state = state;
        entry.cut = false;
    }

    /// What the connection is doing.
    pub(crate) fn state(&self) -> State {
        self.watches.lists.borrow().entries[self.at].state
    }

    /// True once the endpoint that the connection has a request at was cut.
    pub(crate) fn is_cut(&self) -> bool {
        self.watches.lists.borrow().entries[self.at].cut
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut lists = self.watches.lists.borrow_mut();
        lists.entries[self.at] = Entry::default();
        lists.deadlines[self.at] = NEVER;
        lists.free.push(self.at);
    }
}
