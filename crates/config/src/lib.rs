//! `gapless.toml`: text to a validated [`model::Project`], or every mistake at once with its span.
//!
//! What the file may hold is declared once, in `declare`: a table per section with each key's
//! form, default and description. Reading, the check for unknown keys, `config explain`, the
//! JSON Schema and the commented file of `gapless init` all come from these tables. Rules
//! between keys, and the step to the model's types, are in `build`.

mod build;
mod declare;
mod diagnostic;
mod explain;
mod form;
mod init;
mod read;
mod schema;
mod value;

pub use explain::{ExplainError, Explained, Source, explain};
pub use init::{Detected, init_file};
pub use model::diagnostic::{Diagnostic, Related, Report};
pub use schema::schema;

use declare::PROJECT;
use diagnostic::{Mistake, Mistakes};
use model::Project;
use read::Reader;
use toml::de::DeTable;
use value::Table;

/// The most bytes a configuration may have.
const BYTES_MAX: usize = 1 << 18;

/// Reads and checks a configuration.
///
/// # Errors
///
/// A [`Report`] of every mistake that the text has.
pub fn parse(text: &str) -> Result<Project, Report> {
    check(text).map(|(project, _)| project)
}

/// Reads and checks a configuration, and keeps where its values came from.
fn check(text: &str) -> Result<(Project, Table), Report> {
    let mut mistakes = Mistakes::new(text, "the configuration");
    if text.len() > BYTES_MAX {
        let message = format!("the configuration has {} bytes", text.len());
        mistakes.add(Mistake::new(0..0, message).expected(format!("at most {BYTES_MAX} bytes")));
        return Err(mistakes.report());
    }
    let (document, errors) = DeTable::parse_recoverable(text);
    mistakes.add_syntax(diagnostic::syntax(text, &errors));
    let table = Reader::new(text, &mut mistakes).root(&PROJECT, document.get_ref());
    let project = build::project(&table, &mut mistakes);
    match project {
        Some(project) if mistakes.is_empty() => Ok((project, table)),
        Some(_) | None => Err(mistakes.report()),
    }
}

#[cfg(test)]
mod tests;
