//! Why a head is refused, and with which status.

use thiserror::Error;

/// Why a head is refused. A response's refusal is answered with 502 by the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// A line ends in LF without CR.
    #[error("a line ends without CR")]
    BareLf,
    /// The first line is not a request line or a status line.
    #[error("malformed first line")]
    FirstLine,
    /// The version is not 1.0 or 1.1.
    #[error("HTTP version not supported")]
    Version,
    /// The method's name is too long, or is CONNECT or TRACE.
    #[error("method not implemented")]
    Method,
    /// The target has a forbidden character or form.
    #[error("malformed request target")]
    Target,
    /// A segment of the target's path is `.` or `..`, escaped or not.
    #[error("dot segment in the request target")]
    DotSegment,
    /// The request line is longer than the limit.
    #[error("request target too long")]
    TargetTooLong,
    /// The head is longer than the limit.
    #[error("head too large")]
    HeadTooLarge,
    /// There are more header fields than the limit.
    #[error("too many header fields")]
    TooManyHeaders,
    /// A header field's name or value has a forbidden character, or the line is folded.
    #[error("malformed header field")]
    Header,
    /// An HTTP/1.1 request names no host.
    #[error("missing host")]
    HostMissing,
    /// The host is given twice, or is malformed.
    #[error("ambiguous or malformed host")]
    Host,
    /// Content-Length is given more than once or is not a decimal number.
    #[error("ambiguous or malformed content-length")]
    ContentLength,
    /// The declared body is longer than can be counted.
    #[error("body too large")]
    BodyTooLarge,
    /// Both Content-Length and Transfer-Encoding are given.
    #[error("content-length together with transfer-encoding")]
    TwoFramings,
    /// Transfer-Encoding in an HTTP/1.0 message.
    #[error("transfer-encoding in HTTP/1.0")]
    TransferEncodingInOld,
    /// Transfer-Encoding is given more than once, or chunked is not its last and only once.
    #[error("ambiguous or malformed transfer-encoding")]
    TransferEncoding,
    /// Transfer-Encoding names a coding other than chunked.
    #[error("transfer coding not implemented")]
    TransferCoding,
    /// Expect asks for something other than 100-continue.
    #[error("expectation not supported")]
    Expectation,
}

impl Refusal {
    /// The status that answers a request refused so.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::BareLf
            | Self::FirstLine
            | Self::Target
            | Self::DotSegment
            | Self::Header
            | Self::HostMissing
            | Self::Host
            | Self::ContentLength
            | Self::TwoFramings
            | Self::TransferEncodingInOld
            | Self::TransferEncoding => 400,
            Self::BodyTooLarge => 413,
            Self::TargetTooLong => 414,
            Self::Expectation => 417,
            Self::HeadTooLarge | Self::TooManyHeaders => 431,
            Self::Method | Self::TransferCoding => 501,
            Self::Version => 505,
        }
    }

    /// A short fixed word for metrics and the `X-Gapless-Error` header.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::BareLf => "bare_lf",
            Self::FirstLine => "first_line",
            Self::Version => "version",
            Self::Method => "method",
            Self::Target => "target",
            Self::DotSegment => "dot_segment",
            Self::TargetTooLong => "target_too_long",
            Self::HeadTooLarge => "head_too_large",
            Self::TooManyHeaders => "too_many_headers",
            Self::Header => "header",
            Self::HostMissing => "host_missing",
            Self::Host => "host",
            Self::ContentLength => "content_length",
            Self::BodyTooLarge => "body_too_large",
            Self::TwoFramings => "two_framings",
            Self::TransferEncodingInOld => "transfer_encoding_in_old",
            Self::TransferEncoding => "transfer_encoding",
            Self::TransferCoding => "transfer_coding",
            Self::Expectation => "expectation",
        }
    }

    /// One sentence for the person at the client.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            Self::BareLf => "a line of the request's head ends without a carriage return",
            Self::FirstLine => "the request line is malformed",
            Self::Version => "this version of HTTP is not spoken here",
            Self::Method => "this method is not implemented",
            Self::Target => "the request's target is malformed",
            Self::DotSegment => "the request's path has a dot segment",
            Self::TargetTooLong => "the request's target is too long",
            Self::HeadTooLarge => "the request's head is too large",
            Self::TooManyHeaders => "the request has too many header fields",
            Self::Header => "a header field of the request is malformed",
            Self::HostMissing => "the request names no host",
            Self::Host => "the request's host is malformed or given twice",
            Self::ContentLength => "the request's content length is malformed or given twice",
            Self::BodyTooLarge => "the request's body is larger than can be counted",
            Self::TwoFramings => "the request's body is framed in two ways",
            Self::TransferEncodingInOld => "HTTP/1.0 has no transfer encodings",
            Self::TransferEncoding => "the request's transfer encoding is malformed",
            Self::TransferCoding => "this transfer coding is not implemented",
            Self::Expectation => "only the expectation 100-continue can be met",
        }
    }
}
