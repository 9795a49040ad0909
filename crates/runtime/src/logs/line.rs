//! One line of output as it is kept.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::LogSource;
use super::split::Record;

/// Which of its outputs a program wrote to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// One line of output, or a part of a long one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// When it was read: RFC 3339, UTC, microseconds; sorts as text.
    pub time: String,
    /// The service.
    pub service: String,
    /// The release.
    pub release: String,
    /// The instance.
    pub instance: String,
    /// Which output.
    pub stream: Stream,
    /// The text without its line end.
    pub text: String,
    /// The line was not UTF-8: each other byte stands as `\xNN`, and `\` as `\\`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub escaped: bool,
    /// The line was too long and goes on in the stream's next record.
    #[serde(default, skip_serializing_if = "is_default")]
    pub partial: bool,
    /// Instead of a line: so many bytes were dropped here while no worker read them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub dropped_bytes: u64,
    /// Instead of a line: so many lines could not be written to disk here.
    #[serde(default, skip_serializing_if = "is_default")]
    pub dropped: u64,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// What all lines of one stream have in common.
#[derive(Debug, Clone)]
pub(super) struct Stamp {
    pub(super) source: LogSource,
    pub(super) stream: Stream,
}

impl Stamp {
    /// A line with this text, read now.
    pub(super) fn now(&self, text: String) -> LogLine {
        LogLine {
            time: now(),
            service: self.source.service.clone(),
            release: self.source.release.clone(),
            instance: self.source.instance.clone(),
            stream: self.stream,
            text,
            escaped: false,
            partial: false,
            dropped_bytes: 0,
            dropped: 0,
        }
    }

    /// A record as a line.
    pub(super) fn line(&self, record: Record<'_>) -> LogLine {
        let partial = record.partial;
        match std::str::from_utf8(record.bytes) {
            Ok(text) => LogLine {
                partial,
                ..self.now(text.to_owned())
            },
            Err(_) => LogLine {
                escaped: true,
                partial,
                ..self.now(escape(record.bytes))
            },
        }
    }
}

pub(super) fn now() -> String {
    format!("{:.6}", Timestamp::now())
}

/// Writes bytes as text from which they can be had back.
fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for chunk in bytes.utf8_chunks() {
        text.push_str(&chunk.valid().replace('\\', "\\\\"));
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}
