//! The operations, one file each: what it says, how it is read, what it does.

mod add_column;
mod alter_column;
mod create_constraint;
mod create_index;
mod create_table;
mod drop_column;
mod drop_constraint;
mod drop_index;
mod drop_multicolumn_constraint;
mod drop_table;
mod facts;
pub mod part;
mod rename_column;
mod rename_constraint;
mod rename_table;
mod set_replica_identity;
mod sql;

pub use add_column::AddColumn;
pub use alter_column::AlterColumn;
pub use create_constraint::CreateConstraint;
pub use create_index::{CreateIndex, IndexColumn};
pub use create_table::CreateTable;
pub use drop_column::DropColumn;
pub use drop_constraint::DropConstraint;
pub use drop_index::DropIndex;
pub use drop_multicolumn_constraint::DropMulticolumnConstraint;
pub use drop_table::DropTable;
pub use rename_column::RenameColumn;
pub use rename_constraint::RenameConstraint;
pub use rename_table::RenameTable;
pub use set_replica_identity::{IdentitySpec, SetReplicaIdentity};
pub use sql::Sql;

use model::diagnostic::{Mistake, Mistakes, Span, did_you_mean};

use crate::draft::Draft;
use crate::file::{Fields, Node, Placed};

/// One operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// A new table.
    CreateTable(CreateTable),
    /// A new column.
    AddColumn(AddColumn),
    /// Another type, nullability, default, comment or constraint of a column.
    AlterColumn(AlterColumn),
    /// Another name of a column.
    RenameColumn(RenameColumn),
    /// Another name of a constraint.
    RenameConstraint(RenameConstraint),
    /// Another name of a table.
    RenameTable(RenameTable),
    /// A column less.
    DropColumn(DropColumn),
    /// A table less.
    DropTable(DropTable),
    /// A new index.
    CreateIndex(CreateIndex),
    /// An index less.
    DropIndex(DropIndex),
    /// A new constraint, of any number of columns.
    CreateConstraint(CreateConstraint),
    /// A constraint of one column less.
    DropConstraint(DropConstraint),
    /// A constraint of several columns less.
    DropMulticolumnConstraint(DropMulticolumnConstraint),
    /// A person's own SQL.
    Sql(Sql),
    /// What replication names rows by.
    SetReplicaIdentity(SetReplicaIdentity),
}

/// The operations by the names they have in files.
const NAMES: [&str; 15] = [
    "create_table",
    "add_column",
    "alter_column",
    "rename_column",
    "rename_constraint",
    "rename_table",
    "drop_column",
    "drop_table",
    "create_index",
    "drop_index",
    "create_constraint",
    "drop_constraint",
    "drop_multicolumn_constraint",
    "sql",
    "set_replica_identity",
];

impl Operation {
    /// Reads one entry of a migration's list: a table with one key.
    pub(crate) fn read(
        entry: &Placed<Node>,
        mistakes: &mut Mistakes<'_>,
    ) -> Option<Placed<Operation>> {
        let one = match &entry.value {
            Node::Map(entries) => match entries.as_slice() {
                [one] => Some(one),
                _ => None,
            },
            Node::Null | Node::Scalar(..) | Node::List(_) => None,
        };
        let Some((name, body)) = one else {
            let message = "an operation is a table with one key, its kind";
            mistakes.add(Mistake::new(entry.span.clone(), message));
            return None;
        };
        let value = Self::of_kind(name, body, mistakes)?;
        let span = name.span.clone();
        Some(Placed { value, span })
    }

    fn of_kind(
        name: &Placed<String>,
        body: &Placed<Node>,
        mistakes: &mut Mistakes<'_>,
    ) -> Option<Self> {
        let Some(what) = NAMES.iter().find(|known| **known == name.as_str()) else {
            let message = format!("there is no operation `{}`", name.value);
            let hint = did_you_mean(name, NAMES);
            let hint = hint.or_else(|| Some(format!("known: {}", NAMES.join(", "))));
            mistakes.add(Mistake::new(name.span.clone(), message).hint_if(hint));
            return None;
        };
        let mut fields = Fields::of(what, body, mistakes)?;
        let f = &mut fields;
        let operation = match *what {
            "create_table" => CreateTable::read(f).map(Self::CreateTable),
            "add_column" => AddColumn::read(f).map(Self::AddColumn),
            "alter_column" => AlterColumn::read(f).map(Self::AlterColumn),
            "rename_column" => RenameColumn::read(f).map(Self::RenameColumn),
            "rename_constraint" => RenameConstraint::read(f).map(Self::RenameConstraint),
            "rename_table" => RenameTable::read(f).map(Self::RenameTable),
            "drop_column" => DropColumn::read(f).map(Self::DropColumn),
            "drop_table" => DropTable::read(f).map(Self::DropTable),
            "create_index" => CreateIndex::read(f).map(Self::CreateIndex),
            "drop_index" => DropIndex::read(f).map(Self::DropIndex),
            "create_constraint" => CreateConstraint::read(f).map(Self::CreateConstraint),
            "drop_constraint" => DropConstraint::read(f).map(Self::DropConstraint),
            "drop_multicolumn_constraint" => {
                DropMulticolumnConstraint::read(f).map(Self::DropMulticolumnConstraint)
            }
            "sql" => Sql::read(f).map(Self::Sql),
            "set_replica_identity" => SetReplicaIdentity::read(f).map(Self::SetReplicaIdentity),
            _ => None,
        };
        fields.finish();
        operation
    }
}

impl Operation {
    /// Changes the draft's world, and leaves in the draft what that needs. `count` is the number
    /// of operations in the migration.
    pub(crate) fn plan(&self, draft: &mut Draft, (span, count): (&Span, usize)) {
        match self {
            Self::CreateTable(it) => it.plan(draft),
            Self::AddColumn(it) => it.plan(draft),
            Self::AlterColumn(it) => it.plan(draft),
            Self::RenameColumn(it) => it.plan(draft),
            Self::RenameConstraint(it) => it.plan(draft),
            Self::RenameTable(it) => it.plan(draft),
            Self::DropColumn(it) => it.plan(draft),
            Self::DropTable(it) => it.plan(draft),
            Self::CreateIndex(it) => it.plan(draft),
            Self::DropIndex(it) => it.plan(draft),
            Self::CreateConstraint(it) => it.plan(draft),
            Self::DropConstraint(it) => it.plan(draft),
            Self::DropMulticolumnConstraint(it) => it.plan(draft),
            Self::Sql(it) => it.plan(draft, (span, count)),
            Self::SetReplicaIdentity(it) => it.plan(draft),
        }
    }
}
