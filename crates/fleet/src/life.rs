//! The life of one instance: which state follows which, and nothing else.

use std::time::Duration;

use model::{Health, ReleaseId, Time, Weight};
use serde::{Deserialize, Serialize};

use crate::backoff::{Proven, STEADY};
use crate::drain::{Count, Stopping};
use crate::probe::{Pace, Probes, Trend};
use crate::{FleetPolicy, InstanceState, ProbeResult};

/// How long a weight lasts at least: each change is a table of its own.
const WEIGHT_LASTS: Duration = Duration::from_secs(1);

/// One life of one process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Instance {
    pub(crate) release: ReleaseId,
    pub(crate) state: InstanceState,
    /// Whether its process is known to have run.
    pub(crate) ran: bool,
    /// Whether its drain limit was reached: what is open at it is cut.
    pub(crate) cut: bool,
    proven: Proven,
    /// What it takes beside the others, as it announced it; `None`: it is not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) weight: Option<Weight>,
    /// What only this worker's life knows.
    #[serde(skip)]
    pub(crate) pending: Pending,
}

/// What was asked for and is not answered yet; after a crash all of it is asked for again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Pending {
    /// When its start was ordered.
    pub(crate) ordered: Option<Time>,
    /// Since when it is known to run.
    pub(crate) known: Option<Time>,
    /// Whether it was ordered again, so that there may be two answers.
    pub(crate) again: bool,
    pub(crate) probes: Probes,
    /// When its weight changed.
    pub(crate) weighed: Option<Time>,
    pub(crate) count: Count,
    pub(crate) stopping: Stopping,
    /// Since when the supervisor's view lacks it.
    pub(crate) missing: Option<Time>,
    /// Whether an earlier worker had it: that one may have routed to it without being able to
    /// write so down.
    pub(crate) inherited: bool,
}

impl Instance {
    /// A fresh one.
    pub(crate) fn ordered(release: ReleaseId, now: Time) -> Self {
        Self {
            release,
            state: InstanceState::Ordered { since: now },
            ran: false,
            cut: false,
            proven: Proven::NotYet,
            weight: None,
            pending: Pending::default(),
        }
    }

    /// Whether it was ready and nobody told it to go: it may receive traffic.
    pub(crate) fn is_serving(&self) -> bool {
        match self.state {
            InstanceState::Ready { .. } | InstanceState::Unhealthy { .. } => true,
            InstanceState::Ordered { .. }
            | InstanceState::Starting { .. }
            | InstanceState::Draining { .. }
            | InstanceState::Stopping { .. } => false,
        }
    }

    /// Whether it is on its way out.
    pub(crate) fn is_leaving(&self) -> bool {
        match self.state {
            InstanceState::Draining { .. } | InstanceState::Stopping { .. } => true,
            InstanceState::Ordered { .. }
            | InstanceState::Starting { .. }
            | InstanceState::Ready { .. }
            | InstanceState::Unhealthy { .. } => false,
        }
    }

    /// Since when it is ready, if it is.
    pub(crate) fn ready_since(&self) -> Option<Time> {
        match self.state {
            InstanceState::Ready { since } => Some(since),
            InstanceState::Ordered { .. }
            | InstanceState::Starting { .. }
            | InstanceState::Unhealthy { .. }
            | InstanceState::Draining { .. }
            | InstanceState::Stopping { .. } => None,
        }
    }

    /// Its process runs.
    pub(crate) fn started(&mut self, now: Time) {
        match self.state {
            InstanceState::Ordered { .. } => self.state = InstanceState::Starting { since: now },
            // The signal may have come before the process: it is told again.
            InstanceState::Stopping { .. } if !self.ran => {
                self.pending.stopping = Stopping::default();
            }
            InstanceState::Starting { .. }
            | InstanceState::Ready { .. }
            | InstanceState::Unhealthy { .. }
            | InstanceState::Draining { .. }
            | InstanceState::Stopping { .. } => {}
        }
        self.ran = true;
        self.pending.known.get_or_insert(now);
    }

    /// Without health to ask for, running is ready.
    pub(crate) fn settle(&mut self, policy: &FleetPolicy, now: Time) {
        let starting = matches!(self.state, InstanceState::Starting { .. });
        if starting && policy.health.is_none() {
            self.state = InstanceState::Ready { since: now };
        }
    }

    /// A probe was answered. `at` is its serial and the time.
    pub(crate) fn probed(
        &mut self,
        result: ProbeResult,
        policy: &FleetPolicy,
        at @ (_, now): (u32, Time),
    ) {
        let Some(health) = &policy.health else {
            return;
        };
        self.weigh(&result, health, now);
        let trend = self.pending.probes.answer(result, health);
        match (self.state, trend) {
            (InstanceState::Starting { .. } | InstanceState::Unhealthy { .. }, Trend::Risen) => {
                self.state = InstanceState::Ready { since: now }
            }
            (InstanceState::Ready { .. }, Trend::Fallen) => {
                self.proven = self.proven(now);
                self.state = InstanceState::Unhealthy { since: now };
            }
            (
                InstanceState::Starting { .. } | InstanceState::Unhealthy { .. },
                Trend::Fallen | Trend::Open,
            )
            | (InstanceState::Ready { .. }, Trend::Risen | Trend::Open)
            | (
                InstanceState::Ordered { .. }
                | InstanceState::Draining { .. }
                | InstanceState::Stopping { .. },
                Trend::Risen | Trend::Fallen | Trend::Open,
            ) => {}
        }
        let pace = if self.is_serving() {
            Pace::Living
        } else {
            Pace::Starting
        };
        self.pending.probes.plan(pace, health, at);
    }

    /// Takes in the weight that a passed probe announced. A pass without one is a weight of 1;
    /// a failure says nothing of it.
    fn weigh(&mut self, result: &ProbeResult, health: &Health, now: Time) {
        let announced = match result {
            ProbeResult::Weighed(weight) => *weight,
            ProbeResult::Passed => Weight::ONE,
            ProbeResult::Failed(_) => return,
        };
        let changed = self.pending.weighed;
        let settled = changed.is_none_or(|changed| changed.after(WEIGHT_LASTS) <= now);
        let due = settled || !self.is_serving();
        if health.probe.is_weighing() && due && self.weight != Some(announced) {
            self.weight = Some(announced);
            self.pending.weighed = Some(now);
        }
    }

    /// It shall go: by draining where it may have requests, else straight to its end.
    pub(crate) fn leave(&mut self, policy: &FleetPolicy, now: Time) {
        let started = !matches!(self.state, InstanceState::Ordered { .. });
        let served = self.is_serving() || (self.pending.inherited && started);
        let drained = policy.traffic && served;
        self.proven = self.proven(now);
        self.state = if drained {
            InstanceState::Draining {
                since: now,
                unrouted: false,
            }
        } else {
            InstanceState::Stopping {
                since: now,
                killed: false,
            }
        };
    }

    /// It could not be started, it is said, but another order of it is under way.
    pub(crate) fn give_up(&mut self, now: Time) {
        if let InstanceState::Ordered { .. } = self.state {
            self.state = InstanceState::Stopping {
                since: now,
                killed: false,
            };
        }
    }

    /// Every proxy thread has a table without it: from now on its open requests only fall.
    pub(crate) fn unrouted(&mut self) {
        if let InstanceState::Draining { unrouted, .. } = &mut self.state {
            *unrouted = true;
        }
    }

    /// Whether it has stayed ready long enough to prove that its release can run.
    pub(crate) fn proven(&self, now: Time) -> Proven {
        match self.ready_since() {
            Some(since) if since.after(STEADY) <= now => Proven::Steady,
            Some(_) | None => self.proven,
        }
    }
}
