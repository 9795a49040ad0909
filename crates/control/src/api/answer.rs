//! Bodies of answers.

use std::collections::BTreeMap;

use engine::{QueuedStatus, RolloutStatus};
use model::{Receipt, ReleaseId, RolloutId, ServiceName};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The answer to every command but `deploy`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Accepted {
    /// The version of this form, 1.
    pub v: u32,
    /// The rollouts that it began or concerns, by service.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub rollouts: BTreeMap<ServiceName, RolloutId>,
}

/// The answer to `deploy`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Deployed {
    /// The version of this form, 1.
    pub v: u32,
    /// The rollouts that it began, by service. A service without one is on that release already.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub rollouts: BTreeMap<ServiceName, RolloutId>,
    /// The release of each service that was named.
    #[schema(value_type = BTreeMap<String, u32>)]
    pub releases: BTreeMap<ServiceName, ReleaseId>,
    /// Services that run but are gone from the file, and were left running.
    #[schema(value_type = Vec<String>)]
    pub gone: Vec<ServiceName>,
    /// Services that are gone from the file and were stopped and forgotten, as was asked.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub pruned: Vec<ServiceName>,
    /// Services that a person had stopped and that run again, on the release they were on.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub started: Vec<ServiceName>,
}

/// The answer to a stored artefact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ArtifactStored {
    /// The version of this form, 1.
    pub v: u32,
    /// Its digest.
    pub digest: String,
}

/// The answer to `history`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct History {
    /// The version of this form, 1.
    pub v: u32,
    /// The newest first.
    pub rollouts: Vec<RolloutSummary>,
}

/// One rollout in the history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RolloutSummary {
    /// Its number.
    #[schema(value_type = u64)]
    pub rollout: RolloutId,
    /// Its service.
    pub service: String,
    /// When it began, as RFC 3339 in UTC.
    pub began: String,
    /// Its receipt, once it has ended.
    #[schema(value_type = Option<Object>)]
    pub receipt: Option<Receipt>,
}

/// The answer to `why`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Explained {
    /// The version of this form, 1.
    pub v: u32,
    /// The rollout.
    #[schema(value_type = u64)]
    pub rollout: RolloutId,
    /// Its service.
    pub service: String,
    /// What happened, the oldest first.
    pub notes: Vec<Note>,
    /// Where it is and what it waits for, while it runs.
    #[schema(value_type = Option<Object>)]
    pub running: Option<RolloutStatus>,
    /// What it waits for, while it has not begun.
    #[schema(value_type = Option<Object>)]
    pub queued: Option<QueuedStatus>,
    /// Its receipt, once it has ended.
    #[schema(value_type = Option<Object>)]
    pub receipt: Option<Receipt>,
    /// Failed probes and the last log lines of instances in trouble.
    pub evidence: Vec<String>,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Note {
    /// Its number; they only grow. The id of its event.
    pub seq: i64,
    /// When, as RFC 3339 in UTC.
    pub at: String,
    /// The rollout it belongs to.
    #[schema(value_type = Option<u64>)]
    pub rollout: Option<RolloutId>,
    /// The service.
    pub service: String,
    /// One sentence.
    pub text: String,
}

/// The releases of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReleaseList {
    /// The version of this form, 1.
    pub v: u32,
    /// The oldest first.
    pub releases: Vec<ReleaseView>,
}

/// One release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReleaseView {
    /// Its number.
    #[schema(value_type = u32)]
    pub release: ReleaseId,
    /// The digest of its content.
    pub digest: String,
    /// Its label.
    pub label: Option<String>,
    /// The digest of its artefact.
    pub artifact: String,
    /// When it was made, as RFC 3339 in UTC.
    pub made: String,
    /// Whether the service is on it.
    pub active: bool,
    /// Whether the service was on it before.
    pub previous: bool,
}
