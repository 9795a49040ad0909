//! How instances leave: drained, counted, stopped, killed, forgotten.

use std::time::Duration;

use fleet::{Action, FleetPolicy, Input};

use crate::bench::{Bench, V1, policy};

/// One ready instance of two that is to go.
fn leaving(policy: FleetPolicy) -> Bench {
    let mut bench = Bench::ready(2, policy);
    bench.wanted.counts.insert(V1, 1);
    assert_eq!(bench.acts(), Vec::<String>::new());
    assert_eq!(bench.seen(), "1 draining, 2 ready*");
    bench
}

fn without_probes(acts: Vec<(u64, String)>) -> Vec<(u64, String)> {
    acts.into_iter()
        .filter(|(_, a)| !a.starts_with("probe"))
        .collect()
}

#[test]
fn nothing_is_counted_or_told_before_every_thread_has_confirmed() {
    let mut bench = leaving(policy());
    bench.open(1, 0);
    bench.handle(Input::Probed {
        instance: bench.fleet.id(V1, 1),
        result: fleet::ProbeResult::Passed,
    });
    let acts = without_probes(bench.acts_within(Duration::from_secs(120)));
    assert!(acts.iter().all(|(_, a)| a == "observe"), "{acts:?}");
    assert!(!bench.view(1).unwrap().routable);
}

#[test]
fn it_is_stopped_once_its_open_requests_were_counted_as_none() {
    let mut bench = leaving(policy());
    bench.unrouted(1);
    assert_eq!(bench.acts(), ["count v1-1"]);
    bench.open(1, 3);
    assert_eq!(bench.counts().open_requests, 3);
    assert_eq!(bench.acts(), Vec::<String>::new());
    bench.pass_time(Duration::from_millis(20));
    assert_eq!(bench.acts(), ["count v1-1"]);
    bench.open(1, 0);
    assert_eq!(bench.acts(), ["stop v1-1"]);
    bench.exits(1, 0);
    assert_eq!(bench.acts(), ["forget v1-1"]);
    assert_eq!(bench.seen(), "2 ready*");
}

#[test]
fn a_count_from_before_it_was_out_of_every_table_is_not_believed() {
    let mut bench = leaving(policy());
    bench.open(1, 0);
    bench.unrouted(1);
    bench.open(1, 0);
    assert_eq!(bench.acts(), ["count v1-1"]);
    assert_eq!(bench.seen(), "1 draining, 2 ready*");
}

#[test]
fn counting_slows_down_and_a_lost_count_is_asked_for_again() {
    let mut bench = leaving(policy());
    bench.unrouted(1);
    let mut pauses = Vec::new();
    let mut last = bench.now;
    for _ in 0..7 {
        while !bench.acts().contains(&"count v1-1".to_owned()) {
            bench.now = bench.fleet.wake(&bench.policies, bench.now).unwrap();
        }
        pauses.push(bench.now.since(last).as_millis());
        last = bench.now;
        bench.open(1, 1);
    }
    assert_eq!(pauses, [0, 20, 30, 45, 67, 100, 100]);
    bench.acts_within(Duration::from_millis(100));
    let acts = without_probes(bench.acts_within(Duration::from_millis(1_000)));
    assert_eq!(acts, [(1_000, "count v1-1".to_owned())]);
}

#[test]
fn at_the_drain_limit_what_is_open_is_cut_first() {
    let mut bench = leaving(policy());
    bench.pass_time(Duration::from_secs(10));
    bench.unrouted(1);
    bench.converge();
    bench.open(1, 2);
    let acts = without_probes(bench.acts_within(Duration::from_millis(19_999)));
    assert!(
        acts.iter()
            .all(|(_, a)| a == "count v1-1" || a == "observe"),
        "{acts:?}"
    );
    let acts = without_probes(bench.acts_within(Duration::from_millis(1)));
    assert_eq!(
        acts[..2],
        [(1, "cut v1-1".to_owned()), (1, "stop v1-1".to_owned())]
    );
}

#[test]
fn the_drain_limit_alone_does_not_stop_what_may_still_be_routed_to() {
    let mut bench = leaving(policy());
    bench.pass_time(Duration::from_secs(31));
    assert_eq!(bench.acts(), ["observe"]);
    bench.unrouted(1);
    assert_eq!(bench.acts(), ["cut v1-1", "stop v1-1"]);
}

#[test]
fn after_the_grace_it_is_killed_until_its_end_is_known() {
    let mut bench = leaving(policy());
    bench.unrouted(1);
    bench.converge();
    bench.open(1, 0);
    assert_eq!(bench.acts(), ["stop v1-1"]);
    let mut acts = without_probes(bench.acts_within(Duration::from_secs(16)));
    acts.retain(|(_, a)| a != "observe");
    let kill = |ms| (ms, "kill v1-1".to_owned());
    assert_eq!(acts, [kill(10_000), kill(13_000), kill(16_000)]);
    let signal = fleet::Exit::Signal(9);
    let instance = bench.fleet.id(V1, 1);
    bench.handle(Input::Exited {
        instance,
        exit: signal,
    });
    assert_eq!(bench.acts(), ["forget v1-1"]);
}

#[test]
fn an_exit_that_is_not_heard_of_is_looked_for() {
    let mut bench = leaving(policy());
    bench.unrouted(1);
    bench.converge();
    bench.open(1, 0);
    bench.converge();
    let acts = without_probes(bench.acts_within(Duration::from_secs(5)));
    assert_eq!(acts, [(5_000, "observe".to_owned())]);
}

#[test]
fn an_exit_while_draining_is_no_crash() {
    let mut bench = leaving(policy());
    bench.exits(1, 1);
    assert_eq!(bench.acts(), ["forget v1-1"]);
    assert_eq!(bench.seen(), "2 ready*");
    assert_eq!(bench.fleet.trouble(V1), None);
}

#[test]
fn asked_exits_leave_no_back_off_behind() {
    let mut bench = Bench::ready(1, policy());
    for serial in 1..=5 {
        bench.wanted.replace = [bench.fleet.id(V1, serial)].into();
        bench.converge();
        bench.make_ready(V1, serial + 1);
        bench.converge();
        bench.exits(serial, 1);
        assert_eq!(bench.acts(), [format!("forget v1-{serial}")]);
    }
    assert_eq!(bench.fleet.trouble(V1), None);
}

#[test]
fn the_drain_limit_wakes_by_itself() {
    let mut bench = leaving(FleetPolicy {
        health: None,
        drain: Duration::from_secs(20),
        ..policy()
    });
    bench.unrouted(1);
    bench.converge();
    bench.open(1, 1);
    bench.acts_within(Duration::from_millis(19_950));
    bench.open(1, 1);
    bench.converge();
    let acts = bench.acts_within(Duration::from_millis(60));
    assert_eq!(
        acts[1..],
        [(50, "cut v1-1".to_owned()), (50, "stop v1-1".to_owned())],
        "{acts:?}"
    );
}

#[test]
fn instances_without_traffic_are_stopped_without_a_drain() {
    let traffic = false;
    let mut bench = Bench::ready(
        2,
        FleetPolicy {
            traffic,
            ..policy()
        },
    );
    bench.wanted.counts.insert(V1, 1);
    assert_eq!(bench.acts(), ["stop v1-1"]);
}

#[test]
fn what_was_never_ready_is_stopped_without_a_drain() {
    let mut bench = Bench::wanting(2, policy());
    bench.converge();
    bench.started(V1, 1);
    bench.wanted.counts.clear();
    assert_eq!(bench.acts(), ["stop v1-1", "stop v1-2"]);
}

#[test]
fn a_stop_that_overtook_its_start_is_told_again() {
    let mut bench = Bench::wanting(1, policy());
    bench.converge();
    bench.wanted.counts.clear();
    assert_eq!(bench.acts(), ["stop v1-1"]);
    bench.started(V1, 1);
    assert_eq!(bench.acts(), ["stop v1-1"]);
    bench.started(V1, 1);
    assert_eq!(bench.acts(), Vec::<String>::new());
}

#[test]
fn an_end_is_acknowledged_as_often_as_it_is_told() {
    let mut bench = Bench::ready(1, policy());
    bench.wanted.counts.clear();
    bench.converge();
    bench.exits(1, 0);
    assert!(!bench.fleet.is_empty());
    assert_eq!(bench.acts(), ["forget v1-1"]);
    assert!(bench.fleet.is_empty());
    bench.exits(1, 0);
    bench.exits(1, 0);
    let instance = bench.fleet.id(V1, 1);
    let actions = bench
        .fleet
        .converge(&bench.wanted, &bench.policies, bench.now);
    assert_eq!(actions, [Action::Forget { instance }]);
}
