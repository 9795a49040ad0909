//! The longest wait without any response, in a ring of seconds.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How many seconds back a gap can be asked for.
pub const GAP_SECONDS: usize = 128;

/// For each of the last seconds, the longest wait that ended in it: the second's number in
/// the upper half, microseconds in the lower.
#[repr(C)]
pub(crate) struct GapRing([AtomicU64; GAP_SECONDS]);

impl GapRing {
    /// Notes a wait of `micros` that ended at `now_micros`.
    pub(crate) fn record(&self, now_micros: u64, micros: u64) {
        let second = second(now_micros);
        let place = &self.0[second as usize % GAP_SECONDS];
        let micros = u32::try_from(micros).unwrap_or(u32::MAX);
        let (tag, longest) = parts(place.load(Relaxed));
        if tag != second || longest < micros {
            place.store(u64::from(second) << 32 | u64::from(micros), Relaxed);
        }
    }

    /// The longest wait that ended from `from_micros` to `to_micros`, by whole seconds.
    pub(crate) fn longest(&self, from_micros: u64, to_micros: u64) -> u64 {
        let window = second(from_micros)..=second(to_micros);
        let waits = self.0.iter().map(|place| parts(place.load(Relaxed)));
        let inside = waits.filter(|(tag, _)| window.contains(tag));
        inside
            .map(|(_, micros)| u64::from(micros))
            .max()
            .unwrap_or(0)
    }

    pub(crate) fn clear(&self) {
        self.0.iter().for_each(|place| place.store(0, Relaxed));
    }
}

fn second(micros: u64) -> u32 {
    (micros / 1_000_000) as u32
}

fn parts(packed: u64) -> (u32, u32) {
    ((packed >> 32) as u32, packed as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring() -> GapRing {
        GapRing([const { AtomicU64::new(0) }; GAP_SECONDS])
    }

    #[test]
    fn a_window_sees_its_own_seconds_only() {
        let ring = ring();
        ring.record(5_000_000, 900);
        ring.record(5_500_000, 300);
        ring.record(9_000_000, 40);
        assert_eq!(ring.longest(5_000_000, 9_000_000), 900);
        assert_eq!(ring.longest(6_000_000, 9_000_000), 40);
        assert_eq!(ring.longest(10_000_000, 11_000_000), 0);
    }

    #[test]
    fn a_second_that_comes_round_replaces_the_old_one() {
        let ring = ring();
        let later = 1_000_000 * (GAP_SECONDS as u64 + 5);
        ring.record(5_000_000, 900);
        ring.record(later, 7);
        assert_eq!(ring.longest(0, later), 7);
    }
}
