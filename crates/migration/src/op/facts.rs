//! What operations declare, as the catalogue will hold it.

use std::collections::{BTreeMap, BTreeSet};

use super::part::{
    Actions, CheckSpec, ConstraintSpec, ConstraintSpecKind, Deferral, IndexParameters,
    ReferenceSpec,
};
use crate::column;
use crate::draft::Draft;
use crate::file::{Placed, Text};
use crate::plan::NoteLevel;
use crate::rule::{Direction, Rule};
use crate::schema::{
    Constraint, ConstraintKind, Estimate, ForeignKey, Index, IndexKey, IndexPart, Persistence,
    Qualified, ReplicaIdentity, RowSecurity, Table, TableKind,
};
use crate::sql::{expression, quote, shortened};
use crate::world::{Known, physical};

/// A table without anything.
pub(super) fn table(owner: &str, comment: Option<&Text>) -> Table {
    Table {
        kind: TableKind::Ordinary,
        persistence: Persistence::Permanent,
        owner: owner.to_owned(),
        columns: Vec::new(),
        constraints: BTreeMap::new(),
        indexes: BTreeMap::new(),
        triggers: BTreeMap::new(),
        rules: BTreeMap::new(),
        policies: BTreeMap::new(),
        row_security: RowSecurity::Off,
        statistics: BTreeMap::new(),
        privileges: None,
        comment: comment.map(|text| text.value.clone()),
        replica_identity: ReplicaIdentity::Default,
        publications: BTreeSet::new(),
        options: BTreeSet::new(),
        tablespace: None,
        partitioning: None,
        partition_of: None,
        inherits: Vec::new(),
        children: BTreeSet::new(),
        referenced_by: BTreeSet::new(),
        dependents: Vec::new(),
        estimate: Estimate::default(),
    }
}

/// The type of the numbers that a `serial` type stands for.
pub(super) fn serial(data_type: &str) -> Option<&'static str> {
    match data_type.trim().to_ascii_lowercase().as_str() {
        "serial" | "serial4" => Some("integer"),
        "bigserial" | "serial8" => Some("bigint"),
        "smallserial" | "serial2" => Some("smallint"),
        _ => None,
    }
}

/// A constraint of that kind over columns of the catalogue.
pub(super) fn constraint(kind: ConstraintKind, columns: Vec<String>, when: Deferral) -> Constraint {
    Constraint {
        kind,
        definition: String::new(),
        columns,
        expression: None,
        foreign_key: None,
        index: None,
        validated: true,
        deferrable: when.deferrable,
        initially_deferred: when.initially_deferred,
        no_inherit: false,
        inherited: false,
        comment: None,
    }
}

/// A unique index that holds the constraint `name` up.
pub(super) fn key_index(name: &str, columns: &[String]) -> Index {
    let part = |column: &String| IndexPart {
        key: IndexKey::Column(column.clone()),
        descending: false,
        nulls_first: false,
        opclass: None,
        collation: None,
    };
    Index {
        definition: String::new(),
        method: "btree".to_owned(),
        unique: true,
        nulls_not_distinct: false,
        parts: columns.iter().map(part).collect(),
        include: Vec::new(),
        predicate: None,
        expression_columns: BTreeSet::new(),
        options: BTreeSet::new(),
        tablespace: None,
        constraint: Some(name.to_owned()),
        valid: true,
        clustered: false,
        part_of: None,
        comment: None,
        bytes: 0,
    }
}

/// A name that the server would choose, no longer than one may be.
pub(super) fn chosen_name(table: &str, columns: &[&str], end: &str) -> String {
    shortened(&format!("{table}_{}_{end}", columns.join("_")))
}

/// A check of one column.
pub(super) fn check(known: &Known, spec: &CheckSpec) -> Constraint {
    checked(known, &spec.constraint, spec.no_inherit)
}

fn checked(known: &Known, text: &str, no_inherit: bool) -> Constraint {
    let read = known
        .reads(text)
        .into_iter()
        .map(|c| c.physical.clone())
        .collect();
    let mut it = constraint(ConstraintKind::Check, read, Deferral::default());
    let inner = expression::in_parentheses(&known.in_catalogue(text));
    it.expression = Some(inner);
    it.no_inherit = no_inherit;
    it
}

/// A foreign key of one column of the catalogue.
pub(super) fn reference(
    draft: &mut Draft,
    (known, column): (&Known, &str),
    spec: &ReferenceSpec,
) -> Option<Constraint> {
    let columns: Vec<Text> = spec.column.iter().cloned().collect();
    let there = (&spec.table, columns.as_slice(), &spec.actions);
    let key = foreign_key(draft, known, there)?;
    let mut it = constraint(
        ConstraintKind::ForeignKey,
        vec![column.to_owned()],
        spec.deferral,
    );
    it.foreign_key = Some(key);
    matching(draft, &it, &spec.table).then_some(it)
}

fn matching(draft: &mut Draft, it: &Constraint, place: &Text) -> bool {
    let there = it.foreign_key.as_ref().map_or(0, |key| key.columns.len());
    if there != it.columns.len() {
        let message = format!("{} columns point at {there}", it.columns.len());
        draft.refuse(&place.span, message);
    }
    there == it.columns.len()
}

/// The far end of a foreign key, which may be the table itself.
fn foreign_key(
    draft: &mut Draft,
    own: &Known,
    (table, columns, actions): (&Text, &[Text], &Actions),
) -> Option<ForeignKey> {
    let there = match table.value == own.name {
        true => own.clone(),
        false => {
            let index = draft.table(table)?;
            draft.world.tables[index].clone()
        }
    };
    let mut names = Vec::new();
    for column in columns {
        let Some(name) = physical(&there.columns, column) else {
            let message = format!(
                "the table `{}` has no column `{}`",
                there.name, column.value
            );
            draft.refuse(&column.span, message);
            return None;
        };
        names.push(name.to_owned());
    }
    if names.is_empty() {
        let Some(key) = there.primary_key() else {
            draft.refuse(
                &table.span,
                format!("`{}` has no primary key to point at", there.name),
            );
            return None;
        };
        names.clone_from(&key.columns);
    }
    let set: Option<Vec<String>> = actions
        .on_delete_set_columns
        .iter()
        .map(|column| physical(&own.columns, column).map(str::to_owned))
        .collect();
    let Some(on_delete_columns) = set else {
        draft.refuse(
            &table.span,
            "`on_delete_set_columns` names a column that is not there",
        );
        return None;
    };
    Some(ForeignKey {
        table: draft.world.qualified(&there.physical),
        columns: names,
        on_update: actions.on_update,
        on_delete: actions.on_delete,
        on_delete_columns,
        match_type: actions.match_type,
    })
}

/// A constraint of a table; keys with their index.
pub(super) fn declared(
    draft: &mut Draft,
    known: &Known,
    spec: &ConstraintSpec,
) -> Option<(Constraint, Option<Index>)> {
    let mut columns = Vec::new();
    for column in &spec.columns {
        let Some(name) = physical(&known.columns, column) else {
            let message = format!(
                "the table `{}` has no column `{}`",
                known.name, column.value
            );
            draft.refuse(&column.span, message);
            return None;
        };
        columns.push(name.to_owned());
    }
    match &spec.kind {
        ConstraintSpecKind::Unique => Some(key(known, spec, (ConstraintKind::Unique, columns))),
        ConstraintSpecKind::PrimaryKey => {
            Some(key(known, spec, (ConstraintKind::PrimaryKey, columns)))
        }
        ConstraintSpecKind::Check(text) => {
            if !draft.resolves(known, text) {
                draft.refuse(&text.span, format!("`{}` names no column", text.value));
                return None;
            }
            Some((checked(known, text, spec.no_inherit), None))
        }
        ConstraintSpecKind::ForeignKey {
            table,
            columns: there,
            actions,
        } => {
            let far = foreign_key(draft, known, (table, there, actions))?;
            let mut it = constraint(ConstraintKind::ForeignKey, columns, spec.deferral);
            it.foreign_key = Some(far);
            matching(draft, &it, table).then_some((it, None))
        }
        ConstraintSpecKind::Exclude {
            method,
            elements,
            predicate,
        } => {
            let exclusion = (method.as_ref(), elements, predicate.as_ref());
            Some((exclusion_of(known, spec, exclusion), None))
        }
    }
}

fn key(
    known: &Known,
    spec: &ConstraintSpec,
    (kind, columns): (ConstraintKind, Vec<String>),
) -> (Constraint, Option<Index>) {
    let mut index = key_index(&spec.name, &columns);
    index.nulls_not_distinct = spec.nulls_not_distinct;
    let IndexParameters {
        tablespace,
        storage_parameters,
        include,
    } = &spec.index;
    index.tablespace = tablespace.as_ref().map(|text| text.value.clone());
    let options = storage_parameters.as_ref().map_or("", |text| text.as_str());
    let options = options.split(',').map(|option| option.trim().to_owned());
    index.options = options.filter(|option| !option.is_empty()).collect();
    let physical = |column: &Text| physical(&known.columns, column).map(str::to_owned);
    index.include = include.iter().filter_map(physical).collect();
    let mut it = constraint(kind, columns, spec.deferral);
    it.index = Some(spec.name.value.clone());
    (it, Some(index))
}

fn exclusion_of(
    known: &Known,
    spec: &ConstraintSpec,
    (method, elements, predicate): (Option<&Text>, &Text, Option<&Text>),
) -> Constraint {
    let method = method.map_or("gist", |text| text.as_str());
    let mut text = format!("EXCLUDE USING {method} ({})", known.in_catalogue(elements));
    if let Some(space) = &spec.index.tablespace {
        text += &format!(" USING INDEX TABLESPACE {}", quote(space));
    }
    let mut read = known.reads(elements);
    if let Some(predicate) = predicate {
        text += &format!(" WHERE ({})", known.in_catalogue(predicate));
        read.extend(known.reads(predicate));
    }
    let columns: BTreeSet<String> = read.into_iter().map(|c| c.physical.clone()).collect();
    let columns = columns.into_iter().collect();
    let mut it = constraint(ConstraintKind::Exclusion, columns, spec.deferral);
    it.definition = text + crate::ddl::deferral(&it);
    it.index = Some(spec.name.value.clone());
    it
}

impl Draft {
    /// Whether nothing in the base schema is called `name`; else a mistake.
    pub(super) fn is_free(&mut self, name: &Text) -> bool {
        let seen = self.world.find(name).is_some();
        let hidden = self.world.taken.contains(&name.value);
        if seen || hidden {
            let message = match seen {
                true => format!("there is a table `{}` already", name.value),
                false => format!(
                    "`{}` is still there for older versions, or something else is called so",
                    name.value
                ),
            };
            self.refuse(&name.span, message);
        }
        !seen && !hidden
    }

    /// Whether the table has that constraint; else a mistake.
    pub(super) fn constraint(&mut self, table: usize, name: &Text) -> bool {
        let known = &self.world.tables[table];
        let found = physical(&known.constraints, name).is_some();
        if !found {
            let names = known.constraints.iter().map(|named| named.name.as_str());
            let hint = model::diagnostic::did_you_mean(name, names);
            let message = format!(
                "the table `{}` has no constraint `{}`",
                known.name, name.value
            );
            let mistake = model::diagnostic::Mistake::new(name.span.clone(), message);
            self.mistakes.push(mistake.hint_if(hint));
        }
        found
    }

    /// Whether the table has that constraint, which is a mistake.
    pub(super) fn has_constraint(&mut self, table: usize, name: &Text) -> bool {
        let known = &self.world.tables[table];
        let found = physical(&known.constraints, name).is_some();
        if found {
            let message = format!("`{}` has a constraint `{}` already", known.name, name.value);
            self.refuse(&name.span, message);
        }
        found
    }

    /// Adds a constraint under a name of its own until contract.
    pub(super) fn add_constraint(
        &mut self,
        table: usize,
        name: &Text,
        (it, index): (Constraint, Option<Index>),
    ) {
        if !self.fits(name) || self.has_constraint(table, name) {
            return;
        }
        let physical = self.artefact(name);
        let breaks = match it.kind {
            ConstraintKind::ForeignKey => "a value that points nowhere",
            _ => "a value that is there already",
        };
        if index.is_some() || it.kind == ConstraintKind::ForeignKey {
            self.note_for_both(table, (name, breaks), &it.columns);
        }
        if let Some(mut index) = index {
            index.constraint = Some(physical.clone());
            if it.kind == ConstraintKind::PrimaryKey {
                self.require_all(table, &it.columns);
            }
            crate::again::add_key(self, table, (name, &physical), (it, index));
            return;
        }
        self.constrain(table, &physical, &it);
        let known = &mut self.world.tables[table];
        known
            .constraints
            .push(crate::world::Named::new(name, &physical));
        known.facts.constraints.insert(physical, it);
    }

    /// Says that a key holds for programs of the old version too, if what they write can break it:
    /// only the server knows at every moment, whatever others write at the same time, so nobody
    /// can mark such a row before it is refused.
    pub(super) fn note_for_both(
        &mut self,
        table: usize,
        (name, breaks): (&Text, &str),
        columns: &[String],
    ) {
        let known = &self.world.tables[table];
        let physical = known.physical.clone();
        let Some(before) = self
            .before
            .find_physical(&physical)
            .filter(|_| !known.fresh)
        else {
            return;
        };
        let written = |column: &String| {
            let up = |rule: &Rule| {
                rule.table == physical && rule.direction == Direction::Up && rule.target == *column
            };
            before.facts.column(column).is_some() || self.rules.iter().any(up)
        };
        if columns.iter().any(written) {
            let text = format!(
                "`{}` holds for programs of the old version too, from before the publication on: {breaks} is refused \
                 to them as well; let `up` make none, or add it once no program breaks it any more",
                name.value
            );
            self.note(NoteLevel::Warning, &physical, text);
        }
    }

    fn require_all(&mut self, table: usize, columns: &[String]) {
        for column in columns {
            let facts = self.world.tables[table].facts.column(column);
            if facts.is_some_and(|facts| facts.nullable) {
                let name = column.clone();
                column::require(self, table, column, &name);
            }
        }
    }
}

/// A name that no file says, at the place of another.
pub(super) fn placed(name: String, at: &Text) -> Text {
    Placed {
        value: name,
        span: at.span.clone(),
    }
}

/// A sequence of the base schema for a column.
pub(super) fn sequence(draft: &Draft, table: &str, column: &str) -> Qualified {
    draft
        .world
        .qualified(&shortened(&format!("{table}_{column}_seq")))
}
