//! HTTP/2 to endpoints: whole requests by the h2 crate, misuse by hand-built frames.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, Request, Response};
use traffic::Outcome;

use crate::frames::*;
use crate::http2::{get, speak, whole};
use crate::world::{Connection, Ended, Program, World, until};

/// A program that has each request answered by `answer`, many at a time.
pub(crate) fn speaking(
    answer: impl AsyncFn(Request<RecvStream>, SendResponse<Bytes>) -> Option<()> + Send + Sync + 'static,
) -> Program {
    let answer: &'static _ = Box::leak(Box::new(answer));
    Program::new(move |connection| {
        let stream = connection.stream.try_clone().ok()?;
        stream.set_nonblocking(true).ok()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build_local(tokio::runtime::LocalOptions::default())
            .ok()?;
        runtime.block_on(async {
            let stream = tokio::net::TcpStream::from_std(stream).ok()?;
            let mut connection = h2::server::handshake(stream).await.ok()?;
            while let Some(Ok((request, respond))) = connection.accept().await {
                tokio::task::spawn_local(answer(request, respond));
            }
            Some(())
        })
    })
}

async fn read(body: &mut RecvStream) -> Option<String> {
    let mut bytes = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.ok()?;
        body.flow_control().release_capacity(data.len()).ok()?;
        bytes.extend_from_slice(&data);
    }
    String::from_utf8(bytes).ok()
}

/// Answers with what was asked.
fn echo() -> Program {
    speaking(async |request, mut respond| {
        let (head, mut body) = request.into_parts();
        let body = read(&mut body).await?;
        let field = |name: &str| {
            let value = head.headers.get(name);
            value
                .map_or("-", |value| value.to_str().unwrap())
                .to_owned()
        };
        let said = format!(
            "{} {} {} {} {} {} [{body}]",
            head.method,
            head.uri,
            field("te"),
            field("x-forwarded-for"),
            field("cookie"),
            field("connection"),
        );
        let response = Response::builder().header("x-own", "1").body(()).unwrap();
        let mut send = respond.send_response(response, false).ok()?;
        send.send_data(said.into(), true).ok()
    })
}

#[test]
fn a_client_of_http1_is_served_by_a_program_that_speaks_http2() {
    let program = echo();
    let world = World::calling(&[&program]);
    let mut client = world.client();
    client.send("GET /a?b=c HTTP/1.1\r\nHost: h.test\r\nCookie: x=y\r\nConnection: x-own\r\n\r\n");
    let response = client.response();
    assert_eq!(response.status, 200);
    assert_eq!(response.header("x-own"), Some("1"));
    assert_eq!(response.header("transfer-encoding"), Some("chunked"));
    assert_eq!(
        response.text(),
        "GET http://h.test/a?b=c trailers 127.0.0.1 x=y - []"
    );
    let response = client.post("/p", "body");
    assert_eq!(
        response.text(),
        "POST http://h/p trailers 127.0.0.1 - - [body]"
    );
    client.send(
        "POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    );
    assert!(client.response().text().ends_with("[abc]"));
    world.expect_outcomes(10, &[(Outcome::Status2xx, 3)]);
    assert_eq!(program.connections(), 1, "one carries them all");
    assert_eq!(world.cell(10).bytes_to, 7);
}

#[test]
fn a_connection_carries_as_many_requests_as_its_program_allows() {
    let most = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&most);
    let program = Program::new(move |connection| {
        connection.greet(&setting(3, 5))?;
        // Answered five at a time, so that a sixth would be noticed.
        let mut open = Vec::new();
        loop {
            open.push(connection.called()?);
            seen.fetch_max(open.len(), Ordering::SeqCst);
            if open.len() == 5 {
                for stream in open.drain(..) {
                    connection.send(head(stream, END_STREAM, &[("", "204")]))?;
                }
            }
        }
    });
    let world = World::calling(&[&program]);
    speak(&world, async |send| {
        let mut send = send.ready().await.unwrap();
        let all: Vec<_> = (0..40)
            .map(|_| send.send_request(get("/"), true).unwrap().0)
            .collect();
        for response in all {
            assert_eq!(whole(response).await.unwrap().0.status(), 204);
        }
    });
    world.expect_outcomes(10, &[(Outcome::Status2xx, 40)]);
    assert_eq!(most.load(Ordering::SeqCst), 5);
    assert!(program.connections() <= 40, "{}", program.connections());
}

/// A program that meets its first request with `bytes`, and answers the others.
fn first_met_with(bytes: impl Fn(u32) -> Vec<u8> + Send + Sync + 'static) -> Program {
    let requests = AtomicUsize::new(0);
    Program::new(move |connection| {
        connection.greet(b"")?;
        loop {
            let stream = connection.called()?;
            if requests.fetch_add(1, Ordering::SeqCst) == 0 {
                connection.send(bytes(stream))?;
            } else {
                connection.send(head(stream, 0, &[("", "200")]))?;
                connection.send(frame(DATA, END_STREAM, stream, b"whole"))?;
            }
        }
    })
}

#[test]
fn what_a_program_has_not_looked_at_is_sent_again_whatever_the_method() {
    let refused = first_met_with(|stream| reset(stream, REFUSED_STREAM));
    let left = first_met_with(|_| goaway(0));
    for program in [refused, left] {
        let world = World::calling(&[&program]);
        let response = world.client().post("/", "body");
        assert_eq!((response.status, response.text()), (200, "whole"));
        world.expect_outcomes(
            10,
            &[(Outcome::Status2xx, 1), (Outcome::NoResponseRepeated, 1)],
        );
    }
}

#[test]
fn what_a_program_may_have_looked_at_is_not_sent_again() {
    let failed = first_met_with(|stream| reset(stream, INTERNAL_ERROR));
    // Looked at, by its own word, and then nothing more comes.
    let dies = Program::new(|connection| {
        connection.greet(b"")?;
        let stream = connection.called()?;
        connection.send(goaway(stream))
    });
    for program in [failed, dies] {
        let world = World::calling(&[&program]);
        let response = world.client().post("/", "body");
        assert_eq!(response.status, 502);
        assert_eq!(response.header("x-gapless-error"), Some("no_response"));
        world.expect_outcomes(10, &[(Outcome::NoResponse, 1)]);
    }
}

#[test]
fn a_request_on_a_connection_that_dies_is_sent_again_if_that_is_harmless() {
    let program = || {
        Program::new(|connection| {
            connection.greet(b"")?;
            let stream = connection.called()?;
            connection.send(head(stream, END_STREAM, &[("", "204")]))?;
            // What comes next is read, and meets the connection's end.
            connection.called().map(drop)
        })
    };
    for (method, status) in [("GET", 204), ("POST", 502)] {
        let program = program();
        let world = World::calling(&[&program]);
        let mut client = world.client();
        let request = format!("{method} / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
        client.send(&request);
        assert_eq!(client.response().status, 204);
        client.send(&request);
        assert_eq!(client.response().status, status, "{method}");
    }
}

#[test]
fn a_program_that_does_not_speak_http2_gets_no_request() {
    let program = Program::new(|connection| {
        let preface = connection.read_to(b"\r\n\r\n")?;
        assert!(preface.starts_with(b"PRI"));
        connection.send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    });
    let world = World::calling(&[&program]);
    let response = world.client().post("/", "body");
    assert_eq!(response.status, 502);
    assert_eq!(response.header("x-gapless-error"), Some("connect"));
}

#[test]
fn a_response_that_its_program_resets_ends_the_clients_without_an_end() {
    breaks_off(|connection| {
        connection.greet(b"")?;
        // On one connection: who else is on it goes on.
        loop {
            let stream = connection.called()?;
            let half = frame(DATA, 0, stream, b"half");
            let whole = [head(stream, 0, &[("", "200")]), half];
            connection.send([whole.concat(), reset(stream, INTERNAL_ERROR)].concat())?;
        }
    });
}

#[test]
fn a_program_that_dies_within_its_response_ends_the_clients_without_an_end() {
    breaks_off(|connection| {
        connection.greet(b"")?;
        let stream = connection.called()?;
        connection.send(head(stream, 0, &[("", "200")]))?;
        connection.send(frame(DATA, 0, stream, b"half"))
    });
}

/// Has two clients meet a program that says half of a response and no more.
fn breaks_off(program: impl Fn(&mut Connection) -> Option<()> + Send + Sync + 'static) {
    let program = Program::new(program);
    let world = World::calling(&[&program]);
    let mut client = world.client();
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    client.read_to(b"half\r\n");
    let (rest, ended) = client.rest();
    assert!(
        rest.is_empty() && ended == Ended::Reset,
        "{rest:?} {ended:?}"
    );
    speak(&world, async |send| {
        let mut send = send.ready().await.unwrap();
        let (response, _) = send.send_request(get("/"), true).unwrap();
        assert!(whole(response).await.unwrap_err().is_reset());
    });
    world.expect_outcomes(10, &[(Outcome::Truncated, 2)]);
}

#[test]
fn bodies_and_trailers_go_both_ways_between_streams() {
    let program = speaking(async |request, mut respond| {
        let mut body = request.into_body();
        let mut send = respond.send_response(Response::new(()), false).ok()?;
        // Each piece goes back before the next one comes.
        while let Some(data) = body.data().await {
            let data = data.ok()?;
            body.flow_control().release_capacity(data.len()).ok()?;
            send.send_data(data, false).ok()?;
        }
        let mut trailers = body.trailers().await.ok()?.unwrap();
        trailers.insert("grpc-status", "0".parse().unwrap());
        send.send_trailers(trailers).ok()
    });
    let world = World::calling(&[&program]);
    speak(&world, async |send| {
        let mut send = send.ready().await.unwrap();
        let request = Request::post("http://h.test/up").body(()).unwrap();
        let (response, mut up) = send.send_request(request, false).unwrap();
        up.send_data("ping 0".into(), false).unwrap();
        let mut body = response.await.unwrap().into_body();
        for number in 1..20 {
            let data = body.data().await.unwrap().unwrap();
            assert_eq!(data, format!("ping {}", number - 1));
            up.send_data(format!("ping {number}").into(), false)
                .unwrap();
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", "7".parse().unwrap());
        up.send_trailers(trailers).unwrap();
        assert_eq!(body.data().await.unwrap().unwrap(), "ping 19");
        assert!(body.data().await.is_none());
        let trailers = body.trailers().await.unwrap().unwrap();
        assert_eq!(trailers.get("grpc-status").unwrap(), "0");
        assert_eq!(trailers.get("x-sum").unwrap(), "7");
    });
    world.expect_outcomes(10, &[(Outcome::Status2xx, 1)]);
}

#[test]
fn one_client_that_reads_nothing_holds_up_no_other() {
    let program = speaking(async |request, mut respond| {
        let size = match request.uri().path() {
            "/large" => 8 << 20,
            _ => 5,
        };
        let mut send = respond.send_response(Response::new(()), false).ok()?;
        let mut left = Bytes::from(vec![b'x'; size]);
        while !left.is_empty() {
            send.reserve_capacity(left.len());
            let room = std::future::poll_fn(|context| send.poll_capacity(context)).await;
            let room = room?.ok()?.min(left.len());
            send.send_data(left.split_to(room), false).ok()?;
        }
        send.send_data(Bytes::new(), true).ok()
    });
    let world = World::calling(&[&program]);
    let lazy: Vec<_> = (0..30)
        .map(|_| {
            let mut client = world.client();
            client.send("GET /large HTTP/1.1\r\nHost: h\r\n\r\n");
            client.head();
            client
        })
        .collect();
    for _ in 0..20 {
        assert_eq!(world.client().get("/").text(), "xxxxx");
    }
    assert_eq!(program.connections(), 1);
    drop(lazy);
    until("nothing is open", || world.open(10) == 0);
}

#[test]
fn interim_responses_and_answers_to_head_come_as_they_are() {
    let program = Program::new(|connection| {
        connection.greet(b"")?;
        let stream = connection.called()?;
        connection.send(head(stream, 0, &[("", "103"), ("link", "</a.css>")]))?;
        connection.send(head(stream, 0, &[("", "200"), ("content-length", "2")]))?;
        connection.send(frame(DATA, END_STREAM, stream, b"ok"))?;
        let stream = connection.called()?;
        connection.send(head(
            stream,
            END_STREAM,
            &[("", "200"), ("content-length", "99")],
        ))?;
        let stream = connection.called()?;
        connection.send(head(stream, END_STREAM, &[("", "304"), ("etag", "\"1\"")]))?;
        connection.called().map(drop)
    });
    let world = World::calling(&[&program]);
    let mut client = world.client();
    let early = client.get("/");
    assert_eq!(
        (early.status, early.header("link")),
        (103, Some("</a.css>"))
    );
    let response = client.response();
    assert_eq!((response.status, response.text()), (200, "ok"));
    client.send("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n");
    let response = client.head();
    assert_eq!(response.header("content-length"), Some("99"));
    let response = client.get("/");
    assert_eq!(
        (response.status, response.header("etag")),
        (304, Some("\"1\""))
    );
    assert_eq!(response.header("content-length"), None);
    world.expect_outcomes(10, &[(Outcome::Status2xx, 2), (Outcome::Status3xx, 1)]);
}

#[test]
fn connections_to_an_endpoint_that_left_the_table_say_goodbye_when_they_are_done() {
    let (go, gone) = std::sync::mpsc::channel::<()>();
    let gone = std::sync::Mutex::new(gone);
    let old = Program::new(move |connection| {
        connection.greet(b"")?;
        let stream = connection.called()?;
        connection.report("called");
        gone.lock().unwrap().recv().ok()?;
        connection.send(head(stream, END_STREAM, &[("", "204")]))?;
        let goodbye = connection.next(GOAWAY)?;
        connection.report(format!("goodbye {:?}", &goodbye.payload[4..8]));
        connection.wait_for_end();
        connection.report("end");
        Some(())
    });
    let new = echo();
    let mut world = World::calling(&[&old]);
    let mut client = world.client();
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(old.report(), "called");
    let mut next = crate::world::candidate(2, &[&new], 20);
    next.endpoints[0].protocol = model::Protocol::H2c;
    world.set_service(|service| service.stable = next);
    assert!(
        world
            .client()
            .get("/n")
            .text()
            .starts_with("GET http://h/n")
    );
    go.send(()).unwrap();
    assert_eq!(client.response().status, 204, "what was open went on");
    assert_eq!(old.report(), "goodbye [0, 0, 0, 0]");
    assert_eq!(old.report(), "end");
    world.expect_outcomes(10, &[(Outcome::Status2xx, 1)]);
    world.expect_outcomes(20, &[(Outcome::Status2xx, 1)]);
}

#[test]
fn a_client_that_leaves_has_its_stream_cancelled() {
    let program = Program::new(|connection| {
        connection.greet(b"")?;
        connection.called()?;
        connection.report("called");
        let reset = connection.next(RST_STREAM)?;
        connection.report(format!("{:?}", reset.payload));
        Some(())
    });
    let world = World::calling(&[&program]);
    let mut client = world.client();
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(program.report(), "called");
    client.reset();
    assert_eq!(program.report(), "[0, 0, 0, 8]");
    world.expect_outcomes(10, &[(Outcome::ClientGone, 1)]);
}
