//! What planning a migration against the schema as it is says.

use migration::plan::NoteLevel;
use migration::schema::Schema;
use migration::{Database, Migration, Open};
use model::diagnostic::Diagnostic;

use crate::place::Part;
use crate::{File, Finding, Known, Severity};

/// The schema with what is in progress on it, and the files so far.
pub(crate) struct Planning<'a> {
    /// `None` when nobody can tell any more what it will be.
    schema: Option<&'a Schema>,
    published: Option<&'a str>,
    open: Vec<Open<'a>>,
}

impl<'a> Planning<'a> {
    pub(crate) fn of(known: Known<'a>) -> Self {
        let history = known.history;
        Self {
            schema: known.schema,
            published: history.and_then(|it| it.published),
            open: history.map_or_else(Vec::new, |it| it.open.to_vec()),
        }
    }

    /// Plans the next file, behind those before it.
    pub(crate) fn findings(&mut self, file: &File<'_>, migration: &'a Migration) -> Vec<Finding> {
        let Some(schema) = self.schema else {
            return Vec::new();
        };
        let last = self.open.iter().map(|open| open.serial).max();
        self.open.push(Open {
            serial: last.map_or(1, |serial| serial.saturating_add(1)),
            migration,
        });
        let database = Database {
            schema,
            published: self.published,
            open: &self.open,
        };
        let whole = Part::new(file, 0..file.text.len(), file.text);
        match migration::plan(&database) {
            Ok(plan) => {
                if plan.reread {
                    self.schema = None;
                }
                let notes = plan.notes.into_iter().map(|note| {
                    let severity = match note.level {
                        NoteLevel::Info => Severity::Note,
                        NoteLevel::Warning | NoteLevel::Ask => Severity::Warning,
                    };
                    whole.finding(("plan", severity), note.text, 0..0)
                });
                notes.collect()
            }
            Err(report) => {
                // What comes after stands on it.
                self.schema = None;
                let finding = |it: Diagnostic| {
                    let rule = ("plan", Severity::Error);
                    let mut finding = whole.finding(rule, it.message, it.span);
                    finding.help = it.hint.or(it.expected);
                    finding
                };
                report.diagnostics.into_iter().map(finding).collect()
            }
        }
    }
}
