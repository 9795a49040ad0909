//! A response's head, parsed once.

use std::mem::MaybeUninit;

use crate::field::{self, ConnectionOptions, FieldKind, Fields, Span};
use crate::framing::{self, Framing};
use crate::limits::HEADERS_MAX;
use crate::method::{Method, Version};
use crate::refusal::Refusal;
use crate::scan::HeadScan;

/// A response's head: its own copy of the bytes and where the parts are in it.
///
/// Made once per connection and reused; [`ResponseHead::default`] holds no memory.
#[derive(Clone, Debug)]
pub struct ResponseHead {
    scan: HeadScan,
    bytes: Vec<u8>,
    spans: Vec<Span>,
    line: StatusLine,
    declared: Framing,
    options: ConnectionOptions,
}

/// The status line's parts; the reason is a range in the head's bytes.
#[derive(Clone, Copy, Debug, Default)]
struct StatusLine {
    version: Version,
    status: u16,
    reason: (usize, usize),
}

impl Default for ResponseHead {
    fn default() -> Self {
        Self {
            scan: HeadScan::response(),
            bytes: Vec::new(),
            spans: Vec::new(),
            line: StatusLine::default(),
            declared: Framing::None,
            options: ConnectionOptions::default(),
        }
    }
}

impl ResponseHead {
    /// Reads a head from the beginning of `input`. Returns how many bytes it took, or `None`
    /// when its end is not there yet; then call again with the same bytes and more after them.
    /// After `Some`, the next call begins a new head.
    ///
    /// # Errors
    ///
    /// The [`Refusal`] of a response that cannot be trusted; the client then gets 502.
    pub fn read(&mut self, input: &[u8]) -> Result<Option<usize>, Refusal> {
        let Some(end) = self.scan.find_end(input)? else {
            return Ok(None);
        };
        self.scan = HeadScan::response();
        self.parse(&input[..end])?;
        Ok(Some(end))
    }

    /// Forgets a head that was read in part, as when another upstream is tried.
    pub fn reset(&mut self) {
        self.scan = HeadScan::response();
    }

    /// The status code, 100 to 999.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.line.status
    }

    /// The reason phrase; often empty.
    #[must_use]
    pub fn reason(&self) -> &[u8] {
        &self.bytes[self.line.reason.0..self.line.reason.1]
    }

    /// The version.
    #[must_use]
    pub fn version(&self) -> Version {
        self.line.version
    }

    /// The header fields in their order.
    #[must_use]
    pub fn fields(&self) -> Fields<'_> {
        Fields {
            bytes: &self.bytes,
            spans: self.spans.iter(),
        }
    }

    /// True for a 1xx response, which is not the last one.
    #[must_use]
    pub fn is_interim(&self) -> bool {
        self.line.status < 200
    }

    /// The body's framing as the answer to a request with `method`.
    #[must_use]
    pub fn framing(&self, method: Method) -> Framing {
        if method == Method::Head || self.is_interim() || matches!(self.line.status, 204 | 304) {
            return Framing::None;
        }
        match self.declared {
            Framing::None | Framing::UntilClose => Framing::UntilClose,
            Framing::Length(bytes) => Framing::Length(bytes),
            Framing::Chunked => Framing::Chunked,
        }
    }

    /// The framing that the header fields declare; with HEAD and 304 no body follows it.
    #[must_use]
    pub fn declared(&self) -> Framing {
        self.declared
    }

    /// True if the program lets the connection go on after this exchange.
    #[must_use]
    pub fn keep_alive(&self) -> bool {
        match self.line.version {
            Version::Http11 => !self.options.close,
            Version::Http10 => self.options.keep_alive && !self.options.close,
        }
    }

    /// The protocol that a 101 response changes to, if it names exactly one.
    #[must_use]
    pub fn upgrade(&self) -> Option<&[u8]> {
        let mut protocols = self.fields().of_kind(FieldKind::Upgrade);
        let protocol = protocols.next()?;
        (self.options.upgrade && protocols.next().is_none()).then_some(protocol)
    }

    pub(crate) fn bytes_len(&self) -> usize {
        self.bytes.len()
    }

    fn parse(&mut self, input: &[u8]) -> Result<(), Refusal> {
        self.bytes.clear();
        self.bytes.extend_from_slice(input);
        self.spans.clear();
        self.line = parse_parts(&self.bytes, &mut self.spans)?;
        self.declared = framing::declared(&self.bytes, &self.spans, self.line.version)?;
        self.options = field::apply_connection(&self.bytes, &mut self.spans)?;
        Ok(())
    }
}

/// Parses the bytes of a whole head with httparse and notes where the parts are.
fn parse_parts(bytes: &[u8], spans: &mut Vec<Span>) -> Result<StatusLine, Refusal> {
    let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut []);
    let status = httparse::ParserConfig::default()
        .parse_response_with_uninit_headers(&mut response, bytes, &mut headers)
        .map_err(|error| framing::refusal(error, bytes))?;
    if status != httparse::Status::Complete(bytes.len()) {
        return Err(Refusal::Header);
    }
    let (Some(code), Some(minor)) = (response.code, response.version) else {
        return Err(Refusal::FirstLine);
    };
    if code < 100 {
        return Err(Refusal::FirstLine);
    }
    spans.extend(
        response
            .headers
            .iter()
            .map(|header| Span::of(bytes, header)),
    );
    let reason = response.reason.filter(|reason| !reason.is_empty());
    Ok(StatusLine {
        version: Version::of(minor)?,
        status: code,
        reason: reason.map_or((0, 0), |reason| field::range_in(bytes, reason.as_bytes())),
    })
}
