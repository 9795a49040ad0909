//! The instances of one service and what is known of them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::{InstanceId, ReleaseId, ServiceName, Time};
use serde::{Deserialize, Serialize};

use crate::backoff::{Failure, PortChoice, Record};
use crate::life::Instance;
use crate::recover::Watch;
use crate::{
    Counts, Exit, FleetPolicy, Input, InstanceState, InstanceView, ProbeResult, SpawnError,
};

/// The policy of every release that is wanted or still has an instance
/// ([`Fleet::releases`]); instances of a release without one are left alone.
pub type Policies = BTreeMap<ReleaseId, FleetPolicy>;

/// The instances of one service, converged to what is wanted.
///
/// Serialised it is what must outlive a crash: which instances there are, where they are in
/// their lives, and what went wrong lately. What was asked for and not answered is not in it;
/// a fleet read back first asks for the supervisor's view and does nothing else before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fleet {
    pub(crate) service: ServiceName,
    pub(crate) next_serial: u32,
    /// Those whose end is not known, by serial.
    pub(crate) instances: BTreeMap<u32, Instance>,
    /// What went wrong lately, for each wanted release.
    pub(crate) records: BTreeMap<ReleaseId, Record>,
    #[serde(skip)]
    pub(crate) watch: Watch,
}

impl Fleet {
    /// A fleet without instances; the first one will have the serial 1.
    #[must_use]
    pub fn new(service: ServiceName) -> Self {
        Self {
            service,
            next_serial: 1,
            instances: BTreeMap::new(),
            records: BTreeMap::new(),
            watch: Watch::begun(),
        }
    }

    /// Takes in what happened; what is late, doubled, unknown or another service's does no harm.
    pub fn handle(&mut self, input: Input, policies: &Policies, now: Time) {
        self.watch.settled = None;
        match input {
            Input::Children(children) => self.children(children, now),
            Input::Started { instance, result } => self.started(&instance, result, (policies, now)),
            Input::Exited { instance, exit } => self.exited(&instance, exit, now),
            Input::Probed { instance, result } => self.probed(&instance, result, (policies, now)),
            Input::Unrouted { instance } => {
                if let Some(instance) = self.get(&instance) {
                    instance.unrouted();
                }
            }
            Input::Open { instance, requests } => {
                if let Some(instance) = self.get(&instance) {
                    instance.pending.count.answer(requests, now);
                }
            }
        }
    }

    /// The instances of a release, counted. Processes that run unknown to the fleet and are
    /// being killed count as drained ones.
    #[must_use]
    pub fn counts(&self, release: ReleaseId, policy: &FleetPolicy, now: Time) -> Counts {
        let orphans = self.watch.orphans.keys().filter(|o| o.release == release);
        let orphans = u32::try_from(orphans.count()).unwrap_or(u32::MAX);
        let mut counts = Counts {
            running: orphans,
            draining: orphans,
            ..Counts::default()
        };
        for instance in self.instances.values().filter(|i| i.release == release) {
            counts.running += 1;
            count(&mut counts, instance, policy, now);
        }
        counts
    }

    /// Every instance whose process is not known to have ended, by serial.
    #[must_use]
    pub fn views(&self) -> Vec<InstanceView> {
        let ready = self
            .instances
            .values()
            .filter(|i| i.ready_since().is_some());
        let ready: BTreeSet<ReleaseId> = ready.map(|i| i.release).collect();
        let view = |(serial, instance): (&u32, &Instance)| InstanceView {
            instance: self.id(instance.release, *serial),
            state: instance.state,
            routable: match ready.contains(&instance.release) {
                true => instance.ready_since().is_some(),
                // Rather to all that were once ready than to none.
                false => instance.is_serving(),
            },
            last_failure: instance.pending.probes.last_failure().cloned(),
            open_requests: instance.pending.count.open().unwrap_or(0),
            weight: instance.weight,
        };
        self.instances.iter().map(view).collect()
    }

    /// Drained instances of which [`Input::Unrouted`] was not said yet.
    pub fn routed(&self) -> impl Iterator<Item = InstanceId> {
        let routed = self.instances.iter().filter(|(_, instance)| {
            let state = instance.state;
            matches!(
                state,
                InstanceState::Draining {
                    unrouted: false,
                    ..
                }
            )
        });
        routed.map(|(serial, instance)| self.id(instance.release, *serial))
    }

    /// Why the release cannot be run, with evidence: a crash loop, an unusable program, a
    /// stranger on its port. The fleet goes on trying, with a pause between the tries, but for
    /// an unusable program, which waits until something else is wanted.
    #[must_use]
    pub fn trouble(&self, release: ReleaseId) -> Option<String> {
        self.records.get(&release)?.trouble()
    }

    /// Releases that still have an instance.
    #[must_use]
    pub fn releases(&self) -> BTreeSet<ReleaseId> {
        self.instances.values().map(|i| i.release).collect()
    }

    /// Whether nothing runs and nothing is left to be forgotten.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.instances.is_empty() && self.watch.is_empty()
    }

    /// The serial of the next instance; every present one's is smaller.
    #[must_use]
    pub fn next_serial(&self) -> u32 {
        self.next_serial
    }

    /// The key of an instance of this service.
    #[must_use]
    pub fn id(&self, release: ReleaseId, serial: u32) -> InstanceId {
        InstanceId {
            service: self.service.clone(),
            release,
            serial,
        }
    }

    /// The living instance with this key, if it is one of ours.
    pub(crate) fn get(&mut self, id: &InstanceId) -> Option<&mut Instance> {
        if id.service != self.service {
            return None;
        }
        let instance = self.instances.get_mut(&id.serial)?;
        (instance.release == id.release).then_some(instance)
    }

    /// Forgets a living instance whose process has ended; one that ended unasked is a crash.
    pub(crate) fn ended(&mut self, id: &InstanceId, exit: Option<Exit>, now: Time) {
        let Some(instance) = self.take(id) else {
            return;
        };
        if instance.is_leaving() {
            return;
        }
        let failure = self.failure(id, evidence(id, exit, &instance), now);
        if let Some(record) = self.records.get_mut(&id.release) {
            record.crashed(failure, instance.proven(now));
        }
    }

    fn exited(&mut self, id: &InstanceId, exit: Exit, now: Time) {
        if self.get(id).is_some() {
            self.ended(id, Some(exit), now);
        } else {
            self.acknowledge(id);
        }
    }

    fn started(&mut self, id: &InstanceId, result: Result<(), SpawnError>, at: (&Policies, Time)) {
        let (policies, now) = at;
        match (result, self.get(id)) {
            (Ok(()), Some(instance)) => {
                instance.started(now);
                if let Some(policy) = policies.get(&id.release) {
                    instance.settle(policy, now);
                }
                if let Some(record) = self.records.get_mut(&id.release) {
                    record.started();
                }
            }
            (Ok(()), None) => self.orphan(id),
            (Err(error), Some(instance)) if !instance.ran => self.not_started(id, error, at),
            // It runs, or ran: the supervisor knows.
            (Err(_), Some(_)) => self.watch.doubt = true,
            (Err(_), None) => {}
        }
    }

    fn not_started(&mut self, id: &InstanceId, error: SpawnError, at: (&Policies, Time)) {
        let (policies, now) = at;
        let Some(instance) = self.get(id) else {
            return;
        };
        let asked_for = !instance.is_leaving();
        if instance.pending.again {
            instance.give_up(now);
        } else {
            self.take(id);
        }
        let failure = |evidence| self.failure(id, evidence, now);
        let failure = match &error {
            SpawnError::PortTaken { by } => failure(format!("{id} found it taken by {by}")),
            SpawnError::Unusable { reason } | SpawnError::Unavailable { reason } => {
                failure(format!("{id} was not started: {reason}"))
            }
        };
        let Some(record) = self.records.get_mut(&id.release).filter(|_| asked_for) else {
            return;
        };
        match error {
            SpawnError::PortTaken { .. } => {
                let fixed = policies.get(&id.release).is_some_and(|p| p.exclusive);
                let choice = if fixed {
                    PortChoice::Fixed
                } else {
                    PortChoice::Free
                };
                record.port_taken(failure, choice);
            }
            SpawnError::Unusable { reason } => record.unusable(id.serial, reason),
            SpawnError::Unavailable { .. } => record.refused(failure),
        }
    }

    fn probed(&mut self, id: &InstanceId, result: ProbeResult, at: (&Policies, Time)) {
        let (policies, now) = at;
        if let (Some(policy), Some(instance)) = (policies.get(&id.release), self.get(id)) {
            instance.probed(result, policy, (id.serial, now));
        }
    }

    /// Takes an instance out of the fleet, to be forgotten everywhere.
    fn take(&mut self, id: &InstanceId) -> Option<Instance> {
        self.get(id)?;
        self.watch.forget.insert(id.clone());
        self.instances.remove(&id.serial)
    }

    fn failure(&self, id: &InstanceId, evidence: String, now: Time) -> Failure {
        Failure {
            serial: id.serial,
            next_serial: self.next_serial,
            now,
            evidence,
        }
    }
}

/// Adds what one running instance is.
fn count(counts: &mut Counts, instance: &Instance, policy: &FleetPolicy, now: Time) {
    let shortest = |a: Option<Duration>, b| Some(a.map_or(b, |a| a.min(b)));
    match instance.state {
        InstanceState::Ready { since } => {
            counts.ready += 1;
            match since.after(policy.min_ready) {
                then if then <= now => counts.available += 1,
                then => counts.available_in = shortest(counts.available_in, then.since(now)),
            }
        }
        InstanceState::Draining { since, .. } => {
            counts.draining += 1;
            let open = instance.pending.count.open().unwrap_or(0);
            counts.open_requests = counts.open_requests.saturating_add(open);
            counts.drain_left = counts
                .drain_left
                .max(Some(since.after(policy.drain).since(now)));
        }
        InstanceState::Stopping { .. } => counts.draining += 1,
        InstanceState::Ordered { .. }
        | InstanceState::Starting { .. }
        | InstanceState::Unhealthy { .. } => {}
    }
}

/// How an instance ended, for people.
fn evidence(id: &InstanceId, exit: Option<Exit>, instance: &Instance) -> String {
    let how = match exit {
        Some(Exit::Code(code)) => format!("{id} ended with exit code {code}"),
        Some(Exit::Signal(signal)) => format!("{id} was ended by signal {signal}"),
        None => format!("{id} is gone"),
    };
    match instance.pending.probes.last_failure() {
        Some(seen) => format!("{how}; its last probe: {seen}"),
        None => how,
    }
}
