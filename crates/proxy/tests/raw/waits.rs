//! Requests that come while nothing is ready.

use std::time::{Duration, Instant};

use proxy::Settings;
use traffic::{Outcome, Rejected};

use crate::world::{Program, World, until};

#[test]
fn a_request_before_the_first_table_waits_for_it() {
    let program = Program::echo("one");
    let mut world = World::without_table();
    let mut client = world.client();
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(client.is_silent_for(Duration::from_millis(100)));
    world.set_endpoints(&[&program]);
    assert_eq!(client.response().status, 200);
}

#[test]
fn requests_wait_for_a_ready_endpoint_and_then_all_are_served() {
    let program = Program::echo("one");
    let mut world = World::serving(&[]);
    let mut clients: Vec<_> = (0..20).map(|_| world.client()).collect();
    for client in &mut clients {
        client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody");
    }
    until("all wait", || {
        world.ledger.waiting(crate::world::SERVICE) == 20
    });
    world.set_endpoints(&[&program]);
    for client in &mut clients {
        assert_eq!(client.response().text(), "one: POST / HTTP/1.1 [body]");
    }
    assert_eq!(world.ledger.waiting(crate::world::SERVICE), 0);
    world.expect_outcomes(10, &[(Outcome::Status2xx, 20)]);
    assert_eq!(world.service().rejected(Rejected::NoEndpoint), 0);
}

#[test]
fn a_wait_ends_with_a_503_that_says_when_to_come_back() {
    let mut world = World::serving(&[]);
    world.set_service(|service| service.limits.wait_ready = Duration::from_millis(200));
    let begun = Instant::now();
    let mut client = world.client();
    let response = client.get("/");
    assert_eq!(response.status, 503);
    assert_eq!(response.header("x-gapless-error"), Some("no_endpoint"));
    assert_eq!(response.header("retry-after"), Some("1"));
    assert!(begun.elapsed() >= Duration::from_millis(200));
    assert_eq!(client.get("/").status, 503, "the connection goes on");
    assert_eq!(world.service().rejected(Rejected::NoEndpoint), 2);
}

#[test]
fn too_many_waiting_requests_are_turned_away_and_a_client_that_leaves_makes_room() {
    let program = Program::echo("one");
    let mut world = World::with_settings(Settings {
        waiting_max: 2,
        ..Settings::default()
    });
    world.set_endpoints(&[]);
    let mut clients = [world.client(), world.client()];
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    }
    until("both wait", || {
        world.ledger.waiting(crate::world::SERVICE) == 2
    });
    let response = world.client().get("/");
    assert_eq!(
        (response.status, response.header("x-gapless-error")),
        (503, Some("overload"))
    );
    let [first, mut second] = clients;
    drop(first);
    until("its place is free", || {
        world.ledger.waiting(crate::world::SERVICE) == 1
    });
    let mut third = world.client();
    third.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    until("another waits", || {
        world.ledger.waiting(crate::world::SERVICE) == 2
    });
    world.set_endpoints(&[&program]);
    assert_eq!(second.response().status, 200);
    assert_eq!(third.response().status, 200);
}

#[test]
fn the_gap_is_the_time_in_which_requests_waited_and_none_was_answered() {
    let program = Program::echo("one");
    let mut world = World::serving(&[&program]);
    let now = || rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let micros =
        |time: rustix::time::Timespec| time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1_000;
    let begun = micros(now());
    let mut client = world.client();
    for _ in 0..20 {
        client.get("/");
    }
    let before = world
        .ledger
        .longest_gap(crate::world::SERVICE, begun, micros(now()));
    world.set_endpoints(&[]);
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    std::thread::sleep(Duration::from_millis(400));
    world.set_endpoints(&[&program]);
    assert_eq!(client.response().status, 200);
    let gap = world
        .ledger
        .longest_gap(crate::world::SERVICE, begun, micros(now()));
    assert!(gap >= 390_000, "{gap}");
    assert!(before < gap, "{before} of {gap}");
}
