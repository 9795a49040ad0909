//! Columns that live twice: beside a column that one version uses, another with the same meaning
//! for the next, kept in step by rules, with everything that hangs on the first made again.

use std::collections::{BTreeMap, BTreeSet};

use crate::again::{Renames, constraints, indexes, kind_of_type, references, retyped};
use crate::column;
use crate::draft::{Draft, swap_named};
use crate::file::Text;
use crate::plan::{LockLevel, NoteLevel, TableLock};
use crate::rule::Direction;
use crate::schema::{Column, Qualified};
use crate::sql::{expression, literal, quote};
use crate::world::{Known, physical};

/// What becomes of a column.
#[derive(Debug, Clone)]
pub(crate) struct Replacement {
    /// The version's name of it.
    pub(crate) column: Text,
    /// Its other type.
    pub(crate) data_type: Option<String>,
    /// Whether it takes NULL, if that changes.
    pub(crate) nullable: Option<bool>,
    /// Its default, if that changes: another, or none.
    pub(crate) default: Option<Option<String>>,
    /// The new value from the old row.
    pub(crate) up: Text,
    /// The old value from the new row.
    pub(crate) down: Text,
}

impl Replacement {
    /// A second column that differs in nothing but what else is said.
    pub(crate) fn same(column: &Text, up: Option<&Text>, down: Option<&Text>) -> Self {
        Self {
            column: column.clone(),
            data_type: None,
            nullable: None,
            default: None,
            up: up.unwrap_or(column).clone(),
            down: down.unwrap_or(column).clone(),
        }
    }

    /// Whether both versions have the same values, so that no second column is needed for them.
    pub(crate) fn keeps_values(&self) -> bool {
        expression::is_column(&self.up, &self.column)
            && expression::is_column(&self.down, &self.column)
    }
}

/// Puts new columns in the place of old ones, for the version being planned.
///
/// `without` names constraints, as the version knows them, that the new columns do not get.
/// What cannot be replaced is a mistake of the draft.
pub(crate) fn replace(
    draft: &mut Draft,
    table: usize,
    replacements: &[Replacement],
    without: &BTreeSet<String>,
) {
    let old = draft.world.tables[table].clone();
    let mut fine = true;
    let mut new_names = BTreeMap::new();
    for it in replacements {
        let Some(column) = draft.column(table, &it.column) else {
            return;
        };
        fine &= replaceable(draft, &old, (&column, &it.column)) & resolves(draft, &old, it);
        new_names.insert(column, draft.artefact(&it.column));
    }
    if !fine {
        return;
    }
    for it in replacements {
        add_column(draft, table, it, &new_names);
    }
    for it in replacements {
        let target = draft.artefact(&it.column);
        swap_named(&mut draft.world.tables[table].columns, &it.column, &target);
    }
    let new = draft.world.tables[table].clone();
    for it in replacements {
        let target = draft.artefact(&it.column);
        let source = physical(&old.columns, &it.column)
            .unwrap_or_default()
            .to_owned();
        let up = draft.rule((&old, Direction::Up), &target, &it.up);
        let down = draft.rule((&new, Direction::Down), &source, &it.down);
        draft.rules.extend([up, down]);
        draft.fill(&old, &target, &it.up);
    }
    let renames = Renames {
        old: &old,
        new: &new_names,
        retyped: retyped(&old, replacements),
    };
    not_null(draft, table, replacements, &old);
    constraints(draft, table, &renames, without);
    indexes(draft, table, &renames);
    references(draft, table, &renames);
    hand_over(draft, &old, &new_names);
}

fn resolves(draft: &mut Draft, old: &Known, it: &Replacement) -> bool {
    let up = draft.resolves(old, &it.up);
    if !up {
        let message = format!("`{}` names no column of `{}`", it.up.value, old.name);
        draft.refuse(&it.up.span, message);
    }
    if !draft.resolves(old, &it.down) {
        let text = format!(
            "`down: {}` names no column of `{}`: every write of the new version would fail",
            it.down.value, old.name
        );
        draft.note(NoteLevel::Ask, &old.physical, text);
    }
    up
}

/// Whether a column can be replaced or dropped; what stands on it would go with it.
pub(crate) fn replaceable(draft: &mut Draft, known: &Known, (column, name): (&str, &Text)) -> bool {
    let facts = &known.facts;
    let mut reasons = Vec::new();
    for other in &facts.columns {
        if let Some(generated) = &other.generated
            && generated.columns.contains(column)
        {
            reasons.push(format!(
                "the generated column `{}` is made from it",
                other.name
            ));
        }
    }
    for dependent in &facts.dependents {
        let ours = draft.ours(&dependent.name.schema);
        if dependent.columns.contains(column) && !ours {
            reasons.push(format!(
                "the {} `{}` uses it",
                dependent.kind, dependent.name
            ));
        }
    }
    let reads = |text: &Option<String>| {
        let text = text.as_deref().unwrap_or_default();
        !expression::reads(text, &known.physical, [column]).is_empty()
    };
    for (policy, it) in &facts.policies {
        if reads(&it.using) || reads(&it.with_check) {
            reasons.push(format!("the policy `{policy}` reads it"));
        }
    }
    for (trigger, it) in &facts.triggers {
        if it.columns.iter().any(|c| c == column) {
            reasons.push(format!("the trigger `{trigger}` waits for changes of it"));
        }
    }
    if facts
        .partitioning
        .as_ref()
        .is_some_and(|it| it.columns.iter().any(|c| c == column))
    {
        reasons.push("the table is partitioned by it".to_owned());
    }
    if facts.column(column).is_some_and(|c| c.inherited) {
        reasons.push("the table inherits it".to_owned());
    }
    reasons.sort();
    reasons.dedup();
    for reason in &reasons {
        let message = format!("`{}` cannot be changed: {reason}", name.value);
        let hint = "drop or change that first, in a migration of its own";
        let mistake = model::diagnostic::Mistake::new(name.span.clone(), message);
        draft.mistakes.push(mistake.hint(hint));
    }
    reasons.is_empty()
}

fn add_column(
    draft: &mut Draft,
    table: usize,
    it: &Replacement,
    new_names: &BTreeMap<String, String>,
) {
    let known = draft.world.tables[table].clone();
    let Some(old) = known.column(&it.column).cloned() else {
        return;
    };
    let name = new_names.get(&old.name).cloned().unwrap_or_default();
    let data_type = it
        .data_type
        .clone()
        .unwrap_or_else(|| old.data_type.clone());
    let default = new_default(draft, it, &old);
    // What is said about how values are kept is said about the old type.
    let same_kind = kind_of_type(&data_type) == kind_of_type(&old.data_type);
    let column = Column {
        name: name.clone(),
        collation: old.collation.clone().filter(|_| same_kind),
        storage: old.storage.clone().filter(|_| same_kind),
        compression: old.compression.clone().filter(|_| same_kind),
        data_type,
        default,
        nullable: it.nullable.unwrap_or(old.nullable),
        identity: None,
        generated: None,
        ..old.clone()
    };
    let on = draft.sql(&known.physical);
    let mut statements = vec![format!(
        "ALTER TABLE {on} ADD COLUMN {}",
        column::declared(&column)
    )];
    statements.extend(column::attributes(&on, &column));
    for grant in column.privileges.iter().flatten() {
        statements.push(column::grant(&on, &name, grant));
    }
    let addition = draft.addition(&known.physical);
    addition.statements.extend(statements);
    addition.what.push(format!("`{name}`"));
    for (name, statistics) in &known.facts.statistics {
        if statistics.columns.contains(&old.name) {
            let text = format!(
                "the statistics `{name}` go with the column `{}` at contract",
                it.column.value
            );
            draft.note(NoteLevel::Warning, &known.physical, text);
        }
    }
    draft.world.tables[table].facts.columns.push(column);
}

/// The default of the new column: as it was, through `up` if that is about nothing else.
fn new_default(draft: &mut Draft, it: &Replacement, old: &Column) -> Option<String> {
    if let Some(default) = &it.default {
        return default.clone();
    }
    let sequence = old.sequence.as_ref().filter(|_| old.identity.is_some());
    let default = match sequence {
        Some(sequence) => Some(format!("nextval({}::regclass)", literal(&sequence.sql()))),
        None => old.default.clone(),
    }?;
    if it.data_type.is_none() {
        return Some(default);
    }
    let others = !expression::is_simple(&it.up, &it.column);
    if others {
        let text = format!(
            "the default of `{}` is not carried over to the new type: give one",
            it.column.value
        );
        draft.note(NoteLevel::Warning, &old.name, text);
        return None;
    }
    let inner = format!("(({default})::{})", old.data_type);
    Some(expression::replaced(&it.up, &it.column, &inner))
}

/// New columns that must not be NULL get a check first, which is proved beside everybody; the
/// server then believes it at contract without a look at the rows.
fn not_null(draft: &mut Draft, table: usize, replacements: &[Replacement], old: &Known) {
    for it in replacements {
        let nullable = old.column(&it.column).is_none_or(|column| column.nullable);
        if it.nullable.unwrap_or(nullable) {
            continue;
        }
        let column = draft.artefact(&it.column);
        column::require(draft, table, &column, &it.column);
    }
}

/// What numbers the old column goes on numbering the new one.
fn hand_over(draft: &mut Draft, old: &Known, new_names: &BTreeMap<String, String>) {
    let on = draft.sql(&old.physical);
    for (before, after) in new_names {
        let Some(column) = old.facts.column(before) else {
            continue;
        };
        let Some(sequence) = column.sequence.clone() else {
            continue;
        };
        let statements = match column.identity {
            None => vec![format!(
                "ALTER SEQUENCE {} OWNED BY {on}.{}",
                sequence.sql(),
                quote(after)
            )],
            Some(who) => column::identity(draft, (&on, after), (&sequence, who), Some(before)),
        };
        draft.end(&old.physical).handover.extend(statements);
        let grants = draft
            .world
            .tables
            .iter_mut()
            .find(|t| t.physical == old.physical);
        for known in grants.into_iter() {
            let new = known.facts.columns.iter_mut().filter(|c| c.name == *after);
            new.for_each(|c| c.identity = column.identity);
        }
    }
}

impl Draft {
    /// Whether a schema holds a version's views.
    pub(crate) fn ours(&self, schema: &str) -> bool {
        self.versions.contains(schema)
    }

    /// The table that holds a foreign key.
    pub(crate) fn referencing(&self, table: &Qualified) -> Option<usize> {
        let here = table.schema == self.world.base;
        let found = self
            .world
            .tables
            .iter()
            .position(|t| t.physical == table.name);
        found.filter(|_| here)
    }

    /// A lock that a swap with a foreign key of another table takes.
    pub(crate) fn lock_of(&self, table: &Qualified, level: LockLevel) -> TableLock {
        TableLock {
            table: table.clone(),
            level,
        }
    }
}
