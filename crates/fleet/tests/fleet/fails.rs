//! Crashes, starts that fail, back-off and trouble.

use std::time::Duration;

use fleet::{FleetPolicy, SpawnError};

use crate::bench::{Bench, V1, policy};

fn starts_within(bench: &mut Bench, span: Duration) -> Vec<u64> {
    let acts = bench.acts_within(span).into_iter();
    acts.filter(|(_, a)| a.starts_with("start"))
        .map(|(after, _)| after)
        .collect()
}

#[test]
fn a_crashed_one_is_replaced_at_once_then_with_growing_pauses() {
    let mut bench = Bench::wanting(1, policy());
    bench.converge();
    let mut pauses = Vec::new();
    for serial in 1..=9 {
        bench.started(V1, serial);
        bench.exits(serial, 3);
        let starts = starts_within(&mut bench, Duration::from_secs(40));
        assert_eq!(starts.len(), 1, "one start after each crash");
        pauses.push(starts[0] / 1_000);
    }
    assert_eq!(pauses, [0, 1, 2, 4, 8, 16, 30, 30, 30]);
}

#[test]
fn three_unasked_exits_in_a_row_are_a_crash_loop_with_its_evidence() {
    let mut bench = Bench::wanting(1, policy());
    for serial in 1..=3 {
        assert_eq!(bench.fleet.trouble(V1), None);
        bench.acts_within(Duration::from_secs(5));
        bench.started(V1, serial);
        bench.fails(serial);
        bench.exits(serial, 3);
    }
    let trouble = bench.fleet.trouble(V1).unwrap();
    assert_eq!(
        trouble,
        "crash loop, 3 unasked exits in a row: web-v1-3 ended with exit code 3; \
         its last probe: status 503"
    );
}

#[test]
fn replicas_that_crash_together_are_one_failure() {
    let mut bench = Bench::wanting(4, policy());
    bench.converge();
    for serial in 1..=4 {
        bench.exits(serial, 1);
    }
    assert_eq!(bench.fleet.trouble(V1), None);
    assert_eq!(bench.acts().len(), 8, "four forgotten, four started");
}

#[test]
fn staying_ready_forgives() {
    let health = None;
    let mut bench = Bench::wanting(1, FleetPolicy { health, ..policy() });
    bench.converge();
    for serial in 1..=3 {
        bench.acts_within(Duration::from_secs(5));
        bench.started(V1, serial);
        bench.exits(serial, 3);
    }
    bench.acts_within(Duration::from_secs(5));
    bench.started(V1, 4);
    bench.acts_within(Duration::from_millis(29_999));
    assert!(bench.fleet.trouble(V1).is_some());
    bench.acts_within(Duration::from_millis(1));
    assert_eq!(bench.fleet.trouble(V1), None);
    bench.exits(4, 3);
    assert_eq!(starts_within(&mut bench, Duration::from_secs(5)), [0]);
}

#[test]
fn an_exit_after_staying_ready_begins_a_new_row_even_if_it_was_unhealthy_then() {
    let mut bench = Bench::wanting(1, policy());
    for serial in 1..=2 {
        bench.acts_within(Duration::from_secs(5));
        bench.exits(serial, 1);
    }
    bench.acts_within(Duration::from_secs(5));
    // A second one that never gets ready keeps the first two exits from being forgiven.
    bench.wanted.counts.insert(V1, 2);
    bench.converge();
    bench.make_ready(V1, 3);
    bench.pass_time(Duration::from_secs(30));
    bench.make_unhealthy(3);
    bench.exits(3, 1);
    assert_eq!(bench.fleet.trouble(V1), None);
}

#[test]
fn an_exit_with_code_0_is_unasked_too() {
    let mut bench = Bench::ready(1, policy());
    bench.exits(1, 0);
    assert_eq!(bench.acts(), ["forget v1-1", "start v1-2"]);
}

#[test]
fn a_taken_port_is_answered_by_a_fresh_instance_until_it_is_trouble() {
    let mut bench = Bench::wanting(1, policy());
    bench.converge();
    let by = || "nginx (pid 7)".to_owned();
    for serial in 1..=5 {
        assert_eq!(bench.fleet.trouble(V1), None);
        bench.not_started(serial, SpawnError::PortTaken { by: by() });
        let (forget, start) = (
            format!("forget v1-{serial}"),
            format!("start v1-{}", serial + 1),
        );
        assert_eq!(bench.acts(), [forget, start]);
    }
    assert_eq!(
        bench.fleet.trouble(V1).unwrap(),
        "the port was taken 5 times in a row: web-v1-5 found it taken by nginx (pid 7)"
    );
    bench.not_started(6, SpawnError::PortTaken { by: by() });
    bench.converge();
    bench.not_started(7, SpawnError::PortTaken { by: by() });
    assert_eq!(starts_within(&mut bench, Duration::from_secs(5)), [1_000]);
    bench.started(V1, 8);
    assert_eq!(bench.fleet.trouble(V1), None);
}

#[test]
fn an_unusable_program_is_not_tried_again_until_something_else_is_wanted() {
    let mut bench = Bench::wanting(1, policy());
    bench.converge();
    let reason = "./bin/web: no such file".to_owned();
    bench.not_started(1, SpawnError::Unusable { reason });
    assert_eq!(
        bench.fleet.trouble(V1).unwrap(),
        "the program cannot be run: ./bin/web: no such file"
    );
    assert_eq!(
        starts_within(&mut bench, Duration::from_secs(600)),
        [] as [u64; 0]
    );
    bench.wanted.fresh_from = bench.fleet.next_serial();
    assert_eq!(bench.acts(), ["start v1-2"]);
    assert_eq!(bench.fleet.trouble(V1), None);
}

#[test]
fn a_place_that_cannot_is_asked_again_after_a_pause() {
    let mut bench = Bench::wanting(1, policy());
    bench.converge();
    let mut pauses = Vec::new();
    for serial in 1..=4 {
        let reason = "no memory".to_owned();
        bench.not_started(serial, SpawnError::Unavailable { reason });
        pauses.extend(starts_within(&mut bench, Duration::from_millis(4_500)));
    }
    assert_eq!(pauses, [0, 1_000, 2_000, 4_000]);
    assert_eq!(bench.fleet.trouble(V1), None);
}

#[test]
fn what_is_not_wanted_any_more_is_no_trouble() {
    let mut bench = Bench::wanting(1, policy());
    for serial in 1..=3 {
        bench.acts_within(Duration::from_secs(5));
        bench.exits(serial, 3);
    }
    assert!(bench.fleet.trouble(V1).is_some());
    bench.wanted.counts.clear();
    bench.converge();
    assert_eq!(bench.fleet.trouble(V1), None);
}

#[test]
fn never_getting_ready_is_no_trouble_but_its_last_failure_is_seen() {
    let mut bench = Bench::wanting(1, policy());
    bench.converge();
    bench.started(V1, 1);
    for _ in 0..50 {
        bench.fails(1);
    }
    assert_eq!(bench.fleet.trouble(V1), None);
    let view = bench.view(1).unwrap();
    assert_eq!(view.last_failure.as_deref(), Some("status 503"));
    assert!(!view.routable);
}
