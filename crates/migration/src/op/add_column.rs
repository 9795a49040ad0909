//! A new column: made beside, filled from `up`, and shown to the new version only.

use super::part::{ColumnSpec, within};
use crate::file::{Fields, Text};

/// A new column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddColumn {
    /// The table.
    pub table: Text,
    /// The column.
    pub column: ColumnSpec,
    /// What it is in rows that an older version writes, and in those that are there.
    pub up: Option<Text>,
}

impl AddColumn {
    pub(super) fn read(fields: &mut Fields<'_, '_, '_>) -> Option<Self> {
        let (table, up) = (fields.text("table"), fields.text_if("up"));
        if fields.node("column").is_none() {
            // Says that it is missing.
            fields.text("column");
        }
        let column = within(fields, "column", ColumnSpec::read);
        Some(Self {
            table: table?,
            column: column?,
            up,
        })
    }
}
