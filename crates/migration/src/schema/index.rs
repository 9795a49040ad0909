//! Indexes, complete enough to be made again.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::Qualified;

/// An index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Index {
    /// The `CREATE INDEX` that makes it.
    pub definition: String,
    /// `btree`, `hash`, `gist`, …
    pub method: String,
    /// Whether no two rows may be equal.
    pub unique: bool,
    /// Whether NULL equals NULL (15).
    pub nulls_not_distinct: bool,
    /// What it orders by, in order.
    pub parts: Vec<IndexPart>,
    /// The columns of `INCLUDE`, in order.
    pub include: Vec<String>,
    /// Which rows it holds, if not all.
    pub predicate: Option<String>,
    /// The columns that expressions and predicate read, besides the plain ones.
    pub expression_columns: BTreeSet<String>,
    /// Storage parameters as `name=value`.
    pub options: BTreeSet<String>,
    /// Its tablespace, if not the database's.
    pub tablespace: Option<String>,
    /// The constraint that it holds up.
    pub constraint: Option<String>,
    /// Whether it is complete; a broken concurrent build leaves one that is not.
    pub valid: bool,
    /// Whether the table was last ordered by it (`CLUSTER`).
    pub clustered: bool,
    /// The partitioned table's index that it is a part of.
    pub part_of: Option<Qualified>,
    /// Its comment.
    pub comment: Option<String>,
    /// Its size; an estimate, as is the table's.
    pub bytes: u64,
}

impl Index {
    /// The plain columns that it orders by, in order; `None` when there is an expression.
    #[must_use]
    pub fn plain_columns(&self) -> Option<Vec<&str>> {
        let column = |part: &IndexPart| match &part.key {
            IndexKey::Column(_) => true,
            IndexKey::Expression(_) => false,
        };
        if !self.parts.iter().all(column) {
            return None;
        }
        Some(self.parts.iter().map(|part| part.key.text()).collect())
    }
}

/// One thing that an index orders by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IndexPart {
    /// The column or expression.
    pub key: IndexKey,
    /// Whether the greatest is first.
    pub descending: bool,
    /// Whether NULL is first.
    pub nulls_first: bool,
    /// The operator class with its parameters, if it is not the type's own.
    pub opclass: Option<String>,
    /// The collation, if it is not the column's own.
    pub collation: Option<Qualified>,
}

/// A column or an expression.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IndexKey {
    /// A column's name.
    Column(String),
    /// An expression.
    Expression(String),
}

impl IndexKey {
    /// The name or the expression.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Column(text) | Self::Expression(text) => text,
        }
    }
}

impl IndexKey {
    /// The key with each column replaced by what `rename` says.
    pub(crate) fn renamed(&self, table: &str, rename: impl Fn(&str) -> Option<String>) -> Self {
        match self {
            Self::Column(name) => Self::Column(rename(name).unwrap_or_else(|| name.clone())),
            Self::Expression(text) => {
                Self::Expression(crate::sql::expression::renamed(text, table, rename))
            }
        }
    }
}
