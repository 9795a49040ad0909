//! hyper's client as the judge of the responses that the codec writes.

use http_body_util::{BodyExt, Empty};
use http1::{
    BodyError, BodyRelay, Framing, Method, Persist, ProxyError, ResponseHead, RewriteResponse,
    Version, write_error, write_response,
};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::finishes;
use super::support::message::{self, Body};
use super::support::seed::Seed;

/// A response as hyper saw it; `body` is `None` if it could not be read to its end.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    status: u16,
    fields: Vec<(String, String)>,
    body: Option<Vec<u8>>,
    trailers: Vec<(String, String)>,
}

const SENTINEL: &[u8] = b"HTTP/1.1 299 Sentinel\r\ncontent-length: 8\r\n\r\nsentinel";

/// Whether the connection is used for a second exchange.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Second {
    Asked,
    Closed,
}

async fn read_request(far: &mut DuplexStream) {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        text.push(far.read_u8().await.expect("a request"));
    }
}

async fn answer(mut far: DuplexStream, wire: Vec<u8>, second: Second) {
    read_request(&mut far).await;
    far.write_all(&wire).await.expect("room for all");
    if second == Second::Asked {
        read_request(&mut far).await;
        far.write_all(SENTINEL).await.expect("room for all");
    }
    far.shutdown().await.expect("an open pipe");
}

type Sender = hyper::client::conn::http1::SendRequest<Empty<Bytes>>;

async fn ask(sender: &mut Sender, method: &str) -> Option<Seen> {
    let request = Request::builder()
        .method(method)
        .uri("/")
        .header("host", "a")
        .body(Empty::new())
        .expect("a request");
    let (parts, body) = sender.send_request(request).await.ok()?.into_parts();
    let text =
        |value: &hyper::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let pairs = |map: &hyper::HeaderMap| {
        map.iter()
            .map(|(name, value)| (name.to_string(), text(value)))
            .collect::<Vec<_>>()
    };
    let collected = body.collect().await.ok();
    let trailers = collected
        .as_ref()
        .and_then(|body| body.trailers().map(pairs))
        .unwrap_or_default();
    let mut fields = pairs(&parts.headers);
    fields.retain(|(name, _)| name.starts_with("x-field-"));
    let body = collected.map(|body| body.to_bytes().to_vec());
    Some(Seen {
        status: parts.status.as_u16(),
        fields,
        body,
        trailers,
    })
}

/// What a hyper client sees of `wire`, and of the sentinel after it.
fn asked(wire: Vec<u8>, method: &str, second: Second) -> (Option<Seen>, Option<Seen>) {
    finishes(async {
        let (near, far) = tokio::io::duplex(1 << 20);
        let server = tokio::spawn(answer(far, wire, second));
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(near))
            .await
            .expect("a pipe");
        let connection = tokio::spawn(connection);
        let first = ask(&mut sender, method).await;
        let next = match second {
            Second::Asked if sender.ready().await.is_ok() => ask(&mut sender, "GET").await,
            Second::Asked | Second::Closed => None,
        };
        drop(sender);
        server.abort();
        drop(connection.await);
        (first, next)
    })
}

/// A response that was read and written anew.
struct Relayed {
    head: ResponseHead,
    out: Vec<u8>,
    ended: bool,
}

/// Reads one response off `data` in random pieces and writes it anew; `None` if it is refused.
fn relayed(seed: &mut Seed, data: &[u8], method: Method, client: Version) -> Option<Relayed> {
    let mut head = ResponseHead::default();
    let mut here = 0;
    let used = loop {
        match head.read(&data[..here]).ok()? {
            Some(bytes) => break bytes,
            None if here == data.len() => return None,
            None => here += 1 + seed.below((data.len() - here).min(60)),
        }
    };
    if head.is_interim() {
        return None;
    }
    let mut out = Vec::new();
    write_response(
        &head,
        &RewriteResponse {
            client,
            method,
            persist: Persist::KeepAlive,
            extra: &[],
            replace: &[],
        },
        &mut out,
    );
    let mut relay = BodyRelay::for_response(head.framing(method), client);
    let ended = body(seed, &data[used..], &mut relay, &mut out).is_ok();
    Some(Relayed { head, out, ended })
}

fn body(
    seed: &mut Seed,
    data: &[u8],
    relay: &mut BodyRelay,
    out: &mut Vec<u8>,
) -> Result<(), BodyError> {
    let mut used = 0;
    while !relay.is_ended() && used < data.len() {
        let piece = &data[used..used + 1 + seed.below((data.len() - used).min(700))];
        let passed = relay.pass(piece)?;
        out.extend_from_slice(&piece[..passed]);
        used += if passed == 0 {
            relay.pump(piece, out)?
        } else {
            passed
        };
    }
    relay.end_of_input(out)
}

#[test]
fn hyper_sees_the_responses_that_were_sent() {
    for at in 0..600_u64 {
        let number = 0x7e57 + at;
        let mut seed = Seed(number);
        let message = message::response(&mut seed);
        let client = if seed.one_in(4) {
            Version::Http10
        } else {
            Version::Http11
        };
        let Relayed { head, out, ended } =
            relayed(&mut seed, &message.bytes, Method::Get, client).expect("a valid response");
        assert!(ended, "seed {number:#x}");
        let closes = head.framing(Method::Get).towards(client) == Framing::UntilClose;
        let second = if closes {
            Second::Closed
        } else {
            Second::Asked
        };
        let (first, next) = asked(out, "GET", second);
        let first = first.expect("an acceptable response");
        assert_eq!(
            (first.status, &first.fields),
            (message.status, &message.fields),
            "seed {number:#x}"
        );
        assert_eq!(first.body, Some(message.payload), "seed {number:#x}");
        if client == Version::Http11 {
            assert_eq!(first.trailers, message.trailers, "seed {number:#x}");
        }
        assert_eq!(next.is_some(), second == Second::Asked, "seed {number:#x}");
        assert!(
            next.is_none_or(|next| next.status == 299),
            "seed {number:#x}"
        );
    }
}

#[test]
fn hyper_finds_no_second_response_in_what_was_accepted() {
    let mut accepted = 0;
    for at in 0..3_000_u64 {
        let number = 0xbad_7e57 + at;
        let mut seed = Seed(number);
        let mut wire = message::response(&mut seed).bytes;
        message::mutate(&mut seed, &mut wire);
        let (method, name) = if seed.one_in(4) {
            (Method::Head, "HEAD")
        } else {
            (Method::Get, "GET")
        };
        let Some(Relayed { head, out, ended }) = relayed(&mut seed, &wire, method, Version::Http11)
        else {
            continue;
        };
        accepted += 1;
        let second = if ended { Second::Asked } else { Second::Closed };
        let (first, next) = asked(out, name, second);
        let first = first.expect("hyper takes what was written");
        assert_eq!(first.status, head.status(), "seed {number:#x}");
        assert_eq!(
            first.body.is_some(),
            ended,
            "an end was lost or invented, seed {number:#x}"
        );
        assert_eq!(
            next.map(|next| next.status),
            ended.then_some(299),
            "seed {number:#x}"
        );
    }
    assert!(
        accepted > 300,
        "only {accepted} broken responses were accepted: nothing was tested"
    );
}

#[test]
fn a_body_cut_short_is_an_error_to_hyper() {
    for at in 0..200_u64 {
        let number = 0xc07 + at;
        let mut seed = Seed(number);
        let message = message::response(&mut seed);
        if message.payload.is_empty() || matches!(message.body, Body::UntilClose | Body::Absent) {
            continue;
        }
        let cut = message.head_bytes + seed.below(message.bytes.len() - message.head_bytes);
        let sent = relayed(
            &mut seed,
            &message.bytes[..cut],
            Method::Get,
            Version::Http11,
        );
        let Relayed { out, ended, .. } = sent.expect("a valid head");
        assert!(!ended, "seed {number:#x}");
        let (first, _) = asked(out, "GET", Second::Closed);
        assert!(
            first.is_none_or(|first| first.body.is_none()),
            "seed {number:#x}"
        );
    }
}

#[test]
fn hyper_reads_the_proxys_own_errors() {
    for (method, name) in [(Method::Get, "GET"), (Method::Head, "HEAD")] {
        let mut out = Vec::new();
        let error = ProxyError {
            status: 502,
            reason: "refused",
            message: "the program refused the connection",
            page: None,
            grpc: None,
            location: None,
            retry_after_seconds: None,
            persist: Persist::KeepAlive,
            request_id: None,
            client: Version::Http11,
            method,
        };
        write_error(&error, &mut out);
        let (first, next) = asked(out, name, Second::Asked);
        let body = first
            .expect("an acceptable response")
            .body
            .expect("a whole body");
        let wanted = if method == Method::Head {
            ""
        } else {
            "the program refused the connection\n"
        };
        assert_eq!(body, wanted.as_bytes());
        assert_eq!(next.map(|next| next.status), Some(299));
    }
}
