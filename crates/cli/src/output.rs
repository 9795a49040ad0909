//! The only printer: results on standard output, all else on standard error.

use std::io::Write;

use model::Receipt;
use serde::Serialize;

use crate::exit::Trouble;
use crate::render;

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Plain,
    Json,
    Silent,
}

/// Prints results for a person or a machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    form: Form,
}

impl Output {
    /// Plain text, or JSON when it was asked for.
    pub(crate) fn new(json: bool) -> Self {
        Self {
            form: if json { Form::Json } else { Form::Plain },
        }
    }

    /// Prints nothing: for commands that are run only for their answer.
    pub(crate) fn silent() -> Self {
        Self { form: Form::Silent }
    }

    /// Whether machines read it.
    pub(crate) fn is_json(self) -> bool {
        self.form == Form::Json
    }

    /// A result for people; machines get theirs by [`Self::json_line`].
    pub(crate) fn text(self, text: impl AsRef<str>) {
        if self.form == Form::Plain {
            print(&harmless(text.as_ref()));
        }
    }

    /// A result that is the same for people and machines: a script, a schema, a document.
    pub(crate) fn raw(self, text: impl AsRef<str>) {
        if self.form != Form::Silent {
            print(text.as_ref());
        }
    }

    /// A result for machines, on one line.
    pub(crate) fn json_line(self, value: &impl Serialize) {
        if self.form == Form::Json {
            print(&line(value));
        }
    }

    /// Progress and advice: on standard error, so that results stay clean.
    pub(crate) fn note(self, text: impl AsRef<str>) {
        if self.form != Form::Silent {
            // Nobody reads it any more when this fails; the work goes on.
            let _ = writeln!(std::io::stderr(), "{}", harmless(text.as_ref()));
        }
    }

    /// An error: for people on standard error, for machines also as a line of JSON.
    pub(crate) fn trouble(self, trouble: &Trouble) {
        self.note(trouble.to_string());
        self.json_line(&serde_json::json!({
            "type": "error", "code": trouble.exit as u8, "error": trouble.what, "cause": trouble.cause,
            "evidence": trouble.evidence, "traffic": trouble.traffic, "hint": trouble.hint,
        }));
    }

    /// A receipt in the form asked for.
    pub(crate) fn receipt(self, receipt: &Receipt) {
        self.text(render::receipt::text(receipt));
        self.json_line(receipt);
    }
}

/// The text without what a terminal would take as an order: what programs print is shown to
/// people, and must not move their cursor or rename their window.
pub(crate) fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => out.push(c),
            c if c.is_control() => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out
}

fn line(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("our own types serialise")
}

/// Prints and ends calmly when the reader has gone, as `head` does.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{text}").and_then(|()| out.flush()).is_err() {
        std::process::exit(i32::from(crate::exit::Exit::Failed as u8));
    }
}

#[cfg(test)]
mod tests {
    use super::harmless;

    #[test]
    fn what_a_program_prints_gives_a_terminal_no_orders() {
        assert_eq!(harmless("a\tb\nc"), "a\tb\nc");
        assert_eq!(harmless("\u{1b}]0;owned\u{7}"), "\\u{1b}]0;owned\\u{7}");
        assert_eq!(harmless("\u{9b}2J\r"), "\\u{9b}2J\\r");
    }
}
