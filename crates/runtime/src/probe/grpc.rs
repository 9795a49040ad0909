//! gRPC's own question: `grpc.health.v1.Health/Check`.

use bytes::Bytes;
use http::Request;

use super::http2::{Answer, exchange};
use super::wire::Asked;
use super::{Failure, excerpt};

/// `SERVING` in a `HealthCheckResponse`.
const SERVING: u8 = 1;
/// Field 1 with a length, as protocol buffers mark it: the service's name in the question.
const NAME_TAG: u8 = 0x0a;
/// Field 1 as a number: the status in the answer.
const STATUS_TAG: u8 = 0x08;
/// What stands before a message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// Asks whether a service is serving.
pub(super) async fn ask(asked: Asked<'_>, service: &str) -> Result<(), Failure> {
    let (scheme, address) = (asked.scheme(), asked.address);
    let request = Request::post(format!("{scheme}://{address}/grpc.health.v1.Health/Check"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .map_err(|error| Failure::because(format!("cannot ask {address}: {error}")))?;
    let answer = exchange(asked, (request, Some(question(service))), |_| true).await?;
    judge(&answer)
}

/// The message with its prefix. A name is at most 120 bytes long, so a length is one byte.
fn question(service: &str) -> Bytes {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.extend_from_slice(&[NAME_TAG, service.len() as u8]);
        message.extend_from_slice(service.as_bytes());
    }
    let mut framed = vec![0, 0, 0, 0, message.len() as u8];
    framed.append(&mut message);
    framed.into()
}

fn judge(answer: &Answer) -> Result<(), Failure> {
    let said = |name| {
        let places = [answer.trailers.as_ref(), Some(&answer.fields)];
        places
            .into_iter()
            .flatten()
            .find_map(|fields| fields.get(name))
    };
    let code = said("grpc-status").and_then(|code| code.to_str().ok()?.parse::<i32>().ok());
    let reason = match (answer.status, code) {
        (200, Some(0)) => match status(&answer.content) {
            SERVING => return Ok(()),
            other => format!("the service is {}", name(other)),
        },
        (200, Some(code)) => format!("grpc-status {code}, expected 0"),
        (status, _) => format!("status {status} without grpc-status, expected an answer of gRPC"),
    };
    let message = said("grpc-message");
    Err(Failure {
        reason,
        status: Some(code.unwrap_or(i32::from(answer.status))),
        excerpt: message.and_then(|message| excerpt(message.as_bytes())),
    })
}

/// The status in a `HealthCheckResponse`: one field, or none for 0.
fn status(content: &[u8]) -> u8 {
    match content.get(PREFIX_BYTES..) {
        Some([STATUS_TAG, status, ..]) => *status,
        Some(_) | None => 0,
    }
}

fn name(status: u8) -> String {
    match status {
        0 => "UNKNOWN".to_owned(),
        2 => "NOT_SERVING".to_owned(),
        3 => "SERVICE_UNKNOWN".to_owned(),
        other => format!("in state {other}"),
    }
}
