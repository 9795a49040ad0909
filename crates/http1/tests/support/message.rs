//! Seeded messages: valid ones with what they mean, and broken ones made from them.

use super::seed::Seed;

/// How a generated body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    Absent,
    Length,
    Chunked,
    UntilClose,
}

/// A valid message and what it means.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    /// The whole message on the wire.
    pub(crate) bytes: Vec<u8>,
    /// Where the body begins.
    pub(crate) head_bytes: usize,
    pub(crate) method: &'static str,
    pub(crate) target: String,
    pub(crate) status: u16,
    pub(crate) body: Body,
    /// End-to-end fields, names in lower case.
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) payload: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
}

/// A valid HTTP/1.1 request.
pub(crate) fn request(seed: &mut Seed) -> Message {
    let method = seed.pick(&["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "REPORT"]);
    let target = target(seed);
    let body = seed.pick(&[Body::Absent, Body::Length, Body::Chunked]);
    let mut bytes = format!("{method} {target} HTTP/1.1\r\n").into_bytes();
    line(&mut bytes, seed, "host", "shop.example.com:8080");
    if seed.one_in(3) {
        line(&mut bytes, seed, "connection", "x-private");
        line(&mut bytes, seed, "x-private", "for the next hop alone");
    }
    let mut message = message(seed, bytes, body);
    message.method = method;
    message.target = target;
    message
}

/// A valid response to GET.
pub(crate) fn response(seed: &mut Seed) -> Message {
    let body = seed.pick(&[Body::Length, Body::Chunked, Body::UntilClose, Body::Absent]);
    let status = match body {
        Body::Absent => seed.pick(&[204, 304]),
        Body::Length | Body::Chunked | Body::UntilClose => {
            seed.pick(&[200, 201, 404, 418, 500, 503])
        }
    };
    let reason = seed.pick(&["", "OK", "Some Long Reason"]);
    let mut bytes = format!("HTTP/1.1 {status} {reason}\r\n").into_bytes();
    if seed.one_in(3) {
        line(&mut bytes, seed, "keep-alive", "timeout=5");
    }
    let mut message = message(seed, bytes, body);
    message.status = status;
    message
}

fn message(seed: &mut Seed, mut bytes: Vec<u8>, body: Body) -> Message {
    let fields: Vec<_> = (0..seed.below(8))
        .map(|at| (format!("x-field-{at}"), value(seed)))
        .collect();
    for (name, value) in &fields {
        line(&mut bytes, seed, name, value);
    }
    let payload = match body {
        Body::Absent => Vec::new(),
        Body::Length | Body::Chunked | Body::UntilClose => payload(seed),
    };
    let mut trailers = Vec::new();
    let mut wire = Vec::new();
    match body {
        Body::Absent => {}
        Body::Length => {
            line(
                &mut bytes,
                seed,
                "content-length",
                &payload.len().to_string(),
            );
            wire.extend_from_slice(&payload);
        }
        Body::UntilClose => wire.extend_from_slice(&payload),
        Body::Chunked => {
            line(&mut bytes, seed, "transfer-encoding", "chunked");
            trailers = (0..seed.pick(&[0, 0, 1, 3]))
                .map(|at| (format!("x-trailer-{at}"), value(seed)))
                .collect();
            chunks(seed, &payload, &trailers, &mut wire);
        }
    }
    bytes.extend_from_slice(b"\r\n");
    let head_bytes = bytes.len();
    bytes.extend_from_slice(&wire);
    Message {
        bytes,
        head_bytes,
        method: "GET",
        target: String::new(),
        status: 0,
        body,
        fields,
        payload,
        trailers,
    }
}

fn line(bytes: &mut Vec<u8>, seed: &mut Seed, name: &str, value: &str) {
    let name = match seed.below(3) {
        0 => name.to_owned(),
        1 => name.to_ascii_uppercase(),
        _ => name.split('-').map(capital).collect::<Vec<_>>().join("-"),
    };
    let before = seed.pick(&["", " ", " ", "\t", "  "]);
    let after = seed.pick(&["", "", " ", "\t "]);
    bytes.extend_from_slice(format!("{name}:{before}{value}{after}\r\n").as_bytes());
}

fn capital(word: &str) -> String {
    let (first, rest) = word.split_at(1);
    first.to_ascii_uppercase() + rest
}

fn target(seed: &mut Seed) -> String {
    let mut target = String::new();
    for _ in 0..=seed.below(3) {
        target.push('/');
        target.push_str(seed.pick(&["", "a", "api", "v1.2", "%20x", "a~b;c=d"]));
    }
    if seed.one_in(2) {
        target.push('?');
        target.push_str(seed.pick(&["", "q=1", "a=b&c=%7C", "x=/y?z"]));
    }
    target
}

fn value(seed: &mut Seed) -> String {
    let words = [
        "",
        "a",
        "text/html; q=0.9, */*",
        "\"quoted, text\"",
        "x\ty",
        "a=b; c=d",
        "chunked",
        "close",
    ];
    seed.pick(&words).to_owned()
}

fn payload(seed: &mut Seed) -> Vec<u8> {
    let bytes = seed.pick(&[0, 1, 2, 15, 16, 17, 300, 5000]);
    (0..bytes).map(|_| seed.pick(b"\r\n0a;: \0\xff")).collect()
}

fn chunks(seed: &mut Seed, mut payload: &[u8], trailers: &[(String, String)], wire: &mut Vec<u8>) {
    while !payload.is_empty() {
        let (chunk, rest) = payload.split_at(1 + seed.below(payload.len().min(600)));
        payload = rest;
        size_line(seed, chunk.len(), wire);
        wire.extend_from_slice(chunk);
        wire.extend_from_slice(b"\r\n");
    }
    size_line(seed, 0, wire);
    for (name, value) in trailers {
        line(wire, seed, name, value);
    }
    wire.extend_from_slice(b"\r\n");
}

fn size_line(seed: &mut Seed, size: usize, wire: &mut Vec<u8>) {
    let digits = match seed.below(3) {
        0 => format!("{size:x}"),
        1 => format!("{size:X}"),
        _ => format!("{size:04x}"),
    };
    let extension = seed.pick(&["", "", "", ";a", ";name=value", "; sig=\"x\t;y\""]);
    wire.extend_from_slice(format!("{digits}{extension}\r\n").as_bytes());
}

/// Breaks `bytes` in a few places.
pub(crate) fn mutate(seed: &mut Seed, bytes: &mut Vec<u8>) {
    const PIECES: [&[u8]; 34] = [
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b" ",
        b"\t",
        b":",
        b";",
        b",",
        b"\r\n ",
        b"\r\n\r\n",
        b"\n\n",
        b"0\r\n\r\n",
        b"Content-Length: 5\r\n",
        b"Content-Length: +5\r\n",
        b"content-length: 0x5\r\n",
        b"Content-Length: 5, 5\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"transfer-encoding: xchunked\r\n",
        b"Transfer-Encoding: chunked, gzip\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"Transfer-Encoding:\x0bchunked\r\n",
        b"Host: other\r\n",
        b"Connection: close, upgrade, host\r\n",
        b"Upgrade: websocket\r\n",
        b"Expect: 100-continue\r\n",
        b"+",
        b"0x",
        b"_",
        b"ffffffffffffffff",
        b"HTTP/1.0",
        b"HTTP/2.0",
        b"CONNECT",
        b"http://shop.example.com:8080",
    ];
    for _ in 0..=seed.below(4) {
        let at = seed.below(bytes.len() + 1);
        let to = (at + seed.below(12)).min(bytes.len());
        match seed.below(5) {
            0 if at < bytes.len() => bytes[at] = seed.bits() as u8,
            1 => drop(bytes.drain(at..to)),
            2 => {
                let copy = bytes[at..to].to_vec();
                let into = seed.below(bytes.len() + 1);
                drop(bytes.splice(into..into, copy));
            }
            3 => {
                let starts: Vec<_> = (2..bytes.len())
                    .filter(|&at| bytes[at - 2..at] == *b"\r\n")
                    .collect();
                let into = if starts.is_empty() {
                    at
                } else {
                    seed.pick(&starts)
                };
                drop(bytes.splice(into..into, seed.pick(&PIECES).iter().copied()));
            }
            _ => drop(bytes.splice(at..at, seed.pick(&PIECES).iter().copied())),
        }
    }
}
