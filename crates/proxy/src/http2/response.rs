//! The head of a response that was written for HTTP/1.1, as HTTP/2 says it.

use http::header::{CONNECTION, CONTENT_LENGTH, SEC_WEBSOCKET_ACCEPT, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http1::{Framing, Method, REQUEST_ID};

use super::head::is_never_repeated;

/// What a head says.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) response: Response<()>,
    pub(super) framing: Framing,
    /// How many bytes the head took.
    pub(super) bytes: usize,
}

/// Why a head cannot be said in HTTP/2.
#[derive(Debug, thiserror::Error)]
#[error("HTTP/2 has no way to say this head")]
pub(super) struct Unsayable;

/// Reads the first head in `bytes`, which we wrote ourselves: its parts were checked before.
/// `None`: its end is not there yet.
///
/// # Errors
///
/// [`Unsayable`] if it is no head that we write.
pub(super) fn read(bytes: &[u8], method: Method) -> Result<Option<Said>, Unsayable> {
    let mut response = Response::new(());
    let mut framing = Framing::UntilClose;
    let mut rest = bytes;
    loop {
        let Some(end) = rest.iter().position(|&byte| byte == b'\n') else {
            return Ok(None);
        };
        let line = rest[..end].trim_ascii_end();
        let is_first = rest.len() == bytes.len();
        rest = &rest[end + 1..];
        if is_first {
            // After the version and a space.
            let code = line.get(9..12).ok_or(Unsayable)?;
            *response.status_mut() = StatusCode::from_bytes(code).map_err(|_| Unsayable)?;
        } else if line.is_empty() {
            break;
        } else {
            framing = add(&mut response, line, framing).ok_or(Unsayable)?;
        }
    }
    let status = response.status();
    if method == Method::Head || status.is_informational() || matches!(status.as_u16(), 204 | 304) {
        framing = Framing::None;
    }
    let headers = response.headers_mut();
    if status.is_informational() {
        headers.remove(CONTENT_LENGTH);
        headers.remove(SEC_WEBSOCKET_ACCEPT);
    }
    // An answer of gRPC without messages is a head alone.
    if headers.contains_key("grpc-status") {
        headers.remove(CONTENT_LENGTH);
    }
    Ok(Some(Said {
        response,
        framing,
        bytes: bytes.len() - rest.len(),
    }))
}

/// Adds what a line says, unless it is about a connection of HTTP/1.1. Returns the framing.
fn add(response: &mut Response<()>, line: &[u8], framing: Framing) -> Option<Framing> {
    let colon = line.iter().position(|&byte| byte == b':')?;
    let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
    let name = match name {
        own if own == REQUEST_ID.as_bytes() => HeaderName::from_static(REQUEST_ID),
        name => HeaderName::from_bytes(name).ok()?,
    };
    if name == CONNECTION || name == UPGRADE {
        return Some(framing);
    }
    if name == TRANSFER_ENCODING {
        return Some(Framing::Chunked);
    }
    let framing = match name == CONTENT_LENGTH {
        true => Framing::Length(std::str::from_utf8(value).ok()?.parse().ok()?),
        false => framing,
    };
    let mut value = HeaderValue::from_bytes(value).ok()?;
    value.set_sensitive(is_never_repeated(&name));
    response.headers_mut().append(name, value);
    Some(framing)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(head: &str, method: Method) -> (u16, Vec<String>, Framing) {
        let said = read(head.as_bytes(), method).unwrap().unwrap();
        assert_eq!(said.bytes, head.len());
        let fields = said.response.headers().iter();
        let fields = fields.map(|(name, value)| format!("{name}={}", value.to_str().unwrap()));
        (
            said.response.status().as_u16(),
            fields.collect(),
            said.framing,
        )
    }

    #[test]
    fn a_head_is_said_without_what_belongs_to_its_connection() {
        let cases = [
            (
                "200 OK\r\nX-A: b\r\nx-a:  c \r\ncontent-length: 3\r\nconnection: close\r\n",
                (200, vec!["x-a=b", "x-a=c", "content-length=3"]),
                Framing::Length(3),
            ),
            (
                "404 \r\ntransfer-encoding: chunked\r\n",
                (404, vec![]),
                Framing::Chunked,
            ),
            ("200 OK\r\n", (200, vec![]), Framing::UntilClose),
            ("204 No\r\n", (204, vec![]), Framing::None),
            (
                "304 No\r\ncontent-length: 9\r\n",
                (304, vec!["content-length=9"]),
                Framing::None,
            ),
            (
                "200 OK\r\ncontent-length: 0\r\ngrpc-status: 5\r\n",
                (200, vec!["grpc-status=5"]),
                Framing::Length(0),
            ),
            (
                "101 Go\r\nupgrade: x\r\nsec-websocket-accept: y\r\nconnection: upgrade\r\n",
                (101, vec![]),
                Framing::None,
            ),
        ];
        for (head, (status, fields), framing) in cases {
            let head = format!("HTTP/1.1 {head}\r\n");
            let fields = fields.into_iter().map(str::to_owned).collect();
            assert_eq!(
                said(&head, Method::Get),
                (status, fields, framing),
                "{head}"
            );
            assert_eq!(said(&head, Method::Head).2, Framing::None, "{head}");
        }
    }

    #[test]
    fn a_head_is_read_once_all_of_it_is_there_and_nothing_else_is() {
        let head = b"HTTP/1.1 200 OK\r\nx-request-id: 7\r\ndate: d\r\n\r\n";
        for count in 0..head.len() {
            assert!(read(&head[..count], Method::Get).unwrap().is_none());
        }
        let more = [head.as_slice(), b"body\n\n"].concat();
        let said = read(&more, Method::Get).unwrap().unwrap();
        assert_eq!(said.bytes, head.len());
        let kept =
            ["x-request-id", "date"].map(|name| !said.response.headers()[name].is_sensitive());
        assert_eq!(kept, [false, true]);
        for wrong in [
            "\r\n\r\n",
            "HTTP/1.1 20\r\n\r\n",
            "HTTP/1.1 200 OK\r\nx\r\n\r\n",
        ] {
            assert!(read(wrong.as_bytes(), Method::Get).is_err(), "{wrong:?}");
        }
    }
}
