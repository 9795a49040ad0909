//! How large a batch is: large enough to be quick, small enough that nobody notices.

use std::time::Duration;

/// Batches of fewer rows say nothing: the transaction's own cost is most of them.
const TELLING: u64 = 1_000;

/// The pause after a batch is never longer.
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// Adapts the size of batches to the time that they take.
pub(super) struct Pace {
    units: u64,
    units_max: u64,
    target: Duration,
    /// The quickest that a thousand rows were, in microseconds.
    best: Option<u64>,
}

impl Pace {
    pub(super) fn new(target: Duration, (units, units_max): (u64, u64)) -> Self {
        Self {
            units,
            units_max,
            target,
            best: None,
        }
    }

    /// How many rows, or pages, the next batch has.
    pub(super) fn units(&self) -> u64 {
        self.units
    }

    /// After a batch that others were in the way of, or that did not work.
    pub(super) fn halve(&mut self) {
        self.units = (self.units / 2).max(1);
    }

    /// Learns from a batch and returns how long to leave the machine to others: the time that
    /// the batch took longer than the quickest of its size did, since others slowed it.
    pub(super) fn took(&mut self, rows: u64, took: Duration) -> Duration {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
        let target = u64::try_from(self.target.as_micros()).unwrap_or(u64::MAX);
        // At most twice as many or half as few at a time.
        let wanted = u128::from(self.units) * u128::from(target) / u128::from(micros);
        let wanted = u64::try_from(wanted).unwrap_or(u64::MAX);
        self.units = wanted
            .clamp((self.units / 2).max(1), self.units * 2)
            .min(self.units_max);
        if rows < TELLING {
            return Duration::ZERO;
        }
        let each = micros.saturating_mul(1_000) / rows;
        let best = self.best.map_or(each, |best| best.min(each));
        self.best = Some(best);
        let quick = best.saturating_mul(rows) / 1_000;
        if micros < quick.saturating_mul(3) / 2 {
            return Duration::ZERO;
        }
        Duration::from_micros(micros - quick).min(PAUSE_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: Duration = Duration::from_millis(100);

    #[test]
    fn batches_grow_to_the_time_they_should_take_and_no_further() {
        let mut pace = Pace::new(TARGET, (1_000, 50_000));
        for _ in 0..20 {
            let units = pace.units();
            // A hundred thousand rows a second.
            pace.took(units, Duration::from_micros(units * 10));
        }
        assert_eq!(pace.units(), 10_000);
        for _ in 0..20 {
            pace.took(pace.units(), Duration::from_micros(1));
        }
        assert_eq!(pace.units(), 50_000);
    }

    #[test]
    fn a_busy_machine_is_left_to_others() {
        let mut pace = Pace::new(TARGET, (1_000, 50_000));
        assert_eq!(pace.took(1_000, Duration::from_millis(10)), Duration::ZERO);
        assert_eq!(pace.took(2_000, Duration::from_millis(20)), Duration::ZERO);
        assert_eq!(
            pace.took(2_000, Duration::from_millis(60)),
            Duration::from_millis(40)
        );
        assert_eq!(pace.took(2_000, Duration::from_secs(60)), PAUSE_MAX);
    }

    #[test]
    fn trouble_makes_batches_small_but_never_empty() {
        let mut pace = Pace::new(TARGET, (1_000, 50_000));
        for _ in 0..20 {
            pace.halve();
        }
        assert_eq!(pace.units(), 1);
    }
}
