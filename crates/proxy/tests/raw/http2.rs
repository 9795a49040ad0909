//! HTTP/2 from clients: whole requests by the h2 crate, misuse by hand-built frames.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Request, Response};
use traffic::{Closed, Outcome};

use crate::frames::*;
use crate::secure::{connect, issue, secured, trusting};
use crate::world::{GUARD, Program, World, until};

/// Runs `talk` with a connection that knows that HTTP/2 is spoken.
pub(crate) fn speak<T>(world: &World, talk: impl AsyncFnOnce(SendRequest<Bytes>) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let address = world.address;
    let talking = async move {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let (send, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(async move {
            // What goes wrong is seen by the streams.
            let _ = connection.await;
        });
        tokio::time::timeout(GUARD, talk(send)).await.unwrap()
    };
    runtime.block_on(talking)
}

pub(crate) fn get(path: &str) -> Request<()> {
    Request::get(format!("http://shop.test{path}"))
        .body(())
        .unwrap()
}

pub(crate) async fn whole(
    response: h2::client::ResponseFuture,
) -> Result<(Response<()>, String, Option<HeaderMap>), h2::Error> {
    let (head, mut body) = response.await?.into_parts();
    let mut bytes = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        bytes.extend_from_slice(&data);
    }
    let trailers = body.trailers().await?;
    Ok((
        Response::from_parts(head, ()),
        String::from_utf8(bytes).unwrap(),
        trailers,
    ))
}

#[test]
fn streams_of_one_connection_are_requests_like_all_others() {
    let program = Program::echo("one");
    let world = World::serving(&[&program]);
    speak(&world, async |send| {
        let mut send = send.ready().await.unwrap();
        let mut open = Vec::new();
        for number in 0..20 {
            open.push(
                send.send_request(get(&format!("/{number}?q=1")), true)
                    .unwrap()
                    .0,
            );
        }
        for (number, response) in open.into_iter().enumerate() {
            let (head, body, _) = whole(response).await.unwrap();
            assert_eq!(head.status(), 200);
            assert!(head.headers().contains_key("x-request-id"));
            assert_eq!(body, format!("one: GET /{number}?q=1 HTTP/1.1 []"));
        }
    });
    world.expect_outcomes(10, &[(Outcome::Status2xx, 20)]);
    assert_eq!(world.service().requests, 20);
    until("nobody is connected", || {
        world.ledger.slots().connections == 0
    });
}

#[test]
fn bodies_and_trailers_go_both_ways_within_the_windows() {
    let program = Program::new(|connection| {
        loop {
            let (head, body) = connection.request()?;
            let (begin, end) = body.split_at(body.len() / 2);
            assert!(
                head.to_ascii_lowercase()
                    .contains("transfer-encoding: chunked")
            );
            connection.send(format!(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{begin}\r\n{:x}\r\n{end}\r\n0\r\nX-Sum: 7\r\n\r\n",
                begin.len(),
                end.len()
            ))?;
        }
    });
    let world = World::serving(&[&program]);
    let body = "0123456789".repeat(100_000);
    speak(&world, async |send| {
        let mut send = send.ready().await.unwrap();
        let request = Request::post("http://shop.test/up").body(()).unwrap();
        let (response, mut up) = send.send_request(request, false).unwrap();
        let mut left = Bytes::from(body.clone());
        while !left.is_empty() {
            up.reserve_capacity(left.len());
            let room = std::future::poll_fn(|context| up.poll_capacity(context)).await;
            let room = room.unwrap().unwrap().min(left.len());
            up.send_data(left.split_to(room), false).unwrap();
        }
        up.send_data(Bytes::new(), true).unwrap();
        let (_, answer, trailers) = whole(response).await.unwrap();
        assert!(answer == body, "{} bytes", answer.len());
        assert_eq!(trailers.unwrap().get("x-sum").unwrap(), "7");
    });
    world.expect_outcomes(10, &[(Outcome::Status2xx, 1)]);
    assert_eq!(world.cell(10).bytes_to, 1_000_000);
}

#[test]
fn a_program_that_dies_within_its_response_resets_the_stream_alone() {
    let program = Program::new(|connection| {
        connection.head()?;
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    });
    let world = World::serving(&[&program]);
    speak(&world, async |send| {
        let mut send = send.ready().await.unwrap();
        for _ in 0..2 {
            let (response, _) = send.send_request(get("/"), true).unwrap();
            assert!(whole(response).await.unwrap_err().is_reset());
        }
    });
    world.expect_outcomes(10, &[(Outcome::Truncated, 2)]);
}

#[test]
fn a_host_beside_another_authority_is_refused() {
    let program = Program::echo("one");
    let world = World::serving(&[&program]);
    speak(&world, async |send| {
        let mut send = send.ready().await.unwrap();
        for (host, status) in [("shop.test", 200), ("other.test", 400)] {
            let mut request = get("/");
            request.headers_mut().insert("host", host.parse().unwrap());
            let (response, _) = send.send_request(request, true).unwrap();
            assert_eq!(whole(response).await.unwrap().0.status(), status, "{host}");
        }
    });
}

#[test]
fn tls_agrees_upon_http2_where_the_client_offers_it() {
    let folder = tempfile::tempdir().unwrap();
    let (files, trusted) = issue(folder.path(), "a", &["a.test"]);
    let program = Program::echo("one");
    let mut world = World::serving(&[&program]);
    world.publish(|table| secured(table, vec![files]));
    let mut tls = connect(&world, &trusting(&[&trusted], &[b"h2"]), "a.test").unwrap();
    assert_eq!(tls.conn.alpn_protocol(), Some(&b"h2"[..]));
    tls.write_all(
        &[
            PREFACE,
            &frame(SETTINGS, 0, 0, b""),
            &request(1, END_STREAM),
        ]
        .concat(),
    )
    .unwrap();
    let mut kind = SETTINGS;
    while kind != HEADERS {
        let mut header = [0; 9];
        tls.read_exact(&mut header).unwrap();
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
        tls.read_exact(&mut vec![0; length]).unwrap();
        kind = header[3];
    }
    // The host is another one than the connection was made for.
    let slots = world.ledger.slots();
    assert_eq!(slots.rejected[traffic::Rejected::Misdirected.index()], 1);
}

#[test]
fn a_worker_that_drains_says_so_and_finishes_what_is_open() {
    let answering = Arc::new(AtomicBool::new(false));
    let may_answer = Arc::clone(&answering);
    let program = Program::new(move |connection| {
        loop {
            connection.request()?;
            while !may_answer.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
            connection.answer("whole");
        }
    });
    let world = World::serving(&[&program]);
    speak(&world, async |send| {
        let mut send = send.ready().await.unwrap();
        let (response, _) = send.send_request(get("/"), true).unwrap();
        while world.open(10) == 0 {
            tokio::task::yield_now().await;
        }
        world.proxy().drain(Duration::from_secs(60));
        answering.store(true, Ordering::SeqCst);
        assert_eq!(whole(response).await.unwrap().1, "whole");
        // No more streams are taken: the connection ends by itself.
        let refused = async {
            let (response, _) = send.ready().await?.send_request(get("/"), true)?;
            whole(response).await
        };
        assert!(refused.await.is_err());
    });
    world.expect_outcomes(10, &[(Outcome::Status2xx, 1)]);
    until("the proxy has ended", || world.proxy().is_ended());
}

/// `GET http://h/`, in HPACK's static table but for the host.
pub(crate) fn request(stream: u32, flags: u8) -> Vec<u8> {
    frame(
        HEADERS,
        flags | END_HEADERS,
        stream,
        &[0x82, 0x86, 0x84, 0x41, 1, b'h'],
    )
}

/// Sends a greeting and `bytes`; the error of the GOAWAY that comes.
fn goaway_after(world: &World, bytes: &[u8]) -> u32 {
    let mut stream = TcpStream::connect(world.address).unwrap();
    stream.set_read_timeout(Some(GUARD)).unwrap();
    stream
        .write_all(&[PREFACE, &frame(SETTINGS, 0, 0, b"")].concat())
        .unwrap();
    // The rest may find the connection closed.
    let _ = stream.write_all(bytes);
    loop {
        let mut header = [0; 9];
        stream.read_exact(&mut header).unwrap();
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload).unwrap();
        if header[3] == GOAWAY {
            return u32::from_be_bytes(payload[4..8].try_into().unwrap());
        }
    }
}

fn many(count: u32, one: impl Fn(u32) -> Vec<u8>) -> Vec<u8> {
    (0..count).flat_map(one).collect()
}

#[test]
fn floods_are_told_to_calm_down_and_counted_by_what_they_are_made_of() {
    let program = Program::echo("one");
    let world = World::serving(&[&program]);
    let stream = |number: u32| number * 2 + 1;
    let floods: [(Closed, Vec<u8>); 6] = [
        (
            Closed::FloodResets,
            many(300, |at| {
                let reset = frame(RST_STREAM, 0, stream(at), &8_u32.to_be_bytes());
                [request(stream(at), END_STREAM), reset].concat()
            }),
        ),
        (
            Closed::FloodPings,
            many(500, |_| frame(PING, 0, 0, &[0; 8])),
        ),
        (
            Closed::FloodSettings,
            many(200, |_| frame(SETTINGS, 0, 0, b"")),
        ),
        (
            Closed::FloodEmpty,
            [request(1, 0), many(500, |_| frame(DATA, 0, 1, b""))].concat(),
        ),
        (
            Closed::FloodContinuation,
            [
                frame(HEADERS, END_STREAM, 1, &[0x82, 0x86, 0x84]),
                many(100, |_| frame(CONTINUATION, 0, 1, b"")),
            ]
            .concat(),
        ),
        (
            Closed::FloodWindows,
            many(20_000, |_| frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes())),
        ),
    ];
    let mut noticed = 0;
    for (reason, bytes) in floods {
        assert_eq!(
            goaway_after(&world, &bytes),
            ENHANCE_YOUR_CALM,
            "{reason:?}"
        );
        // What comes all at once may be noticed by the library first.
        until(reason.name(), || {
            let slots = world.ledger.slots();
            slots.closed(reason) == 1 || slots.closed(Closed::Flood) == noticed + 1
        });
        noticed = world.ledger.slots().closed(Closed::Flood);
    }
    until("nothing is open", || {
        world.open(10) == 0 && world.ledger.slots().connections == 0
    });
}

#[test]
fn a_head_that_grows_when_it_is_unpacked_is_refused() {
    let program = Program::echo("one");
    let world = World::serving(&[&program]);
    // One field of 4 KiB goes into the table, and is named again 200 times.
    let mut head = vec![
        0x82, 0x86, 0x84, 0x41, 1, b'h', 0x40, 1, b'x', 0x7f, 0x81, 0x1e,
    ];
    head.extend_from_slice(&[b'y'; 3_968]);
    head.extend_from_slice(&[0xbe; 200]);
    let mut stream = TcpStream::connect(world.address).unwrap();
    stream.set_read_timeout(Some(GUARD)).unwrap();
    let head = frame(HEADERS, END_STREAM | END_HEADERS, 1, &head);
    stream
        .write_all(&[PREFACE, &frame(SETTINGS, 0, 0, b""), &head].concat())
        .unwrap();
    let mut kinds = Vec::new();
    while !kinds
        .iter()
        .any(|kind| [HEADERS, RST_STREAM, GOAWAY].contains(kind))
    {
        let mut header = [0; 9];
        stream.read_exact(&mut header).unwrap();
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
        stream.read_exact(&mut vec![0; length]).unwrap();
        kinds.push(header[3]);
    }
    assert_eq!(world.service().requests, 0);
}
