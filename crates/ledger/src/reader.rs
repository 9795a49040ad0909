//! What control reads, over all threads of all workers.

use std::os::fd::AsFd;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use model::Revision;
use traffic::Cell;

use crate::layout::{CELLS, DOUBLED, Layout, SERVICES, SHADOW_SLOTS, SLOTS, Slot};
use crate::mapping::{MapError, Mapping};
use crate::totals::{CellTotals, ServiceTotals, SlotTotals};
use crate::writer::{Writer, WriterError};

/// The ledger as a whole. Clones share the mapping.
#[derive(Debug, Clone)]
pub struct Ledger {
    mapping: Mapping,
}

/// A thread that has not confirmed a table yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overdue {
    /// Its worker.
    pub generation: u64,
    /// Its number within the worker.
    pub thread: u32,
    /// The table that it follows, 0 before its first.
    pub confirmed: Revision,
    /// When it was last alive, in microseconds of the monotonic clock.
    pub beat_micros: u64,
}

impl Ledger {
    /// Maps the supervisor's memory file. A new one (all zeros) is marked as ours.
    ///
    /// # Errors
    ///
    /// [`MapError`] when the file is too small, of another layout or cannot be mapped.
    pub fn map(fd: impl AsFd) -> Result<Self, MapError> {
        Ok(Self {
            mapping: Mapping::new(fd)?,
        })
    }

    /// Takes a slot for a proxy thread of a worker's generation (at least 1).
    ///
    /// # Errors
    ///
    /// [`WriterError::Full`] when there is none left.
    pub fn writer(&self, generation: u64, thread: u32) -> Result<Writer, WriterError> {
        let slots = 0..SLOTS - SHADOW_SLOTS;
        Writer::take(self.mapping.clone(), slots, (generation, thread))
    }

    /// Takes a slot for a thread that asks shadows. What it has open holds up a drain like
    /// everything else, and is part of no other figure than [`Ledger::copies`].
    ///
    /// # Errors
    ///
    /// [`WriterError::Full`] when there is none left.
    pub fn shadow_writer(&self, generation: u64) -> Result<Writer, WriterError> {
        let slots = SLOTS - SHADOW_SLOTS..SLOTS;
        let thread = u32::try_from(SLOTS).expect("there are few slots");
        Writer::take(self.mapping.clone(), slots, (generation, thread))
    }

    fn layout(&self) -> &Layout {
        self.mapping.layout()
    }

    pub(crate) fn used(&self) -> impl Iterator<Item = &Slot> {
        used(&self.layout().slots)
    }

    /// The same with their numbers.
    pub(crate) fn numbered(&self) -> impl Iterator<Item = (usize, &Slot)> {
        let slots = self.layout().slots.iter().enumerate();
        slots.filter(|(_, slot)| slot.head.used.load(Acquire) != 0)
    }

    /// The slots of those that answer somebody.
    fn serving(&self) -> impl Iterator<Item = &Slot> {
        used(&self.layout().slots[..SLOTS - SHADOW_SLOTS])
    }

    /// True once every thread that holds a slot follows this table or a newer one.
    #[must_use]
    pub fn confirmed(&self, revision: Revision) -> bool {
        self.overdue(revision).is_empty()
    }

    /// The threads that do not follow this table yet.
    #[must_use]
    pub fn overdue(&self, revision: Revision) -> Vec<Overdue> {
        let owned = self.used().filter_map(|slot| {
            let generation = slot.head.generation.load(Acquire);
            let confirmed = Revision(slot.head.confirmed.load(Acquire));
            (generation != 0 && confirmed < revision).then(|| Overdue {
                generation,
                thread: slot.head.thread.load(Relaxed),
                confirmed,
                beat_micros: slot.head.beat_micros.load(Relaxed),
            })
        });
        owned.collect()
    }

    /// The generations that hold slots, each once, in order.
    #[must_use]
    pub fn generations(&self) -> Vec<u64> {
        let owners = self.used().map(|slot| slot.head.generation.load(Acquire));
        let mut generations: Vec<u64> = owners.filter(|&owner| owner != 0).collect();
        generations.sort_unstable();
        generations.dedup();
        generations
    }

    /// Client connections of one worker.
    #[must_use]
    pub fn connections(&self, generation: u64) -> u64 {
        let own = self
            .used()
            .filter(|slot| slot.head.generation.load(Acquire) == generation);
        own.map(|slot| u64::from(slot.head.connections.load(Relaxed)))
            .sum()
    }

    /// Requests admitted to an endpoint and not yet ended, over all workers, and copies.
    #[must_use]
    pub fn open(&self, cell: Cell) -> u64 {
        open(self.used(), cell)
    }

    /// The same without copies: somebody waits for each of them.
    #[must_use]
    pub fn open_requests(&self, cell: Cell) -> u64 {
        open(self.serving(), cell)
    }

    /// Requests of a service that wait for an endpoint, over all workers.
    #[must_use]
    pub fn waiting(&self, service: Cell) -> u64 {
        let gauges = self
            .used()
            .map(|slot| slot.waiting[service.0 as usize % SERVICES].load(Acquire));
        gauges.map(u64::from).sum()
    }

    /// Requests of a service that are open at two endpoints each, over all workers.
    #[must_use]
    pub fn doubled(&self, service: Cell) -> u64 {
        let gauges = self.used().map(|slot| {
            slot.services[service.0 as usize % SERVICES].rejected[DOUBLED].load(Acquire)
        });
        gauges.sum()
    }

    /// Totals of an endpoint, without copies.
    #[must_use]
    pub fn cell(&self, cell: Cell) -> CellTotals {
        totals(self.serving(), cell)
    }

    /// Totals of the copies that an endpoint got.
    #[must_use]
    pub fn copies(&self, cell: Cell) -> CellTotals {
        totals(used(&self.layout().slots[SLOTS - SHADOW_SLOTS..]), cell)
    }

    /// Totals of a service.
    #[must_use]
    pub fn service(&self, service: Cell) -> ServiceTotals {
        let mut totals = ServiceTotals::default();
        for slot in self.used() {
            totals.add_cell(&slot.services[service.0 as usize % SERVICES]);
        }
        totals
    }

    /// Totals of what belongs to no service.
    #[must_use]
    pub fn slots(&self) -> SlotTotals {
        let mut totals = SlotTotals::default();
        for slot in self.used() {
            totals.add_head(&slot.head);
        }
        totals
    }

    /// The longest time within the window in which a request of the service waited and no
    /// response began, in microseconds. The window goes back at most
    /// [`crate::GAP_SECONDS`] and counts whole seconds of the monotonic clock.
    #[must_use]
    pub fn longest_gap(&self, service: Cell, from_micros: u64, to_micros: u64) -> u64 {
        let rings = self
            .used()
            .map(|slot| &slot.services[service.0 as usize % SERVICES].gaps);
        rings
            .map(|ring| ring.longest(from_micros, to_micros))
            .max()
            .unwrap_or(0)
    }

    /// Says whether an endpoint was told to go; must come before the telling.
    pub fn set_told(&self, cell: Cell, told: bool) {
        self.layout().told[cell.0 as usize % CELLS].store(u32::from(told), Release);
    }

    /// Clears an endpoint's figures for a new owner. Returns false, and does nothing, while
    /// a request is open there; the caller sees to it that no table has the cell.
    pub fn reset(&self, cell: Cell) -> bool {
        if self.open(cell) > 0 {
            return false;
        }
        self.set_told(cell, false);
        for slot in self.used() {
            slot.endpoints[cell.0 as usize % CELLS].clear();
        }
        true
    }

    /// Clears a service's figures for a new owner; the caller sees to it that no table has it.
    pub fn reset_service(&self, service: Cell) {
        for slot in self.used() {
            let cell = &slot.services[service.0 as usize % SERVICES];
            cell.clear();
        }
    }
}

fn used(slots: &[Slot]) -> impl Iterator<Item = &Slot> {
    slots
        .iter()
        .filter(|slot| slot.head.used.load(Acquire) != 0)
}

fn open<'a>(slots: impl Iterator<Item = &'a Slot>, cell: Cell) -> u64 {
    let gauges = slots.map(|slot| slot.open[cell.0 as usize % CELLS].load(Acquire));
    gauges.map(u64::from).sum()
}

fn totals<'a>(slots: impl Iterator<Item = &'a Slot>, cell: Cell) -> CellTotals {
    let mut totals = CellTotals::default();
    for slot in slots {
        totals.add_cell(&slot.endpoints[cell.0 as usize % CELLS]);
    }
    totals
}
