//! From places in a part of a file to places in the file.

use std::ops::Range;

use model::diagnostic::position;

use crate::{File, Finding, Fix, Severity};

/// A part of a file: a script, or the text of one field.
#[derive(Debug, Clone)]
pub(crate) struct Part<'a> {
    file: File<'a>,
    span: Range<usize>,
    /// Whether the part's text stands in the file as it is, so that places can be told apart.
    verbatim: bool,
}

impl<'a> Part<'a> {
    /// The part of `file` at `span`, whose text is `text`.
    pub(crate) fn new(file: &File<'a>, span: Range<usize>, text: &str) -> Self {
        let verbatim = file.text.get(span.clone()) == Some(text);
        Self {
            file: *file,
            span,
            verbatim,
        }
    }

    /// A finding about `range` of the part's text.
    pub(crate) fn finding(
        &self,
        (rule, severity): (&str, Severity),
        message: impl Into<String>,
        range: Range<usize>,
    ) -> Finding {
        let span = self.place(&range);
        let (line, column) = position(self.file.text, span.start);
        Finding {
            file: self.file.name.to_owned(),
            rule: rule.to_owned(),
            severity,
            message: message.into(),
            span,
            line,
            column,
            help: None,
            fix: None,
        }
    }

    /// A fix by edits of the part's text; `None` where it does not stand in the file as it is.
    pub(crate) fn fix(
        &self,
        title: String,
        edits: impl IntoIterator<Item = (Range<usize>, String)>,
    ) -> Option<Fix> {
        let place = |(range, text): (Range<usize>, String)| {
            (
                range.start + self.span.start..range.end + self.span.start,
                text,
            )
        };
        let edits = edits.into_iter().map(place).collect();
        self.verbatim.then_some(Fix { title, edits })
    }

    fn place(&self, range: &Range<usize>) -> Range<usize> {
        let whole = self.file.text;
        let span = match self.verbatim {
            true => range.start + self.span.start..range.end + self.span.start,
            false => self.span.clone(),
        };
        let start = whole.floor_char_boundary(span.start);
        start..whole.ceil_char_boundary(span.end).max(start)
    }
}
