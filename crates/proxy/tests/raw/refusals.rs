//! Requests that go no further than the proxy.

use traffic::{Outcome, Rejected};

use crate::world::{Ended, Program, World};

#[test]
fn ambiguous_requests_are_refused_and_the_connection_is_closed() {
    let program = Program::echo("one");
    let world = World::serving(&[&program]);
    let refused = [
        (
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        (
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
            400,
        ),
        ("GET / HTTP/1.1\nHost: h\n\n", 400),
        (
            "POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505),
        ("CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n", 501),
        ("TRACE / HTTP/1.1\r\nHost: h\r\n\r\n", 501),
        ("GET /public/../admin HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("GET /a|b HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: h:99999\r\n\r\n", 400),
    ];
    for (bytes, status) in refused {
        let mut client = world.client();
        let response = client.send(bytes).response();
        assert_eq!(response.status, status, "{bytes}");
        assert!(response.header("x-gapless-error").is_some());
        assert_eq!(response.header("connection"), Some("close"));
        client.half_close();
        assert_eq!(client.rest(), (Vec::new(), Ended::Cleanly), "{bytes}");
    }
    assert_eq!(program.connections(), 0);
    let rejected = world.ledger.slots().rejected[Rejected::BadRequest.index()];
    assert_eq!(rejected, refused.len() as u64);
}

#[test]
fn every_refusal_says_what_is_wrong() {
    let world = World::serving(&[]);
    let long = format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "x".repeat(9_000));
    let many = format!(
        "GET / HTTP/1.1\r\nHost: h\r\n{}\r\n",
        "A: b\r\n".repeat(101)
    );
    for (bytes, status, reason, sentence) in [
        (
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
            "two_framings",
            "the request's body is framed in two ways\n",
        ),
        (
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9999999999999999999\r\n\r\n",
            413,
            "body_too_large",
            "the request's body is larger than can be counted\n",
        ),
        (
            &long,
            414,
            "target_too_long",
            "the request's target is too long\n",
        ),
        (
            &many,
            431,
            "too_many_headers",
            "the request has too many header fields\n",
        ),
        (
            "PUT / HTTP/1.1\r\nHost: h\r\nExpect: more\r\n\r\n",
            417,
            "expectation",
            "only the expectation 100-continue can be met\n",
        ),
    ] {
        let response = world.client().send(bytes).response();
        assert_eq!(response.status, status);
        assert_eq!(response.header("x-gapless-error"), Some(reason));
        assert_eq!(response.text(), sentence);
    }
}

#[test]
fn the_authority_of_an_absolute_target_is_the_host_that_the_program_sees() {
    let program = Program::new(|connection| {
        let head = connection.head()?;
        connection.answer(&head);
        Some(())
    });
    let world = World::serving(&[&program]);
    let mut client = world.client();
    client.send("GET http://shop.example:81/a?b|c HTTP/1.1\r\nHost: other\r\n\r\n");
    let seen = client.response();
    assert!(
        seen.text()
            .starts_with("GET /a?b|c HTTP/1.1\r\nhost: shop.example:81\r\n")
    );
    assert!(!seen.text().contains("other"), "{}", seen.text());
}

#[test]
fn a_head_that_never_ends_is_refused() {
    let world = World::serving(&[]);
    let mut client = world.client();
    client.send("GET / HTTP/1.1\r\nHost: h\r\n");
    let line = format!("X-Pad: {}\r\n", "x".repeat(1_000));
    for _ in 0..40 {
        if std::io::Write::write_all(&mut client.stream, line.as_bytes()).is_err() {
            break;
        }
    }
    assert_eq!(client.response().status, 431);
}

#[test]
fn a_large_head_within_the_limit_comes_through() {
    let program = Program::echo("one");
    let world = World::serving(&[&program]);
    let mut client = world.client();
    let pad = format!("X-Pad: {}\r\n", "x".repeat(1_000)).repeat(28);
    for _ in 0..3 {
        client.send(format!("GET / HTTP/1.1\r\nHost: h\r\n{pad}\r\n"));
        assert_eq!(client.response().status, 200);
    }
}

#[test]
fn a_body_announced_too_large_is_refused_before_any_endpoint_is_asked() {
    let program = Program::echo("one");
    let mut world = World::serving(&[&program]);
    world.set_service(|service| service.limits.body_bytes_max = 10);
    let mut client = world.client();
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\n12345678901");
    let response = client.response();
    assert_eq!(response.status, 413);
    assert_eq!(response.header("x-gapless-error"), Some("body_too_large"));
    assert_eq!(
        client.post("/", "1234567890").status,
        200,
        "the small body was thrown away"
    );
    assert_eq!(world.service().rejected(Rejected::BodyTooLarge), 1);
    world.expect_outcomes(10, &[(Outcome::Status2xx, 1)]);
}

#[test]
fn a_chunked_body_that_grows_too_large_is_refused_and_never_ends_for_the_program() {
    let program = Program::new(|connection| {
        connection.head()?;
        let all = connection.read_to(b"0\r\n\r\n");
        connection.report(if all.is_some() { "whole" } else { "cut short" });
        Some(())
    });
    let mut world = World::serving(&[&program]);
    world.set_service(|service| service.limits.body_bytes_max = 10);
    let mut client = world.client();
    client.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n12345678\r\n8\r\n12345678\r\n0\r\n\r\n");
    assert_eq!(client.response().status, 413);
    assert_eq!(program.report(), "cut short");
    world.expect_outcomes(10, &[(Outcome::ClientGone, 1)]);
}

#[test]
fn a_malformed_chunk_of_a_client_is_a_400() {
    let program = Program::new(|connection| {
        connection.head()?;
        connection.wait_for_end();
        Some(())
    });
    let world = World::serving(&[&program]);
    let mut client = world.client();
    client.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n");
    assert_eq!(client.response().status, 400);
    world.expect_outcomes(10, &[(Outcome::ClientGone, 1)]);
}

/// Goes on sending after the answer; a reset would make that fail.
fn goes_on_sending(client: &mut crate::world::Client) {
    for _ in 0..10 {
        client.send(vec![b'x'; 50_000]);
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    client.half_close();
    assert_eq!(client.rest(), (Vec::new(), Ended::Cleanly));
}

#[test]
fn a_client_that_is_answered_before_it_was_heard_out_is_not_reset() {
    let program = Program::echo("one");
    let mut world = World::serving(&[&program]);
    world.set_service(|service| service.limits.body_bytes_max = 10);
    let mut client = world.client();
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 500000\r\n\r\n");
    assert_eq!(client.response().status, 413);
    goes_on_sending(&mut client);
    let mut client = world.client();
    client.send("NONSENSE\r\n\r\n");
    assert_eq!(client.response().status, 400);
    goes_on_sending(&mut client);
}
