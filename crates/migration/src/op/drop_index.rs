//! An index less, at contract: the older version may need it to be fast enough.

use model::diagnostic::{Mistake, did_you_mean};

use crate::draft::{Draft, drop_index_step};
use crate::file::{Fields, Text};
use crate::plan::{Cost, LockLevel, Run, Step};
use crate::schema::{ReplicaIdentity, TableKind};
use crate::world::physical;

/// An index less.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropIndex {
    /// Its name.
    pub name: Text,
}

impl DropIndex {
    pub(super) fn read(fields: &mut Fields<'_, '_, '_>) -> Option<Self> {
        Some(Self {
            name: fields.text("name")?,
        })
    }
}

impl DropIndex {
    pub(super) fn plan(&self, draft: &mut Draft) {
        let mut tables = draft.world.tables.iter();
        let owner = tables.position(|t| t.indexes.iter().any(|i| i.name == self.name.value));
        let Some(table) = owner else {
            let names = draft.world.tables.iter().flat_map(|t| &t.indexes);
            let hint = did_you_mean(&self.name, names.map(|index| index.name.as_str()));
            let message = format!("there is no index `{}`", self.name.value);
            let mistake = Mistake::new(self.name.span.clone(), message);
            draft.mistakes.push(mistake.hint_if(hint));
            return;
        };
        let known = draft.world.tables[table].clone();
        let physical = physical(&known.indexes, &self.name)
            .unwrap_or_default()
            .to_owned();
        let Some(index) = known.facts.indexes.get(&physical) else {
            return;
        };
        if index.constraint.is_some() {
            let message = "the index holds a constraint up: drop that";
            draft.refuse(&self.name.span, message);
            return;
        }
        if known.facts.replica_identity == ReplicaIdentity::Index(physical.clone()) {
            let message = "replication names rows by this index: set another identity first";
            draft.refuse(&self.name.span, message);
            return;
        }
        draft.world.tables[table]
            .indexes
            .retain(|named| named.physical != physical);
        let base = draft.world.base.clone();
        let on = draft.world.qualified(&known.name);
        let step = match known.facts.kind {
            TableKind::Partitioned => {
                let sql = draft.sql(&physical);
                Step {
                    title: format!("drop the index `{physical}` of `{}`", known.name),
                    statements: vec![format!("DROP INDEX IF EXISTS {sql}")],
                    run: Run::Together,
                    locks: vec![draft.lock(&known.name, LockLevel::AccessExclusive)],
                    cost: Cost::Instant,
                    why: "the server drops a partitioned index in no other way".to_owned(),
                }
            }
            TableKind::Ordinary | TableKind::Foreign => drop_index_step(&base, &on, &physical),
        };
        draft.tail.push(step);
    }
}
