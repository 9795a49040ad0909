//! Which endpoint a connection comes to, and what becomes of it while there is none.

use std::time::Duration;

use model::{Affinity, Ejection, EndpointLimits, Queue, Share};
use proxy::{Loopback, Settings};
use traffic::{ListenerKind, Outcome, Phase, Rejected};

use super::{WHOLE, echo, is_echoed, is_open};
use crate::world::{
    Client, Ended, Program, SERVICE, World, candidate, candidate_at, nowhere, until,
};

/// A program that says its name to whoever comes.
fn named(name: &'static str) -> Program {
    Program::new(move |connection| {
        connection.send(name)?;
        connection.wait_for_end();
        Some(())
    })
}

/// Who serves a new connection.
fn asked(world: &World) -> String {
    let mut client = world.client();
    client.half_close();
    let (name, ended) = client.rest();
    assert_eq!(ended, Ended::Cleanly);
    String::from_utf8(name).unwrap()
}

#[test]
fn every_endpoint_is_tried_since_nothing_was_sent() {
    let program = echo();
    let mut world = World::carrying(&[&program]);
    let dead = (0..6).map(|_| nowhere());
    let all = dead.chain(std::iter::once(program.address));
    let all: Vec<_> = all.collect();
    world.set_service(|service| service.stable = candidate_at(1, all.into_iter(), 20));
    for _ in 0..20 {
        assert!(is_echoed(&mut world.client(), "there"));
    }
    until("nothing is open", || world.open(26) == 0);
    let refused = (20..26).map(|cell| world.cell(cell));
    let refused: Vec<_> = refused.collect();
    let count = |outcome| -> u64 {
        let each = refused
            .iter()
            .map(|cell| cell.outcome(Phase::Serving, outcome));
        each.sum()
    };
    assert!(count(Outcome::ConnectRepeated) > 6);
    assert_eq!(count(Outcome::ConnectFailed), 0);
    let served = world
        .cell(26)
        .outcome(Phase::Serving, Outcome::TunnelClosed);
    assert_eq!((served, world.service().requests), (20, 20));
}

#[test]
fn a_connection_that_no_endpoint_takes_is_reset_and_counted() {
    let mut world = World::carrying(&[]);
    let dead: Vec<_> = (0..2).map(|_| nowhere()).collect();
    world.set_service(|service| service.stable = candidate_at(1, dead.into_iter(), 20));
    assert_eq!(world.client().rest(), (Vec::new(), Ended::Reset));
    until("it is counted", || {
        world.service().rejected(Rejected::Connect) == 1
    });
    let ends = [20, 21].map(|cell| world.cell(cell));
    let count = |outcome| {
        ends.iter()
            .map(|cell| cell.outcome(Phase::Serving, outcome))
            .sum::<u64>()
    };
    assert_eq!(
        (
            count(Outcome::ConnectRepeated),
            count(Outcome::ConnectFailed)
        ),
        (1, 1)
    );
}

#[test]
fn a_connection_waits_for_an_endpoint_and_one_that_leaves_frees_its_place() {
    let program = echo();
    let mut world = World::carrying(&[]);
    let mut clients: Vec<Client> = (0..5).map(|_| world.client()).collect();
    world.until_held(5);
    // One says nothing and leaves, one is reset, one asks and ends its side.
    drop(clients.remove(0));
    clients.remove(0).reset();
    world.until_held(3);
    clients[0].send("asked already").half_close();
    clients[1].send("early");
    assert!(is_open(&mut clients[0]));
    world.set_endpoints(&[&program]);
    assert_eq!(
        clients[0].rest(),
        (b"asked already".to_vec(), Ended::Cleanly)
    );
    assert_eq!(clients[1].read_exactly(5), b"early");
    assert!(is_echoed(&mut clients[2], "late"));
    assert_eq!(world.service().requests, 5);
}

#[test]
fn who_waits_too_long_is_reset() {
    let mut world = World::carrying(&[]);
    world.set_service(|service| service.limits.wait_ready = Duration::from_millis(200));
    assert_eq!(world.client().rest(), (Vec::new(), Ended::Reset));
    until("it is counted", || {
        world.service().rejected(Rejected::NoEndpoint) == 1
    });
    assert_eq!(world.ledger.waiting(SERVICE), 0);
}

#[test]
fn before_the_first_table_a_connection_waits() {
    let program = echo();
    let mut world = World::without_proxy();
    world.kind = ListenerKind::Tcp;
    world.start_proxy();
    let mut client = world.client();
    client.send("first");
    assert!(is_open(&mut client));
    world.set_endpoints(&[&program]);
    assert_eq!(client.read_exactly(5), b"first");
}

#[test]
fn a_pause_holds_new_connections_and_leaves_open_ones_alone() {
    let program = echo();
    let mut world = World::carrying(&[&program]);
    let mut open = world.client();
    assert!(is_echoed(&mut open, "before"));
    world.pause(Duration::from_secs(50));
    let mut held = world.client();
    held.send("held");
    let gone = world.client();
    world.until_held(2);
    drop(gone);
    world.until_held(1);
    assert!(is_echoed(&mut open, "within"));
    assert!(is_open(&mut held));
    world.go_on();
    assert_eq!(held.read_exactly(4), b"held");
    let service = world.service();
    assert_eq!((service.held, service.held_left), (2, 1));
}

#[test]
fn a_closed_service_refuses_new_connections_and_keeps_open_ones() {
    let program = echo();
    let mut world = World::carrying(&[&program]);
    let mut open = world.client();
    assert!(is_echoed(&mut open, "before"));
    world.close();
    assert_eq!(world.client().rest(), (Vec::new(), Ended::Reset));
    assert!(is_echoed(&mut open, "within"));
    assert_eq!(world.service().rejected(Rejected::Maintenance), 1);
}

#[test]
fn a_client_has_no_more_connections_than_it_may() {
    let program = echo();
    let mut world = World::with_settings(Settings {
        loopback: Loopback::Bounded,
        ..Settings::default()
    });
    world.set_endpoints(&[&program]);
    world.carry();
    world.publish(|table| table.peers.connections_per_client = 2);
    let mut held = [world.client(), world.client()];
    for client in &mut held {
        assert!(is_echoed(client, "served"));
    }
    assert_eq!(world.client().rest(), (Vec::new(), Ended::Reset));
    let rejected = world.ledger.slots().rejected[Rejected::ClientConnections.index()];
    assert_eq!(rejected, 1);
}

#[test]
fn a_share_of_the_connections_goes_to_the_new_release_and_a_client_stays() {
    let (old, new) = (named("old"), named("new"));
    let mut world = World::carrying(&[&old]);
    world.set_service(|service| {
        service.candidate = Some(candidate(2, &[&new], 30));
        service.share = Share::try_new(5_000).unwrap();
    });
    let names: Vec<String> = (0..60).map(|_| asked(&world)).collect();
    let moved = names.iter().filter(|name| *name == "new").count();
    // Sixty fair draws are all but never outside of this.
    assert!((10..=50).contains(&moved), "{moved} of 60");
    world.set_service(|service| service.affinity = Some(Affinity::Client));
    let names: Vec<String> = (0..10).map(|_| asked(&world)).collect();
    assert!(names.iter().all(|name| *name == names[0]), "{names:?}");
}

#[test]
fn an_endpoint_that_refuses_is_left_out_and_one_that_takes_is_forgiven() {
    let program = echo();
    let mut world = World::carrying(&[&program]);
    let dead = nowhere();
    world.set_service(|service| {
        let all = [dead, program.address].into_iter();
        service.stable = candidate_at(1, all, 20);
        service.delivery.ejection = Some(Ejection {
            failures: 3,
            lasts: Duration::from_secs(100),
            max_share: Share::try_new(5_000).unwrap(),
            panic_share: Share::try_new(5_000).unwrap(),
        });
    });
    for _ in 0..60 {
        assert!(is_echoed(&mut world.client(), "there"));
    }
    let refused = world
        .cell(20)
        .outcome(Phase::Serving, Outcome::ConnectRepeated);
    assert_eq!(refused, 3, "then it is left out");
}

#[test]
fn a_cut_over_moves_new_connections_and_leaves_the_open_where_they_are() {
    let (old, new) = (echo(), named("new"));
    let mut world = World::carrying(&[&old]);
    let mut open = world.client();
    assert!(is_echoed(&mut open, "before"));
    world.set_service(|service| service.stable = candidate(2, &[&new], 30));
    assert_eq!(asked(&world), "new");
    assert!(is_echoed(&mut open, "after"));
    assert_eq!(world.open(10), 1);
    open.half_close();
    assert_eq!(open.rest().1, Ended::Cleanly);
    world.expect_outcomes(10, &WHOLE);
}

#[test]
fn a_full_program_gets_no_more_connections_and_they_wait_for_one_to_end() {
    let program = echo();
    let mut world = World::carrying(&[&program]);
    world.set_service(|service| {
        service.delivery.limits = Some(EndpointLimits {
            connections_max: Some(1),
            requests_max: None,
            queue: Queue {
                length_max: 1,
                wait: Duration::from_secs(3_600),
            },
        });
    });
    let mut first = world.client();
    assert!(is_echoed(&mut first, "first"));
    let mut second = world.client();
    until("it waits", || world.ledger.waiting(SERVICE) == 1);
    assert_eq!(world.client().rest().1, Ended::Reset, "the queue is full");
    assert_eq!(program.connections(), 1);
    drop(first);
    assert!(is_echoed(&mut second, "second"));
    assert_eq!(world.service().rejected(Rejected::QueueFull), 1);
}
