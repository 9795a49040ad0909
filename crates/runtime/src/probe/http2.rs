//! One request over HTTP/2, on a connection of its own.

use bytes::Bytes;
use h2::client::{self, SendRequest};
use http::{HeaderMap, Request};

use super::Failure;
use super::http::{AGENT, BODY_BYTES_MAX, Wanted};
use super::wire::Asked;

/// An answer, its body up to a bound.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) fields: HeaderMap,
    pub(super) content: Vec<u8>,
    /// `None` where there are none, and where the body is longer than its bound.
    pub(super) trailers: Option<HeaderMap>,
}

/// Asks for a path, and for what can be had of the body, if that is needed.
pub(super) async fn get(asked: Asked<'_>, wanted: &Wanted<'_>) -> Result<Answer, Failure> {
    let (scheme, address) = (asked.scheme(), asked.address);
    let request = Request::get(format!("{scheme}://{address}{}", wanted.path));
    let request = request
        .body(())
        .map_err(|error| Failure::because(format!("cannot ask {address}: {error}")))?;
    let needs_body = |status| wanted.needs_body(status);
    exchange(asked, (request, None), needs_body).await
}

/// Sends a request with its body and reads the answer, its body where `needs_body` says so of
/// the status.
pub(super) async fn exchange(
    asked: Asked<'_>,
    (mut request, body): (Request<()>, Option<Bytes>),
    needs_body: impl Fn(u16) -> bool,
) -> Result<Answer, Failure> {
    let address = asked.address;
    let stream = asked.connect().await?;
    let broken = |error: h2::Error| {
        Failure::because(format!(
            "cannot get an answer over HTTP/2 from {address}: {error}"
        ))
    };
    let agent = http::HeaderValue::from_static(AGENT);
    request
        .headers_mut()
        .insert(http::header::USER_AGENT, agent);
    let (send, connection) = client::handshake(stream).await.map_err(broken)?;
    // The connection works while the answer is awaited, and ends with it.
    let driving = async {
        let _seen_by_the_request = connection.await;
        std::future::pending().await
    };
    tokio::select! {
        answer = answer(send, (request, body), needs_body) => answer.map_err(broken),
        () = driving => Err(Failure::because("the connection ended")),
    }
}

async fn answer(
    send: SendRequest<Bytes>,
    (request, body): (Request<()>, Option<Bytes>),
    needs_body: impl Fn(u16) -> bool,
) -> Result<Answer, h2::Error> {
    let mut send = send.ready().await?;
    let (response, mut up) = send.send_request(request, body.is_none())?;
    if let Some(body) = body {
        up.send_data(body, true)?;
    }
    let (head, mut body) = response.await?.into_parts();
    let mut answer = Answer {
        status: head.status.as_u16(),
        fields: head.headers,
        content: Vec::new(),
        trailers: None,
    };
    if !needs_body(answer.status) {
        return Ok(answer);
    }
    while answer.content.len() < BODY_BYTES_MAX {
        let Some(data) = body.data().await else {
            answer.trailers = body.trailers().await?;
            break;
        };
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        answer.content.extend_from_slice(&data);
    }
    Ok(answer)
}
