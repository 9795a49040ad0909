//! How large a batch is and how long others have the machine after it: large and at once where
//! nobody else is at work, so that it is quick; small and seldom where somebody is, so that
//! nobody notices.

use std::time::Duration;

use super::crowd::WHOLE;

/// Batches of fewer rows say nothing: the transaction's own cost is most of them.
const TELLING: u64 = 1_000;

/// The pause after a batch is never longer.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// While a whole session of others is at work the pause is so many times the batch,
const PAUSES: u32 = 7;

/// and a batch takes so many times less than it might: nobody waits long for one of its rows.
const SHORTER: u32 = 5;

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

    /// Learns from a batch and returns how long to leave the machine to others, of whom so many
    /// thousandths of a session are at work.
    pub(super) fn took(&mut self, rows: u64, took: Duration, others: u32) -> Duration {
        let others = others.min(WHOLE);
        self.resize(took, others);
        let pause = took * PAUSES * others / WHOLE;
        pause.max(self.slowed(rows, took)).min(PAUSE_MAX)
    }

    /// At most twice as many or half as few at a time.
    fn resize(&mut self, took: Duration, others: u32) {
        let micros = took.as_micros().max(1);
        let target = self.target * WHOLE / (WHOLE + (SHORTER - 1) * others);
        let wanted = u128::from(self.units) * target.as_micros() / micros;
        let wanted = u64::try_from(wanted).unwrap_or(u64::MAX);
        self.units = wanted
            .clamp((self.units / 2).max(1), self.units * 2)
            .min(self.units_max);
    }

    /// The time that a batch took longer than the quickest of its size did: something that is no
    /// session slowed it.
    fn slowed(&mut self, rows: u64, took: Duration) -> Duration {
        if rows < TELLING {
            return Duration::ZERO;
        }
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
        let each = micros.saturating_mul(1_000) / rows;
        let best = self.best.map_or(each, |best| best.min(each));
        self.best = Some(best);
        let quick = best.saturating_mul(rows) / 1_000;
        if micros < quick.saturating_mul(3) / 2 {
            return Duration::ZERO;
        }
        Duration::from_micros(micros - quick)
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
            pace.took(units, Duration::from_micros(units * 10), 0);
        }
        assert_eq!(pace.units(), 10_000);
        for _ in 0..20 {
            pace.took(pace.units(), Duration::from_micros(1), 0);
        }
        assert_eq!(pace.units(), 50_000);
    }

    #[test]
    fn what_slows_a_batch_is_left_to_others() {
        let mut pace = Pace::new(TARGET, (1_000, 50_000));
        let mut pause = |rows, millis| pace.took(rows, Duration::from_millis(millis), 0);
        assert_eq!(pause(1_000, 10), Duration::ZERO);
        assert_eq!(pause(2_000, 20), Duration::ZERO);
        assert_eq!(pause(2_000, 60), Duration::from_millis(40));
        assert_eq!(pause(2_000, 60_000), PAUSE_MAX);
    }

    #[test]
    fn beside_others_batches_are_short_and_pauses_long() {
        let mut pace = Pace::new(TARGET, (1_000, 50_000));
        let mut pause = Duration::ZERO;
        for _ in 0..20 {
            let units = pace.units();
            pause = pace.took(units, Duration::from_micros(units * 10), 3 * WHOLE);
        }
        assert_eq!(pace.units(), 2_000);
        assert_eq!(pause, Duration::from_millis(20) * PAUSES);
        let little = pace.took(2_000, Duration::from_millis(20), WHOLE / 10);
        assert_eq!(little, Duration::from_millis(2) * PAUSES);
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
