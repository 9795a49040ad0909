use model::{Check, Limit, Metric};
use proptest::prelude::*;

use super::judge;
use crate::{Percentiles, Sample, Verdict};

fn check(metric: Metric, limits: &[Limit]) -> [Check; 1] {
    [Check {
        metric,
        limits: limits.to_vec(),
    }]
}

fn sample(requests: u64, failures: u64) -> Sample {
    Sample {
        requests,
        failures,
        latency: None,
    }
}

fn timed(requests: u64, p99: u64) -> Sample {
    let latency = Some(Percentiles {
        p50: 1,
        p90: 2,
        p95: 3,
        p99,
    });
    Sample {
        requests,
        failures: 0,
        latency,
    }
}

fn reasons(verdict: Verdict) -> Vec<String> {
    match verdict {
        Verdict::Fail { reasons } => reasons,
        Verdict::Pass => panic!("passed"),
        Verdict::Inconclusive { requests, .. } => panic!("inconclusive at {requests}"),
    }
}

fn lacks(requests: u64, min_requests: u64) -> Verdict {
    Verdict::Inconclusive {
        requests,
        min_requests,
    }
}

#[test]
fn without_checks_everything_passes() {
    assert_eq!(judge(&[], 500, None, &sample(0, 0)), Verdict::Pass);
}

#[test]
fn a_broken_maximum_names_both_figures_and_the_requests() {
    let checks = check(Metric::ErrorRate, &[Limit::Max(100)]);
    let verdict = judge(&checks, 500, None, &sample(1_204, 47));
    assert_eq!(
        reasons(verdict),
        ["error_rate 3.90% is above 1.00% (1204 requests)"]
    );
}

#[test]
fn a_rate_exactly_at_its_maximum_holds_and_one_failure_more_does_not() {
    let checks = check(Metric::ErrorRate, &[Limit::Max(100)]);
    assert_eq!(judge(&checks, 500, None, &sample(1_000, 10)), Verdict::Pass);
    let text = reasons(judge(&checks, 500, None, &sample(10_040, 101)));
    assert_eq!(text, ["error_rate 1.01% is above 1.00% (10040 requests)"]);
}

#[test]
fn a_maximum_of_nothing_fails_at_one_failure_among_many() {
    let checks = check(Metric::ErrorRate, &[Limit::Max(0)]);
    let text = reasons(judge(&checks, 500, None, &sample(1_000_000, 1)));
    assert_eq!(text, ["error_rate 0.01% is above 0.00% (1000000 requests)"]);
}

#[test]
fn too_few_requests_neither_pass_nor_fail() {
    let checks = check(Metric::ErrorRate, &[Limit::Max(100)]);
    assert_eq!(
        judge(&checks, 500, None, &sample(499, 499)),
        lacks(499, 500)
    );
    assert_eq!(judge(&checks, 500, None, &sample(0, 0)), lacks(0, 500));
    assert_eq!(judge(&checks, 0, None, &sample(0, 0)), lacks(0, 1));
}

#[test]
fn a_comparison_needs_its_minimum_on_both_sides() {
    for limit in [Limit::MaxDelta(50), Limit::MaxRatio(120)] {
        let checks = check(Metric::ErrorRate, &[limit]);
        let bad = sample(900, 900);
        assert_eq!(judge(&checks, 500, None, &bad), lacks(0, 500));
        assert_eq!(
            judge(&checks, 500, Some(&sample(20, 0)), &bad),
            lacks(20, 500)
        );
        let good = sample(500, 0);
        assert_eq!(
            judge(&checks, 500, Some(&good), &sample(7, 7)),
            lacks(7, 500)
        );
        assert_eq!(reasons(judge(&checks, 500, Some(&good), &bad)).len(), 1);
    }
}

#[test]
fn a_broken_maximum_fails_although_the_comparison_lacks_its_old_release() {
    let checks = check(Metric::ErrorRate, &[Limit::Max(100), Limit::MaxDelta(50)]);
    assert_eq!(
        reasons(judge(&checks, 500, None, &sample(500, 50))).len(),
        1
    );
    assert_eq!(judge(&checks, 500, None, &sample(500, 1)), lacks(0, 500));
}

#[test]
fn a_delta_is_measured_from_the_old_release() {
    let checks = check(Metric::ErrorRate, &[Limit::MaxDelta(50)]);
    let old = sample(9_000, 90);
    assert_eq!(
        judge(&checks, 500, Some(&old), &sample(2_000, 30)),
        Verdict::Pass
    );
    assert_eq!(
        reasons(judge(&checks, 500, Some(&old), &sample(2_000, 31))),
        [
            "error_rate 1.55% is more than 0.50% above the old release's 1.00% \
             (2000 and 9000 requests)"
        ]
    );
}

#[test]
fn against_an_old_release_without_failures_one_failure_decides_nothing() {
    let checks = check(Metric::ErrorRate, &[Limit::MaxRatio(120)]);
    let clean = sample(10_000, 0);
    assert_eq!(
        judge(&checks, 500, Some(&clean), &sample(499, 1)),
        lacks(499, 500)
    );
    assert_eq!(
        judge(&checks, 500, Some(&clean), &sample(500, 1)),
        Verdict::Pass
    );
    assert_eq!(
        judge(&checks, 500, Some(&clean), &sample(500, 0)),
        Verdict::Pass
    );
    assert_eq!(
        reasons(judge(&checks, 500, Some(&clean), &sample(500, 20))),
        [
            "error_rate 4.00% is more than 1.2 times the old release's 0.00% \
             (500 and 10000 requests)"
        ]
    );
}

#[test]
fn latency_is_judged_by_its_percentile() {
    let both = [
        Limit::Max(800_000),
        Limit::MaxRatio(120),
        Limit::MaxDelta(100_000),
    ];
    let checks = check(Metric::LatencyP99, &both);
    let old = timed(600, 400_000);
    assert_eq!(
        judge(&checks, 500, Some(&old), &timed(600, 480_000)),
        Verdict::Pass
    );
    assert_eq!(
        reasons(judge(&checks, 500, Some(&old), &timed(600, 900_500))),
        [
            "latency_p99 900.5ms is above 800ms (600 requests)",
            "latency_p99 900.5ms is more than 1.2 times the old release's 400ms \
             (600 and 600 requests)",
            "latency_p99 900.5ms is more than 100ms above the old release's 400ms \
             (600 and 600 requests)",
        ]
    );
}

#[test]
fn without_a_whole_response_latency_is_inconclusive() {
    let checks = check(Metric::LatencyP50, &[Limit::Max(1)]);
    assert_eq!(judge(&checks, 500, None, &sample(900, 900)), lacks(0, 500));
    let compared = check(Metric::LatencyP50, &[Limit::MaxRatio(100)]);
    let old = timed(900, 1);
    assert_eq!(
        judge(&compared, 500, Some(&old), &sample(900, 900)),
        lacks(0, 500)
    );
}

fn samples() -> impl Strategy<Value = Sample> {
    let figures = (any::<u64>(), any::<u64>(), any::<u64>(), any::<bool>());
    figures.prop_map(|(requests, failures, p99, measured)| Sample {
        requests,
        failures,
        latency: timed(0, p99).latency.filter(|_| measured),
    })
}

proptest! {
    #[test]
    fn no_figures_make_it_panic(
        old in proptest::option::of(samples()), new in samples(),
        min in any::<u64>(), bound in any::<u64>(), ratio in any::<u32>(),
    ) {
        let limits = [Limit::Max(bound), Limit::MaxDelta(bound), Limit::MaxRatio(ratio)];
        let checks = [Metric::ErrorRate, Metric::LatencyP99].map(|metric| Check {
            metric,
            limits: limits.to_vec(),
        });
        let _ = judge(&checks, min, old.as_ref(), &new);
    }

    #[test]
    fn a_release_that_equals_the_old_one_breaks_no_comparison(
        requests in 1..1_000_000u64, failures in 0..1_000_000u64, ratio in 100..1_000u32,
    ) {
        let same = sample(requests, failures.min(requests));
        let checks = check(Metric::ErrorRate, &[Limit::MaxDelta(0), Limit::MaxRatio(ratio)]);
        prop_assert_eq!(judge(&checks, 1, Some(&same), &same), Verdict::Pass);
    }

    #[test]
    fn more_failures_never_turn_a_fail_into_anything_else(
        requests in 500..100_000u64, failures in 0..1_000u64, more in 0..1_000u64,
        before in 0..1_000u64,
    ) {
        let limits = [Limit::Max(100), Limit::MaxDelta(50), Limit::MaxRatio(120)];
        let checks = check(Metric::ErrorRate, &limits);
        let old = sample(5_000, before);
        let fewer = judge(&checks, 500, Some(&old), &sample(requests, failures));
        let many = judge(&checks, 500, Some(&old), &sample(requests, failures + more));
        let failed = |verdict| matches!(verdict, Verdict::Fail { .. });
        prop_assert!(!failed(fewer) || failed(many));
    }
}
