//! Latency as counts in buckets whose width grows with the figure.

/// Bits of a figure kept below its leading one: 16 buckets to each doubling.
const KEPT_BITS: u32 = 4;
/// Buckets to each doubling.
const PER_DOUBLING: usize = 1 << KEPT_BITS;
/// The longest latency told apart, in microseconds: 2^28, four and a half minutes.
const LONGEST_BITS: u32 = 28;
/// How many buckets there are: 16 of one microsecond each, then 16 to each doubling.
pub const BUCKETS: usize = PER_DOUBLING + (LONGEST_BITS - KEPT_BITS) as usize * PER_DOUBLING;

/// The bucket of a latency; what is longer than the longest falls into the last.
#[must_use]
pub(crate) fn bucket(micros: u64) -> usize {
    let micros = micros.min((1 << LONGEST_BITS) - 1) as usize;
    if micros < PER_DOUBLING {
        return micros;
    }
    let exponent = micros.ilog2() - KEPT_BITS;
    let kept = micros >> exponent;
    exponent as usize * PER_DOUBLING + kept
}

/// The middle of a bucket, in microseconds.
fn middle(bucket: usize) -> u64 {
    if bucket < PER_DOUBLING {
        return bucket as u64;
    }
    let exponent = bucket / PER_DOUBLING - 1;
    let low = ((bucket - exponent * PER_DOUBLING) as u64) << exponent;
    low + (1_u64 << exponent) / 2
}

/// Counts of latencies by bucket. Counts wrap, so only the difference of two means anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram(Box<[u32; BUCKETS]>);

impl Default for Histogram {
    fn default() -> Self {
        Self(Box::new([0; BUCKETS]))
    }
}

impl Histogram {
    /// Counts one latency.
    pub fn record(&mut self, micros: u64) {
        self.add_to(bucket(micros), 1);
    }

    /// Adds to one bucket, as [`Self::counts`] named it; one that does not exist is left out.
    pub fn add_to(&mut self, bucket: usize, count: u32) {
        if let Some(place) = self.0.get_mut(bucket) {
            *place = place.wrapping_add(count);
        }
    }

    /// Every bucket that is not empty, with its count.
    pub fn counts(&self) -> impl Iterator<Item = (usize, u32)> {
        let counts = self.0.iter().copied().enumerate();
        counts.filter(|&(_, count)| count > 0)
    }

    /// Adds another's counts.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0.iter()) {
            *mine = mine.wrapping_add(*theirs);
        }
    }

    /// What came since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut window = self.clone();
        for (mine, theirs) in window.0.iter_mut().zip(earlier.0.iter()) {
            *mine = mine.wrapping_sub(*theirs);
        }
        window
    }

    /// How many latencies were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.iter().map(|&count| u64::from(count)).sum()
    }

    /// The latency in microseconds that `basis_points` of 10 000 do not exceed, within 1/32 of itself;
    /// `None` without any counted.
    #[must_use]
    pub fn percentile(&self, basis_points: u16) -> Option<u64> {
        let rank = (self.count() * u64::from(basis_points))
            .div_ceil(10_000)
            .max(1);
        let mut seen = 0;
        self.0.iter().enumerate().find_map(|(bucket, &count)| {
            seen += u64::from(count);
            (seen >= rank).then(|| middle(bucket))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn buckets_are_in_order_without_holes() {
        let mut last = 0;
        for micros in 0..1_u64 << 20 {
            let here = bucket(micros);
            assert!(here == last || here == last + 1, "{micros}");
            last = here;
        }
        assert_eq!(bucket((1 << LONGEST_BITS) - 1), BUCKETS - 1);
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_of_a_window_leave_out_what_came_before() {
        let mut before = Histogram::default();
        (0..1_000).for_each(|_| before.record(50_000));
        let mut after = before.clone();
        (1..=100).for_each(|n| after.record(n * 1_000));
        let window = after.since(&before);
        assert_eq!(window.count(), 100);
        let p50 = window.percentile(5_000).unwrap();
        assert!((48_500..=51_500).contains(&p50), "{p50}");
        assert_eq!(Histogram::default().percentile(5_000), None);
    }

    #[test]
    fn counts_that_wrap_still_give_the_window() {
        let mut before = Histogram::default();
        before.add_to(7, u32::MAX);
        let mut after = before.clone();
        after.record(7);
        after.record(7);
        assert_eq!(after.since(&before).count(), 2);
    }

    proptest! {
        #[test]
        fn a_percentile_is_within_a_thirty_second(micros in 0_u64..1 << LONGEST_BITS) {
            let mut histogram = Histogram::default();
            histogram.record(micros);
            let shown = histogram.percentile(9_900).unwrap();
            prop_assert!(shown.abs_diff(micros) * 32 <= micros + 32, "{shown} for {micros}");
        }
    }
}
