//! How a WebSocket begins: by a change of the protocol in HTTP/1.1, by a CONNECT of its own kind
//! in HTTP/2 (RFC 8441). Only the first one has a key, and an answer to it.

use h2::ext::Protocol;
use http::header::{CONTENT_LENGTH, SEC_WEBSOCKET_KEY};
use http::{HeaderValue, Method, Request, Response};
use sha1::{Digest as _, Sha1};

use super::head::{field, write_all};

const WEBSOCKET: &str = "websocket";
/// What a server adds to a key before it answers with their digest (RFC 6455).
const ADDED: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Makes a request that offers a WebSocket one of HTTP/2. Returns its key; `None`, and the
/// request is as it was, if it has none.
pub(super) fn connect(request: &mut Request<()>) -> Option<HeaderValue> {
    let key = request.headers_mut().remove(SEC_WEBSOCKET_KEY)?;
    *request.method_mut() = Method::CONNECT;
    let protocol = Protocol::from_static(WEBSOCKET);
    request.extensions_mut().insert(protocol);
    Some(key)
}

/// Writes the head that says in HTTP/1.1 that a WebSocket begins, to the one who sent `key`.
pub(super) fn write<T>(response: &Response<T>, key: &HeaderValue, out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\n");
    let mut fields = response.headers().clone();
    fields.remove(CONTENT_LENGTH);
    write_all(&fields, out);
    field(out, "connection", b"upgrade");
    field(out, "upgrade", WEBSOCKET.as_bytes());
    field(out, "sec-websocket-accept", &accept(key.as_bytes()));
    out.extend_from_slice(b"\r\n");
}

fn accept(key: &[u8]) -> Vec<u8> {
    base64(&Sha1::digest([key, ADDED].concat()))
}

/// A key of 16 bytes, which a WebSocket over HTTP/2 does without and a program asks for.
pub(super) fn key((high, low): (u64, u64)) -> Vec<u8> {
    base64(&(u128::from(high) << 64 | u128::from(low)).to_be_bytes())
}

fn base64(bytes: &[u8]) -> Vec<u8> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |three: &[u8]| {
        let mut whole = [0; 4];
        whole[1..=three.len()].copy_from_slice(three);
        let bits = u32::from_be_bytes(whole);
        let used = three.len() + 1;
        [18, 12, 6, 0]
            .map(move |shift| ALPHABET[(bits >> shift) as usize & 63])
            .into_iter()
            .enumerate()
            .map(move |(at, letter)| if at < used { letter } else { b'=' })
    };
    bytes.chunks(3).flat_map(group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_answered_as_its_authors_say() {
        let answer = accept(b"dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(answer, b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn keys_are_16_bytes_in_base64() {
        assert_eq!(key((0, 0)), b"AAAAAAAAAAAAAAAAAAAAAA==");
        assert_eq!(key((u64::MAX, u64::MAX)), b"/////////////////////w==");
        assert_eq!(base64(b"Man"), b"TWFu");
        assert_eq!(base64(b"Ma"), b"TWE=");
    }
}
