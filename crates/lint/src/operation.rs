//! Rules about operations: what cannot work, loses data on the way back, or surprises.

use std::collections::{BTreeMap, BTreeSet};

use migration::op::Operation;
use migration::schema::Schema;
use migration::{Migration, Text};

use crate::place::Part;
use crate::statement::{Phase, Script};
use crate::{File, Finding, Known, Severity};

/// The columns of tables as the files so far left them; tables of which nothing is known are
/// not in it.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    columns: BTreeMap<String, BTreeSet<String>>,
}

impl Tables {
    /// What is known before the first file.
    pub(crate) fn of(schema: Option<&Schema>) -> Self {
        let tables = schema.into_iter().flat_map(|schema| &schema.tables);
        let columns = tables.map(|(name, table)| {
            (
                name.clone(),
                table
                    .columns
                    .iter()
                    .map(|column| column.name.clone())
                    .collect(),
            )
        });
        Self {
            columns: columns.collect(),
        }
    }

    fn follow(&mut self, operation: &Operation) {
        match operation {
            Operation::CreateTable(it) => {
                let names = it.columns.iter().map(|column| column.name.value.clone());
                self.columns.insert(it.name.value.clone(), names.collect());
            }
            Operation::AddColumn(it) => {
                if let Some(columns) = self.columns.get_mut(it.table.as_str()) {
                    columns.insert(it.column.name.value.clone());
                }
            }
            Operation::DropColumn(it) => {
                if let Some(columns) = self.columns.get_mut(it.table.as_str()) {
                    columns.remove(it.column.as_str());
                }
            }
            Operation::RenameColumn(it) => {
                if let Some(columns) = self.columns.get_mut(it.table.as_str()) {
                    columns.remove(it.from.as_str());
                    columns.insert(it.to.value.clone());
                }
            }
            Operation::RenameTable(it) => {
                if let Some(columns) = self.columns.remove(it.from.as_str()) {
                    self.columns.insert(it.to.value.clone(), columns);
                }
            }
            Operation::DropTable(it) => {
                self.columns.remove(it.name.as_str());
            }
            // Nobody knows what it changes.
            Operation::Sql(_) => self.columns.clear(),
            Operation::AlterColumn(_)
            | Operation::RenameConstraint(_)
            | Operation::CreateIndex(_)
            | Operation::DropIndex(_)
            | Operation::CreateConstraint(_)
            | Operation::DropConstraint(_)
            | Operation::DropMulticolumnConstraint(_)
            | Operation::SetReplicaIdentity(_) => {}
        }
    }
}

/// What is dangerous about the operations of one of our files, by themselves.
pub(crate) fn findings(
    file: &File<'_>,
    migration: &Migration,
    (tables, known): (&mut Tables, Known<'_>),
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for operation in &migration.operations {
        findings.extend(about(file, &operation.value, (tables, known)));
        tables.follow(&operation.value);
    }
    findings
}

fn about(
    file: &File<'_>,
    operation: &Operation,
    (tables, known): (&Tables, Known<'_>),
) -> Vec<Finding> {
    let at = |text: &Text| Part::new(file, text.span.clone(), text);
    let named = |table: &Text, column: Option<&Text>, texts: [Option<&Text>; 2]| {
        let texts = texts.into_iter().flatten();
        let lost = texts.filter(|text| names_nothing(tables, (table, column), text));
        let finding = |text: &Text| {
            let message = format!(
                "`{}` names no column of `{}`: every row it is computed for fails",
                text.value, table.value
            );
            at(text).finding(("names-no-column", Severity::Error), message, 0..text.len())
        };
        lost.map(finding).collect::<Vec<_>>()
    };
    match operation {
        Operation::Sql(it) => {
            let phase = if it.on_complete {
                Phase::Contract
            } else {
                Phase::Expand
            };
            let mut findings = Script::of(file, &it.up, phase).findings(known);
            if it.down.is_none() && !it.on_complete {
                let message = "nothing says how this is taken back: an abort leaves it as it is";
                let rule = ("no-way-back", Severity::Warning);
                findings.push(at(&it.up).finding(rule, message, 0..it.up.len()));
            }
            findings
        }
        Operation::AlterColumn(it) => named(
            &it.table,
            Some(&it.column),
            [it.up.as_ref(), it.down.as_ref()],
        ),
        Operation::AddColumn(it) => named(&it.table, None, [it.up.as_ref(), None]),
        Operation::DropColumn(it) => {
            let mut findings = named(&it.table, None, [it.down.as_ref(), None]);
            if it.down.is_none() {
                let message = format!(
                    "rows that the new version writes have the default in `{}`, also after a rollback",
                    it.column.value
                );
                let rule = ("drop-without-down", Severity::Warning);
                let mut finding = at(&it.column).finding(rule, message, 0..it.column.len());
                finding.help = Some("say by `down` what older versions find there".to_owned());
                findings.push(finding);
            }
            findings
        }
        Operation::DropConstraint(it) => named(&it.table, None, [it.up.as_ref(), it.down.as_ref()]),
        Operation::CreateTable(_)
        | Operation::RenameColumn(_)
        | Operation::RenameConstraint(_)
        | Operation::RenameTable(_)
        | Operation::DropTable(_)
        | Operation::CreateIndex(_)
        | Operation::DropIndex(_)
        | Operation::CreateConstraint(_)
        | Operation::DropMulticolumnConstraint(_)
        | Operation::SetReplicaIdentity(_) => Vec::new(),
    }
}

/// Whether an expression is a mere name, and surely not that of a column.
fn names_nothing(tables: &Tables, (table, column): (&Text, Option<&Text>), text: &Text) -> bool {
    const VALUES: [&str; 9] = [
        "null",
        "true",
        "false",
        "current_date",
        "current_time",
        "current_timestamp",
        "localtimestamp",
        "current_user",
        "session_user",
    ];
    let name = text.trim();
    let plain = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let lower = name.to_lowercase();
    if !plain || VALUES.contains(&lower.as_str()) {
        return false;
    }
    match (tables.columns.get(table.as_str()), column) {
        (Some(columns), _) => !columns.contains(&lower) && !columns.contains(name),
        // Of an unknown table only the column that is altered is known.
        (None, Some(column)) => !column.eq_ignore_ascii_case(name),
        (None, None) => false,
    }
}
