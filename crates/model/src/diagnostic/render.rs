//! A report as plain text, each span underlined.

use std::fmt::Write as _;

use super::{Diagnostic, Report, Span};

/// The most characters of a source line that are shown.
const LINE_MAX: usize = 120;
/// How many characters before the span stay visible in a line that is too long.
const LEAD: usize = 40;
/// Stands for each character that is not shown.
const HIDDEN: char = '*';

impl Report {
    /// Prints the mistakes, each with its source line and the span underlined.
    ///
    /// `source` must be the text that was checked.
    #[must_use]
    pub fn render(&self, file_name: &str, source: &str) -> String {
        let mut out = String::new();
        for diagnostic in &self.diagnostics {
            let shown = (source, self.concealed.as_slice());
            let written = write_diagnostic(&mut out, diagnostic, file_name, shown);
            written.expect("a String takes everything");
        }
        if self.omitted > 0 {
            out += &format!("and {} more mistakes\n", self.omitted);
        }
        out
    }
}

/// The text, and what of it is not shown.
type Shown<'a> = (&'a str, &'a [Span]);

fn write_diagnostic(
    out: &mut String,
    diagnostic: &Diagnostic,
    file_name: &str,
    source: Shown<'_>,
) -> std::fmt::Result {
    let Diagnostic {
        message,
        span,
        line,
        column,
        expected,
        hint,
        related,
    } = diagnostic;
    let last = related.as_ref().map_or(*line, |r| r.line.max(*line));
    let width = last.to_string().len();
    let gutter = " ".repeat(width);
    writeln!(out, "error: {message}")?;
    writeln!(out, "{gutter}--> {file_name}:{line}:{column}")?;
    writeln!(out, "{gutter} |")?;
    let here = excerpt(source, span);
    writeln!(out, "{line:>width$} | {}", here.text)?;
    let label = expected.as_ref().map(|text| format!("expected {text}"));
    write_underline(out, (width, '^'), &here, label.as_deref())?;
    if let Some(other) = related {
        let there = excerpt(source, &other.span);
        if other.line != *line || there.text != here.text {
            writeln!(out, "{gutter} |")?;
            writeln!(out, "{:>width$} | {}", other.line, there.text)?;
        }
        write_underline(out, (width, '-'), &there, Some(&other.message))?;
    }
    if let Some(hint) = hint {
        writeln!(out, "{gutter} = hint: {hint}")?;
    }
    writeln!(out)
}

fn write_underline(
    out: &mut String,
    (width, mark): (usize, char),
    excerpt: &Excerpt,
    label: Option<&str>,
) -> std::fmt::Result {
    let blank = " ".repeat(excerpt.before);
    let underline = String::from_iter(std::iter::repeat_n(mark, excerpt.len));
    match label {
        Some(label) => writeln!(out, "{:width$} | {blank}{underline} {label}", ""),
        None => writeln!(out, "{:width$} | {blank}{underline}", ""),
    }
}

/// What is shown of a line, and which of its characters are underlined.
struct Excerpt {
    text: String,
    before: usize,
    len: usize,
}

fn excerpt((source, concealed): Shown<'_>, span: &Span) -> Excerpt {
    let start = source[..span.start].rfind('\n').map_or(0, |at| at + 1);
    let end = source[span.start..]
        .find('\n')
        .map_or(source.len(), |at| span.start + at);
    let shown = |(at, c): (usize, char)| match c {
        _ if concealed.iter().any(|span| span.contains(&(start + at))) => HIDDEN,
        c if c.is_control() => ' ',
        c => c,
    };
    let line = source[start..end].trim_end().char_indices();
    let mut line: Vec<char> = line.map(shown).collect();
    hide_passwords(&mut line);
    let before = source[start..span.start].chars().count();
    let len = source[span.start..span.end.min(end).max(span.start)]
        .chars()
        .count();
    let skipped = if line.len() > LINE_MAX {
        before.saturating_sub(LEAD)
    } else {
        0
    };
    let text: String = line.iter().skip(skipped).take(LINE_MAX).collect();
    let before = before - skipped;
    let room = text.chars().count().saturating_sub(before);
    Excerpt {
        text,
        before,
        len: len.min(room).max(1),
    }
}

/// Hides the password of each URL: what stands between a colon and the last `@` after `://`.
pub(super) fn hide_passwords(text: &mut [char]) {
    let mut begin = 0;
    while let Some(scheme) = text[begin..]
        .windows(3)
        .position(|at| at == [':', '/', '/'])
    {
        let user = begin + scheme + 3;
        let ends = |c: &char| c.is_whitespace() || matches!(c, '"' | '\'');
        let end = text[user..].iter().position(ends);
        let end = end.map_or(text.len(), |at| user + at);
        let host = text[user..end].iter().rposition(|&c| c == '@');
        let colon = text[user..end].iter().position(|&c| c == ':');
        if let (Some(host), Some(colon)) = (host, colon)
            && colon < host
        {
            text[user + colon + 1..user + host].fill(HIDDEN);
        }
        begin = end;
    }
}

#[cfg(test)]
mod tests {
    use crate::diagnostic::without_passwords;

    #[test]
    fn passwords_of_urls_are_never_shown() {
        for (text, shown) in [
            ("postgres://u:pw@h/d", "postgres://u:**@h/d"),
            (
                "a = \"x://u:p@w/:@h\" # y://:é@",
                "a = \"x://u:*****@h\" # y://:*@",
            ),
            ("http://h:80/a b@c", "http://h:80/a b@c"),
            ("://u@h", "://u@h"),
            ("://", "://"),
        ] {
            assert_eq!(without_passwords(text), shown);
        }
    }
}
