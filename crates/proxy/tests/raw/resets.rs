//! Goodbyes and resets of HTTP/2, frame by frame: no library says more than what was on the wire.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use traffic::Outcome;

use crate::frames::*;
use crate::http2::request;
use crate::world::{GUARD, Program, World, until};

const CANCEL: u32 = 8;
/// A stream's number that no client reaches.
const ANY: u32 = 0x7fff_ffff;

/// A client's connection.
struct Raw(TcpStream);

impl Raw {
    fn greeted(world: &World) -> Self {
        let mut stream = TcpStream::connect(world.address).unwrap();
        stream.set_read_timeout(Some(GUARD)).unwrap();
        let greeting = [PREFACE, &frame(SETTINGS, 0, 0, b"")].concat();
        stream.write_all(&greeting).unwrap();
        Self(stream)
    }

    fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    fn frame(&mut self) -> Frame {
        let mut header = [0; 9];
        self.0.read_exact(&mut header).unwrap();
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
        let mut payload = vec![0; length];
        self.0.read_exact(&mut payload).unwrap();
        Frame {
            kind: header[3],
            flags: header[4],
            stream: u32::from_be_bytes(header[5..9].try_into().unwrap()),
            payload,
        }
    }

    /// The next frame of a kind; what comes before is passed over.
    fn next(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self.frame();
            if frame.kind == kind {
                return frame;
            }
        }
    }
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes[..4].try_into().unwrap())
}

#[test]
fn a_worker_that_drains_says_so_first_and_names_the_last_stream_when_that_was_heard() {
    let (go, gone) = channel();
    let gone = Mutex::new(gone);
    let program = Program::new(move |connection| {
        connection.request()?;
        gone.lock().unwrap().recv().ok()?;
        connection.answer("whole");
        Some(())
    });
    let world = World::serving(&[&program]);
    let mut client = Raw::greeted(&world);
    client.send(&request(1, END_STREAM));
    until("the request is there", || world.open(10) == 1);
    world.proxy().drain(Duration::from_secs(60));
    let first = client.next(GOAWAY);
    assert_eq!(
        (number(&first.payload), number(&first.payload[4..])),
        (ANY, 0)
    );
    let ping = client.next(PING);
    // It crosses the goodbye, and is served all the same.
    client.send(&request(3, END_STREAM));
    until("the other one is there", || world.open(10) == 2);
    client.send(&frame(PING, 1, 0, &ping.payload));
    let second = client.next(GOAWAY);
    assert_eq!(number(&second.payload), 3);
    let mut ended = Vec::new();
    go.send(()).unwrap();
    go.send(()).unwrap();
    while ended.len() < 2 {
        let frame = client.frame();
        if matches!(frame.kind, HEADERS | DATA) && frame.flags & END_STREAM != 0 {
            ended.push(frame.stream);
        }
    }
    ended.sort_unstable();
    assert_eq!(ended, [1, 3]);
    world.expect_outcomes(10, &[(Outcome::Status2xx, 2)]);
    until("the worker has ended", || world.proxy().is_ended());
}

#[test]
fn a_reset_reaches_the_other_side_and_no_other_stream() {
    let (go, gone) = channel();
    let gone = Mutex::new(gone);
    let program = Program::new(move |connection| {
        connection.greet(b"")?;
        let one = connection.called()?;
        let other = connection.called()?;
        connection.send(head(one, 0, &[("", "200")]))?;
        connection.send(frame(DATA, 0, one, b"half"))?;
        let told = connection.next(RST_STREAM)?;
        assert_eq!(told.stream, one);
        connection.report(number(&told.payload).to_string());
        connection.send(head(other, 0, &[("", "200")]))?;
        connection.send(frame(DATA, 0, other, b"half"))?;
        gone.lock().unwrap().recv().ok()?;
        connection.send(crate::frames::reset(other, INTERNAL_ERROR))?;
        let last = connection.called()?;
        connection.send(head(last, END_STREAM, &[("", "204")]))
    });
    let world = World::calling(&[&program]);
    let mut client = Raw::greeted(&world);
    client.send(&[request(1, END_STREAM), request(3, END_STREAM)].concat());
    assert_eq!(client.next(DATA).stream, 1);
    client.send(&reset(1, CANCEL));
    assert_eq!(program.report(), CANCEL.to_string());
    assert_eq!(client.next(DATA).stream, 3);
    go.send(()).unwrap();
    let told = client.next(RST_STREAM);
    assert_eq!(told.stream, 3);
    assert_ne!(
        number(&told.payload),
        0,
        "no end, and no error either, would look whole"
    );
    client.send(&request(5, END_STREAM));
    let last = client.next(HEADERS);
    assert_eq!((last.stream, last.flags & END_STREAM), (5, END_STREAM));
    world.expect_outcomes(
        10,
        &[
            (Outcome::Status2xx, 1),
            (Outcome::Truncated, 1),
            (Outcome::ClientGone, 1),
        ],
    );
}
