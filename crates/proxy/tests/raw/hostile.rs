//! Programs that break the rules, or send without end: each is bounded, counted by what it did,
//! and its client gets a whole answer of ours, or no end at all.

use std::io::Write as _;
use std::time::Duration;

use model::ProxyLimits;
use traffic::Outcome;

use crate::frames::*;
use crate::world::{Connection, Ended, Program, World};

/// What a stream is sent at a time.
const PIECE: usize = 64 * 1024;
/// More than any buffer on the way holds.
const ENDLESS: usize = 256 << 20;

/// Sends the same until the other side ends it, and reports whether it did.
fn send_on(connection: &mut Connection, bytes: &[u8]) -> Option<()> {
    let piece = bytes.repeat(PIECE.div_ceil(bytes.len()));
    let mut sent = 0;
    while sent < ENDLESS && connection.stream.write_all(&piece).is_ok() {
        sent += piece.len();
    }
    connection.report(if sent < ENDLESS { "ended" } else { "never" });
    Some(())
}

/// A program of HTTP/1.1 that begins its response like this and then goes on without end.
fn endless(begin: &'static str, more: &'static str) -> Program {
    Program::new(move |connection| {
        connection.request()?;
        connection.send(begin)?;
        send_on(connection, more.as_bytes())
    })
}

#[test]
fn heads_without_end_are_a_502_and_end_their_connection() {
    for (begin, more) in [
        ("", "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"),
        ("", "HTTP/1.1 100 Continue\r\n\r\n"),
        ("HTTP/1.1 200 OK\r\n", "X-More: more\r\n"),
        ("HTTP/1.1 200 OK\r\nX-Long: ", "more"),
        ("HTTP/1.1 200 ", "O"),
        ("", "\r\n"),
    ] {
        let program = endless(begin, more);
        let world = World::serving(&[&program]);
        let answer = world.client().post("/", "body");
        assert_eq!(answer.status, 502, "{begin}{more}");
        assert_eq!(answer.header("x-gapless-error"), Some("bad_response"));
        assert_eq!(program.report(), "ended", "{begin}{more}");
        world.expect_outcomes(10, &[(Outcome::BadResponse, 1)]);
    }
}

#[test]
fn a_body_whose_framing_has_no_end_never_looks_whole() {
    const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n";
    for more in ["0\r\nX-More: more\r\n", "4;more", "00000000"] {
        let program = Program::new(move |connection| {
            connection.request()?;
            connection.send(CHUNKED)?;
            let (first, rest) = more.split_at(more.find("X-").unwrap_or(0));
            connection.send(first)?;
            send_on(connection, rest.as_bytes())
        });
        let world = World::serving(&[&program]);
        let mut client = world.client();
        client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        let (rest, ended) = client.rest();
        assert!(!rest.ends_with(b"0\r\n\r\n"), "{more}: {rest:?}");
        assert_eq!(ended, Ended::Reset, "{more}");
        assert_eq!(program.report(), "ended", "{more}");
        world.expect_outcomes(10, &[(Outcome::BadResponse, 1)]);
    }
}

fn impatient(world: &mut World) {
    world.set_service(|service| {
        service.limits = ProxyLimits {
            idle_timeout: Duration::from_millis(300),
            response_timeout: Duration::from_millis(300),
            ..ProxyLimits::default()
        };
    });
}

#[test]
fn a_program_that_never_reads_is_waited_for_as_long_as_is_allowed() {
    let plain = Program::new(|connection| {
        connection.report("connected");
        std::thread::park();
        connection.some().map(drop)
    });
    let calls = Program::new(|connection| {
        connection.greet(b"")?;
        connection.report("connected");
        std::thread::park();
        connection.some().map(drop)
    });
    for (mut world, program) in [
        (World::serving(&[&plain]), &plain),
        (World::calling(&[&calls]), &calls),
    ] {
        impatient(&mut world);
        let mut client = world.client();
        client.send(format!(
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {ENDLESS}\r\n\r\n"
        ));
        let mut sending = client.stream.try_clone().unwrap();
        let sender = std::thread::spawn(move || {
            // Ends when the answer has closed the connection.
            while sending.write_all(&[b'x'; PIECE]).is_ok() {}
        });
        assert_eq!(program.report(), "connected");
        let answer = client.response();
        assert_eq!(answer.status, 504);
        assert_eq!(answer.header("x-gapless-error"), Some("timeout"));
        drop(client);
        sender.join().unwrap();
        world.expect_outcomes(10, &[(Outcome::Timeout, 1)]);
    }
}

/// A program of HTTP/2 that answers its first request with `first`, then sends `more` until
/// its connection ends.
fn calls(first: impl Fn(u32) -> Vec<u8> + Send + Sync + 'static, more: Vec<u8>) -> Program {
    Program::new(move |connection| {
        connection.greet(b"")?;
        let stream = connection.called()?;
        connection.send(first(stream))?;
        if more.is_empty() {
            connection.wait_for_end();
            connection.report("ended");
            return Some(());
        }
        send_on(connection, &more)
    })
}

/// One head that is not whole yet.
fn open_head(stream: u32) -> Vec<u8> {
    frame(HEADERS, 0, stream, &packed(&[("", "200")]))
}

/// A field of 4 KiB that goes into the table, and is named again so many times.
fn bomb(stream: u32, times: usize) -> Vec<u8> {
    let mut block = vec![0x88, 0x40, 1, b'x', 0x7f, 0x81, 0x1e];
    block.extend_from_slice(&[b'y'; 3_968]);
    block.extend_from_slice(&[0xbe].repeat(times));
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &block)
}

#[test]
fn frames_that_no_response_is_made_of_are_a_502_and_end_their_connection() {
    let wide = |stream: u32| frame(WINDOW_UPDATE, 0, stream, &0x7fff_ffff_u32.to_be_bytes());
    let none = |_: u32| Vec::new();
    let floods: [(&str, Program); 11] = [
        (
            "continuation",
            calls(open_head, frame(CONTINUATION, 0, 1, b"")),
        ),
        ("long head", {
            let more = frame(
                CONTINUATION,
                0,
                1,
                &packed(&[("x-more", "more")]).repeat(800),
            );
            calls(open_head, more)
        }),
        ("pings", calls(none, frame(PING, 0, 0, &[0; 8]))),
        ("settings", calls(none, frame(SETTINGS, 0, 0, b""))),
        (
            "windows",
            calls(none, frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes())),
        ),
        ("unknown", calls(none, frame(0xbb, 0, 0, b""))),
        (
            "no window",
            calls(|_| frame(WINDOW_UPDATE, 0, 0, &[0; 4]), Vec::new()),
        ),
        (
            "too wide",
            calls(move |_| [wide(0), wide(0)].concat(), Vec::new()),
        ),
        ("bomb", calls(|stream| bomb(stream, 200), Vec::new())),
        ("no such stream", calls(|_| reset(98, 8), Vec::new())),
        (
            "data first",
            calls(|stream| frame(DATA, 0, stream, b"data"), Vec::new()),
        ),
    ];
    for (what, program) in floods {
        let world = World::calling(&[&program]);
        let answer = world.client().post("/", "body");
        assert_eq!(answer.status, 502, "{what}");
        assert_eq!(
            answer.header("x-gapless-error"),
            Some("bad_response"),
            "{what}"
        );
        world.expect_outcomes(10, &[(Outcome::BadResponse, 1)]);
        assert_eq!(program.report(), "ended", "{what}");
    }
}

/// A program of HTTP/2 that answers its first request with `first`, and the others well.
fn ill_at_first(first: impl Fn(u32) -> Vec<u8> + Send + Sync + 'static) -> Program {
    Program::new(move |connection| {
        connection.greet(b"")?;
        let stream = connection.called()?;
        connection.send(first(stream))?;
        while let Some(stream) = connection.called() {
            connection.send(head(stream, END_STREAM, &[("", "204")]))?;
        }
        Some(())
    })
}

#[test]
fn a_response_that_is_none_is_a_502_and_its_connection_goes_on() {
    let hints = |stream: u32| head(stream, 0, &[("", "103"), ("link", "</a.css>")]);
    let programs: [(&str, Program); 4] = [
        (
            "hints",
            ill_at_first(move |stream| hints(stream).repeat(1_000)),
        ),
        ("bomb", ill_at_first(|stream| bomb(stream, 10))),
        (
            "101",
            ill_at_first(|stream| head(stream, 0, &[("", "101")])),
        ),
        (
            "own field",
            ill_at_first(|stream| head(stream, END_STREAM, &[("", "200"), ("connection", "x")])),
        ),
    ];
    for (what, program) in programs {
        let world = World::calling(&[&program]);
        let mut client = world.client();
        let mut answer = client.post("/", "body");
        // As many as anybody is sent before the final one.
        for _ in 0..8 {
            if answer.status == 103 {
                answer = client.response();
            }
        }
        assert_eq!(answer.status, 502, "{what}");
        assert_eq!(
            answer.header("x-gapless-error"),
            Some("bad_response"),
            "{what}"
        );
        let next = world.client().get("/");
        assert_eq!(next.status, 204, "{what}: {}", next.head);
        assert_eq!(program.connections(), 1, "{what}");
    }
}

#[test]
fn trailers_without_end_abort_what_they_were_to_end() {
    let begin = |stream: u32| {
        let head = head(stream, 0, &[("", "200")]);
        let data = frame(DATA, 0, stream, b"half");
        let trailers = frame(HEADERS, END_STREAM, stream, &packed(&[("x-sum", "7")]));
        [head, data, trailers].concat()
    };
    let more = frame(
        CONTINUATION,
        0,
        1,
        &packed(&[("x-more", "more")]).repeat(800),
    );
    let program = calls(begin, more);
    let world = World::calling(&[&program]);
    let mut client = world.client();
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    client.head();
    let (rest, ended) = client.rest();
    assert!(!rest.ends_with(b"0\r\n\r\n"), "{rest:?}");
    assert_eq!(ended, Ended::Reset);
    assert_eq!(program.report(), "ended");
    world.expect_outcomes(10, &[(Outcome::BadResponse, 1)]);
}

#[test]
fn a_program_may_measure_the_way_with_a_ping_for_each_piece_that_it_gets() {
    const PIECES: usize = 3_000;
    let program = Program::new(|connection| {
        connection.greet(&[setting(4, 1 << 24), setting(3, 10)].concat())?;
        connection.send(frame(WINDOW_UPDATE, 0, 0, &(1_u32 << 24).to_be_bytes()))?;
        let mut read = 0;
        let stream = loop {
            let data = connection.next(DATA)?;
            read += data.payload.len();
            let pings = frame(PING, 0, 0, &[0; 8]).repeat(data.payload.len() / 400);
            connection.send(pings)?;
            if data.flags & END_STREAM != 0 {
                break data.stream;
            }
        };
        connection.report(read.to_string());
        connection.send(head(stream, END_STREAM, &[("", "204")]))?;
        connection.wait_for_end();
        Some(())
    });
    let world = World::calling(&[&program]);
    let mut client = world.client();
    let length = PIECES * 1_000;
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n"
    ));
    for _ in 0..PIECES {
        client.send([b'x'; 1_000]);
    }
    assert_eq!(client.response().status, 204);
    assert_eq!(program.report(), length.to_string());
}

#[test]
fn a_program_that_resets_every_stream_fails_each_request_and_no_other() {
    let program = Program::new(|connection| {
        connection.greet(b"")?;
        while let Some(stream) = connection.called() {
            connection.send(reset(stream, INTERNAL_ERROR))?;
        }
        Some(())
    });
    let world = World::calling(&[&program]);
    for _ in 0..300 {
        assert_eq!(world.client().post("/", "body").status, 502);
    }
    assert_eq!(program.connections(), 1);
    world.expect_outcomes(10, &[(Outcome::NoResponse, 300)]);
}
