//! How many requests may be sent again: a share of all, so that a failing service is not asked
//! for ever more than its users ask it.

use model::Share;

/// Half of the time that is looked back on.
const HALF_MICROS: u64 = 5_000_000;
/// So many may be sent again in any case.
const FREE: u64 = 10;

/// The requests of one service and how many were sent again, over the last five to ten seconds.
#[derive(Debug, Clone, Copy, Default)]
pub struct RetryBudget {
    now: Half,
    before: Half,
    begun_micros: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Half {
    requests: u64,
    repeats: u64,
}

impl RetryBudget {
    /// Counts a request.
    pub fn request(&mut self, now_micros: u64) {
        self.turn(now_micros);
        self.now.requests += 1;
    }

    /// Takes what one repeat costs. False: it may not be made.
    pub fn take(&mut self, share: Share, now_micros: u64) -> bool {
        self.turn(now_micros);
        let requests = self.now.requests + self.before.requests;
        let repeats = self.now.repeats + self.before.repeats;
        let earned = requests * u64::from(share.basis_points()) / 10_000;
        let is_left = repeats < earned.saturating_add(FREE);
        self.now.repeats += u64::from(is_left);
        is_left
    }

    fn turn(&mut self, now_micros: u64) {
        let halves = now_micros.saturating_sub(self.begun_micros) / HALF_MICROS;
        if halves > 0 {
            self.before = if halves == 1 {
                self.now
            } else {
                Half::default()
            };
            self.now = Half::default();
            self.begun_micros = now_micros;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_few_are_free_and_the_others_are_earned() {
        let mut budget = RetryBudget::default();
        let tenth = Share::try_new(1_000).unwrap();
        let taken = |budget: &mut RetryBudget| (0..100).filter(|_| budget.take(tenth, 1)).count();
        assert_eq!(taken(&mut budget), 10);
        (0..50).for_each(|_| budget.request(1));
        assert_eq!(taken(&mut budget), 5);
        let mut later = budget;
        assert!(!later.take(tenth, 1 + HALF_MICROS));
        assert!(
            budget.take(tenth, 1 + 3 * HALF_MICROS),
            "what is long past is forgotten"
        );
    }

    proptest! {
        #[test]
        fn repeats_never_outgrow_their_share(
            steps in prop::collection::vec((any::<bool>(), 0_u64..2_000_000), 0..400),
            points in 0_u16..=10_000,
        ) {
            let share = Share::try_new(points).unwrap();
            let mut budget = RetryBudget::default();
            let (mut now, mut requests, mut repeats) = (0, 0_u64, 0_u64);
            for (is_request, pause) in steps {
                now += pause;
                if is_request {
                    budget.request(now);
                    requests += 1;
                } else {
                    repeats += u64::from(budget.take(share, now));
                }
            }
            // Every window has its own free ones.
            let windows = now / HALF_MICROS + 1;
            prop_assert!(repeats <= requests * u64::from(points) / 10_000 * 2 + windows * (FREE + 1));
        }
    }
}
