//! A column less: the new version does not see it, and it goes at contract.

use crate::draft::Draft;
use crate::file::{Fields, Text};
use crate::rule::Direction;
use crate::shadow::replaceable;
use crate::world::Known;

/// A column less.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropColumn {
    /// The table.
    pub table: Text,
    /// The column.
    pub column: Text,
    /// What older versions find in it in rows that the new one writes.
    pub down: Option<Text>,
}

impl DropColumn {
    pub(super) fn read(fields: &mut Fields<'_, '_, '_>) -> Option<Self> {
        let (table, column) = (fields.text("table"), fields.text("column"));
        let down = fields.text_if("down");
        Some(Self {
            table: table?,
            column: column?,
            down,
        })
    }
}

impl DropColumn {
    pub(super) fn plan(&self, draft: &mut Draft) {
        let Some(table) = draft.table(&self.table) else {
            return;
        };
        let Some(column) = draft.column(table, &self.column) else {
            return;
        };
        let old = draft.world.tables[table].clone();
        if !replaceable(draft, &old, (&column, &self.column)) {
            return;
        }
        if let Some(reference) = old
            .facts
            .referenced_by
            .iter()
            .find(|r| r.columns.contains(&column) && draft.world.is_seen(r))
        {
            let message = format!(
                "the foreign key `{}` of `{}` points at `{}`",
                reference.constraint, reference.table, self.column.value
            );
            draft.refuse(&self.column.span, message);
            return;
        }
        if old.columns.len() == 1 {
            draft.refuse(
                &self.column.span,
                "a table without columns has no view: drop the table",
            );
            return;
        }
        let new = &mut draft.world.tables[table];
        new.columns.retain(|named| named.name != self.column.value);
        new.defaults.remove(&self.column.value);
        // What hangs on the column goes with it.
        let facts = &old.facts;
        let on_it = |name: &str| {
            facts
                .constraints
                .get(name)
                .is_some_and(|it| it.columns.contains(&column))
        };
        new.constraints.retain(|named| !on_it(&named.physical));
        new.indexes.retain(|named| {
            facts.indexes.get(&named.physical).is_none_or(|index| {
                let key = index.parts.iter().any(|part| part.key.text() == column);
                !key && !index.include.contains(&column)
                    && !index.expression_columns.contains(&column)
            })
        });
        let new = draft.world.tables[table].clone();
        self.fill_for_older(draft, (&old, &new), &column);
    }

    fn fill_for_older(&self, draft: &mut Draft, (old, new): (&Known, &Known), column: &str) {
        let facts = old.facts.column(column);
        let filled = facts.is_some_and(|c| {
            c.nullable || c.default.is_some() || c.identity.is_some() || c.generated.is_some()
        });
        match &self.down {
            Some(down) => {
                if !draft.resolves(new, down) {
                    let message = format!("`{}` names no column of `{}`", down.value, new.name);
                    draft.refuse(&down.span, message);
                }
                let rule = draft.rule((new, Direction::Down), column, down);
                draft.rules.push(rule);
            }
            None if !filled => {
                let message = format!(
                    "`{}` is NOT NULL and has no default: say by `down` what older versions find in new rows",
                    self.column.value
                );
                draft.refuse(&self.column.span, message);
            }
            None => {}
        }
    }
}
