//! Wakes connections for reasons other than their sockets: a deadline, a new table, a cut.
//!
//! A deadline is one number in a list that a tick looks through ten times a second, so that
//! setting one for each request costs a store and no timer.

mod parting;

use std::cell::{Cell as Local, RefCell};
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;

use model::Carrier;
use traffic::Cell;

use crate::clock::{micros, now_micros};
use parting::{Due, Leaving};

/// How often deadlines are looked at.
pub(crate) const TICK: Duration = Duration::from_millis(100);
const NEVER: u64 = u64::MAX;

/// All connections of a thread.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    lists: RefCell<Lists>,
    /// The time of the last tick.
    coarse_micros: Local<u64>,
    /// How often a connection became idle so far.
    turns: Local<u64>,
    /// Connections without a request.
    unasked: Local<u32>,
    /// Those of them that were told to close and have not done so yet.
    leaving: Local<u32>,
}

#[derive(Debug, Default)]
struct Lists {
    deadlines: Vec<u64>,
    entries: Vec<Entry>,
    free: Vec<usize>,
    /// Those that are woken at each tick.
    ticked: Vec<usize>,
    /// When which of them is told to say goodbye, or is cut.
    partings: Vec<(u64, usize, Due)>,
    /// Endpoints that are to go, or all of them.
    leaving: Vec<Leaving>,
}

#[derive(Debug, Default)]
struct Entry {
    waker: Option<Waker>,
    state: State,
    /// Set when the endpoint that the connection has a request at is cut.
    cut: bool,
    /// Set when it is to close, as long as no request has come.
    leaves: bool,
    /// Whether it is to say goodbye to its endpoint.
    parting: Parting,
    /// What carries what it has there.
    carrier: Carrier,
    /// Smaller for those that have had no request for longer.
    turn: u64,
}

/// Whether a connection is to say goodbye to the endpoint that it has a request at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Parting {
    #[default]
    No,
    Planned,
    Now,
}

/// What a connection is doing, as far as others ask.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum State {
    /// It has said nothing yet.
    #[default]
    Fresh,
    /// It has no request, and has had one.
    Idle,
    /// It has one that waits for an endpoint.
    Waiting,
    /// It has one at this endpoint.
    At(Cell),
    /// It reads a request's head, or what is left of one that was answered.
    Busy,
}

impl State {
    /// Whether there is no request, and if so whether there has been one before.
    fn without_request(self) -> Option<Before> {
        match self {
            Self::Fresh => Some(Before::Nothing),
            Self::Idle => Some(Before::Requests),
            Self::Waiting | Self::At(_) | Self::Busy => None,
        }
    }
}

/// What came on a connection before it was without a request. Smaller gives way first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Before {
    Nothing,
    Requests,
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
        lists.ticked.iter().for_each(|&at| lists.entries[at].wake());
        drop(lists);
        self.part_due(now);
    }

    /// What carries what a connection has at its endpoint.
    pub(crate) fn carrier(&self, at: usize) -> Carrier {
        self.lists.borrow().entries[at].carrier
    }

    /// Wakes every connection in a state.
    pub(crate) fn wake(&self, wanted: impl Fn(State) -> bool) {
        let lists = self.lists.borrow();
        let waking = lists.entries.iter().filter(|entry| wanted(entry.state));
        waking.for_each(Entry::wake);
    }

    /// Wakes the connection that has this place.
    pub(crate) fn wake_one(&self, at: usize) {
        self.lists.borrow().entries[at].wake();
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

    /// How many connections were told to close and have not done so yet.
    pub(crate) fn leaving(&self) -> u32 {
        self.leaving.get()
    }

    /// Tells up to `count` connections without a request to close: first those that have said
    /// nothing yet, then those that have waited for another request for longest.
    pub(crate) fn let_go(&self, count: usize) {
        if self.unasked.get() == self.leaving.get() {
            return;
        }
        let mut lists = self.lists.borrow_mut();
        let entries = lists.entries.iter().enumerate();
        let staying = entries.filter(|(_, entry)| entry.waker.is_some() && !entry.leaves);
        let mut without: Vec<(Before, u64, usize)> = staying
            .filter_map(|(at, entry)| Some((entry.state.without_request()?, entry.turn, at)))
            .collect();
        if count < without.len() {
            without.select_nth_unstable(count);
            without.truncate(count);
        }
        for (_, _, at) in without {
            self.leaving.set(self.leaving.get() + 1);
            lists.entries[at].leaves = true;
            lists.entries[at].wake();
        }
    }

    /// Keeps account of a connection that came, is in another state, or is gone.
    fn account(&self, before: Option<State>, after: Option<State>) {
        let without = |state: Option<State>| state.and_then(State::without_request).is_some();
        match (without(before), without(after)) {
            (false, true) => self.unasked.set(self.unasked.get() + 1),
            (true, false) => self.unasked.set(self.unasked.get() - 1),
            (true, true) | (false, false) => {}
        }
    }

    /// A connection stays after all, or is gone.
    fn left(&self, entry: &mut Entry) {
        if std::mem::take(&mut entry.leaves) {
            self.leaving.set(self.leaving.get() - 1);
        }
    }

    fn next_turn(&self) -> u64 {
        self.turns.set(self.turns.get() + 1);
        self.turns.get()
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
        watches.account(None, Some(State::default()));
        Self {
            watches: Rc::clone(watches),
            at,
        }
    }

    /// Its place, for [`Watches::wake_one`].
    pub(crate) fn place(&self) -> usize {
        self.at
    }

    /// Notes who to wake: the task that the connection lives in.
    pub(crate) fn wake_me(&self, context: &Context<'_>) {
        let entry = &mut self.watches.lists.borrow_mut().entries[self.at];
        entry.waker = Some(context.waker().clone());
    }

    /// Has the connection looked at once more, now.
    pub(crate) fn wake_now(&self) {
        self.watches.lists.borrow().entries[self.at].wake();
    }

    /// Has the connection woken at each tick from here on: it waits for what nobody tells.
    pub(crate) fn wake_each_tick(&self) {
        self.watches.lists.borrow_mut().ticked.push(self.at);
    }

    /// Sets the deadline to `span` from now, within a tick.
    pub(crate) fn set_deadline_in(&self, span: Duration) {
        self.set_deadline(self.watches.coarse_micros().saturating_add(micros(span)));
    }

    /// Sets the deadline to `span` from now, within a tick, or to `until` if that is earlier.
    pub(crate) fn set_deadline_before(&self, span: Duration, until: u64) {
        let then = self.watches.coarse_micros().saturating_add(micros(span));
        self.set_deadline(then.min(until));
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
        let lists = &mut *self.watches.lists.borrow_mut();
        let entry = &mut lists.entries[self.at];
        self.watches.account(Some(entry.state), Some(state));
        entry.state = state;
        entry.cut = false;
        entry.carrier = Carrier::default();
        match state.without_request() {
            Some(_) => entry.turn = self.watches.next_turn(),
            None => self.watches.left(entry),
        }
        lists.unplan(self.at);
    }

    /// True once the connection is to close, as long as no request has come.
    pub(crate) fn leaves(&self) -> bool {
        self.watches.lists.borrow().entries[self.at].leaves
    }

    /// True once it is time to say goodbye to the endpoint that the connection is at.
    pub(crate) fn is_parting(&self) -> bool {
        self.watches.lists.borrow().entries[self.at].parting == Parting::Now
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
        let mut entry = std::mem::take(&mut lists.entries[self.at]);
        self.watches.left(&mut entry);
        self.watches.account(Some(entry.state), None);
        lists.deadlines[self.at] = NEVER;
        lists.ticked.retain(|&at| at != self.at);
        lists.partings.retain(|&(_, at, _)| at != self.at);
        lists.free.push(self.at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_said_nothing_go_first_and_then_the_longest_idle() {
        let watches = Rc::new(Watches::default());
        let all: Vec<Watch> = (0..4).map(|_| Watch::new(&watches)).collect();
        let context = Context::from_waker(Waker::noop());
        for watch in &all {
            watch.wake_me(&context);
        }
        let leaving = || all.iter().map(Watch::leaves).collect::<Vec<_>>();
        all[0].set_state(State::Busy);
        all[2].set_state(State::Idle);
        all[1].set_state(State::Idle);
        watches.let_go(2);
        assert_eq!(leaving(), [false, false, true, true]);
        all[2].set_state(State::Busy);
        assert_eq!(watches.leaving(), 1, "a request came");
        watches.let_go(9);
        assert_eq!(leaving(), [false, true, false, true]);
        drop(all);
        assert_eq!((watches.leaving(), watches.unasked.get()), (0, 0));
    }
}
