//! What a proxy thread writes.

use std::cell::Cell as Local;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicU32, AtomicU64, fence};

use model::{Carrier, Revision};
use traffic::{Cell, Closed, Dropped, Outcome, Phase, Rejected};

use crate::latency::bucket;
use crate::layout::{
    CELLS, DOUBLED, EndpointCell, HEDGED, HEDGES_WON, REJECTED, SERVICES, SHADOW_SLOTS, SLOTS,
    ServiceCell, Slot,
};
use crate::mapping::Mapping;

/// Waits shorter than this are not compared with what other threads saw.
const GAP_WORTH_LOOKING_MICROS: u64 = 1_000;

/// Why no slot can be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WriterError {
    /// All are taken.
    #[error("all slots of the ledger are taken")]
    Full,
}

/// The one writer of a slot. Gives the slot back when dropped, its totals kept.
///
/// It belongs to one thread: it can be moved to another but not shared.
#[derive(Debug)]
pub struct Writer {
    mapping: Mapping,
    slot: usize,
    unshared: PhantomData<Local<()>>,
}

fn raise(counter: &AtomicU64, by: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(by), Relaxed);
}

fn raise_gauge(gauge: &AtomicU32) -> u32 {
    let now = gauge.load(Relaxed).wrapping_add(1);
    gauge.store(now, Relaxed);
    now
}

fn lower_gauge(gauge: &AtomicU32) {
    let before = gauge.load(Relaxed);
    debug_assert!(before > 0, "a gauge is lowered only after it was raised");
    gauge.store(before.saturating_sub(1), Relaxed);
}

impl Writer {
    pub(crate) fn take(
        mapping: Mapping,
        mut slots: Range<usize>,
        (generation, thread): (u64, u32),
    ) -> Result<Self, WriterError> {
        assert!(generation > 0, "generations begin at 1");
        let free = slots.find(|&slot| {
            let owner = &mapping.layout().slots[slot].head.generation;
            owner
                .compare_exchange(0, generation, Acquire, Relaxed)
                .is_ok()
        });
        let slot = free.ok_or(WriterError::Full)?;
        let head = &mapping.layout().slots[slot].head;
        head.thread.store(thread, Relaxed);
        head.used.store(1, Release);
        Ok(Self {
            mapping,
            slot,
            unshared: PhantomData,
        })
    }

    fn slot(&self) -> &Slot {
        &self.mapping.layout().slots[self.slot]
    }

    fn service(&self, service: Cell) -> &ServiceCell {
        &self.slot().services[service.0 as usize % SERVICES]
    }

    fn endpoint(&self, cell: Cell) -> &EndpointCell {
        &self.slot().endpoints[cell.0 as usize % CELLS]
    }

    fn open_gauge(&self, cell: Cell) -> &AtomicU32 {
        &self.slot().open[cell.0 as usize % CELLS]
    }

    /// Confirms a table: every later request is matched with it or a newer one.
    pub fn confirm(&self, revision: Revision) {
        self.slot().head.confirmed.store(revision.0, Release);
    }

    /// Says that the thread is alive.
    pub fn beat(&self, now_micros: u64) {
        self.slot().head.beat_micros.store(now_micros, Relaxed);
    }

    /// The number of requests that this thread has open at an endpoint.
    #[must_use]
    pub fn open(&self, cell: Cell) -> u32 {
        self.open_gauge(cell).load(Relaxed)
    }

    /// The number of requests that all threads of all workers have open at an endpoint.
    ///
    /// Of several threads that claim at the same time and then ask, the last to claim sees the
    /// claims of all.
    #[must_use]
    pub fn open_everywhere(&self, cell: Cell) -> u32 {
        fence(SeqCst);
        self.sum(|slot| slot.open[cell.0 as usize % CELLS].load(Relaxed))
    }

    /// The number of requests of a service that wait for an endpoint in all threads of all
    /// workers.
    #[must_use]
    pub fn waiting_everywhere(&self, service: Cell) -> u32 {
        fence(SeqCst);
        self.sum(|slot| slot.waiting[service.0 as usize % SERVICES].load(Relaxed))
    }

    fn sum(&self, gauge: impl Fn(&Slot) -> u32) -> u32 {
        self.used().map(gauge).fold(0, u32::saturating_add)
    }

    fn used(&self) -> impl Iterator<Item = &Slot> {
        // A shadow takes no place from a request, and nobody waits for it.
        let slots = self.mapping.layout().slots[..SLOTS - SHADOW_SLOTS].iter();
        slots.filter(|slot| slot.head.used.load(Acquire) != 0)
    }

    /// Takes a claim back that came to nothing, as if it had never been.
    pub fn unclaim(&self, cell: Cell) {
        lower_gauge(self.open_gauge(cell));
    }

    /// Admits a request to an endpoint; [`Writer::end`] must follow.
    pub fn claim(&self, cell: Cell) {
        raise_gauge(self.open_gauge(cell));
    }

    /// Ends a request that was admitted to an endpoint.
    pub fn end(&self, cell: Cell, outcome: Outcome) {
        self.count(cell, outcome);
        lower_gauge(self.open_gauge(cell));
    }

    /// Counts an outcome without ending the request: a tunnel that begins.
    pub fn count(&self, cell: Cell, outcome: Outcome) {
        let told = self.mapping.layout().told[cell.0 as usize % CELLS].load(Acquire);
        let phase = if told == 0 {
            Phase::Serving
        } else {
            Phase::Told
        };
        raise(
            &self.endpoint(cell).outcomes[phase.index()][outcome.index()],
            1,
        );
    }

    /// Counts the latency of a whole response.
    pub fn latency(&self, cell: Cell, micros: u64) {
        let counter = &self.endpoint(cell).latency[bucket(micros)];
        counter.store(counter.load(Relaxed).wrapping_add(1), Relaxed);
    }

    /// Counts bytes of bodies sent to and got from an endpoint.
    pub fn bytes(&self, cell: Cell, to: u64, from: u64) {
        let endpoint = self.endpoint(cell);
        raise(&endpoint.bytes_to, to);
        raise(&endpoint.bytes_from, from);
    }

    /// A connection's next request may be there and is about to be read.
    pub fn reading_begins(&self) {
        raise_gauge(&self.slot().head.reading);
    }

    /// It was not there, or was admitted or answered.
    pub fn reading_ends(&self) {
        lower_gauge(&self.slot().head.reading);
    }

    /// A client's connection begins. Returns how many this thread has.
    pub fn connection_begins(&self) -> u32 {
        raise_gauge(&self.slot().head.connections)
    }

    /// A client's connection has ended.
    pub fn connection_ends(&self) {
        lower_gauge(&self.slot().head.connections);
    }

    /// Counts a connection without a request that the proxy closed.
    pub fn closed(&self, reason: Closed) {
        raise(&self.slot().head.closed[reason.index()], 1);
    }

    /// Counts a request that arrived for a service.
    pub fn request(&self, service: Cell) {
        raise(&self.service(service).requests, 1);
    }

    /// A request begins to wait for an endpoint. Returns how many this thread has waiting.
    pub fn waiting_begins(&self, service: Cell) -> u32 {
        raise_gauge(&self.slot().waiting[service.0 as usize % SERVICES])
    }

    /// It waits no more.
    pub fn waiting_ends(&self, service: Cell) {
        lower_gauge(&self.slot().waiting[service.0 as usize % SERVICES]);
    }

    /// Counts a request that a pause begins to hold.
    pub fn held(&self, service: Cell) {
        raise(&self.service(service).held, 1);
    }

    /// Counts a held request whose client left.
    pub fn held_left(&self, service: Cell) {
        raise(&self.service(service).held_left, 1);
    }

    /// Counts a request whose client left while every endpoint was full.
    pub fn queue_left(&self, service: Cell) {
        raise(&self.service(service).queue_left, 1);
    }

    /// Counts what carried a request of a service that was cut.
    pub fn cut(&self, service: Cell, carrier: Carrier) {
        let service = self.service(service);
        match carrier {
            Carrier::Request => {}
            Carrier::Websocket => drop(raise_gauge(&service.cut_websockets)),
            Carrier::Stream => drop(raise_gauge(&service.cut_streams)),
        }
    }

    /// Counts a request that the proxy answered itself, of a service or of none.
    pub fn rejected(&self, service: Option<Cell>, reason: Rejected) {
        let counters = match service {
            Some(service) => &self.service(service).rejected,
            None => &self.slot().head.rejected,
        };
        raise(&counters[reason.index()], 1);
    }

    /// Counts a second attempt at a request of a service, beside the first one.
    pub fn hedged(&self, service: Cell) {
        raise(&self.service(service).rejected[HEDGED], 1);
    }

    /// A request of a service is at two endpoints from now on, open at both.
    pub fn doubles(&self, service: Cell) {
        raise(&self.service(service).rejected[DOUBLED], 1);
    }

    /// It is at one of them alone.
    pub fn doubles_no_more(&self, service: Cell) {
        let doubled = &self.service(service).rejected[DOUBLED];
        doubled.store(doubled.load(Relaxed).saturating_sub(1), Release);
    }

    /// Counts one that answered first.
    pub fn hedge_won(&self, service: Cell) {
        raise(&self.service(service).rejected[HEDGES_WON], 1);
    }

    /// Counts a request that was drawn for a service's shadow and not copied.
    pub fn not_copied(&self, service: Cell, reason: Dropped) {
        let counters = &self.service(service).rejected;
        raise(&counters[REJECTED - 1 - reason.index()], 1);
    }

    /// Counts a user moved back because the candidate had no ready endpoint.
    pub fn moved_back(&self, service: Cell) {
        raise(&self.service(service).moved_back, 1);
    }

    /// A response of a service begins now, to a request that arrived at `arrived_micros`.
    pub fn response_begins(&self, service: Cell, arrived_micros: u64, now_micros: u64) {
        self.gap(service, arrived_micros, now_micros);
        self.service(service)
            .begun_micros
            .store(now_micros, Relaxed);
    }

    /// A request of a service ends now without any response having begun.
    pub fn response_never_begins(&self, service: Cell, arrived_micros: u64, now_micros: u64) {
        self.gap(service, arrived_micros, now_micros);
    }

    /// Notes how long a request waited in which no response of the service began.
    fn gap(&self, service: Cell, arrived_micros: u64, now_micros: u64) {
        let cell = self.service(service);
        let own = now_micros.saturating_sub(arrived_micros.max(cell.begun_micros.load(Relaxed)));
        let wait = if own < GAP_WORTH_LOOKING_MICROS {
            own
        } else {
            own.min(now_micros.saturating_sub(self.begun_anywhere(service)))
        };
        cell.gaps.record(now_micros, wait);
    }

    fn begun_anywhere(&self, service: Cell) -> u64 {
        let begun = self.used().map(|slot| {
            slot.services[service.0 as usize % SERVICES]
                .begun_micros
                .load(Relaxed)
        });
        begun.max().unwrap_or(0)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let head = &self.slot().head;
        head.confirmed.store(0, Relaxed);
        head.generation.store(0, Release);
    }
}
