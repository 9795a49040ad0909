//! What hangs on columns, made again over those that take their place: constraints, indexes, and
//! the foreign keys of other tables.

use std::collections::{BTreeMap, BTreeSet};

use crate::draft::{Draft, swap_named};
use crate::plan::NoteLevel;
use crate::schema::{Constraint, ConstraintKind, Index, IndexKey};
use crate::shadow::Replacement;
use crate::sql::expression;
use crate::world::{Known, Named, logical, physical};

/// The columns in the catalogue that get others, with these.
pub(crate) struct Renames<'a> {
    pub(crate) old: &'a Known,
    pub(crate) new: &'a BTreeMap<String, String>,
    /// Those whose new type is of another kind: SQL about the old one says nothing about it.
    pub(crate) retyped: BTreeSet<String>,
}

pub(crate) fn retyped(old: &Known, replacements: &[Replacement]) -> BTreeSet<String> {
    let changed = replacements.iter().filter_map(|it| {
        let column = old.column(&it.column)?;
        let new = it.data_type.as_ref()?;
        (kind_of_type(new) != kind_of_type(&column.data_type)).then(|| column.name.clone())
    });
    changed.collect()
}

/// Types of one kind compare and compute with each other.
pub(crate) fn kind_of_type(data_type: &str) -> String {
    const NUMBERS: [&str; 16] = [
        "smallint",
        "int2",
        "integer",
        "int",
        "int4",
        "bigint",
        "int8",
        "numeric",
        "decimal",
        "real",
        "float4",
        "double precision",
        "float8",
        "float",
        "serial",
        "bigserial",
    ];
    const TEXTS: [&str; 6] = [
        "text",
        "varchar",
        "character varying",
        "char",
        "character",
        "bpchar",
    ];
    const TIMES: [&str; 5] = [
        "date",
        "timestamp",
        "timestamptz",
        "timestamp without time zone",
        "timestamp with time zone",
    ];
    let lower = data_type.to_ascii_lowercase();
    let mut plain = String::new();
    let mut depth = 0_usize;
    for c in lower.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            c if depth == 0 => plain.push(c),
            _ => {}
        }
    }
    let plain = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    let kinds = [
        ("number", &NUMBERS[..]),
        ("text", &TEXTS[..]),
        ("time", &TIMES[..]),
    ];
    let kind = kinds
        .iter()
        .find(|(_, names)| names.contains(&plain.as_str()));
    kind.map_or(plain.clone(), |(kind, _)| (*kind).to_owned())
}

impl Renames<'_> {
    fn of(&self, name: &str) -> Option<String> {
        self.new.get(name).cloned()
    }

    fn touch<'n>(&self, names: impl IntoIterator<Item = &'n String>) -> bool {
        names.into_iter().any(|name| self.new.contains_key(name))
    }

    fn each(&self, names: &[String]) -> Vec<String> {
        names
            .iter()
            .map(|name| self.of(name).unwrap_or_else(|| name.clone()))
            .collect()
    }

    fn text(&self, text: &str) -> String {
        expression::renamed(text, &self.old.physical, |name| self.of(name))
    }
}

/// Makes the constraints of the old columns again over the new ones.
pub(crate) fn constraints(
    draft: &mut Draft,
    table: usize,
    renames: &Renames<'_>,
    without: &BTreeSet<String>,
) {
    let mut all = renames.old.constraints.clone();
    // A foreign key may point at a key of its own table, which must be there before.
    let foreign = |named: &Named| {
        let it = renames.old.facts.constraints.get(&named.physical);
        it.is_some_and(|it| it.kind == ConstraintKind::ForeignKey)
    };
    all.sort_by_key(foreign);
    for named in all {
        let Some(it) = renames.old.facts.constraints.get(&named.physical) else {
            continue;
        };
        if without.contains(&named.name) {
            drop_constraint(draft, table, &named.name);
            continue;
        }
        if left_behind(draft, renames, (&named, it)) {
            drop_constraint(draft, table, &named.name);
            continue;
        }
        let carried = index_of(renames.old, it).is_some_and(|index| renames.touch(&index.include));
        let here = draft.world.qualified(&renames.old.physical);
        let itself = it.foreign_key.as_ref().filter(|key| key.table == here);
        let pointed_at = itself.is_some_and(|key| renames.touch(&key.columns));
        let touched = renames.touch(&it.columns) || carried || pointed_at;
        if !touched || it.kind == ConstraintKind::NotNull {
            continue;
        }
        let name = draft.artefact(&named.name);
        let mut again = it.clone();
        again.columns = renames.each(&it.columns);
        again.expression = it.expression.as_deref().map(|text| renames.text(text));
        again.definition = renames.text(&it.definition);
        again.validated = true;
        if let Some(key) = &mut again.foreign_key {
            key.on_delete_columns = renames.each(&key.on_delete_columns);
            if key.table == here {
                key.columns = renames.each(&key.columns);
            }
        }
        match index_of(renames.old, it) {
            Some(index) if it.kind != ConstraintKind::Exclusion => {
                let index = renamed_index(index, renames, Some(&name));
                add_key(draft, table, (&named.name, &name), (again, index));
            }
            Some(_) | None => {
                draft.constrain(table, &name, &again);
                let known = &mut draft.world.tables[table];
                known.facts.constraints.insert(name.clone(), again);
                swap_named(&mut known.constraints, &named.name, &name);
            }
        }
    }
}

/// Whether a constraint cannot hold for the new type; a person is told, or a mistake is made of
/// it where that would lose what they rely on.
fn left_behind(
    draft: &mut Draft,
    renames: &Renames<'_>,
    (named, it): (&Named, &Constraint),
) -> bool {
    if !it
        .columns
        .iter()
        .any(|column| renames.retyped.contains(column))
    {
        return false;
    }
    let name = &named.name;
    match it.kind {
        ConstraintKind::Check | ConstraintKind::Exclusion => {
            let text = format!(
                "`{name}` is about the old type and does not hold for the new one: give another with the change if it should"
            );
            draft.note(NoteLevel::Warning, &renames.old.physical, text);
            true
        }
        ConstraintKind::ForeignKey => {
            let text = format!(
                "the foreign key `{name}` cannot compare the new type with the old one there, and does not hold for the new version"
            );
            draft.note(NoteLevel::Ask, &renames.old.physical, text);
            true
        }
        ConstraintKind::Unique | ConstraintKind::PrimaryKey | ConstraintKind::NotNull => false,
    }
}

fn index_of<'k>(known: &'k Known, it: &Constraint) -> Option<&'k Index> {
    known.facts.indexes.get(it.index.as_ref()?)
}

/// Adds a unique or primary key: as an index now, as a constraint at contract.
pub(crate) fn add_key(
    draft: &mut Draft,
    table: usize,
    (name, physical): (&str, &str),
    (mut it, index): (Constraint, Index),
) {
    draft.index(table, physical, &index);
    it.index = Some(physical.to_owned());
    let known = &mut draft.world.tables[table];
    known.facts.indexes.insert(physical.to_owned(), index);
    known.facts.constraints.insert(physical.to_owned(), it);
    known.pending.insert(physical.to_owned());
    for names in [&mut known.constraints, &mut known.indexes] {
        match names.iter().any(|named| named.name == name) {
            true => swap_named(names, name, physical),
            false => names.push(Named::new(name, physical)),
        }
    }
}

/// Takes a constraint out of the version's sight, with its index.
pub(crate) fn drop_constraint(draft: &mut Draft, table: usize, name: &str) {
    let known = &mut draft.world.tables[table];
    let found = physical(&known.constraints, name).map(str::to_owned);
    known.constraints.retain(|named| named.name != name);
    let index = found.and_then(|it| known.facts.constraints.get(&it)?.index.clone());
    known
        .indexes
        .retain(|named| Some(&named.physical) != index.as_ref());
}

fn renamed_index(index: &Index, renames: &Renames<'_>, constraint: Option<&String>) -> Index {
    let mut again = index.clone();
    for part in &mut again.parts {
        part.key = part
            .key
            .renamed(&renames.old.physical, |name| renames.of(name));
    }
    again.include = renames.each(&index.include);
    again.predicate = index.predicate.as_deref().map(|text| renames.text(text));
    let read = index.expression_columns.iter();
    again.expression_columns = read
        .map(|name| renames.of(name).unwrap_or_else(|| name.clone()))
        .collect();
    again.constraint = constraint.cloned();
    again.valid = true;
    again
}

/// Makes the indexes of the old columns again over the new ones.
pub(crate) fn indexes(draft: &mut Draft, table: usize, renames: &Renames<'_>) {
    for named in renames.old.indexes.clone() {
        let Some(index) = renames.old.facts.indexes.get(&named.physical) else {
            continue;
        };
        let keys = index.parts.iter().filter_map(|part| match &part.key {
            IndexKey::Column(column) => Some(column),
            IndexKey::Expression(_) => None,
        });
        let read = keys.chain(&index.include).chain(&index.expression_columns);
        if index.constraint.is_some() || !renames.touch(read) {
            continue;
        }
        let about_type = index
            .expression_columns
            .iter()
            .any(|c| renames.retyped.contains(c));
        if about_type {
            let text = format!(
                "the index `{}` computes with the old type and does not come along",
                named.name
            );
            draft.note(NoteLevel::Warning, &renames.old.physical, text);
            let known = &mut draft.world.tables[table];
            known.indexes.retain(|other| other.name != named.name);
            continue;
        }
        let name = draft.artefact(&named.name);
        let again = renamed_index(index, renames, None);
        draft.index(table, &name, &again);
        let known = &mut draft.world.tables[table];
        known.facts.indexes.insert(name.clone(), again);
        swap_named(&mut known.indexes, &named.name, &name);
    }
}

/// Makes the foreign keys of other tables that point at the old columns again.
pub(crate) fn references(draft: &mut Draft, table: usize, renames: &Renames<'_>) {
    let here = draft.world.qualified(&renames.old.physical);
    for reference in renames.old.facts.referenced_by.clone() {
        let itself = reference.table == here;
        if !renames.touch(&reference.columns) || itself {
            continue;
        }
        let Some(from) = draft.referencing(&reference.table) else {
            let text = format!(
                "`{}` points here from another schema by `{}`",
                reference.table, reference.constraint
            );
            draft.note(
                NoteLevel::Ask,
                &here.name,
                format!("{text}: the key is dropped at contract"),
            );
            continue;
        };
        let known = draft.world.tables[from].clone();
        let Some(it) = known.facts.constraints.get(&reference.constraint) else {
            continue;
        };
        let Some(name) = logical(&known.constraints, &reference.constraint) else {
            continue;
        };
        let physical = draft.artefact(name);
        let mut again = it.clone();
        if let Some(key) = &mut again.foreign_key {
            key.columns = renames.each(&key.columns);
        }
        draft.constrain(from, &physical, &again);
        let other = &mut draft.world.tables[from];
        swap_named(&mut other.constraints, name, &physical);
        other.facts.constraints.insert(physical.clone(), again);
        let mut reference = reference.clone();
        reference.constraint = physical;
        reference.columns = renames.each(&reference.columns);
        draft.world.tables[table]
            .facts
            .referenced_by
            .insert(reference);
        draft
            .links
            .insert((here.name.clone(), known.physical.clone()));
    }
}
