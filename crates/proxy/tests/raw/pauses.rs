//! Requests that come while their service is paused.

use std::time::Duration;

use model::{ReleaseId, Time};
use proxy::Settings;
use rustix::time::{ClockId, clock_gettime};
use traffic::{HostPattern, Outcome, Paused, Rejected, Route};

use crate::world::{Program, SERVICE, World, until};

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

fn now_micros() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1_000
}

impl World {
    pub(crate) fn pause(&mut self, lasts: Duration) {
        let until_micros = now_micros() + lasts.as_micros() as u64;
        self.set_service(|service| {
            service.paused = Some(Paused {
                until: Time(0),
                until_micros,
            });
        });
    }

    pub(crate) fn go_on(&mut self) {
        self.set_service(|service| service.paused = None);
    }

    pub(crate) fn until_held(&self, requests: u64) {
        until("they are held", || self.ledger.waiting(SERVICE) == requests);
    }
}

#[test]
fn new_requests_are_held_whole_and_all_go_on_when_the_pause_is_ended() {
    let program = Program::echo("one");
    let mut world = World::serving(&[&program]);
    let mut warm = world.client();
    assert_eq!(warm.get("/").status, 200);
    world.pause(Duration::from_secs(50));
    let body = "x".repeat(200_000);
    let mut clients: Vec<_> = (0..10).map(|_| world.client()).collect();
    for client in &mut clients {
        client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody");
    }
    warm.send(GET);
    let mut large = world.client();
    let mut sender = large.stream.try_clone().unwrap();
    let sent = body.clone();
    let sending = std::thread::spawn(move || {
        use std::io::Write;
        let head = format!(
            "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{sent}",
            sent.len()
        );
        sender.write_all(head.as_bytes()).unwrap();
    });
    world.until_held(12);
    assert!(warm.is_silent_for(Duration::from_millis(100)));
    world.expect_outcomes(10, &[(Outcome::Status2xx, 1)]);
    world.go_on();
    for client in &mut clients {
        assert_eq!(client.response().text(), "one: POST / HTTP/1.1 [body]");
    }
    assert_eq!(warm.response().status, 200);
    sending.join().unwrap();
    assert!(large.response().text().ends_with(&format!("[{body}]")));
    world.expect_outcomes(10, &[(Outcome::Status2xx, 13)]);
    let service = world.service();
    assert_eq!((service.held, service.held_left), (12, 0));
    assert_eq!(service.rejected, [0; Rejected::COUNT]);
}

#[test]
fn an_open_request_goes_on_under_a_pause_even_if_it_must_be_tried_again() {
    let program = Program::new(|connection| {
        if connection.number == 0 {
            connection.request()?;
            connection.answer("warm");
        }
        let head = connection.head()?;
        connection.report("asked");
        connection.read_exactly(4)?;
        if connection.number > 0 {
            connection.answer(head.lines().next()?);
        }
        None
    });
    let mut world = World::serving(&[&program]);
    let mut open = world.client();
    assert_eq!(open.get("/").text(), "warm");
    open.send("PUT /open HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n");
    program.report();
    world.pause(Duration::from_secs(50));
    let mut held = world.client();
    held.send(GET);
    world.until_held(1);
    open.send("body");
    assert_eq!(open.response().text(), "PUT /open HTTP/1.1");
    assert_eq!(world.ledger.waiting(SERVICE), 1);
}

#[test]
fn a_pause_ends_at_its_time_without_another_table() {
    let program = Program::echo("one");
    let mut world = World::serving(&[&program]);
    world.pause(Duration::from_millis(700));
    let begun = now_micros();
    let mut client = world.client();
    assert_eq!(client.get("/").status, 200);
    assert!(now_micros() - begun >= 300_000, "it was not held");
    assert_eq!(client.get("/").status, 200);
    assert_eq!(world.service().held, 1);
}

#[test]
fn what_is_held_counts_neither_as_latency_nor_as_a_gap() {
    let program = Program::echo("one");
    let mut world = World::serving(&[&program]);
    let begun = now_micros();
    world.pause(Duration::from_millis(1_500));
    assert_eq!(world.client().get("/").status, 200);
    let gap = world.ledger.longest_gap(SERVICE, begun, now_micros());
    let latency = world.settled(10).latency.percentile(9_900).unwrap();
    assert!(now_micros() - begun >= 1_000_000, "it was not held");
    assert!(gap < 1_000_000, "{gap}");
    assert!(latency < 1_000_000, "{latency}");
}

#[test]
fn after_a_pause_a_request_waits_for_an_endpoint_as_long_as_any_other() {
    let mut world = World::serving(&[]);
    world.set_service(|service| service.limits.wait_ready = Duration::from_millis(300));
    world.pause(Duration::from_secs(50));
    let mut client = world.client();
    client.send(GET);
    world.until_held(1);
    assert!(client.is_silent_for(Duration::from_millis(600)));
    world.go_on();
    let response = client.response();
    assert_eq!(
        (response.status, response.header("x-gapless-error")),
        (503, Some("no_endpoint"))
    );
}

#[test]
fn beyond_the_bound_requests_are_turned_away_and_clients_that_leave_make_room() {
    let program = Program::echo("one");
    let mut world = World::with_settings(Settings {
        waiting_max: 2,
        ..Settings::default()
    });
    world.set_endpoints(&[&program]);
    world.pause(Duration::from_secs(50));
    let mut plain = world.client();
    plain.send(GET);
    // More than is kept of it: what is left lies unread in the kernel when its client goes.
    let mut uploading = world.client();
    uploading.send("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 999999\r\n\r\n");
    uploading.send("x".repeat(40_000));
    world.until_held(2);
    let mut turned = world.client();
    let response = turned.get("/");
    assert_eq!(
        (response.status, response.header("x-gapless-error")),
        (503, Some("paused"))
    );
    let after: u32 = response.header("retry-after").unwrap().parse().unwrap();
    assert!((40..=50).contains(&after), "{after}");
    drop(uploading);
    world.until_held(1);
    turned.send(GET);
    world.until_held(2);
    drop(plain);
    world.until_held(1);
    world.go_on();
    assert_eq!(turned.response().status, 200);
    let service = world.service();
    assert_eq!(
        (
            service.held,
            service.held_left,
            service.rejected(Rejected::Paused)
        ),
        (3, 2, 1)
    );
}

#[test]
fn a_preview_is_not_held() {
    let program = Program::echo("one");
    let mut world = World::serving(&[&program]);
    world.publish(|table| {
        let service = 0;
        table.listeners[0].routes.push(Route {
            host: HostPattern::Exact("preview".to_owned()),
            path: "/".to_owned(),
            service,
            only: Some(ReleaseId(1)),
        });
    });
    world.pause(Duration::from_secs(50));
    let mut client = world.client();
    client.send("GET / HTTP/1.1\r\nHost: preview\r\n\r\n");
    assert_eq!(client.response().status, 200);
}
