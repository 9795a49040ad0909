//! SQL as text: quoting, names, and as much of its lexical structure as planning needs.

pub(crate) mod name;
pub(crate) mod token;

pub(crate) use name::{artefact, literal, quote, shortened};
pub(crate) use token::{TokenKind, expression, statements, tokens};
