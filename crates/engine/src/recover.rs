//! From the journal back to the state.

use std::collections::BTreeMap;
use std::sync::Arc;

use fleet::Fleet;
use model::{InstanceId, Policy, Release, Revision, ServiceName, Time};
use rollout::Plan;
use serde::de::DeserializeOwned;
use traffic::{Cell, Table};

use crate::journal::{PlaceEntry, RolloutEntry, SERVER};
use crate::state::{Core, Placed, Running, Server, Service, State};

/// The journal is not one that an engine wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoverError {
    /// The key of the entry that cannot be used.
    pub key: String,
    /// Why.
    pub reason: String,
}

impl std::fmt::Display for RecoverError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "journal entry `{}` cannot be used: {}",
            self.key, self.reason
        )
    }
}

impl std::error::Error for RecoverError {}

/// Reads the whole state. `floor` is a revision that no table of an earlier worker exceeds.
pub(crate) fn state(
    entries: &BTreeMap<String, String>,
    floor: Revision,
    now: Time,
) -> Result<State, RecoverError> {
    let source = Source(entries);
    let mut state = State::default();
    if let Some(server) = source.get::<Server>(SERVER)? {
        state.server = server;
    }
    for key in entries.keys() {
        if let Some(name) = key.strip_prefix("service/") {
            let name = ServiceName::try_new(name).map_err(|error| RecoverError {
                key: key.clone(),
                reason: error.to_string(),
            })?;
            let service = source.service(&name, floor)?;
            state.services.insert(name, service);
        }
    }
    state.published.table = Arc::new(Table {
        revision: floor,
        ..Table::default()
    });
    state.published.at = now;
    state.published.since = now;
    Ok(state)
}

struct Source<'a>(&'a BTreeMap<String, String>);

impl Source<'_> {
    fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, RecoverError> {
        let refused = |error: serde_json::Error| RecoverError {
            key: key.to_owned(),
            reason: error.to_string(),
        };
        let text = self.0.get(key);
        text.map(|text| serde_json::from_str(text).map_err(refused))
            .transpose()
    }

    fn need<T: DeserializeOwned>(&self, key: &str) -> Result<T, RecoverError> {
        self.get(key)?.ok_or_else(|| RecoverError {
            key: key.to_owned(),
            reason: "it is missing".to_owned(),
        })
    }

    fn service(&self, name: &ServiceName, floor: Revision) -> Result<Service, RecoverError> {
        let policy: Policy = self.need(&format!("policy/{name}"))?;
        let core: Core = self.need(&format!("service/{name}"))?;
        let mut service = Service::new(name, core.cell, Arc::new(policy));
        service.core = core;
        service.fleet = self.need::<Fleet>(&format!("fleet/{name}"))?;
        let prefix = format!("release/{name}/");
        let keys = self.0.range(prefix.clone()..).map(|(key, _)| key);
        for key in keys.take_while(|key| key.starts_with(&prefix)) {
            let release: Release = self.need(key)?;
            service.releases.insert(release.id, Arc::new(release));
        }
        let places: Vec<PlaceEntry> = self.need(&format!("place/{name}"))?;
        for place in places {
            let instance = InstanceId {
                service: name.clone(),
                release: place.release,
                serial: place.serial,
            };
            let placed = Placed {
                port: place.port,
                cell: Cell(place.cell),
                // Any table of an earlier worker may have it.
                routed: floor,
                waits_for_port: false,
                done: false,
            };
            service.places.insert(instance, placed);
        }
        service.running = self.running(name)?;
        service.refresh_policies();
        Ok(service)
    }

    fn running(&self, name: &ServiceName) -> Result<Option<Running>, RecoverError> {
        let Some(plan) = self.get::<Plan>(&format!("plan/{name}"))? else {
            return Ok(None);
        };
        let entry: RolloutEntry = self.need(&format!("rollout/{name}"))?;
        let mut running = Running::new(plan, entry.state);
        running.target = entry.target;
        running.jobs = entry.jobs;
        running.partners = entry.partners;
        running.partner_failed = entry.partner_failed;
        Ok(Some(running))
    }
}
