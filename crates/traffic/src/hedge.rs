//! When a request that is not answered is worth a second attempt beside the first.

use std::time::Duration;

use model::{Hedge, HedgeAfter};

use crate::RetryBudget;

/// So many answers make a figure of what is usual.
const SEEN_MIN: u32 = 20;
/// One answer moves the figure by so much of itself at most: a sixteenth.
const STEP: u64 = 16;

/// What a thread knows of one service's answers, and what it may still spend.
#[derive(Debug, Clone, Copy, Default)]
pub struct Hedging {
    budget: RetryBudget,
    /// An estimate of the quantile that is asked for, fine enough to be moved by a little.
    usual_nanos: u64,
    seen: u32,
}

impl Hedging {
    /// Notes how long a request took to begin being answered.
    ///
    /// The figure goes up for each that took longer and down for each that did not, so that it
    /// stays where as many are above it as the quantile leaves.
    pub fn answered(&mut self, hedge: &Hedge, took_micros: u64) {
        let HedgeAfter::Percent(percent) = hedge.after else {
            return;
        };
        let percent = u64::from(percent.min(99));
        let usual = self.usual_nanos;
        let took = took_micros.saturating_mul(1_000);
        self.usual_nanos = if self.seen == 0 {
            took
        } else if took > usual {
            let more = usual.saturating_mul(percent) / (100 * STEP);
            usual.saturating_add(more.max(1))
        } else {
            usual - usual.saturating_mul(100 - percent) / (100 * STEP)
        };
        self.seen = self.seen.saturating_add(1);
    }

    /// Counts a request, and says after what time it is worth a second attempt; `None`: not yet
    /// known.
    pub fn request(&mut self, hedge: &Hedge, now_micros: u64) -> Option<Duration> {
        self.budget.request(now_micros);
        match hedge.after {
            HedgeAfter::Time(after) => Some(after),
            HedgeAfter::Percent(_) => {
                (self.seen >= SEEN_MIN).then(|| Duration::from_nanos(self.usual_nanos))
            }
        }
    }

    /// Takes what a second attempt costs. False: it may not be made.
    pub fn take(&mut self, hedge: &Hedge, now_micros: u64) -> bool {
        self.budget.take(hedge.share, now_micros)
    }
}

#[cfg(test)]
mod tests {
    use model::Share;

    use super::*;

    fn hedge(after: HedgeAfter) -> Hedge {
        Hedge {
            after,
            share: Share::try_new(1_000).unwrap(),
        }
    }

    #[test]
    fn the_figure_stays_where_as_many_are_slower_as_were_asked_for() {
        let ask = hedge(HedgeAfter::Percent(95));
        let mut hedging = Hedging::default();
        let mut random = 1_u64;
        let mut next = || {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (random >> 33) % 10_000
        };
        assert_eq!(hedging.request(&ask, 1), None, "nothing is known yet");
        (0..5_000).for_each(|_| hedging.answered(&ask, next()));
        let mut slower = 0;
        for _ in 0..20_000 {
            let took = next();
            slower += u32::from(Duration::from_micros(took) > hedging.request(&ask, 1).unwrap());
            hedging.answered(&ask, took);
        }
        assert!((600..1_400).contains(&slower), "{slower} of 20000");
    }

    #[test]
    fn it_follows_a_service_that_gets_slower_or_quicker() {
        let ask = hedge(HedgeAfter::Percent(90));
        let mut hedging = Hedging::default();
        let mut usual = |took: u64| {
            (0..2_000).for_each(|_| hedging.answered(&ask, took));
            hedging.request(&ask, 1).unwrap().as_micros()
        };
        for took in [100_000, 1_000, 50_000, 100] {
            let seen = usual(took);
            let near = u128::from(took) * 8 / 10..=u128::from(took) * 12 / 10;
            assert!(near.contains(&seen), "{seen} for {took}");
        }
    }

    #[test]
    fn second_attempts_are_a_share_of_the_requests() {
        let ask = hedge(HedgeAfter::Time(Duration::from_millis(5)));
        let mut hedging = Hedging::default();
        for _ in 0..200 {
            assert_eq!(hedging.request(&ask, 1), Some(Duration::from_millis(5)));
        }
        let taken = (0..500).filter(|_| hedging.take(&ask, 1)).count();
        assert_eq!(taken, 30, "a tenth, and ten are free");
    }
}
