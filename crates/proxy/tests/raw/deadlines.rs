//! Requests that have to be answered in time.

use std::time::{Duration, Instant};

use model::{Deadline, Share};
use traffic::{Outcome, Rejected};

use crate::world::{Program, World};

const SHORT: Duration = Duration::from_millis(300);

/// A program that reads requests and never answers.
fn silent() -> Program {
    Program::new(|connection| {
        loop {
            let (head, _) = connection.request()?;
            connection.report(head.lines().next().unwrap());
        }
    })
}

fn timed(programs: &[&Program], attempt: Option<Duration>, total: Option<Duration>) -> World {
    let mut world = World::serving(programs);
    world.set_service(|service| service.delivery.deadline = Some(Deadline { attempt, total }));
    world
}

#[test]
fn an_idempotent_request_that_is_not_answered_is_sent_to_another_endpoint() {
    let (silent, quick) = (silent(), Program::echo("quick"));
    let world = timed(&[&silent, &quick], Some(SHORT), None);
    let mut client = world.client();
    while world.cell(10).ended() == 0 {
        assert_eq!(client.get("/").text(), "quick: GET / HTTP/1.1 []");
    }
    let (slow, fine) = (world.settled(10), world.settled(11));
    assert_eq!(
        slow.seen().map(|(_, what, _)| what).collect::<Vec<_>>(),
        [Outcome::NoResponseRepeated]
    );
    assert_eq!(
        fine.outcome(traffic::Phase::Serving, Outcome::Status2xx),
        world.service().requests
    );
}

#[test]
fn a_post_is_never_sent_twice_and_neither_is_anything_beyond_the_budget() {
    let (one, two) = (silent(), silent());
    let mut world = timed(&[&one, &two], Some(SHORT), None);
    let late = |world: &World, post: bool| {
        let mut client = world.client();
        let response = if post {
            client.post("/", "body")
        } else {
            client.get("/")
        };
        assert_eq!(response.status, 504);
        assert_eq!(response.header("x-gapless-error"), Some("deadline_try"));
    };
    late(&world, true);
    let tried = |world: &World| world.settled(10).ended() + world.settled(11).ended();
    assert_eq!(tried(&world), 1);
    late(&world, false);
    assert_eq!(tried(&world), 3, "both were tried");
    world.set_service(|service| service.delivery.retry_budget = Share::NONE);
    for _ in 0..9 {
        late(&world, false);
    }
    let before = tried(&world);
    late(&world, false);
    assert_eq!(tried(&world), before + 1, "the free ones are spent");
    assert_eq!(world.service().rejected(Rejected::DeadlineTry), 12);
}

#[test]
fn the_first_byte_is_in_time_and_the_rest_may_take_longer() {
    let program = Program::new(|connection| {
        loop {
            connection.request()?;
            for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" {
                connection.send([*byte])?;
                std::thread::sleep(Duration::from_millis(15));
            }
        }
    });
    let world = timed(&[&program], Some(SHORT), None);
    let begun = Instant::now();
    assert_eq!(world.client().get("/").text(), "ok");
    assert!(
        begun.elapsed() > SHORT,
        "it took longer than the attempt may"
    );
}

#[test]
fn the_whole_exchange_has_its_time_whatever_moves() {
    let trickling = Program::new(|connection| {
        connection.request()?;
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")?;
        loop {
            connection.send("x")?;
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    let world = timed(&[&trickling], None, Some(SHORT));
    let mut client = world.client();
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    let (seen, ended) = client.rest();
    assert!(seen.starts_with(b"HTTP/1.1 200"));
    assert_eq!(ended, crate::world::Ended::Reset, "no clean end");
    world.expect_outcomes(10, &[(Outcome::Timeout, 1)]);
}

#[test]
fn an_exchange_that_never_begins_ends_with_a_504_and_a_slow_client_is_to_blame_itself() {
    let silent = silent();
    let world = timed(&[&silent], None, Some(SHORT));
    let mut client = world.client();
    let response = client.get("/");
    assert_eq!(response.status, 504);
    assert_eq!(response.header("x-gapless-error"), Some("deadline_total"));
    let mut slow = world.client();
    slow.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nbo");
    assert_eq!(slow.response().status, 504);
    world.expect_outcomes(10, &[(Outcome::Timeout, 1), (Outcome::ClientGone, 1)]);
    assert_eq!(world.service().rejected(Rejected::DeadlineTotal), 2);
}

#[test]
fn a_wait_for_an_endpoint_ends_with_the_deadline() {
    let world = timed(&[], None, Some(SHORT));
    let response = world.client().get("/");
    assert_eq!(response.header("x-gapless-error"), Some("no_endpoint"));
    assert_eq!(world.ledger.waiting(crate::world::SERVICE), 0);
}

#[test]
fn tunnels_and_event_streams_last_as_long_as_they_like() {
    let program = Program::new(|connection| {
        let (head, _) = connection.request()?;
        if head.contains("upgrade: websocket") {
            connection.send(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n\
                 Upgrade: websocket\r\n\r\n",
            )?;
        } else {
            connection.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")?;
        }
        std::thread::sleep(SHORT * 3);
        connection.send("late")?;
        None
    });
    let world = timed(&[&program], Some(SHORT), Some(SHORT));
    let mut events = world.client();
    events.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    let mut socket = world.client();
    socket.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
    events.read_to(b"late");
    socket.read_to(b"late");
}

#[test]
fn a_client_of_grpc_says_how_long_it_waits_and_is_believed_where_there_are_deadlines() {
    let silent = silent();
    let mut world = timed(&[&silent], None, None);
    let ask = "POST / HTTP/1.1\r\nHost: h\r\nGrpc-Timeout: 300m\r\nContent-Length: 0\r\n\r\n";
    let mut client = world.client();
    client.send(ask);
    assert_eq!(client.response().status, 504);
    world.set_service(|service| service.delivery.deadline = None);
    client.send(ask);
    assert!(client.is_silent_for(SHORT * 3));
}
