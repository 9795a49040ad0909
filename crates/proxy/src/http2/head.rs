//! Heads of HTTP/2 written as those of HTTP/1.1, where what they may hold is checked for all,
//! and the other way round.

use bytes::Bytes;
use h2::ext::Protocol;
use http::header::{CONTENT_LENGTH, COOKIE, HOST};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri};
use http1::{Framing, REQUEST_ID, TRACEPARENT};

use super::inbound::Source;
use super::switch;

/// What follows a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    /// Nothing.
    None,
    /// As many bytes as the head says.
    Raw,
    /// Chunks, and perhaps trailers.
    Chunked,
    /// Nothing before the other side has agreed to speak another protocol; then its bytes.
    Tunnel,
}

/// Writes the head of `request`, whose body `ended` with it or not.
pub(super) fn write<T>(
    request: &Request<T>,
    ended: Ended,
    key: (u64, u64),
    out: &mut Vec<u8>,
) -> Body {
    let protocol = request.extensions().get::<Protocol>();
    let is_websocket = protocol.is_some_and(|protocol| protocol.as_str() == "websocket");
    let body = body(request, ended, is_websocket);
    let method = if is_websocket {
        "GET"
    } else {
        request.method().as_str()
    };
    out.extend_from_slice(method.as_bytes());
    out.push(b' ');
    out.extend_from_slice(target(request, is_websocket).as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    write_hosts(request, out);
    write_fields(request.headers(), out);
    match body {
        Body::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        Body::Tunnel => {
            out.extend_from_slice(b"connection: upgrade\r\nupgrade: websocket\r\n");
            field(out, "sec-websocket-key", &switch::key(key));
        }
        Body::None | Body::Raw => {}
    }
    out.extend_from_slice(b"\r\n");
    body
}

/// Whether a message ended with its head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    Yes,
    No,
}

fn body<T>(request: &Request<T>, ended: Ended, is_websocket: bool) -> Body {
    match ended {
        _ if is_websocket => Body::Tunnel,
        Ended::Yes => Body::None,
        Ended::No if request.headers().contains_key(CONTENT_LENGTH) => Body::Raw,
        Ended::No => Body::Chunked,
    }
}

fn target<T>(request: &Request<T>, is_websocket: bool) -> &str {
    let uri = request.uri();
    if request.method() == Method::CONNECT && !is_websocket {
        return uri.authority().map_or("/", |authority| authority.as_str());
    }
    uri.path_and_query().map_or("/", |path| path.as_str())
}

/// The authority is the host. A `Host` beside it must be the same: a second line is refused.
fn write_hosts<T>(request: &Request<T>, out: &mut Vec<u8>) {
    let authority = request
        .uri()
        .authority()
        .map(|authority| authority.as_str().as_bytes());
    if let Some(authority) = authority {
        field(out, "host", authority);
    }
    let hosts = request.headers().get_all(HOST).iter();
    for host in hosts.map(HeaderValue::as_bytes) {
        if authority.is_none_or(|authority| !authority.eq_ignore_ascii_case(host)) {
            field(out, "host", host);
        }
    }
}

/// Cookies may come one by one and go on as one.
fn write_fields(fields: &HeaderMap, out: &mut Vec<u8>) {
    for (name, value) in fields {
        if *name != HOST && *name != COOKIE {
            field(out, name.as_str(), value.as_bytes());
        }
    }
    let mut cookies = fields.get_all(COOKIE).iter().peekable();
    if cookies.peek().is_none() {
        return;
    }
    out.extend_from_slice(b"cookie: ");
    while let Some(cookie) = cookies.next() {
        out.extend_from_slice(cookie.as_bytes());
        if cookies.peek().is_some() {
            out.extend_from_slice(b"; ");
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends a trailer section and its end.
pub(super) fn write_trailers(trailers: Option<&HeaderMap>, out: &mut Vec<u8>) {
    for (name, value) in trailers.into_iter().flatten() {
        field(out, name.as_str(), value.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

pub(super) fn field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// True if a field has another value in each message: kept for the next one as others are, it
/// would only push these out, and make what is kept longer to search.
pub(super) fn is_never_repeated(name: &HeaderName) -> bool {
    [REQUEST_ID, TRACEPARENT].contains(&name.as_str())
}

/// The fields of a trailer section of HTTP/1.1, which ends with an empty line.
pub(super) fn read_trailers(section: &[u8]) -> Option<HeaderMap> {
    let mut trailers = HeaderMap::new();
    for line in section.split(|&byte| byte == b'\n') {
        let line = line.trim_ascii();
        let Some(colon) = line.iter().position(|&byte| byte == b':') else {
            continue;
        };
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        let value = Bytes::copy_from_slice(line[colon + 1..].trim_ascii());
        trailers.append(name, HeaderValue::from_maybe_shared(value).ok()?);
    }
    (!trailers.is_empty()).then_some(trailers)
}

/// What the head of a request says.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) request: Request<()>,
    pub(super) framing: Framing,
    pub(super) offers_websocket: bool,
}

/// Reads the head of a request that we wrote ourselves: its parts were checked before.
///
/// `None` if HTTP/2 has no way to say it.
pub(super) fn read_request(head: &[u8], scheme: &str) -> Option<Read> {
    let mut lines = head
        .split(|&byte| byte == b'\n')
        .map(<[u8]>::trim_ascii_end)
        .filter(|line| !line.is_empty());
    let mut words = lines.next()?.split(|&byte| byte == b' ');
    let (method, target) = (words.next()?, words.next()?);
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(method).ok()?;
    let mut framing = Framing::None;
    let mut offers_websocket = false;
    let mut authority = None;
    for line in lines {
        let colon = line.iter().position(|&byte| byte == b':')?;
        let value = line[colon + 1..].trim_ascii();
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        match name.as_str() {
            "host" => authority = Some(value),
            "connection" => {}
            "upgrade" => offers_websocket = value.eq_ignore_ascii_case(b"websocket"),
            "transfer-encoding" => framing = Framing::Chunked,
            name_text => {
                if name_text == "content-length" {
                    framing = Framing::Length(std::str::from_utf8(value).ok()?.parse().ok()?);
                }
                let mut value = HeaderValue::from_bytes(value).ok()?;
                value.set_sensitive(is_never_repeated(&name));
                request.headers_mut().append(name, value);
            }
        }
    }
    // We pass them on to whoever can take them, and leave them out for the others.
    let headers = request.headers_mut();
    headers.insert(http::header::TE, HeaderValue::from_static("trailers"));
    let uri = Uri::builder()
        .scheme(scheme)
        .authority(authority?)
        .path_and_query(PathAndQuery::try_from(target).ok()?);
    *request.uri_mut() = uri.build().ok()?;
    Some(Read {
        request,
        framing,
        offers_websocket,
    })
}

/// Writes the head of a 1xx response.
pub(super) fn write_interim(interim: &Response<()>, out: &mut Vec<u8>) {
    write_status(interim, out);
    write_all(interim.headers(), out);
    out.extend_from_slice(b"\r\n");
}

/// Writes the head of a response to a request with `method`, whose body `ended` with it or
/// not. Returns what follows.
pub(super) fn write_response<T>(
    response: &Response<T>,
    (ended, method): (Ended, http1::Method),
    out: &mut Vec<u8>,
) -> Source {
    write_status(response, out);
    write_all(response.headers(), out);
    let never_has_body = method == http1::Method::Head
        || matches!(response.status().as_u16(), 204 | 304)
        || response.status().is_informational();
    let is_measured = response.headers().contains_key(CONTENT_LENGTH);
    let source = match (never_has_body, ended, is_measured) {
        (true, _, _) => Source::Over,
        (false, Ended::Yes, true) => Source::Over,
        (false, Ended::Yes, false) => {
            field(out, "content-length", b"0");
            Source::Over
        }
        (false, Ended::No, true) => Source::Raw,
        (false, Ended::No, false) => {
            field(out, "transfer-encoding", b"chunked");
            Source::Chunked
        }
    };
    out.extend_from_slice(b"\r\n");
    source
}

fn write_status<T>(response: &Response<T>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(response.status().as_str().as_bytes());
    out.extend_from_slice(b" ");
    out.extend_from_slice(
        response
            .status()
            .canonical_reason()
            .unwrap_or("")
            .as_bytes(),
    );
    out.extend_from_slice(b"\r\n");
}

pub(super) fn write_all(fields: &HeaderMap, out: &mut Vec<u8>) {
    for (name, value) in fields {
        field(out, name.as_str(), value.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_in_each_message_is_not_kept_for_the_next() {
        let head =
            b"GET / HTTP/1.1\r\nhost: h\r\nx-request-id: 1\r\ntraceparent: 2\r\naccept: 3\r\n\r\n";
        let read = read_request(head, "http").unwrap();
        let fields = ["x-request-id", "traceparent", "accept"];
        let kept = fields.map(|name| !read.request.headers()[name].is_sensitive());
        assert_eq!(kept, [false, false, true]);
    }
}
