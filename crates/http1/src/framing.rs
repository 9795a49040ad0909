//! The one framing of a message, decided once.

use crate::ascii;
use crate::field::{FieldKind, Span};
use crate::limits::BODY_BYTES_MAX;
use crate::method::Version;
use crate::refusal::Refusal;

/// How a body's end is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body, and none is declared.
    None,
    /// Exactly so many bytes.
    Length(u64),
    /// Chunks, then an optional trailer section.
    Chunked,
    /// Everything until the connection's end; responses only.
    UntilClose,
}

impl Framing {
    /// True if no byte of a body follows the head.
    #[must_use]
    pub fn is_empty(self) -> bool {
        match self {
            Self::None | Self::Length(0) => true,
            Self::Length(_) | Self::Chunked | Self::UntilClose => false,
        }
    }

    /// The framing of a response with this one, towards a client of that version: what has
    /// no known length is chunked for HTTP/1.1 and ends with the connection for HTTP/1.0.
    #[must_use]
    pub fn towards(self, client: Version) -> Self {
        match (self, client) {
            (Self::None, _) => Self::None,
            (Self::Length(bytes), _) => Self::Length(bytes),
            (Self::Chunked | Self::UntilClose, Version::Http11) => Self::Chunked,
            (Self::Chunked | Self::UntilClose, Version::Http10) => Self::UntilClose,
        }
    }
}

/// Decides the one framing that a head declares, or refuses it.
pub(crate) fn declared(bytes: &[u8], spans: &[Span], version: Version) -> Result<Framing, Refusal> {
    let mut length = None;
    let mut coding = None;
    for span in spans {
        if span.kind == FieldKind::ContentLength {
            if length.replace(span.header(bytes).value).is_some() {
                return Err(Refusal::ContentLength);
            }
        } else if span.kind == FieldKind::TransferEncoding
            && coding.replace(span.header(bytes).value).is_some()
        {
            return Err(Refusal::TransferEncoding);
        }
    }
    match (length, coding) {
        (None, None) => Ok(Framing::None),
        (Some(_), Some(_)) => Err(Refusal::TwoFramings),
        (Some(length), None) => content_length(length).map(Framing::Length),
        (None, Some(_)) if version == Version::Http10 => Err(Refusal::TransferEncodingInOld),
        (None, Some(coding)) => transfer_encoding(coding).map(|()| Framing::Chunked),
    }
}

fn content_length(value: &[u8]) -> Result<u64, Refusal> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(Refusal::ContentLength);
    }
    ascii::decimal(value)
        .filter(|&bytes| bytes <= BODY_BYTES_MAX)
        .ok_or(Refusal::BodyTooLarge)
}

/// Accepts `chunked` alone. What a peer might read otherwise is refused as malformed; a
/// well-formed list of other codings as not implemented.
fn transfer_encoding(value: &[u8]) -> Result<(), Refusal> {
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    let mut chunked = 0;
    let mut chunked_last = false;
    for coding in value.split(|&byte| byte == b',').map(ascii::trim) {
        if coding.is_empty() || !coding.iter().all(|&byte| ascii::is_token(byte)) {
            return Err(Refusal::TransferEncoding);
        }
        chunked_last = coding.eq_ignore_ascii_case(b"chunked");
        chunked += usize::from(chunked_last);
    }
    if chunked_last && chunked == 1 {
        Err(Refusal::TransferCoding)
    } else {
        Err(Refusal::TransferEncoding)
    }
}

/// Names what httparse refused in `head`.
pub(crate) fn refusal(error: httparse::Error, head: &[u8]) -> Refusal {
    match error {
        httparse::Error::HeaderName | httparse::Error::HeaderValue | httparse::Error::NewLine => {
            Refusal::Header
        }
        httparse::Error::Status | httparse::Error::Token => Refusal::FirstLine,
        httparse::Error::TooManyHeaders => Refusal::TooManyHeaders,
        httparse::Error::Version if names_other_version(head) => Refusal::Version,
        httparse::Error::Version => Refusal::FirstLine,
    }
}

/// True if a word of the first line is the name of a version that we do not speak.
fn names_other_version(head: &[u8]) -> bool {
    let line_end = memchr::memchr(b'\r', head).unwrap_or(head.len());
    let is_other = |word: &[u8]| match word.strip_prefix(b"HTTP/") {
        Some(b"1.0" | b"1.1") => false,
        Some([major, b'.', minor]) => major.is_ascii_digit() && minor.is_ascii_digit(),
        Some(_) | None => false,
    };
    head[..line_end].split(|&byte| byte == b' ').any(is_other)
}
