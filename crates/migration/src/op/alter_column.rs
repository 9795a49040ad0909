//! Another type, nullability, default, comment or constraint of a column.

use std::collections::BTreeSet;

use model::diagnostic::Mistake;

use super::facts::{self, placed};
use super::part::{CheckSpec, Deferral, ReferenceSpec, within};
use crate::column;
use crate::draft::Draft;
use crate::file::{Choice, Fields, Placed, Text};
use crate::schema::ConstraintKind;
use crate::shadow::{Replacement, replace};
use crate::sql::{literal, quote};
use crate::world::{Known, physical};

/// What changes about a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlterColumn {
    /// The table.
    pub table: Text,
    /// The column.
    pub column: Text,
    /// Another type.
    pub data_type: Option<Text>,
    /// Whether it takes NULL, if that changes.
    pub nullable: Option<Placed<bool>>,
    /// Another default, or none.
    pub default: Choice,
    /// Another comment, or none.
    pub comment: Choice,
    /// The name of a new unique constraint.
    pub unique: Option<Text>,
    /// A new check.
    pub check: Option<CheckSpec>,
    /// A new foreign key.
    pub references: Option<ReferenceSpec>,
    /// The new version's value, from the old one's row.
    pub up: Option<Text>,
    /// The old version's value, from the new one's row.
    pub down: Option<Text>,
}

impl AlterColumn {
    pub(super) fn read(fields: &mut Fields<'_, '_, '_>) -> Option<Self> {
        let (table, column) = (fields.text("table"), fields.text("column"));
        let data_type = fields.text_if("type");
        let nullable = fields.flag("nullable");
        let (default, comment) = (fields.choice("default"), fields.choice("comment"));
        let unique = within(fields, "unique", |fields| fields.text("name"));
        let check = within(fields, "check", CheckSpec::read);
        let references = within(fields, "references", ReferenceSpec::read);
        let (up, down) = (fields.text_if("up"), fields.text_if("down"));
        let (table, column) = (table?, column?);
        let changes = data_type.is_some()
            || nullable.is_some()
            || default != Choice::Keep
            || comment != Choice::Keep
            || unique.is_some()
            || check.is_some()
            || references.is_some();
        if !changes {
            let message = format!("nothing about `{}` changes", column.value);
            fields
                .mistakes()
                .add(Mistake::missing(column.span.clone(), message));
        }
        Some(Self {
            table,
            column,
            data_type,
            nullable,
            default,
            comment,
            unique,
            check,
            references,
            up,
            down,
        })
    }
}

impl AlterColumn {
    pub(super) fn plan(&self, draft: &mut Draft) {
        let Some(table) = draft.table(&self.table) else {
            return;
        };
        if draft.column(table, &self.column).is_none() || !self.is_complete(draft, table) {
            return;
        }
        let known = draft.world.tables[table].clone();
        let replacement = Replacement {
            data_type: self.data_type.as_ref().map(|text| text.value.clone()),
            nullable: self.nullable.as_ref().map(|flag| flag.value),
            default: match &self.default {
                Choice::Keep => None,
                Choice::Clear(_) => Some(None),
                Choice::Set(text) => Some(Some(text.value.clone())),
            },
            ..Replacement::same(&self.column, self.up.as_ref(), self.down.as_ref())
        };
        let loosens = self.nullable.as_ref().is_some_and(|flag| flag.value);
        let constrains = self.nullable.is_some()
            || self.unique.is_some()
            || self.check.is_some()
            || self.references.is_some();
        let other =
            self.data_type.is_some() || loosens || constrains && !replacement.keeps_values();
        if other {
            replace(draft, table, &[replacement], &BTreeSet::new());
        } else {
            self.in_place(draft, table, replacement.default);
        }
        if draft.mistakes.is_empty() {
            self.comment(draft, table);
            self.constraints(draft, (table, &known));
        }
    }

    fn is_complete(&self, draft: &mut Draft, table: usize) -> bool {
        let before = draft.mistakes.len();
        let facts = draft.world.tables[table].column(&self.column);
        let nullable = facts.is_some_and(|column| column.nullable);
        let generated = facts.is_some_and(|column| column.generated.is_some());
        let name = self.column.value.clone();
        let mut demand = |missing: bool, field: &str, why: &str| {
            if missing {
                let message = format!("altering `{name}` needs `{field}`: {why}");
                draft
                    .mistakes
                    .push(Mistake::missing(self.column.span.clone(), message));
            }
        };
        let retyped = self.data_type.is_some();
        demand(
            retyped && self.up.is_none(),
            "up",
            "the new type's value from the old row",
        );
        demand(
            retyped && self.down.is_none(),
            "down",
            "the old type's value from the new row",
        );
        let set = self.nullable.as_ref().map(|flag| flag.value);
        let tightens = set == Some(false) && nullable;
        demand(
            tightens && self.up.is_none(),
            "up",
            "what stands where NULL stood",
        );
        let loosens = set == Some(true) && !nullable;
        demand(
            loosens && self.down.is_none(),
            "down",
            "what older versions read where NULL stands",
        );
        if generated {
            draft.refuse(
                &self.column.span,
                "a generated column cannot be altered: add another",
            );
        }
        draft.mistakes.len() == before
    }

    /// Changes that need no second column: both versions have the same values.
    fn in_place(&self, draft: &mut Draft, table: usize, default: Option<Option<String>>) {
        let known = &mut draft.world.tables[table];
        if let Some(default) = default {
            known
                .defaults
                .insert(self.column.value.clone(), default.clone());
            let physical = physical(&known.columns, &self.column)
                .unwrap_or_default()
                .to_owned();
            for facts in known
                .facts
                .columns
                .iter_mut()
                .filter(|c| c.name == physical)
            {
                facts.default.clone_from(&default);
            }
        }
        let tightens = self.nullable.as_ref().is_some_and(|flag| !flag.value);
        let column = known.column(&self.column).filter(|column| column.nullable);
        let column = column.map(|column| column.name.clone());
        if let (true, Some(column)) = (tightens, column) {
            column::require(draft, table, &column, &self.column);
        }
    }

    fn comment(&self, draft: &mut Draft, table: usize) {
        let comment = match &self.comment {
            Choice::Keep => return,
            Choice::Clear(_) => None,
            Choice::Set(text) => Some(text.value.clone()),
        };
        let known = &mut draft.world.tables[table];
        let column = physical(&known.columns, &self.column)
            .unwrap_or_default()
            .to_owned();
        for facts in known.facts.columns.iter_mut().filter(|c| c.name == column) {
            facts.comment.clone_from(&comment);
        }
        let on = known.physical.clone();
        let said = comment.as_deref().map_or("NULL".to_owned(), literal);
        let statement = format!(
            "COMMENT ON COLUMN {}.{} IS {said}",
            draft.sql(&on),
            quote(&column)
        );
        draft.end(&on).handover.push(statement);
    }

    fn constraints(&self, draft: &mut Draft, (table, old): (usize, &Known)) {
        let known = draft.world.tables[table].clone();
        let Some(column) = physical(&known.columns, &self.column) else {
            return;
        };
        if let Some(check) = &self.check {
            let it = facts::check(&known, check);
            draft.add_constraint(table, &check.name, (it, None));
        }
        if let Some(reference) = &self.references {
            let name = facts::chosen_name(&old.name, &[&self.column], "fkey");
            let text = reference
                .name
                .clone()
                .unwrap_or_else(|| placed(name, &self.column));
            if let Some(it) = facts::reference(draft, (&known, column), reference) {
                draft.add_constraint(table, &text, (it, None));
            }
        }
        if let Some(name) = &self.unique {
            let columns = vec![column.to_owned()];
            let index = facts::key_index(name, &columns);
            let it = facts::constraint(ConstraintKind::Unique, columns, Deferral::default());
            draft.add_constraint(table, name, (it, Some(index)));
        }
    }
}
