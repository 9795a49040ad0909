//! The state as people see it.

use std::collections::BTreeMap;
use std::fmt;

use engine::Status;
use model::{DatabaseName, Lost, RolloutId, ServiceName, ShadowAccount};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::FactLevel;

/// The answer to `status`, and the data of each `status` event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StatusAnswer {
    /// The version of this form, 1.
    pub v: u32,
    /// The server.
    pub server: ServerView,
    /// Services, releases, instances and rollouts.
    #[schema(value_type = Object)]
    pub engine: Status,
    /// The traffic of each service.
    #[schema(value_type = BTreeMap<String, Traffic>)]
    pub traffic: BTreeMap<ServiceName, Traffic>,
    /// Rows of databases that hold what a program of an older version wrote and an open change
    /// could not convert, as seen within the last seconds: they stand in the way of its
    /// publication or contract.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, Vec<UnconvertedRows>>)]
    pub unconverted: BTreeMap<DatabaseName, Vec<UnconvertedRows>>,
}

/// Rows of a table that a change could not convert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UnconvertedRows {
    /// The migration.
    pub migration: String,
    /// The table.
    pub table: String,
    /// How many there are; at most some more than a thousand are counted.
    pub rows: u64,
    /// The keys of some.
    pub keys: Vec<String>,
    /// What was wrong with one of them.
    pub reason: String,
}

/// The server as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ServerView {
    /// The project's name; absent before the first deploy.
    pub project: Option<String>,
    /// The version of the binary.
    pub version: String,
    /// The worker's process.
    pub worker_pid: u32,
    /// Which worker of its supervisor it is, from 1.
    pub generation: u64,
    /// The address of the HTTP listener; absent before the first deploy.
    pub http: Option<String>,
    /// The address of the HTTPS listener, if there is one.
    #[serde(default)]
    pub https: Option<String>,
    /// `serving`, `terminating` or `supervisor_lost`.
    pub state: String,
    /// The version of the supervisor's binary.
    #[serde(default)]
    pub supervisor_version: Option<String>,
    /// All living workers, also those that only finish what they have open.
    #[serde(default)]
    pub workers: Vec<WorkerView>,
    /// The last upgrade.
    #[serde(default)]
    pub upgrade: Option<UpgradeView>,
    /// The clients' connections.
    #[serde(default)]
    pub connections: ConnectionsView,
    /// The certificates that clients and programs are shown, those that end first in front.
    #[serde(default)]
    pub certificates: Vec<CertificateView>,
    /// When it was asked, on the engine's clock: times in `engine` are measured against it.
    pub now_ms: u64,
}

/// The clients' connections of all living workers, counted since the supervisor started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConnectionsView {
    /// Open now.
    pub open: u64,
    /// Closed without a request, by reason: `silent` said nothing in time, `idle` had no further
    /// request in time, `room` gave way when descriptors ran short, `ending` ended with a worker.
    pub closed: BTreeMap<String, u64>,
    /// Answered before they reached a service, by the reason in `X-Gapless-Error`;
    /// `bad_request` stands for every malformed head.
    pub rejected: BTreeMap<String, u64>,
}

/// A certificate that is shown to others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CertificateView {
    /// Its file.
    pub file: String,
    /// The host names that it is for.
    pub names: Vec<String>,
    /// When it ends; absent if it cannot be read.
    pub ends: Option<String>,
    /// Whole days until then; negative once it has ended.
    pub days_left: Option<i64>,
    /// `warning` from 14 days before it ends, `bad` once it has, or if it cannot be read.
    pub level: FactLevel,
    /// Why it cannot be read.
    pub trouble: Option<String>,
}

impl fmt::Display for CertificateView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.names.join(", ");
        match (&self.trouble, self.days_left) {
            (Some(trouble), _) => f.write_str(trouble),
            (None, Some(0)) => write!(f, "{} ({names}) ends today", self.file),
            (None, Some(1)) => write!(f, "{} ({names}) ends in 1 day", self.file),
            (None, Some(days @ 0..)) => write!(f, "{} ({names}) ends in {days} days", self.file),
            (None, Some(_) | None) => write!(f, "{} ({names}) has ended", self.file),
        }
    }
}

/// A living worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WorkerView {
    /// Which worker of its supervisor it is, from 1.
    pub generation: u64,
    /// Its process.
    pub pid: u32,
    /// The version of its binary; empty before it said so.
    pub version: String,
    /// Its binary.
    pub program: String,
    /// Whether it only finishes what it has open.
    pub draining: bool,
    /// Clients connected to it.
    pub connections: u64,
}

/// An upgrade of the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UpgradeView {
    /// The version of this form, 1.
    pub v: u32,
    /// The worker that is to take control.
    pub generation: u64,
    /// The binary it is of.
    pub program: String,
    /// Who asked for it.
    pub actor: String,
    /// The version that was upgraded from.
    pub from: String,
    /// How it stands.
    pub state: UpgradeState,
    /// Why it failed.
    pub reason: Option<String>,
}

/// How an upgrade stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UpgradeState {
    /// It is under way.
    Running,
    /// All of the server is of the new binary.
    Done,
    /// The old worker is in control, as before.
    Failed,
    /// The new worker serves under the old supervisor.
    WorkerOnly,
}

/// The traffic of one service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Traffic {
    /// Requests of the last whole second.
    pub requests_per_second: u64,
    /// Requests since the server began.
    pub requests: u64,
    /// Requests that wait for an endpoint.
    pub waiting: u64,
    /// Open requests of each instance.
    pub open: BTreeMap<String, u64>,
    /// The median latency of the last 10 s, in microseconds.
    pub p50_micros: Option<u64>,
    /// The 99th percentile of latency of the last 10 s, in microseconds.
    pub p99_micros: Option<u64>,
    /// The account of the running rollout so far.
    pub account: Option<Account>,
}

/// The account of a running rollout so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Account {
    /// The rollout.
    #[schema(value_type = u64)]
    pub rollout: RolloutId,
    /// Requests that arrived.
    pub requests: u64,
    /// Requests lost because of the rollout.
    pub lost: u64,
    /// The same by reason.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub lost_by_reason: BTreeMap<Lost, u64>,
    /// Failed by a release that was not told to go.
    pub failed_by_release: u64,
    /// Requests cut.
    pub cut: u64,
    /// What came of its shadows.
    #[serde(default, skip_serializing_if = "ShadowAccount::is_empty")]
    #[schema(value_type = Object)]
    pub shadow: ShadowAccount,
    /// Requests by release, `v42`.
    pub by_release: BTreeMap<String, u64>,
}
