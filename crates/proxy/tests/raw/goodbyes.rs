//! What never ends by itself is told goodbye before its endpoint is cut.

use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use model::Drain;
use traffic::{Cell, Outcome};

use crate::world::{Client, Ended, Program, World, until};

const UPGRADE: &str =
    "GET /socket HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const SWITCHED: &str =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
/// A text frame of five bytes, as a server sends it and as a client does.
const FRAME: &[u8] = b"\x81\x05hello";
const MASKED: &[u8] = b"\x81\x85\0\0\0\0world";
/// A close frame with the status 1001.
const GOODBYE: &[u8] = b"\x88\x02\x03\xe9";

/// A program that switches, sends `first`, and when it is told to, `second`; then it reports
/// what it got.
fn sends(first: &'static [u8], second: &'static [u8]) -> (Program, Sender<()>) {
    let (go, gone) = channel();
    let gone = Mutex::new(gone);
    let program = Program::new(move |connection| {
        connection.head()?;
        connection.send(SWITCHED)?;
        connection.send(first)?;
        connection.report("switched");
        gone.lock().unwrap().recv().ok()?;
        connection.send(second)?;
        let bytes = connection.wait_for_end();
        let got = connection.read_exactly(bytes)?;
        connection.report(format!("{got:?}"));
        Some(())
    });
    (program, go)
}

fn tunnel(world: &World) -> Client {
    let mut client = world.client();
    client.send(UPGRADE);
    assert_eq!(client.head().status, 101);
    client
}

/// The goodbye that a program was told, from its report: masked.
fn unmasked(report: &str, before: &[u8]) -> Vec<u8> {
    let numbers = report.trim_matches(['[', ']']).split(", ");
    let got: Vec<u8> = numbers.map(|number| number.parse().unwrap()).collect();
    let frame = got.strip_prefix(before).unwrap();
    assert_eq!(frame[..2], [0x88, 0x82]);
    vec![frame[6] ^ frame[2], frame[7] ^ frame[3]]
}

#[test]
fn a_websocket_is_told_that_its_server_goes_away_on_both_sides() {
    let (program, go) = sends(FRAME, b"");
    let world = World::serving(&[&program]);
    let mut client = tunnel(&world);
    assert_eq!(client.read_exactly(FRAME.len()), FRAME);
    client.send(MASKED);
    world.proxy().part(Cell(10), Drain::all(Duration::ZERO));
    assert_eq!(client.rest(), (GOODBYE.to_vec(), Ended::Cleanly));
    go.send(()).unwrap();
    assert_eq!(program.report(), "switched");
    assert_eq!(unmasked(&program.report(), MASKED), [3, 0xe9]);
    world.expect_outcomes(10, &[(Outcome::Cut, 1), (Outcome::TunnelOpened, 1)]);
}

#[test]
fn a_goodbye_comes_between_two_frames_and_nothing_after_it() {
    let (program, go) = sends(b"\x81\x05he", b"llo\x81\x02no");
    let world = World::serving(&[&program]);
    let mut client = tunnel(&world);
    assert_eq!(program.report(), "switched");
    assert_eq!(client.read_exactly(4), b"\x81\x05he");
    world.proxy().part(Cell(10), Drain::all(Duration::ZERO));
    // The program is told at once, the client when the program's frame is whole.
    assert!(client.is_silent_for(Duration::from_millis(300)));
    go.send(()).unwrap();
    let (rest, ended) = client.rest();
    assert_eq!(rest, [b"llo", GOODBYE].concat());
    assert_eq!(ended, Ended::Cleanly);
    assert_eq!(unmasked(&program.report(), b""), [3, 0xe9]);
}

#[test]
fn a_websocket_in_the_middle_of_a_frame_is_cut_with_the_rest() {
    let (program, _go) = sends(b"\x81\x05he", b"");
    let world = World::serving(&[&program]);
    let mut client = tunnel(&world);
    client.read_exactly(4);
    world.proxy().part(Cell(10), Drain::all(Duration::ZERO));
    assert!(client.is_silent_for(Duration::from_millis(300)));
    world.proxy().cut(Cell(10));
    assert_eq!(client.rest().0, b"");
    world.expect_outcomes(10, &[(Outcome::Cut, 1), (Outcome::TunnelOpened, 1)]);
}

#[test]
fn a_tunnel_of_another_protocol_is_closed() {
    let program = Program::new(|connection| {
        connection.head()?;
        connection.send(SWITCHED.replace("websocket", "other"))?;
        connection.wait_for_end();
        connection.report("ended");
        Some(())
    });
    let world = World::serving(&[&program]);
    let mut client = world.client();
    client.send(UPGRADE.replace("websocket", "other"));
    assert_eq!(client.head().status, 101);
    world.proxy().part(Cell(10), Drain::all(Duration::ZERO));
    assert_eq!(client.rest(), (Vec::new(), Ended::Cleanly));
    assert_eq!(program.report(), "ended");
    world.expect_outcomes(10, &[(Outcome::Cut, 1), (Outcome::TunnelOpened, 1)]);
}

/// A program that answers with the first part of a body of `kind`, and goes on when told to.
fn streams(kind: &'static str) -> (Program, Sender<()>) {
    let (go, gone) = channel();
    let gone = Mutex::new(gone);
    let program = Program::new(move |connection| {
        connection.request()?;
        connection.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n\
             9\r\ndata: 1\n\n\r\n"
        ))?;
        gone.lock().unwrap().recv().ok()?;
        connection.send("9\r\ndata: 2\n\n\r\n0\r\n\r\n")
    });
    (program, go)
}

#[test]
fn a_stream_of_events_ends_where_it_is_and_never_looks_whole() {
    let (program, _go) = streams("Text/Event-Stream; charset=utf-8");
    let world = World::serving(&[&program]);
    let mut client = world.client();
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    client.read_to(b"data: 1\n\n\r\n");
    world.proxy().part(Cell(10), Drain::all(Duration::ZERO));
    assert_eq!(client.rest(), (Vec::new(), Ended::Cleanly));
    world.expect_outcomes(10, &[(Outcome::Cut, 1)]);
}

#[test]
fn any_other_response_has_until_it_is_cut() {
    let (program, go) = streams("text/plain");
    let world = World::serving(&[&program]);
    let mut client = world.client();
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    client.read_to(b"data: 1\n\n\r\n");
    world.proxy().part(Cell(10), Drain::all(Duration::ZERO));
    assert!(client.is_silent_for(Duration::from_millis(300)));
    go.send(()).unwrap();
    assert_eq!(
        client.read_to(b"0\r\n\r\n"),
        b"9\r\ndata: 2\n\n\r\n0\r\n\r\n"
    );
    world.expect_outcomes(10, &[(Outcome::Status2xx, 1)]);
}

#[test]
fn each_kind_has_a_time_of_its_own_and_is_counted_as_what_it_was() {
    let program = Program::new(|connection| {
        let head = connection.head()?;
        let kind = match head.split(' ').nth(1)? {
            "/socket" => {
                connection.send(SWITCHED)?;
                connection.wait_for_end();
                return Some(());
            }
            "/events" => "text/event-stream",
            _ => "text/plain",
        };
        connection.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n\
             1\r\nx\r\n"
        ))?;
        connection.wait_for_end();
        Some(())
    });
    let world = World::serving(&[&program]);
    let mut socket = tunnel(&world);
    let [mut events, mut plain] = ["/events", "/"].map(|path| {
        let mut client = world.client();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n"));
        client.read_to(b"1\r\nx\r\n");
        client
    });
    let hour = Duration::from_secs(3_600);
    let left = Drain {
        requests: Duration::ZERO,
        websockets: hour,
        streams: hour,
    };
    world.proxy().part(Cell(10), left);
    assert_ne!(plain.rest().1, Ended::Cleanly);
    assert!(socket.is_silent_for(Duration::from_millis(300)));
    assert!(events.is_silent_for(Duration::from_millis(1)));
    world.proxy().cut(Cell(10));
    socket.rest();
    events.rest();
    world.expect_outcomes(10, &[(Outcome::Cut, 3), (Outcome::TunnelOpened, 1)]);
    let service = world.service();
    assert_eq!((service.cut_websockets, service.cut_streams), (1, 1));
}

#[test]
fn a_worker_that_leaves_tells_its_websockets_and_streams() {
    let (program, go) = sends(FRAME, b"");
    let world = World::serving(&[&program]);
    let mut client = tunnel(&world);
    assert_eq!(client.read_exactly(FRAME.len()), FRAME);
    client.send(MASKED);
    world.proxy().drain(Duration::ZERO);
    assert_eq!(client.rest(), (GOODBYE.to_vec(), Ended::Cleanly));
    go.send(()).unwrap();
    assert_eq!(program.report(), "switched");
    assert_eq!(unmasked(&program.report(), MASKED), [3, 0xe9]);
    until("the worker has ended", || world.proxy().is_ended());
}
