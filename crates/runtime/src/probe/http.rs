//! `GET path`, as a plain client without a connection to reuse.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::{EXCERPT_BYTES_MAX, Failure, excerpt};

/// A body is searched for the expected text up to here.
const BODY_BYTES_MAX: usize = 256 * 1024;

pub(super) async fn ask(
    address: SocketAddr,
    path: &str,
    status: Option<u16>,
    body: Option<&str>,
) -> Result<(), Failure> {
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        Failure::because(format!("cannot {what} {address}: {error}"))
    };
    let request = Request::get(path)
        .header(HOST, address.to_string())
        .header(USER_AGENT, "gapless-probe")
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| failed("ask", &error))?;
    let stream = TcpStream::connect(address)
        .await
        .map_err(|error| failed("connect to", &error))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| failed("talk to", &error))?;
    // The connection works while the answer is awaited, and ends with it.
    let driving = async {
        let _seen_by_the_request = connection.await;
        std::future::pending().await
    };
    let answering = async {
        let response = sender.send_request(request).await;
        judge(
            response.map_err(|error| failed("get an answer from", &error))?,
            status,
            body,
        )
        .await
    };
    tokio::select! {
        found = answering => found,
        () = driving => Err(Failure::because("the connection ended")),
    }
}

async fn judge(
    response: Response<Incoming>,
    status: Option<u16>,
    body: Option<&str>,
) -> Result<(), Failure> {
    let seen = response.status().as_u16();
    let expected = match status {
        Some(status) => seen == status,
        None => (200..400).contains(&seen),
    };
    if expected && body.is_none() {
        return Ok(());
    }
    let content = read(response.into_body()).await;
    let found = body.is_none_or(|text| contains(&content, text.as_bytes()));
    if expected && found {
        return Ok(());
    }
    let reason = match (expected, status) {
        (false, Some(status)) => format!("status {seen}, expected {status}"),
        (false, None) => format!("status {seen}, expected 200 to 399"),
        (true, _) => format!("status {seen}, but the body lacks the expected text"),
    };
    let shown = &content[..content.len().min(EXCERPT_BYTES_MAX)];
    Err(Failure {
        reason,
        status: Some(i32::from(seen)),
        excerpt: excerpt(shown),
    })
}

/// What can be had of a body, bounded.
async fn read(mut body: Incoming) -> Vec<u8> {
    let mut content = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        content.extend(frame.data_ref().into_iter().flatten());
        if content.len() >= BODY_BYTES_MAX {
            break;
        }
    }
    content
}

fn contains(content: &[u8], text: &[u8]) -> bool {
    text.is_empty() || content.windows(text.len()).any(|window| window == text)
}
