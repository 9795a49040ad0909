//! hyper's server as the judge of the requests that the codec writes.

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;

use http_body_util::{BodyExt, Empty};
use http1::{BodyRelay, RequestHead, write_request};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::finishes;
use super::support::checks::REWRITE;
use super::support::message::{self, Message};
use super::support::seed::Seed;

/// A request as hyper saw it; `body` is `None` if it could not be read to its end.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
    trailers: Vec<(String, String)>,
}

const SENTINEL: &[u8] = b"GET /sentinel HTTP/1.1\r\nhost: a\r\n\r\n";

fn pairs(map: &hyper::HeaderMap) -> Vec<(String, String)> {
    let text =
        |value: &hyper::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    map.iter()
        .map(|(name, value)| (name.to_string(), text(value)))
        .collect()
}

async fn look(request: Request<Incoming>) -> Seen {
    let (parts, body) = request.into_parts();
    let collected = body.collect().await.ok();
    let trailers = collected
        .as_ref()
        .and_then(|body| body.trailers().map(pairs))
        .unwrap_or_default();
    Seen {
        method: parts.method.to_string(),
        target: parts.uri.to_string(),
        headers: pairs(&parts.headers),
        body: collected.map(|body| body.to_bytes().to_vec()),
        trailers,
    }
}

/// Everything that a hyper server sees when `wire` is all it gets.
fn served(wire: &[u8]) -> Vec<Seen> {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let service = service_fn(|request| {
        let seen = Rc::clone(&seen);
        async move {
            let request = look(request).await;
            seen.borrow_mut().push(request);
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    finishes(async {
        let (mut near, far) = tokio::io::duplex(1 << 20);
        near.write_all(wire).await.expect("room for all");
        near.shutdown().await.expect("an open pipe");
        let mut builder = hyper::server::conn::http1::Builder::new();
        let connection = builder
            .half_close(true)
            .serve_connection(TokioIo::new(far), service);
        let mut answers = Vec::new();
        let (_, read) = tokio::join!(connection, near.read_to_end(&mut answers));
        read.expect("an open pipe");
    });
    seen.take()
}

/// Reads one request off `data` in random pieces and writes it anew; `None` if it is refused
/// or not whole.
fn relayed(seed: &mut Seed, data: &[u8], out: &mut Vec<u8>) -> Option<(RequestHead, usize)> {
    let mut head = RequestHead::default();
    let mut here = 0;
    let mut used = loop {
        match head.read(&data[..here]).ok()? {
            Some(bytes) => break bytes,
            None if here == data.len() => return None,
            None => here += 1 + seed.below((data.len() - here).min(60)),
        }
    };
    write_request(&head, &REWRITE, out);
    let mut relay = BodyRelay::for_request(head.framing());
    while !relay.is_ended() {
        if used == data.len() {
            return None;
        }
        let piece = &data[used..used + 1 + seed.below((data.len() - used).min(700))];
        let passed = relay.pass(piece).ok()?;
        out.extend_from_slice(&piece[..passed]);
        used += if passed == 0 {
            relay.pump(piece, out).ok()?
        } else {
            passed
        };
    }
    Some((head, used))
}

fn assert_means(seen: &Seen, message: &Message, seed: u64) {
    assert_eq!(seen.method, message.method, "seed {seed:#x}");
    assert_eq!(seen.target, message.target, "seed {seed:#x}");
    assert_eq!(
        seen.body.as_deref(),
        Some(message.payload.as_slice()),
        "seed {seed:#x}"
    );
    assert_eq!(seen.trailers, message.trailers, "seed {seed:#x}");
    let own = |name: &str| name.starts_with("x-field-") || name == "x-private";
    let fields: Vec<_> = seen
        .headers
        .iter()
        .filter(|(name, _)| own(name))
        .cloned()
        .collect();
    assert_eq!(fields, message.fields, "seed {seed:#x}");
    let hosts: Vec<_> = seen
        .headers
        .iter()
        .filter(|(name, _)| name == "host")
        .collect();
    assert_eq!(
        hosts,
        [&("host".to_owned(), "shop.example.com:8080".to_owned())],
        "seed {seed:#x}"
    );
}

#[test]
fn hyper_sees_the_requests_that_were_sent() {
    for at in 0..600_u64 {
        let number = 0x5e_ed00 + at;
        let mut seed = Seed(number);
        let messages: Vec<_> = (0..=seed.below(3))
            .map(|_| message::request(&mut seed))
            .collect();
        let wire = messages
            .iter()
            .flat_map(|message| message.bytes.clone())
            .collect::<Vec<_>>();
        let (mut used, mut out) = (0, Vec::new());
        for message in &messages {
            let (_, bytes) = relayed(&mut seed, &wire[used..], &mut out).expect("a valid request");
            assert_eq!(bytes, message.bytes.len(), "seed {number:#x}");
            used += bytes;
        }
        let seen = served(&out);
        assert_eq!(seen.len(), messages.len(), "seed {number:#x}");
        seen.iter()
            .zip(&messages)
            .for_each(|(seen, message)| assert_means(seen, message, number));
    }
}

#[test]
fn hyper_finds_no_second_request_in_what_was_accepted() {
    let mut accepted = 0;
    for at in 0..4_000_u64 {
        let number = 0xbad_5eed + at;
        let mut seed = Seed(number);
        let mut wire = message::request(&mut seed).bytes;
        message::mutate(&mut seed, &mut wire);
        let mut out = Vec::new();
        let Some((head, _)) = relayed(&mut seed, &wire, &mut out) else {
            continue;
        };
        accepted += 1;
        out.extend_from_slice(SENTINEL);
        let seen = served(&out);
        let target = [
            head.path(),
            head.query().map_or(&b""[..], |_| b"?"),
            head.query().unwrap_or_default(),
        ]
        .concat();
        let hyper_takes_the_target = hyper::Uri::try_from(target.as_slice()).is_ok();
        match seen.as_slice() {
            [first, sentinel] => {
                assert_eq!(
                    first.method.as_bytes(),
                    head.method_name(),
                    "seed {number:#x}"
                );
                assert_eq!(first.target.as_bytes(), target, "seed {number:#x}");
                assert!(first.body.is_some(), "seed {number:#x}");
                assert_eq!(sentinel.target, "/sentinel", "seed {number:#x}");
            }
            [] => assert!(
                !hyper_takes_the_target,
                "hyper refuses what was written, seed {number:#x}"
            ),
            other => panic!("hyper sees {other:?}, seed {number:#x}"),
        }
    }
    assert!(
        accepted > 300,
        "only {accepted} broken requests were accepted: nothing was tested"
    );
}
