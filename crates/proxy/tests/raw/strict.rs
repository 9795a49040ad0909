//! What two readers could understand in two ways is read by nobody, and what belongs to one
//! connection stays on it.

use traffic::Rejected;

use crate::world::{Ended, Program, World};

#[test]
fn what_may_be_read_in_two_ways_is_refused_and_the_connection_is_closed() {
    let program = Program::echo("one");
    let world = World::serving(&[&program]);
    let post =
        |fields: &str, body: &str| format!("POST / HTTP/1.1\r\nHost: h\r\n{fields}\r\n{body}");
    let refused = [
        post("Content-Length: 1\r\nContent-Length: 2\r\n", "xx"),
        post("Content-Length: 1, 2\r\n", "xx"),
        post("Content-Length: +1\r\n", "x"),
        post("Content-Length : 1\r\n", "x"),
        post("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"),
        post("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"),
        post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"),
        post("X-Fold: a\r\n b\r\n", ""),
        post(" Content-Length: 1\r\n", "x"),
        post("X-Nul: a\0b\r\n", ""),
        post("X-Bare: a\nContent-Length: 1\r\n", "x"),
        post("X-Return: a\rContent-Length: 1\r\n", "x"),
    ];
    for bytes in &refused {
        let mut client = world.client();
        let response = client.send(bytes).response();
        assert!(
            matches!(response.status, 400 | 501),
            "{bytes:?}: {}",
            response.head
        );
        assert_eq!(response.header("connection"), Some("close"), "{bytes:?}");
        client.half_close();
        assert_eq!(client.rest(), (Vec::new(), Ended::Cleanly), "{bytes:?}");
    }
    assert_eq!(program.connections(), 0);
    let rejected = world.ledger.slots().rejected[Rejected::BadRequest.index()];
    assert_eq!(rejected, refused.len() as u64);
}

#[test]
fn a_chunk_that_hides_something_ends_the_request() {
    let program = Program::new(|connection| {
        let whole = connection.request();
        connection.report(if whole.is_some() {
            "whole"
        } else {
            "cut short"
        });
        Some(())
    });
    let world = World::serving(&[&program]);
    for chunk in [
        "1;a\nb\r\nx\r\n0\r\n\r\n",
        "1;a\0\r\nx\r\n0\r\n\r\n",
        "1\nx\r\n0\r\n\r\n",
        "1\r\nxy0\r\n\r\n",
        "0x1\r\nx\r\n0\r\n\r\n",
        "-1\r\n\r\n",
        "11111111111111111\r\n",
    ] {
        let mut client = world.client();
        client.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
        client.send(chunk);
        let response = client.response();
        assert_eq!(response.status, 400, "{chunk:?}");
        assert_eq!(program.report(), "cut short", "{chunk:?}");
    }
}

#[test]
fn what_belongs_to_one_connection_stays_on_it_in_both_directions() {
    let program = Program::new(|connection| {
        let head = connection.head()?;
        connection.report(head);
        connection.send(
            "HTTP/1.1 200 OK\r\nConnection: X-Secret, keep-alive\r\nX-Secret: 1\r\n\
             Keep-Alive: timeout=5\r\nProxy-Authenticate: x\r\nX-Kept: 1\r\n\
             Content-Length: 2\r\n\r\nok",
        )
    });
    let world = World::serving(&[&program]);
    let mut client = world.client();
    client.send(
        "GET / HTTP/1.1\r\nHost: h\r\nConnection: X-Secret, X-Forwarded-For, Host\r\n\
         X-Secret: 1\r\nKeep-Alive: 1\r\nTE: trailers\r\nProxy-Connection: x\r\n\
         X-Kept: 1\r\n\r\n",
    );
    let response = client.response();
    let seen = program.report().to_ascii_lowercase();
    for gone in ["x-secret", "keep-alive", "proxy-connection"] {
        assert!(!seen.contains(gone), "{seen}");
        assert!(
            !response.head.to_ascii_lowercase().contains(gone),
            "{}",
            response.head
        );
    }
    assert!(
        seen.contains("\r\nx-kept: 1\r\n") && seen.contains("\r\nhost: h\r\n"),
        "{seen}"
    );
    assert!(
        seen.contains("\r\nx-forwarded-for: 127.0.0.1\r\n"),
        "{seen}"
    );
    assert_eq!(
        (response.header("x-kept"), response.text()),
        (Some("1"), "ok")
    );
}
