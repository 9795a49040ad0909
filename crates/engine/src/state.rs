//! What the engine knows: everything that a decision depends on.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use fleet::{Fleet, FleetPolicy, Policies, Wanted};
use model::{
    AccessLog, Audience, DatabaseName, Https, InstanceId, JobKind, Maintenance, Peers, Policy,
    Port, Release, ReleaseId, Revision, RolloutId, RolloutKind, ServiceName, Share, Strategy, Time,
    WaitingOn,
};
use rollout::{Comparison, Ended, JobState, Plan, ShadowTarget, Target};
use serde::{Deserialize, Serialize};
use traffic::{Cell, Table};

use crate::schema::Database;

/// Everything that decisions change; a copy of it is what a refused journal entry goes back to.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    pub(crate) server: Server,
    pub(crate) services: BTreeMap<ServiceName, Service>,
    pub(crate) published: Published,
    /// When contracts that have not ended were asked for.
    pub(crate) contract_asked: BTreeMap<DatabaseName, Time>,
    /// The port that the next search begins at; 0 before the first.
    pub(crate) next_port: u16,
}

/// What concerns no single service; journaled as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Server {
    pub(crate) http: Option<SocketAddr>,
    #[serde(default)]
    pub(crate) https: Option<Https>,
    pub(crate) ports: (u16, u16),
    #[serde(default)]
    pub(crate) peers: Peers,
    #[serde(default)]
    pub(crate) access_log: Option<AccessLog>,
    pub(crate) next_rollout: u64,
    #[serde(default)]
    pub(crate) databases: BTreeMap<DatabaseName, Database>,
    /// Rollouts whose end was decided and perhaps not yet accounted for.
    pub(crate) closing: Vec<Closing>,
}

/// A rollout that has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Closing {
    pub(crate) rollout: RolloutId,
    pub(crate) service: ServiceName,
    pub(crate) to: ReleaseId,
    pub(crate) ended: Ended,
}

/// The newest table and how far it is confirmed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Published {
    pub(crate) table: Arc<Table>,
    pub(crate) audiences: Arc<BTreeMap<usize, Vec<Audience>>>,
    /// Whether any table was published by this engine.
    pub(crate) any: bool,
    /// When it was published last.
    pub(crate) at: Time,
    /// When it was published first.
    pub(crate) since: Time,
    pub(crate) confirmed: Revision,
}

impl Published {
    pub(crate) fn revision(&self) -> Revision {
        self.table.revision
    }

    pub(crate) fn is_confirmed(&self) -> bool {
        self.confirmed >= self.table.revision
    }
}

/// One service.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    pub(crate) name: ServiceName,
    pub(crate) releases: BTreeMap<ReleaseId, Arc<Release>>,
    pub(crate) policy: Arc<Policy>,
    pub(crate) core: Core,
    pub(crate) running: Option<Running>,
    pub(crate) fleet: Fleet,
    pub(crate) places: BTreeMap<InstanceId, Placed>,
    /// What the fleet must know; follows from the above.
    pub(crate) policies: Arc<Policies>,
    /// The first table in which this service is as it is in the newest one.
    pub(crate) routed_since: Revision,
    /// The trouble that people were told of.
    pub(crate) trouble: Option<String>,
}

/// The part of a service that is journaled as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Core {
    /// The index of its figures in the ledger.
    pub(crate) cell: u32,
    pub(crate) internal: Option<SocketAddr>,
    pub(crate) active: Option<ReleaseId>,
    pub(crate) previous: Option<ReleaseId>,
    /// Set by `scale`, until the file's own line changes.
    pub(crate) scaled: Option<u32>,
    pub(crate) fresh_from: u32,
    pub(crate) replace: BTreeSet<InstanceId>,
    pub(crate) stopped: bool,
    #[serde(default)]
    pub(crate) pause: Option<Pause>,
    #[serde(default)]
    pub(crate) closed: Option<Closed>,
    /// Gone from the file: to be forgotten once nothing runs.
    pub(crate) pruned: bool,
    pub(crate) queued: Option<Queued>,
    /// Two releases that a failed rollout left serving.
    pub(crate) left: Option<Left>,
    pub(crate) last: Option<Closing>,
}

/// New requests of a service are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pause {
    pub(crate) since: Time,
    pub(crate) until: Time,
}

/// A service is closed for maintenance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Closed {
    pub(crate) since: Time,
    pub(crate) maintenance: Maintenance,
}

/// A rollout that is accepted and not yet begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Queued {
    pub(crate) rollout: RolloutId,
    pub(crate) kind: RolloutKind,
    pub(crate) to: ReleaseId,
    /// Instances that the active release keeps until it begins: a new policy's number is for
    /// the new release.
    pub(crate) from_replicas: u32,
    /// Whether fresh instances are wanted even if nothing changes.
    pub(crate) force: bool,
    /// Rollouts of the same deploy that must complete first.
    pub(crate) waits: BTreeMap<ServiceName, RolloutId>,
    pub(crate) partners: BTreeMap<ServiceName, RolloutId>,
    /// Why it cannot be begun: one of the above ended otherwise.
    pub(crate) failed: Option<String>,
}

/// What a failed rollout left: it stopped where it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Left {
    pub(crate) rollout: RolloutId,
    pub(crate) from: Option<ReleaseId>,
    pub(crate) to: ReleaseId,
    pub(crate) target: Target,
}

/// A rollout that is under way.
#[derive(Debug, Clone)]
pub(crate) struct Running {
    pub(crate) plan: Arc<Plan>,
    pub(crate) state: rollout::State,
    pub(crate) target: Target,
    pub(crate) jobs: BTreeMap<JobKind, JobState>,
    /// The lockstep partners that have not completed yet.
    pub(crate) partners: BTreeMap<ServiceName, RolloutId>,
    /// A partner that has ended otherwise.
    pub(crate) partner_failed: Option<String>,
    // From here on nothing is journaled.
    /// The split in the newest table.
    pub(crate) routed: Option<Split>,
    pub(crate) waiting_on: Vec<WaitingOn>,
    pub(crate) wake: Option<Time>,
    pub(crate) comparison: Option<Comparison>,
    pub(crate) measured: Option<Time>,
    pub(crate) jobs_asked: Option<Time>,
}

/// Who gets what of a service's traffic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Split {
    pub(crate) share: Share,
    audiences: Vec<Audience>,
    shadow: Option<ShadowTarget>,
}

impl Split {
    pub(crate) fn of(target: &Target) -> Self {
        Self {
            share: target.share,
            audiences: target.audiences.clone(),
            shadow: target.shadow.clone(),
        }
    }
}

impl Running {
    pub(crate) fn new(plan: Plan, state: rollout::State) -> Self {
        let target = Target {
            old: plan.from_replicas,
            new: 0,
            share: Share::NONE,
            audiences: Vec::new(),
            shadow: None,
            jobs: BTreeSet::new(),
            measure: None,
        };
        Self {
            plan: Arc::new(plan),
            state,
            target,
            jobs: BTreeMap::new(),
            partners: BTreeMap::new(),
            partner_failed: None,
            routed: None,
            waiting_on: Vec::new(),
            wake: None,
            comparison: None,
            measured: None,
            jobs_asked: None,
        }
    }
}

/// Where an instance is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) port: Option<u16>,
    pub(crate) cell: Cell,
    /// The newest table that may have it.
    pub(crate) routed: Revision,
    /// Ordered, but its port is not free yet.
    pub(crate) waits_for_port: bool,
    /// The fleet is done with it.
    pub(crate) done: bool,
}

impl Service {
    pub(crate) fn new(name: &ServiceName, cell: u32, policy: Arc<Policy>) -> Self {
        Self {
            name: name.clone(),
            releases: BTreeMap::new(),
            policy,
            core: Core {
                cell,
                ..Core::default()
            },
            running: None,
            fleet: Fleet::new(name.clone()),
            places: BTreeMap::new(),
            policies: Arc::default(),
            routed_since: Revision::default(),
            trouble: None,
        }
    }

    /// Instances wanted of the active release when no rollout runs.
    pub(crate) fn replicas(&self) -> u32 {
        self.core.scaled.unwrap_or(self.policy.replicas).max(1)
    }

    /// Instances that the active release has at rest.
    pub(crate) fn resting(&self) -> u32 {
        let queued = self.core.queued.as_ref();
        queued.map_or_else(|| self.replicas(), |queued| queued.from_replicas)
    }

    /// Whether any of the releases concerned has a port.
    pub(crate) fn has_traffic(&self) -> bool {
        let (stable, candidate) = self.sides();
        let newest = || self.releases.keys().next_back().copied();
        match (stable, candidate) {
            // Nothing serves yet or any more: requests wait all the same.
            (None, None) => newest().is_some_and(|id| self.release_has_traffic(id)),
            (stable, candidate) => [stable, candidate]
                .into_iter()
                .flatten()
                .any(|id| self.release_has_traffic(id)),
        }
    }

    pub(crate) fn release_has_traffic(&self, id: ReleaseId) -> bool {
        self.releases
            .get(&id)
            .is_some_and(|release| release.spec.port != Port::None)
    }

    /// The release that has the rest of the traffic, and the one that a share goes to.
    pub(crate) fn sides(&self) -> (Option<ReleaseId>, Option<ReleaseId>) {
        if let Some(running) = &self.running {
            (running.plan.from, Some(running.plan.to))
        } else if let Some(left) = &self.core.left {
            (left.from, Some(left.to))
        } else {
            (self.core.active, None)
        }
    }

    /// What should be true of its instances.
    pub(crate) fn wanted(&self, ending: bool) -> Wanted {
        let mut counts = BTreeMap::new();
        if !ending && !self.core.pruned {
            let two = match (&self.running, &self.core.left) {
                (Some(running), _) => Some((running.plan.from, running.plan.to, &running.target)),
                (None, Some(left)) => Some((left.from, left.to, &left.target)),
                (None, None) => None,
            };
            if let Some((from, to, target)) = two {
                counts.extend(from.map(|from| (from, target.old)));
                counts.insert(to, target.new);
            } else if !self.core.stopped {
                counts.extend(self.core.active.map(|active| (active, self.resting())));
            }
        }
        counts.retain(|_, count| *count > 0);
        Wanted {
            counts,
            fresh_from: self.core.fresh_from,
            replace: self.core.replace.clone(),
        }
    }

    /// Works out again what the fleet must know of each release.
    pub(crate) fn refresh_policies(&mut self) {
        let rollout = match &self.running {
            Some(running) => &running.plan.policy,
            None => &self.policy.rollout,
        };
        let max_unavailable = match &rollout.strategy {
            Strategy::Rolling {
                max_unavailable, ..
            } => max_unavailable.down(self.replicas()).max(1),
            Strategy::BlueGreen(_) | Strategy::Canary { .. } | Strategy::Recreate => 1,
        };
        let one = |release: &Release| FleetPolicy {
            health: release.spec.health.clone(),
            drain: release.spec.drain,
            stop: release.spec.stop.clone(),
            traffic: release.spec.port != Port::None,
            exclusive: matches!(release.spec.port, Port::Fixed(_)),
            min_ready: rollout.min_ready,
            max_unavailable,
        };
        let policies = self.releases.iter();
        self.policies = Arc::new(policies.map(|(id, release)| (*id, one(release))).collect());
    }

    /// The number of the rollout that runs or waits to begin.
    pub(crate) fn busy(&self) -> Option<RolloutId> {
        let queued = self.core.queued.as_ref().map(|queued| queued.rollout);
        let running = self.running.as_ref().map(|running| running.plan.rollout);
        queued.or(running)
    }

    /// Releases that may not be forgotten.
    pub(crate) fn in_use(&self) -> BTreeSet<ReleaseId> {
        let mut used = self.fleet.releases();
        used.extend(self.core.active);
        used.extend(self.core.previous);
        used.extend(self.core.queued.iter().map(|queued| queued.to));
        let (stable, candidate) = self.sides();
        used.extend(stable);
        used.extend(candidate);
        used
    }
}
