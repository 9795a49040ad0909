//! Clients that end their side once their request is whole, and those that are gone.

use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};

use traffic::Outcome;

use crate::world::{Client, Ended, Program, SERVICE, World, until};

const REQUEST: &str = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody";

/// A program that says half of its answer, and the rest when it is told to.
fn in_halves(first: &'static str, second: &'static str) -> (Program, Sender<()>) {
    let (go, gone) = channel();
    let gone = Mutex::new(gone);
    let program = Program::new(move |connection| {
        connection.request()?;
        connection.send(first)?;
        connection.report("asked");
        gone.lock().unwrap().recv().ok()?;
        connection.send(second)
    });
    (program, go)
}

/// A program that never answers, and says when nobody waits any more.
fn silent() -> Program {
    Program::new(|connection| {
        connection.request()?;
        connection.report("asked");
        connection.wait_for_end();
        connection.report("ended");
        Some(())
    })
}

fn waits(world: &World, count: u64) {
    until("so many wait", || world.ledger.waiting(SERVICE) == count);
}

/// True once the proxy has seen the end of the client's side: it asks then.
fn was_asked(client: &mut Client) {
    assert_eq!(client.head().status, 100);
}

#[test]
fn a_client_that_ended_its_side_gets_its_response() {
    let (program, go) = in_halves("", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate");
    let world = World::serving(&[&program]);
    let mut client = world.client();
    client.send(REQUEST).half_close();
    assert_eq!(program.report(), "asked");
    was_asked(&mut client);
    go.send(()).unwrap();
    assert_eq!(client.response().text(), "late");
    assert_eq!(client.rest(), (Vec::new(), Ended::Cleanly));
    world.expect_outcomes(10, &[(Outcome::Status2xx, 1)]);
}

#[test]
fn a_client_that_ended_its_side_waits_for_an_endpoint() {
    let program = Program::echo("one");
    let mut world = World::serving(&[]);
    let mut client = world.client();
    client.send(REQUEST).half_close();
    waits(&world, 1);
    was_asked(&mut client);
    world.set_endpoints(&[&program]);
    assert_eq!(client.response().text(), "one: POST / HTTP/1.1 [body]");
    assert_eq!(client.rest(), (Vec::new(), Ended::Cleanly));
}

#[test]
fn a_client_that_ends_its_side_within_the_response_gets_the_rest() {
    let (program, go) = in_halves("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf", "done");
    let world = World::serving(&[&program]);
    let mut client = world.client();
    client.send(REQUEST);
    assert_eq!(program.report(), "asked");
    client.read_to(b"half");
    client.half_close();
    // What the proxy's one thread sees later, it has seen later.
    assert_eq!(
        world.client().send("NONSENSE\r\n\r\n").response().status,
        400
    );
    assert_eq!(world.open(10), 1);
    go.send(()).unwrap();
    assert_eq!(client.rest(), (b"done".to_vec(), Ended::Cleanly));
    world.expect_outcomes(10, &[(Outcome::Status2xx, 1)]);
}

#[test]
fn every_request_that_came_before_the_end_is_answered() {
    let program = Program::echo("one");
    let world = World::serving(&[&program]);
    let mut client = world.client();
    client.send(REQUEST.repeat(3)).half_close();
    for _ in 0..3 {
        assert_eq!(client.final_response().status, 200);
    }
    assert_eq!(client.rest(), (Vec::new(), Ended::Cleanly));
}

#[test]
fn an_old_client_that_ended_its_side_gets_its_response_and_nothing_else() {
    let (program, go) = in_halves("", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate");
    let world = World::serving(&[&program]);
    let mut client = world.client();
    client.send("GET / HTTP/1.0\r\n\r\n").half_close();
    assert_eq!(program.report(), "asked");
    go.send(()).unwrap();
    let (all, ended) = client.rest();
    assert!(all.starts_with(b"HTTP/1.1 200 OK\r\n"), "{all:?}");
    assert_eq!(ended, Ended::Cleanly);
}

#[test]
fn a_client_whose_request_is_not_whole_is_gone_with_its_side() {
    let mut world = World::serving(&[]);
    let mut client = world.client();
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nbody");
    waits(&world, 1);
    client.half_close();
    waits(&world, 0);
    assert_eq!(client.rest().0, b"");
    let program = silent();
    world.set_endpoints(&[&program]);
    let mut client = world.client();
    client.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n");
    client.half_close();
    assert_eq!(client.rest().0, b"");
    world.expect_outcomes(10, &[(Outcome::ClientGone, 1)]);
}

#[test]
fn a_client_that_reset_is_gone_wherever_it_waited() {
    let mut world = World::serving(&[]);
    let mut client = world.client();
    client.send(REQUEST);
    waits(&world, 1);
    client.reset();
    waits(&world, 0);
    let program = silent();
    world.set_endpoints(&[&program]);
    let mut client = world.client();
    client.send(REQUEST);
    assert_eq!(program.report(), "asked");
    client.reset();
    assert_eq!(program.report(), "ended");
    world.expect_outcomes(10, &[(Outcome::ClientGone, 1)]);
}

#[test]
fn a_client_that_ended_its_side_and_then_left_is_gone() {
    let mut world = World::serving(&[]);
    let mut client = world.client();
    client.send(REQUEST).half_close();
    waits(&world, 1);
    was_asked(&mut client);
    client.reset();
    waits(&world, 0);
    let program = silent();
    world.set_endpoints(&[&program]);
    let mut client = world.client();
    client.send(REQUEST).half_close();
    assert_eq!(program.report(), "asked");
    was_asked(&mut client);
    client.reset();
    assert_eq!(program.report(), "ended");
    world.expect_outcomes(10, &[(Outcome::ClientGone, 1)]);
}

#[test]
fn a_client_that_ended_its_side_within_the_response_and_then_reset_is_gone() {
    let program = Program::new(|connection| {
        connection.request()?;
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf")?;
        connection.wait_for_end();
        connection.report("ended");
        Some(())
    });
    let world = World::serving(&[&program]);
    let mut client = world.client();
    client.send(REQUEST);
    client.read_to(b"half");
    client.half_close();
    client.reset();
    assert_eq!(program.report(), "ended");
    world.expect_outcomes(10, &[(Outcome::ClientGone, 1)]);
}
