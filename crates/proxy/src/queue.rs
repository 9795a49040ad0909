//! Requests that wait for a place at an endpoint, all of which are full.
//!
//! Each thread has lines of its own, and only the first of a line asks for a place: nobody
//! overtakes. Threads share the number of each line's first, so that a place that becomes free
//! anywhere goes to whoever has waited longest. Places are counted in the ledger, which the
//! threads of every worker write, so nobody has to be told of one for long: the first of each
//! line asks at every tick as well.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;

use ledger::SERVICES;
use traffic::{Cell, Side};

use crate::orders::OrderBox;
use crate::thread::Thread;

/// What a line's requests wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Line {
    pub(crate) service: Cell,
    pub(crate) side: Side,
    /// The only endpoint that will do. Such lines are each thread's own affair.
    pub(crate) only: Option<Cell>,
}

impl Line {
    fn index(self) -> usize {
        let side = match self.side {
            Side::Stable => 0,
            Side::Candidate => 1,
        };
        self.service.0 as usize % SERVICES * 2 + side
    }
}

/// What the threads of a worker know of each other's lines.
#[derive(Debug)]
pub(crate) struct Heads {
    /// By thread and line, the number of the line's first; 0: nobody waits.
    firsts: Vec<Box<[AtomicU64]>>,
    orders: Vec<Arc<OrderBox>>,
    numbers: AtomicU64,
}

impl Heads {
    pub(crate) fn new(orders: Vec<Arc<OrderBox>>) -> Self {
        let lines = || (0..SERVICES * 2).map(|_| AtomicU64::new(0)).collect();
        Self {
            firsts: orders.iter().map(|_| lines()).collect(),
            orders,
            numbers: AtomicU64::new(1),
        }
    }

    /// The thread whose first of a line has waited longest, and that one's number.
    fn oldest(&self, line: Line) -> Option<(u64, usize)> {
        let firsts = self.firsts.iter().enumerate();
        let waiting = firsts.map(|(thread, lines)| (lines[line.index()].load(SeqCst), thread));
        waiting.filter(|(number, _)| *number > 0).min()
    }

    /// Tells every thread that has the oldest first of one of a service's lines, save `but`.
    pub(crate) fn tell(&self, service: Cell, but: Option<usize>) {
        for side in Side::ALL {
            let line = Line {
                service,
                side,
                only: None,
            };
            if let Some((_, thread)) = self.oldest(line)
                && Some(thread) != but
            {
                self.orders[thread].change(|orders| {
                    orders.freed.insert(service);
                });
            }
        }
    }

    /// Asks every other thread to close idle connections to a service's endpoints.
    fn ask_to_shed(&self, service: Cell, but: usize) {
        let others = self.orders.iter().enumerate().filter(|(at, _)| *at != but);
        for (_, orders) in others {
            orders.change(|orders| {
                orders.shed.insert(service);
            });
        }
    }
}

/// The lines of one thread.
#[derive(Debug)]
pub(crate) struct Queues {
    heads: Arc<Heads>,
    thread: usize,
    /// By the requests' numbers, the places of their connections' watches.
    lines: RefCell<BTreeMap<Line, BTreeMap<u64, usize>>>,
}

impl Queues {
    pub(crate) fn new(heads: Arc<Heads>, thread: usize) -> Self {
        Self {
            heads,
            thread,
            lines: RefCell::default(),
        }
    }

    pub(crate) fn heads(&self) -> &Arc<Heads> {
        &self.heads
    }

    /// A number larger than those given before, in any thread.
    pub(crate) fn number(&self) -> u64 {
        self.heads.numbers.fetch_add(1, SeqCst)
    }

    /// True if nobody in this thread has waited in the line for longer than `number`; `None` is
    /// one that comes now.
    pub(crate) fn is_first(&self, line: Line, number: Option<u64>) -> bool {
        let first = self.first(line);
        first.is_none_or(|first| number.is_some_and(|number| number <= first))
    }

    /// The same over all threads.
    pub(crate) fn is_oldest(&self, line: Line, number: Option<u64>) -> bool {
        let oldest = match line.only {
            None => self.heads.oldest(line),
            Some(_) => None,
        };
        let is_oldest = |(oldest, _)| number.is_some_and(|number| number <= oldest);
        self.is_first(line, number) && oldest.is_none_or(is_oldest)
    }

    fn first(&self, line: Line) -> Option<u64> {
        let lines = self.lines.borrow();
        let (first, _) = lines.get(&line)?.first_key_value()?;
        Some(*first)
    }

    /// True if another thread's requests have waited for a service for longest.
    pub(crate) fn is_awaited_elsewhere(&self, service: Cell) -> bool {
        Side::ALL.into_iter().any(|side| {
            let line = Line {
                service,
                side,
                only: None,
            };
            let oldest = self.heads.oldest(line);
            oldest.is_some_and(|(_, thread)| thread != self.thread)
        })
    }

    /// True if a request waits for a service in this thread.
    pub(crate) fn is_awaited(&self, service: Cell) -> bool {
        let lines = self.lines.borrow();
        lines.keys().any(|line| line.service == service)
    }

    fn change(&self, line: Line, change: impl FnOnce(&mut BTreeMap<u64, usize>)) {
        let mut lines = self.lines.borrow_mut();
        let waiting = lines.entry(line).or_default();
        change(waiting);
        let first = waiting.first_key_value().map_or(0, |(number, _)| *number);
        if waiting.is_empty() {
            lines.remove(&line);
        }
        if line.only.is_none() {
            self.heads.firsts[self.thread][line.index()].store(first, SeqCst);
        }
    }
}

/// A request's place in a line, until it is dropped.
#[derive(Debug)]
pub(crate) struct Queued {
    thread: Rc<Thread>,
    pub(crate) line: Line,
    number: u64,
}

impl Queued {
    pub(crate) fn new(thread: &Rc<Thread>, line: Line, (number, watch): (u64, usize)) -> Self {
        if !thread.queues.is_awaited(line.service) {
            thread
                .queues
                .heads
                .ask_to_shed(line.service, thread.queues.thread);
        }
        thread.queues.change(line, |waiting| {
            waiting.insert(number, watch);
        });
        Self {
            thread: Rc::clone(thread),
            line,
            number,
        }
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.thread.queues.change(self.line, |waiting| {
            waiting.remove(&self.number);
        });
        // There may be room for one more.
        self.thread.place_is_free(self.line.service);
    }
}

impl Thread {
    /// A place at one of a service's endpoints may have become free: whoever has waited longest
    /// is to ask for it.
    pub(crate) fn place_is_free(&self, service: Cell) {
        self.call_firsts(|line| line.service == service);
        self.queues.heads.tell(service, Some(self.queues.thread));
    }

    /// Has the first of each line ask for a place.
    pub(crate) fn call_firsts(&self, of: impl Fn(&Line) -> bool) {
        let lines = self.queues.lines.borrow();
        let called = lines.iter().filter(|(line, _)| of(line));
        for (_, watch) in called.filter_map(|(_, waiting)| waiting.first_key_value()) {
            self.watches.wake_one(*watch);
        }
    }

    /// Closes idle connections to a service's endpoints: others wait for theirs.
    pub(crate) fn shed(&self, service: Cell) {
        if self.queues.is_awaited(service) {
            return;
        }
        self.with_routing(|routing| {
            let services = routing.table.services.iter();
            for service in services.filter(|one| one.cell == service) {
                let limits = service.delivery.limits;
                if limits.is_none_or(|limits| limits.connections_max.is_none()) {
                    continue;
                }
                let sides = std::iter::once(&service.stable).chain(&service.candidate);
                let endpoints = sides.flat_map(|side| &side.endpoints);
                endpoints.for_each(|one| while self.pool.close_one(one.cell) {});
            }
        });
    }
}
