//! Requests that nothing goes wrong with.

use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::mpsc::channel;

use crate::world::{Program, World, until};
use traffic::{Outcome, Rejected};

#[test]
fn requests_on_one_connection_are_answered_in_turn_over_one_upstream_connection() {
    let program = Program::echo("one");
    let world = World::serving(&[&program]);
    let mut client = world.client();
    for number in 0..50 {
        let response = client.get(&format!("/{number}"));
        assert_eq!(response.status, 200);
        assert_eq!(response.text(), format!("one: GET /{number} HTTP/1.1 []"));
        let response = client.post("/form", "a=1");
        assert_eq!(response.text(), "one: POST /form HTTP/1.1 [a=1]");
    }
    assert_eq!(program.connections(), 1);
    world.expect_outcomes(10, &[(Outcome::Status2xx, 100)]);
    assert_eq!(world.service().requests, 100);
    assert_eq!(world.cell(10).latency.count(), 100);
    assert_eq!(world.cell(10).bytes_to, 150);
}

#[test]
fn bodies_of_every_framing_and_size_come_through_unchanged() {
    let program = Program::echo("one");
    let world = World::serving(&[&program]);
    let mut client = world.client();
    for size in [1, 100, 4_095, 16_384, 16_385, 70_000, 1_000_000] {
        let body = "x".repeat(size);
        assert_eq!(
            client.post("/", &body).text(),
            format!("one: POST / HTTP/1.1 [{body}]")
        );
        client.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
        for chunk in body.as_bytes().chunks(7_000) {
            client
                .send(format!("{:x};ext=1\r\n", chunk.len()))
                .send(chunk)
                .send("\r\n");
        }
        client.send("0\r\n\r\n");
        assert_eq!(
            client.response().text(),
            format!("one: POST / HTTP/1.1 [{body}]")
        );
    }
    assert_eq!(program.connections(), 1);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let program = Program::echo("one");
    let world = World::serving(&[&program]);
    let mut client = world.client();
    let request = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n");
    client.send([request("/1"), request("/2"), request("/3")].concat());
    for number in 1..=3 {
        assert_eq!(
            client.response().text(),
            format!("one: GET /{number} HTTP/1.1 []")
        );
    }
}

#[test]
fn a_request_split_into_single_bytes_is_one_request() {
    let program = Program::echo("one");
    let world = World::serving(&[&program]);
    let mut client = world.client();
    for byte in b"POST /slow HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc" {
        client.send([*byte]);
    }
    assert_eq!(client.response().text(), "one: POST /slow HTTP/1.1 [abc]");
}

#[test]
fn the_program_learns_where_a_request_came_from_and_a_clients_own_words_are_replaced() {
    let program = Program::new(|connection| {
        let (head, _) = connection.request()?;
        connection.report(head);
        connection.answer("");
        Some(())
    });
    let world = World::serving(&[&program]);
    world.client().send(
        "GET / HTTP/1.1\r\nHost: shop.example.com\r\nX-Forwarded-For: 6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\nX-Forwarded-Host: evil\r\n\r\n",
    ).response();
    let head = program.report();
    assert!(
        head.contains("\r\nx-forwarded-for: 127.0.0.1\r\n"),
        "{head}"
    );
    assert!(
        head.contains("\r\nx-forwarded-host: shop.example.com\r\n"),
        "{head}"
    );
    assert!(head.contains("\r\nx-forwarded-proto: http\r\n"), "{head}");
    assert!(
        !head.contains("6.6.6.6") && !head.contains("evil"),
        "{head}"
    );
}

#[test]
fn a_path_without_a_route_is_answered_by_the_proxy_and_the_connection_goes_on() {
    let program = Program::echo("one");
    let mut world = World::serving(&[&program]);
    world.publish(|table| table.listeners[0].routes[0].path = "/app".to_owned());
    let mut client = world.client();
    let response = client.get("/other");
    assert_eq!(response.status, 404);
    assert_eq!(response.header("x-gapless-error"), Some("no_route"));
    assert_eq!(client.get("/app/x").status, 200);
    assert_eq!(world.ledger.slots().rejected[Rejected::NoRoute.index()], 1);
}

#[test]
fn a_connection_ends_in_the_ledger_too() {
    let program = Program::echo("one");
    let world = World::serving(&[&program]);
    let mut client = world.client();
    client.get("/");
    assert_eq!(world.ledger.slots().connections, 1);
    drop(client);
    until("the connection is gone", || {
        world.ledger.slots().connections == 0
    });
    assert_eq!(world.ledger.slots().reading, 0);
}

/// How many bytes that this socket sent are not acknowledged.
fn unacknowledged(stream: &TcpStream) -> u64 {
    let port = |address: SocketAddr| format!(":{:04X}", address.port());
    let (own, other) = (stream.local_addr().unwrap(), stream.peer_addr().unwrap());
    let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let queue = sockets.lines().find_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let is_at = |column: usize, address| columns[column].ends_with(&port(address));
        (is_at(1, own) && is_at(2, other)).then(|| columns[4].split(':').next().unwrap().to_owned())
    });
    u64::from_str_radix(&queue.expect("the socket is listed"), 16).unwrap()
}

#[test]
fn a_program_that_writes_its_head_alone_is_not_kept_waiting_for_an_acknowledgement() {
    let (seen, was_seen) = channel();
    let was_seen = Mutex::new(was_seen);
    let program = Program::new(move |connection| {
        loop {
            connection.request()?;
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")?;
            was_seen.lock().unwrap().recv().ok()?;
            let waits = unacknowledged(&connection.stream);
            connection.report(format!("{waits} bytes"));
            connection.send("ok")?;
        }
    });
    let world = World::serving(&[&program]);
    let mut client = world.client();
    // A young connection is acknowledged at once by itself.
    for _ in 0..30 {
        client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").head();
        seen.send(()).unwrap();
        assert_eq!(program.report(), "0 bytes");
        client.read_exactly(2);
    }
    assert_eq!(program.connections(), 1);
}
