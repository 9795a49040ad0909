//! A new constraint of any number of columns.

use std::collections::BTreeSet;

use super::facts;
use super::part::{ConstraintSpec, ConstraintSpecKind};
use crate::draft::Draft;
use crate::file::{Fields, Text};
use crate::shadow::{Replacement, replace};

/// A new constraint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateConstraint {
    /// The table.
    pub table: Text,
    /// The constraint.
    pub constraint: ConstraintSpec,
    /// The new version's values by column, from the old one's row.
    pub up: Vec<(Text, Text)>,
    /// The old version's values by column, from the new one's row.
    pub down: Vec<(Text, Text)>,
}

impl CreateConstraint {
    pub(super) fn read(fields: &mut Fields<'_, '_, '_>) -> Option<Self> {
        let table = fields.text("table");
        let (up, down) = (fields.named_texts("up"), fields.named_texts("down"));
        let constraint = ConstraintSpec::read(fields)?;
        Some(Self {
            table: table?,
            constraint,
            up,
            down,
        })
    }
}

impl CreateConstraint {
    pub(super) fn plan(&self, draft: &mut Draft) {
        let Some(table) = draft.table(&self.table) else {
            return;
        };
        let spec = &self.constraint;
        let known = draft.world.tables[table].clone();
        let primary = matches!(spec.kind, ConstraintSpecKind::PrimaryKey);
        if let (true, Some(key)) = (primary, known.primary_key()) {
            let message = format!(
                "`{}` has a primary key already, of {}",
                known.name,
                key.columns.join(", ")
            );
            draft.refuse(&spec.name.span, message);
        }
        if !draft.fits(&spec.name) || draft.has_constraint(table, &spec.name) {
            return;
        }
        let others = replacements(draft, table, (&spec.columns, &self.up, &self.down));
        if !draft.mistakes.is_empty() {
            return;
        }
        if !others.is_empty() {
            replace(draft, table, &others, &BTreeSet::new());
        }
        let known = draft.world.tables[table].clone();
        if let Some(it) = facts::declared(draft, &known, spec) {
            draft.add_constraint(table, &spec.name, it);
        }
    }
}

/// Expressions by column.
type ByColumn = [(Text, Text)];

/// The columns whose values differ between the versions.
pub(super) fn replacements(
    draft: &mut Draft,
    table: usize,
    (columns, up, down): (&[Text], &ByColumn, &ByColumn),
) -> Vec<Replacement> {
    for (column, _) in up.iter().chain(down) {
        if !columns.iter().any(|own| own.value == column.value) {
            let message = format!("`{}` is none of the constraint's columns", column.value);
            draft.refuse(&column.span, message);
        }
    }
    let of = |texts: &ByColumn, column: &Text| {
        let found = texts.iter().find(|(name, _)| name.value == column.value);
        found.map(|(_, text)| text.clone())
    };
    let mut all = Vec::new();
    for column in columns {
        let (up, down) = (of(up, column), of(down, column));
        let it = Replacement::same(column, up.as_ref(), down.as_ref());
        if draft.column(table, column).is_some() && !it.keeps_values() {
            all.push(it);
        }
    }
    all
}
