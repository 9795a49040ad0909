//! Figures as people read them.

use model::{Metric, Share};

use crate::Sample;

/// The metric's name as it is written in the file.
pub(crate) fn name(metric: Metric) -> &'static str {
    match metric {
        Metric::ErrorRate => "error_rate",
        Metric::LatencyP50 => "latency_p50",
        Metric::LatencyP90 => "latency_p90",
        Metric::LatencyP95 => "latency_p95",
        Metric::LatencyP99 => "latency_p99",
    }
}

/// A percentile in microseconds; `None` when no latency was measured or the metric is none.
pub(crate) fn latency(sample: &Sample, metric: Metric) -> Option<u64> {
    let percentiles = sample.latency?;
    match metric {
        Metric::ErrorRate => None,
        Metric::LatencyP50 => Some(percentiles.p50),
        Metric::LatencyP90 => Some(percentiles.p90),
        Metric::LatencyP95 => Some(percentiles.p95),
        Metric::LatencyP99 => Some(percentiles.p99),
    }
}

/// Basis points as `3.90%`.
pub(crate) fn percent(basis_points: u64) -> String {
    format!("{}.{:02}%", basis_points / 100, basis_points % 100)
}

/// The rate of failures in basis points, rounded down.
fn points(sample: &Sample) -> u64 {
    let whole = u128::from(sample.failures) * u128::from(Share::ALL.basis_points());
    u64::try_from(whole / u128::from(sample.requests.max(1))).unwrap_or(u64::MAX)
}

/// The rate of failures.
pub(crate) fn rate(sample: &Sample) -> String {
    percent(points(sample))
}

/// A rate that is above `bound`, rounded so that it also reads so.
pub(crate) fn rate_above(sample: &Sample, bound: u64) -> String {
    percent(points(sample).max(bound.saturating_add(1)))
}

/// Microseconds as `812.4ms`.
pub(crate) fn millis(micros: u64) -> String {
    match (micros / 1_000, micros % 1_000) {
        (whole, 0) => format!("{whole}ms"),
        (0, part) => format!("0.{part:03}ms"),
        (whole, part) => format!("{whole}.{}ms", part / 100),
    }
}

/// Hundredths as `1.2`.
pub(crate) fn ratio(hundredths: u32) -> String {
    match (hundredths / 100, hundredths % 100) {
        (whole, 0) => whole.to_string(),
        (whole, part) if part % 10 == 0 => format!("{whole}.{}", part / 10),
        (whole, part) => format!("{whole}.{part:02}"),
    }
}
