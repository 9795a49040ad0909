//! Sums over all slots, and what came between two of them.

use std::sync::atomic::Ordering::Relaxed;

use traffic::{Closed, Dropped, Effect, Outcome, Phase, Rejected};

use crate::latency::Histogram;
use crate::layout::{EndpointCell, HEDGED, HEDGES_WON, ServiceCell, SlotHead};

/// Totals of one endpoint since its cell was last reset.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CellTotals {
    /// Bytes of bodies sent to it.
    pub bytes_to: u64,
    /// Bytes of bodies it sent.
    pub bytes_from: u64,
    /// Outcomes by phase and kind, by their indices.
    pub outcomes: [[u64; Outcome::COUNT]; Phase::COUNT],
    /// Latency of whole responses.
    pub latency: Histogram,
}

impl CellTotals {
    /// How many attempts had this outcome in this phase.
    #[must_use]
    pub fn outcome(&self, phase: Phase, outcome: Outcome) -> u64 {
        self.outcomes[phase.index()][outcome.index()]
    }

    /// Every outcome that was seen, with its phase and count.
    pub fn seen(&self) -> impl Iterator<Item = (Phase, Outcome, u64)> {
        Phase::ALL
            .into_iter()
            .flat_map(|phase| Outcome::ALL.map(|outcome| (phase, outcome)))
            .map(|(phase, outcome)| (phase, outcome, self.outcome(phase, outcome)))
            .filter(|&(_, _, count)| count > 0)
    }

    /// How many attempts ended, however they did.
    #[must_use]
    pub fn ended(&self) -> u64 {
        let ended = self
            .seen()
            .filter(|(phase, outcome, _)| outcome.effect(*phase) != Effect::None);
        ended.map(|(_, _, count)| count).sum()
    }

    /// How many ended attempts meant this for a receipt.
    #[must_use]
    pub fn with_effect(&self, wanted: impl Fn(Effect) -> bool) -> u64 {
        let seen = self
            .seen()
            .filter(|(phase, outcome, _)| wanted(outcome.effect(*phase)));
        seen.map(|(_, _, count)| count).sum()
    }

    /// Adds another's totals: those of the same release.
    pub fn add(&mut self, other: &Self) {
        self.bytes_to += other.bytes_to;
        self.bytes_from += other.bytes_from;
        for (mine, theirs) in self.outcomes.iter_mut().zip(&other.outcomes) {
            for (mine, theirs) in mine.iter_mut().zip(theirs) {
                *mine += theirs;
            }
        }
        self.latency.add(&other.latency);
    }

    /// What came since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut window = self.clone();
        window.bytes_to = self.bytes_to.saturating_sub(earlier.bytes_to);
        window.bytes_from = self.bytes_from.saturating_sub(earlier.bytes_from);
        for (mine, theirs) in window.outcomes.iter_mut().zip(&earlier.outcomes) {
            for (mine, theirs) in mine.iter_mut().zip(theirs) {
                *mine = mine.saturating_sub(*theirs);
            }
        }
        window.latency = self.latency.since(&earlier.latency);
        window
    }

    pub(crate) fn add_cell(&mut self, cell: &EndpointCell) {
        self.bytes_to += cell.bytes_to.load(Relaxed);
        self.bytes_from += cell.bytes_from.load(Relaxed);
        for (mine, theirs) in self.outcomes.iter_mut().zip(&cell.outcomes) {
            for (mine, theirs) in mine.iter_mut().zip(theirs) {
                *mine += theirs.load(Relaxed);
            }
        }
        for (bucket, count) in cell.latency.iter().enumerate() {
            self.latency.add_to(bucket, count.load(Relaxed));
        }
    }
}

/// Totals of one service since its cell was last reset.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ServiceTotals {
    /// Requests that arrived.
    pub requests: u64,
    /// Users moved back because the candidate had no ready endpoint.
    pub moved_back: u64,
    /// Requests that waited for an endpoint in a worker that died.
    pub killed_waiting: u64,
    /// Requests that a pause held.
    pub held: u64,
    /// Those of them whose clients left before they were let go.
    pub held_left: u64,
    /// Requests whose clients left while they waited for a place at an endpoint.
    pub queue_left: u64,
    /// Of the requests that were cut: those that had become WebSockets or the like.
    pub cut_websockets: u64,
    /// Those that were streams.
    pub cut_streams: u64,
    /// Second attempts beside a first one.
    pub hedged: u64,
    /// Those of them that answered first.
    pub hedges_won: u64,
    /// Requests that the proxy answered itself, by the reason's index.
    pub rejected: [u64; Rejected::COUNT],
    /// Requests drawn for a shadow and not copied, by the reason's index.
    pub not_copied: [u64; Dropped::COUNT],
}

impl ServiceTotals {
    /// How many requests the proxy answered itself for this reason.
    #[must_use]
    pub fn rejected(&self, reason: Rejected) -> u64 {
        self.rejected[reason.index()]
    }

    /// What came since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut window = *self;
        window.requests = self.requests.saturating_sub(earlier.requests);
        window.moved_back = self.moved_back.saturating_sub(earlier.moved_back);
        window.killed_waiting = self.killed_waiting.saturating_sub(earlier.killed_waiting);
        window.held = self.held.saturating_sub(earlier.held);
        window.held_left = self.held_left.saturating_sub(earlier.held_left);
        window.queue_left = self.queue_left.saturating_sub(earlier.queue_left);
        window.cut_websockets = self.cut_websockets.saturating_sub(earlier.cut_websockets);
        window.hedged = self.hedged.saturating_sub(earlier.hedged);
        window.hedges_won = self.hedges_won.saturating_sub(earlier.hedges_won);
        window.cut_streams = self.cut_streams.saturating_sub(earlier.cut_streams);
        for (mine, theirs) in window.rejected.iter_mut().zip(&earlier.rejected) {
            *mine = mine.saturating_sub(*theirs);
        }
        for (mine, theirs) in window.not_copied.iter_mut().zip(&earlier.not_copied) {
            *mine = mine.saturating_sub(*theirs);
        }
        window
    }
}

impl ServiceTotals {
    pub(crate) fn add_cell(&mut self, cell: &ServiceCell) {
        self.requests += cell.requests.load(Relaxed);
        self.moved_back += cell.moved_back.load(Relaxed);
        self.killed_waiting += cell.killed_waiting.load(Relaxed);
        self.held += cell.held.load(Relaxed);
        self.held_left += cell.held_left.load(Relaxed);
        self.queue_left += cell.queue_left.load(Relaxed);
        self.cut_websockets += u64::from(cell.cut_websockets.load(Relaxed));
        self.hedged += cell.rejected[HEDGED].load(Relaxed);
        self.hedges_won += cell.rejected[HEDGES_WON].load(Relaxed);
        self.cut_streams += u64::from(cell.cut_streams.load(Relaxed));
        for (mine, theirs) in self.rejected.iter_mut().zip(&cell.rejected) {
            *mine += theirs.load(Relaxed);
        }
        for (mine, theirs) in self.not_copied.iter_mut().zip(cell.rejected.iter().rev()) {
            *mine += theirs.load(Relaxed);
        }
    }
}

/// What belongs to no service, over all threads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SlotTotals {
    /// Client connections now.
    pub connections: u64,
    /// Connections whose next request was read in part, now.
    pub reading: u64,
    /// Connections with a request read in part when their worker died.
    pub killed_reading: u64,
    /// Requests that the proxy answered itself before they reached a service, by the
    /// reason's index.
    pub rejected: [u64; Rejected::COUNT],
    /// Connections without a request that the proxy closed, by the reason's index.
    pub closed: [u64; Closed::COUNT],
}

impl SlotTotals {
    /// How many connections without a request the proxy closed for this reason.
    #[must_use]
    pub fn closed(&self, reason: Closed) -> u64 {
        self.closed[reason.index()]
    }

    pub(crate) fn add_head(&mut self, head: &SlotHead) {
        self.connections += u64::from(head.connections.load(Relaxed));
        self.reading += u64::from(head.reading.load(Relaxed));
        self.killed_reading += head.killed_reading.load(Relaxed);
        for (mine, theirs) in self.rejected.iter_mut().zip(&head.rejected) {
            *mine += theirs.load(Relaxed);
        }
        for (mine, theirs) in self.closed.iter_mut().zip(&head.closed) {
            *mine += theirs.load(Relaxed);
        }
    }
}
