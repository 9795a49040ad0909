//! What goes into a fleet and what comes out of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::{Health, InstanceId, ReleaseId, Stop, Time, Weight};
use serde::{Deserialize, Serialize};

/// What should be true of a service's instances.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// Instances by release; a release that is not named is wanted 0 times.
    pub counts: BTreeMap<ReleaseId, u32>,
    /// Instances with a smaller serial are to be replaced by fresh ones (a restart).
    pub fresh_from: u32,
    /// Single instances to be replaced by fresh ones.
    pub replace: BTreeSet<InstanceId>,
}

/// What the fleet must know of each release and of the policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FleetPolicy {
    /// How the release's health is found out; `None`: running is ready.
    pub health: Option<Health>,
    /// How long open requests may take once an instance is drained.
    pub drain: Duration,
    /// How it is stopped.
    pub stop: Stop,
    /// Whether it has a port, so that traffic must leave it before it is stopped.
    pub traffic: bool,
    /// Whether its instances may not overlap (a fixed port).
    pub exclusive: bool,
    /// How long an instance must have been ready before it counts as available.
    pub min_ready: Duration,
    /// The most instances that are replaced at a time because their probes fail; at least 1 is meant.
    pub max_unavailable: u32,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A start was carried out, or could not be.
    Started {
        /// Which.
        instance: InstanceId,
        /// The error says why; then no process of it exists. When that is not certain, this
        /// is not said at all.
        result: Result<(), SpawnError>,
    },
    /// Its process ended.
    Exited {
        /// Which.
        instance: InstanceId,
        /// How.
        exit: Exit,
    },
    /// A probe ended.
    Probed {
        /// Which.
        instance: InstanceId,
        /// How.
        result: ProbeResult,
    },
    /// Every proxy thread has confirmed a table without it.
    Unrouted {
        /// Which.
        instance: InstanceId,
    },
    /// Its open requests were counted.
    Open {
        /// Which.
        instance: InstanceId,
        /// So many.
        requests: u64,
    },
    /// Everything the supervisor runs, seen afresh (after a crash, or because something was lost).
    Children(Vec<Child>),
}

/// Why an instance could not be started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "error", rename_all = "snake_case")]
pub enum SpawnError {
    /// Its port is taken; another is tried at once.
    PortTaken {
        /// By whom: pid and name.
        by: String,
    },
    /// The program cannot be run; trying again will not help.
    Unusable {
        /// Why.
        reason: String,
    },
    /// The place cannot run it now; it is tried again after a pause.
    Unavailable {
        /// Why.
        reason: String,
    },
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// With this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// How a probe ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeResult {
    /// It passed, and the port belongs to the instance's own processes.
    Passed,
    /// The same, and it announced what it takes beside the others.
    Weighed(Weight),
    /// It failed; says what was seen (status, body, error, or the stranger's pid and name).
    Failed(String),
}

/// One process as the supervisor knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    /// Its key.
    pub instance: InstanceId,
    /// Set once it has ended.
    pub exit: Option<Exit>,
}

/// What to do; each is idempotent by its instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Start a process.
    Start {
        /// The fresh instance.
        instance: InstanceId,
    },
    /// Ask for its health.
    Probe {
        /// Which.
        instance: InstanceId,
    },
    /// Count its open requests (it is drained and out of every table).
    CountOpen {
        /// Which.
        instance: InstanceId,
    },
    /// End what is still open at it: its drain limit is reached.
    Cut {
        /// Which.
        instance: InstanceId,
    },
    /// Send a signal to its whole group.
    Signal {
        /// Which.
        instance: InstanceId,
        /// Which signal.
        signal: Signal,
    },
    /// Its end is known and handled: forget it everywhere, its port and cell are free.
    Forget {
        /// Which.
        instance: InstanceId,
    },
    /// The supervisor's view is needed again: an answer is overdue.
    Observe,
}

/// A signal to an instance's group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// The release's stop signal.
    Stop,
    /// SIGKILL, to everything that the instance started.
    Kill,
}

/// Where an instance is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum InstanceState {
    /// Ordered, not yet known to run.
    Ordered {
        /// Since.
        since: Time,
    },
    /// Running, not yet ready.
    Starting {
        /// Since.
        since: Time,
    },
    /// Passed its probes in this life, and its port is its own.
    Ready {
        /// Since.
        since: Time,
    },
    /// Was ready, and its probes fail.
    Unhealthy {
        /// Since.
        since: Time,
    },
    /// Takes no more; finishes what it has.
    Draining {
        /// Since.
        since: Time,
        /// Whether every thread has confirmed a table without it.
        unrouted: bool,
    },
    /// Was told to stop.
    Stopping {
        /// Since.
        since: Time,
        /// Whether SIGKILL was sent.
        killed: bool,
    },
}

impl InstanceState {
    /// When it entered this state.
    #[must_use]
    pub fn since(self) -> Time {
        match self {
            Self::Ordered { since }
            | Self::Starting { since }
            | Self::Ready { since }
            | Self::Unhealthy { since }
            | Self::Draining { since, .. }
            | Self::Stopping { since, .. } => since,
        }
    }
}

/// An instance as seen from outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceView {
    /// Which.
    pub instance: InstanceId,
    /// Where it is in its life.
    pub state: InstanceState,
    /// Whether it may be in the table: ready, or once ready while none is.
    pub routable: bool,
    /// The newest failed probe, if its last one failed.
    pub last_failure: Option<String>,
    /// Open requests as last counted while draining.
    pub open_requests: u64,
    /// What it takes beside the others, if its release's instances announce that.
    pub weight: Option<Weight>,
}

/// Instances of one release, as counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Processes that are not known to have ended, whatever their state.
    pub running: u32,
    /// Ready now.
    pub ready: u32,
    /// Ready and so for at least `min_ready`.
    pub available: u32,
    /// The shortest time that a ready but not yet available one still needs.
    pub available_in: Option<Duration>,
    /// Drained or being stopped.
    pub draining: u32,
    /// Open requests of the drained ones, as last counted.
    pub open_requests: u64,
    /// What is left of the longest drain limit.
    pub drain_left: Option<Duration>,
}
