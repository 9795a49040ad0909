//! Another name of a column: the new version's view shows it at once, the table at contract.

use crate::file::{Fields, Text};

/// Another name of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenameColumn {
    /// The table.
    pub table: Text,
    /// The name it has.
    pub from: Text,
    /// The name it gets.
    pub to: Text,
}

impl RenameColumn {
    pub(super) fn read(fields: &mut Fields<'_, '_, '_>) -> Option<Self> {
        let (table, from, to) = (fields.text("table"), fields.text("from"), fields.text("to"));
        Some(Self {
            table: table?,
            from: from?,
            to: to?,
        })
    }
}
