//! A new table: no older version knows it, so it is made as it shall be.

use std::collections::BTreeSet;

use super::facts::{self, placed};
use super::part::{ColumnSpec, ConstraintSpec, Deferral, GeneratedSpec, each};
use crate::ddl;
use crate::draft::Draft;
use crate::file::{Fields, Text};
use crate::plan::{Cost, LockLevel, Run, Step, TableLock};
use crate::schema::{Constraint, ConstraintKind, Generated, GeneratedKind, Identity, Index};
use crate::sql::{literal, quote, shortened};
use crate::world::{Known, Named};

/// A new table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateTable {
    /// Its name.
    pub name: Text,
    /// Its columns.
    pub columns: Vec<ColumnSpec>,
    /// Its comment.
    pub comment: Option<Text>,
    /// Its constraints, besides those of single columns.
    pub constraints: Vec<ConstraintSpec>,
}

impl CreateTable {
    pub(super) fn read(fields: &mut Fields<'_, '_, '_>) -> Option<Self> {
        let name = fields.text("name");
        let list = fields.list("columns");
        let columns = each(fields, list, ("a column", ColumnSpec::read));
        let list = fields.list_if("constraints");
        let constraints = each(fields, list, ("a constraint", ConstraintSpec::read));
        let comment = fields.text_if("comment");
        let name = name?;
        Some(Self {
            name,
            columns,
            comment,
            constraints,
        })
    }
}

impl CreateTable {
    pub(super) fn plan(&self, draft: &mut Draft) {
        let name = &self.name;
        if !draft.fits(name) || !draft.is_free(name) {
            return;
        }
        let mut known = Known::of(name, facts::table("", self.comment.as_ref()), true);
        let mut lines = Vec::new();
        for column in &self.columns {
            if known
                .columns
                .iter()
                .any(|other| other.name == column.name.value)
            {
                draft.refuse(&column.name.span, "this column is there twice");
            }
            if draft.fits(&column.name) {
                lines.push(self.add_column(draft, &mut known, column));
            }
        }
        let constraints = self.all_constraints(draft, &known);
        for (text, (it, index)) in constraints {
            if known
                .constraints
                .iter()
                .any(|other| other.name == text.value)
            {
                draft.refuse(&text.span, format!("`{}` is there twice", text.value));
            }
            let definition = ddl::constraint(&it, index.as_ref());
            lines.push(format!("CONSTRAINT {} {definition}", quote(&text)));
            keep(&mut known, &text, (it, index));
        }
        let mut statements = vec![format!(
            "CREATE TABLE {} (\n  {}\n)",
            draft.sql(name),
            lines.join(",\n  ")
        )];
        statements.extend(self.comments(draft));
        self.steps(draft, &known, statements);
        draft.world.taken.insert(name.value.clone());
        draft.world.tables.push(known);
        draft.world.tables.sort_by(|a, b| a.name.cmp(&b.name));
    }

    fn add_column(&self, draft: &Draft, known: &mut Known, spec: &ColumnSpec) -> String {
        let name = &spec.name;
        let serial = facts::serial(&spec.data_type);
        let mut column = crate::column::plain(name, serial.unwrap_or(&spec.data_type));
        column.nullable = spec.nullable && !spec.pk;
        column.comment = spec.comment.as_ref().map(|text| text.value.clone());
        let mut text = format!("{} {}", quote(name), spec.data_type.value);
        if let Some(default) = &spec.default {
            column.default = Some(default.value.clone());
            text += &format!(" DEFAULT {}", default.value);
        }
        if serial.is_some() {
            let sequence = facts::sequence(draft, &self.name, name);
            column.default = Some(format!("nextval({}::regclass)", literal(&sequence.sql())));
            column.sequence = Some(sequence);
        }
        match &spec.generated {
            Some(GeneratedSpec::Expression(made)) => {
                text += &format!(" GENERATED ALWAYS AS ({}) STORED", made.value);
                column.generated = Some(Generated {
                    kind: GeneratedKind::Stored,
                    expression: made.value.clone(),
                    columns: self.columns_read(made),
                });
            }
            Some(GeneratedSpec::Identity(who, options)) => {
                column.identity = Some(*who);
                column.sequence = Some(facts::sequence(draft, &self.name, name));
                column.nullable = false;
                text += &format!(" GENERATED {} AS IDENTITY", identity_word(*who));
                if let Some(options) = options {
                    text += &format!(" ({})", options.value);
                }
            }
            None => {}
        }
        if !column.nullable {
            text += " NOT NULL";
        }
        known.columns.push(Named::same(name));
        known.facts.columns.push(column);
        text
    }

    fn columns_read(&self, made: &str) -> BTreeSet<String> {
        let names = self.columns.iter().map(|column| column.name.as_str());
        let read = crate::sql::expression::reads(made, &self.name, names);
        read.into_iter().map(str::to_owned).collect()
    }

    /// The constraints of the table and of single columns.
    fn all_constraints(
        &self,
        draft: &mut Draft,
        known: &Known,
    ) -> Vec<(Text, (Constraint, Option<Index>))> {
        let mut all = Vec::new();
        let pk: Vec<String> = self
            .columns
            .iter()
            .filter(|c| c.pk)
            .map(|c| c.name.value.clone())
            .collect();
        if !pk.is_empty() {
            let name = placed(shortened(&format!("{}_pkey", self.name.value)), &self.name);
            all.push(key_of(&name, ConstraintKind::PrimaryKey, pk));
        }
        for spec in &self.columns {
            let name = |end| {
                placed(
                    facts::chosen_name(&self.name, &[&spec.name], end),
                    &spec.name,
                )
            };
            let column = spec.name.value.clone();
            if spec.unique {
                all.push(key_of(
                    &name("key"),
                    ConstraintKind::Unique,
                    vec![column.clone()],
                ));
            }
            if let Some(check) = &spec.check {
                all.push((check.name.clone(), (facts::check(known, check), None)));
            }
            if let Some(reference) = &spec.references {
                let text = reference.name.clone().unwrap_or_else(|| name("fkey"));
                if let Some(it) = facts::reference(draft, (known, &column), reference) {
                    all.push((text, (it, None)));
                }
            }
        }
        // Foreign keys to the table itself may mean its primary key.
        for spec in &self.constraints {
            if let (true, Some(it)) = (draft.fits(&spec.name), facts::declared(draft, known, spec))
            {
                all.push((spec.name.clone(), it));
            }
        }
        all
    }

    fn comments(&self, draft: &Draft) -> Vec<String> {
        let on = draft.sql(&self.name);
        let table = self
            .comment
            .iter()
            .map(|text| format!("COMMENT ON TABLE {on} IS {}", literal(text)));
        let columns = self.columns.iter().filter_map(|column| {
            let text = column.comment.as_ref()?;
            Some(format!(
                "COMMENT ON COLUMN {on}.{} IS {}",
                quote(&column.name),
                literal(text)
            ))
        });
        table.chain(columns).collect()
    }

    fn steps(&self, draft: &mut Draft, known: &Known, statements: Vec<String>) {
        let keys = known
            .facts
            .constraints
            .values()
            .filter_map(|it| it.foreign_key.as_ref());
        let locks = keys.filter(|key| key.table.name != self.name.value);
        let locks = locks.map(|key| TableLock {
            table: key.table.clone(),
            level: LockLevel::ShareRowExclusive,
        });
        draft.creates.push(Step {
            title: format!("create the table `{}`", self.name.value),
            statements,
            run: Run::Together,
            locks: locks.collect(),
            cost: Cost::Instant,
            why: "no program knows the table yet".to_owned(),
        });
        let function = crate::rule::function_name(&draft.world.base, &self.name);
        draft.undo.push(Step {
            title: format!("drop the table `{}`", self.name.value),
            statements: vec![
                format!("DROP TABLE IF EXISTS {}", draft.sql(&self.name)),
                format!("DROP FUNCTION IF EXISTS {}()", function.sql()),
            ],
            run: Run::Together,
            locks: vec![draft.lock(&self.name, LockLevel::AccessExclusive)],
            cost: Cost::Instant,
            why: "no older version knows the table".to_owned(),
        });
    }
}

fn key_of(
    name: &Text,
    kind: ConstraintKind,
    columns: Vec<String>,
) -> (Text, (Constraint, Option<Index>)) {
    let index = facts::key_index(name, &columns);
    let mut it = facts::constraint(kind, columns, Deferral::default());
    it.index = Some(name.value.clone());
    (name.clone(), (it, Some(index)))
}

fn keep(known: &mut Known, name: &str, (it, index): (Constraint, Option<Index>)) {
    if it.kind == ConstraintKind::PrimaryKey {
        for column in known
            .facts
            .columns
            .iter_mut()
            .filter(|c| it.columns.contains(&c.name))
        {
            column.nullable = false;
        }
    }
    if let Some(index) = index {
        known.indexes.push(Named::same(name));
        known.facts.indexes.insert(name.to_owned(), index);
    }
    known.constraints.push(Named::same(name));
    known.facts.constraints.insert(name.to_owned(), it);
}

/// Who may give an identity's value, in SQL.
pub(super) fn identity_word(who: Identity) -> &'static str {
    match who {
        Identity::Always => "ALWAYS",
        Identity::ByDefault => "BY DEFAULT",
    }
}
