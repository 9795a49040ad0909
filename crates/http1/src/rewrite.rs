//! Writes heads anew from their parsed parts.

use crate::ascii;
use crate::exchange::Persist;
use crate::field::{self, FieldKind, Header};
use crate::forwarded::{self, Forwarded, PeerTrust};
use crate::framing::Framing;
use crate::method::{Method, Version};
use crate::request::RequestHead;
use crate::response::ResponseHead;

/// Whether the client's offer to change the protocol is sent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tunnel {
    /// It is not.
    Refused,
    /// It is, if [`RequestHead::upgrade`] has one.
    Offered,
}

/// How a request's head is written for the program.
#[derive(Clone, Copy, Debug)]
pub struct RewriteRequest<'a> {
    /// Where the request came from.
    pub forwarded: Forwarded<'a>,
    /// The host for a request that has none (HTTP/1.0).
    pub default_host: &'a str,
    /// Header fields of ours; each replaces the client's of that name, an empty one takes it
    /// away.
    pub replace: &'a [(&'a str, &'a [u8])],
    /// Whether an offered upgrade is sent on.
    pub tunnel: Tunnel,
    /// Whether the program is asked to close the connection.
    pub persist: Persist,
}

/// How a final response's head is written for the client.
#[derive(Clone, Copy, Debug)]
pub struct RewriteResponse<'a> {
    /// The client's version.
    pub client: Version,
    /// The request's method.
    pub method: Method,
    /// What [`crate::ClientSide::begin_response`] said.
    pub persist: Persist,
    /// Header fields to add.
    pub extra: &'a [(&'a str, &'a [u8])],
    /// Header fields of ours; each replaces the program's of that name.
    pub replace: &'a [(&'a str, &'a [u8])],
}

/// Appends the head of `head`'s request to `out`. The body's framing is `head`'s own.
pub fn write_request(head: &RequestHead, rewrite: &RewriteRequest<'_>, out: &mut Vec<u8>) {
    out.reserve(head.bytes_len() + 256);
    out.extend_from_slice(head.method_name());
    out.push(b' ');
    write_origin(head, out);
    let host = head.host().unwrap_or(rewrite.default_host.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    field::write(out, b"host", host);
    for header in head.fields() {
        if is_sent_up(rewrite, &header) {
            field::write(out, header.name, header.value);
        }
    }
    forwarded::write(head, &rewrite.forwarded, host, out);
    for (name, value) in rewrite
        .replace
        .iter()
        .filter(|(_, value)| !value.is_empty())
    {
        write_own(out, name, value);
    }
    write_framing(head.framing(), out);
    if head.wants_continue() {
        field::write(out, b"expect", b"100-continue");
    }
    match (head.upgrade(), rewrite.tunnel, rewrite.persist) {
        (Some(protocol), Tunnel::Offered, _) => {
            field::write(out, b"connection", b"upgrade");
            field::write(out, b"upgrade", protocol);
        }
        (Some(_) | None, _, Persist::Close) => field::write(out, b"connection", b"close"),
        (Some(_) | None, _, Persist::KeepAlive) => {}
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends the head of a final response to `out`. Returns the body's framing towards the client.
pub fn write_response(
    head: &ResponseHead,
    rewrite: &RewriteResponse<'_>,
    out: &mut Vec<u8>,
) -> Framing {
    out.reserve(head.bytes_len() + 128);
    let framing = head.framing(rewrite.method).towards(rewrite.client);
    write_status_line(head.status(), head.reason(), out);
    write_response_fields(head, rewrite.replace, out);
    for (name, value) in rewrite.extra.iter().chain(rewrite.replace) {
        write_own(out, name, value);
    }
    write_framing(shown_framing(head, rewrite), out);
    match (rewrite.persist, rewrite.client) {
        _ if framing == Framing::UntilClose => field::write(out, b"connection", b"close"),
        (Persist::Close, _) => field::write(out, b"connection", b"close"),
        (Persist::KeepAlive, Version::Http10) => field::write(out, b"connection", b"keep-alive"),
        (Persist::KeepAlive, Version::Http11) => {}
    }
    out.extend_from_slice(b"\r\n");
    framing
}

/// Appends the head of an interim response, or of the 101 that begins a tunnel, to `out`.
pub fn write_interim(head: &ResponseHead, out: &mut Vec<u8>) {
    write_status_line(head.status(), head.reason(), out);
    write_response_fields(head, &[], out);
    if let (101, Some(protocol)) = (head.status(), head.upgrade()) {
        field::write(out, b"connection", b"upgrade");
        field::write(out, b"upgrade", protocol);
    }
    out.extend_from_slice(b"\r\n");
}

/// The target in origin form: an absolute one without scheme and host.
fn write_origin(head: &RequestHead, out: &mut Vec<u8>) {
    let origin = &head.target()[head.origin_begin()..];
    if !matches!(origin.first(), Some(b'/' | b'*')) {
        out.push(b'/');
    }
    out.extend_from_slice(origin);
}

fn is_sent_up(rewrite: &RewriteRequest<'_>, header: &Header<'_>) -> bool {
    match header.kind {
        FieldKind::EndToEnd => !is_named(header, rewrite.replace),
        FieldKind::Cookie => true,
        FieldKind::ForwardedOther => rewrite.forwarded.trust == PeerTrust::Trusted,
        FieldKind::Host
        | FieldKind::ContentLength
        | FieldKind::TransferEncoding
        | FieldKind::Connection
        | FieldKind::Upgrade
        | FieldKind::Expect
        | FieldKind::ForwardedFor
        | FieldKind::Forwarded
        | FieldKind::HopByHop
        | FieldKind::Underscore => false,
    }
}

/// True if a field is one of those that are ours to write.
fn is_named(header: &Header<'_>, ours: &[(&str, &[u8])]) -> bool {
    ours.iter()
        .any(|(name, _)| header.name.eq_ignore_ascii_case(name.as_bytes()))
}

fn write_status_line(status: u16, reason: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    ascii::push_decimal(out, u64::from(status));
    out.push(b' ');
    out.extend_from_slice(reason);
    out.extend_from_slice(b"\r\n");
}

fn write_response_fields(head: &ResponseHead, ours: &[(&str, &[u8])], out: &mut Vec<u8>) {
    for header in head.fields() {
        let sent = match header.kind {
            FieldKind::EndToEnd => !is_named(&header, ours),
            FieldKind::Host
            | FieldKind::Expect
            | FieldKind::Cookie
            | FieldKind::ForwardedFor
            | FieldKind::Forwarded
            | FieldKind::ForwardedOther
            | FieldKind::Underscore => true,
            FieldKind::ContentLength
            | FieldKind::TransferEncoding
            | FieldKind::Connection
            | FieldKind::Upgrade
            | FieldKind::HopByHop => false,
        };
        if sent {
            field::write(out, header.name, header.value);
        }
    }
}

/// The framing that the head shows: the body's, or what the program declared about the body
/// that it did not send: any with HEAD, a length with 304.
fn shown_framing(head: &ResponseHead, rewrite: &RewriteResponse<'_>) -> Framing {
    if head.is_interim() || head.status() == 204 {
        return Framing::None;
    }
    if rewrite.method != Method::Head && head.status() != 304 {
        return head.framing(rewrite.method).towards(rewrite.client);
    }
    match (head.declared(), rewrite.client) {
        (Framing::Length(bytes), _) => Framing::Length(bytes),
        (Framing::Chunked, Version::Http11) if head.status() != 304 => Framing::Chunked,
        (Framing::None | Framing::Chunked | Framing::UntilClose, _) => Framing::None,
    }
}

fn write_framing(framing: Framing, out: &mut Vec<u8>) {
    match framing {
        Framing::None | Framing::UntilClose => {}
        Framing::Length(bytes) => {
            out.extend_from_slice(b"content-length: ");
            ascii::push_decimal(out, bytes);
            out.extend_from_slice(b"\r\n");
        }
        Framing::Chunked => field::write(out, b"transfer-encoding", b"chunked"),
    }
}

/// Writes a field that the proxy itself adds.
fn write_own(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    assert!(
        !name.is_empty()
            && name.bytes().all(ascii::is_token)
            && value.iter().all(|&byte| byte >= b' ' && byte != 0x7f),
        "a header field of our own must not end its line"
    );
    field::write(out, name.as_bytes(), value);
}
