//! The fuzzed checks: each takes any bytes and panics when a promise of the codec is broken.

use http1::limits::{HEAD_BYTES_MAX, HEADERS_MAX};
use http1::{
    BodyError, BodyRelay, Forwarded, Framing, INTRODUCTION_BYTES_MAX, Introduced, Method,
    PeerTrust, Persist, Refusal, RequestHead, ResponseHead, RewriteRequest, RewriteResponse,
    Tunnel, Version, read_introduction, write_request, write_response,
};

use super::seed::Seed;
use super::strict;

/// How the checks rewrite requests.
pub(crate) const REWRITE: RewriteRequest<'static> = RewriteRequest {
    forwarded: Forwarded {
        peer: "192.0.2.7",
        client: "192.0.2.7",
        proto: "https",
        trust: PeerTrust::Untrusted,
    },
    default_host: "fallback.example",
    replace: &[("x-request-id", b"0123456789abcdef")],
    tunnel: Tunnel::Offered,
    persist: Persist::KeepAlive,
};

/// A request's head: the same however it is split; rewritten, it means the same to a strict
/// reader and to the codec itself.
pub(crate) fn request_head(data: &[u8]) {
    let mut head = RequestHead::default();
    let whole = head.read(data);
    let mut again = RequestHead::default();
    assert_eq!(
        whole,
        first_answer(data, |input| again.read(input)),
        "the split changed the outcome"
    );
    let Ok(Some(bytes)) = whole else { return };
    assert!(bytes <= data.len());
    assert_ne!(head.framing(), Framing::UntilClose);
    let mut written = Vec::new();
    write_request(&head, &REWRITE, &mut written);
    strictly_one_request(&head, &written);
    if grew_over_a_limit(&written) {
        return;
    }
    let read = again.read(&written);
    assert_eq!(
        read,
        Ok(Some(written.len())),
        "the codec refuses its own request"
    );
    assert_eq!(again.framing(), head.framing());
    assert_eq!(
        (again.method_name(), again.path(), again.query()),
        (head.method_name(), head.path(), head.query())
    );
    assert_eq!(again.upgrade(), head.upgrade());
    assert_eq!(again.wants_continue(), head.wants_continue());
    let mut rewritten = Vec::new();
    write_request(&again, &REWRITE, &mut rewritten);
    assert_eq!(rewritten, written, "a second rewriting changed something");
}

fn strictly_one_request(head: &RequestHead, written: &[u8]) {
    let strict = strict::head(written).expect("a strict reader takes the rewritten request");
    assert_eq!(strict.bytes, written.len());
    let words: Vec<_> = strict.line.split(|&byte| byte == b' ').collect();
    assert_eq!(
        (words.len(), words[0], words[2]),
        (3, head.method_name(), &b"HTTP/1.1"[..])
    );
    assert_eq!(strict.all("host").len(), 1);
    let wanted = match head.framing() {
        Framing::None => strict::Framing::Absent,
        Framing::Length(bytes) => strict::Framing::Length(bytes),
        Framing::Chunked => strict::Framing::Chunked,
        Framing::UntilClose => panic!("no request lasts until close"),
    };
    assert_eq!(strict::framing(&strict), Some(wanted));
    for dropped in [
        "keep-alive",
        "proxy-connection",
        "te",
        "proxy",
        "http2-settings",
    ] {
        assert!(strict.all(dropped).is_empty(), "{dropped} was sent on");
    }
    assert_eq!(strict.all("x-forwarded-for"), [b"192.0.2.7"]);
    assert_eq!(strict.all("forwarded").len(), 1);
    assert_eq!(strict.all("x-request-id"), [b"0123456789abcdef"]);
    assert!(strict.fields.iter().all(|(name, _)| !name.contains('_')));
    assert_eq!(
        strict.all("upgrade").len(),
        usize::from(head.upgrade().is_some())
    );
}

/// True if a head has reached a limit of the codec only by the fields that were added to it.
fn grew_over_a_limit(written: &[u8]) -> bool {
    let fields = strict::head(written).map_or(0, |head| head.fields.len());
    fields > HEADERS_MAX || written.len() > HEAD_BYTES_MAX
}

/// A response's head, as the answer to the method and client that the first byte chooses.
pub(crate) fn response_head(data: &[u8]) {
    let Some((&choice, data)) = data.split_first() else {
        return;
    };
    let method = if choice & 1 == 0 {
        Method::Get
    } else {
        Method::Head
    };
    let client = if choice & 2 == 0 {
        Version::Http11
    } else {
        Version::Http10
    };
    let persist = if choice & 4 == 0 {
        Persist::KeepAlive
    } else {
        Persist::Close
    };
    let mut head = ResponseHead::default();
    let whole = head.read(data);
    let mut again = ResponseHead::default();
    assert_eq!(
        whole,
        first_answer(data, |input| again.read(input)),
        "the split changed the outcome"
    );
    if !matches!(whole, Ok(Some(_))) || head.is_interim() {
        return;
    }
    let mut written = Vec::new();
    let rewrite = RewriteResponse {
        client,
        method,
        persist,
        extra: &[("set-cookie", b"a=b")],
        replace: &[],
    };
    let framing = write_response(&head, &rewrite, &mut written);
    assert_eq!(framing, head.framing(method).towards(client));
    assert!(client == Version::Http11 || framing != Framing::Chunked);
    let strict = strict::head(&written).expect("a strict reader takes the rewritten response");
    assert!(
        strict
            .line
            .starts_with(format!("HTTP/1.1 {} ", head.status()).as_bytes())
    );
    assert!(strict::framing(&strict).is_some());
    assert!(strict.all("connection").len() <= 1);
    assert!(framing != Framing::UntilClose || strict.all("connection") == [b"close"]);
    if grew_over_a_limit(&written) {
        return;
    }
    let read = again.read(&written);
    assert_eq!(
        read,
        Ok(Some(written.len())),
        "the codec refuses its own response"
    );
    assert_eq!(again.framing(method), framing);
    assert_eq!(
        (again.status(), again.reason()),
        (head.status(), head.reason())
    );
}

/// A chunked body: payload, end and refusal are the same however it is split and whoever the
/// client is, and a strict reader agrees.
pub(crate) fn chunked_body(data: &[u8]) {
    let strict = strict::chunked(data);
    let whole = relayed(
        data,
        BodyRelay::for_response(Framing::Chunked, Version::Http11),
        |left| left,
    );
    let bytewise = relayed(
        data,
        BodyRelay::for_response(Framing::Chunked, Version::Http11),
        |_| 1,
    );
    assert_eq!(whole.sent, bytewise.sent, "the split changed the bytes");
    assert_eq!(whole.end, bytewise.end, "the split changed the end");
    let raw = relayed(
        data,
        BodyRelay::for_response(Framing::Chunked, Version::Http10),
        |left| left,
    );
    assert_eq!(raw.end, whole.end);
    let out = strict::chunked(&whole.sent);
    match (&strict, whole.end) {
        (Some(seen), Ok(Some(used))) => {
            let out = out.expect("a strict reader takes the relayed body");
            assert_eq!(used, seen.bytes);
            assert_eq!(out.payload, seen.payload);
            assert_eq!(raw.sent, seen.payload);
            assert_eq!(out.bytes, whole.sent.len());
            assert!(
                out.trailers
                    .iter()
                    .all(|trailer| seen.trailers.contains(trailer))
            );
        }
        (None, Ok(None) | Err(_)) => assert!(out.is_none(), "an end was sent that nobody saw"),
        (strict, end) => panic!("the strict reader sees {strict:?}, the codec {end:?}"),
    }
}

/// A whole conversation of pipelined requests, whose split the first eight bytes choose.
pub(crate) fn split_invariance(data: &[u8]) {
    let Some((seed, data)) = data.split_first_chunk::<8>() else {
        return;
    };
    let mut seed = Seed(u64::from_le_bytes(*seed));
    let whole = conversation(data, |left| left);
    let split = conversation(data, |left| 1 + seed.below(left.min(40)));
    assert_eq!(whole, split, "the split changed the conversation");
}

/// What came of relaying a body.
struct Relayed {
    sent: Vec<u8>,
    /// How many bytes it took, `None` if it has not ended.
    end: Result<Option<usize>, BodyError>,
}

/// Relays `data` in pieces of `next` bytes, as the proxy does: first what may pass as it is.
fn relayed(data: &[u8], mut relay: BodyRelay, mut next: impl FnMut(usize) -> usize) -> Relayed {
    let mut sent = Vec::new();
    let mut used = 0;
    while used < data.len() && !relay.is_ended() {
        let piece = &data[used..used + next(data.len() - used)];
        let passed = relay.pass(piece);
        let taken = match passed {
            Ok(0) => relay.pump(piece, &mut sent),
            Ok(bytes) => {
                sent.extend_from_slice(&piece[..bytes]);
                Ok(bytes)
            }
            Err(error) => Err(error),
        };
        match taken {
            Ok(bytes) => used += bytes,
            Err(error) => {
                return Relayed {
                    sent,
                    end: Err(error),
                };
            }
        }
    }
    Relayed {
        sent,
        end: Ok(relay.is_ended().then_some(used)),
    }
}

/// Everything that is sent on, and why it stopped.
#[derive(Debug, PartialEq, Eq)]
struct Conversation {
    sent: Vec<u8>,
    refusal: Option<Refusal>,
    error: Option<BodyError>,
}

/// Reads requests one after the other from a buffer that grows by pieces of `next` bytes.
fn conversation(data: &[u8], mut next: impl FnMut(usize) -> usize) -> Conversation {
    let mut talk = Conversation {
        sent: Vec::new(),
        refusal: None,
        error: None,
    };
    let mut head = RequestHead::default();
    let mut relay: Option<BodyRelay> = None;
    let (mut used, mut here) = (0, 0);
    loop {
        let input = &data[used..here];
        let step = match &mut relay {
            None => head
                .read(input)
                .map_err(|refusal| talk.refusal = Some(refusal)),
            Some(relay) => pumped(relay, input, &mut talk),
        };
        let Ok(step) = step else { return talk };
        match (step, &relay) {
            (Some(bytes), None) => {
                used += bytes;
                write_request(&head, &REWRITE, &mut talk.sent);
                relay = Some(BodyRelay::for_request(head.framing()));
            }
            (Some(bytes), Some(body)) => {
                used += bytes;
                if body.is_ended() {
                    relay = None;
                }
            }
            (None, _) if here == data.len() => return talk,
            (None, _) => here += next(data.len() - here),
        }
    }
}

/// One step of a body; `None` when it needs more input.
fn pumped(
    relay: &mut BodyRelay,
    input: &[u8],
    talk: &mut Conversation,
) -> Result<Option<usize>, ()> {
    if input.is_empty() && !relay.is_ended() {
        return Ok(None);
    }
    let taken = relay.pump(input, &mut talk.sent);
    taken.map(Some).map_err(|error| talk.error = Some(error))
}

/// The first answer that is not "more" when `data` comes byte by byte.
fn first_answer(
    data: &[u8],
    mut read: impl FnMut(&[u8]) -> Result<Option<usize>, Refusal>,
) -> Result<Option<usize>, Refusal> {
    let answers = (0..=data.len()).map(|end| read(&data[..end]));
    answers
        .into_iter()
        .find(|answer| *answer != Ok(None))
        .unwrap_or(Ok(None))
}

/// The PROXY protocol: once more bytes are asked for, all of those there belong to it; the same
/// however it is split; what is whole or refused stays so.
pub(crate) fn introduction(data: &[u8]) {
    let end = read_introduction(data);
    for at in 0..=data.len().min(INTRODUCTION_BYTES_MAX) {
        match read_introduction(&data[..at]) {
            Ok(Introduced::Partly) => {}
            Ok(whole @ Introduced::Whole(bytes, _)) => {
                assert_eq!(bytes, at, "bytes beyond the introduction were asked for");
                assert_eq!(end, Ok(whole));
                return;
            }
            Err(refused) => return assert_eq!(end, Err(refused)),
        }
    }
    assert_eq!(end, Ok(Introduced::Partly));
}
