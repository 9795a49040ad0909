//! What others did to a database: a change may be contracted or taken back by hand.

use std::collections::BTreeSet;

use model::{DatabaseName, Release};

use super::Database;
use super::need::Users;
use crate::batch::Batch;
use crate::state::State;

/// Takes in what stands in the history of a database.
pub(crate) fn seen(
    state: &mut State,
    name: &DatabaseName,
    (contracted, served): (Option<String>, &BTreeSet<String>),
    batch: &mut Batch,
) {
    let users = Users::of(state, name);
    let newest = users.newest_releases(state);
    let address = users.address(state);
    let Some(database) = state.server.databases.get_mut(name) else {
        return;
    };
    let mut notes = Vec::new();
    if contracted > database.floor {
        let version = contracted.clone().unwrap_or_default();
        notes.push(format!(
            "database `{name}` was contracted up to `{version}` by somebody else: releases made for less cannot be \
             rolled back to"
        ));
        database.versions.retain(|known, _| *known > version);
        database.barred.extend(newest);
        database.floor = contracted;
    }
    for version in database.note_gone(served) {
        notes.push(format!(
            "version `{version}` of database `{name}` was taken back by somebody else: the next deploy of, or rollback \
             to, a release that needs it publishes it again"
        ));
    }
    if let Some((service, _)) = address {
        for text in notes {
            batch.note(None, &service, text);
        }
    }
}

impl Database {
    /// Notes which versions that services came to are not there any more. Returns those that
    /// were until now.
    pub(super) fn note_gone(&mut self, served: &BTreeSet<String>) -> Vec<String> {
        let settled = self.settled.values().flatten();
        let reached = settled.chain(self.versions.keys()).chain(&self.gone);
        // What is contracted cannot be taken back, and a baseline stands for all before it.
        let gone: BTreeSet<String> = reached
            .filter(|version| Some(*version) > self.floor.as_ref() && !served.contains(*version))
            .cloned()
            .collect();
        // Nothing of them is left to be contracted.
        self.versions.retain(|version, _| !gone.contains(version));
        let fresh = gone.difference(&self.gone).cloned().collect();
        self.gone = gone;
        fresh
    }
}

/// Whether the version that a release was made for was taken back by hand.
pub(crate) fn is_gone(state: &State, release: &Release) -> bool {
    let Some(own) = &release.spec.database else {
        return false;
    };
    let database = state.server.databases.get(&own.name);
    let version = own.version.as_ref();
    database
        .zip(version)
        .is_some_and(|(database, version)| database.gone.contains(&version.migration))
}
