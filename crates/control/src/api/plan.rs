//! What a deploy would do.

use model::{ReleaseId, ServiceName};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The answer to `plan`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Planned {
    /// The version of this form, 1.
    pub v: u32,
    /// The services in the order of their names.
    pub services: Vec<PlannedService>,
    /// Services that run but are gone from the file.
    #[schema(value_type = Vec<String>)]
    pub gone: Vec<ServiceName>,
}

/// What a deploy would do to one service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlannedService {
    /// Its name.
    #[schema(value_type = String)]
    pub service: ServiceName,
    /// What would happen.
    pub change: PlannedChange,
    /// The release it is on.
    #[schema(value_type = Option<u32>)]
    pub from: Option<ReleaseId>,
    /// The release it would move to.
    #[schema(value_type = Option<u32>)]
    pub to: Option<ReleaseId>,
    /// The parts of the release that differ: `artifact`, `env.LOG`, `secrets.TOKEN`, …
    pub differs: Vec<String>,
    /// `rolling`, `blue_green`, `canary` or `recreate`.
    pub strategy: String,
    /// The most instances that run at the same time.
    pub instances_peak: u32,
    /// The same while it returns to the old release, should it have to.
    pub instances_peak_returning: u32,
    /// The most memory that they may take, when the release is limited.
    pub memory_bytes_peak: Option<u64>,
    /// What would happen, one after the other.
    pub stages: Vec<PlanStage>,
    /// What would not be as the file asks for, although the deploy begins.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Running rollouts that are in the way, and other reasons why the deploy would be refused.
    pub obstacles: Vec<String>,
}

/// What would happen to a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PlannedChange {
    /// Its first release.
    First,
    /// A release that it never had.
    New,
    /// A release that it had before.
    Known,
    /// It is on that release already.
    None,
    /// Only its policy is applied.
    PolicyOnly,
}

/// One stage of a planned rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlanStage {
    /// What happens, in one sentence.
    pub what: String,
    /// The most instances of both releases in it.
    pub instances_peak: u32,
    /// The new release's share at its end, in basis points.
    pub share: u16,
}
