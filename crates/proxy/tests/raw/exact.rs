//! Bytes as they must be: HEAD, bodiless statuses, trailers, interim responses, early ones.

use traffic::Outcome;

use crate::world::{Ended, Program, World};

fn answering(bytes: &'static str) -> Program {
    Program::new(move |connection| {
        loop {
            connection.request()?;
            connection.send(bytes)?;
        }
    })
}

/// What the client gets byte by byte, without the connection's end.
fn through(program: &Program, request: &str, until: &str) -> String {
    let world = World::serving(&[program]);
    let mut client = world.client();
    client.send(request);
    let bytes = client.read_to(until.as_bytes());
    assert!(
        client.get("/").status >= 200,
        "the connection is still in step"
    );
    String::from_utf8(bytes).unwrap()
}

#[test]
fn head_gets_the_length_and_no_body() {
    let program = answering("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n");
    let world = World::serving(&[&program]);
    let mut client = world.client();
    for _ in 0..3 {
        client.send("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(client.head().header("content-length"), Some("10"));
    }
    assert_eq!(program.connections(), 1);
}

#[test]
fn statuses_without_a_body_have_none() {
    for head in [
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n",
    ] {
        let program = answering(head);
        let bytes = through(&program, "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "\r\n\r\n");
        assert!(
            !bytes.to_ascii_lowercase().contains("transfer-encoding"),
            "{bytes}"
        );
    }
}

#[test]
fn chunks_and_trailers_come_through_byte_by_byte() {
    let program = answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n",
    );
    let bytes = through(
        &program,
        "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
        "0\r\nX-Sum: 1\r\n\r\n",
    );
    assert!(
        bytes.ends_with("\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n"),
        "{bytes}"
    );
}

#[test]
fn an_empty_body_is_a_whole_response() {
    let program = answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let world = World::serving(&[&program]);
    let mut client = world.client();
    assert_eq!(client.get("/").text(), "");
    assert_eq!(client.get("/").text(), "");
    world.expect_outcomes(10, &[(Outcome::Status2xx, 2)]);
}

#[test]
fn a_hundred_is_relayed_before_the_body_is_sent() {
    let program = Program::new(|connection| {
        let head = connection.head()?;
        assert!(head.contains("expect: 100-continue"));
        connection.send("HTTP/1.1 100 Continue\r\n\r\n")?;
        let body = connection.read_exactly(4)?;
        connection.answer(&String::from_utf8(body).unwrap());
        Some(())
    });
    let world = World::serving(&[&program]);
    let mut client = world.client();
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.head().status, 100);
    assert_eq!(client.send("body").response().text(), "body");
    assert_eq!(
        client.get("/").status / 100,
        5,
        "the program closed; the connection to us goes on"
    );
}

#[test]
fn a_417_instead_of_a_hundred_is_final_and_no_body_goes_up() {
    let program = Program::new(|connection| {
        connection.head()?;
        connection.send("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n")?;
        let bytes = connection.wait_for_end();
        connection.report(format!("{bytes} bytes of a body"));
        Some(())
    });
    let world = World::serving(&[&program]);
    let mut client = world.client();
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    let response = client.response();
    assert_eq!(response.status, 417);
    assert_eq!(response.header("connection"), Some("close"));
    assert_eq!(program.report(), "0 bytes of a body");
    assert_eq!(client.rest().1, Ended::Cleanly);
}

#[test]
fn interim_responses_come_before_the_final_one() {
    let program = answering(
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    );
    let world = World::serving(&[&program]);
    let mut client = world.client();
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    let hints = client.head();
    assert_eq!((hints.status, hints.header("link")), (103, Some("</a>")));
    assert_eq!(client.response().text(), "ok");
}

#[test]
fn an_early_response_reaches_a_client_that_is_still_sending() {
    let program = Program::new(|connection| {
        connection.head()?;
        connection.send(
            "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig",
        )?;
        connection.half_close();
        connection.wait_for_end();
        Some(())
    });
    let world = World::serving(&[&program]);
    let mut client = world.client();
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000000\r\n\r\n");
    client.send(vec![b'x'; 200_000]);
    let response = client.response();
    assert_eq!((response.status, response.text()), (413, "big"));
    assert_eq!(response.header("connection"), Some("close"));
    world.expect_outcomes(10, &[(Outcome::Status4xx, 1)]);
}

#[test]
fn an_early_response_survives_the_reset_of_what_the_program_did_not_read() {
    let program = Program::new(|connection| {
        connection.head()?;
        connection.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig")
    });
    let world = World::serving(&[&program]);
    for _ in 0..30 {
        let mut client = world.client();
        client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000000\r\n\r\n");
        let mut writer = client.stream.try_clone().unwrap();
        let sender = std::thread::spawn(move || {
            // Ends with an error once the proxy has heard enough.
            while std::io::Write::write_all(&mut writer, &[b'x'; 65_536]).is_ok() {}
        });
        assert_eq!(client.response().text(), "big");
        drop(client);
        sender.join().unwrap();
    }
}

#[test]
fn the_small_rest_of_an_unread_body_is_thrown_away_and_the_connection_goes_on() {
    let program = Program::new(|connection| {
        loop {
            let head = connection.head()?;
            let path = head.split(' ').nth(1)?.to_owned();
            connection.answer(&path);
            if head.starts_with("POST") {
                connection.report("answered early");
                connection.wait_for_end();
            }
        }
    });
    let world = World::serving(&[&program]);
    let mut client = world.client();
    client.send("POST /early HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n1234");
    assert_eq!(client.response().text(), "/early");
    program.report();
    client.send("567890");
    assert_eq!(client.get("/next").text(), "/next");
    assert_eq!(
        program.connections(),
        2,
        "a connection with an unfinished request is not used again"
    );
}

#[test]
fn bytes_after_a_response_end_the_upstream_connection_and_reach_nobody() {
    let program = answering(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
    );
    let world = World::serving(&[&program]);
    let mut client = world.client();
    for _ in 0..5 {
        assert_eq!(client.get("/").text(), "ok");
    }
    assert_eq!(program.connections(), 5);
}

#[test]
fn what_is_no_response_is_a_502_and_closes_the_upstream_connection() {
    for garbage in [
        "SSH-2.0-OpenSSH\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nx",
        "HTTP/1.1 200 OK\nContent-Length: 1\n\nx",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    ] {
        let program = answering(garbage);
        let world = World::serving(&[&program]);
        let mut client = world.client();
        let response = client.get("/");
        assert_eq!(response.status, 502, "{garbage}");
        assert_eq!(response.header("x-gapless-error"), Some("bad_response"));
        assert_eq!(client.get("/").status, 502, "the connection goes on");
        world.expect_outcomes(10, &[(Outcome::BadResponse, 2)]);
    }
}

#[test]
fn garbage_within_a_chunked_body_never_looks_whole() {
    let program =
        answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n");
    let world = World::serving(&[&program]);
    let mut client = world.client();
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(client.rest().1, Ended::Reset);
    world.expect_outcomes(10, &[(Outcome::BadResponse, 1)]);
}

#[test]
fn an_old_client_gets_what_it_understands() {
    let program =
        answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
    let world = World::serving(&[&program]);
    let mut client = world.client();
    client.send("GET / HTTP/1.0\r\n\r\n");
    let (bytes, ended) = client.rest();
    let text = String::from_utf8(bytes).unwrap();
    assert!(text.ends_with("\r\n\r\nabc"), "{text}");
    assert!(
        !text.to_ascii_lowercase().contains("transfer-encoding"),
        "{text}"
    );
    assert_eq!(ended, Ended::Cleanly);
}
