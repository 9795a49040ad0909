//! Readiness, liveness, and who may receive traffic.

use std::time::Duration;

use fleet::{FleetPolicy, Input, ProbeResult};

use crate::bench::{Bench, V1, V2, policy};

#[test]
fn an_instance_is_ordered_starts_and_is_ready_after_rise_passes() {
    let mut bench = Bench::wanting(1, policy());
    assert_eq!(bench.converge(), ["start v1-1"]);
    assert_eq!(bench.seen(), "1 ordered");
    bench.started(V1, 1);
    assert_eq!(bench.seen(), "1 starting");
    bench.passes(1);
    assert_eq!(bench.seen(), "1 starting");
    bench.passes(1);
    assert_eq!(bench.seen(), "1 ready*");
}

#[test]
fn without_health_running_is_ready() {
    let health = None;
    let mut bench = Bench::wanting(2, FleetPolicy { health, ..policy() });
    bench.converge();
    bench.started(V1, 2);
    assert_eq!(bench.seen(), "1 ordered, 2 ready*");
    assert_eq!(bench.converge(), Vec::<String>::new());
}

#[test]
fn a_failure_in_between_begins_the_row_anew() {
    let mut bench = Bench::wanting(1, policy());
    bench.converge();
    bench.started(V1, 1);
    bench.passes(1);
    bench.fails(1);
    bench.passes(1);
    assert_eq!(bench.seen(), "1 starting");
    bench.passes(1);
    assert_eq!(bench.seen(), "1 ready*");
}

#[test]
fn an_answer_that_comes_twice_counts_once() {
    let mut bench = Bench::wanting(1, policy());
    bench.converge();
    bench.started(V1, 1);
    bench.passes(1);
    let instance = bench.fleet.id(V1, 1);
    let result = ProbeResult::Passed;
    bench.handle(Input::Probed { instance, result });
    assert_eq!(bench.seen(), "1 starting");
}

#[test]
fn one_probe_is_under_way_at_a_time_and_asked_again_when_overdue() {
    let mut bench = Bench::wanting(1, policy());
    bench.converge();
    bench.started(V1, 1);
    let acts = bench.acts_within(Duration::from_secs(5));
    let at = |ms| (ms, "probe v1-1".to_owned());
    assert_eq!(acts, [at(0), at(2_000), at(4_000)]);
}

#[test]
fn a_blip_never_makes_unhealthy_and_fall_failures_in_a_row_do() {
    let mut bench = Bench::ready(2, policy());
    for _ in 0..10 {
        bench.fails(1);
        bench.fails(1);
        bench.passes(1);
    }
    assert_eq!(bench.seen(), "1 ready*, 2 ready*");
    bench.fails(1);
    bench.fails(1);
    bench.fails(1);
    assert_eq!(bench.seen(), "1 unhealthy, 2 ready*");
    assert_eq!(
        bench.view(1).unwrap().last_failure.as_deref(),
        Some("status 503")
    );
}

#[test]
fn an_unhealthy_one_recovers_after_rise_passes_and_its_replacement_goes() {
    let mut bench = Bench::ready(2, policy());
    bench.make_unhealthy(1);
    assert_eq!(bench.acts(), ["start v1-3"]);
    bench.passes(1);
    assert_eq!(bench.seen(), "1 unhealthy, 2 ready*, 3 ordered");
    bench.passes(1);
    assert_eq!(bench.acts(), ["stop v1-3"]);
    assert_eq!(bench.seen(), "1 ready*, 2 ready*, 3 stopping");
}

#[test]
fn traffic_goes_to_all_that_were_once_ready_rather_than_to_none() {
    let mut bench = Bench::ready(2, policy());
    bench.make_unhealthy(1);
    bench.make_unhealthy(2);
    bench.converge();
    assert_eq!(bench.seen(), "1 unhealthy*, 2 unhealthy*, 3 ordered");
    bench.exits(2, 1);
    assert_eq!(bench.seen(), "1 unhealthy*, 3 ordered");
    bench.make_ready(V1, 3);
    assert!(!bench.view(1).unwrap().routable);
}

#[test]
fn one_release_without_a_ready_instance_is_not_rescued_by_another() {
    let mut bench = Bench::ready(1, policy());
    bench.wanted.counts.insert(V2, 1);
    bench.converge();
    bench.make_ready(V2, 2);
    bench.make_unhealthy(1);
    assert!(bench.view(1).unwrap().routable && bench.view(2).unwrap().routable);
}

#[test]
fn ready_ones_are_asked_about_every_second() {
    let mut bench = Bench::ready(1, policy());
    let begin = bench.now;
    for _ in 0..20 {
        bench.passes(1);
    }
    let seconds = bench.now.since(begin).as_secs_f64();
    assert!((17.0..23.0).contains(&seconds), "{seconds}");
}

#[test]
fn counts_say_what_there_is() {
    let min_ready = Duration::from_secs(5);
    let mut bench = Bench::ready(
        2,
        FleetPolicy {
            min_ready,
            ..policy()
        },
    );
    bench.wanted.counts.insert(V1, 3);
    bench.converge();
    let counts = bench.counts();
    assert_eq!((counts.running, counts.ready, counts.available), (3, 2, 0));
    assert!(counts.available_in.is_some_and(|left| left <= min_ready));
    bench.pass_time(min_ready);
    let counts = bench.counts();
    assert_eq!((counts.available, counts.available_in), (2, None));
    bench.make_ready(V1, 3);
    bench.wanted.counts.insert(V1, 2);
    bench.converge();
    bench.pass_time(Duration::from_secs(12));
    let counts = bench.counts();
    assert_eq!((counts.running, counts.ready, counts.draining), (3, 2, 1));
    assert_eq!(counts.drain_left, Some(Duration::from_secs(18)));
}

#[test]
fn min_ready_passing_wakes() {
    let min_ready = Duration::from_secs(7);
    let health = None;
    let mut bench = Bench::wanting(
        1,
        FleetPolicy {
            min_ready,
            health,
            ..policy()
        },
    );
    bench.converge();
    bench.started(V1, 1);
    bench.converge();
    let begun = bench.now.after(min_ready);
    assert_eq!(bench.fleet.wake(&bench.policies, bench.now), Some(begun));
    let late = begun.after(min_ready);
    assert_eq!(bench.fleet.wake(&bench.policies, late), Some(late));
}
