//! A table less: the new version does not see it, and it goes at contract.

use crate::draft::Draft;
use crate::file::{Fields, Text};

/// A table less.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropTable {
    /// Its name.
    pub name: Text,
}

impl DropTable {
    pub(super) fn read(fields: &mut Fields<'_, '_, '_>) -> Option<Self> {
        Some(Self {
            name: fields.text("name")?,
        })
    }
}

impl DropTable {
    pub(super) fn plan(&self, draft: &mut Draft) {
        let Some(table) = draft.table(&self.name) else {
            return;
        };
        let known = draft.world.tables[table].clone();
        let here = draft.world.qualified(&known.physical);
        let foreign = known
            .facts
            .referenced_by
            .iter()
            .find(|reference| reference.table != here && draft.world.is_seen(reference));
        if let Some(reference) = foreign {
            let message = format!(
                "the foreign key `{}` of `{}` points at it",
                reference.constraint, reference.table
            );
            draft.refuse(&self.name.span, message);
        }
        for dependent in &known.facts.dependents {
            if !draft.ours(&dependent.name.schema) && dependent.kind != "policy" {
                let message = format!("the {} `{}` uses it", dependent.kind, dependent.name);
                draft.refuse(&self.name.span, message);
            }
        }
        draft.world.tables.remove(table);
    }
}
