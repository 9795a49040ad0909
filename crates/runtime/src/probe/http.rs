//! `GET path`, as a plain client without a connection to reuse.

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper_util::rt::TokioIo;

use model::Weight;

use super::http2::{self, Answer};
use super::wire::Asked;
use super::{EXCERPT_BYTES_MAX, Failure, excerpt};

/// What a probe calls itself.
pub(super) const AGENT: &str = "gapless-probe";
/// A body is searched for the expected text up to here.
pub(super) const BODY_BYTES_MAX: usize = 256 * 1024;

/// What is asked, and what the answer must be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) path: &'a str,
    /// `None`: any from 200 to 399.
    pub(super) status: Option<u16>,
    pub(super) body: Option<&'a str>,
    /// The header that the instance's weight is in.
    pub(super) weight: Option<&'a str>,
}

impl Wanted<'_> {
    fn accepts(&self, status: u16) -> bool {
        match self.status {
            Some(wanted) => status == wanted,
            None => (200..400).contains(&status),
        }
    }

    /// Whether the body says more than the status: one that passes may have no end.
    pub(super) fn needs_body(&self, status: u16) -> bool {
        self.body.is_some() || !self.accepts(status)
    }
}

/// Asks for a path in what the instance speaks. Returns the weight that the answer announces.
pub(super) async fn ask(asked: Asked<'_>, wanted: Wanted<'_>) -> Result<Option<Weight>, Failure> {
    let answer = match asked.protocol.is_http2() {
        false => get(asked, &wanted).await?,
        true => http2::get(asked, &wanted).await?,
    };
    judge((answer.status, &answer.content), wanted)?;
    let announced = wanted.weight.and_then(|name| answer.fields.get(name));
    Ok(announced.and_then(|value| Weight::read(value.as_bytes())))
}

/// An answer with what can be had of its body.
async fn get(asked: Asked<'_>, wanted: &Wanted<'_>) -> Result<Answer, Failure> {
    let address = asked.address;
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        Failure::because(format!("cannot {what} {address}: {error}"))
    };
    let request = Request::get(wanted.path)
        .header(HOST, address.to_string())
        .header(USER_AGENT, AGENT)
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| failed("ask", &error))?;
    let stream = asked.connect().await?;
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
        let response = response.map_err(|error| failed("get an answer from", &error))?;
        let (head, body) = response.into_parts();
        let status = head.status.as_u16();
        let content = match wanted.needs_body(status) {
            true => read(body).await,
            false => Vec::new(),
        };
        Ok(Answer {
            status,
            fields: head.headers,
            content,
            trailers: None,
        })
    };
    tokio::select! {
        found = answering => found,
        () = driving => Err(Failure::because("the connection ended")),
    }
}

fn judge((seen, content): (u16, &[u8]), wanted: Wanted<'_>) -> Result<(), Failure> {
    let expected = wanted.accepts(seen);
    let found = wanted
        .body
        .is_none_or(|text| contains(content, text.as_bytes()));
    if expected && found {
        return Ok(());
    }
    let reason = match (expected, wanted.status) {
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
