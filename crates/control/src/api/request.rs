//! Bodies of requests.

use std::collections::BTreeMap;

use model::{DatabaseName, Digest, Project, ReleaseId, ServiceName};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A deploy, or a question about one: the whole file, and the artefacts of what is rolled out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeployRequest {
    /// The whole file, checked.
    #[schema(value_type = Object)]
    pub project: Project,
    /// The stored artefact of each service that is rolled out. A service of the file that is
    /// not named here only gets its policy.
    #[schema(value_type = BTreeMap<String, String>)]
    pub artifacts: BTreeMap<ServiceName, Digest>,
    /// The stored migrations of each database that those services name.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, String>)]
    pub migrations: BTreeMap<DatabaseName, Digest>,
    /// A free label of the releases.
    #[serde(default)]
    pub label: Option<String>,
    /// Roll out even what is active already.
    #[serde(default)]
    pub force: bool,
    /// Abort running rollouts in favour of this one.
    #[serde(default)]
    pub supersede: bool,
    /// Stop and forget services that are gone from the file.
    #[serde(default)]
    pub prune: bool,
}

/// The body of `promote`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PromoteRequest {
    /// End all waits that follow, too.
    #[serde(default)]
    pub full: bool,
}

/// The body of `rollback`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RollbackRequest {
    /// The number of the release to go back to; absent: the one that was active before.
    #[serde(default)]
    #[schema(value_type = Option<u32>)]
    pub release: Option<ReleaseId>,
}

/// The body of `pause`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PauseRequest {
    /// For how many milliseconds from now new requests are held, at most 60000 in all.
    pub for_ms: u64,
}

/// The body of `maintenance`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MaintenanceRequest {
    /// When clients are told to come back, 1 to 86400 seconds.
    pub retry_after_seconds: u32,
    /// What is shown, at most 65536 bytes; absent: one sentence.
    pub page: Option<MaintenancePage>,
    /// Who is let in; absent: nobody.
    pub allow: Option<MaintenanceAllow>,
}

/// A maintenance page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MaintenancePage {
    /// Its media type.
    pub content_type: String,
    /// Its text.
    pub body: String,
}

/// Requests with this header are let in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MaintenanceAllow {
    /// The header's name in lower case.
    pub header: String,
    /// The name of the secret whose newest value the header must have.
    pub secret: String,
}

impl From<MaintenanceRequest> for model::Maintenance {
    fn from(request: MaintenanceRequest) -> Self {
        let page = request.page.map(|page| model::Page {
            content_type: page.content_type,
            body: page.body,
        });
        let pass = request.allow.map(|allow| model::Pass {
            header: allow.header,
            secret: allow.secret,
        });
        Self {
            retry_after_seconds: request.retry_after_seconds,
            page,
            pass,
        }
    }
}

/// The body of `contract`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ContractRequest {
    /// Do not wait until the time for a rollback is over.
    #[serde(default)]
    pub at_once: bool,
}

/// The body of `scale`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ScaleRequest {
    /// So many instances.
    pub replicas: u32,
}

/// The body of `upgrade`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UpgradeRequest {
    /// The absolute path of the new binary; absent: the path of the present one.
    #[serde(default)]
    pub program: Option<String>,
}
