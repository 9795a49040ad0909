//! Another name of a table: the new version's view has it at once, the table at contract.

use crate::draft::Draft;
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

impl RenameTable {
    pub(super) fn plan(&self, draft: &mut Draft) {
        let Some(table) = draft.table(&self.from) else {
            return;
        };
        if !draft.fits(&self.to) || !draft.is_free(&self.to) {
            return;
        }
        let physical = draft.world.tables[table].physical.clone();
        draft.world.tables[table].name.clone_from(&self.to.value);
        draft.world.tables.sort_by(|a, b| a.name.cmp(&b.name));
        // The catalogue's name changes at contract.
        draft.end(&physical);
    }
}
