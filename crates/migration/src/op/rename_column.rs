//! Another name of a column: the new version's view shows it at once, the table at contract.

use crate::draft::Draft;
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

impl RenameColumn {
    pub(super) fn plan(&self, draft: &mut Draft) {
        let Some(table) = draft.table(&self.table) else {
            return;
        };
        if draft.column(table, &self.from).is_none() || !draft.fits(&self.to) {
            return;
        }
        let known = &mut draft.world.tables[table];
        if known
            .columns
            .iter()
            .any(|column| column.name == self.to.value)
        {
            let message = format!("`{}` has a column `{}` already", known.name, self.to.value);
            draft.refuse(&self.to.span, message);
            return;
        }
        for column in known
            .columns
            .iter_mut()
            .filter(|c| c.name == self.from.value)
        {
            column.name.clone_from(&self.to.value);
        }
        if let Some(default) = known.defaults.remove(&self.from.value) {
            known.defaults.insert(self.to.value.clone(), default);
        }
    }
}
