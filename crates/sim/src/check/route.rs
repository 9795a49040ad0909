//! What a table may route to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use engine::Spawn;
use fleet::{Child, ProbeResult};
use model::{InstanceId, ReleaseId, ServiceName};
use traffic::{Endpoint, ServiceTable, Table};

use super::{Known, Model, Rule};

impl Model {
    /// A start was ordered. `shared` names who else has its port or figures, by the world's own account.
    pub(crate) fn spawned(&mut self, spawn: &Spawn, shared: Option<InstanceId>) {
        if let Some(who) = shared.filter(|id| !self.is_unwritten(id)) {
            let seen = format!("{} gets what {who} has", spawn.instance);
            self.violate(Rule::PortsAreNotShared, seen);
        }
        self.check_reason(&spawn.instance);
        self.check_schema(&spawn.instance, "is started");
        let known = self.instances.entry(spawn.instance.clone()).or_default();
        known.port = spawn.port;
        known.cell = spawn.cell.0;
    }

    /// What only older versions of the database needed is removed.
    pub(crate) fn contract_ordered(&mut self, version: &str, living: &[InstanceId]) {
        let contracted = self.contracted.get_or_insert_default();
        if version > contracted.as_str() {
            version.clone_into(contracted);
        }
        for instance in living {
            self.check_schema(instance, "runs");
        }
    }

    /// It was.
    pub(crate) fn contract_done(&mut self, version: &str) {
        self.removed = self.removed.take().max(Some(version.to_owned()));
    }

    /// Nothing of it was. Returns what was removed before.
    pub(crate) fn contract_withdrawn(&mut self) -> Option<String> {
        self.contracted.clone_from(&self.removed);
        self.removed.clone()
    }

    /// Whether an instance finds what its release needs of the database.
    fn check_schema(&mut self, instance: &InstanceId, does: &str) {
        let facts = self.facts(&instance.service, instance.release);
        let needs = facts.and_then(|facts| facts.version.clone());
        let Some((needs, contracted)) = needs.zip(self.contracted.clone()) else {
            return;
        };
        if needs < contracted {
            let seen = format!("{instance} {does}, made for {needs}: {contracted} is contracted");
            self.violate(Rule::ContractsUnneeded, seen);
        }
    }

    /// Its start is in no journal.
    pub(crate) fn unwritten(&mut self, instance: &InstanceId) {
        if let Some(known) = self.instances.get_mut(instance) {
            known.unwritten = true;
        }
    }

    /// Whether a worker may not know of it.
    pub(super) fn is_unwritten(&self, id: &InstanceId) -> bool {
        let known = self.instances.get(id);
        known.is_none_or(|known| known.unwritten || known.orphan)
    }

    /// Everything that happened is in the journal now.
    pub(crate) fn all_written(&mut self) {
        for known in self.instances.values_mut() {
            known.unwritten = false;
        }
    }

    fn check_reason(&mut self, instance: &InstanceId) {
        let (service, release) = (&instance.service, instance.release);
        let Some(known) = self.services.get(service) else {
            return;
        };
        let roll = self.open_roll(service).map(|(_, roll)| roll);
        let rolled = roll.is_some_and(|r| r.to == release || r.from == Some(release));
        let left = known.left.and_then(|id| self.rollouts.get(&id));
        let left = left.is_some_and(|r| r.to == release || r.from == Some(release));
        if known.active != Some(release) && !rolled && !left && !known.unsure {
            let seen = format!("{instance} is started, but nothing asks for its release");
            self.violate(Rule::StartsWithReason, seen);
        }
        if let Some((id, roll)) = self.open_roll(service)
            && roll.to == release
            && roll.from != Some(release)
            && !roll.job_done(model::JobKind::Before)
        {
            let seen = format!("{instance} is started before the job of rollout {id} has passed");
            self.violate(Rule::JobsRunOnce, seen);
        }
    }

    /// A process runs; without probes that is all it has to prove.
    pub(crate) fn running(&mut self, instance: &InstanceId) {
        let rise = self.facts(&instance.service, instance.release);
        let unasked = rise.is_some_and(|facts| facts.rise == 0);
        let now = self.now;
        if let Some(known) = self.instances.get_mut(instance)
            && unasked
        {
            known.proven.get_or_insert(now);
            known.healthy.get_or_insert(now);
        }
    }

    /// A probe is asked for.
    pub(crate) fn asks(&mut self, instance: &InstanceId) {
        if let Some(known) = self.instances.get_mut(instance) {
            known.probed = true;
        }
    }

    /// An answer to a probe reached the engine; one that nobody waits for says nothing.
    pub(crate) fn probed(&mut self, instance: &InstanceId, result: &ProbeResult) {
        let facts = self.facts(&instance.service, instance.release);
        let Some((rise, fall)) = facts.map(|facts| (facts.rise, facts.fall)) else {
            return;
        };
        let now = self.now;
        let Some(known) = self.instances.get_mut(instance) else {
            return;
        };
        if !std::mem::take(&mut known.probed) {
            return;
        }
        match result {
            ProbeResult::Passed | ProbeResult::Weighed(_) => {
                known.passes += 1;
                known.failures = 0;
                if known.passes >= rise {
                    known.proven.get_or_insert(now);
                    known.healthy.get_or_insert(now);
                    known.doubt = false;
                }
            }
            ProbeResult::Failed(_) => {
                known.failures += 1;
                known.passes = 0;
                if known.failures >= fall {
                    known.healthy = None;
                    known.doubt = false;
                }
            }
        }
    }

    /// The end of a process reached the engine.
    pub(crate) fn exit_heard(&mut self, instance: &InstanceId) {
        if let Some(known) = self.instances.get_mut(instance) {
            known.exit_heard = true;
            known.healthy = None;
            known.doubt = false;
        }
    }

    /// The supervisor's view reached the engine.
    pub(crate) fn children_seen(&mut self, children: &[Child]) {
        for child in children {
            match child.exit {
                Some(_) => self.exit_heard(&child.instance),
                None => self.running(&child.instance),
            }
        }
    }

    /// A table was published, perhaps once more.
    pub(crate) fn published(&mut self, table: &Arc<Table>) {
        let newest = self.newest.clone();
        if table.revision < newest.revision
            || (table.revision == newest.revision && **table != *newest)
        {
            let seen = format!("revision {} after {}", table.revision, newest.revision);
            self.violate(Rule::RevisionNamesOneTable, seen);
        }
        if table.revision == newest.revision {
            return;
        }
        self.check_owned(table);
        for service in &table.services {
            self.check_endpoints(service);
        }
        self.check_shadows(table);
        self.check_shares(table);
        self.check_pauses(table);
        self.check_capacity(&newest, table);
        self.note_drained(&newest, table);
        self.newest = table.clone();
    }

    /// No port or cell is two endpoints'.
    fn check_owned(&mut self, table: &Table) {
        let mut seen = BTreeMap::new();
        let mut cells = BTreeMap::new();
        for endpoint in endpoints(table) {
            let port = seen.insert(endpoint.address, &endpoint.instance);
            let cell = cells.insert(endpoint.cell, &endpoint.instance);
            for other in [port, cell].into_iter().flatten() {
                if *other != endpoint.instance {
                    let seen = format!("{} and {other} have one address", endpoint.instance);
                    self.violate(Rule::RoutesOwnPort, seen);
                    return;
                }
            }
        }
    }

    fn check_endpoints(&mut self, service: &ServiceTable) {
        for side in service.sides() {
            for endpoint in &side.endpoints {
                self.check_endpoint(&service.name, side.release, endpoint);
            }
        }
    }

    fn check_endpoint(&mut self, service: &ServiceName, release: ReleaseId, endpoint: &Endpoint) {
        let id = &endpoint.instance;
        let ending = self.ending;
        let Some(known) = self.instances.get_mut(id) else {
            if ending {
                return;
            }
            let seen = format!("{id} is routed to and was never started");
            return self.violate(Rule::RoutesOnlyLiving, seen);
        };
        known.routed = true;
        let broken = fault(known, endpoint, self.ending).or_else(|| {
            let theirs = id.service == *service && id.release == release;
            let seen = format!("{id} is routed to as one of {service} {release}");
            (!theirs).then_some((Rule::RoutesWhatRuns, seen))
        });
        if let Some((rule, seen)) = broken {
            self.violate(rule, seen);
        }
    }

    /// Notes which instances the newest table does without.
    fn note_drained(&mut self, old: &Table, new: &Table) {
        let kept: BTreeSet<&InstanceId> = endpoints(new).map(|e| &e.instance).collect();
        for endpoint in endpoints(old).filter(|e| !kept.contains(&e.instance)) {
            if let Some(known) = self.instances.get_mut(&endpoint.instance) {
                known.drained = Some(self.now);
            }
        }
        for id in kept {
            if let Some(known) = self.instances.get_mut(id) {
                known.drained = None;
            }
        }
    }
}

/// What speaks against an endpoint.
fn fault(known: &Known, endpoint: &Endpoint, ending: bool) -> Option<(Rule, String)> {
    let id = &endpoint.instance;
    if known.proven.is_none() {
        let seen = format!("{id} is routed to after {} passes", known.passes);
        Some((Rule::RoutesOnlyProven, seen))
    } else if known.exit_heard {
        Some((
            Rule::RoutesOnlyLiving,
            format!("{id} is routed to and has ended"),
        ))
    } else if known.told.is_some() && !ending {
        let seen = format!("{id} is routed to and was told to stop");
        Some((Rule::RoutesOnlyLiving, seen))
    } else if known.port != Some(endpoint.address.port()) || known.cell != endpoint.cell.0 {
        let seen = format!("{id} is routed to at {}", endpoint.address);
        Some((Rule::RoutesOwnPort, seen))
    } else {
        None
    }
}

/// Every endpoint of a table.
pub(crate) fn endpoints(table: &Table) -> impl Iterator<Item = &Endpoint> {
    let services = table.services.iter();
    let sides = services.flat_map(ServiceTable::sides);
    sides.flat_map(|side| &side.endpoints)
}
