//! What must be true once everything has healed and come to rest.

use std::collections::BTreeMap;

use model::{InstanceId, Outcome, ReleaseId, Share};
use traffic::ServiceTable;

use super::{Model, Rule, Service};

/// How things stand in the world.
#[derive(Debug, Default)]
pub(crate) struct Stand {
    /// Living processes, and since when.
    pub(crate) living: BTreeMap<InstanceId, u64>,
    /// Ended ones that nobody has acknowledged.
    pub(crate) ended: Vec<InstanceId>,
}

impl Model {
    /// Whether every rollout has ended.
    pub(crate) fn is_quiet(&self) -> bool {
        self.rollouts.values().all(|roll| roll.closed.is_some())
    }

    /// The release that should serve in the end, for each service: those are made good when
    /// everything heals.
    pub(crate) fn actives(&self) -> Vec<(model::ServiceName, ReleaseId)> {
        let mut actives = Vec::new();
        for (name, service) in &self.services {
            actives.extend(service.active.map(|id| (name.clone(), id)));
        }
        actives
    }

    /// What is not yet as it should be in the end; `None` once all is.
    pub(crate) fn unsettled(&self, stand: &Stand) -> Option<(Rule, String)> {
        let open = self.rollouts.iter().find(|(_, roll)| roll.closed.is_none());
        if let Some((id, roll)) = open {
            let seen = format!("rollout {id} of {} has not ended", roll.service);
            return Some((Rule::EndsInTime, seen));
        }
        if let Some(id) = stand.ended.first() {
            let seen = format!("{id} has ended and is not forgotten");
            return Some((Rule::NothingOrphaned, seen));
        }
        self.services
            .iter()
            .find_map(|(name, service)| self.service_unsettled(name, service, stand))
    }

    fn service_unsettled(
        &self,
        name: &model::ServiceName,
        service: &Service,
        stand: &Stand,
    ) -> Option<(Rule, String)> {
        let own = stand.living.keys().filter(|id| id.service == *name);
        let table = self.newest.services.iter().find(|s| s.name == *name);
        if let Some(left) = service.left {
            let roll = self.rollouts.get(&left)?;
            let theirs = |id: &&InstanceId| Some(id.release) != roll.from && id.release != roll.to;
            let stranger = own.clone().find(theirs);
            return stranger.map(|id| (Rule::NothingOrphaned, format!("{id} runs for nobody")));
        }
        if service.unsure {
            return split(table).map(|seen| (Rule::EndsAsAsked, format!("{name}: {seen}")));
        }
        let wanted = match (service.stopped, service.active) {
            (false, Some(_)) => service
                .scaled
                .or(service.policy.as_ref().map(|p| p.replicas)),
            (true, _) | (_, None) => Some(0),
        };
        let wanted = wanted.unwrap_or(0) as usize;
        let stranger = own.clone().find(|id| Some(id.release) != service.active);
        if let Some(id) = stranger {
            return Some((Rule::NothingOrphaned, format!("{id} runs for nobody")));
        }
        let count = own.clone().count();
        let stale = service.restarted.and_then(|at| {
            let mut old = own.filter(|id| stand.living.get(id).is_some_and(|since| *since < at));
            old.next()
        });
        if let Some(id) = stale {
            let seen = format!("{id} is older than the restart");
            return Some((Rule::EndsAsAsked, seen));
        }
        if count != wanted {
            let seen = format!("{name}: {count} of {wanted} instances");
            return Some((Rule::EndsAsAsked, seen));
        }
        if table.is_some_and(|table| table.paused.is_some()) {
            return Some((Rule::PauseEnds, format!("{name} is still paused")));
        }
        let seen = split(table).or_else(|| lacking(table, service, wanted))?;
        Some((Rule::EndsAsAsked, format!("{name}: {seen}")))
    }

    /// The server has ended.
    pub(crate) fn terminated(&mut self, stand: &Stand) {
        if !self.ending {
            let seen = "nobody told the server to end".to_owned();
            self.violate(Rule::TerminatesClean, seen);
        }
        if let Some((id, _)) = stand.living.first_key_value() {
            let seen = format!("{id} still runs");
            self.violate(Rule::TerminatesClean, seen);
        }
    }

    /// How each rollout ended, for the tally.
    pub(crate) fn outcomes(&self) -> Vec<(String, Outcome)> {
        let begun = self.rollouts.values().filter(|roll| roll.opened.is_some());
        let named = |roll: &super::Roll| Some((roll.name().to_owned(), roll.closed?));
        begun.filter_map(named).collect()
    }
}

impl super::Roll {
    fn name(&self) -> &'static str {
        use model::{RolloutKind, Strategy};
        match (self.kind, &self.policy.rollout.strategy) {
            (RolloutKind::Rollback, _) => "rollback",
            (RolloutKind::Deploy, _) if self.from.is_none() => "first",
            (RolloutKind::Deploy, Strategy::Rolling { .. }) => "rolling",
            (RolloutKind::Deploy, Strategy::BlueGreen(_)) => "blue_green",
            (RolloutKind::Deploy, Strategy::Canary { .. }) => "canary",
            (RolloutKind::Deploy, Strategy::Recreate) => "recreate",
        }
    }
}

/// A split that nobody asks for any more.
fn split(table: Option<&ServiceTable>) -> Option<String> {
    let table = table?;
    let split = table.candidate.is_some() || table.share != Share::NONE;
    split.then(|| format!("still split at {}", table.share))
}

/// Endpoints that should be routed to.
fn lacking(table: Option<&ServiceTable>, service: &Service, wanted: usize) -> Option<String> {
    let active = service.active?;
    let port = service
        .releases
        .get(&active)
        .is_some_and(|facts| facts.has_port);
    if !port || service.stopped {
        return None;
    }
    let routed = table.map_or(0, |table| table.stable.endpoints.len());
    let right = table.is_some_and(|table| table.stable.release == active);
    (routed != wanted || !right).then(|| format!("{routed} of {wanted} endpoints of {active}"))
}
