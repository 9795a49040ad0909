//! Releases with a fixed port: no two of their processes overlap.

use std::time::Duration;

use fleet::{Child, FleetPolicy, Input, SpawnError};

use crate::bench::{Bench, V1, V2, policy};

fn exclusive() -> FleetPolicy {
    FleetPolicy {
        exclusive: true,
        ..policy()
    }
}

fn drained(bench: &mut Bench, serial: u32) {
    bench.unrouted(serial);
    bench.converge();
    bench.open(serial, 0);
}

#[test]
fn a_restart_ends_the_stale_one_first() {
    let mut bench = Bench::ready(1, exclusive());
    bench.wanted.fresh_from = bench.fleet.next_serial();
    bench.converge();
    assert_eq!(bench.seen(), "1 draining");
    drained(&mut bench, 1);
    assert_eq!(bench.acts(), ["stop v1-1"]);
    bench.exits(1, 0);
    assert_eq!(bench.acts(), ["forget v1-1", "start v1-2"]);
}

#[test]
fn another_release_waits_until_the_port_is_free() {
    let mut bench = Bench::ready(1, exclusive());
    bench.wanted.counts.insert(V2, 1);
    assert_eq!(bench.acts(), Vec::<String>::new());
    bench.wanted.counts.remove(&V1);
    bench.converge();
    assert_eq!(bench.seen(), "1 draining");
    drained(&mut bench, 1);
    assert_eq!(bench.acts(), ["stop v1-1"]);
    bench.exits(1, 0);
    assert_eq!(bench.acts(), ["forget v1-1", "start v2-2"]);
}

#[test]
fn releases_that_share_no_port_do_not_wait() {
    let mut bench = Bench::ready(1, policy());
    bench.policies.insert(V2, exclusive());
    bench.wanted.counts.insert(V2, 1);
    assert_eq!(bench.acts(), ["start v2-2"]);
}

#[test]
fn an_unknown_process_is_waited_for() {
    let mut bench = Bench::wanting(1, exclusive());
    let child = Child {
        instance: bench.fleet.id(V1, 9),
        exit: None,
    };
    bench.handle(Input::Children(vec![child]));
    assert_eq!(bench.acts(), ["kill v1-9"]);
    bench.exits(9, 0);
    assert_eq!(bench.acts(), ["forget v1-9", "start v1-10"]);
}

#[test]
fn an_unhealthy_one_ends_before_it_is_replaced() {
    let mut bench = Bench::ready(1, exclusive());
    bench.make_unhealthy(1);
    bench.converge();
    assert_eq!(bench.seen(), "1 draining");
}

#[test]
fn only_one_runs_however_many_are_wanted() {
    let mut bench = Bench::wanting(3, exclusive());
    bench.wanted.counts.insert(V2, 2);
    assert_eq!(bench.acts(), ["start v1-1"]);
}

#[test]
fn a_taken_fixed_port_is_tried_again_with_growing_pauses() {
    let mut bench = Bench::wanting(1, exclusive());
    bench.converge();
    let mut pauses = Vec::new();
    for serial in 1..=4 {
        let by = "nginx (pid 7)".to_owned();
        bench.not_started(serial, SpawnError::PortTaken { by });
        let acts = bench.acts_within(Duration::from_millis(4_500));
        let start = acts.iter().find(|(_, a)| a.starts_with("start"));
        pauses.push(start.unwrap().0);
    }
    assert_eq!(pauses, [0, 1_000, 2_000, 4_000]);
}
