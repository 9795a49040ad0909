//! What replicated updates and deletes name a row by: changed at contract.

use super::part::within;
use crate::draft::Draft;
use crate::file::{Fields, Text};
use crate::plan::{Cost, LockLevel, Run, Step};
use crate::schema::ReplicaIdentity;
use crate::sql::quote;
use crate::world::physical;
use model::diagnostic::Mistake;

/// What replication names rows by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetReplicaIdentity {
    /// The table.
    pub table: Text,
    /// What.
    pub identity: IdentitySpec,
}

/// What replication names a row by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdentitySpec {
    /// The primary key.
    Default,
    /// The whole row.
    Full,
    /// Nothing.
    Nothing,
    /// The columns of this unique index.
    Index(Text),
}

impl SetReplicaIdentity {
    pub(super) fn read(fields: &mut Fields<'_, '_, '_>) -> Option<Self> {
        let table = fields.text("table");
        if fields.node("identity").is_none() {
            // Says that it is missing.
            fields.text("identity");
        }
        let identity = within(fields, "identity", IdentitySpec::read);
        Some(Self {
            table: table?,
            identity: identity?,
        })
    }
}

impl IdentitySpec {
    fn read(fields: &mut Fields<'_, '_, '_>) -> Option<Self> {
        let kinds = [("default", 0), ("full", 1), ("nothing", 2), ("index", 3)];
        let kind = fields.text("type").and(fields.one_of("type", &kinds));
        let index = fields.text_if("index");
        match (kind?, index) {
            (0, None) => Some(Self::Default),
            (1, None) => Some(Self::Full),
            (2, None) => Some(Self::Nothing),
            (3, Some(index)) => Some(Self::Index(index)),
            (3, None) => {
                let span = fields.span();
                fields
                    .mistakes()
                    .add(Mistake::missing(span, "`identity` names no `index`"));
                None
            }
            (_, index) => {
                let span = index.map_or_else(|| fields.span(), |index| index.span);
                let message = "only the identity `index` has an index";
                fields.mistakes().add(Mistake::new(span, message));
                None
            }
        }
    }
}

impl SetReplicaIdentity {
    pub(super) fn plan(&self, draft: &mut Draft) {
        let Some(table) = draft.table(&self.table) else {
            return;
        };
        let known = draft.world.tables[table].clone();
        let identity = match &self.identity {
            IdentitySpec::Default => ReplicaIdentity::Default,
            IdentitySpec::Full => ReplicaIdentity::Full,
            IdentitySpec::Nothing => ReplicaIdentity::Nothing,
            IdentitySpec::Index(name) => match physical(&known.indexes, name) {
                Some(index) => ReplicaIdentity::Index(index.to_owned()),
                None => {
                    let message = format!("`{}` has no index `{}`", known.name, name.value);
                    draft.refuse(&name.span, message);
                    return;
                }
            },
        };
        // Until contract the version before decides, so that an abort leaves it as it was.
        let said = match &self.identity {
            IdentitySpec::Default => "DEFAULT".to_owned(),
            IdentitySpec::Full => "FULL".to_owned(),
            IdentitySpec::Nothing => "NOTHING".to_owned(),
            IdentitySpec::Index(name) => format!("USING INDEX {}", quote(name)),
        };
        let on = draft.sql(&known.name);
        draft.tail.push(Step {
            title: format!("set what replication names rows of `{}` by", known.name),
            statements: vec![format!("ALTER TABLE {on} REPLICA IDENTITY {said}")],
            run: Run::Together,
            locks: vec![draft.lock(&known.name, LockLevel::AccessExclusive)],
            cost: Cost::Instant,
            why: "no row is read".to_owned(),
        });
        draft.world.tables[table].facts.replica_identity = identity;
    }
}
