//! More connections than there is room for, and clients that take their time.

use std::time::Duration;

use proxy::{Loopback, Settings};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use traffic::{Closed, Rejected};

use crate::killed::Worker;
use crate::world::{Client, Ended, Program, World, until};

fn with_files(files_max: u32) -> Settings {
    Settings {
        files_max: Some(files_max),
        ..Settings::default()
    }
}

/// A program that answers when it is told to.
fn held() -> (Program, std::sync::mpsc::Sender<()>) {
    let (go, gone) = std::sync::mpsc::channel();
    let gone = std::sync::Mutex::new(gone);
    let program = Program::new(move |connection| {
        connection.request()?;
        connection.report("asked");
        gone.lock().unwrap().recv().ok()?;
        connection.answer("late");
        Some(())
    });
    (program, go)
}

#[test]
fn a_new_connection_that_says_nothing_is_closed_after_the_time_for_a_head() {
    let settings = Settings {
        head_timeout: Duration::from_millis(300),
        ..Settings::default()
    };
    let world = World::with_settings(settings);
    let mut client = world.client();
    assert_eq!(client.rest(), (Vec::new(), Ended::Cleanly));
    assert_eq!(world.ledger.slots().closed(Closed::Silent), 1);
}

#[test]
fn an_idle_connection_gives_way_to_a_new_one_and_the_silent_before_it() {
    let program = Program::echo("one");
    let mut world = World::with_settings(with_files(5));
    world.set_endpoints(&[&program]);
    // A connection each, and one to the program.
    let (mut oldest, mut second) = (world.client(), world.client());
    assert_eq!(oldest.get("/").status, 200);
    assert_eq!(second.get("/").status, 200);
    let mut silent = world.client();
    until("all are there", || world.ledger.slots().connections == 3);
    let mut next = world.client();
    assert_eq!(next.get("/").status, 200);
    let mut last = world.client();
    assert_eq!(last.get("/").status, 200);
    assert_eq!(silent.rest(), (Vec::new(), Ended::Cleanly));
    assert_eq!(oldest.get("/").status, 200, "the silent one gave way");
    let mut more = world.client();
    assert_eq!(more.get("/").status, 200);
    assert_eq!(second.rest(), (Vec::new(), Ended::Cleanly));
    assert_eq!(oldest.get("/").status, 200);
    assert_eq!(world.ledger.slots().closed(Closed::Room), 2);
    assert_eq!(world.ledger.slots().rejected, [0; Rejected::COUNT]);
}

#[test]
fn no_connection_with_a_request_gives_way_and_who_finds_no_room_is_told_so() {
    let (program, go) = held();
    let mut world = World::with_settings(with_files(4));
    world.set_endpoints(&[&program]);
    let mut busy: Vec<Client> = (0..2).map(|_| world.client()).collect();
    for client in &mut busy {
        client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(program.report(), "asked");
    }
    let mut third = world.client();
    let response = third.response();
    assert_eq!(response.status, 503);
    assert_eq!(response.header("x-gapless-error"), Some("connections"));
    assert_eq!(response.header("retry-after"), Some("1"));
    drop(third);
    for client in &mut busy {
        go.send(()).unwrap();
        assert_eq!(client.response().text(), "late");
    }
    drop(busy);
    until("there is room again", || {
        world.ledger.slots().connections == 0
    });
    assert_eq!(world.ledger.slots().closed(Closed::Room), 0);
    let rejected = world.ledger.slots().rejected[Rejected::Connections.index()];
    assert_eq!(rejected, 1);
}

#[test]
fn a_request_without_room_for_its_endpoint_is_turned_away_and_its_connection_goes_on() {
    let (program, go) = held();
    let mut world = World::with_settings(with_files(4));
    world.set_endpoints(&[&program]);
    let (mut first, mut second) = (world.client(), world.client());
    // Both have begun a request, so that neither can be let go.
    first.send("GET / HTTP/1.1\r\n");
    second.send("GET / HTTP/1.1\r\n");
    until("both are read", || world.ledger.slots().reading == 2);
    let mut third = world.client();
    third.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(program.report(), "asked");
    first.send("Host: h\r\n\r\n");
    let response = first.response();
    assert_eq!(response.status, 503);
    assert_eq!(response.header("x-gapless-error"), Some("connections"));
    assert_eq!(response.header("connection"), None);
    go.send(()).unwrap();
    assert_eq!(third.response().text(), "late");
    drop(third);
    second.send("Host: h\r\n\r\n");
    assert_eq!(program.report(), "asked");
    go.send(()).unwrap();
    assert_eq!(second.response().text(), "late");
    assert_eq!(world.service().rejected(Rejected::Connections), 1);
}

#[test]
fn a_request_that_began_on_an_idle_connection_is_served_while_others_give_way() {
    let program = Program::echo("one");
    let mut world = World::with_settings(with_files(4));
    world.set_endpoints(&[&program]);
    let mut oldest = world.client();
    assert_eq!(oldest.get("/").status, 200);
    oldest.send("G");
    until("its first byte is there", || {
        world.ledger.slots().reading == 1
    });
    for _ in 0..20 {
        assert_eq!(world.client().get("/").status, 200);
    }
    oldest.send("ET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(oldest.response().status, 200);
}

#[test]
fn one_client_has_no_more_connections_than_it_may() {
    let program = Program::echo("one");
    let mut world = World::with_settings(Settings {
        loopback: Loopback::Bounded,
        ..Settings::default()
    });
    world.set_endpoints(&[&program]);
    world.publish(|table| table.peers.connections_per_client = 2);
    let mut held = [world.client(), world.client()];
    for client in &mut held {
        assert_eq!(client.get("/").status, 200);
    }
    let mut third = world.client();
    let response = third.response();
    assert_eq!(response.status, 503);
    assert_eq!(
        response.header("x-gapless-error"),
        Some("client_connections")
    );
    drop((third, held));
    until("they are gone", || world.ledger.slots().connections == 0);
    assert_eq!(world.client().get("/").status, 200);
    let rejected = world.ledger.slots().rejected[Rejected::ClientConnections.index()];
    assert_eq!(rejected, 1);
}

#[test]
fn this_machine_has_as_many_connections_as_it_likes() {
    let program = Program::echo("one");
    let mut world = World::serving(&[&program]);
    world.publish(|table| table.peers.connections_per_client = 1);
    let mut clients: Vec<Client> = (0..5).map(|_| world.client()).collect();
    for client in &mut clients {
        assert_eq!(client.get("/").status, 200);
    }
}

/// Most connections that a test holds open.
fn connections() -> usize {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, raised).unwrap();
    let files = maximum.unwrap_or(u64::MAX);
    usize::try_from(files / 4 * 3)
        .unwrap_or(usize::MAX)
        .min(15_000)
}

fn anonymous_bytes(process: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.unwrap().trim().strip_suffix(" kB").unwrap();
    kib.parse::<usize>().unwrap() * 1024
}

#[test]
fn fifteen_thousand_idle_connections_are_kept_and_cost_little() {
    let program = Program::echo("one");
    let world = World::without_proxy();
    let worker = Worker::start(&world, program.address);
    assert_eq!(world.client().get("/").status, 200);
    let (count, before) = (connections(), anonymous_bytes(worker.id()));
    let mut clients: Vec<Client> = Vec::new();
    for _ in 0..count {
        let mut client = world.client();
        assert!(client.try_get());
        clients.push(client);
    }
    let each = (anonymous_bytes(worker.id()) - before) / count;
    println!("{count} idle connections, {each} bytes each");
    for client in clients.iter_mut().step_by(100) {
        assert_eq!(client.get("/").status, 200);
    }
    assert_eq!(world.ledger.slots().closed(Closed::Room), 0);
    assert_eq!(world.ledger.slots().rejected, [0; Rejected::COUNT]);
    assert!(each <= 3 * 1024, "{each} bytes for an idle connection");
    drop(clients);
    until("all are gone", || world.ledger.slots().connections == 0);
    until("their memory was given back", || {
        anonymous_bytes(worker.id()) < before + count * each / 4
    });
}
