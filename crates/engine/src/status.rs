//! The engine's state as people see it.

use std::collections::{BTreeMap, BTreeSet};

use fleet::InstanceState;
use model::{
    DatabaseName, Digest, Epoch, InstanceId, Policy, ReleaseId, Revision, RolloutId, RolloutKind,
    ServiceName, Share, Time, WaitingOn, Weight,
};
use rollout::{Ended, Target};
use serde::{Deserialize, Serialize};

/// Everything that `status` shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Whose effects are in force.
    pub epoch: Epoch,
    /// The newest table.
    pub revision: Revision,
    /// The newest table that every proxy thread has confirmed.
    pub confirmed: Revision,
    /// Whether the newest table has been unconfirmed for more than 5 s.
    pub confirm_overdue: bool,
    /// Why the journal cannot be written at present.
    pub journal_error: Option<String>,
    /// Whether the server is ending.
    pub terminating: bool,
    /// The services in the order of their names.
    pub services: Vec<ServiceStatus>,
    /// The databases in the order of their names.
    #[serde(default)]
    pub databases: Vec<DatabaseStatus>,
}

/// A database that services name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseStatus {
    /// Its name.
    pub name: DatabaseName,
    /// The version that each service is on; `None`: none of its versions.
    pub services: BTreeMap<ServiceName, Option<String>>,
    /// The version up to which it is contracted, or is being contracted: releases made for an
    /// older one cannot run any more.
    pub contracted: Option<String>,
    /// The versions that services came to and that somebody took back by hand: a deploy of, or
    /// rollback to, a release that needs one publishes it again.
    #[serde(default)]
    pub gone: BTreeSet<String>,
    /// The versions that wait for their contract.
    pub waiting: Vec<VersionStatus>,
    /// The contract that was begun.
    pub contract: Option<ContractStatus>,
}

/// A version that waits for its contract.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionStatus {
    /// The migration that makes it.
    pub version: String,
    /// What is left of the time in which a rollback must stay possible, in milliseconds.
    pub window_left_ms: u64,
    /// Whether nobody is asked, or somebody said yes.
    pub approved: bool,
    /// Who still needs what was before, in a sentence.
    pub needed_before: Option<String>,
}

/// A contract that was begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContractStatus {
    /// Up to which version.
    pub version: String,
    /// Why it failed last.
    pub failed: Option<String>,
}

/// One service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// Its name.
    pub name: ServiceName,
    /// The release that the service is on; `None` before the first rollout completed.
    pub active: Option<ReleaseId>,
    /// The release that was active before.
    pub previous: Option<ReleaseId>,
    /// Every release that is kept.
    pub releases: Vec<ReleaseStatus>,
    /// The policy in force.
    pub policy: Policy,
    /// Instances wanted: the policy's, or what `scale` set.
    pub replicas: u32,
    /// Whether a person stopped it.
    pub stopped: bool,
    /// The pause that holds its new requests.
    #[serde(default)]
    pub pause: Option<PauseStatus>,
    /// What closes it for maintenance.
    #[serde(default)]
    pub closed: Option<ClosedStatus>,
    /// Why its active release cannot be run, if so.
    pub trouble: Option<String>,
    /// Its instances in the order of their serials.
    pub instances: Vec<InstanceStatus>,
    /// The active rollout.
    pub rollout: Option<RolloutStatus>,
    /// The rollout that waits for others to end.
    pub queued: Option<QueuedStatus>,
    /// The newest rollout that has ended.
    pub last: Option<EndedStatus>,
}

/// New requests of a service are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PauseStatus {
    /// Since when, on the engine's clock.
    pub since: Time,
    /// Until when, on the engine's clock.
    pub until: Time,
    /// How many milliseconds are left.
    pub left_ms: u64,
}

/// A service is closed for maintenance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClosedStatus {
    /// Since when, on the engine's clock.
    pub since: Time,
    /// When clients are told to come back, in seconds.
    pub retry_after_seconds: u32,
    /// The bytes of its page; 0 without one.
    pub page_bytes: u64,
    /// The header that lets in who has its secret value.
    pub allow_header: Option<String>,
}

/// A release that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseStatus {
    /// Its number.
    pub id: ReleaseId,
    /// Its digest.
    pub digest: Digest,
    /// Its label.
    pub label: Option<String>,
}

/// One instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceStatus {
    /// Which.
    pub instance: InstanceId,
    /// Where it is in its life.
    pub state: InstanceState,
    /// Its port.
    pub port: Option<u16>,
    /// Whether the newest table has it.
    pub routed: bool,
    /// Open requests as last counted while draining.
    pub open_requests: u64,
    /// What it takes beside the others, if the release's instances announce that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<Weight>,
    /// The newest failed probe, if its last one failed.
    pub last_failure: Option<String>,
}

/// The active rollout of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutStatus {
    /// Its number.
    pub rollout: RolloutId,
    /// Why it was begun.
    pub kind: RolloutKind,
    /// `rolling`, `blue_green`, `canary`, `recreate` or `rollback`.
    pub strategy: String,
    /// The release it moves from.
    pub from: Option<ReleaseId>,
    /// The release it moves to.
    pub to: ReleaseId,
    /// When it began, on the engine's clock.
    pub began: Time,
    /// For how many milliseconds it runs.
    pub since_ms: u64,
    /// What should be true now.
    pub target: Target,
    /// The new release's share in the newest table.
    pub share: Share,
    /// The new release's share that every proxy thread has confirmed.
    pub share_confirmed: Option<Share>,
    /// Whether it is on its way back to the old release.
    pub returning: bool,
    /// Why it is frozen, if it is.
    pub held: Option<String>,
    /// Instances of the new release that are ready, of those wanted at the end.
    pub ready: u32,
    /// Instances of the new release wanted at the end.
    pub replicas: u32,
    /// Why it is not at its end yet.
    pub waiting_on: Vec<WaitingOn>,
}

/// A rollout that is accepted and not yet begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueuedStatus {
    /// Its number.
    pub rollout: RolloutId,
    /// The release it will move to.
    pub to: ReleaseId,
    /// What it waits for.
    pub waiting_on: Vec<WaitingOn>,
}

/// A rollout that has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedStatus {
    /// Its number.
    pub rollout: RolloutId,
    /// The release it moved to.
    pub to: ReleaseId,
    /// How it ended and why.
    pub ended: Ended,
}
