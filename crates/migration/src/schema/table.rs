//! Tables with all that hangs on them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Constraint, Dependent, Grant, Index, Qualified};

/// A table, partition or foreign table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// What it is.
    pub kind: TableKind,
    /// Whether it survives a crash.
    pub persistence: Persistence,
    /// The role that owns it.
    pub owner: String,
    /// Its columns, in the order in which `*` names them.
    pub columns: Vec<Column>,
    /// Its constraints by name. Those of a unique kind have an index of the same name.
    pub constraints: BTreeMap<String, Constraint>,
    /// Its indexes by name, also those of constraints.
    pub indexes: BTreeMap<String, Index>,
    /// Its triggers by name, without the server's own.
    pub triggers: BTreeMap<String, Trigger>,
    /// Its rewrite rules by name, with their definition.
    pub rules: BTreeMap<String, String>,
    /// Its row-level security policies by name.
    pub policies: BTreeMap<String, Policy>,
    /// Whether policies are in force.
    pub row_security: RowSecurity,
    /// Statistics objects over several columns, by qualified name.
    pub statistics: BTreeMap<String, Statistics>,
    /// What was granted; `None` is the default: everything to the owner.
    pub privileges: Option<BTreeSet<Grant>>,
    /// Its comment.
    pub comment: Option<String>,
    /// What replicated updates and deletes name a row by.
    pub replica_identity: ReplicaIdentity,
    /// The publications that name it or hold all tables.
    pub publications: BTreeSet<String>,
    /// Storage parameters as `name=value`.
    pub options: BTreeSet<String>,
    /// Its tablespace, if not the database's.
    pub tablespace: Option<String>,
    /// How it divides its rows, if it is partitioned.
    pub partitioning: Option<Partitioning>,
    /// Where it belongs, if it is a partition.
    pub partition_of: Option<Partition>,
    /// The tables it inherits from, in order, if it is no partition.
    pub inherits: Vec<Qualified>,
    /// Its partitions or heirs.
    pub children: BTreeSet<Qualified>,
    /// The foreign keys of any table, also this one, that point here.
    pub referenced_by: BTreeSet<ForeignReference>,
    /// The views and functions of any schema that stop a drop of it or of a column.
    pub dependents: Vec<Dependent>,
    /// What the server believes about its size.
    pub estimate: Estimate,
}

impl Table {
    /// The column of that name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The primary key's constraint.
    #[must_use]
    pub fn primary_key(&self) -> Option<(&str, &Constraint)> {
        let mut keys = self.constraints.iter();
        let key = keys.find(|(_, it)| it.kind == super::ConstraintKind::PrimaryKey)?;
        Some((key.0.as_str(), key.1))
    }
}

/// What a table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TableKind {
    /// It holds its own rows.
    Ordinary,
    /// Its partitions hold its rows.
    Partitioned,
    /// Another server holds its rows.
    Foreign,
}

/// How safely rows are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Persistence {
    /// As safe as the database.
    Permanent,
    /// Emptied by a crash.
    Unlogged,
}

/// One column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type with modifiers, qualified unless it is PostgreSQL's own: `numeric(10,2)`.
    pub data_type: String,
    /// Its collation, if it is not its type's own.
    pub collation: Option<Qualified>,
    /// Whether it takes NULL.
    pub nullable: bool,
    /// Its default.
    pub default: Option<String>,
    /// The expression that makes it, if it is generated.
    pub generated: Option<Generated>,
    /// Whether it numbers rows, and who may give another number.
    pub identity: Option<Identity>,
    /// The sequence that belongs to it: of an identity or a `serial`.
    pub sequence: Option<Qualified>,
    /// Its comment.
    pub comment: Option<String>,
    /// `plain`, `main`, `external` or `extended`, if it is not its type's own.
    pub storage: Option<String>,
    /// `pglz` or `lz4`, if it was set.
    pub compression: Option<String>,
    /// The statistics target, if it was set.
    pub statistics: Option<i32>,
    /// Attribute options as `name=value`.
    pub options: BTreeSet<String>,
    /// What was granted on it alone.
    pub privileges: Option<BTreeSet<Grant>>,
    /// Whether a parent gave it.
    pub inherited: bool,
}

/// How a generated column is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generated {
    /// Where its values are.
    pub kind: GeneratedKind,
    /// The expression.
    pub expression: String,
    /// The columns that the expression reads.
    pub columns: BTreeSet<String>,
}

/// Where the values of a generated column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GeneratedKind {
    /// In the row.
    Stored,
    /// Nowhere: made when read.
    Virtual,
}

/// Who may give the value of an identity column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Identity {
    /// Only `OVERRIDING SYSTEM VALUE`.
    Always,
    /// Anybody.
    ByDefault,
}

/// A trigger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trigger {
    /// How it was made.
    pub definition: String,
    /// When, relative to the change.
    pub timing: TriggerTiming,
    /// For what changes.
    pub events: BTreeSet<TriggerEvent>,
    /// The columns of `UPDATE OF`; empty is every column.
    pub columns: Vec<String>,
    /// The columns whose drop it stops: of `UPDATE OF` and of its condition.
    pub needs: BTreeSet<String>,
    /// For each row or for each statement.
    pub level: TriggerLevel,
    /// Its function.
    pub function: Qualified,
    /// In which sessions it fires.
    pub firing: TriggerFiring,
    /// Whether it is a constraint trigger.
    pub constraint: bool,
    /// Whether a parent gave it.
    pub inherited: bool,
    /// Its comment.
    pub comment: Option<String>,
}

/// When a trigger fires, relative to the change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TriggerTiming {
    /// Before it; it may change the row.
    Before,
    /// After it.
    After,
    /// In its place; on views.
    InsteadOf,
}

/// What a trigger fires for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TriggerEvent {
    /// New rows.
    Insert,
    /// Changed rows.
    Update,
    /// Removed rows.
    Delete,
    /// Emptied tables.
    Truncate,
}

/// How often a trigger fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TriggerLevel {
    /// For each row.
    Row,
    /// For each statement.
    Statement,
}

/// In which sessions a trigger fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TriggerFiring {
    /// Not where `session_replication_role` is `replica`.
    Origin,
    /// Only where it is `replica`.
    Replica,
    /// Everywhere.
    Always,
    /// Nowhere.
    Disabled,
}

/// A row-level security policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Whether it adds to what others allow, or restricts it.
    pub permissive: bool,
    /// What it is about.
    pub command: PolicyCommand,
    /// The roles it is for; empty is everyone.
    pub roles: BTreeSet<String>,
    /// Which rows are seen.
    pub using: Option<String>,
    /// Which rows may be written.
    pub with_check: Option<String>,
    /// The columns of its table that it reads, whose drop it stops.
    pub needs: BTreeSet<String>,
    /// Its comment.
    pub comment: Option<String>,
}

/// What a policy is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PolicyCommand {
    /// Everything.
    All,
    /// Reading.
    Select,
    /// New rows.
    Insert,
    /// Changed rows.
    Update,
    /// Removed rows.
    Delete,
}

/// Whether policies are in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowSecurity {
    /// They are not.
    Off,
    /// For everyone but the owner.
    On,
    /// For the owner too.
    Forced,
}

/// A statistics object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statistics {
    /// How it was made.
    pub definition: String,
    /// The columns it is about.
    pub columns: BTreeSet<String>,
}

/// What replicated updates and deletes name a row by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplicaIdentity {
    /// The primary key, if there is one.
    Default,
    /// Nothing: updates of a published table are refused.
    Nothing,
    /// The whole row.
    Full,
    /// The columns of a unique index.
    Index(String),
}

/// How a table divides its rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Partitioning {
    /// Strategy and key: `RANGE (at)`.
    pub key: String,
    /// The key's plain columns.
    pub columns: Vec<String>,
}

/// Where a partition belongs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Partition {
    /// The partitioned table.
    pub parent: Qualified,
    /// Its rows: `FOR VALUES FROM (1) TO (2)`, `DEFAULT`.
    pub bound: String,
}

/// A foreign key of another table that points here.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForeignReference {
    /// The table that holds it.
    pub table: Qualified,
    /// Its name.
    pub constraint: String,
    /// The columns of this table that it names, in its order.
    pub columns: Vec<String>,
}

/// What the server believes about a table's size.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Estimate {
    /// Rows, as of the last `ANALYZE` or `VACUUM` scaled to the present size; `None` if never.
    pub rows: Option<u64>,
    /// Bytes of the rows themselves.
    pub bytes: u64,
    /// Bytes with indexes and large values.
    pub total_bytes: u64,
}
