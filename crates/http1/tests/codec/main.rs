//! The codec's behaviour: tables, properties, and hyper as the judge.

#[path = "../support/mod.rs"]
mod support;

mod bodies;
mod exchanges;
mod forwarding;
mod hyper_client;
mod hyper_server;
mod introductions;
mod properties;
mod replies;
mod requests;
mod responses;
mod rewriting;
mod smuggling;

use std::time::Duration;

use http1::{Refusal, RequestHead, ResponseHead};

/// Reads a whole request's head.
fn request(text: &str) -> RequestHead {
    try_request(text.as_bytes()).expect("an acceptable request")
}

fn try_request(bytes: &[u8]) -> Result<RequestHead, Refusal> {
    let mut head = RequestHead::default();
    let taken = head.read(bytes)?;
    assert!(taken.is_some(), "the head has no end");
    Ok(head)
}

/// Reads a whole response's head.
fn response(text: &str) -> ResponseHead {
    try_response(text.as_bytes()).expect("an acceptable response")
}

fn try_response(bytes: &[u8]) -> Result<ResponseHead, Refusal> {
    let mut head = ResponseHead::default();
    let taken = head.read(bytes)?;
    assert!(taken.is_some(), "the head has no end");
    Ok(head)
}

/// Runs `talk` between two ends in memory. Time is virtual: when both ends wait for bytes that
/// never come, it passes at once and the test fails instead of hanging.
fn finishes<T>(talk: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let limit = Duration::from_secs(60);
    let talked = runtime.block_on(async { tokio::time::timeout(limit, talk).await });
    talked.expect("both ends wait for bytes that never come")
}
