//! A new index, built without stopping writers.

use model::diagnostic::Mistake;

use super::part::{each, within};
use crate::draft::Draft;
use crate::file::{Fields, Text};
use crate::schema::{Index, IndexKey, IndexPart, Qualified};
use crate::world::Named;

/// A new index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateIndex {
    /// Its name.
    pub name: Text,
    /// The table.
    pub table: Text,
    /// What it orders by.
    pub columns: Vec<IndexColumn>,
    /// Whether no two rows may be equal.
    pub unique: bool,
    /// `btree`, `hash`, …
    pub method: Option<&'static str>,
    /// Which rows it holds.
    pub predicate: Option<Text>,
    /// `fillfactor = 70`.
    pub storage_parameters: Option<Text>,
}

/// One thing that an index orders by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexColumn {
    /// The column.
    pub column: Text,
    /// Its collation.
    pub collate: Option<Text>,
    /// Whether the greatest is first.
    pub descending: bool,
    /// Whether NULL is first; it is in descending order unless said otherwise.
    pub nulls_first: bool,
    /// The operator class with its parameters.
    pub opclass: Option<(Text, Vec<Text>)>,
}

impl CreateIndex {
    pub(super) fn read(fields: &mut Fields<'_, '_, '_>) -> Option<Self> {
        const METHODS: [&str; 6] = ["btree", "hash", "gist", "spgist", "gin", "brin"];
        let (name, table) = (fields.text("name"), fields.text("table"));
        let list = fields.list("columns");
        let empty = list.as_ref().filter(|list| list.value.is_empty());
        if let Some(empty) = empty {
            let message = "an index needs a column";
            fields
                .mistakes()
                .add(Mistake::new(empty.span.clone(), message));
        }
        let columns = each(fields, list, ("a column of an index", IndexColumn::read));
        let unique = fields.is_set("unique");
        let method = fields.one_of("method", &METHODS.map(|method| (method, method)));
        let predicate = fields.text_if("predicate");
        let storage_parameters = fields.text_if("storage_parameters");
        let (name, table) = (name?, table?);
        Some(Self {
            name,
            table,
            columns,
            unique,
            method,
            predicate,
            storage_parameters,
        })
    }
}

impl IndexColumn {
    fn read(fields: &mut Fields<'_, '_, '_>) -> Option<Self> {
        let column = fields.text("column");
        let collate = fields.text_if("collate");
        let descending = fields.one_of("sort", &[("ASC", false), ("DESC", true)]);
        let descending = descending.unwrap_or(false);
        let nulls_first = fields.one_of("nulls", &[("FIRST", true), ("LAST", false)]);
        let nulls_first = nulls_first.unwrap_or(descending);
        let opclass = within(fields, "opclass", |fields| {
            let (name, params) = (fields.text("name"), fields.texts("params"));
            Some((name?, params))
        });
        let column = column?;
        Some(Self {
            column,
            collate,
            descending,
            nulls_first,
            opclass,
        })
    }
}

impl CreateIndex {
    pub(super) fn plan(&self, draft: &mut Draft) {
        let Some(table) = draft.table(&self.table) else {
            return;
        };
        if !draft.fits(&self.name) || !draft.is_free(&self.name) {
            return;
        }
        let mut parts = Vec::new();
        for column in &self.columns {
            let Some(physical) = draft.column(table, &column.column) else {
                return;
            };
            parts.push(column.part(physical));
        }
        let known = &draft.world.tables[table];
        let predicate = self.predicate.as_ref().map(|text| known.in_catalogue(text));
        let read = self.predicate.as_ref().map(|text| known.reads(text));
        let options = self
            .storage_parameters
            .as_ref()
            .map_or("", |text| text.as_str());
        let options = options.split(',').map(|option| option.trim().to_owned());
        let index = Index {
            definition: String::new(),
            method: self.method.unwrap_or("btree").to_owned(),
            unique: self.unique,
            nulls_not_distinct: false,
            parts,
            include: Vec::new(),
            predicate,
            expression_columns: read
                .into_iter()
                .flatten()
                .map(|c| c.physical.clone())
                .collect(),
            options: options.filter(|option| !option.is_empty()).collect(),
            tablespace: None,
            constraint: None,
            valid: true,
            clustered: false,
            part_of: None,
            comment: None,
            bytes: 0,
        };
        if index.unique {
            let columns: Vec<String> = index
                .plain_columns()
                .into_iter()
                .flatten()
                .map(str::to_owned)
                .collect();
            draft.note_for_both(
                table,
                (&self.name, "a value that is there already"),
                &columns,
            );
        }
        draft.index(table, &self.name, &index);
        draft.world.taken.insert(self.name.value.clone());
        let known = &mut draft.world.tables[table];
        known.facts.indexes.insert(self.name.value.clone(), index);
        known.indexes.push(Named::same(&self.name));
    }
}

impl IndexColumn {
    fn part(&self, physical: String) -> IndexPart {
        let opclass = self
            .opclass
            .as_ref()
            .map(|(name, params)| match params.as_slice() {
                [] => name.value.clone(),
                params => {
                    let params: Vec<&str> = params.iter().map(|param| param.as_str()).collect();
                    format!("{} ({})", name.value, params.join(", "))
                }
            });
        let collation = self.collate.as_ref().map(|text| {
            let (schema, name) = text.split_once('.').unwrap_or(("pg_catalog", text));
            let plain = |part: &str| part.trim_matches('"').to_owned();
            Qualified {
                schema: plain(schema),
                name: plain(name),
            }
        });
        IndexPart {
            key: IndexKey::Column(physical),
            descending: self.descending,
            nulls_first: self.nulls_first,
            opclass,
            collation,
        }
    }
}
