//! A constraint of several columns less.

use super::create_constraint::replacements;
use super::drop_constraint::{columns, droppable, forget};
use super::facts::placed;
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
}

impl DropMulticolumnConstraint {
    pub(super) fn plan(&self, draft: &mut Draft) {
        let Some(table) = draft.table(&self.table) else {
            return;
        };
        if !droppable(draft, table, &self.name) {
            return;
        }
        let known = draft.world.tables[table].clone();
        let columns = columns(&known, &self.name);
        let columns: Vec<Text> = columns
            .into_iter()
            .map(|column| placed(column, &self.name))
            .collect();
        let others = replacements(draft, table, (&columns, &self.up, &self.down));
        if draft.mistakes.is_empty() {
            forget(draft, table, (&self.name, &others));
        }
    }
}
