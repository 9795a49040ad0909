//! What a client of HTTP/2 sees frame by frame: tunnels, interim responses, and responses
//! without a body.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use h2::ext::Protocol;
use http::Response;
use model::Drain;
use traffic::{Cell, Outcome};

use crate::calls::speaking;
use crate::frames::*;
use crate::world::{Ended, GUARD, Program, World};

/// How the heads of responses begin: a status from HPACK's static table, or one spelled out in
/// its alphabet.
const OK: &[u8] = &[0x88];
const NO_CONTENT: &[u8] = &[0x89];
const NOT_MODIFIED: &[u8] = &[0x8b];
const FORBIDDEN: &[u8] = &[0x48, 0x83, 0x68, 0x0c];
const CONTINUE: &[u8] = &[0x48, 0x82, 0x08, 0x01];
const EARLY_HINTS: &[u8] = &[0x48, 0x82, 0x08, 0x19];
/// Which setting says that WebSockets are known.
const CONNECT_PROTOCOL: u16 = 8;
/// A close frame with the status 1001.
const GOODBYE: &[u8] = b"\x88\x02\x03\xe9";
const TEXT: &[u8] = b"\x81\x05hello";
const MASKED: &[u8] = b"\x81\x85\0\0\0\0world";

/// A client that says frames.
struct Talker {
    stream: TcpStream,
    settings: Vec<u8>,
}

impl Talker {
    /// Greets, and reads the proxy's settings.
    fn new(world: &World) -> Self {
        let mut stream = TcpStream::connect(world.address).unwrap();
        stream.set_read_timeout(Some(GUARD)).unwrap();
        let greeting = [PREFACE, &frame(SETTINGS, 0, 0, b"")].concat();
        stream.write_all(&greeting).unwrap();
        let mut own = Self {
            stream,
            settings: Vec::new(),
        };
        let settings = own.any();
        assert_eq!(settings.kind, SETTINGS);
        own.settings = settings.payload;
        own.send(frame(SETTINGS, 1, 0, b""));
        own
    }

    fn send(&mut self, bytes: Vec<u8>) {
        self.stream.write_all(&bytes).unwrap();
    }

    fn any(&mut self) -> Frame {
        let mut header = [0; 9];
        self.stream.read_exact(&mut header).unwrap();
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]);
        let mut payload = vec![0; length as usize];
        self.stream.read_exact(&mut payload).unwrap();
        Frame {
            kind: header[3],
            flags: header[4],
            stream: u32::from_be_bytes(header[5..9].try_into().unwrap()),
            payload,
        }
    }

    /// The next frame of a stream.
    fn next(&mut self) -> Frame {
        loop {
            let frame = self.any();
            if frame.stream != 0 && frame.kind != WINDOW_UPDATE {
                return frame;
            }
        }
    }

    /// Reads a head that begins like this. True if the stream ends with it.
    fn head(&mut self, begins: &[u8]) -> bool {
        let head = self.next();
        assert_eq!(head.kind, HEADERS, "{head:?}");
        assert!(head.payload.starts_with(begins), "{head:x?}");
        head.flags & END_STREAM != 0
    }

    /// Reads so many bytes of a body.
    fn data(&mut self, count: usize) -> Vec<u8> {
        let mut read = Vec::new();
        while read.len() < count {
            let data = self.next();
            assert_eq!(data.kind, DATA, "{data:?}");
            read.extend_from_slice(&data.payload);
        }
        read
    }

    /// Reads all that still comes on the stream, and says how it ends.
    fn rest(&mut self) -> (Vec<u8>, u8) {
        let mut read = Vec::new();
        loop {
            let frame = self.next();
            if frame.kind == DATA {
                read.extend_from_slice(&frame.payload);
            }
            if frame.kind == RST_STREAM || frame.flags & END_STREAM != 0 {
                return (read, frame.kind);
            }
        }
    }
}

fn request(flags: u8, method: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let own = [
        (":method", method),
        (":scheme", "http"),
        (":path", "/socket"),
        (":authority", "h.test"),
    ];
    head(1, flags, &[&own, more].concat())
}

/// Asks for a WebSocket.
fn connect() -> Vec<u8> {
    let more = [(":protocol", "websocket"), ("sec-websocket-version", "13")];
    request(0, "CONNECT", &more)
}

fn data(flags: u8, bytes: &[u8]) -> Vec<u8> {
    frame(DATA, flags, 1, bytes)
}

/// A program of HTTP/1.1 that agrees to a WebSocket, says hello, and reports what it got.
fn agreeing() -> Program {
    Program::new(|connection| {
        let head = connection.head()?;
        connection.report(head);
        connection.send(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n",
        )?;
        connection.send(TEXT)?;
        let got = connection.read_exactly(MASKED.len())?;
        connection.report(format!("{got:?}"));
        connection.send(TEXT)?;
        let count = connection.wait_for_end();
        let got = connection.read_exactly(count)?;
        connection.report(format!("{got:?}"));
        Some(())
    })
}

#[test]
fn a_websocket_over_http2_reaches_a_program_of_http1_and_ends_as_its_client_says() {
    let program = agreeing();
    let world = World::serving(&[&program]);
    let mut client = Talker::new(&world);
    let settings = client.settings.chunks(6);
    let known = setting(CONNECT_PROTOCOL, 1);
    assert!(settings.into_iter().any(|one| one == known));
    client.send(connect());
    assert!(!client.head(OK));
    let asked = program.report();
    assert!(
        asked.starts_with("GET /socket HTTP/1.1\r\nhost: h.test\r\n"),
        "{asked}"
    );
    for field in [
        "upgrade: websocket",
        "connection: upgrade",
        "sec-websocket-version: 13",
    ] {
        assert!(asked.contains(&format!("\r\n{field}\r\n")), "{asked}");
    }
    assert!(asked.contains("\r\nsec-websocket-key: "), "{asked}");
    assert_eq!(client.data(TEXT.len()), TEXT);
    client.send(data(0, MASKED));
    assert_eq!(program.report(), format!("{MASKED:?}"));
    assert_eq!(client.data(TEXT.len()), TEXT);
    client.send(data(END_STREAM, b"\x88\x80\0\0\0\0"));
    assert_eq!(program.report(), format!("{:?}", b"\x88\x80\0\0\0\0"));
    assert_eq!(client.rest(), (Vec::new(), DATA));
    world.expect_outcomes(
        10,
        &[(Outcome::TunnelOpened, 1), (Outcome::TunnelClosed, 1)],
    );
}

#[test]
fn a_websocket_over_http2_is_told_goodbye_before_its_program_goes() {
    let program = agreeing();
    let world = World::serving(&[&program]);
    let mut client = Talker::new(&world);
    client.send(connect());
    assert!(!client.head(OK));
    assert_eq!(client.data(TEXT.len()), TEXT);
    client.send(data(0, MASKED));
    assert_eq!(client.data(TEXT.len()), TEXT);
    program.report();
    assert_eq!(program.report(), format!("{MASKED:?}"));
    world.proxy().part(Cell(10), Drain::all(Duration::ZERO));
    assert_eq!(client.rest(), (GOODBYE.to_vec(), DATA));
    let told = program.report();
    assert!(told.starts_with("[136, 130, "), "masked: {told}");
    world.expect_outcomes(10, &[(Outcome::Cut, 1), (Outcome::TunnelOpened, 1)]);
}

/// A program of HTTP/2 that knows WebSockets, agrees with this status, and sends back what it
/// gets in upper case.
fn connecting(status: &'static str) -> Program {
    Program::new(move |connection| {
        connection.greet(&setting(CONNECT_PROTOCOL, 1))?;
        let asked = connection.next(HEADERS)?;
        connection.report(format!("{}", asked.flags & END_STREAM));
        let stream = asked.stream;
        let is_agreed = status == "200";
        let flags = if is_agreed { 0 } else { END_STREAM };
        connection.send(head(stream, flags, &[("", status), ("x-own", "1")]))?;
        if !is_agreed {
            return connection.some().map(drop);
        }
        loop {
            let data = connection.next(DATA)?;
            let loud = data.payload.to_ascii_uppercase();
            connection.send(frame(DATA, data.flags, stream, &loud))?;
            if data.flags & END_STREAM != 0 {
                connection.report("ended");
                return connection.some().map(drop);
            }
        }
    })
}

#[test]
fn websockets_reach_a_program_of_http2() {
    let program = connecting("200");
    let world = World::calling(&[&program]);
    let mut client = Talker::new(&world);
    client.send(connect());
    assert!(!client.head(OK));
    assert_eq!(program.report(), "0", "the stream stays open");
    for piece in ["abc", "defg"] {
        client.send(data(0, piece.as_bytes()));
        assert_eq!(
            client.data(piece.len()),
            piece.to_ascii_uppercase().as_bytes()
        );
    }
    client.send(data(END_STREAM, b"end"));
    assert_eq!(client.rest(), (b"END".to_vec(), DATA));
    assert_eq!(program.report(), "ended");
    world.expect_outcomes(
        10,
        &[(Outcome::TunnelOpened, 1), (Outcome::TunnelClosed, 1)],
    );
}

#[test]
fn a_program_of_http2_may_refuse_a_websocket() {
    let program = connecting("403");
    let world = World::calling(&[&program]);
    let mut client = Talker::new(&world);
    client.send(connect());
    assert!(client.head(FORBIDDEN));
    world.expect_outcomes(10, &[(Outcome::Status4xx, 1)]);
    let program = connecting("403");
    let world = World::calling(&[&program]);
    let mut client = world.client();
    client.send(OFFER);
    assert_eq!(client.response().status, 403);
}

const OFFER: &str = "GET /socket HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

#[test]
fn a_client_of_http1_gets_a_websocket_from_a_program_of_http2_and_its_key_answered() {
    let program = connecting("200");
    let world = World::calling(&[&program]);
    let mut client = world.client();
    client.send(OFFER);
    let head = client.head();
    assert_eq!(head.status, 101);
    assert_eq!(head.header("upgrade"), Some("websocket"));
    assert_eq!(head.header("x-own"), Some("1"));
    // As RFC 6455 has it for this key.
    assert_eq!(
        head.header("sec-websocket-accept"),
        Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    );
    client.send(MASKED);
    assert_eq!(
        client.read_exactly(MASKED.len()),
        MASKED.to_ascii_uppercase()
    );
    world.proxy().part(Cell(10), Drain::all(Duration::ZERO));
    assert_eq!(client.rest(), (GOODBYE.to_vec(), Ended::Cleanly));
}

#[test]
fn a_program_of_http2_is_asked_for_a_websocket_in_its_own_words() {
    let program = speaking(async |request, mut respond| {
        let protocol = request.extensions().get::<Protocol>();
        let asked = format!(
            "{} {:?} {} {}",
            request.method(),
            protocol.map(Protocol::as_str),
            request.uri(),
            request.headers().contains_key("sec-websocket-key"),
        );
        let mut send = respond.send_response(Response::new(()), false).ok()?;
        send.send_data(asked.into(), true).ok()
    });
    // It has not said that it knows them: it is asked for what it has there.
    let world = World::calling(&[&program]);
    let mut client = world.client();
    client.send(OFFER);
    let answer = client.response();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.text(), "GET None http://h/socket true");
}

#[test]
fn interim_responses_come_before_the_final_one_and_do_not_end_the_stream() {
    let program = Program::new(|connection| {
        let head = connection.head()?;
        assert!(head.contains("expect: 100-continue"), "{head}");
        connection.send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")?;
        connection.send("HTTP/1.1 100 Continue\r\n\r\n")?;
        connection.read_exactly(4)?;
        connection.answer("fine");
        Some(())
    });
    let world = World::serving(&[&program]);
    let mut client = Talker::new(&world);
    let more = [("content-length", "4"), ("expect", "100-continue")];
    client.send(request(0, "POST", &more));
    assert!(!client.head(EARLY_HINTS));
    assert!(!client.head(CONTINUE));
    client.send(data(END_STREAM, b"body"));
    assert!(!client.head(OK));
    assert_eq!(client.rest(), (b"fine".to_vec(), DATA));
    world.expect_outcomes(10, &[(Outcome::Status2xx, 1)]);
}

#[test]
fn what_has_no_body_ends_with_its_head() {
    for (method, response, begins) in [
        ("HEAD", "200 OK\r\nContent-Length: 99", OK),
        ("GET", "204 No Content", NO_CONTENT),
        (
            "GET",
            "304 Not Modified\r\nContent-Length: 99",
            NOT_MODIFIED,
        ),
        ("GET", "200 OK\r\nContent-Length: 0", OK),
    ] {
        let program = Program::new(move |connection| {
            connection.head()?;
            connection.send(format!("HTTP/1.1 {response}\r\n\r\n"))?;
            connection.head()?;
            connection.answer("next");
            Some(())
        });
        let world = World::serving(&[&program]);
        let mut client = Talker::new(&world);
        client.send(request(END_STREAM, method, &[]));
        assert!(client.head(begins), "{method} {response}");
        world.settled(10);
        // Its connection is as good as before.
        assert_eq!(world.client().get("/").text(), "next");
        assert_eq!(program.connections(), 1, "{method} {response}");
    }
}

#[test]
fn trailers_end_the_stream_after_the_body() {
    let program = Program::new(|connection| {
        connection.head()?;
        connection.send(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nX-Sum: 7\r\n\r\n",
        )
    });
    let world = World::serving(&[&program]);
    let mut client = Talker::new(&world);
    client.send(request(END_STREAM, "GET", &[]));
    assert!(!client.head(OK));
    assert_eq!(client.rest(), (b"body".to_vec(), HEADERS));
}
