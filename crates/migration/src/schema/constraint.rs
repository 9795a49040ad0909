//! Constraints.

use serde::{Deserialize, Serialize};

use super::Qualified;

/// A constraint of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Constraint {
    /// What it demands.
    pub kind: ConstraintKind,
    /// As it follows `ADD CONSTRAINT name`.
    pub definition: String,
    /// Its columns: in its own order for keys; those that a check reads, in the table's order.
    pub columns: Vec<String>,
    /// What a check demands.
    pub expression: Option<String>,
    /// Where a foreign key points.
    pub foreign_key: Option<ForeignKey>,
    /// The index that holds it up, for keys and exclusions.
    pub index: Option<String>,
    /// Whether every row was seen to obey.
    pub validated: bool,
    /// Whether it may be checked at commit.
    pub deferrable: bool,
    /// Whether it is checked at commit unless said otherwise.
    pub initially_deferred: bool,
    /// Whether heirs do not get it.
    pub no_inherit: bool,
    /// Whether a parent gave it.
    pub inherited: bool,
    /// Its comment.
    pub comment: Option<String>,
}

/// What a constraint demands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConstraintKind {
    /// Unique and not null.
    PrimaryKey,
    /// Unique.
    Unique,
    /// An expression that is not false.
    Check,
    /// A row elsewhere.
    ForeignKey,
    /// No two rows in conflict.
    Exclusion,
    /// Not null, where the server names it (18).
    NotNull,
}

/// Where a foreign key points.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForeignKey {
    /// The table there.
    pub table: Qualified,
    /// The columns there, each for the column at its place here.
    pub columns: Vec<String>,
    /// What an update there does here.
    pub on_update: ForeignKeyAction,
    /// What a delete there does here.
    pub on_delete: ForeignKeyAction,
    /// The columns that `SET NULL` or `SET DEFAULT` sets at a delete; empty is all.
    pub on_delete_columns: Vec<String>,
    /// What NULL in some columns means.
    pub match_type: ForeignKeyMatch,
}

/// What a change of the row pointed at does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ForeignKeyAction {
    /// Refused at the end.
    NoAction,
    /// Refused at once.
    Restrict,
    /// Done here too.
    Cascade,
    /// Set to NULL here.
    SetNull,
    /// Set to the default here.
    SetDefault,
}

/// What NULL in some columns of a foreign key means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ForeignKeyMatch {
    /// Points nowhere.
    Simple,
    /// Refused.
    Full,
}
