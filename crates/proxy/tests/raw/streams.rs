//! Bodies that take their time, and tunnels.

use std::io::{Read, Write};
use std::time::Duration;

use traffic::{Cell, Outcome};

use crate::world::{Client, Ended, Program, World};

const UPGRADE: &str =
    "GET /socket HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

/// Changes to the protocol that is asked for and sends back what it gets, in upper case.
fn shouts() -> Program {
    Program::new(|connection| {
        let head = connection.head()?;
        if !head.contains("upgrade: websocket") {
            connection.answer("plain");
            return Some(());
        }
        connection.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello ")?;
        let mut bytes = [0; 4_096];
        loop {
            let count = connection.stream.read(&mut bytes).ok()?;
            if count == 0 {
                connection.report("ended");
                return Some(());
            }
            connection.send(bytes[..count].to_ascii_uppercase())?;
        }
    })
}

fn tunnel(world: &World) -> Client {
    let mut client = world.client();
    client.send(UPGRADE);
    assert_eq!(client.head().status, 101);
    assert_eq!(client.read_exactly(6), b"hello ");
    client
}

#[test]
fn events_arrive_one_by_one_as_they_are_sent() {
    let program = Program::new(|connection| {
        connection.request()?;
        connection.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")?;
        for number in 0..5 {
            connection.send(format!("data: {number}\n\n"))?;
            connection.report("sent");
            connection.read_to(b"!")?;
        }
        Some(())
    });
    let world = World::serving(&[&program]);
    let mut client = world.client();
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(
        client.head().header("content-type"),
        Some("text/event-stream")
    );
    program.report();
    client.read_to(b"data: 0\n\n\r\n");
    assert_eq!(world.open(10), 1);
}

#[test]
fn a_slow_reader_holds_the_program_back() {
    let program = Program::new(|connection| {
        connection.request()?;
        connection
            .stream
            .set_write_timeout(Some(Duration::from_millis(300)))
            .ok()?;
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")?;
        let mut sent = 0_usize;
        while let Ok(count) = connection.stream.write(&[b'x'; 65_536]) {
            sent += count;
        }
        connection.report(sent.to_string());
        Some(())
    });
    let world = World::serving(&[&program]);
    let mut client = world.client();
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    let sent: usize = program.report().parse().unwrap();
    assert!(
        sent < 50_000_000,
        "{sent} bytes were taken off the program for a client that reads none"
    );
    drop(client);
    world.expect_outcomes(10, &[(Outcome::ClientGone, 1)]);
}

#[test]
fn a_slow_program_holds_the_client_back() {
    let program = Program::new(|connection| {
        connection.head()?;
        connection.report("asked");
        connection.read_to(b"never");
        Some(())
    });
    let slow = Program::new(|connection| {
        connection.report("asked");
        std::thread::sleep(Duration::from_secs(2));
        connection.wait_for_end();
        Some(())
    });
    drop(program);
    let world = World::serving(&[&slow]);
    let mut client = world.client();
    client
        .stream
        .set_write_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000000\r\n\r\n");
    slow.report();
    let mut sent = 0_usize;
    while let Ok(count) = client.stream.write(&[b'x'; 65_536]) {
        sent += count;
    }
    assert!(
        sent < 50_000_000,
        "{sent} bytes were taken off the client for a program that reads none"
    );
}

#[test]
fn a_tunnel_carries_bytes_both_ways_after_a_matching_101() {
    let program = shouts();
    let world = World::serving(&[&program]);
    let mut client = tunnel(&world);
    assert_eq!(client.send("abc").read_exactly(3), b"ABC");
    let long = vec![b'x'; 300_000];
    let mut writer = client.stream.try_clone().unwrap();
    let sender = std::thread::spawn(move || writer.write_all(&long).unwrap());
    assert!(
        client
            .read_exactly(300_000)
            .iter()
            .all(|byte| *byte == b'X')
    );
    sender.join().unwrap();
    assert_eq!(world.open(10), 1);
    drop(client);
    assert_eq!(program.report(), "ended");
    world.expect_outcomes(
        10,
        &[(Outcome::TunnelOpened, 1), (Outcome::TunnelClosed, 1)],
    );
}

#[test]
fn one_half_of_a_tunnel_may_end_before_the_other() {
    let program = shouts();
    let world = World::serving(&[&program]);
    let mut client = tunnel(&world);
    client.send("last");
    client.half_close();
    assert_eq!(client.rest(), (b"LAST".to_vec(), Ended::Cleanly));
}

#[test]
fn an_upgrade_that_is_not_taken_is_a_plain_response() {
    let program = Program::echo("plain");
    let world = World::serving(&[&program]);
    let mut client = world.client();
    assert!(client.send(UPGRADE).response().text().starts_with("plain"));
    assert!(client.get("/next").text().starts_with("plain: GET /next"));
}

#[test]
fn a_tunnel_lives_through_a_cutover_until_it_is_cut() {
    let (old, new) = (shouts(), shouts());
    let mut world = World::serving(&[&old]);
    let mut client = tunnel(&world);
    let mut other = tunnel(&world);
    world.set_service(|service| service.stable = crate::world::candidate(2, &[&new], 20));
    world.ledger.set_told(Cell(10), true);
    assert_eq!(client.send("still").read_exactly(5), b"STILL");
    assert_eq!(world.open(10), 2);
    world.proxy().cut(Cell(10));
    client.rest();
    other.rest();
    let mut fresh = tunnel(&world);
    assert_eq!(fresh.send("new").read_exactly(3), b"NEW");
    let totals = || world.cell(10);
    crate::world::until("both are cut", || {
        totals().outcome(traffic::Phase::Told, Outcome::Cut) == 2
    });
    assert_eq!(world.open(10), 0);
    assert_eq!(world.open(20), 1);
}

#[test]
fn a_thousand_idle_connections_hold_no_buffers() {
    let program = Program::echo("one");
    let world = World::serving(&[&program]);
    let mut clients: Vec<Client> = (0..300).map(|_| world.client()).collect();
    for client in &mut clients {
        client.get("/");
    }
    assert_eq!(world.ledger.slots().connections, 300);
    assert_eq!(world.ledger.slots().reading, 0);
    for client in &mut clients {
        assert_eq!(client.get("/").status, 200);
    }
}
