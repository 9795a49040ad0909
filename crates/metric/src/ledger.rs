//! The built-in source: what the proxy counted.

use std::collections::BTreeMap;

use ledger::{CellTotals, Histogram};
use model::{InstanceId, ReleaseId, ServiceName, Time};
use traffic::Cell;
use verdict::Sample;

use crate::counts::Counts;
use crate::series::Series;
use crate::source::{MetricSource, Window};

/// Whose figures a cell has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The instance.
    pub instance: InstanceId,
    /// The cell's totals when they were last looked at.
    seen: CellTotals,
}

/// Turns the ledger's totals, which only grow, into slices of time by release.
///
/// It is told who owns which cell and looks from time to time; what it learns is kept for a
/// quarter of an hour.
#[derive(Debug, Clone)]
pub struct LedgerSource {
    began: Time,
    looked: Time,
    owners: BTreeMap<Cell, Owner>,
    series: BTreeMap<(ServiceName, ReleaseId), Series>,
}

impl LedgerSource {
    /// A source that knows nothing from before `now`.
    #[must_use]
    pub fn new(now: Time) -> Self {
        Self {
            began: now,
            looked: now,
            owners: BTreeMap::new(),
            series: BTreeMap::new(),
        }
    }

    /// Gives a cell, whose totals are `totals` now, to an instance; a no-op when it has it.
    ///
    /// What the owner before did since the last look must have been looked at.
    pub fn own(&mut self, cell: Cell, instance: &InstanceId, totals: CellTotals) {
        match self.owners.get(&cell) {
            Some(owner) if owner.instance == *instance => {}
            Some(_) | None => {
                let instance = instance.clone();
                let seen = totals;
                self.owners.insert(cell, Owner { instance, seen });
            }
        }
    }

    /// Takes a cell from its owner.
    pub fn disown(&mut self, cell: Cell) {
        self.owners.remove(&cell);
    }

    /// The cells and their owners.
    pub fn owners(&self) -> impl Iterator<Item = (Cell, &InstanceId)> {
        let owners = self.owners.iter();
        owners.map(|(cell, owner)| (*cell, &owner.instance))
    }

    /// Looks at every owned cell: what came since the last look becomes one slice.
    pub fn look(&mut self, now: Time, read: impl Fn(Cell) -> CellTotals) {
        let window = Window {
            from: self.looked,
            to: now,
        };
        if window.to <= window.from {
            return;
        }
        let mut fresh: BTreeMap<(ServiceName, ReleaseId), CellTotals> = BTreeMap::new();
        for (cell, owner) in &mut self.owners {
            let totals = read(*cell);
            let key = (owner.instance.service.clone(), owner.instance.release);
            fresh
                .entry(key)
                .or_default()
                .add(&totals.since(&owner.seen));
            owner.seen = totals;
        }
        for (key, totals) in fresh {
            let series = self.series.entry(key).or_default();
            series.push(window, Counts::of(&totals));
        }
        self.series.retain(|_, series| {
            series.forget(now);
            !series.is_empty()
        });
        self.looked = now;
    }

    /// Latencies of a service over a window, all its releases together.
    #[must_use]
    pub fn latency(&self, service: &ServiceName, window: Window) -> Histogram {
        let mut histogram = Histogram::default();
        let own = self.series.iter().filter(|((name, _), _)| name == service);
        own.for_each(|(_, series)| series.add_latency(window, &mut histogram));
        histogram
    }

    /// Requests of a service over a window, all its releases together.
    #[must_use]
    pub fn requests(&self, service: &ServiceName, window: Window) -> u64 {
        let own = self.series.iter().filter(|((name, _), _)| name == service);
        own.map(|(_, series)| series.sample(window).requests).sum()
    }
}

impl MetricSource for LedgerSource {
    fn name(&self) -> &'static str {
        "built-in"
    }

    fn sample(
        &self,
        service: &ServiceName,
        release: ReleaseId,
        window: Window,
    ) -> Option<(Sample, Window)> {
        let known = Window {
            from: window.from.max(self.began),
            to: window.to.min(self.looked),
        };
        if known.to <= known.from {
            return None;
        }
        let series = self.series.get(&(service.clone(), release));
        let sample = series.map_or_else(Sample::default, |series| series.sample(known));
        Some((sample, known))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use traffic::{Outcome, Phase};

    fn instance(release: u32, serial: u32) -> InstanceId {
        InstanceId {
            service: ServiceName::try_new("web").unwrap(),
            release: ReleaseId(release),
            serial,
        }
    }

    fn totals(fine: u64, failed: u64, micros: u64) -> CellTotals {
        let mut totals = CellTotals::default();
        let serving = &mut totals.outcomes[Phase::Serving.index()];
        serving[Outcome::Status2xx.index()] = fine;
        serving[Outcome::Status5xx.index()] = failed;
        (0..fine).for_each(|_| totals.latency.record(micros));
        totals
    }

    fn sample(source: &LedgerSource, release: u32, (from, to): (u64, u64)) -> Option<Sample> {
        let window = Window {
            from: Time(from),
            to: Time(to),
        };
        let web = ServiceName::try_new("web").unwrap();
        let known = source.sample(&web, ReleaseId(release), window);
        known.map(|(sample, _)| sample)
    }

    #[test]
    fn a_window_has_what_came_within_it_and_nothing_else() {
        let mut source = LedgerSource::new(Time(1_000));
        source.own(Cell(0), &instance(1, 1), totals(100, 50, 10));
        source.look(Time(2_000), |_| totals(110, 50, 10));
        source.look(Time(3_000), |_| totals(113, 52, 10));
        let seen = sample(&source, 1, (2_000, 3_000)).unwrap();
        assert_eq!((seen.requests, seen.failures), (5, 2));
        assert_eq!(seen.latency.map(|latency| latency.p99), Some(10));
        let whole = sample(&source, 1, (0, 9_000)).unwrap();
        assert_eq!((whole.requests, whole.failures), (15, 2));
    }

    #[test]
    fn a_cell_that_changes_hands_takes_no_figures_along() {
        let mut source = LedgerSource::new(Time(0));
        source.own(Cell(3), &instance(1, 1), totals(0, 0, 0));
        source.look(Time(1_000), |_| totals(7, 0, 5));
        source.own(Cell(3), &instance(2, 2), totals(7, 0, 5));
        source.look(Time(2_000), |_| totals(9, 1, 5));
        assert_eq!(sample(&source, 1, (0, 2_000)).unwrap().requests, 7);
        let new = sample(&source, 2, (0, 2_000)).unwrap();
        assert_eq!((new.requests, new.failures), (3, 1));
    }

    #[test]
    fn nothing_known_is_not_zero() {
        let mut source = LedgerSource::new(Time(5_000));
        assert_eq!(sample(&source, 1, (0, 4_000)), None);
        source.look(Time(6_000), |_| CellTotals::default());
        assert_eq!(sample(&source, 1, (6_000, 7_000)), None);
        let idle = sample(&source, 1, (5_000, 6_000)).unwrap();
        assert_eq!((idle.requests, idle.latency), (0, None));
    }

    #[test]
    fn what_a_client_gave_up_is_no_evidence() {
        let mut given_up = CellTotals::default();
        given_up.outcomes[0][Outcome::ClientGone.index()] = 9;
        given_up.outcomes[0][Outcome::ConnectRepeated.index()] = 2;
        let counts = Counts::of(&given_up);
        assert_eq!((counts.requests, counts.failures), (2, 2));
    }

    #[test]
    fn old_slices_are_forgotten() {
        let mut source = LedgerSource::new(Time(0));
        source.own(Cell(0), &instance(1, 1), totals(0, 0, 0));
        source.look(Time(1_000), |_| totals(5, 0, 1));
        source.look(Time(2_000_000), |_| totals(5, 0, 1));
        assert_eq!(sample(&source, 1, (0, 2_000_000)).unwrap().requests, 0);
        assert!(source.series.is_empty());
    }
}
