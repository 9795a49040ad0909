//! Figures of a span that take little room when little happened.

use ledger::{CellTotals, Histogram};
use traffic::{Effect, Phase};
use verdict::{Percentiles, Sample};

/// What a check needs to know of a span.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Attempts that ended with evidence about the release.
    pub requests: u64,
    /// Those of them that failed.
    pub failures: u64,
    /// Latencies of whole responses: buckets and their counts.
    latency: Vec<(u16, u32)>,
}

impl Counts {
    /// What totals of a span mean.
    ///
    /// An attempt that the client gave up or that was cut says nothing about the release.
    #[must_use]
    pub fn of(totals: &CellTotals) -> Self {
        let mut counts = Self::default();
        for (_, outcome, count) in totals.seen() {
            match outcome.effect(Phase::Serving) {
                Effect::Fine | Effect::Failed | Effect::Repeated | Effect::Lost(_) => {
                    counts.requests += count;
                }
                Effect::Cut | Effect::Abandoned | Effect::None => {}
            }
            if outcome.is_error() {
                counts.failures += count;
            }
        }
        let place = |(bucket, count)| Some((u16::try_from(bucket).ok()?, count));
        counts.latency = totals.latency.counts().filter_map(place).collect();
        counts
    }

    /// Whether nothing happened.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requests == 0 && self.latency.is_empty()
    }

    /// Adds the latencies to a histogram.
    pub fn add_latency(&self, histogram: &mut Histogram) {
        for &(bucket, count) in &self.latency {
            histogram.add_to(usize::from(bucket), count);
        }
    }

    /// The sum of spans, as a check sees it.
    #[must_use]
    pub fn sample<'a>(spans: impl Iterator<Item = &'a Self>) -> Sample {
        let mut sample = Sample::default();
        let mut histogram = Histogram::default();
        for span in spans {
            sample.requests += span.requests;
            sample.failures += span.failures;
            span.add_latency(&mut histogram);
        }
        sample.latency = percentiles(&histogram);
        sample
    }
}

fn percentiles(histogram: &Histogram) -> Option<Percentiles> {
    Some(Percentiles {
        p50: histogram.percentile(5_000)?,
        p90: histogram.percentile(9_000)?,
        p95: histogram.percentile(9_500)?,
        p99: histogram.percentile(9_900)?,
    })
}
