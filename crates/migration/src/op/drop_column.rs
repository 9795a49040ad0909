//! A column less: the new version does not see it, and it goes at contract.

use crate::file::{Fields, Text};

/// A column less.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropColumn {
    /// The table.
    pub table: Text,
    /// The column.
    pub column: Text,
    /// What older versions find in it in rows that the new one writes.
    pub down: Option<Text>,
}

impl DropColumn {
    pub(super) fn read(fields: &mut Fields<'_, '_, '_>) -> Option<Self> {
        let (table, column) = (fields.text("table"), fields.text("column"));
        let down = fields.text_if("down");
        Some(Self {
            table: table?,
            column: column?,
            down,
        })
    }
}
