//! A request's head, parsed once.

use std::mem::MaybeUninit;

use crate::ascii;
use crate::field::{self, ConnectionOptions, FieldKind, Fields, Span};
use crate::framing::{self, Framing};
use crate::limits::{HEADERS_MAX, TARGET_BYTES_MAX};
use crate::method::{Method, Version};
use crate::refusal::Refusal;
use crate::scan::HeadScan;
use crate::target::{self, TargetParts};

/// A request's head: its own copy of the bytes and where the parts are in it.
///
/// Made once per connection and reused; [`RequestHead::default`] holds no memory.
#[derive(Clone, Debug)]
pub struct RequestHead {
    scan: HeadScan,
    bytes: Vec<u8>,
    spans: Vec<Span>,
    line: RequestLine,
    host: (usize, usize),
    framing: Framing,
    options: ConnectionOptions,
    wants_continue: bool,
    upgrade: Option<(usize, usize)>,
}

/// The request line's parts, as ranges in the head's bytes.
#[derive(Clone, Copy, Debug, Default)]
struct RequestLine {
    method: Method,
    method_name: (usize, usize),
    target: (usize, usize),
    parts: TargetParts,
    version: Version,
}

impl Default for RequestHead {
    fn default() -> Self {
        Self {
            scan: HeadScan::request(),
            bytes: Vec::new(),
            spans: Vec::new(),
            line: RequestLine::default(),
            host: (0, 0),
            framing: Framing::None,
            options: ConnectionOptions::default(),
            wants_continue: false,
            upgrade: None,
        }
    }
}

impl RequestHead {
    /// Reads a head from the beginning of `input`. Returns how many bytes it took, or `None`
    /// when its end is not there yet; then call again with the same bytes and more after them.
    /// After `Some`, the next call begins a new head.
    ///
    /// # Errors
    ///
    /// The [`Refusal`] whose status answers the request; the connection is then closed.
    pub fn read(&mut self, input: &[u8]) -> Result<Option<usize>, Refusal> {
        let Some(end) = self.scan.find_end(input)? else {
            return Ok(None);
        };
        self.scan = HeadScan::request();
        self.parse(&input[..end])?;
        Ok(Some(end))
    }

    /// Forgets a head that was read in part.
    pub fn reset(&mut self) {
        self.scan = HeadScan::request();
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> Method {
        self.line.method
    }

    /// The method's name as it was sent.
    #[must_use]
    pub fn method_name(&self) -> &[u8] {
        self.slice(self.line.method_name)
    }

    /// The target as it was sent.
    #[must_use]
    pub fn target(&self) -> &[u8] {
        self.slice(self.line.target)
    }

    /// The target's path, `/` if it is empty, `*` for the whole server. Not decoded.
    #[must_use]
    pub fn path(&self) -> &[u8] {
        let path = &self.target()[self.line.parts.path..self.line.parts.path_end];
        if path.is_empty() { b"/" } else { path }
    }

    /// The target's query without its `?`, if there is one. Not decoded.
    #[must_use]
    pub fn query(&self) -> Option<&[u8]> {
        self.target().get(self.line.parts.path_end + 1..)
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

    /// The options of the `Connection` header fields, as they were sent.
    pub fn connection_options(&self) -> impl Iterator<Item = &[u8]> {
        self.fields()
            .of_kind(FieldKind::Connection)
            .flat_map(ascii::elements)
    }

    /// The host with its port, if any was sent: always there in HTTP/1.1.
    #[must_use]
    pub fn host(&self) -> Option<&[u8]> {
        let host = self.slice(self.host);
        (!host.is_empty()).then_some(host)
    }

    /// The host without its port.
    #[must_use]
    pub fn hostname(&self) -> Option<&[u8]> {
        self.host().map(target::hostname)
    }

    /// The value of the first cookie called `name`.
    #[must_use]
    pub fn cookie(&self, name: &str) -> Option<&[u8]> {
        self.fields()
            .of_kind(FieldKind::Cookie)
            .flat_map(|value| value.split(|&byte| byte == b';'))
            .find_map(|pair| {
                ascii::trim(pair)
                    .strip_prefix(name.as_bytes())?
                    .strip_prefix(b"=")
            })
    }

    /// The body's framing; never [`Framing::UntilClose`].
    #[must_use]
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// True if the client lets the connection go on after this exchange.
    #[must_use]
    pub fn keep_alive(&self) -> bool {
        match self.line.version {
            Version::Http11 => !self.options.close,
            Version::Http10 => self.options.keep_alive && !self.options.close,
        }
    }

    /// True if the client holds its body back until it is told to go on.
    #[must_use]
    pub fn wants_continue(&self) -> bool {
        self.wants_continue
    }

    /// The one protocol that the client offers to change to. `None` also when the offer is not
    /// one we relay: several protocols, `h2c`, a request with a body, HTTP/1.0.
    #[must_use]
    pub fn upgrade(&self) -> Option<&[u8]> {
        self.upgrade.map(|range| self.slice(range))
    }

    pub(crate) fn bytes_len(&self) -> usize {
        self.bytes.len()
    }

    fn slice(&self, (begin, end): (usize, usize)) -> &[u8] {
        &self.bytes[begin..end]
    }

    /// Where the path and query of an absolute target begin; 0 otherwise.
    pub(crate) fn origin_begin(&self) -> usize {
        self.line.parts.path
    }

    fn parse(&mut self, input: &[u8]) -> Result<(), Refusal> {
        self.bytes.clear();
        self.bytes.extend_from_slice(input);
        self.spans.clear();
        self.line = parse_parts(&self.bytes, &mut self.spans)?;
        self.host = self.find_host()?;
        self.framing = framing::declared(&self.bytes, &self.spans, self.line.version)?;
        self.options = field::apply_connection(&self.bytes, &mut self.spans)?;
        self.wants_continue = self.find_expectation()?;
        self.upgrade = self.find_upgrade();
        Ok(())
    }

    fn find_host(&self) -> Result<(usize, usize), Refusal> {
        let mut hosts = self
            .spans
            .iter()
            .filter(|span| span.kind == FieldKind::Host);
        let sent = hosts.next().map(Span::value_range);
        if hosts.next().is_some() {
            return Err(Refusal::Host);
        }
        if let Some(range) = sent {
            target::check_host(self.slice(range))?;
        }
        let begin = self.line.target.0;
        let authority = self
            .line
            .parts
            .authority
            .map(|(from, to)| (begin + from, begin + to));
        match (sent, authority) {
            (None, _) if self.line.version == Version::Http11 => Err(Refusal::HostMissing),
            // RFC 9112, 3.2.2: whatever Host says, the target's authority is meant.
            (_, Some(authority)) => Ok(authority),
            (sent, None) => Ok(sent.unwrap_or((0, 0))),
        }
    }

    fn find_expectation(&self) -> Result<bool, Refusal> {
        if self.line.version == Version::Http10 {
            return Ok(false);
        }
        let mut expects = false;
        for value in self.fields().of_kind(FieldKind::Expect) {
            if !value.eq_ignore_ascii_case(b"100-continue") {
                return Err(Refusal::Expectation);
            }
            expects = true;
        }
        Ok(expects && !self.framing.is_empty())
    }

    fn find_upgrade(&self) -> Option<(usize, usize)> {
        let offered =
            self.options.upgrade && self.line.version == Version::Http11 && self.framing.is_empty();
        if !offered {
            return None;
        }
        let mut offers = self
            .spans
            .iter()
            .filter(|span| span.kind == FieldKind::Upgrade);
        let range = offers.next()?.value_range();
        let protocol = self.slice(range);
        let token = |byte: &u8| ascii::is_token(*byte) || *byte == b'/';
        let one = offers.next().is_none() && !protocol.is_empty() && protocol.iter().all(token);
        (one && !protocol.eq_ignore_ascii_case(b"h2c")).then_some(range)
    }
}

/// Parses the bytes of a whole head with httparse and notes where the parts are.
fn parse_parts(bytes: &[u8], spans: &mut Vec<Span>) -> Result<RequestLine, Refusal> {
    let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut []);
    let status = request
        .parse_with_uninit_headers(bytes, &mut headers)
        .map_err(|error| framing::refusal(error, bytes))?;
    if status != httparse::Status::Complete(bytes.len()) {
        return Err(Refusal::Header);
    }
    let (Some(name), Some(path), Some(minor)) = (request.method, request.path, request.version)
    else {
        return Err(Refusal::FirstLine);
    };
    if path.len() > TARGET_BYTES_MAX {
        return Err(Refusal::TargetTooLong);
    }
    let method = Method::parse(name)?;
    spans.extend(request.headers.iter().map(|header| Span::of(bytes, header)));
    Ok(RequestLine {
        method,
        method_name: field::range_in(bytes, name.as_bytes()),
        target: field::range_in(bytes, path.as_bytes()),
        parts: target::split(path.as_bytes(), method)?,
        version: Version::of(minor)?,
    })
}
