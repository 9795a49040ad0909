//! The ledger's totals in a form that can be written down.

use std::collections::BTreeMap;

use ledger::{CellTotals, Histogram, ServiceTotals};
use serde::{Deserialize, Serialize};
use traffic::{Dropped, Effect, Outcome, Rejected};

/// Totals of one or many endpoints, in a form that stays readable when outcomes are added.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Figures {
    /// By phase and outcome, by their indices.
    outcomes: Vec<Vec<u64>>,
    /// Counts by bucket.
    latency: BTreeMap<usize, u32>,
}

impl Figures {
    pub(crate) fn of(totals: &CellTotals) -> Self {
        Self {
            outcomes: totals.outcomes.iter().map(|row| row.to_vec()).collect(),
            latency: totals.latency.counts().collect(),
        }
    }

    pub(crate) fn totals(&self) -> CellTotals {
        let mut totals = CellTotals::default();
        for (row, written) in totals.outcomes.iter_mut().zip(&self.outcomes) {
            row.iter_mut()
                .zip(written)
                .for_each(|(mine, count)| *mine = *count);
        }
        totals.latency = self.histogram();
        totals
    }

    /// Adds what came between two readings of a cell.
    pub(crate) fn add(&mut self, fresh: &CellTotals) {
        let mut totals = self.totals();
        totals.add(fresh);
        *self = Self::of(&totals);
    }

    pub(crate) fn histogram(&self) -> Histogram {
        let mut histogram = Histogram::default();
        for (&bucket, &count) in &self.latency {
            histogram.add_to(bucket, count);
        }
        histogram
    }

    /// Every outcome that was seen, with what it means.
    pub(crate) fn seen(&self) -> Vec<(Outcome, Effect, u64)> {
        let all = self.totals();
        let seen = all.seen();
        seen.map(|(phase, outcome, count)| (outcome, outcome.effect(phase), count))
            .collect()
    }
}

/// Totals of a service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ServiceFigures {
    pub(crate) requests: u64,
    pub(crate) moved_back: u64,
    pub(crate) killed_waiting: u64,
    #[serde(default)]
    pub(crate) held: u64,
    #[serde(default)]
    pub(crate) held_left: u64,
    #[serde(default)]
    pub(crate) queue_left: u64,
    #[serde(default)]
    pub(crate) cut_websockets: u64,
    #[serde(default)]
    pub(crate) cut_streams: u64,
    #[serde(default)]
    pub(crate) hedged: u64,
    #[serde(default)]
    pub(crate) hedges_won: u64,
    /// By the reason's index.
    rejected: Vec<u64>,
    /// By the reason's index.
    #[serde(default)]
    not_copied: Vec<u64>,
}

impl ServiceFigures {
    pub(crate) fn of(totals: &ServiceTotals) -> Self {
        Self {
            requests: totals.requests,
            moved_back: totals.moved_back,
            killed_waiting: totals.killed_waiting,
            held: totals.held,
            held_left: totals.held_left,
            queue_left: totals.queue_left,
            cut_websockets: totals.cut_websockets,
            cut_streams: totals.cut_streams,
            hedged: totals.hedged,
            hedges_won: totals.hedges_won,
            rejected: totals.rejected.to_vec(),
            not_copied: totals.not_copied.to_vec(),
        }
    }

    /// What came since `earlier`; smaller totals are those of a new server's ledger.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        if self.requests < earlier.requests {
            return self.clone();
        }
        Self {
            requests: self.requests.saturating_sub(earlier.requests),
            moved_back: self.moved_back.saturating_sub(earlier.moved_back),
            killed_waiting: self.killed_waiting.saturating_sub(earlier.killed_waiting),
            held: self.held.saturating_sub(earlier.held),
            held_left: self.held_left.saturating_sub(earlier.held_left),
            queue_left: self.queue_left.saturating_sub(earlier.queue_left),
            cut_websockets: self.cut_websockets.saturating_sub(earlier.cut_websockets),
            cut_streams: self.cut_streams.saturating_sub(earlier.cut_streams),
            hedged: self.hedged.saturating_sub(earlier.hedged),
            hedges_won: self.hedges_won.saturating_sub(earlier.hedges_won),
            rejected: counts_since(&self.rejected, &earlier.rejected),
            not_copied: counts_since(&self.not_copied, &earlier.not_copied),
        }
    }

    pub(crate) fn add(&mut self, fresh: &Self) {
        self.requests += fresh.requests;
        self.moved_back += fresh.moved_back;
        self.killed_waiting += fresh.killed_waiting;
        self.held += fresh.held;
        self.held_left += fresh.held_left;
        self.queue_left += fresh.queue_left;
        self.cut_websockets += fresh.cut_websockets;
        self.cut_streams += fresh.cut_streams;
        self.hedged += fresh.hedged;
        self.hedges_won += fresh.hedges_won;
        add_counts(&mut self.rejected, &fresh.rejected);
        add_counts(&mut self.not_copied, &fresh.not_copied);
    }

    pub(crate) fn not_copied(&self, reason: Dropped) -> u64 {
        self.not_copied.get(reason.index()).copied().unwrap_or(0)
    }

    pub(crate) fn rejected(&self, reason: Rejected) -> u64 {
        self.rejected.get(reason.index()).copied().unwrap_or(0)
    }
}

fn counts_since(now: &[u64], earlier: &[u64]) -> Vec<u64> {
    let before = |at: usize| earlier.get(at).copied().unwrap_or(0);
    let counts = now.iter().enumerate();
    counts
        .map(|(at, count)| count.saturating_sub(before(at)))
        .collect()
}

fn add_counts(own: &mut Vec<u64>, fresh: &[u64]) {
    own.resize(own.len().max(fresh.len()), 0);
    for (mine, more) in own.iter_mut().zip(fresh) {
        *mine += more;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_survive_being_written_down() {
        let mut totals = CellTotals::default();
        totals.outcomes[1][Outcome::Truncated.index()] = 3;
        totals.latency.record(1_500);
        let text = serde_json::to_string(&Figures::of(&totals)).unwrap();
        let read: Figures = serde_json::from_str(&text).unwrap();
        assert_eq!(read.totals(), totals);
    }

    #[test]
    fn fewer_written_outcomes_than_known_ones_are_read_as_none() {
        let read: Figures = serde_json::from_str(r#"{"outcomes":[[5]],"latency":{}}"#).unwrap();
        assert_eq!(read.totals().outcomes[0][0], 5);
        assert_eq!(read.totals().outcomes[1], [0; Outcome::COUNT]);
    }
}
