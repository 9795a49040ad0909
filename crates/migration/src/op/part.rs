//! What several operations have in common: columns, checks, references, constraints.

use model::diagnostic::Mistake;

use crate::file::{Fields, Node, Placed, Text};
use crate::schema::{ForeignKeyAction, ForeignKeyMatch, Identity};

/// A column as a migration declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnSpec {
    /// Its name.
    pub name: Text,
    /// Its type.
    pub data_type: Text,
    /// Whether it takes NULL.
    pub nullable: bool,
    /// Its default, an expression.
    pub default: Option<Text>,
    /// Whether it is the primary key, or a part of it.
    pub pk: bool,
    /// Whether no two rows may be equal in it.
    pub unique: bool,
    /// What it must fulfil.
    pub check: Option<CheckSpec>,
    /// Where it points.
    pub references: Option<ReferenceSpec>,
    /// Its comment.
    pub comment: Option<Text>,
    /// How it is made, if it is generated.
    pub generated: Option<GeneratedSpec>,
}

/// How a column is generated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GeneratedSpec {
    /// By an expression, stored.
    Expression(Text),
    /// By a sequence.
    Identity(Identity, Option<Text>),
}

/// A check of one column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckSpec {
    /// Its name.
    pub name: Text,
    /// What it demands.
    pub constraint: Text,
    /// Whether heirs do not get it.
    pub no_inherit: bool,
}

/// A foreign key of one column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferenceSpec {
    /// Its name.
    pub name: Option<Text>,
    /// The table there.
    pub table: Text,
    /// The column there; `None` is the primary key.
    pub column: Option<Text>,
    /// What happens when the row there changes.
    pub actions: Actions,
    /// When it is checked.
    pub deferral: Deferral,
}

/// What happens when the row that a foreign key points at changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actions {
    /// At a delete.
    pub on_delete: ForeignKeyAction,
    /// At an update.
    pub on_update: ForeignKeyAction,
    /// What NULL in some columns means.
    pub match_type: ForeignKeyMatch,
    /// The columns that a delete sets; empty is all.
    pub on_delete_set_columns: Vec<Text>,
}

/// When a constraint is checked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Deferral {
    /// Whether it may be checked at commit.
    pub deferrable: bool,
    /// Whether it is unless said otherwise.
    pub initially_deferred: bool,
}

/// A constraint of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConstraintSpec {
    /// Its name.
    pub name: Text,
    /// What it demands.
    pub kind: ConstraintSpecKind,
    /// Its columns.
    pub columns: Vec<Text>,
    /// When it is checked.
    pub deferral: Deferral,
    /// Whether NULL equals NULL.
    pub nulls_not_distinct: bool,
    /// Whether heirs do not get it.
    pub no_inherit: bool,
    /// How its index is made.
    pub index: IndexParameters,
}

/// What a constraint demands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConstraintSpecKind {
    /// No two rows equal.
    Unique,
    /// No two rows equal, and no NULL.
    PrimaryKey,
    /// An expression that is not false.
    Check(Text),
    /// A row elsewhere.
    ForeignKey {
        /// The table there.
        table: Text,
        /// The columns there.
        columns: Vec<Text>,
        /// What happens when the row there changes.
        actions: Actions,
    },
    /// No two rows in conflict.
    Exclude {
        /// The index's method.
        method: Option<Text>,
        /// What conflicts: `a WITH =`.
        elements: Text,
        /// Which rows it is about.
        predicate: Option<Text>,
    },
}

/// How a constraint's index is made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IndexParameters {
    /// Where it lies.
    pub tablespace: Option<Text>,
    /// `fillfactor = 70`.
    pub storage_parameters: Option<Text>,
    /// Columns that it carries along.
    pub include: Vec<Text>,
}

impl ColumnSpec {
    pub(crate) fn read(fields: &mut Fields<'_, '_, '_>) -> Option<Self> {
        let (name, data_type) = (fields.text("name"), fields.text("type"));
        let nullable = fields.is_set("nullable");
        let default = fields.text_if("default");
        let (pk, unique) = (fields.is_set("pk"), fields.is_set("unique"));
        let check = within(fields, "check", CheckSpec::read);
        let references = within(fields, "references", ReferenceSpec::read);
        let comment = fields.text_if("comment");
        let generated = within(fields, "generated", GeneratedSpec::read);
        if let (Some(default), Some(_)) = (&default, &generated) {
            let message = "a generated column has no default";
            fields
                .mistakes()
                .add(Mistake::new(default.span.clone(), message));
        }
        Some(Self {
            name: name?,
            data_type: data_type?,
            nullable,
            default,
            pk,
            unique,
            check,
            references,
            comment,
            generated,
        })
    }
}

impl GeneratedSpec {
    fn read(fields: &mut Fields<'_, '_, '_>) -> Option<Self> {
        let expression = fields.text_if("expression");
        let identity = within(fields, "identity", |fields| {
            let values = [
                ("ALWAYS", Identity::Always),
                ("BY DEFAULT", Identity::ByDefault),
            ];
            let who = fields.one_of("user_specified_values", &values);
            Some((
                who.unwrap_or(Identity::Always),
                fields.text_if("sequence_options"),
            ))
        });
        match (expression, identity) {
            (Some(expression), None) => Some(Self::Expression(expression)),
            (None, Some((who, options))) => Some(Self::Identity(who, options)),
            (None, None) | (Some(_), Some(_)) => {
                let message = "a column is generated by an expression or as an identity";
                let mistake = Mistake::new(fields.span(), message);
                fields
                    .mistakes()
                    .add(mistake.expected("one of `expression` and `identity`"));
                None
            }
        }
    }
}

impl CheckSpec {
    pub(crate) fn read(fields: &mut Fields<'_, '_, '_>) -> Option<Self> {
        let (name, constraint) = (fields.text("name"), fields.text("constraint"));
        let no_inherit = fields.is_set("no_inherit");
        Some(Self {
            name: name?,
            constraint: constraint?,
            no_inherit,
        })
    }
}

impl ReferenceSpec {
    pub(crate) fn read(fields: &mut Fields<'_, '_, '_>) -> Option<Self> {
        let (name, table) = (fields.text_if("name"), fields.text("table"));
        let column = fields.text_if("column");
        let (actions, deferral) = (Actions::read(fields), Deferral::read(fields));
        Some(Self {
            name,
            table: table?,
            column,
            actions,
            deferral,
        })
    }
}

impl Actions {
    fn read(fields: &mut Fields<'_, '_, '_>) -> Self {
        const ACTIONS: [(&str, ForeignKeyAction); 5] = [
            ("NO ACTION", ForeignKeyAction::NoAction),
            ("RESTRICT", ForeignKeyAction::Restrict),
            ("CASCADE", ForeignKeyAction::Cascade),
            ("SET NULL", ForeignKeyAction::SetNull),
            ("SET DEFAULT", ForeignKeyAction::SetDefault),
        ];
        // PostgreSQL does not have MATCH PARTIAL.
        let matches = [
            ("SIMPLE", ForeignKeyMatch::Simple),
            ("FULL", ForeignKeyMatch::Full),
        ];
        let none = ForeignKeyAction::NoAction;
        Self {
            on_delete: fields.one_of("on_delete", &ACTIONS).unwrap_or(none),
            on_update: fields.one_of("on_update", &ACTIONS).unwrap_or(none),
            match_type: fields
                .one_of("match_type", &matches)
                .unwrap_or(ForeignKeyMatch::Simple),
            on_delete_set_columns: Vec::new(),
        }
    }
}

impl Deferral {
    fn read(fields: &mut Fields<'_, '_, '_>) -> Self {
        let deferrable = fields.is_set("deferrable");
        let initially_deferred = fields.is_set("initially_deferred");
        Self {
            deferrable: deferrable || initially_deferred,
            initially_deferred,
        }
    }
}

impl IndexParameters {
    fn read(fields: &mut Fields<'_, '_, '_>) -> Option<Self> {
        Some(Self {
            tablespace: fields.text_if("tablespace"),
            storage_parameters: fields.text_if("storage_parameters"),
            include: fields.texts("include_columns"),
        })
    }
}

impl ConstraintSpec {
    /// Reads a constraint out of a table of its own, or out of an operation's.
    pub(crate) fn read(fields: &mut Fields<'_, '_, '_>) -> Option<Self> {
        let name = fields.text("name");
        let columns = fields.texts("columns");
        let kind = ConstraintSpecKind::read(fields);
        let deferral = Deferral::read(fields);
        let nulls_not_distinct = fields.is_set("nulls_not_distinct");
        let no_inherit = fields.is_set("no_inherit");
        let index = within(fields, "index_parameters", IndexParameters::read);
        let (name, kind) = (name?, kind?);
        let needs_columns = match &kind {
            ConstraintSpecKind::Unique
            | ConstraintSpecKind::PrimaryKey
            | ConstraintSpecKind::ForeignKey { .. } => true,
            ConstraintSpecKind::Check(_) | ConstraintSpecKind::Exclude { .. } => false,
        };
        if needs_columns && columns.is_empty() {
            let message = format!("the constraint `{}` names no columns", name.value);
            fields
                .mistakes()
                .add(Mistake::missing(name.span.clone(), message));
            return None;
        }
        let index = index.unwrap_or_default();
        Some(Self {
            name,
            kind,
            columns,
            deferral,
            nulls_not_distinct,
            no_inherit,
            index,
        })
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Unique,
    PrimaryKey,
    Check,
    ForeignKey,
    Exclude,
}

impl ConstraintSpecKind {
    fn read(fields: &mut Fields<'_, '_, '_>) -> Option<Self> {
        const KINDS: [(&str, Kind); 5] = [
            ("unique", Kind::Unique),
            ("primary_key", Kind::PrimaryKey),
            ("check", Kind::Check),
            ("foreign_key", Kind::ForeignKey),
            ("exclude", Kind::Exclude),
        ];
        let kind = fields.text("type").and(fields.one_of("type", &KINDS));
        let check = fields.text_if("check");
        let reference = within(fields, "references", |fields| {
            let table = fields.text("table");
            let columns = fields.texts("columns");
            let mut actions = Actions::read(fields);
            actions.on_delete_set_columns = fields.texts("on_delete_set_columns");
            let table = table?;
            Some(Self::ForeignKey {
                table,
                columns,
                actions,
            })
        });
        let exclude = within(fields, "exclude", |fields| {
            let method = fields.text_if("index_method");
            let elements = fields.text("elements");
            let predicate = fields.text_if("predicate");
            let elements = elements?;
            Some(Self::Exclude {
                method,
                elements,
                predicate,
            })
        });
        let (found, needed) = match kind? {
            Kind::Unique => return Some(Self::Unique),
            Kind::PrimaryKey => return Some(Self::PrimaryKey),
            Kind::Check => (check.map(Self::Check), "check"),
            Kind::ForeignKey => (reference, "references"),
            Kind::Exclude => (exclude, "exclude"),
        };
        if found.is_none() {
            let message = format!("this kind of constraint needs `{needed}`");
            let span = fields.span();
            fields.mistakes().add(Mistake::missing(span, message));
        }
        found
    }
}

/// Reads the table in field `name`, if it is there.
pub(crate) fn within<T>(
    fields: &mut Fields<'_, '_, '_>,
    name: &'static str,
    read: impl FnOnce(&mut Fields<'_, '_, '_>) -> Option<T>,
) -> Option<T> {
    let node = fields.node(name)?;
    table(name, node, fields, read)
}

/// Reads each table of the list in field `name`.
pub(crate) fn each<T>(
    fields: &mut Fields<'_, '_, '_>,
    list: Option<Placed<&[Placed<Node>]>>,
    (what, read): (&'static str, impl Fn(&mut Fields<'_, '_, '_>) -> Option<T>),
) -> Vec<T> {
    let nodes = list.map_or(&[][..], |list| list.value);
    let all = nodes
        .iter()
        .filter_map(|node| table(what, node, fields, &read));
    all.collect()
}

fn table<T>(
    what: &'static str,
    node: &Placed<Node>,
    fields: &mut Fields<'_, '_, '_>,
    read: impl FnOnce(&mut Fields<'_, '_, '_>) -> Option<T>,
) -> Option<T> {
    let mut inner = Fields::of(what, node, fields.mistakes())?;
    let value = read(&mut inner);
    inner.finish();
    value
}
