//! Header fields kept as ranges in the head's bytes, classified once.

use crate::ascii;
use crate::limits::CONNECTION_OPTIONS_MAX;
use crate::refusal::Refusal;

/// Says who the client has proven to be in the handshake of TLS: the proxy's word, and nobody
/// else's.
pub const CLIENT_SUBJECT: &str = "x-client-certificate-subject";

/// What a header field means to the codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// `Host`.
    Host,
    /// `Content-Length`.
    ContentLength,
    /// `Transfer-Encoding`.
    TransferEncoding,
    /// `Connection`.
    Connection,
    /// `Upgrade`.
    Upgrade,
    /// `Expect`.
    Expect,
    /// `Cookie`.
    Cookie,
    /// `X-Forwarded-For`.
    ForwardedFor,
    /// `Forwarded`.
    Forwarded,
    /// Every other header that tells where a request came from.
    ForwardedOther,
    /// Any other header that belongs to one connection, is named by `Connection`, or is the
    /// proxy's own to say.
    HopByHop,
    /// A name with an underscore, which some programs read as a hyphen.
    Underscore,
    /// Anything else: passed on as it is.
    EndToEnd,
}

/// One header field, as ranges in the head's bytes. A head has fewer than 2^16 bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) name: u16,
    pub(crate) name_bytes: u16,
    pub(crate) value: u16,
    pub(crate) value_bytes: u16,
    pub(crate) kind: FieldKind,
}

impl Span {
    pub(crate) fn of(base: &[u8], header: &httparse::Header<'_>) -> Self {
        let name = range_in(base, header.name.as_bytes());
        let value = range_in(base, header.value);
        Self {
            name: narrow(name.0),
            name_bytes: narrow(header.name.len()),
            value: narrow(value.0),
            value_bytes: narrow(header.value.len()),
            kind: classify(header.name.as_bytes()),
        }
    }

    pub(crate) fn value_range(&self) -> (usize, usize) {
        (
            usize::from(self.value),
            usize::from(self.value) + usize::from(self.value_bytes),
        )
    }

    pub(crate) fn header<'a>(&self, bytes: &'a [u8]) -> Header<'a> {
        Header {
            name: slice(bytes, self.name, self.name_bytes),
            value: slice(bytes, self.value, self.value_bytes),
            kind: self.kind,
        }
    }
}

/// Where `part` lies in `whole`, which it was cut from.
pub(crate) fn range_in(whole: &[u8], part: &[u8]) -> (usize, usize) {
    if part.is_empty() {
        return (0, 0);
    }
    let begin = part.as_ptr() as usize - whole.as_ptr() as usize;
    (begin, begin + part.len())
}

fn narrow(number: usize) -> u16 {
    u16::try_from(number).expect("a head is shorter than 2^16 bytes")
}

fn slice(bytes: &[u8], begin: u16, len: u16) -> &[u8] {
    &bytes[usize::from(begin)..usize::from(begin) + usize::from(len)]
}

/// A header field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// The name as the sender wrote it.
    pub name: &'a [u8],
    /// The value without the spaces around it.
    pub value: &'a [u8],
    /// What the field means to the codec.
    pub kind: FieldKind,
}

/// The header fields of a head, in their order.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) spans: std::slice::Iter<'a, Span>,
}

impl<'a> Iterator for Fields<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        self.spans.next().map(|span| span.header(self.bytes))
    }
}

impl<'a> Fields<'a> {
    /// The first value under `name`, compared without regard to case.
    #[must_use]
    pub fn first(mut self, name: &str) -> Option<&'a [u8]> {
        self.find(|header| header.name.eq_ignore_ascii_case(name.as_bytes()))
            .map(|header| header.value)
    }

    pub(crate) fn of_kind(self, kind: FieldKind) -> impl Iterator<Item = &'a [u8]> {
        self.filter(move |header| header.kind == kind)
            .map(|header| header.value)
    }
}

/// Classifies a name: first by length, so that most names cost one comparison or none.
pub(crate) fn classify(name: &[u8]) -> FieldKind {
    let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
    let known = match name.len() {
        2 if is(b"te") => Some(FieldKind::HopByHop),
        4 if is(b"host") => Some(FieldKind::Host),
        5 if is(b"proxy") => Some(FieldKind::HopByHop),
        6 if is(b"cookie") => Some(FieldKind::Cookie),
        6 if is(b"expect") => Some(FieldKind::Expect),
        7 if is(b"upgrade") => Some(FieldKind::Upgrade),
        9 if is(b"forwarded") => Some(FieldKind::Forwarded),
        9 if is(b"x-real-ip") => Some(FieldKind::ForwardedOther),
        10 if is(b"connection") => Some(FieldKind::Connection),
        10 if is(b"keep-alive") => Some(FieldKind::HopByHop),
        14 if is(b"content-length") => Some(FieldKind::ContentLength),
        14 if is(b"http2-settings") => Some(FieldKind::HopByHop),
        // Only the proxy says that nobody gets an answer.
        14 if is(b"gapless-shadow") => Some(FieldKind::HopByHop),
        15 if is(b"x-forwarded-for") => Some(FieldKind::ForwardedFor),
        16 if is(b"proxy-connection") => Some(FieldKind::HopByHop),
        17 if is(b"transfer-encoding") => Some(FieldKind::TransferEncoding),
        _ => None,
    };
    known.unwrap_or_else(|| classify_by_form(name))
}

fn classify_by_form(name: &[u8]) -> FieldKind {
    const FORWARDED: &[u8] = b"x-forwarded-";
    if memchr::memchr(b'_', name).is_some() {
        FieldKind::Underscore
    } else if name
        .get(..FORWARDED.len())
        .is_some_and(|head| head.eq_ignore_ascii_case(FORWARDED))
    {
        FieldKind::ForwardedOther
    } else {
        FieldKind::EndToEnd
    }
}

/// What the `Connection` header fields of a head say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ConnectionOptions {
    pub(crate) close: bool,
    pub(crate) keep_alive: bool,
    pub(crate) upgrade: bool,
}

/// Reads the `Connection` fields and marks the fields they name as hop-by-hop.
pub(crate) fn apply_connection(
    bytes: &[u8],
    spans: &mut [Span],
) -> Result<ConnectionOptions, Refusal> {
    let mut options = ConnectionOptions::default();
    let mut named = 0;
    for at in 0..spans.len() {
        if spans[at].kind != FieldKind::Connection {
            continue;
        }
        for option in ascii::elements(spans[at].header(bytes).value) {
            if option.eq_ignore_ascii_case(b"close") {
                options.close = true;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                options.keep_alive = true;
            } else if option.eq_ignore_ascii_case(b"upgrade") {
                options.upgrade = true;
            } else if named < CONNECTION_OPTIONS_MAX {
                named += 1;
                mark_named(bytes, spans, option);
            } else {
                return Err(Refusal::Header);
            }
        }
    }
    Ok(options)
}

/// Marks the ordinary fields called `option`. Fields that the codec itself reads keep their
/// kind: they are written anew or dropped whatever `Connection` says.
fn mark_named(bytes: &[u8], spans: &mut [Span], option: &[u8]) {
    for span in spans {
        let ordinary = matches!(span.kind, FieldKind::EndToEnd | FieldKind::Cookie);
        if ordinary && span.header(bytes).name.eq_ignore_ascii_case(option) {
            span.kind = FieldKind::HopByHop;
        }
    }
}

/// Appends a header field's line.
pub(crate) fn write(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}
