//! Who ended a connection, and what the other end sees of it.

use std::time::Duration;

use model::{Drain, ProxyLimits};
use traffic::{Cell, ListenerKind, Outcome, Phase};

use super::{echo, is_echoed, is_open, noise};
use crate::access::Logged;
use crate::killed::Worker;
use crate::world::{Client, Ended, Program, World, until};

/// A program that says how its connection ended.
fn hears_the_end() -> Program {
    Program::new(|connection| {
        connection.send("hello")?;
        let how = connection.how_it_ends();
        connection.report(how);
        Some(())
    })
}

#[test]
fn a_clients_reset_is_a_reset_for_the_program() {
    let program = hears_the_end();
    let world = World::carrying(&[&program]);
    let mut client = world.client();
    client.read_exactly(5);
    client.reset();
    assert_eq!(program.report(), "Reset");
    world.expect_outcomes(10, &[(Outcome::ClientGone, 1), (Outcome::TunnelOpened, 1)]);
}

#[test]
fn a_programs_reset_is_a_reset_for_the_client_after_all_that_came_before() {
    const BYTES: usize = 3 << 20;
    let program = Program::new(|connection| {
        connection.send(noise(BYTES, 5))?;
        // Once its own sending is done: a reset would overtake the rest.
        connection.read_to(b"enough")?;
        connection.send("!")?;
        connection.reset();
        Some(())
    });
    let world = World::carrying(&[&program]);
    let mut client = world.client();
    assert!(client.read_exactly(BYTES) == noise(BYTES, 5));
    client.send("enough");
    assert_eq!(client.rest().1, Ended::Reset);
    world.expect_outcomes(10, &[(Outcome::Truncated, 1), (Outcome::TunnelOpened, 1)]);
}

#[test]
fn a_slow_client_gets_what_the_program_said_before_it_broke_off() {
    const BYTES: usize = 30_000;
    let program = Program::new(|connection| {
        connection.read_exactly(1)?;
        connection.send(noise(BYTES, 5))?;
        connection.reset();
        connection.report("said");
        Some(())
    });
    let world = World::carrying(&[&program]);
    let mut client = Client::connect_narrow(world.address);
    client.send("?");
    assert_eq!(program.report(), "said");
    // Long enough for the reset to come before the client has read anything.
    std::thread::sleep(Duration::from_millis(200));
    let (got, ended) = client.rest();
    assert!(got == noise(BYTES, 5), "{} of {BYTES}", got.len());
    assert_eq!(ended, Ended::Reset);
}

#[test]
fn a_side_that_has_ended_may_still_reset() {
    let program = Program::new(|connection| {
        connection.half_close();
        connection.read_to(b"reset")?;
        connection.reset();
        Some(())
    });
    let world = World::carrying(&[&program]);
    let mut client = world.client();
    let mut byte = [0];
    assert_eq!(
        std::io::Read::read(&mut client.stream, &mut byte).unwrap(),
        0
    );
    client.send("reset");
    // Whatever is sent next may be the first to meet it.
    until("the connection is gone", || world.open(10) == 0);
    assert!(client.stream.take_error().unwrap().is_some());
    world.expect_outcomes(10, &[(Outcome::Truncated, 1), (Outcome::TunnelOpened, 1)]);
}

#[test]
fn a_client_that_has_ended_and_is_gone_is_gone_for_the_program_too() {
    let program = Program::new(|connection| {
        connection.wait_for_end();
        connection.report("asked");
        // The first of these is answered with a reset by whoever is not there.
        for _ in 0..200 {
            if connection.send("answer").is_none() {
                connection.report("reset");
                return None;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        connection.report("nobody said");
        None
    });
    let world = World::carrying(&[&program]);
    let mut client = world.client();
    client.send("question");
    drop(client);
    assert_eq!(program.report(), "asked");
    assert_eq!(program.report(), "reset");
    world.expect_outcomes(10, &[(Outcome::ClientGone, 1), (Outcome::TunnelOpened, 1)]);
}

#[test]
fn what_is_open_at_the_drain_limit_is_reset_on_both_sides() {
    let program = hears_the_end();
    let mut logged = Logged::new(&[&program]);
    logged.world.carry();
    let world = &logged.world;
    let mut client = world.client();
    client.read_exactly(5);
    world.proxy().cut(Cell(10));
    assert_eq!(client.rest(), (Vec::new(), Ended::Reset));
    assert_eq!(program.report(), "Reset");
    world.expect_outcomes(10, &[(Outcome::Cut, 1), (Outcome::TunnelOpened, 1)]);
    let line = logged.line();
    assert_eq!(
        (&line["termination"], &line["reason"]),
        (&"proxy/tunnel".into(), &"cut".into())
    );
}

#[test]
fn before_the_limit_only_a_quiet_connection_is_ended() {
    let (quiet, flood) = (
        echo(),
        Program::new(|connection| {
            loop {
                connection.send(noise(1 << 16, 2))?;
            }
        }),
    );
    let mut world = World::carrying(&[&quiet]);
    let mut client = world.client();
    assert!(is_echoed(&mut client, "hello"));
    world.proxy().part(Cell(10), Drain::all(Duration::ZERO));
    assert_eq!(client.rest(), (Vec::new(), Ended::Reset));
    world.expect_outcomes(10, &[(Outcome::Cut, 1), (Outcome::TunnelOpened, 1)]);
    world.set_service(|service| {
        service.stable = crate::world::candidate(1, &[&flood], 11);
    });
    let mut client = world.client();
    // Nobody reads, so something is always left to be delivered.
    client.read_exactly(1);
    until("nothing more goes through", || {
        let before = world.cell(11);
        std::thread::sleep(Duration::from_millis(500));
        before.bytes_from == world.cell(11).bytes_from
    });
    world.proxy().part(Cell(11), Drain::all(Duration::ZERO));
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(world.open(11), 1);
    world.proxy().cut(Cell(11));
    until("it is cut", || world.open(11) == 0);
}

#[test]
fn a_silent_connection_is_ended_only_where_that_is_wanted() {
    let program = echo();
    let mut world = World::carrying(&[&program]);
    let mut free = world.client();
    assert!(is_echoed(&mut free, "free"));
    world.set_service(|service| {
        service.limits = ProxyLimits {
            tcp_idle: Some(Duration::from_millis(400)),
            ..service.limits.clone()
        };
    });
    let mut bound = world.client();
    assert!(is_echoed(&mut bound, "bound"));
    assert_eq!(bound.rest(), (Vec::new(), Ended::Reset));
    assert!(is_open(&mut free), "the limit is of the connection's begin");
    assert!(is_echoed(&mut free, "still"));
    let totals = world.cell(10);
    assert_eq!(totals.outcome(Phase::Serving, Outcome::TunnelClosed), 1);
}

#[test]
fn a_killed_worker_cuts_exactly_what_was_open_and_nobody_takes_it_for_an_end() {
    let (program, next) = (hears_the_end(), echo());
    let mut world = World::without_proxy();
    let mut worker = Worker::start_carrying(&world, program.address);
    let mut open: Vec<Client> = (0..7).map(|_| world.client()).collect();
    for client in &mut open {
        client.read_exactly(5);
    }
    worker.kill();
    for client in &mut open {
        assert_eq!(client.rest(), (Vec::new(), Ended::Reset));
        assert_eq!(program.report(), "Reset");
    }
    let mut waiting: Vec<Client> = (0..10).map(|_| world.client()).collect();
    let dead = world.ledger.fold_dead(2);
    assert_eq!(dead.open, [(Cell(10), 7)]);
    assert_eq!((dead.reading, dead.connections), (0, 7));
    world.kind = ListenerKind::Tcp;
    world.start_proxy();
    world.set_endpoints(&[&next]);
    for client in &mut waiting {
        assert!(is_echoed(client, "served"));
    }
    let totals = world.cell(10);
    assert_eq!(totals.outcome(Phase::Serving, Outcome::Killed), 7);
}
