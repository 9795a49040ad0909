//! Where a request came from: what trusted peers say of it, and what we say onwards.

use std::net::IpAddr;

use crate::ascii;
use crate::field::{self, FieldKind};
use crate::request::RequestHead;

/// The most hops that are followed back towards the client.
const HOPS_MAX: usize = 16;

/// Whether the client's own words about where a request came from are believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerTrust {
    /// The peer is anyone: its X-Forwarded-*, Forwarded and X-Real-IP are replaced.
    Untrusted,
    /// The peer is a proxy of ours: X-Forwarded-For and Forwarded grow, the others stay.
    Trusted,
}

/// Where a request came from.
#[derive(Clone, Copy, Debug)]
pub struct Forwarded<'a> {
    /// The peer's address in text, without its port.
    pub peer: &'a str,
    /// The client's, as [`origin`] found it: the peer's own unless the peer is trusted.
    pub client: &'a str,
    /// `http` or `https`.
    pub proto: &'a str,
    /// Whether what the peer said is believed.
    pub trust: PeerTrust,
}

/// The address of the client that a request of `peer` came from.
///
/// A trusted peer's X-Forwarded-For is followed from its end to the first address that is not
/// trusted; Forwarded only where there is no X-Forwarded-For. What cannot be read ends the
/// search at the last address that was, and so do 16 hops.
#[must_use]
pub fn origin(head: &RequestHead, peer: IpAddr, trusts: impl Fn(IpAddr) -> bool) -> IpAddr {
    if !trusts(peer) {
        return peer;
    }
    let of_kind = |kind| head.fields().of_kind(kind);
    let mut hops: Vec<&[u8]> = of_kind(FieldKind::ForwardedFor)
        .flat_map(ascii::elements)
        .collect();
    if hops.is_empty() {
        let elements = of_kind(FieldKind::Forwarded).flat_map(|line| unquoted(line, b','));
        hops = elements.map(forwarded_for).collect();
    }
    let mut known = peer;
    for hop in hops.into_iter().rev().take(HOPS_MAX) {
        let Some(address) = address(hop) else { break };
        known = address;
        if !trusts(address) {
            break;
        }
    }
    known
}

/// The node that sent a request to a proxy, by an element of `Forwarded`; empty if it is not
/// said.
fn forwarded_for(element: &[u8]) -> &[u8] {
    let node = unquoted(element, b';').find_map(|pair| {
        let (name, value) = pair.split_at_checked(4)?;
        name.eq_ignore_ascii_case(b"for=").then_some(value)
    });
    match node.unwrap_or_default() {
        [b'"', inner @ .., b'"'] => inner,
        plain => plain,
    }
}

/// The trimmed parts of a list that are separated outside of quotes.
fn unquoted(list: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut is_quoted = false;
    let parts = list.split(move |&byte| {
        is_quoted ^= byte == b'"';
        byte == separator && !is_quoted
    });
    parts.map(ascii::trim)
}

/// An address, with or without its port.
fn address(node: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(node).ok()?;
    let host = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.0,
        None if text.bytes().filter(|&byte| byte == b':').count() == 1 => text.split_once(':')?.0,
        None => text,
    };
    host.parse::<IpAddr>()
        .ok()
        .map(|address| address.to_canonical())
}

/// Appends everything that tells the program where the request came from.
pub(crate) fn write(head: &RequestHead, from: &Forwarded<'_>, host: &[u8], out: &mut Vec<u8>) {
    let ours: [(&str, &[u8]); 3] = [
        ("x-real-ip", from.client.as_bytes()),
        ("x-forwarded-proto", from.proto.as_bytes()),
        ("x-forwarded-host", host),
    ];
    out.extend_from_slice(b"x-forwarded-for: ");
    write_chain(head, (FieldKind::ForwardedFor, from), out, |out, node| {
        out.extend_from_slice(node.as_bytes());
    });
    out.extend_from_slice(b"\r\n");
    for (name, value) in ours {
        let is_there = || head.fields().first(name).is_some();
        if from.trust == PeerTrust::Untrusted || !is_there() {
            field::write(out, name.as_bytes(), value);
        }
    }
    out.extend_from_slice(b"forwarded: ");
    write_chain(head, (FieldKind::Forwarded, from), out, |out, node| {
        out.extend_from_slice(b"for=");
        write_node(out, node);
    });
    out.extend_from_slice(b";proto=");
    out.extend_from_slice(from.proto.as_bytes());
    out.extend_from_slice(b";host=");
    write_quoted(out, host);
    out.extend_from_slice(b"\r\n");
}

/// Appends what a trusted peer said, or else the client that it spoke for, and the peer itself.
fn write_chain(
    head: &RequestHead,
    (kind, from): (FieldKind, &Forwarded<'_>),
    out: &mut Vec<u8>,
    write_hop: impl Fn(&mut Vec<u8>, &str),
) {
    if from.trust == PeerTrust::Trusted {
        let mut is_said = false;
        for line in head.fields().of_kind(kind).filter(|line| !line.is_empty()) {
            is_said = true;
            out.extend_from_slice(line);
            out.extend_from_slice(b", ");
        }
        if !is_said && from.client != from.peer {
            write_hop(out, from.client);
            out.extend_from_slice(b", ");
        }
    }
    write_hop(out, from.peer);
}

fn write_node(out: &mut Vec<u8>, node: &str) {
    if node.contains(':') {
        out.extend_from_slice(b"\"[");
        out.extend_from_slice(node.as_bytes());
        out.extend_from_slice(b"]\"");
    } else {
        out.extend_from_slice(node.as_bytes());
    }
}

/// A host as a token where it is one, else in quotes; it has neither quotes nor backslashes.
fn write_quoted(out: &mut Vec<u8>, host: &[u8]) {
    if !host.is_empty() && host.iter().all(|&byte| ascii::is_token(byte)) {
        out.extend_from_slice(host);
        return;
    }
    out.push(b'"');
    let safe = host.iter().filter(|byte| !matches!(byte, b'"' | b'\\'));
    out.extend(safe);
    out.push(b'"');
}
