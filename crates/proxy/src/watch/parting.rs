//! When connections say goodbye to endpoints that are to go: each at its own time within the last
//! quarter of what it has left, by what carries what it has there.

use std::time::Duration;

use model::{Carrier, Drain};
use traffic::Cell;

use super::{Lists, Parting, State, Watch, Watches};
use crate::clock::micros;

/// The longest time that is kept free for the answers to goodbyes.
const FAREWELL_MICROS: u64 = 1_000_000;

/// What is open at an endpoint, or anywhere, has so long from then on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leaving {
    /// `None`: all of them.
    cell: Option<Cell>,
    begun_micros: u64,
    left: Drain,
}

/// What a connection is told when its time has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    Goodbye,
    Cut,
}

impl Watches {
    /// Tells those to say goodbye, and cuts those, whose time has come.
    pub(super) fn part_due(&self, now: u64) {
        let lists = &mut *self.lists.borrow_mut();
        lists.partings.retain(|&(due, at, what)| {
            if due <= now {
                match what {
                    Due::Goodbye => lists.entries[at].parting = Parting::Now,
                    Due::Cut => lists.entries[at].cut = true,
                }
                lists.entries[at].wake();
            }
            due > now
        });
        lists.leaving.retain(|leaving| leaving.end_micros() > now);
    }

    /// Has every connection at an endpoint say goodbye within the last quarter of what it has
    /// left, each at its own time: `random` says which. Whoever has less time than others is cut
    /// when it is over. One that has its time already keeps it.
    pub(crate) fn part(&self, cell: Cell, left: Drain, random: impl Fn() -> u64) {
        self.leave((Some(cell), left), random);
    }

    /// The same for every connection that is at an endpoint, or comes to one later.
    pub(crate) fn part_all(&self, limit: Duration, random: impl Fn() -> u64) {
        self.leave((None, Drain::all(limit)), random);
    }

    fn leave(&self, (cell, left): (Option<Cell>, Drain), random: impl Fn() -> u64) {
        let lists = &mut *self.lists.borrow_mut();
        if lists.leaving.iter().any(|leaving| leaving.cell == cell) {
            return;
        }
        let leaving = Leaving {
            cell,
            begun_micros: self.coarse_micros(),
            left,
        };
        lists.leaving.push(leaving);
        for at in 0..lists.entries.len() {
            let entry = &lists.entries[at];
            if leaving.is_for(entry.state) && entry.parting == Parting::No {
                lists.plan(at, leaving, &random);
            }
        }
    }

    /// Takes back what endpoints were told that stay after all, and forgets those whose place
    /// in the ledger others have now.
    pub(crate) fn stay(&self, stays: impl Fn(Cell) -> bool) {
        let lists = &mut *self.lists.borrow_mut();
        let staying = |leaving: &Leaving| leaving.cell.is_some_and(&stays);
        if !lists.leaving.iter().any(staying) {
            return;
        }
        lists.leaving.retain(|leaving| !staying(leaving));
        for at in 0..lists.entries.len() {
            if let State::At(cell) = lists.entries[at].state
                && stays(cell)
            {
                lists.unplan(at);
            }
        }
    }
}

impl Watch {
    /// Says what carries what the connection has at its endpoint from now on, which has time of
    /// its own where the endpoint is to go.
    pub(crate) fn set_carrier(&self, carrier: Carrier, random: impl Fn() -> u64) {
        let lists = &mut *self.watches.lists.borrow_mut();
        let entry = &mut lists.entries[self.at];
        if std::mem::replace(&mut entry.carrier, carrier) == carrier {
            return;
        }
        let state = entry.state;
        let mut leaving = lists.leaving.iter();
        let leaving = leaving.find(|leaving| leaving.is_for(state)).copied();
        if let (Some(leaving), false) = (leaving, entry.cut) {
            lists.unplan(self.at);
            lists.plan(self.at, leaving, random);
        }
    }
}

impl Leaving {
    fn is_for(&self, state: State) -> bool {
        match (state, self.cell) {
            (State::At(cell), Some(leaving)) => cell == leaving,
            (State::At(_), None) => true,
            (State::Fresh | State::Idle | State::Waiting | State::Busy, _) => false,
        }
    }

    fn end_micros(&self) -> u64 {
        let longest = micros(self.left.longest());
        self.begun_micros.saturating_add(longest)
    }
}

impl Lists {
    /// Works out when a connection says goodbye.
    fn plan(&mut self, at: usize, leaving: Leaving, random: impl Fn() -> u64) {
        let entry = &mut self.entries[at];
        entry.parting = Parting::Planned;
        let left = micros(leaving.left.of(entry.carrier));
        let begin = leaving.begun_micros.saturating_add(left / 4 * 3);
        // The rest is for the answers to the last goodbyes.
        let answers = (left / 16).min(FAREWELL_MICROS);
        let spread = (left / 4).saturating_sub(answers).max(1);
        let due = begin.saturating_add(random() % spread);
        self.partings.push((due, at, Due::Goodbye));
        let end = leaving.begun_micros.saturating_add(left);
        if end < leaving.end_micros() {
            self.partings.push((end, at, Due::Cut));
        }
    }

    /// Forgets what was planned for a connection.
    pub(super) fn unplan(&mut self, at: usize) {
        if std::mem::take(&mut self.entries[at].parting) != Parting::No {
            self.partings.retain(|&(_, planned, _)| planned != at);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell as Local;
    use std::rc::Rc;

    use super::*;

    #[test]
    fn goodbyes_are_spread_over_the_last_quarter() {
        let watches = Rc::new(Watches::default());
        let there: Vec<Watch> = (0..50).map(|_| Watch::new(&watches)).collect();
        let elsewhere = Watch::new(&watches);
        for watch in &there {
            watch.set_state(State::At(Cell(1)));
        }
        elsewhere.set_state(State::At(Cell(2)));
        let seed = Local::new(0_u64);
        let random = || {
            seed.set(seed.get().wrapping_add(0x9e37_79b9_7f4a_7c15));
            seed.get()
        };
        watches.part(Cell(1), Drain::all(Duration::from_secs(20)), random);
        watches.part(Cell(1), Drain::all(Duration::from_secs(1)), random);
        let mut due: Vec<u64> = watches
            .lists
            .borrow()
            .partings
            .iter()
            .map(|one| one.0)
            .collect();
        due.sort_unstable();
        assert_eq!(due.len(), 50, "each once");
        assert!(due[0] >= 15_000_000 && due[49] < 19_000_000, "{due:?}");
        let widest = due.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
        assert!(widest < 1_000_000, "no crowd and no hole: {due:?}");
        watches.part_due(due[24]);
        let told = there.iter().filter(|watch| watch.is_parting());
        assert_eq!(told.count(), 25);
        drop(there);
        assert!(watches.lists.borrow().partings.is_empty());
        assert!(!elsewhere.is_parting());
    }

    #[test]
    fn each_kind_has_its_own_time_and_the_shorter_ones_are_cut() {
        let watches = Rc::new(Watches::default());
        let [plain, socket, later] = [0; 3].map(|_| Watch::new(&watches));
        let none = || 0;
        for watch in [&plain, &socket, &later] {
            watch.set_state(State::At(Cell(1)));
        }
        socket.set_carrier(Carrier::Websocket, none);
        let seconds = Duration::from_secs;
        let left = Drain {
            requests: seconds(4),
            websockets: seconds(40),
            streams: seconds(20),
        };
        watches.part(Cell(1), left, none);
        // It turns out to be a stream after the time has begun to run.
        later.set_carrier(Carrier::Stream, none);
        let seen = |micros: u64| {
            watches.part_due(micros);
            [&plain, &socket, &later].map(|watch| (watch.is_parting(), watch.is_cut()))
        };
        let (no, told, cut) = ((false, false), (true, false), (true, true));
        assert_eq!(seen(2_999_999), [no, no, no]);
        assert_eq!(seen(3_999_999), [told, no, no]);
        assert_eq!(seen(4_000_000), [cut, no, no]);
        assert_eq!(seen(15_000_000), [cut, no, told]);
        assert_eq!(seen(20_000_000), [cut, no, cut]);
        assert_eq!(
            seen(39_999_999),
            [cut, told, cut],
            "the last are cut by who says so"
        );
        plain.set_state(State::Idle);
        assert_eq!(
            seen(39_999_999)[0],
            no,
            "another request has nothing to do with it"
        );
    }

    #[test]
    fn an_endpoint_that_stays_after_all_keeps_what_it_has() {
        let watches = Rc::new(Watches::default());
        let watch = Watch::new(&watches);
        watch.set_state(State::At(Cell(1)));
        let seconds = Duration::from_secs;
        let left = Drain {
            websockets: seconds(9),
            ..Drain::all(seconds(4))
        };
        watches.part(Cell(1), left, || 0);
        watches.stay(|cell| cell == Cell(2));
        watches.part_due(3_000_000);
        assert!(watch.is_parting(), "another one stays");
        watches.stay(|cell| cell == Cell(1));
        watches.part_due(5_000_000);
        assert!(!watch.is_parting() && !watch.is_cut());
        watch.set_carrier(Carrier::Websocket, || 0);
        watches.part_due(9_000_000);
        assert!(
            !watch.is_parting(),
            "what comes later has nothing to do with it"
        );
    }

    #[test]
    fn whatever_comes_while_the_thread_leaves_is_told_as_well() {
        let watches = Rc::new(Watches::default());
        watches.part_all(Duration::from_secs(40), || 0);
        let watch = Watch::new(&watches);
        watch.set_state(State::At(Cell(3)));
        watch.set_carrier(Carrier::Websocket, || 0);
        watches.part_due(29_999_999);
        assert!(!watch.is_parting());
        watches.part_due(30_000_000);
        assert!(watch.is_parting());
    }
}
