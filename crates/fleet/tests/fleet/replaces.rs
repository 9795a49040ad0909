//! Which instances go when there are too many, and how they are replaced.

use std::time::Duration;

use fleet::FleetPolicy;

use crate::bench::{Bench, V1, policy};

/// Drains, stops and ends an instance that is on its way out.
fn end(bench: &mut Bench, serial: u32) {
    bench.unrouted(serial);
    bench.converge();
    bench.open(serial, 0);
    bench.converge();
    bench.exits(serial, 0);
    bench.converge();
}

#[test]
fn too_many_lose_first_what_does_not_serve_then_what_serves_badly_then_the_oldest() {
    let mut bench = Bench::ready(3, policy());
    bench.wanted.counts.insert(V1, 5);
    bench.converge();
    bench.started(V1, 4);
    bench.make_unhealthy(2);
    bench.converge();
    assert_eq!(
        bench.seen(),
        "1 ready*, 2 unhealthy, 3 ready*, 4 starting, 5 ordered, 6 ordered"
    );
    let orders = [
        (
            4,
            "1 ready*, 2 unhealthy, 3 ready*, 4 starting, 5 ordered, 6 stopping",
        ),
        (
            3,
            "1 ready*, 2 unhealthy, 3 ready*, 4 starting, 5 stopping, 6 stopping",
        ),
        (
            2,
            "1 ready*, 2 draining, 3 ready*, 4 stopping, 5 stopping, 6 stopping",
        ),
        (
            1,
            "1 draining, 2 draining, 3 ready*, 4 stopping, 5 stopping, 6 stopping",
        ),
        (
            0,
            "1 draining, 2 draining, 3 draining, 4 stopping, 5 stopping, 6 stopping",
        ),
    ];
    for (count, seen) in orders {
        bench.wanted.counts.insert(V1, count);
        bench.converge();
        assert_eq!(bench.seen(), seen, "{count} wanted");
    }
}

#[test]
fn a_restart_starts_one_fresh_first_and_replaces_one_at_a_time() {
    let mut bench = Bench::ready(2, policy());
    bench.wanted.fresh_from = bench.fleet.next_serial();
    assert_eq!(bench.acts(), ["start v1-3"]);
    bench.started(V1, 3);
    assert_eq!(bench.acts(), Vec::<String>::new());
    bench.make_ready(V1, 3);
    bench.converge();
    assert_eq!(bench.seen(), "1 draining, 2 ready*, 3 ready*");
    bench.acts_within(Duration::from_secs(3));
    assert_eq!(bench.seen(), "1 draining, 2 ready*, 3 ready*");
    end(&mut bench, 1);
    assert_eq!(bench.seen(), "2 ready*, 3 ready*, 4 ordered");
    bench.make_ready(V1, 4);
    bench.converge();
    end(&mut bench, 2);
    assert_eq!(bench.seen(), "3 ready*, 4 ready*");
    assert_eq!(bench.acts(), Vec::<String>::new());
}

#[test]
fn a_restart_waits_until_the_fresh_one_is_available() {
    let min_ready = Duration::from_secs(20);
    let mut bench = Bench::ready(
        1,
        FleetPolicy {
            min_ready,
            ..policy()
        },
    );
    bench.wanted.fresh_from = bench.fleet.next_serial();
    bench.converge();
    bench.make_ready(V1, 2);
    bench.converge();
    assert_eq!(bench.seen(), "1 ready*, 2 ready*");
    bench.pass_time(min_ready);
    bench.converge();
    assert_eq!(bench.seen(), "1 draining, 2 ready*");
}

#[test]
fn a_restart_of_what_is_not_ready_yet_goes_one_at_a_time_too() {
    let mut bench = Bench::wanting(3, policy());
    bench.converge();
    bench.wanted.fresh_from = bench.fleet.next_serial();
    assert_eq!(bench.acts(), ["stop v1-3", "start v1-4"]);
    bench.exits(3, 0);
    assert_eq!(bench.acts(), ["forget v1-3", "stop v1-2", "start v1-5"]);
}

#[test]
fn single_instances_are_replaced_by_name() {
    let mut bench = Bench::ready(3, policy());
    bench.wanted.replace.insert(bench.fleet.id(V1, 2));
    assert_eq!(bench.acts(), ["start v1-4"]);
    bench.make_ready(V1, 4);
    bench.converge();
    assert_eq!(bench.seen(), "1 ready*, 2 draining, 3 ready*, 4 ready*");
    end(&mut bench, 2);
    assert_eq!(bench.acts(), Vec::<String>::new());
}

#[test]
fn a_restart_from_a_serial_that_is_not_given_yet_ends() {
    let mut bench = Bench::ready(1, policy());
    bench.wanted.fresh_from = 50;
    assert_eq!(bench.acts(), ["start v1-50"]);
    bench.make_ready(V1, 50);
    bench.converge();
    end(&mut bench, 1);
    assert_eq!(bench.acts(), Vec::<String>::new());
    assert_eq!(bench.seen(), "50 ready*");
}

#[test]
fn an_unhealthy_one_goes_when_its_replacement_is_ready() {
    let mut bench = Bench::ready(3, policy());
    bench.make_unhealthy(1);
    bench.make_unhealthy(2);
    assert_eq!(bench.acts(), Vec::<String>::new());
    assert_eq!(
        bench.seen(),
        "1 unhealthy, 2 unhealthy, 3 ready*, 4 ordered"
    );
    bench.make_ready(V1, 4);
    bench.converge();
    assert_eq!(bench.seen(), "1 draining, 2 unhealthy, 3 ready*, 4 ready*");
    end(&mut bench, 1);
    assert_eq!(bench.seen(), "2 unhealthy, 3 ready*, 4 ready*, 5 ordered");
}

#[test]
fn as_many_unhealthy_ones_as_may_be_unavailable_are_replaced_at_a_time() {
    let max_unavailable = 2;
    let mut bench = Bench::ready(
        3,
        FleetPolicy {
            max_unavailable,
            ..policy()
        },
    );
    for serial in 1..=3 {
        bench.make_unhealthy(serial);
    }
    bench.converge();
    assert_eq!(
        bench.seen(),
        "1 unhealthy*, 2 unhealthy*, 3 unhealthy*, 4 ordered, 5 ordered"
    );
}

#[test]
fn a_drained_one_is_never_taken_back() {
    let mut bench = Bench::ready(2, policy());
    bench.wanted.counts.insert(V1, 1);
    bench.converge();
    bench.wanted.counts.insert(V1, 2);
    assert_eq!(bench.acts(), ["start v1-3"]);
    assert_eq!(bench.seen(), "1 draining, 2 ready*, 3 ordered");
}

#[test]
fn many_starts_wait_for_each_other() {
    let mut bench = Bench::wanting(1_000, policy());
    assert_eq!(bench.converge().len(), 64);
    bench.started(V1, 1);
    assert_eq!(bench.acts(), ["start v1-65"]);
}
