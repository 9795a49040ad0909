//! gRPC end to end: its statuses, its errors in its own words, and its goodbye.

use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use h2::client::ResponseFuture;
use http::{HeaderMap, Request};
use model::{Deadline, Drain};
use traffic::{Cell, Outcome, Rejected, ServiceTable};

use crate::frames::*;
use crate::http2::{get, speak, whole};
use crate::world::{Program, World, nowhere};

const GRPC: (&str, &str) = ("content-type", "application/grpc");
/// A message of three bytes with what stands before it.
const MESSAGE: &[u8] = b"\0\0\0\0\x03abc";

fn call() -> Request<()> {
    Request::post("http://h.test/shop.v1.Cart/Watch")
        .header("content-type", "application/grpc+proto")
        .header("te", "trailers")
        .body(())
        .unwrap()
}

fn value<'a>(fields: &'a HeaderMap, name: &str) -> Option<&'a str> {
    fields.get(name).map(|value| value.to_str().unwrap())
}

/// Sends one message and ends the request.
async fn called(mut send: h2::client::SendRequest<bytes::Bytes>) -> ResponseFuture {
    std::future::poll_fn(|context| send.poll_ready(context))
        .await
        .unwrap();
    let (response, mut up) = send.send_request(call(), false).unwrap();
    up.send_data(MESSAGE.into(), true).unwrap();
    response
}

#[test]
fn our_errors_are_statuses_of_grpc_without_a_body() {
    let gone = Program::echo("gone");
    let mut world = World::calling(&[&gone]);
    world.set_service(|service| service.stable.endpoints[0].address = nowhere());
    speak(&world, async |send| {
        let response = called(send).await.await.unwrap();
        assert_eq!(response.status(), 200);
        assert!(response.body().is_end_stream(), "a head alone");
        let fields = response.headers();
        assert_eq!(value(fields, "content-type"), Some("application/grpc"));
        assert_eq!(value(fields, "grpc-status"), Some("14"));
        assert_eq!(value(fields, "x-gapless-error"), Some("connect"));
        assert_eq!(value(fields, "content-length"), None);
        let message = value(fields, "grpc-message").unwrap();
        assert_eq!(message, "no connection to an instance could be made");
    });
    world.publish(|table| table.listeners[0].routes.clear());
    speak(&world, async |send| {
        let response = called(send).await.await.unwrap();
        assert_eq!(value(response.headers(), "grpc-status"), Some("12"));
    });
    let rejected = world.service().rejected[Rejected::Connect.index()];
    assert_eq!(rejected, 1);
}

#[test]
fn a_time_that_is_over_is_told_as_such() {
    let silent = Program::new(|connection| {
        connection.greet(b"")?;
        loop {
            connection.called()?;
        }
    });
    let short = Some(Duration::from_millis(200));
    let limits = |service: &mut ServiceTable, attempt, total| {
        service.delivery.deadline = Some(Deadline { attempt, total });
    };
    let told = |world: &World, reason: &str| {
        speak(world, async |send| {
            let response = called(send).await.await.unwrap();
            let fields = response.headers();
            assert_eq!(value(fields, "x-gapless-error"), Some(reason));
            assert_eq!(value(fields, "grpc-status"), Some("4"), "{reason}");
        });
    };
    let mut world = World::calling(&[&silent]);
    world.set_service(|service| limits(service, short, None));
    told(&world, "deadline_try");
    world.set_service(|service| limits(service, None, short));
    told(&world, "deadline_total");
    world.set_service(|service| {
        service.delivery.deadline = None;
        service.limits.response_timeout = Duration::from_millis(200);
        service.limits.stream_idle = Duration::from_millis(200);
    });
    told(&world, "timeout");
}

/// A call that its client gives a third of a second.
fn hasty() -> Request<()> {
    let mut request = call();
    let timeout = http::HeaderValue::from_static("300m");
    request.headers_mut().insert("grpc-timeout", timeout);
    request
}

#[test]
fn a_time_that_is_over_within_a_response_is_told_between_two_messages_and_nowhere_else() {
    for (first, status) in [
        (MESSAGE, Some("4")),
        (b"", Some("4")),
        (b"\0\0\0\0\x03a", None),
    ] {
        let program = Program::new(move |connection| {
            connection.greet(b"")?;
            let stream = connection.called()?;
            connection.send(head(stream, 0, &[("", "200"), GRPC]))?;
            connection.send(frame(DATA, 0, stream, first))?;
            while connection.next(RST_STREAM)?.stream != stream {}
            connection.report("cancelled");
            Some(())
        });
        let mut world = World::calling(&[&program]);
        world.set_service(|service| {
            let (attempt, total) = (None, None);
            service.delivery.deadline = Some(Deadline { attempt, total });
        });
        speak(&world, async |send| {
            let mut send = send.ready().await.unwrap();
            let (response, mut up) = send.send_request(hasty(), false).unwrap();
            up.send_data(MESSAGE.into(), true).unwrap();
            let mut body = response.await.unwrap().into_body();
            let ended = match status {
                Some(status) => told(body).await == (first.to_vec(), status.to_owned()),
                None => {
                    body.data().await.unwrap().unwrap();
                    body.data().await.unwrap().unwrap_err().is_reset()
                }
            };
            assert!(ended, "{first:?}");
        });
        assert_eq!(program.report(), "cancelled");
        world.expect_outcomes(10, &[(Outcome::Timeout, 1)]);
    }
}

#[test]
fn a_status_of_grpc_counts_as_what_it_says() {
    for (status, outcome) in [
        ("0", Outcome::Status2xx),
        ("5", Outcome::Status4xx),
        ("13", Outcome::Status5xx),
        ("14", Outcome::Status503),
    ] {
        let program = Program::new(move |connection| {
            connection.greet(b"")?;
            let stream = connection.called()?;
            connection.send(head(stream, 0, &[("", "200"), GRPC]))?;
            connection.send(frame(DATA, 0, stream, MESSAGE))?;
            connection.send(head(stream, END_STREAM, &[("grpc-status", status)]))?;
            let stream = connection.called()?;
            let alone = [("", "200"), GRPC, ("grpc-status", status)];
            connection.send(head(stream, END_STREAM, &alone))?;
            connection.called().map(drop)
        });
        let world = World::calling(&[&program]);
        speak(&world, async |send| {
            let (_, body, trailers) = whole(called(send.clone()).await).await.unwrap();
            assert_eq!(body.as_bytes(), MESSAGE);
            assert_eq!(value(&trailers.unwrap(), "grpc-status"), Some(status));
            let response = called(send).await.await.unwrap();
            assert!(response.body().is_end_stream(), "a head alone");
            assert_eq!(value(response.headers(), "grpc-status"), Some(status));
            assert_eq!(value(response.headers(), "content-length"), None);
        });
        world.expect_outcomes(10, &[(outcome, 2)]);
    }
}

/// A program that begins a stream with `first`, another one with `other`, and goes on with
/// `second` on the first when it is told to.
fn streams(
    first: &'static [u8],
    (kind, other): ((&'static str, &'static str), &'static [u8]),
    second: &'static [u8],
) -> (Program, Sender<()>) {
    let (go, gone) = channel();
    let gone = Mutex::new(gone);
    let program = Program::new(move |connection| {
        connection.greet(b"")?;
        let stream = connection.called()?;
        connection.send(head(stream, 0, &[("", "200"), GRPC]))?;
        connection.send(frame(DATA, 0, stream, first))?;
        let next = connection.called()?;
        connection.send(head(next, 0, &[("", "200"), kind]))?;
        connection.send(frame(DATA, 0, next, other))?;
        gone.lock().unwrap().recv().ok()?;
        connection.send(frame(DATA, 0, stream, second))?;
        while connection.next(RST_STREAM)?.stream != stream {}
        connection.report("cancelled");
        Some(())
    });
    (program, go)
}

/// The status that a stream ends with, and what came before.
async fn told(mut body: h2::RecvStream) -> (Vec<u8>, String) {
    let mut read = Vec::new();
    while let Some(data) = body.data().await {
        read.extend_from_slice(&data.unwrap());
    }
    let trailers = body.trailers().await.unwrap().unwrap();
    (read, value(&trailers, "grpc-status").unwrap().to_owned())
}

#[test]
fn a_stream_is_told_before_its_endpoint_is_cut_and_between_two_messages() {
    let (program, go) = streams(b"\0\0\0\0\x02x", (GRPC, MESSAGE), b"y");
    let world = World::calling(&[&program]);
    speak(&world, async |send| {
        let within = called(send.clone()).await.await.unwrap().into_body();
        let between = called(send).await.await.unwrap().into_body();
        world.proxy().part(Cell(10), Drain::all(Duration::ZERO));
        let told_first = told(between).await;
        assert_eq!(told_first, (MESSAGE.to_vec(), "14".to_owned()));
        go.send(()).unwrap();
        let told_then = told(within).await;
        assert_eq!(told_then, (b"\0\0\0\0\x02xy".to_vec(), "14".to_owned()));
    });
    assert_eq!(program.report(), "cancelled");
    world.expect_outcomes(10, &[(Outcome::Cut, 2)]);
}

#[test]
fn a_stream_that_is_cut_within_a_message_is_reset() {
    let (program, _go) = streams(b"\0\0\0\0\x03a", (GRPC, b""), b"");
    let world = World::calling(&[&program]);
    speak(&world, async |send| {
        let mut body = called(send).await.await.unwrap().into_body();
        body.data().await.unwrap().unwrap();
        world.proxy().cut(Cell(10));
        assert!(body.data().await.unwrap().unwrap_err().is_reset());
    });
    world.expect_outcomes(10, &[(Outcome::Cut, 1)]);
}

#[test]
fn a_stream_that_has_had_no_message_yet_is_told_when_it_is_cut() {
    let (program, _go) = streams(b"", (GRPC, b""), b"");
    let world = World::calling(&[&program]);
    speak(&world, async |send| {
        let body = called(send).await.await.unwrap().into_body();
        world.proxy().cut(Cell(10));
        assert_eq!(told(body).await, (Vec::new(), "14".to_owned()));
    });
    world.expect_outcomes(10, &[(Outcome::Cut, 1)]);
}

#[test]
fn a_silent_stream_outlives_what_other_silence_ends() {
    let plain = ("content-type", "text/plain");
    let (program, go) = streams(MESSAGE, (plain, b"half"), MESSAGE);
    let mut world = World::calling(&[&program]);
    world.set_service(|service| service.limits.idle_timeout = Duration::from_millis(200));
    speak(&world, async |send| {
        let mut body = called(send.clone()).await.await.unwrap().into_body();
        assert_eq!(body.data().await.unwrap().unwrap(), MESSAGE);
        // What begins later and is no stream ends first.
        let mut send = send.ready().await.unwrap();
        let (response, _) = send.send_request(get("/"), true).unwrap();
        assert!(whole(response).await.unwrap_err().is_reset());
        go.send(()).unwrap();
        assert_eq!(body.data().await.unwrap().unwrap(), MESSAGE);
    });
    world.expect_outcomes(10, &[(Outcome::Timeout, 1), (Outcome::ClientGone, 1)]);
}
