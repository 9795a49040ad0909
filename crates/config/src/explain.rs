//! Every value that is in force, and where it comes from.

use model::Port;
use serde::Serialize;

use crate::declare::{Field, Presence, Speech};
use crate::diagnostic::{Report, Span, nearest, position};
use crate::value::{Pair, Table, Value};

/// The text, and what is explained of it so far.
type Sink<'s> = (&'s str, &'s mut Vec<Explained>);

/// One value that is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explained {
    /// Where it is in the project, such as `service.web.drain`.
    pub path: String,
    /// The value in TOML, or in words where there is none.
    pub value: String,
    /// Where it comes from.
    pub source: Source,
    /// What it means.
    pub description: &'static str,
}

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The file.
    File {
        /// The line, from 1.
        line: usize,
    },
    /// It is not in the file.
    Default,
}

/// Why nothing can be explained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExplainError {
    /// The configuration has mistakes.
    Invalid(Report),
    /// It has no such value.
    UnknownPath {
        /// What was asked for.
        path: String,
        /// The path that was probably meant.
        hint: Option<String>,
    },
}

impl std::fmt::Display for ExplainError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Invalid(report) => report.fmt(f),
            Self::UnknownPath { path, .. } => write!(f, "the configuration has no `{path}`"),
        }
    }
}

impl std::error::Error for ExplainError {}

/// Explains the values of a configuration: all of them, or those at and below `path`.
///
/// # Errors
///
/// [`ExplainError::Invalid`] when the text has mistakes, [`ExplainError::UnknownPath`] when it
/// has nothing at `path`.
pub fn explain(text: &str, path: Option<&str>) -> Result<Vec<Explained>, ExplainError> {
    let (_, table) = crate::check(text).map_err(ExplainError::Invalid)?;
    let mut explained = Vec::new();
    let around = Around {
        traffic: true,
        speech: Speech::Http,
    };
    explain_table(&table, around, (text, &mut explained));
    let Some(path) = path else {
        return Ok(explained);
    };
    let below = |candidate: &str| {
        let rest = candidate.strip_prefix(path);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    let (found, others): (Vec<_>, Vec<_>) = explained.into_iter().partition(|e| below(&e.path));
    if found.is_empty() {
        let hint = nearest(path, others.iter().map(|e| e.path.as_str()));
        let hint = hint.map(str::to_owned);
        let path = path.to_owned();
        return Err(ExplainError::UnknownPath { path, hint });
    }
    Ok(found)
}

/// What the other keys of a service decide about a key that is not there.
#[derive(Clone, Copy)]
struct Around {
    /// Whether the service takes requests.
    traffic: bool,
    /// What its clients speak.
    speech: Speech,
}

fn explain_table(table: &Table, around: Around, (text, explained): Sink<'_>) {
    let value = |name| {
        table
            .entries
            .get(name)
            .and_then(|entry| entry.value.as_ref())
    };
    let strategy = match value("strategy") {
        Some(&Value::Strategy(strategy)) => Some(strategy),
        Some(_) | None => None,
    };
    let traffic = around.traffic && !matches!(value("port"), Some(Value::Port(Port::None)));
    let speech = match value("tcp") {
        Some(Value::Address(_)) => Speech::Tcp,
        Some(_) | None => around.speech,
    };
    for field in table.section.fields {
        let mut groups = table.section.one_of.iter();
        let alternative = groups.any(|group| group.contains(&field.name));
        let lacking = field.needs.is_some_and(|other| !table.is_written(other));
        let own = |strategy| field.strategies.contains(&strategy);
        let void = !field.strategies.is_empty() && !strategy.is_some_and(own)
            || field.traffic && !traffic
            || field.speech.is_some_and(|wanted| wanted != speech)
            || (alternative || lacking) && !table.is_written(field.name);
        if !void {
            let around = Around { traffic, speech };
            explain_field(table, (field, around), (text, explained));
        }
    }
}

fn explain_field(table: &Table, (field, around): (&Field, Around), (text, explained): Sink<'_>) {
    let path = if table.path.is_empty() {
        field.name.to_owned()
    } else {
        format!("{}.{}", table.path, field.name)
    };
    let entry = table
        .entries
        .get(field.name)
        .expect("declared in its section");
    let below: Vec<&Table> = match &entry.value {
        Some(Value::Table(table)) => vec![table],
        Some(Value::Tables(tables)) => tables.iter().collect(),
        Some(Value::Services(services)) => services.iter().map(|(_, table)| table).collect(),
        Some(Value::Map(pairs)) if !pairs.is_empty() => {
            let pairs = pairs
                .iter()
                .map(|pair| explain_pair(pair, (&path, field), text));
            return explained.extend(pairs);
        }
        Some(_) | None => Vec::new(),
    };
    if !below.is_empty() {
        for table in below {
            explain_table(table, around, (text, explained));
        }
        return;
    }
    let (value, source) = match (&entry.written, field.presence) {
        (Some((key, value)), _) => (raw(text, value), line(text, key)),
        (None, Presence::Default(value)) => (value.to_owned(), Source::Default),
        (None, Presence::Optional(meaning)) => (meaning.to_owned(), Source::Default),
        (None, Presence::Required { .. }) => unreachable!("a valid file has `{path}`"),
    };
    explained.push(Explained {
        path,
        value,
        source,
        description: field.description,
    });
}

fn explain_pair(pair: &Pair, (path, field): (&str, &Field), text: &str) -> Explained {
    Explained {
        path: format!("{path}.{}", pair.key),
        value: raw(text, &pair.span),
        source: line(text, &pair.key_span),
        description: field.description,
    }
}

fn line(text: &str, span: &Span) -> Source {
    let (line, _) = position(text, span.start);
    Source::File { line }
}

/// A value as written, on one line.
fn raw(text: &str, span: &Span) -> String {
    let lines = text[span.clone()].lines().map(str::trim);
    lines
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}
