//! Reads a body's framing: which of its bytes are payload, and where it ends.

use thiserror::Error;

use crate::framing::Framing;
use crate::limits::{
    BODY_BYTES_MAX, CHUNK_DIGITS_MAX, CHUNK_EXTENSION_BYTES_MAX, CHUNK_EXTENSIONS_BYTES_MAX,
    TRAILER_BYTES_MAX,
};

/// Why a body cannot be read on; the connection it came from must be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BodyError {
    /// A chunk's size is not a plain hexadecimal number.
    #[error("malformed chunk size")]
    ChunkSize,
    /// A chunk's size cannot be counted.
    #[error("chunk too large")]
    ChunkTooLarge,
    /// A chunk's extensions have a forbidden byte or are longer than the limit.
    #[error("malformed or too long chunk extension")]
    ChunkExtension,
    /// A chunk is not followed by CRLF.
    #[error("chunk without its line end")]
    ChunkEnd,
    /// The trailer section is malformed or names framing.
    #[error("malformed trailer section")]
    Trailer,
    /// The trailer section is longer than the limit.
    #[error("trailer section too large")]
    TrailerTooLarge,
    /// The connection ended before the body did.
    #[error("body cut short")]
    Truncated,
}

/// A run of input bytes that all mean the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// How many bytes of the input it takes, at least one.
    pub bytes: usize,
    /// What they are.
    pub kind: SegmentKind,
}

/// What the bytes of a [`Segment`] are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentKind {
    /// The body itself.
    Payload,
    /// A chunk's size or line end.
    Framing,
    /// A chunk's extension: dropped.
    Extension,
    /// Part of the trailer section or its end, kept by the reader.
    Trailer,
}

/// Where a body stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Length { left: u64 },
    UntilClose,
    Size { size: u64, digits: u8 },
    Extension { size: u64, seen: u32 },
    SizeLineFeed { size: u64 },
    Data { left: u64 },
    DataReturn,
    DataLineFeed,
    Trailer,
    Ended,
    Failed(BodyError),
}

/// Reads a body's framing. Fed with the bytes after the head, in any split.
#[derive(Clone, Debug)]
pub struct BodyReader {
    state: State,
    extension_bytes: u32,
    trailer: Vec<u8>,
}

impl BodyReader {
    /// A reader at the beginning of a body.
    #[must_use]
    pub fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Ended,
            Framing::Length(left) => State::Length { left },
            Framing::Chunked => State::Size { size: 0, digits: 0 },
            Framing::UntilClose => State::UntilClose,
        };
        Self {
            state,
            extension_bytes: 0,
            trailer: Vec::new(),
        }
    }

    /// True when the message has ended; no more input belongs to it.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.state == State::Ended
    }

    /// The trailer section with its empty line; empty until the message has ended, and when
    /// there were no trailers.
    #[must_use]
    pub fn trailer(&self) -> &[u8] {
        if self.is_ended() && self.trailer.len() > 2 {
            &self.trailer
        } else {
            b""
        }
    }

    /// Takes the next run of bytes off `input`'s beginning; `None` if the message has ended
    /// or `input` is empty.
    ///
    /// # Errors
    ///
    /// The [`BodyError`] of malformed framing, from then on at every call.
    pub fn advance(&mut self, input: &[u8]) -> Result<Option<Segment>, BodyError> {
        let advanced = self.try_advance(input);
        if let Err(error) = advanced {
            self.state = State::Failed(error);
        }
        advanced
    }

    fn try_advance(&mut self, input: &[u8]) -> Result<Option<Segment>, BodyError> {
        let Some(&first) = input.first() else {
            return Ok(None);
        };
        let segment = match self.state {
            State::Ended => return Ok(None),
            State::Failed(error) => return Err(error),
            State::UntilClose => payload(input.len()),
            State::Length { left } => {
                let (bytes, left) = run(input, left);
                self.state = if left == 0 {
                    State::Ended
                } else {
                    State::Length { left }
                };
                payload(bytes)
            }
            State::Data { left } => {
                let (bytes, left) = run(input, left);
                self.state = if left == 0 {
                    State::DataReturn
                } else {
                    State::Data { left }
                };
                payload(bytes)
            }
            State::Size { size, digits } if first == b';' && digits > 0 => {
                self.extension(input, size, 0)?
            }
            State::Size { size, digits } => {
                self.framing_byte(after_size_byte(size, digits, first)?)
            }
            State::Extension { size, seen } => self.extension(input, size, seen)?,
            State::SizeLineFeed { size } => self.framing_byte(after_size_line(size, first)?),
            State::DataReturn => self.framing_byte(after_data(first, b'\r', State::DataLineFeed)?),
            State::DataLineFeed => self.framing_byte(after_data(
                first,
                b'\n',
                State::Size { size: 0, digits: 0 },
            )?),
            State::Trailer => self.trailer_line(input)?,
        };
        Ok(Some(segment))
    }

    /// Notes that the input has ended for good.
    ///
    /// # Errors
    ///
    /// [`BodyError::Truncated`] unless the message ended before, or ends by this.
    pub fn end_of_input(&mut self) -> Result<(), BodyError> {
        match self.state {
            State::UntilClose | State::Ended => {
                self.state = State::Ended;
                Ok(())
            }
            State::Length { .. }
            | State::Size { .. }
            | State::Extension { .. }
            | State::SizeLineFeed { .. }
            | State::Data { .. }
            | State::DataReturn
            | State::DataLineFeed
            | State::Trailer => Err(BodyError::Truncated),
            State::Failed(error) => Err(error),
        }
    }

    /// True if the next bytes of `input` are ones that a chunked message to be sent on has
    /// too: not an extension, and of a trailer section only its immediate end.
    pub(crate) fn is_plain(&self, input: &[u8]) -> bool {
        match self.state {
            State::Size { .. } => input.first() != Some(&b';'),
            State::Extension { .. } => input.first() == Some(&b'\r'),
            State::Trailer => self.trailer.is_empty() && input.starts_with(b"\r\n"),
            State::Length { .. }
            | State::UntilClose
            | State::SizeLineFeed { .. }
            | State::Data { .. }
            | State::DataReturn
            | State::DataLineFeed
            | State::Ended
            | State::Failed(_) => true,
        }
    }

    /// Takes one byte of framing, which leads to `after`.
    fn framing_byte(&mut self, after: State) -> Segment {
        self.state = after;
        Segment {
            bytes: 1,
            kind: SegmentKind::Framing,
        }
    }

    /// Takes extension bytes up to the line's CR, or that CR.
    fn extension(&mut self, input: &[u8], size: u64, seen: u32) -> Result<Segment, BodyError> {
        if input[0] == b'\r' {
            self.state = State::SizeLineFeed { size };
            return Ok(Segment {
                bytes: 1,
                kind: SegmentKind::Framing,
            });
        }
        let bytes = memchr::memchr(b'\r', input).unwrap_or(input.len());
        let plain = |&byte: &u8| matches!(byte, b'\t' | 0x20..=0x7e);
        let count = u32::try_from(bytes).unwrap_or(u32::MAX);
        let seen = seen.saturating_add(count);
        self.extension_bytes = self.extension_bytes.saturating_add(count);
        let within =
            seen <= CHUNK_EXTENSION_BYTES_MAX && self.extension_bytes <= CHUNK_EXTENSIONS_BYTES_MAX;
        if !within || !input[..bytes].iter().all(plain) {
            return Err(BodyError::ChunkExtension);
        }
        self.state = State::Extension { size, seen };
        Ok(Segment {
            bytes,
            kind: SegmentKind::Extension,
        })
    }

    /// Takes the trailer section's bytes up to a line's end, and keeps them.
    fn trailer_line(&mut self, input: &[u8]) -> Result<Segment, BodyError> {
        let line_feed = memchr::memchr(b'\n', input);
        let bytes = line_feed.map_or(input.len(), |at| at + 1);
        if self.trailer.len() + bytes > TRAILER_BYTES_MAX {
            return Err(BodyError::TrailerTooLarge);
        }
        self.trailer.extend_from_slice(&input[..bytes]);
        if line_feed.is_some() {
            if !self.trailer.ends_with(b"\r\n") {
                return Err(BodyError::Trailer);
            }
            if self.trailer.len() == 2 || self.trailer.ends_with(b"\r\n\r\n") {
                crate::trailer::check(&self.trailer)?;
                self.state = State::Ended;
            }
        }
        Ok(Segment {
            bytes,
            kind: SegmentKind::Trailer,
        })
    }
}

/// How much of `input` belongs to a run with `left` bytes to come, and what is left then.
fn run(input: &[u8], left: u64) -> (usize, u64) {
    let bytes = usize::try_from(left).map_or(input.len(), |left| left.min(input.len()));
    (bytes, left - bytes as u64)
}

fn payload(bytes: usize) -> Segment {
    Segment {
        bytes,
        kind: SegmentKind::Payload,
    }
}

/// The state after one more byte of a chunk's size line: a digit or CR.
fn after_size_byte(size: u64, digits: u8, byte: u8) -> Result<State, BodyError> {
    let digit = match byte {
        b'0'..=b'9' => byte - b'0',
        b'a'..=b'f' => byte - b'a' + 10,
        b'A'..=b'F' => byte - b'A' + 10,
        b'\r' if digits > 0 => return Ok(State::SizeLineFeed { size }),
        _ => return Err(BodyError::ChunkSize),
    };
    if digits == CHUNK_DIGITS_MAX || size > BODY_BYTES_MAX / 16 {
        return Err(BodyError::ChunkTooLarge);
    }
    Ok(State::Size {
        size: size * 16 + u64::from(digit),
        digits: digits + 1,
    })
}

/// The state after the line feed of a chunk's size line.
fn after_size_line(size: u64, byte: u8) -> Result<State, BodyError> {
    match (byte, size) {
        (b'\n', 0) => Ok(State::Trailer),
        (b'\n', left) => Ok(State::Data { left }),
        _ => Err(BodyError::ChunkSize),
    }
}

/// The state after a byte of the line end that follows a chunk's data.
fn after_data(byte: u8, wanted: u8, after: State) -> Result<State, BodyError> {
    if byte == wanted {
        Ok(after)
    } else {
        Err(BodyError::ChunkEnd)
    }
}
