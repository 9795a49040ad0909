//! What the admin API speaks: requests and answers as JSON.
//!
//! Every answer carries `"v": 1`. Fields are only added; a client ignores what it does not know.

mod answer;
mod error;
mod look;
mod plan;
mod request;
mod status;

pub use answer::{
    Accepted, ArtifactStored, Deployed, Explained, History, Note, ReleaseList, ReleaseView,
    RolloutSummary,
};
pub use error::{ApiError, Code, Failure};
pub use look::{
    AuditLine, AuditList, DoctorFact, DoctorFacts, FactLevel, LogLine, SecretList, SecretStored,
    SecretVersion, SecretView,
};
pub use plan::{PlanStage, Planned, PlannedChange, PlannedService};
pub use request::{
    ContractRequest, DeployRequest, MaintenanceAllow, MaintenancePage, MaintenanceRequest,
    PauseRequest, PromoteRequest, RollbackRequest, ScaleRequest, UpgradeRequest,
};
pub use status::{
    Account, CertificateView, ConnectionsView, ServerView, StatusAnswer, Traffic, UnconvertedRows,
    UpgradeState, UpgradeView, WorkerView,
};

/// The version of every answer.
pub const VERSION: u32 = 1;
