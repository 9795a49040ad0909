//! Another name of a constraint, at contract.

use crate::draft::Draft;
use crate::file::{Fields, Text};

/// Another name of a constraint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenameConstraint {
    /// The table.
    pub table: Text,
    /// The name it has.
    pub from: Text,
    /// The name it gets.
    pub to: Text,
}

impl RenameConstraint {
    pub(super) fn read(fields: &mut Fields<'_, '_, '_>) -> Option<Self> {
        let (table, from, to) = (fields.text("table"), fields.text("from"), fields.text("to"));
        Some(Self {
            table: table?,
            from: from?,
            to: to?,
        })
    }
}

impl RenameConstraint {
    pub(super) fn plan(&self, draft: &mut Draft) {
        let Some(table) = draft.table(&self.table) else {
            return;
        };
        if !draft.constraint(table, &self.from) || !draft.fits(&self.to) {
            return;
        }
        if draft.has_constraint(table, &self.to) {
            return;
        }
        let known = &mut draft.world.tables[table];
        for named in known
            .constraints
            .iter_mut()
            .filter(|c| c.name == self.from.value)
        {
            named.name.clone_from(&self.to.value);
        }
        // The index of a key is called as the key is.
        for named in known
            .indexes
            .iter_mut()
            .filter(|c| c.name == self.from.value)
        {
            named.name.clone_from(&self.to.value);
        }
    }
}
