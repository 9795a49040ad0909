//! Moves a body from one connection to the other, from its framing into another one.

use crate::ascii;
use crate::body::{BodyError, BodyReader, SegmentKind};
use crate::framing::Framing;
use crate::method::Version;
use crate::trailer;

/// Moves a body: checks its framing and frames it for the other side.
///
/// [`BodyRelay::pass`] costs no copy and is tried first; what it leaves, [`BodyRelay::pump`]
/// writes anew. The end is written only when the source's end was seen.
#[derive(Clone, Debug)]
pub struct BodyRelay {
    reader: BodyReader,
    route: Route,
    payload_bytes: u64,
}

/// From which kind of framing into which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    /// Both sides are chunked: the same bytes without extensions.
    ChunkedToChunked,
    /// Only the target is chunked: each run of payload becomes a chunk.
    RawToChunked,
    /// Only the source is chunked: the payload alone.
    ChunkedToRaw,
    /// Neither is: the same bytes.
    RawToRaw,
}

impl BodyRelay {
    /// A relay for a request's body, at its beginning: the program gets the same framing.
    #[must_use]
    pub fn for_request(source: Framing) -> Self {
        Self::for_response(source, Version::Http11)
    }

    /// A relay for a response's body, at its beginning, framed as [`Framing::towards`] `client`.
    #[must_use]
    pub fn for_response(source: Framing, client: Version) -> Self {
        let route = match (source, client) {
            (Framing::None | Framing::Length(_), _) | (Framing::UntilClose, Version::Http10) => {
                Route::RawToRaw
            }
            (Framing::Chunked, Version::Http11) => Route::ChunkedToChunked,
            (Framing::Chunked, Version::Http10) => Route::ChunkedToRaw,
            (Framing::UntilClose, Version::Http11) => Route::RawToChunked,
        };
        Self {
            reader: BodyReader::new(source),
            route,
            payload_bytes: 0,
        }
    }

    /// True when the message has ended and its end was given out.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.reader.is_ended()
    }

    /// Payload bytes so far.
    #[must_use]
    pub fn payload_bytes(&self) -> u64 {
        self.payload_bytes
    }

    /// The value of a trailer, once the message has ended.
    #[must_use]
    pub fn trailer(&self, name: &str) -> Option<&[u8]> {
        let lines = self.reader.trailer().split(|&byte| byte == b'\n');
        let mut fields = lines.filter_map(|line| {
            let colon = line.iter().position(|&byte| byte == b':')?;
            Some((&line[..colon], line[colon + 1..].trim_ascii()))
        });
        let found = fields.find(|(field, _)| field.eq_ignore_ascii_case(name.as_bytes()));
        found.map(|(_, value)| value)
    }

    /// How many bytes of `input` to send as they are. They are taken: the next call begins
    /// after them. 0 means that [`BodyRelay::pump`] must take what is next, if anything is.
    ///
    /// # Errors
    ///
    /// The [`BodyError`] of malformed framing, after all bytes before it were given out.
    pub fn pass(&mut self, input: &[u8]) -> Result<usize, BodyError> {
        match self.route {
            Route::RawToChunked | Route::ChunkedToRaw => return Ok(0),
            Route::ChunkedToChunked | Route::RawToRaw => {}
        }
        let mut taken = 0;
        while self.reader.is_plain(&input[taken..]) {
            let segment = match self.reader.advance(&input[taken..]) {
                Ok(Some(segment)) => segment,
                Ok(None) => break,
                Err(_) if taken > 0 => break,
                Err(error) => return Err(error),
            };
            taken += segment.bytes;
            if segment.kind == SegmentKind::Payload {
                self.payload_bytes += segment.bytes as u64;
            }
        }
        Ok(taken)
    }

    /// Takes bytes off `input`'s beginning and appends what to send to `out`. Returns how many
    /// it took: all of them, unless the message ended before.
    ///
    /// # Errors
    ///
    /// The [`BodyError`] of malformed framing; what was appended comes before it.
    pub fn pump(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize, BodyError> {
        let mut taken = 0;
        while let Some(segment) = self.reader.advance(&input[taken..])? {
            let bytes = &input[taken..taken + segment.bytes];
            taken += segment.bytes;
            self.write(segment.kind, bytes, out)?;
        }
        Ok(taken)
    }

    /// Notes that the source's connection has ended, and appends the end that the target's
    /// framing needs, if any.
    ///
    /// # Errors
    ///
    /// [`BodyError::Truncated`] if the body was not whole: then the target's connection must
    /// be closed without an end.
    pub fn end_of_input(&mut self, out: &mut Vec<u8>) -> Result<(), BodyError> {
        let ended_before = self.reader.is_ended();
        self.reader.end_of_input()?;
        if !ended_before && self.route == Route::RawToChunked {
            out.extend_from_slice(b"0\r\n\r\n");
        }
        Ok(())
    }

    /// Takes bytes that nobody wants. Returns how many it took.
    ///
    /// # Errors
    ///
    /// The [`BodyError`] of malformed framing.
    pub fn discard(&mut self, input: &[u8]) -> Result<usize, BodyError> {
        let mut taken = 0;
        while let Some(segment) = self.reader.advance(&input[taken..])? {
            taken += segment.bytes;
        }
        Ok(taken)
    }

    fn write(
        &mut self,
        kind: SegmentKind,
        bytes: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), BodyError> {
        match (kind, self.route) {
            (SegmentKind::Payload, route) => {
                self.payload_bytes += bytes.len() as u64;
                Self::write_payload(route, bytes, out);
            }
            (SegmentKind::Framing, Route::ChunkedToChunked) => out.extend_from_slice(bytes),
            (SegmentKind::Trailer, Route::ChunkedToChunked) if self.reader.is_ended() => {
                trailer::write(self.reader.trailer(), out)?;
            }
            (SegmentKind::Framing | SegmentKind::Extension | SegmentKind::Trailer, _) => {}
        }
        Ok(())
    }

    fn write_payload(route: Route, bytes: &[u8], out: &mut Vec<u8>) {
        match route {
            Route::ChunkedToChunked | Route::ChunkedToRaw | Route::RawToRaw => {
                out.extend_from_slice(bytes)
            }
            Route::RawToChunked => {
                ascii::push_hex(out, bytes.len() as u64);
                out.extend_from_slice(b"\r\n");
                out.extend_from_slice(bytes);
                out.extend_from_slice(b"\r\n");
            }
        }
    }
}
