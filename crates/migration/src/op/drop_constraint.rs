//! A constraint of one column less.

use std::collections::BTreeSet;

use model::diagnostic::Mistake;

use super::facts::placed;
use crate::draft::Draft;
use crate::file::{Fields, Text};
use crate::plan::NoteLevel;
use crate::schema::ConstraintKind;
use crate::shadow::{self, Replacement};
use crate::world::{logical, physical};

/// A constraint less.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropConstraint {
    /// The table.
    pub table: Text,
    /// The constraint.
    pub name: Text,
    /// The new version's value, from the old one's row; the column itself unless given.
    pub up: Option<Text>,
    /// The old version's value, from the new one's row: one that the constraint allows.
    pub down: Option<Text>,
}

impl DropConstraint {
    pub(super) fn read(fields: &mut Fields<'_, '_, '_>) -> Option<Self> {
        let (table, name) = (fields.text("table"), fields.text("name"));
        let (up, down) = (fields.text_if("up"), fields.text_if("down"));
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
        let [column] = columns.as_slice() else {
            let message = format!("`{}` is about {} columns", self.name.value, columns.len());
            let mistake = Mistake::new(self.name.span.clone(), message);
            draft
                .mistakes
                .push(mistake.hint("drop it by `drop_multicolumn_constraint`"));
            return;
        };
        let it = Replacement::same(column, self.up.as_ref(), self.down.as_ref());
        let others = if it.keeps_values() {
            Vec::new()
        } else {
            vec![it]
        };
        forget(draft, table, (&self.name, &others));
    }
}

/// The table and the version's names of the columns of a constraint that can go; else a mistake.
pub(super) fn droppable(
    draft: &mut Draft,
    table: &Text,
    name: &Text,
) -> Option<(usize, Vec<Text>)> {
    let table = draft.table(table)?;
    if !draft.constraint(table, name) {
        return None;
    }
    let known = draft.world.tables[table].clone();
    let it = physical(&known.constraints, name).and_then(|it| known.facts.constraints.get(it))?;
    let key = matches!(it.kind, ConstraintKind::Unique | ConstraintKind::PrimaryKey);
    let pointed_at = known
        .facts
        .referenced_by
        .iter()
        .find(|r| key && same(&r.columns, &it.columns) && draft.world.is_seen(r));
    if let Some(reference) = pointed_at {
        let message = format!(
            "the foreign key `{}` of `{}` leans on it",
            reference.constraint, reference.table
        );
        draft.refuse(&name.span, message);
        return None;
    }
    let columns = it
        .columns
        .iter()
        .filter_map(|column| logical(&known.columns, column));
    let columns = columns.map(|column| placed(column.to_owned(), name));
    Some((table, columns.collect()))
}

fn same(a: &[String], b: &[String]) -> bool {
    a.len() == b.len() && a.iter().all(|column| b.contains(column))
}

/// Drops a constraint: with second columns where the versions' values differ, else at contract.
pub(super) fn forget(draft: &mut Draft, table: usize, (name, others): (&Text, &[Replacement])) {
    if others.is_empty() {
        let physical = draft.world.tables[table].physical.clone();
        let text = format!(
            "the new version's writes must obey `{}` until contract, since `down` changes no value",
            name.value
        );
        draft.note(NoteLevel::Info, &physical, text);
        crate::again::drop_constraint(draft, table, name);
        return;
    }
    let without = BTreeSet::from([name.value.clone()]);
    shadow::replace(draft, table, others, &without);
}
