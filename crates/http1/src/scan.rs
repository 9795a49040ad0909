//! Finds the end of a head, byte by byte once, however the input is split.

use crate::limits::{FIRST_LINE_BYTES_MAX, HEAD_BYTES_MAX};
use crate::refusal::Refusal;

/// Finds the end of a head and remembers how far it has looked.
///
/// Only CRLF ends a line. One empty line before a request is skipped, none before a response.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeadScan {
    scanned: usize,
    line_start: usize,
    first_line: FirstLine,
}

/// What the first line of the head may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FirstLine {
    /// A request line; an empty line may come before it.
    Request,
    /// A request line; an empty line has come before it.
    RequestAfterEmpty,
    /// A status line.
    Status,
    /// The first line has ended.
    Ended,
}

impl HeadScan {
    /// A scan for a request's head.
    pub(crate) fn request() -> Self {
        Self::new(FirstLine::Request)
    }

    /// A scan for a response's head.
    pub(crate) fn response() -> Self {
        Self::new(FirstLine::Status)
    }

    fn new(first_line: FirstLine) -> Self {
        Self {
            scanned: 0,
            line_start: 0,
            first_line,
        }
    }

    /// Looks for the head's end in `input`, which begins where the head begins and has only
    /// grown since the last call. Returns the head's length, its empty line included, or
    /// `None` when more bytes are needed. After `Some`, begin anew for the next head.
    ///
    /// # Errors
    ///
    /// The [`Refusal`] of a bare LF, an impossible first byte, or a line or head over its limit.
    pub(crate) fn find_end(&mut self, input: &[u8]) -> Result<Option<usize>, Refusal> {
        self.check_first_byte(input)?;
        let window = &input[..input.len().min(HEAD_BYTES_MAX)];
        let from = self.scanned.min(window.len());
        for offset in memchr::memchr_iter(b'\n', &window[from..]) {
            let line_feed = from + offset;
            if self.end_line(window, line_feed)? {
                return Ok(Some(line_feed + 1));
            }
            self.check_first_byte(input)?;
        }
        self.scanned = window.len();
        self.check_lengths(window.len())?;
        Ok(None)
    }

    /// Handles the line that ends at `line_feed`; true if the head ends there too.
    fn end_line(&mut self, window: &[u8], line_feed: usize) -> Result<bool, Refusal> {
        if self.first_line != FirstLine::Ended && line_feed - self.line_start > FIRST_LINE_BYTES_MAX
        {
            return Err(Refusal::TargetTooLong);
        }
        if line_feed == self.line_start || window[line_feed - 1] != b'\r' {
            return Err(Refusal::BareLf);
        }
        let empty = line_feed - self.line_start == 1;
        self.line_start = line_feed + 1;
        match (self.first_line, empty) {
            (FirstLine::Ended, empty) => Ok(empty),
            (FirstLine::Request, true) => {
                self.first_line = FirstLine::RequestAfterEmpty;
                Ok(false)
            }
            (FirstLine::RequestAfterEmpty | FirstLine::Status, true) => Err(Refusal::FirstLine),
            (FirstLine::Request | FirstLine::RequestAfterEmpty | FirstLine::Status, false) => {
                self.first_line = FirstLine::Ended;
                Ok(false)
            }
        }
    }

    /// Refuses what cannot begin a head at once, rather than wait for its first line's end.
    fn check_first_byte(&self, input: &[u8]) -> Result<(), Refusal> {
        let Some(&first) = input.get(self.line_start) else {
            return Ok(());
        };
        let fits = match self.first_line {
            FirstLine::Request | FirstLine::RequestAfterEmpty => {
                crate::ascii::is_token(first) || first == b'\r' || first == b'\n'
            }
            FirstLine::Status => first == b'H',
            FirstLine::Ended => true,
        };
        if fits {
            Ok(())
        } else {
            Err(Refusal::FirstLine)
        }
    }

    fn check_lengths(&self, seen: usize) -> Result<(), Refusal> {
        if self.first_line != FirstLine::Ended && seen - self.line_start > FIRST_LINE_BYTES_MAX {
            return Err(Refusal::TargetTooLong);
        }
        if seen >= HEAD_BYTES_MAX {
            return Err(Refusal::HeadTooLarge);
        }
        Ok(())
    }
}
