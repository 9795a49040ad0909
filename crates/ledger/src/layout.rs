//! What is where in the memory file. A change here is a new [`LAYOUT`].

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU32, AtomicU64};

use traffic::{Closed, Dropped, Outcome, Phase, Rejected};

use crate::gap::GapRing;
use crate::latency::BUCKETS;

/// How many threads can write at a time, over all living workers.
///
/// Memory is taken only by those that were ever used; draining workers keep theirs for as long
/// as a connection lasts.
pub const SLOTS: usize = 64;
/// The last of them: those of threads that ask shadows. Nobody got what is counted there.
pub const SHADOW_SLOTS: usize = 8;
/// How many endpoints there can be.
pub const CELLS: usize = 4096;
/// How many services there can be.
pub const SERVICES: usize = 256;

/// `GAPLESS` and the number of this layout.
pub(crate) const LAYOUT: u64 = u64::from_be_bytes(*b"GAPLESS\x03");

/// Room for reasons: new ones are no new layout. Those of [`Dropped`] begin at its end.
pub(crate) const REJECTED: usize = 32;
/// The same of [`Closed`].
pub(crate) const CLOSED: usize = 32;
/// Second attempts beside a first one, in the same room of a service.
pub(crate) const HEDGED: usize = 24;
/// Those of them that answered first.
pub(crate) const HEDGES_WON: usize = 25;
/// Requests that are at two endpoints now: a gauge.
pub(crate) const DOUBLED: usize = 26;
const _: () = assert!(Rejected::COUNT <= HEDGED && Closed::COUNT <= CLOSED);
const _: () = assert!(DOUBLED + Dropped::COUNT < REJECTED);

/// The whole file. Every field is an atomic and valid as zeros.
#[repr(C)]
pub(crate) struct Layout {
    pub(crate) layout: AtomicU64,
    /// Written by control alone: 1 for an endpoint that was told to go.
    pub(crate) told: [AtomicU32; CELLS],
    pub(crate) slots: [Slot; SLOTS],
}

/// What one proxy thread writes.
#[repr(C, align(64))]
pub(crate) struct Slot {
    pub(crate) head: SlotHead,
    /// Requests admitted to each endpoint and not yet ended.
    pub(crate) open: [AtomicU32; CELLS],
    /// Requests of each service that wait for an endpoint.
    pub(crate) waiting: [AtomicU32; SERVICES],
    pub(crate) services: [ServiceCell; SERVICES],
    pub(crate) endpoints: [EndpointCell; CELLS],
}

/// Who writes to a slot, and what belongs to no service.
#[repr(C, align(64))]
pub(crate) struct SlotHead {
    /// The worker's generation, 0 for nobody.
    pub(crate) generation: AtomicU64,
    /// The thread's number within its worker.
    pub(crate) thread: AtomicU32,
    /// 1 once anybody has written here.
    pub(crate) used: AtomicU32,
    /// The table that the thread follows; 0 before the first.
    pub(crate) confirmed: AtomicU64,
    /// When the thread was last alive, in microseconds of the system's monotonic clock.
    pub(crate) beat_micros: AtomicU64,
    /// Connections whose next request was read in part.
    pub(crate) reading: AtomicU32,
    /// Client connections.
    pub(crate) connections: AtomicU32,
    /// Requests answered by the proxy that reached no service.
    pub(crate) rejected: [AtomicU64; REJECTED],
    /// Connections without a request that the proxy closed.
    pub(crate) closed: [AtomicU64; CLOSED],
    /// Connections with a request read in part when their worker died.
    pub(crate) killed_reading: AtomicU64,
    /// Which endpoint's open requests are being counted as killed: its index plus one.
    pub(crate) fold_cell: AtomicU32,
    /// The count before they were added.
    pub(crate) fold_before: AtomicU64,
}

/// What is known of one service.
#[repr(C, align(64))]
pub(crate) struct ServiceCell {
    pub(crate) requests: AtomicU64,
    pub(crate) moved_back: AtomicU64,
    /// Requests that waited for an endpoint in a worker that died.
    pub(crate) killed_waiting: AtomicU64,
    /// Requests that a pause held.
    pub(crate) held: AtomicU64,
    /// Those of them whose clients left before they were let go.
    pub(crate) held_left: AtomicU64,
    pub(crate) rejected: [AtomicU64; REJECTED],
    /// When a response last began.
    pub(crate) begun_micros: AtomicU64,
    pub(crate) gaps: GapRing,
    /// Requests whose clients left while every endpoint was full.
    pub(crate) queue_left: AtomicU64,
    /// Of the requests that were cut: those that had become WebSockets or the like.
    pub(crate) cut_websockets: AtomicU32,
    /// Those that were streams.
    pub(crate) cut_streams: AtomicU32,
}

// What was added last took the place of padding: the layout is the same.
const _: () = assert!(size_of::<ServiceCell>() == 21 * 64);

/// What is known of one endpoint.
#[repr(C, align(64))]
pub(crate) struct EndpointCell {
    /// Bytes of bodies sent to it.
    pub(crate) bytes_to: AtomicU64,
    /// Bytes of bodies it sent.
    pub(crate) bytes_from: AtomicU64,
    pub(crate) outcomes: [[AtomicU64; Outcome::COUNT]; Phase::COUNT],
    pub(crate) latency: [AtomicU32; BUCKETS],
}

impl EndpointCell {
    pub(crate) fn clear(&self) {
        self.bytes_to.store(0, Relaxed);
        self.bytes_from.store(0, Relaxed);
        self.outcomes
            .iter()
            .flatten()
            .for_each(|counter| counter.store(0, Relaxed));
        self.latency
            .iter()
            .for_each(|counter| counter.store(0, Relaxed));
    }
}

impl ServiceCell {
    pub(crate) fn clear(&self) {
        self.requests.store(0, Relaxed);
        self.moved_back.store(0, Relaxed);
        self.killed_waiting.store(0, Relaxed);
        self.held.store(0, Relaxed);
        self.held_left.store(0, Relaxed);
        self.queue_left.store(0, Relaxed);
        self.cut_websockets.store(0, Relaxed);
        self.cut_streams.store(0, Relaxed);
        self.rejected
            .iter()
            .for_each(|counter| counter.store(0, Relaxed));
        self.begun_micros.store(0, Relaxed);
        self.gaps.clear();
    }
}
