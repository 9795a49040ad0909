//! Views, and what else stands on a table.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Column, Grant, Index, Qualified, Trigger};

/// A view or materialised view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct View {
    /// Whether it keeps its rows.
    pub kind: ViewKind,
    /// The query.
    pub definition: String,
    /// The role that owns it.
    pub owner: String,
    /// Its columns in order.
    pub columns: Vec<Column>,
    /// Options as `name=value`: `security_barrier`, `security_invoker`, `check_option`.
    pub options: BTreeSet<String>,
    /// Its triggers by name.
    pub triggers: BTreeMap<String, Trigger>,
    /// Its indexes by name, if it keeps its rows.
    pub indexes: BTreeMap<String, Index>,
    /// Its rules by name, besides the query.
    pub rules: BTreeMap<String, String>,
    /// What was granted; `None` is the default.
    pub privileges: Option<BTreeSet<Grant>>,
    /// Its comment.
    pub comment: Option<String>,
    /// What stands on it.
    pub dependents: Vec<Dependent>,
}

/// Whether a view keeps its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ViewKind {
    /// It is a query.
    Plain,
    /// It keeps its rows until it is refreshed.
    Materialized,
}

/// Something outside a table that a drop of the table or of a column would be refused for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dependent {
    /// `view`, `materialized view`, `rule`, `function`, `policy`.
    pub kind: String,
    /// Which.
    pub name: Qualified,
    /// The columns that it uses; empty when it uses the table as a whole.
    pub columns: BTreeSet<String>,
}
