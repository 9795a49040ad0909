//! A constraint of several columns less.

use crate::file::{Fields, Text};

/// A constraint less.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropMulticolumnConstraint {
    /// The table.
    pub table: Text,
    /// The constraint.
    pub name: Text,
    /// The new version's values by column, from the old one's row.
    pub up: Vec<(Text, Text)>,
    /// The old version's values by column, from the new one's row.
    pub down: Vec<(Text, Text)>,
}

impl DropMulticolumnConstraint {
    pub(super) fn read(fields: &mut Fields<'_, '_, '_>) -> Option<Self> {
        let (table, name) = (fields.text("table"), fields.text("name"));
        let (up, down) = (fields.named_texts("up"), fields.named_texts("down"));
        Some(Self {
            table: table?,
            name: name?,
            up,
            down,
        })
    }
}
