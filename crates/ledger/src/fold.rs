//! Turns what a dead worker had open into totals, once, whoever dies while doing it.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use traffic::{Cell, Outcome, Phase};

use crate::layout::{CELLS, DOUBLED, SHADOW_SLOTS, SLOTS, Slot};
use crate::reader::Ledger;

/// What a dead worker had open. All of it is counted as [`Outcome::Killed`] or in the
/// `killed_…` totals as well.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dead {
    /// Requests open at endpoints.
    pub open: Vec<(Cell, u32)>,
    /// Requests of services that waited for an endpoint.
    pub waiting: Vec<(Cell, u32)>,
    /// Connections with a request read in part.
    pub reading: u32,
    /// Client connections, the above included.
    pub connections: u32,
}

impl Ledger {
    /// Counts what a dead worker had open as killed, and frees its slots. To be called by
    /// whoever holds control, once the supervisor says that the worker is dead; when that
    /// process dies in the middle, the next one's call counts nothing twice.
    pub fn fold_dead(&self, generation: u64) -> Dead {
        let mut dead = Dead::default();
        let mut copies = Dead::default();
        for (number, slot) in self.numbered() {
            if generation != 0 && slot.head.generation.load(Acquire) == generation {
                // Nobody waited for a copy.
                slot.fold(if number < SLOTS - SHADOW_SLOTS {
                    &mut dead
                } else {
                    &mut copies
                });
                slot.head.confirmed.store(0, Relaxed);
                slot.head.generation.store(0, Release);
            }
        }
        dead
    }
}

impl Slot {
    fn fold(&self, dead: &mut Dead) {
        self.fold_again(dead);
        for cell in 0..CELLS {
            let open = self.open[cell].load(Relaxed);
            if open > 0 {
                self.head
                    .fold_before
                    .store(self.killed(cell).load(Relaxed), Relaxed);
                self.head.fold_cell.store(cell as u32 + 1, Release);
                self.fold_again(dead);
            }
        }
        for (service, waiting) in self.waiting.iter().enumerate() {
            let waited = waiting.swap(0, Relaxed);
            if waited > 0 {
                self.services[service]
                    .killed_waiting
                    .fetch_add(u64::from(waited), Relaxed);
                dead.waiting.push((Cell(service as u32), waited));
            }
        }
        for service in &self.services {
            service.rejected[DOUBLED].store(0, Relaxed);
        }
        let reading = self.head.reading.swap(0, Relaxed);
        self.head
            .killed_reading
            .fetch_add(u64::from(reading), Relaxed);
        dead.reading += reading;
        dead.connections += self.head.connections.swap(0, Relaxed);
    }

    /// Does the noted endpoint, from wherever an earlier call stopped.
    fn fold_again(&self, dead: &mut Dead) {
        let Some(cell) = (self.head.fold_cell.load(Acquire) as usize).checked_sub(1) else {
            return;
        };
        let open = self.open[cell].load(Acquire);
        if open > 0 {
            let before = self.head.fold_before.load(Relaxed);
            self.killed(cell).store(before + u64::from(open), Release);
            self.open[cell].store(0, Release);
            dead.open.push((Cell(cell as u32), open));
        }
        self.head.fold_cell.store(0, Release);
    }

    fn killed(&self, cell: usize) -> &AtomicU64 {
        // Nobody told this endpoint anything about the worker's death: the phase says
        // nothing here, and both mean the same for a receipt.
        &self.endpoints[cell].outcomes[Phase::Serving.index()][Outcome::Killed.index()]
    }
}

#[cfg(test)]
mod tests {
    use rustix::fs::MemfdFlags;

    use super::*;

    /// A ledger in which generation 7 had two requests open at cell 5, and 3 were killed
    /// there before.
    fn ledger() -> Ledger {
        let memory = rustix::fs::memfd_create("ledger", MemfdFlags::CLOEXEC).unwrap();
        rustix::fs::ftruncate(&memory, crate::SIZE).unwrap();
        let ledger = Ledger::map(&memory).unwrap();
        let writer = ledger.writer(7, 0).unwrap();
        writer.claim(Cell(5));
        writer.claim(Cell(5));
        (0..3).for_each(|_| writer.count(Cell(5), Outcome::Killed));
        // A killed worker gives nothing back.
        std::mem::forget(writer);
        ledger
    }

    fn killed(ledger: &Ledger) -> u64 {
        ledger
            .cell(Cell(5))
            .outcome(Phase::Serving, Outcome::Killed)
    }

    #[test]
    fn a_fold_that_was_interrupted_anywhere_counts_each_request_once() {
        type Step = fn(&Slot);
        let steps: [Step; 4] = [
            |slot| slot.head.fold_before.store(3, Relaxed),
            |slot| slot.head.fold_cell.store(6, Relaxed),
            |slot| slot.killed(5).store(5, Relaxed),
            |slot| slot.open[5].store(0, Relaxed),
        ];
        for done in 0..=steps.len() {
            let ledger = ledger();
            let slot = ledger.used().next().unwrap();
            steps[..done].iter().for_each(|step| step(slot));
            ledger.fold_dead(7);
            assert_eq!(killed(&ledger), 5, "after {done} steps");
            assert_eq!(ledger.open(Cell(5)), 0, "after {done} steps");
            assert!(ledger.generations().is_empty());
        }
    }
}
