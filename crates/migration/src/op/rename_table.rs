//! Another name of a table: the new version's view has it at once, the table at contract.

use crate::file::{Fields, Text};

/// Another name of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenameTable {
    /// The name it has.
    pub from: Text,
    /// The name it gets.
    pub to: Text,
}

impl RenameTable {
    pub(super) fn read(fields: &mut Fields<'_, '_, '_>) -> Option<Self> {
        let (from, to) = (fields.text("from"), fields.text("to"));
        Some(Self {
            from: from?,
            to: to?,
        })
    }
}
