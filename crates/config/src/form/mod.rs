//! Forms that strings of the file may have: each with its parser, its wording and its pattern.

mod address;
mod amount;
mod balance;
mod choice;
mod command;
mod duration;
mod hedge;
mod name;
mod path;
mod route;
mod shadow;

pub(crate) use address::{ADDRESS, NETWORK, PORTS};
pub(crate) use amount::{SHARE, SIZE, decimal, share};
pub(crate) use balance::BALANCE;
pub(crate) use choice::{
    AFFINITY, DEMAND, METRIC, ON_FAIL, ON_NO_DATA, PROTOCOL, PROXY_PROTOCOL, SEARCH_PATH, SIGNAL,
    STICK, STRATEGY,
};
pub(crate) use command::{Refused, split};
pub(crate) use duration::{BOUND, DURATION, SPAN_OF_TIME};
pub(crate) use hedge::HEDGE_AFTER;
pub(crate) use name::{
    COOKIE_NAME, GRPC_SERVICE, HEADER_NAME, MATCH_VALUE, SCHEMA_NAME, SECRET_NAME,
    SECRET_REFERENCE, SERVICE_NAME, TEXT, VARIABLE_NAME,
};
pub(crate) use path::ABSOLUTE_PATH;
pub(crate) use route::{HOST, HTTP_PATH, PATH, PREVIEW_HOST, TLS_NAME};
pub(crate) use shadow::{FIELD, METHOD};

use crate::diagnostic::did_you_mean;
use crate::value::Value;

/// What a string of the file may look like.
#[derive(Debug)]
pub(crate) struct Form {
    /// The wording after "expected".
    pub(crate) expected: &'static str,
    /// What is accepted.
    pub(crate) syntax: Syntax,
    /// Whether what is written in its stead may be a secret, which nobody is to repeat.
    pub(crate) is_secret: bool,
}

/// What a form accepts.
#[derive(Debug)]
pub(crate) enum Syntax {
    /// Whatever the parser takes; `pattern` describes it to editors.
    Parsed {
        /// A regular expression that every accepted text matches.
        pattern: &'static str,
        parse: fn(&str) -> Parsed,
    },
    /// One of these words.
    Choices(&'static [(&'static str, Value)]),
}

/// The value of a text, or a hint at how to write it.
pub(crate) type Parsed = Result<Value, Option<String>>;

impl Form {
    const fn new(expected: &'static str, pattern: &'static str, parse: fn(&str) -> Parsed) -> Self {
        Self {
            expected,
            syntax: Syntax::Parsed { pattern, parse },
            is_secret: false,
        }
    }

    /// The same, where a secret may have been written by mistake.
    const fn secret(self) -> Self {
        Self {
            is_secret: true,
            ..self
        }
    }

    const fn choices(expected: &'static str, choices: &'static [(&'static str, Value)]) -> Self {
        Self {
            expected,
            syntax: Syntax::Choices(choices),
            is_secret: false,
        }
    }

    /// Reads `text`, or says how to write what was probably meant.
    pub(crate) fn parse(&self, text: &str) -> Parsed {
        match self.syntax {
            Syntax::Parsed { parse, .. } => parse(text),
            Syntax::Choices(choices) => {
                let found = choices.iter().find(|(name, _)| *name == text);
                let names = choices.iter().map(|(name, _)| *name);
                found
                    .map(|(_, value)| value.clone())
                    .ok_or_else(|| did_you_mean(text, names))
            }
        }
    }
}

/// A hint to write something else.
fn write(instead: impl std::fmt::Display) -> Option<String> {
    Some(format!("write `\"{instead}\"`"))
}
