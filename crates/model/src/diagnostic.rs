//! What is wrong with a text that a person wrote, and where.
//!
//! The rooms that read such texts collect every mistake before they report any.

mod render;

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

use serde::Serialize;

/// A range of bytes in the text.
pub type Span = Range<usize>;

/// The most syntax errors reported: after that many the rest is noise.
const SYNTAX_MAX: usize = 20;
/// The most syntax errors looked at.
const SYNTAX_SEEN_MAX: usize = 1_000;
/// The most other mistakes reported.
const MISTAKES_MAX: usize = 200;

/// One mistake in a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// What is wrong.
    pub message: String,
    /// Which bytes of the text are wrong; within the text and on character boundaries.
    pub span: Range<usize>,
    /// The line of the span's first character, from 1.
    pub line: usize,
    /// The column of the span's first character, in characters from 1.
    pub column: usize,
    /// What was expected instead.
    pub expected: Option<String>,
    /// What to do, or the nearest valid name.
    pub hint: Option<String>,
    /// Another place that has to do with it.
    pub related: Option<Related>,
}

/// A second place that a mistake has to do with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Related {
    /// What is there.
    pub message: String,
    /// Its bytes in the text.
    pub span: Range<usize>,
    /// Its line, from 1.
    pub line: usize,
    /// Its column, in characters from 1.
    pub column: usize,
}

/// Every mistake of one text, in the order of the text; at least one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The mistakes.
    pub diagnostics: Vec<Diagnostic>,
    /// How many more there are than a report takes.
    pub omitted: usize,
    /// What the text is, in a sentence.
    #[serde(skip)]
    subject: &'static str,
    /// What is not repeated of the text: values that may be secrets.
    #[serde(skip)]
    concealed: Vec<Span>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.diagnostics.len() + self.omitted {
            1 => write!(f, "{} has 1 mistake", self.subject),
            count => write!(f, "{} has {count} mistakes", self.subject),
        }
    }
}

impl std::error::Error for Report {}

/// A mistake before its place is worked out.
#[derive(Debug)]
pub struct Mistake {
    span: Span,
    message: String,
    expected: Option<String>,
    hint: Option<String>,
    related: Option<(Span, String)>,
    /// Whether something is missing, which a syntax error elsewhere may have swallowed.
    absence: bool,
}

impl Mistake {
    /// A mistake at `span`.
    #[must_use]
    pub fn new(span: Span, message: impl Into<String>) -> Self {
        Self {
            span,
            message: message.into(),
            expected: None,
            hint: None,
            related: None,
            absence: false,
        }
    }

    /// A mistake that consists in something not being there.
    #[must_use]
    pub fn missing(span: Span, message: impl Into<String>) -> Self {
        Self {
            absence: true,
            ..Self::new(span, message)
        }
    }

    /// Says what was expected instead.
    #[must_use]
    pub fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        self.hint_if(Some(hint.into()))
    }

    /// Says what to do, if that is known.
    #[must_use]
    pub fn hint_if(mut self, hint: Option<String>) -> Self {
        self.hint = hint;
        self
    }

    /// Names another place that has to do with it.
    #[must_use]
    pub fn related(mut self, span: Span, message: impl Into<String>) -> Self {
        self.related = Some((span, message.into()));
        self
    }
}

/// Collects the mistakes of one text.
#[derive(Debug)]
pub struct Mistakes<'a> {
    text: &'a str,
    subject: &'static str,
    syntax: Vec<Mistake>,
    others: Vec<Mistake>,
    omitted: usize,
    concealed: Vec<Span>,
}

impl<'a> Mistakes<'a> {
    /// No mistakes yet in `text`, which is called `subject` in a sentence.
    #[must_use]
    pub fn new(text: &'a str, subject: &'static str) -> Self {
        Self {
            text,
            subject,
            syntax: Vec::new(),
            others: Vec::new(),
            omitted: 0,
            concealed: Vec::new(),
        }
    }

    /// Keeps what stands at `span` out of what is shown of the text: it may be a secret.
    pub fn conceal(&mut self, span: Span) {
        self.concealed.push(within(self.text, &span));
    }

    /// Adds a mistake; after a bound they are only counted.
    pub fn add(&mut self, mistake: Mistake) {
        if self.others.len() < MISTAKES_MAX {
            self.others.push(mistake);
        } else {
            self.omitted += 1;
        }
    }

    /// Adds what a parser says: the first error of each line, since more are its consequences.
    pub fn add_syntax(&mut self, errors: impl IntoIterator<Item = Mistake>) {
        let mut told = BTreeSet::new();
        for mut mistake in errors.into_iter().take(SYNTAX_SEEN_MAX) {
            mistake.span = within(self.text, &mistake.span);
            let (line, _) = position(self.text, mistake.span.start);
            if told.len() < SYNTAX_MAX && told.insert(line) {
                self.syntax.push(mistake);
            }
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.syntax.is_empty() && self.others.is_empty()
    }

    /// All mistakes in the order of the text.
    ///
    /// Beside syntax errors only those are kept that cannot be their consequence.
    #[must_use]
    pub fn report(self) -> Report {
        let Self {
            text,
            subject,
            syntax,
            others,
            omitted,
            concealed,
        } = self;
        let lines = |span: &Span| {
            let span = within(text, span);
            position(text, span.start).0..=position(text, span.end).0
        };
        let broken: BTreeSet<usize> = syntax.iter().flat_map(|m| lines(&m.span)).collect();
        let independent = |mistake: &Mistake| {
            let touched = || lines(&mistake.span).any(|line| broken.contains(&line));
            broken.is_empty() || !(mistake.absence || mistake.span.is_empty() || touched())
        };
        let others: Vec<Mistake> = others.into_iter().filter(independent).collect();
        let mut diagnostics: Vec<Diagnostic> = syntax
            .into_iter()
            .chain(others)
            .map(|mistake| place(text, mistake))
            .collect();
        diagnostics.sort_by_key(|d| (d.span.start, d.span.end));
        diagnostics.dedup();
        Report {
            diagnostics,
            omitted,
            subject,
            concealed,
        }
    }
}

fn place(text: &str, mistake: Mistake) -> Diagnostic {
    let span = within(text, &mistake.span);
    let (line, column) = position(text, span.start);
    Diagnostic {
        message: mistake.message,
        span,
        line,
        column,
        expected: mistake.expected,
        hint: mistake.hint,
        related: mistake.related.map(|(span, message)| {
            let span = within(text, &span);
            let (line, column) = position(text, span.start);
            Related {
                message,
                span,
                line,
                column,
            }
        }),
    }
}

/// The part of `span` that lies in `text`, on character boundaries.
fn within(text: &str, span: &Span) -> Span {
    let start = text.floor_char_boundary(span.start);
    start..text.ceil_char_boundary(span.end).max(start)
}

/// Line and column, both from 1, of a byte on a character boundary.
#[must_use]
pub fn position(text: &str, byte: usize) -> (usize, usize) {
    let before = &text[..byte];
    let line = before.bytes().filter(|&b| b == b'\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (line, before[start..].chars().count() + 1)
}

/// `text` with the password of each URL in it hidden, character for character.
#[must_use]
pub fn without_passwords(text: &str) -> String {
    let mut text: Vec<char> = text.chars().collect();
    render::hide_passwords(&mut text);
    text.into_iter().collect()
}

/// The name among `valid` that `name` was probably meant to be: one with few other letters,
/// else the only one that has `name` within it.
#[must_use]
pub fn nearest<'n>(name: &str, valid: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let name = name.to_lowercase();
    let distance_max = (name.chars().count() / 3).clamp(1, 3);
    let valid: Vec<(&str, String)> = valid
        .into_iter()
        .map(|candidate| (candidate, candidate.to_lowercase()))
        .collect();
    let near = valid
        .iter()
        .map(|(candidate, lower)| (strsim::damerau_levenshtein(&name, lower), candidate))
        .filter(|&(distance, _)| distance <= distance_max)
        .min();
    let mut containing = valid
        .iter()
        .filter(|(_, lower)| name.len() > 2 && lower.contains(&name));
    match (near, containing.next(), containing.next()) {
        (Some((_, candidate)), _, _) | (None, Some((candidate, _)), None) => Some(candidate),
        (None, _, _) => None,
    }
}

/// A hint at the name that was probably meant.
#[must_use]
pub fn did_you_mean<'n>(name: &str, valid: impl IntoIterator<Item = &'n str>) -> Option<String> {
    nearest(name, valid).map(|near| format!("did you mean `{near}`?"))
}
