//! What is to be done to a database, as statements in order: all that a runner must know.
//!
//! A runner knows nothing of operations. It takes a [`Plan`] apart like this, keeping the plan
//! (it is plain data) until it has been contracted or aborted:
//!
//! 1. `expand`, step by step. Nothing that a running program sees changes.
//! 2. `backfill`, one after the other, each in batches.
//! 3. `publish`, step by step. Its last step makes the version's schema, in one transaction;
//!    when a step before it fails, because rows break a new rule, nothing was published and
//!    the change is aborted.
//! 4. Once nobody uses the version before any more: `contract`, which is a forecast as long as
//!    other migrations are in progress; `crate::contract` says what it is when the time has
//!    come, and so does `crate::abort` for the way back. Or, at any time before that,
//!    `abort`, which does not mind what of 1 to 3 was done.
//!
//! Statements run with a `search_path` of the base schema and then what the role has of its own.
//!
//! Steps survive a killed runner: a step that runs in a transaction is recorded as done in that
//! same transaction; one that runs alone says how to see that it is done ([`Run::Alone`]).

use serde::{Deserialize, Serialize};

use crate::schema::Qualified;

/// Everything that one migration does to a database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The versioned schema that it publishes.
    pub version: VersionSchema,
    /// Before the backfill: new columns, triggers, rules that are not validated yet.
    pub expand: Vec<Step>,
    /// The rows that are to be filled in, in order.
    pub backfill: Vec<Backfill>,
    /// After the backfill: indexes, validation, the version's views.
    pub publish: Vec<Step>,
    /// When nobody uses the version before: what that version alone needed goes.
    pub contract: Vec<Step>,
    /// Back to before: correct whatever part of expand, backfill and publish was done.
    pub abort: Vec<Step>,
    /// What a person should know before starting.
    pub notes: Vec<Note>,
    /// Whether `expand` runs a person's own SQL, whose effect nobody can foresee: after it the
    /// schema must be read again, and everything but `expand` taken from a new plan of the same
    /// migrations.
    pub reread: bool,
}

/// The schema whose views show the database as one version of a program knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VersionSchema {
    /// Its name, to be put first in a program's `search_path`.
    pub name: String,
    /// The version schema before it; `None`: programs use the base schema itself.
    pub previous: Option<String>,
    /// The schema where the tables are.
    pub base: String,
    /// The tables it shows, by the names that the program knows.
    pub tables: Vec<String>,
}

/// Statements that belong together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// What it does, for a person: ``add column `nick` to `users` ``.
    pub title: String,
    /// In order; each one statement without a semicolon at its end.
    pub statements: Vec<String>,
    /// How they run.
    pub run: Run,
    /// The strongest lock on each table.
    pub locks: Vec<TableLock>,
    /// How long it works while it holds them.
    pub cost: Cost,
    /// Why this is safe beside running programs, or why not.
    pub why: String,
}

/// How a step's statements run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "run", rename_all = "snake_case", deny_unknown_fields)]
pub enum Run {
    /// In one transaction, under the lock timeout, again after a pause when that passes;
    /// recorded as done in the same transaction.
    Together,
    /// As [`Run::Together`], without a limit to how long a statement may work: it reads whole
    /// tables under locks that stop neither readers nor writers.
    Validate,
    /// Each statement outside of any transaction and without a lock timeout, as `CONCURRENTLY`
    /// demands.
    Alone {
        /// A query of one boolean: whether the step is done and what it made is valid.
        done: String,
        /// What removes the remains of a try that failed; run before each try when `done` is
        /// false. Statements outside of any transaction, harmless when there is nothing.
        clear: Vec<String>,
    },
}

/// A lock on a table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableLock {
    /// The table, as it is called in the catalogue.
    pub table: Qualified,
    /// How strong.
    pub level: LockLevel,
}

/// PostgreSQL's table locks, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LockLevel {
    /// Reading.
    AccessShare,
    /// `SELECT … FOR UPDATE`.
    RowShare,
    /// Writing.
    RowExclusive,
    /// Validation, concurrent index builds: stops neither readers nor writers.
    ShareUpdateExclusive,
    /// Plain index builds: stops writers.
    Share,
    /// Triggers, foreign keys: stops writers.
    ShareRowExclusive,
    /// Stops all but plain readers.
    Exclusive,
    /// Stops everybody.
    AccessExclusive,
}

impl LockLevel {
    /// As PostgreSQL's manual calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::AccessShare => "ACCESS SHARE",
            Self::RowShare => "ROW SHARE",
            Self::RowExclusive => "ROW EXCLUSIVE",
            Self::ShareUpdateExclusive => "SHARE UPDATE EXCLUSIVE",
            Self::Share => "SHARE",
            Self::ShareRowExclusive => "SHARE ROW EXCLUSIVE",
            Self::Exclusive => "EXCLUSIVE",
            Self::AccessExclusive => "ACCESS EXCLUSIVE",
        }
    }
}

/// How long a step works while it holds its locks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cost {
    /// It changes the catalogue only.
    Instant,
    /// It reads the whole table.
    Scan,
    /// It writes the whole table anew.
    Rewrite,
    /// Nobody can tell: a person's own SQL.
    Unknown,
}

/// Rows of one table that are to be filled in.
///
/// A batch is: `SET LOCAL gapless.backfill = 'on'`, `SET LOCAL search_path` to `search_path`,
/// then `UPDATE table AS alias SET set… WHERE` the batch's range of the key. The setting tells
/// the change's own triggers that this is no program's write. The search path must be set the
/// same way for every batch, since the expressions are resolved by it. A row that the batch
/// meets twice gets the same again, unless the expression is volatile; nobody sees these
/// columns before the backfill has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backfill {
    /// The table, as it is called in the catalogue.
    pub table: Qualified,
    /// The name by which the expressions know the table, not quoted.
    pub alias: String,
    /// What the ranges of the batches go over.
    pub key: Key,
    /// The columns to be set.
    pub set: Vec<Assignment>,
    /// The schemas to be searched, in order, not quoted.
    pub search_path: Vec<String>,
    /// The table's own triggers that would fire for the batches' updates.
    pub triggers: Vec<FiringTrigger>,
}

/// What the ranges of a backfill's batches go over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "key", rename_all = "snake_case", deny_unknown_fields)]
pub enum Key {
    /// Not-null columns in the order of a valid unique btree index.
    Columns {
        /// The columns, not quoted.
        columns: Vec<String>,
        /// The index.
        index: String,
    },
    /// There is no such index: ranges of pages.
    Ctid,
}

/// One column that a backfill sets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assignment {
    /// The column, as it is called in the catalogue, not quoted.
    pub column: String,
    /// An SQL expression over the row, in parentheses where it needs them.
    pub expression: String,
}

/// A trigger that somebody made on a table to be filled in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FiringTrigger {
    /// Its name, not quoted.
    pub name: String,
    /// What becomes of what it does.
    pub effect: TriggerEffect,
}

/// What becomes of what a trigger does when a backfill's update fires it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TriggerEffect {
    /// It changes the row before the update, and a last trigger of the plan's own puts every
    /// column back that is not to be filled in.
    Undone,
    /// It fires and what it does stays, unless the runner silences it by
    /// `session_replication_role = replica`.
    Fires,
    /// It fires and what it does stays: it is enabled always.
    FiresAlways,
}

/// Something that a person should know before starting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Note {
    /// How much it matters.
    pub level: NoteLevel,
    /// The table it is about.
    pub table: Option<String>,
    /// What.
    pub text: String,
}

/// How much a note matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoteLevel {
    /// Good to know.
    Info,
    /// Look before you start.
    Warning,
    /// Not to be started unless a person has seen it and said yes.
    Ask,
}
