//! What is dangerous about a migration, said with its place and a better way.
//!
//! It reads Gapless' own files and the SQL of any tool (Flyway, Liquibase, Alembic's offline
//! mode, sqlx, Rails' structure). Rules about SQL as such come from squawk; rules of our own add
//! what only somebody who knows the phases of a change, the size of tables and the columns that
//! the running release uses can say. Nothing here needs a database: what is known of one is an
//! argument.

mod format;
mod operation;
mod place;
mod planning;
mod rule;
mod statement;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use migration::schema::Schema;
use migration::{Migration, Open};
use model::diagnostic::Report;
use serde::Serialize;

pub use format::{json, sarif, text};

/// A file to be looked at.
#[derive(Debug, Clone, Copy)]
pub struct File<'a> {
    /// Its name; its ending says of what form it is.
    pub name: &'a str,
    /// Its text.
    pub text: &'a str,
}

/// What is known besides the files.
#[derive(Debug, Clone, Copy, Default)]
pub struct Known<'a> {
    /// The schema as it is.
    pub schema: Option<&'a Schema>,
    /// The columns that the running release uses, by table.
    pub used: Option<&'a BTreeMap<String, BTreeSet<String>>>,
    /// What was done to the schema.
    pub history: Option<History<'a>>,
}

/// What was done to a schema. Migrations that are in it are not looked at: it is too late.
#[derive(Debug, Clone, Copy)]
pub struct History<'a> {
    /// The changes in progress, oldest first.
    pub open: &'a [Open<'a>],
    /// The version schema that the last contracted change left.
    pub published: Option<&'a str>,
    /// The names of all changes.
    pub done: &'a BTreeSet<String>,
    /// Everything up to this name was there before the history began.
    pub baseline: Option<&'a str>,
}

impl History<'_> {
    fn has(&self, name: &str) -> bool {
        self.done.contains(name) || self.baseline.is_some_and(|last| name <= last)
    }
}

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Good to know.
    Note,
    /// It may stop requests, or break the version that runs.
    Warning,
    /// It does.
    Error,
}

/// One thing that is dangerous.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The file's name.
    pub file: String,
    /// The rule's name.
    pub rule: String,
    /// How much it matters.
    pub severity: Severity,
    /// What is dangerous, and why.
    pub message: String,
    /// The bytes of the file that it is about.
    pub span: Range<usize>,
    /// The line of the first, from 1.
    pub line: usize,
    /// Its column, in characters from 1.
    pub column: usize,
    /// A better way.
    pub help: Option<String>,
    /// A change of the text that is a better way.
    pub fix: Option<Fix>,
}

/// A change of the text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fix {
    /// What it does.
    pub title: String,
    /// The bytes that go, with what takes their place; none overlap.
    pub edits: Vec<(Range<usize>, String)>,
}

/// What became of the files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Linted {
    /// What is dangerous, in the order of the files and of their text.
    pub findings: Vec<Finding>,
    /// The files that are no migrations, with why.
    pub unreadable: Vec<(String, Report)>,
}

/// Looks at `files`, which are taken as the order in which they run.
#[must_use]
pub fn lint(files: &[File<'_>], known: Known<'_>) -> Linted {
    let mut linted = Linted::default();
    let read = |file: &File<'_>| match is_foreign(file) {
        true => None,
        false => Some(migration::read(file.name, file.text)),
    };
    let migrations: Vec<Option<Result<Migration, Report>>> = files.iter().map(read).collect();
    let mut tables = operation::Tables::of(known.schema);
    let mut planning = planning::Planning::of(known);
    for (file, migration) in files.iter().zip(&migrations) {
        match migration {
            None => {
                let script = statement::Script::of_tool(file);
                linted.findings.extend(script.findings(known));
            }
            Some(Ok(migration)) if known.history.is_some_and(|it| it.has(&migration.name)) => {}
            Some(Ok(migration)) => {
                let mut findings = operation::findings(file, migration, (&mut tables, known));
                findings.extend(planning.findings(file, migration));
                findings.sort_by(|a, b| (a.span.start, &a.rule).cmp(&(b.span.start, &b.rule)));
                findings.dedup();
                linted.findings.extend(findings);
            }
            Some(Err(report)) => linted
                .unreadable
                .push((file.name.to_owned(), report.clone())),
        }
    }
    linted
}

/// Whether a file is SQL of another tool: ours says in which phase it runs.
fn is_foreign(file: &File<'_>) -> bool {
    let ours = file.text.lines().any(|line| {
        let comment = line.trim().strip_prefix("--").map(str::trim_start);
        comment.is_some_and(|rest| rest.starts_with("gapless:"))
    });
    file.name.ends_with(".sql") && !ours
}
