//! The account of what a rollout did to users.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{DatabaseName, Outcome, RolloutId, ServiceName, ShadowAccount};

/// The account of one rollout; its JSON form is stable (`"v": 1`).
///
/// `None` in a figure means "not measured", never 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// The version of this form, 1.
    pub v: u32,
    /// Always `receipt`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The rollout.
    pub rollout: RolloutId,
    /// The service.
    pub service: ServiceName,
    /// The release it began from, `v41`; `None` on a first deploy.
    pub from: Option<String>,
    /// The release it moved to, `v42`.
    pub to: String,
    /// The label of the release it moved to.
    pub label: Option<String>,
    /// `rolling`, `blue_green`, `canary`, `recreate` or `rollback`.
    pub strategy: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it ended so.
    pub reason: String,
    /// When it began, as RFC 3339 in UTC.
    pub started: String,
    /// Requests that arrived from its first action to 1 s after its last.
    pub requests: Option<u64>,
    /// Requests lost because of the rollout, as DESIGN defines them.
    pub lost: Option<u64>,
    /// The same by reason.
    pub lost_by_reason: BTreeMap<Lost, u64>,
    /// 5xx, truncated or no answer from instances not yet told to stop.
    pub failed_by_release: Option<u64>,
    /// Requests and tunnels ended at the drain limit or open in a worker when it died.
    pub cut: Option<u64>,
    /// The same by what carried it: `requests`, `websockets`, `streams`; `killed` for all that
    /// was open in a worker when it died.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub cut_by: BTreeMap<String, u64>,
    /// Connections that the listeners refused.
    pub refused: Option<u64>,
    /// The longest time in which a request waited and no response began, in milliseconds.
    pub longest_gap_ms: Option<u64>,
    /// The same over the window before.
    pub longest_gap_before_ms: Option<u64>,
    /// Latency before, during and after.
    pub latency_ms: LatencyWindows,
    /// Figures by release, `v41`.
    pub by_release: BTreeMap<String, ByRelease>,
    /// How the requests add up.
    #[serde(default)]
    pub balance: Option<Balance>,
    /// Requests answered by the proxy itself, by reason.
    pub rejected: RejectedRequests,
    /// What pauses did while it ran; a person asked for them, so nothing of it counts as lost,
    /// and the time that requests were held is in no gap and no latency.
    #[serde(default)]
    pub paused: PausedRequests,
    /// Second attempts beside a first one that was slow. Each request has one outcome all the
    /// same: the attempt that did not answer first is part of nothing above.
    #[serde(default, skip_serializing_if = "HedgedRequests::is_empty")]
    pub hedged: HedgedRequests,
    /// What came of its shadows; nobody got what they answered, so it is part of nothing above.
    #[serde(default, skip_serializing_if = "ShadowAccount::is_empty")]
    pub shadow: ShadowAccount,
    /// Users moved back from the new release because it had no ready endpoint.
    pub moved_back: u64,
    /// From its begin to its end.
    pub seconds: f64,
    /// From the command to the first published share of the new release; `None`: never.
    pub first_cutover_seconds: Option<f64>,
    /// From the command to the last publication.
    pub last_cutover_seconds: Option<f64>,
    /// What it waited for, and how long.
    pub waited: Vec<Waited>,
    /// Every instance it started or stopped.
    pub instances: Vec<InstanceTimes>,
    /// What was done to its database; `None`: nothing was needed.
    #[serde(default)]
    pub schema: Option<SchemaAccount>,
}

/// What was done to bring a database to the version that a release needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaAccount {
    /// Which database.
    pub database: DatabaseName,
    /// The migration that makes the version; `None`: there is none.
    pub version: Option<String>,
    /// The migrations that were published for it, in order; empty: they were before.
    pub migrations: Vec<String>,
    /// The first statements that were sent, each cut short where it is long.
    pub statements: Vec<String>,
    /// All statements that were sent, batches of a backfill not counted.
    pub statements_total: u64,
    /// Rows that were filled in.
    pub rows: u64,
    /// Waits for locks of others.
    pub locks: LockWaits,
    /// Queries of others that were seen waiting for a lock of ours; `None`: not looked at.
    pub blocked: Option<BlockedQueries>,
    /// From its begin to its end, in milliseconds.
    pub ms: u64,
}

/// Waits for locks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockWaits {
    /// Steps that had to wait.
    pub waits: u64,
    /// The longest wait of a step, all its tries together, in milliseconds.
    pub longest_ms: u64,
    /// All waits together, in milliseconds.
    pub total_ms: u64,
    /// The longest that a step held its locks, in milliseconds.
    pub held_longest_ms: u64,
}

/// Queries that waited for a lock of a migration.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockedQueries {
    /// So many were seen.
    pub queries: u64,
    /// The longest that one of them was seen to wait, in milliseconds.
    pub longest_ms: u64,
}

/// How the requests of a receipt add up: `requests + open_at_begin` is the sum of the releases'
/// requests, `without_release` and `open_at_end`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balance {
    /// Requests that had arrived before and not ended.
    pub open_at_begin: u64,
    /// Requests that had not ended when the receipt was made.
    pub open_at_end: u64,
    /// Requests that no release got: answered by the proxy itself, given up by their clients
    /// while they waited, or in the hands of a worker that died before it had sent them on.
    pub without_release: u64,
}

/// Second attempts beside a first one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HedgedRequests {
    /// So many were made.
    pub attempts: u64,
    /// So many of them answered first.
    pub won: u64,
}

impl HedgedRequests {
    /// True if there were none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Why a request was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lost {
    /// No endpoint was ready.
    NoEndpoint,
    /// The connection to a drained or stopped endpoint failed.
    Connect,
    /// The endpoint closed before a whole response head.
    NoResponse,
    /// The response ended before its end.
    Truncated,
    /// A drained or stopped endpoint answered 502, 503 or 504.
    Unavailable,
    /// The listener's queue was full.
    Refused,
    /// The cause is unknown.
    Unknown,
}

/// Requests answered by the proxy itself, by reason.
pub type RejectedRequests = BTreeMap<String, u64>;

/// What pauses of the service did while a rollout ran.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PausedRequests {
    /// For how long requests were held, in milliseconds.
    pub ms: u64,
    /// So many requests were held.
    pub held: u64,
    /// So many of those were given up by their clients meanwhile.
    pub left: u64,
    /// So many more were turned away, since too many were held or for too long.
    pub refused: u64,
}

/// Latency of whole responses in three windows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatencyWindows {
    /// Up to 60 s before the rollout.
    pub before: Option<Latency>,
    /// During the rollout.
    pub during: Option<Latency>,
    /// Up to 30 s after it; `None` in the line printed at its end.
    pub after: Option<Latency>,
}

/// Two percentiles in microseconds, printed as milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "LatencyMillis", into = "LatencyMillis")]
pub struct Latency {
    /// The median in microseconds.
    pub p50_micros: u64,
    /// The 99th percentile in microseconds.
    pub p99_micros: u64,
}

#[derive(Serialize, Deserialize)]
struct LatencyMillis {
    p50: f64,
    p99: f64,
}

impl From<Latency> for LatencyMillis {
    #[expect(
        clippy::cast_precision_loss,
        reason = "latencies are far below 2^52 microseconds"
    )]
    fn from(latency: Latency) -> Self {
        Self {
            p50: latency.p50_micros as f64 / 1e3,
            p99: latency.p99_micros as f64 / 1e3,
        }
    }
}

impl From<LatencyMillis> for Latency {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the cast saturates, and figures are small and positive"
    )]
    fn from(millis: LatencyMillis) -> Self {
        Self {
            p50_micros: (millis.p50 * 1e3).round() as u64,
            p99_micros: (millis.p99 * 1e3).round() as u64,
        }
    }
}

/// Figures of one release during the rollout.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ByRelease {
    /// Requests sent to it.
    pub requests: u64,
    /// Whole responses by class, `2xx`.
    pub responses: BTreeMap<String, u64>,
    /// Errors the proxy made for it, by reason.
    pub errors: BTreeMap<String, u64>,
    /// 5xx, truncated or no answer while not told to stop.
    pub failed: u64,
    /// Attempts that failed and were retried elsewhere.
    pub retried: u64,
    /// Latency of its whole responses.
    pub latency_ms: Option<Latency>,
}

/// Something waited for, and how long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waited {
    /// The kind: `ready`, `drain`, `gate`, …
    pub on: String,
    /// How long in all.
    pub ms: u64,
}

/// The times of one instance, in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceTimes {
    /// Which, `web-v42-7`.
    pub instance: String,
    /// Its release, `v42`.
    pub release: String,
    /// From the order to the running process.
    pub start_ms: Option<u64>,
    /// From the running process to ready.
    pub ready_ms: Option<u64>,
    /// From drained to its last request.
    pub drain_ms: Option<u64>,
    /// From the signal to its exit.
    pub stop_ms: Option<u64>,
}
