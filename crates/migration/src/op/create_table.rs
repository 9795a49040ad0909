//! A new table: no older version knows it, so it is made as it shall be.

use super::part::{ColumnSpec, ConstraintSpec, each};
use crate::file::{Fields, Text};

/// A new table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateTable {
    /// Its name.
    pub name: Text,
    /// Its columns.
    pub columns: Vec<ColumnSpec>,
    /// Its comment.
    pub comment: Option<Text>,
    /// Its constraints, besides those of single columns.
    pub constraints: Vec<ConstraintSpec>,
}

impl CreateTable {
    pub(super) fn read(fields: &mut Fields<'_, '_, '_>) -> Option<Self> {
        let name = fields.text("name");
        let list = fields.list("columns");
        let columns = each(fields, list, ("a column", ColumnSpec::read));
        let list = fields.list_if("constraints");
        let constraints = each(fields, list, ("a constraint", ConstraintSpec::read));
        let comment = fields.text_if("comment");
        let name = name?;
        Some(Self {
            name,
            columns,
            comment,
            constraints,
        })
    }
}
