//! A new column: made beside, filled from `up`, and shown to the new version only.

use super::facts::{self, placed};
use super::part::{ColumnSpec, Deferral, GeneratedSpec, within};
use crate::column;
use crate::draft::Draft;
use crate::file::{Fields, Text};
use crate::plan::{Cost, NoteLevel, Run, Step};
use crate::rule::Direction;
use crate::schema::{Column, ConstraintKind, Generated, GeneratedKind, Qualified};
use crate::sql::{expression, literal, quote, shortened};
use crate::world::{Known, Named};

/// A new column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddColumn {
    /// The table.
    pub table: Text,
    /// The column.
    pub column: ColumnSpec,
    /// What it is in rows that an older version writes, and in those that are there.
    pub up: Option<Text>,
}

impl AddColumn {
    pub(super) fn read(fields: &mut Fields<'_, '_, '_>) -> Option<Self> {
        let (table, up) = (fields.text("table"), fields.text_if("up"));
        if fields.node("column").is_none() {
            // Says that it is missing.
            fields.text("column");
        }
        let column = within(fields, "column", ColumnSpec::read);
        Some(Self {
            table: table?,
            column: column?,
            up,
        })
    }
}

impl AddColumn {
    pub(super) fn plan(&self, draft: &mut Draft) {
        let Some(table) = draft.table(&self.table) else {
            return;
        };
        let (spec, old) = (&self.column, draft.world.tables[table].clone());
        if !draft.fits(&spec.name) || !self.is_possible(draft, &old) {
            return;
        }
        let name = draft.artefact(&spec.name);
        let on = draft.sql(&old.physical);
        let mut column = column::plain(
            &name,
            facts::serial(&spec.data_type).unwrap_or(&spec.data_type),
        );
        column.comment = spec.comment.as_ref().map(|text| text.value.clone());
        let inline = self.declare(draft, (&old, &on), &mut column);
        draft
            .addition(&old.physical)
            .what
            .push(format!("`{}`", spec.name.value));
        let known = &mut draft.world.tables[table];
        known.facts.columns.push(column.clone());
        known.columns.push(Named::new(&spec.name, &name));
        if inline == Filled::ByBackfill {
            self.fill(draft, &old, &column);
        }
        self.constraints(draft, table, &name);
        let not_null = !spec.nullable && spec.generated.is_none();
        if not_null && inline == Filled::AtOnce {
            for facts in draft.world.tables[table]
                .facts
                .columns
                .iter_mut()
                .filter(|c| c.name == name)
            {
                facts.nullable = false;
            }
        } else if not_null || column.identity.is_some() {
            column::require(draft, table, &name, &spec.name);
        }
    }

    fn is_possible(&self, draft: &mut Draft, old: &Known) -> bool {
        let spec = &self.column;
        let mut mistakes = Vec::new();
        if old
            .columns
            .iter()
            .any(|column| column.name == spec.name.value)
        {
            let message = format!("`{}` has a column `{}` already", old.name, spec.name.value);
            mistakes.push((&spec.name, message));
        }
        if spec.pk {
            let message =
                "a primary key is added by `create_constraint`, once the column is filled in";
            mistakes.push((&spec.name, message.to_owned()));
        }
        if let (Some(up), Some(_)) = (&self.up, &spec.generated) {
            mistakes.push((
                up,
                "a generated column is filled by what generates it".to_owned(),
            ));
        }
        let filled = self.up.is_some()
            || spec.default.is_some()
            || spec.generated.is_some()
            || facts::serial(&spec.data_type).is_some();
        if !spec.nullable && !filled {
            let message = format!(
                "`{}` is NOT NULL and has neither `up` nor a default for the rows that are there",
                spec.name.value
            );
            mistakes.push((&spec.name, message));
        }
        if let Some(up) = &self.up
            && !draft.resolves(old, up)
        {
            mistakes.push((
                up,
                format!("`{}` names no column of `{}`", up.value, old.name),
            ));
        }
        for (text, message) in &mistakes {
            draft.refuse(&text.span, message.clone());
        }
        mistakes.is_empty()
    }

    /// The statements that add the column; says whether rows have their value with that.
    fn declare(&self, draft: &mut Draft, (old, on): (&Known, &str), column: &mut Column) -> Filled {
        let spec = &self.column;
        let mut text = column::declared(column);
        let mut filled = Filled::ByBackfill;
        let mut statements = Vec::new();
        let scans = draft
            .world
            .types
            .get(spec.data_type.trim())
            .copied()
            .unwrap_or(false);
        let mut rewrites = scans;
        match &spec.generated {
            Some(GeneratedSpec::Expression(made)) => {
                text += &format!(" GENERATED ALWAYS AS ({}) STORED", old.in_catalogue(made));
                column.generated = Some(Generated {
                    kind: GeneratedKind::Stored,
                    expression: old.in_catalogue(made),
                    columns: old
                        .reads(made)
                        .into_iter()
                        .map(|c| c.physical.clone())
                        .collect(),
                });
                text += if spec.nullable { "" } else { " NOT NULL" };
                (filled, rewrites) = (Filled::AtOnce, true);
            }
            Some(GeneratedSpec::Identity(..)) => self.number(draft, (old, on), column),
            None if facts::serial(&spec.data_type).is_some() => {
                self.number(draft, (old, on), column)
            }
            None => {
                let default = spec.default.as_ref();
                let constant = default.is_some_and(|it| expression::is_constant(it)) && !scans;
                if let (Some(default), None, true) = (default, &self.up, constant) {
                    text += &format!(" DEFAULT {}", default.value);
                    text += if spec.nullable { "" } else { " NOT NULL" };
                    filled = Filled::AtOnce;
                } else if default.is_none() && self.up.is_none() {
                    filled = Filled::AtOnce;
                }
                column.default = default.map(|text| text.value.clone());
            }
        }
        if rewrites {
            let rows = old
                .facts
                .estimate
                .rows
                .map_or("every".to_owned(), |rows| rows.to_string());
            let text = format!(
                "adding `{}` writes {rows} rows anew while nobody can read the table",
                spec.name.value
            );
            draft.note(NoteLevel::Ask, &old.physical, text);
            draft.addition(&old.physical).cost = Some(Cost::Rewrite);
        }
        statements.push(format!("ALTER TABLE {on} ADD COLUMN {text}"));
        statements.extend(column::attributes(on, column));
        draft.addition(&old.physical).statements.extend(statements);
        filled
    }

    /// A column that numbers rows: by a sequence of its own, an identity at contract.
    fn number(&self, draft: &mut Draft, (old, on): (&Known, &str), column: &mut Column) {
        let spec = &self.column;
        let sequence = draft
            .world
            .qualified(&format!("{}_seq", draft.artefact(&spec.name)));
        let sequence = Qualified {
            name: shortened(&sequence.name),
            ..sequence
        };
        let options = match &spec.generated {
            Some(GeneratedSpec::Identity(_, Some(options))) => format!(" {}", options.value),
            Some(GeneratedSpec::Identity(_, None) | GeneratedSpec::Expression(_)) | None => {
                String::new()
            }
        };
        let make = format!(
            "CREATE SEQUENCE {} AS {}{options}",
            sequence.sql(),
            column.data_type
        );
        draft.addition(&old.physical).statements.push(make);
        column.default = Some(format!("nextval({}::regclass)", literal(&sequence.sql())));
        let handover = match &spec.generated {
            Some(GeneratedSpec::Identity(who, _)) => {
                column.identity = Some(*who);
                column::identity(draft, (on, &column.name), (&sequence, *who), None)
            }
            Some(GeneratedSpec::Expression(_)) | None => vec![format!(
                "ALTER SEQUENCE {} OWNED BY {on}.{}",
                sequence.sql(),
                quote(&column.name)
            )],
        };
        draft.end(&old.physical).handover.extend(handover);
        if !options.is_empty() {
            let again = format!("ALTER SEQUENCE {}{options}", sequence.sql());
            draft.end(&old.physical).handover.push(again);
        }
        let own = facts::sequence(draft, &old.name, &spec.name);
        if !draft.world.taken.contains(&own.name) {
            let rename = format!(
                "ALTER SEQUENCE {} RENAME TO {}",
                sequence.sql(),
                quote(&own.name)
            );
            draft.end(&old.physical).handover.push(rename);
        }
        draft.undo.push(Step {
            title: format!("drop the sequence `{}`", sequence.name),
            statements: vec![format!("DROP SEQUENCE IF EXISTS {}", sequence.sql())],
            run: Run::Together,
            locks: Vec::new(),
            cost: Cost::Instant,
            why: "no older version knows it".to_owned(),
        });
    }

    fn fill(&self, draft: &mut Draft, old: &Known, column: &Column) {
        match &self.up {
            Some(up) => {
                let rule = draft.rule((old, Direction::Up), &column.name, up);
                draft.rules.push(rule);
                draft.fill(old, &column.name, up);
            }
            // Writers of older versions get the default by itself.
            None => {
                let default = column.default.clone().unwrap_or_else(|| "NULL".to_owned());
                draft.fill(old, &column.name, &default);
            }
        }
    }

    fn constraints(&self, draft: &mut Draft, table: usize, name: &str) {
        let spec = &self.column;
        let known = draft.world.tables[table].clone();
        if let Some(check) = &spec.check {
            let it = facts::check(&known, check);
            draft.add_constraint(table, &check.name, (it, None));
        }
        let chosen = |end| {
            placed(
                facts::chosen_name(&known.name, &[&spec.name], end),
                &spec.name,
            )
        };
        if let Some(reference) = &spec.references {
            let text = reference.name.clone().unwrap_or_else(|| chosen("fkey"));
            if let Some(it) = facts::reference(draft, (&known, name), reference) {
                draft.add_constraint(table, &text, (it, None));
            }
        }
        if spec.unique {
            let columns = vec![name.to_owned()];
            let index = facts::key_index(name, &columns);
            let it = facts::constraint(ConstraintKind::Unique, columns, Deferral::default());
            draft.add_constraint(table, &chosen("key"), (it, Some(index)));
        }
    }
}

/// When the rows that are there get their value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Filled {
    /// With the column itself.
    AtOnce,
    /// Afterwards.
    ByBackfill,
}
