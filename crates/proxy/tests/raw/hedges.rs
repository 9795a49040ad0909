//! Second attempts beside slow ones: one request, one outcome, whoever answers first.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::{Hedge, HedgeAfter, Share};
use traffic::{Outcome, Phase};

use crate::frames::*;
use crate::http2::{get, speak, whole};
use crate::world::{Program, World, nowhere, until};

/// After so long a second attempt is made.
const SOON: Duration = Duration::from_millis(30);
/// How long a slow program takes: longer than that on any machine.
const SLOW: Duration = Duration::from_millis(1_000);

/// Programs by their cells, 10 and 11, whose requests get a second attempt soon.
fn hedged(programs: &[&Program]) -> World {
    let mut world = World::serving(programs);
    hedge(&mut world, (Share::ALL, SOON));
    world
}

fn hedge(world: &mut World, (share, after): (Share, Duration)) {
    let after = HedgeAfter::Time(after);
    world.set_service(|service| service.delivery.hedge = Some(Hedge { after, share }));
}

/// A program that answers when it is told to, and says what it is asked and how that ends.
fn slow() -> (Program, Sender<()>) {
    let (go, gone) = channel();
    let gone = Mutex::new(gone);
    let program = Program::new(move |connection| {
        loop {
            let (head, _) = connection.request()?;
            connection.report(head.lines().next().unwrap());
            if gone.lock().unwrap().try_recv().is_err() {
                let end = connection.how_it_ends();
                connection.report(end);
                return Some(());
            }
            connection.answer("slow");
        }
    });
    (program, go)
}

/// Asks until the endpoint with cell 10 was asked first.
fn asks_until_slow(world: &World, program: &Program) -> u64 {
    let mut asked = 0;
    while world.service().hedges_won == 0 {
        assert_eq!(world.client().get("/").text(), "quick: GET / HTTP/1.1 []");
        asked += 1;
    }
    assert_eq!(program.report(), "GET / HTTP/1.1");
    asked
}

#[test]
fn whoever_is_slow_is_broken_off_and_the_request_has_one_outcome() {
    let (slow, _go) = slow();
    let quick = Program::echo("quick");
    let world = hedged(&[&slow, &quick]);
    let asked = asks_until_slow(&world, &slow);
    assert_ne!(slow.report(), "Never", "it hears that nobody waits");
    let fine = world.settled(11);
    assert_eq!(fine.outcome(Phase::Serving, Outcome::Status2xx), asked);
    assert_eq!(fine.ended(), asked);
    let broken_off = world.settled(10);
    assert_eq!(broken_off.seen().count(), 0, "it is part of no figure");
    let service = world.service();
    assert_eq!((service.requests, service.hedges_won), (asked, 1));
    assert!(service.hedged >= 1);
}

#[test]
fn the_first_attempt_may_still_answer_first() {
    let is_second = Arc::new(AtomicBool::new(false));
    let (go, gone) = channel();
    let gone = Arc::new(Mutex::new(gone));
    let program = || {
        let (is_second, gone) = (Arc::clone(&is_second), Arc::clone(&gone));
        Program::new(move |connection| {
            connection.request()?;
            if is_second.swap(true, Ordering::SeqCst) {
                connection.how_it_ends();
                return Some(());
            }
            gone.lock().unwrap().recv().ok()?;
            connection.answer("first");
            Some(())
        })
    };
    let (one, two) = (program(), program());
    let mut world = World::serving(&[&one, &two]);
    hedge(&mut world, (Share::ALL, SLOW));
    let mut client = world.client();
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    until("a second attempt is made", || world.service().hedged == 1);
    until("both have it", || world.open(10) + world.open(11) == 2);
    go.send(()).unwrap();
    assert_eq!(client.response().text(), "first");
    let ended = world.settled(10).ended() + world.settled(11).ended();
    assert_eq!(ended, 1);
    let service = world.service();
    assert_eq!((service.requests, service.hedges_won), (1, 0));
}

#[test]
fn what_may_not_be_done_twice_or_has_a_body_is_asked_once() {
    let (one, _one) = slow();
    let (two, _two) = slow();
    let world = hedged(&[&one, &two]);
    let requests = [
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
        "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nxy",
        "GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    ];
    let mut clients = requests.map(|request| {
        let mut client = world.client();
        client.send(request);
        client
    });
    for client in &mut clients {
        assert!(client.is_silent_for(Duration::from_millis(150)));
    }
    assert_eq!(world.open(10) + world.open(11), 3);
    assert_eq!(world.service().hedged, 0);
}

#[test]
fn second_attempts_are_bounded() {
    let (one, _one) = slow();
    let (two, _two) = slow();
    let mut world = World::serving(&[&one, &two]);
    hedge(&mut world, (Share::NONE, SOON));
    let clients: Vec<_> = (0..13)
        .map(|_| {
            let mut client = world.client();
            client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
            client
        })
        .collect();
    until("the free ones are spent", || world.service().hedged == 10);
    until(
        "each is at one endpoint, those with a second attempt at two",
        || world.open(10) + world.open(11) == 13 + 10,
    );
    drop(clients);
    let ended = || world.cell(10).ended() + world.cell(11).ended();
    until("each has one outcome", || ended() == 13);
    assert_eq!(world.open(10) + world.open(11), 0);
}

#[test]
fn an_attempt_that_fails_leaves_the_request_to_the_other() {
    let asked = Arc::new(AtomicBool::new(false));
    let (go, gone) = channel();
    let gone = Mutex::new(gone);
    let other = Arc::clone(&asked);
    let dying = Program::new(move |connection| {
        connection.request()?;
        until("both are asked", || other.load(Ordering::SeqCst));
        connection.report("dies");
        None
    });
    let is_asked = Arc::clone(&asked);
    let late = Program::new(move |connection| {
        loop {
            connection.request()?;
            is_asked.store(true, Ordering::SeqCst);
            gone.lock().unwrap().recv().ok()?;
            connection.answer("late");
        }
    });
    let world = hedged(&[&dying, &late]);
    while world.cell(10).ended() == 0 {
        asked.store(false, Ordering::SeqCst);
        let mut client = world.client();
        client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(dying.report(), "dies");
        until("that is noticed", || world.open(10) == 0);
        go.send(()).unwrap();
        assert_eq!(client.response().text(), "late");
    }
    let failed = world.settled(10);
    for (_, outcome, _) in failed.seen() {
        assert_eq!(outcome, Outcome::NoResponseRepeated);
    }
    let requests = world.service().requests;
    let fine = world.settled(11);
    assert_eq!(fine.outcome(Phase::Serving, Outcome::Status2xx), requests);
}

#[test]
fn a_second_endpoint_that_is_not_there_changes_nothing() {
    let late = Program::new(|connection| {
        loop {
            connection.request()?;
            std::thread::sleep(SLOW);
            connection.answer("late");
        }
    });
    let gone = Program::echo("gone");
    let mut world = hedged(&[&late, &gone]);
    world.set_service(|service| service.stable.endpoints[1].address = nowhere());
    let mut client = world.client();
    while world.service().hedged == 0 {
        assert_eq!(client.get("/").text(), "late");
    }
    let fine = world.settled(10);
    let asked = world.service().requests;
    assert_eq!(fine.outcome(Phase::Serving, Outcome::Status2xx), asked);
    for (_, outcome, _) in world.settled(11).seen() {
        assert_eq!(outcome, Outcome::ConnectRepeated);
    }
}

#[test]
fn programs_that_speak_http2_get_second_attempts_too() {
    let silent = Program::new(|connection| {
        connection.greet(b"")?;
        let stream = connection.called()?;
        while connection.next(RST_STREAM)?.stream != stream {}
        connection.report("cancelled");
        Some(())
    });
    let quick = Program::new(|connection| {
        connection.greet(b"")?;
        loop {
            let stream = connection.called()?;
            connection.send(head(stream, END_STREAM, &[("", "200"), ("x-who", "quick")]))?;
        }
    });
    let mut world = World::calling(&[&silent, &quick]);
    hedge(&mut world, (Share::ALL, SOON));
    speak(&world, async |send| {
        while world.service().hedged == 0 {
            let mut send = send.clone().ready().await.unwrap();
            let (response, _) = send.send_request(get("/"), true).unwrap();
            let (head, _, _) = whole(response).await.unwrap();
            assert_eq!(head.headers()["x-who"], "quick");
        }
    });
    assert_eq!(silent.report(), "cancelled");
    assert_eq!(world.settled(10).ended(), 0);
    assert_eq!(world.settled(11).ended(), world.service().requests);
}
