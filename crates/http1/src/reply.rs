//! Responses that the proxy makes itself, marked as its own.

use crate::ascii;
use crate::exchange::Persist;
use crate::field;
use crate::method::{Method, Version};

const SENTENCE: &str = "text/plain; charset=utf-8";

/// A response that the proxy makes itself.
#[derive(Clone, Copy, Debug)]
pub struct ProxyError<'a> {
    /// The status code.
    pub status: u16,
    /// The fixed word of the `X-Gapless-Error` header and the metrics.
    pub reason: &'a str,
    /// One sentence for a person, without line ends.
    pub message: &'a str,
    /// What is shown instead of the sentence.
    pub page: Option<ErrorPage<'a>>,
    /// For a client of gRPC, which gets its status instead, in a response that is a success to
    /// HTTP and has no body.
    pub grpc: Option<u8>,
    /// Seconds for `Retry-After`.
    pub retry_after_seconds: Option<u32>,
    /// The request's id, if it has one.
    pub request_id: Option<&'a [u8]>,
    /// Where the client is sent instead.
    pub location: Option<&'a [u8]>,
    /// What becomes of the connection.
    pub persist: Persist,
    /// The client's version.
    pub client: Version,
    /// The request's method; HEAD gets no body. `Get` when no request was understood.
    pub method: Method,
}

/// A body that an operator wrote.
#[derive(Clone, Copy, Debug)]
pub struct ErrorPage<'a> {
    /// Its media type; a caller's bug if it cannot be sent.
    pub content_type: &'a str,
    /// Its bytes.
    pub body: &'a [u8],
}

/// Appends the whole response to `out`.
pub fn write_error(error: &ProxyError<'_>, out: &mut Vec<u8>) {
    assert!(
        error.reason.bytes().all(ascii::is_token),
        "a reason is a fixed word"
    );
    assert!(
        error
            .message
            .bytes()
            .all(|byte| byte != b'%' && (byte == b' ' || byte.is_ascii_graphic())),
        "a message says the same with and without an encoding"
    );
    let (status, content_type, body, end) = match (error.grpc, error.page) {
        (Some(_), _) => (200, "application/grpc", &b""[..], &b""[..]),
        (None, Some(page)) => (error.status, page.content_type, page.body, &b""[..]),
        (None, None) => (error.status, SENTENCE, error.message.as_bytes(), &b"\n"[..]),
    };
    out.extend_from_slice(b"HTTP/1.1 ");
    ascii::push_decimal(out, u64::from(status));
    out.push(b' ');
    out.extend_from_slice(phrase(status).as_bytes());
    out.extend_from_slice(b"\r\n");
    field::write(out, b"x-gapless-error", error.reason.as_bytes());
    field::write(out, b"content-type", content_type.as_bytes());
    field::write(out, b"cache-control", b"no-store");
    if let Some(code) = error.grpc {
        write_number(out, b"grpc-status: ", u64::from(code));
        field::write(out, b"grpc-message", error.message.as_bytes());
    }
    if let Some(id) = error.request_id {
        field::write(out, crate::trace::REQUEST_ID.as_bytes(), id);
    }
    if let Some(location) = error.location {
        field::write(out, b"location", location);
    }
    if let Some(seconds) = error.retry_after_seconds {
        write_number(out, b"retry-after: ", u64::from(seconds));
    }
    write_number(out, b"content-length: ", (body.len() + end.len()) as u64);
    match (error.persist, error.client) {
        (Persist::Close, _) => field::write(out, b"connection", b"close"),
        (Persist::KeepAlive, Version::Http10) => field::write(out, b"connection", b"keep-alive"),
        (Persist::KeepAlive, Version::Http11) => {}
    }
    out.extend_from_slice(b"\r\n");
    if error.method != Method::Head {
        out.extend_from_slice(body);
        out.extend_from_slice(end);
    }
}

fn write_number(out: &mut Vec<u8>, name: &[u8], number: u64) {
    out.extend_from_slice(name);
    ascii::push_decimal(out, number);
    out.extend_from_slice(b"\r\n");
}

fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "Error",
    }
}
