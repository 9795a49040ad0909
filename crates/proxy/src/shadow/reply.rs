//! Reads an answer: its end, and as much of it as is compared.

use std::hash::{DefaultHasher, Hasher};

use http1::{BodyReader, Framing, Method, ResponseHead, SegmentKind};
use tokio::io::{AsyncRead, AsyncReadExt};
use traffic::Outcome;
use verdict::{Answer, Body};

/// Interim responses that are passed over.
const INTERIM_MAX: usize = 8;
/// An answer is read so far; what is longer is taken for whole.
const ANSWER_BYTES_MAX: u64 = 16 << 20;
const READ_BYTES: usize = 16 * 1024;
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// How much of an answer is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Keep<'a> {
    /// Nothing.
    Nothing,
    /// These headers, and a body of up to so many bytes.
    Compared(&'a [String], u64),
}

/// An answer that was read.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) status: u16,
    pub(crate) bytes: u64,
    /// What is compared of it.
    pub(crate) answer: Option<Answer>,
}

/// Reads the answer to a request with `method`.
///
/// # Errors
///
/// What became of the request instead.
pub(crate) async fn read<R: AsyncRead + Unpin>(
    stream: &mut R,
    method: Method,
    keep: Keep<'_>,
) -> Result<Read, Outcome> {
    let mut head = ResponseHead::default();
    let mut input = Vec::new();
    let mut interims = 0;
    loop {
        while !fill_head(stream, &mut head, &mut input).await? {}
        if !head.is_interim() {
            break;
        }
        interims += 1;
        if head.status() == 101 || interims > INTERIM_MAX {
            return Err(Outcome::BadResponse);
        }
    }
    let kept = body(stream, (head.framing(method), input), keep).await?;
    let status = status(&head, &kept.trailer);
    Ok(Read {
        status,
        bytes: kept.bytes,
        answer: match keep {
            Keep::Nothing => None,
            Keep::Compared(headers, _) => Some(Answer {
                status,
                ..answer(&head, headers, kept)
            }),
        },
    })
}

/// The status of an answer: of gRPC's, which HTTP takes for well whatever they say, what stands in
/// its trailers.
fn status(head: &ResponseHead, trailer: &[u8]) -> u16 {
    let kind = head.fields().first("content-type");
    if head.status() != 200 || !kind.is_some_and(traffic::grpc::is_grpc) {
        return head.status();
    }
    let lines = trailer.split(|&byte| byte == b'\n');
    let mut said = lines.filter_map(|line| {
        let colon = line.iter().position(|&byte| byte == b':')?;
        let is_status = line[..colon].eq_ignore_ascii_case(b"grpc-status");
        is_status.then(|| line[colon + 1..].trim_ascii())
    });
    let code = said
        .next_back()
        .or_else(|| head.fields().first("grpc-status"));
    let code = code.and_then(|code| std::str::from_utf8(code).ok()?.parse().ok());
    traffic::grpc::http_of_code(code)
}

/// Takes a head off the input, or reads more. True: it is there.
async fn fill_head<R: AsyncRead + Unpin>(
    stream: &mut R,
    head: &mut ResponseHead,
    input: &mut Vec<u8>,
) -> Result<bool, Outcome> {
    match head.read(input) {
        Ok(Some(bytes)) => {
            input.drain(..bytes);
            return Ok(true);
        }
        Ok(None) if input.len() >= HEAD_BYTES_MAX => return Err(Outcome::BadResponse),
        Ok(None) => {}
        Err(_) => return Err(Outcome::BadResponse),
    }
    match more(stream, input).await {
        Ok(0) | Err(_) => Err(Outcome::NoResponse),
        Ok(_) => Ok(false),
    }
}

async fn more<R: AsyncRead + Unpin>(stream: &mut R, input: &mut Vec<u8>) -> std::io::Result<usize> {
    input.reserve(READ_BYTES);
    stream.read_buf(input).await
}

/// A body as far as it is kept.
struct Kept {
    bytes: u64,
    most: u64,
    body: Vec<u8>,
    hasher: DefaultHasher,
    /// What came after it, line by line.
    trailer: Vec<u8>,
}

impl Kept {
    fn add(&mut self, payload: &[u8]) {
        self.bytes += payload.len() as u64;
        if self.most > 0 {
            self.hasher.write(payload);
        }
        if self.bytes <= self.most {
            self.body.extend_from_slice(payload);
        } else {
            self.body = Vec::new();
        }
    }
}

async fn body<R: AsyncRead + Unpin>(
    stream: &mut R,
    (framing, mut input): (Framing, Vec<u8>),
    keep: Keep<'_>,
) -> Result<Kept, Outcome> {
    let mut reader = BodyReader::new(framing);
    let mut kept = Kept {
        bytes: 0,
        most: match keep {
            Keep::Nothing => 0,
            Keep::Compared(_, most) => most,
        },
        body: Vec::new(),
        hasher: DefaultHasher::new(),
        trailer: Vec::new(),
    };
    while !reader.is_ended() && kept.bytes < ANSWER_BYTES_MAX {
        let mut taken = 0;
        let garbled = |_| Outcome::BadResponse;
        while let Some(segment) = reader.advance(&input[taken..]).map_err(garbled)? {
            if segment.kind == SegmentKind::Payload {
                kept.add(&input[taken..taken + segment.bytes]);
            }
            taken += segment.bytes;
        }
        input.clear();
        if reader.is_ended() {
            break;
        }
        match more(stream, &mut input).await {
            Ok(0) => {
                reader.end_of_input().map_err(|_| Outcome::Truncated)?;
                break;
            }
            Ok(_) => {}
            Err(_) => return Err(Outcome::Truncated),
        }
    }
    kept.trailer.extend_from_slice(reader.trailer());
    Ok(kept)
}

fn answer(head: &ResponseHead, headers: &[String], kept: Kept) -> Answer {
    let value = |name: &String| head.fields().first(name).map(<[u8]>::to_vec);
    let kind = head.fields().first("content-type").unwrap_or_default();
    let is_whole = kept.bytes == kept.body.len() as u64;
    let json = || serde_json::from_slice(&kept.body).ok();
    let json = (is_whole && is_json(kind)).then(json).flatten();
    Answer {
        status: head.status(),
        headers: headers.iter().map(value).collect(),
        body: json.map_or_else(
            || Body::Opaque {
                bytes: kept.bytes,
                digest: kept.hasher.finish(),
            },
            Body::Json,
        ),
    }
}

/// `application/json`, `application/problem+json` and the like.
fn is_json(kind: &[u8]) -> bool {
    let kind = kind.split(|&byte| byte == b';').next().unwrap_or_default();
    let kind = kind.trim_ascii().to_ascii_lowercase();
    kind.ends_with(b"/json") || kind.ends_with(b"+json")
}
