//! A database's schema as data: everything that a change may touch, and must keep.
//!
//! Names are the catalogue's own, not quoted. Every piece of SQL in here was written by the
//! server with an empty `search_path`, so that it names what it means wherever it is run.
//! Nothing in here is an object number or a column number: a database that was restored from
//! its own dump reads the same.

mod constraint;
mod index;
mod table;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

pub use constraint::{Constraint, ConstraintKind, ForeignKey, ForeignKeyAction, ForeignKeyMatch};
pub use index::{Index, IndexKey, IndexPart};
pub use table::{
    Column, Estimate, ForeignReference, Generated, GeneratedKind, Identity, Partition,
    Partitioning, Persistence, Policy, PolicyCommand, ReplicaIdentity, RowSecurity, Statistics,
    Table, TableKind, Trigger, TriggerEvent, TriggerFiring, TriggerLevel, TriggerTiming,
};
pub use view::{Dependent, View, ViewKind};

/// One schema (namespace) of a database, and who looks at it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schema {
    /// The namespace's name, such as `public`.
    pub name: String,
    /// `server_version_num`, such as 150018.
    pub server_version: u32,
    /// The role that reads, and what it may do.
    pub role: Role,
    /// Tables, partitions, and foreign tables by name.
    pub tables: BTreeMap<String, Table>,
    /// Views and materialised views by name.
    pub views: BTreeMap<String, View>,
    /// Sequences by name, also those of identity columns.
    pub sequences: BTreeMap<String, Sequence>,
    /// Enums, domains, composites and ranges by name; not the row types of tables.
    pub types: BTreeMap<String, Type>,
    /// Functions by signature, `name(argument types)`, with their definition.
    pub functions: BTreeMap<String, Function>,
    /// The names of all other schemas of the database, without PostgreSQL's own.
    pub others: BTreeSet<String>,
}

impl Schema {
    /// The same schema without what differs between two equal databases: who looks, what the
    /// server is, and the estimates.
    #[must_use]
    pub fn without_estimates(&self) -> Self {
        let mut same = self.clone();
        same.server_version = 0;
        same.role = Role::default();
        for table in same.tables.values_mut() {
            table.estimate = Estimate::default();
            for index in table.indexes.values_mut() {
                index.bytes = 0;
            }
        }
        same
    }
}

/// A name with the schema that it lies in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Qualified {
    /// The namespace.
    pub schema: String,
    /// The name within it.
    pub name: String,
}

impl fmt::Display for Qualified {
    /// For people: not quoted.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

/// The role that reads the schema and would change it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Role {
    /// `current_user`.
    pub name: String,
    /// Whether it is a superuser.
    pub superuser: bool,
    /// The roles whose objects it may change: itself and those it is a member of.
    pub member_of: BTreeSet<String>,
    /// Whether it may create schemas in this database.
    pub may_create_schema: bool,
    /// Whether it may create objects in the schema that was read.
    pub may_create_here: bool,
    /// Whether it may set `session_replication_role`, which silences triggers.
    pub may_silence_triggers: bool,
    /// Its own `search_path` setting as a new session of it has it, such as `"$user", public`.
    pub search_path: String,
}

/// One privilege of one grantee on one object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// A role's name; `None` is everyone (`PUBLIC`).
    pub grantee: Option<String>,
    /// Such as `SELECT`.
    pub privilege: String,
    /// Whether the grantee may grant it on.
    pub grantable: bool,
}

/// A sequence, without its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sequence {
    /// `smallint`, `integer` or `bigint`.
    pub data_type: String,
    /// Its first value.
    pub start: i64,
    /// Its step; negative for a descending one.
    pub increment: i64,
    /// Its least value.
    pub min: i64,
    /// Its greatest value.
    pub max: i64,
    /// How many values a session takes at once.
    pub cache: i64,
    /// Whether it begins anew at its end.
    pub cycle: bool,
    /// The column that it is dropped with.
    pub owned_by: Option<SequenceOwner>,
    /// The role that owns it.
    pub owner: String,
    /// What was granted; `None` is the default.
    pub privileges: Option<BTreeSet<Grant>>,
    /// Its comment.
    pub comment: Option<String>,
}

/// The column that a sequence belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SequenceOwner {
    /// The table.
    pub table: Qualified,
    /// Its column.
    pub column: String,
    /// Whether it is an identity column, whose sequence cannot be given away.
    pub identity: bool,
}

/// A type that somebody made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Type {
    /// What kind of type, with its content.
    pub kind: TypeKind,
    /// The role that owns it.
    pub owner: String,
    /// Its comment.
    pub comment: Option<String>,
}

/// The kinds of types.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum TypeKind {
    /// An enum with its labels in order.
    Enum {
        /// The labels.
        labels: Vec<String>,
    },
    /// A domain over a base type.
    Domain {
        /// The type below.
        base: String,
        /// Whether it refuses NULL.
        not_null: bool,
        /// Its default.
        default: Option<String>,
        /// Its checks by name; adding a column of a domain with any rewrites the table.
        checks: BTreeMap<String, String>,
    },
    /// A row of named fields, `(name, type)`.
    Composite {
        /// The fields in order.
        fields: Vec<(String, String)>,
    },
    /// A range over a subtype.
    Range {
        /// The subtype.
        subtype: String,
    },
}

/// A function, procedure or aggregate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Function {
    /// How it was made, as the server says it; for an aggregate only its signature.
    pub definition: String,
    /// The role that owns it.
    pub owner: String,
    /// Whether two calls with the same arguments may answer differently.
    pub volatility: Volatility,
}

/// What a function promises about its answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Volatility {
    /// The same answer forever.
    Immutable,
    /// The same answer within a statement.
    Stable,
    /// Any answer.
    Volatile,
}
