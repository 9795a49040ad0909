//! A schema as its newest version knows it, beside what the catalogue holds.
//!
//! While migrations are in progress, names differ: a column that programs call `total` may lie
//! in `_gapless_7_0_total`, and the old `total` is still there for the version before. The
//! facts are the catalogue's; the names above them are the version's.

use std::collections::{BTreeMap, BTreeSet};

use crate::schema::{
    Column, ConstraintKind, ForeignReference, Qualified, Schema, Sequence, Table, TypeKind,
};
use crate::sql::expression;
use crate::sql::name::PREFIX;

/// What the names of our triggers begin with: last among those of people.
pub(crate) const TRIGGER_PREFIX: &str = "~gapless";

/// A schema as one version knows it.
#[derive(Debug, Clone)]
pub(crate) struct World {
    /// The schema where the tables are.
    pub(crate) base: String,
    /// `server_version_num`.
    pub(crate) server_version: u32,
    /// The tables, in the order of their names.
    pub(crate) tables: Vec<Known>,
    /// Sequences by name.
    pub(crate) sequences: BTreeMap<String, Sequence>,
    /// The names of types; whether a column of it makes the server look at every row.
    pub(crate) types: BTreeMap<String, bool>,
    /// The names of functions.
    pub(crate) functions: BTreeSet<String>,
    /// The names that relations of the catalogue have, hidden ones too.
    pub(crate) taken: BTreeSet<String>,
}

/// A table as a version knows it.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    /// Its name there.
    pub(crate) name: String,
    /// Its name in the catalogue.
    pub(crate) physical: String,
    /// Whether the migration being planned made it, so that no other version uses it.
    pub(crate) fresh: bool,
    /// What the catalogue holds, or will when the steps before are done.
    pub(crate) facts: Table,
    /// The columns that the version sees, in order.
    pub(crate) columns: Vec<Named>,
    /// The constraints that hold for the version.
    pub(crate) constraints: Vec<Named>,
    /// The indexes that the version has, also those of constraints.
    pub(crate) indexes: Vec<Named>,
    /// The constraints, by their names in the catalogue, that are an index only until contract.
    pub(crate) pending: BTreeSet<String>,
    /// The defaults, by column, that only the version's view has until contract.
    pub(crate) defaults: BTreeMap<String, Option<String>>,
}

/// A name beside the catalogue's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    /// The version's.
    pub(crate) name: String,
    /// The catalogue's.
    pub(crate) physical: String,
}

impl Named {
    pub(crate) fn same(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            physical: name.to_owned(),
        }
    }

    pub(crate) fn new(name: &str, physical: &str) -> Self {
        Self {
            name: name.to_owned(),
            physical: physical.to_owned(),
        }
    }
}

/// The catalogue's name for a version's name.
pub(crate) fn physical<'n>(names: &'n [Named], name: &str) -> Option<&'n str> {
    let found = names.iter().find(|named| named.name == name);
    found.map(|named| named.physical.as_str())
}

/// The version's name for a catalogue's name.
pub(crate) fn logical<'n>(names: &'n [Named], physical: &str) -> Option<&'n str> {
    let found = names.iter().find(|named| named.physical == physical);
    found.map(|named| named.name.as_str())
}

impl World {
    /// The schema without anything of ours: as the version before all that is in progress
    /// knows it.
    pub(crate) fn of(schema: &Schema, base_only: &BTreeSet<String>) -> Self {
        let known = |(name, table): (&String, &Table)| {
            let shown = table.partition_of.is_none() && !base_only.contains(name);
            shown.then(|| Known::of(name, without_ours(table, base_only), false))
        };
        let tables = schema.tables.iter().filter_map(known).collect();
        let taken = schema.tables.iter().flat_map(|(name, table)| {
            let indexes = table.indexes.keys();
            std::iter::once(name).chain(indexes)
        });
        let taken = taken
            .chain(schema.views.keys())
            .chain(schema.sequences.keys())
            .filter(|name| !base_only.contains(*name))
            .cloned()
            .collect();
        let types = schema.types.iter().map(|(name, it)| {
            let scans = match &it.kind {
                TypeKind::Domain {
                    not_null, checks, ..
                } => *not_null || !checks.is_empty(),
                TypeKind::Enum { .. } | TypeKind::Composite { .. } | TypeKind::Range { .. } => {
                    false
                }
            };
            (name.clone(), scans)
        });
        let function = |signature: &String| {
            let name = signature.split('(').next().unwrap_or(signature);
            name.trim_matches('"').to_owned()
        };
        Self {
            base: schema.name.clone(),
            server_version: schema.server_version,
            tables,
            sequences: schema.sequences.clone(),
            types: types.collect(),
            functions: schema.functions.keys().map(function).collect(),
            taken,
        }
    }

    /// The table that the version calls `name`.
    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        self.tables.iter().position(|table| table.name == name)
    }

    /// The table that the catalogue calls `physical`.
    pub(crate) fn find_physical(&self, physical: &str) -> Option<&Known> {
        self.tables.iter().find(|table| table.physical == physical)
    }

    /// A name of the base schema, qualified.
    pub(crate) fn qualified(&self, name: &str) -> Qualified {
        Qualified {
            schema: self.base.clone(),
            name: name.to_owned(),
        }
    }

    /// Works out anew which foreign keys of the known tables point at which.
    pub(crate) fn relink(&mut self) {
        let known: BTreeSet<Qualified> = self
            .tables
            .iter()
            .map(|table| self.qualified(&table.physical))
            .collect();
        let mut found: BTreeMap<Qualified, Vec<ForeignReference>> = BTreeMap::new();
        for table in &self.tables {
            for (name, it) in &table.facts.constraints {
                let Some(key) = &it.foreign_key else {
                    continue;
                };
                found
                    .entry(key.table.clone())
                    .or_default()
                    .push(ForeignReference {
                        table: self.qualified(&table.physical),
                        constraint: name.clone(),
                        columns: key.columns.clone(),
                    });
            }
        }
        let base = self.base.clone();
        for table in &mut self.tables {
            let here = Qualified {
                schema: base.clone(),
                name: table.physical.clone(),
            };
            let references = &mut table.facts.referenced_by;
            references.retain(|it| !known.contains(&it.table));
            references.extend(found.remove(&here).into_iter().flatten());
        }
    }

    /// Whether the version knows a foreign key, or nobody can tell.
    pub(crate) fn is_seen(&self, reference: &ForeignReference) -> bool {
        let table = self.find_physical(&reference.table.name);
        let here = reference.table.schema == self.base;
        table
            .filter(|_| here)
            .is_none_or(|table| logical(&table.constraints, &reference.constraint).is_some())
    }

    /// The world once everything planned for it is contracted: the catalogue's names are the
    /// version's, and what the version does not see is gone.
    pub(crate) fn settled(&self) -> Self {
        let mut settled = self.clone();
        let tables: Vec<(String, String)> = self
            .tables
            .iter()
            .map(|table| (table.physical.clone(), table.name.clone()))
            .collect();
        let columns: BTreeMap<String, Vec<Named>> = self
            .tables
            .iter()
            .map(|table| (table.physical.clone(), table.columns.clone()))
            .collect();
        let names = Settling {
            base: &self.base,
            tables,
            columns,
        };
        for table in &mut settled.tables {
            table.settle(&names);
        }
        settled.tables.sort_by(|a, b| a.name.cmp(&b.name));
        settled
    }
}

impl Known {
    /// A table whose names are the catalogue's.
    pub(crate) fn of(name: &str, facts: Table, fresh: bool) -> Self {
        let same = |name: &String| Named::same(name);
        Self {
            name: name.to_owned(),
            physical: name.to_owned(),
            fresh,
            columns: facts.columns.iter().map(|c| Named::same(&c.name)).collect(),
            constraints: facts.constraints.keys().map(same).collect(),
            indexes: facts.indexes.keys().map(same).collect(),
            pending: BTreeSet::new(),
            defaults: BTreeMap::new(),
            facts,
        }
    }

    /// The catalogue's column for the version's.
    pub(crate) fn column(&self, name: &str) -> Option<&Column> {
        self.facts.column(physical(&self.columns, name)?)
    }

    /// The version's columns of which `expression` reads the table's row.
    pub(crate) fn reads(&self, expression: &str) -> Vec<&Named> {
        let names = self.columns.iter().map(|column| column.name.as_str());
        let read = expression::reads(expression, &self.name, names);
        let named = self.columns.iter();
        named.filter(|c| read.contains(c.name.as_str())).collect()
    }

    /// `expression` in the catalogue's names.
    pub(crate) fn in_catalogue(&self, expression: &str) -> String {
        expression::renamed(expression, &self.name, |name| {
            physical(&self.columns, name).map(str::to_owned)
        })
    }

    fn settle(&mut self, names: &Settling<'_>) {
        let own = self.columns.clone();
        let facts = &mut self.facts;
        facts
            .columns
            .retain(|column| logical(&own, &column.name).is_some());
        facts
            .columns
            .sort_by_key(|column| own.iter().position(|c| c.physical == column.name));
        for column in &mut facts.columns {
            column.name = renamed(&own, &column.name);
            if let Some(default) = self.defaults.get(&column.name) {
                column.default.clone_from(default);
            }
        }
        self.settle_constraints(names);
        self.settle_indexes();
        let references = std::mem::take(&mut self.facts.referenced_by);
        let settled = references.into_iter().map(|mut reference| {
            each(&own, &mut reference.columns);
            names.rename_table(&mut reference.table);
            reference
        });
        self.facts.referenced_by = settled.collect();
        *self = Self::of(&self.name.clone(), self.facts.clone(), false);
    }

    fn settle_constraints(&mut self, names: &Settling<'_>) {
        let own = &self.columns;
        let mut settled = BTreeMap::new();
        for named in &self.constraints {
            let Some(mut it) = self.facts.constraints.remove(&named.physical) else {
                continue;
            };
            each(own, &mut it.columns);
            it.expression = it.expression.map(|text| self.settled_text(&text));
            it.definition = self.settled_text(&it.definition);
            it.index = it.index.map(|_| named.name.clone());
            if let Some(key) = &mut it.foreign_key {
                each(own, &mut key.on_delete_columns);
                if key.table.schema == names.base
                    && let Some(there) = names.columns.get(&key.table.name)
                {
                    each(there, &mut key.columns);
                }
                names.rename_table(&mut key.table);
            }
            settled.insert(named.name.clone(), it);
        }
        self.facts.constraints = settled;
    }

    fn settle_indexes(&mut self) {
        let own = self.columns.clone();
        let mut settled = BTreeMap::new();
        for named in &self.indexes {
            let Some(mut it) = self.facts.indexes.remove(&named.physical) else {
                continue;
            };
            if let Some(constraint) = &it.constraint {
                it.constraint = logical(&self.constraints, constraint).map(str::to_owned);
            }
            for part in &mut it.parts {
                let new = |name: &str| logical(&own, name).map(str::to_owned);
                part.key = part.key.renamed(&self.physical, new);
            }
            each(&own, &mut it.include);
            it.predicate = it.predicate.map(|text| self.settled_text(&text));
            let read = std::mem::take(&mut it.expression_columns).into_iter();
            it.expression_columns = read.map(|name| renamed(&own, &name)).collect();
            let name = it.constraint.clone().unwrap_or_else(|| named.name.clone());
            settled.insert(name, it);
        }
        self.facts.indexes = settled;
    }

    /// SQL of the catalogue in the version's names.
    fn settled_text(&self, text: &str) -> String {
        expression::renamed(text, &self.physical, |name| {
            logical(&self.columns, name).map(str::to_owned)
        })
    }

    /// The primary key as the version knows it.
    pub(crate) fn primary_key(&self) -> Option<&crate::schema::Constraint> {
        let of_key = |named: &&Named| {
            let facts = self.facts.constraints.get(&named.physical);
            facts.is_some_and(|it| it.kind == ConstraintKind::PrimaryKey)
        };
        let named = self.constraints.iter().find(of_key)?;
        self.facts.constraints.get(&named.physical)
    }
}

/// The names that everything gets when it settles.
struct Settling<'a> {
    base: &'a str,
    /// The catalogue's names of tables with the version's.
    tables: Vec<(String, String)>,
    /// The columns by the catalogue's name of their table.
    columns: BTreeMap<String, Vec<Named>>,
}

impl Settling<'_> {
    fn rename_table(&self, table: &mut Qualified) {
        let found = self.tables.iter().find(|(old, _)| *old == table.name);
        if let (Some((_, new)), true) = (found, table.schema == self.base) {
            table.name.clone_from(new);
        }
    }
}

/// The version's name for the catalogue's, or the same where it has none.
fn renamed(names: &[Named], name: &str) -> String {
    logical(names, name).unwrap_or(name).to_owned()
}

fn each(names: &[Named], all: &mut [String]) {
    for name in all {
        *name = renamed(names, name);
    }
}

/// The table without what a migration in progress added.
fn without_ours(table: &Table, gone: &BTreeSet<String>) -> Table {
    let mut table = table.clone();
    let theirs = |name: &String| !name.starts_with(PREFIX);
    table.columns.retain(|column| theirs(&column.name));
    table.constraints.retain(|name, _| theirs(name));
    table
        .indexes
        .retain(|name, _| theirs(name) && !gone.contains(name));
    table
        .triggers
        .retain(|name, _| !name.starts_with(TRIGGER_PREFIX));
    table
        .referenced_by
        .retain(|it| theirs(&it.constraint) && !gone.contains(&it.table.name));
    table
}
