//! A constraint of several columns less.

use super::create_constraint::replacements;
use super::drop_constraint::{droppable, forget};
use crate::draft::Draft;
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

    pub(super) fn plan(&self, draft: &mut Draft) {
        let Some((table, columns)) = droppable(draft, &self.table, &self.name) else {
            return;
        };
        let others = replacements(draft, table, (&columns, &self.up, &self.down));
        if draft.mistakes.is_empty() {
            forget(draft, table, (&self.name, &others));
        }
    }
}
