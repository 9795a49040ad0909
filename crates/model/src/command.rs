//! What a person can tell the engine, and why it may be refused.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    AccessLog, DatabaseName, DatabasePolicy, Epoch, Https, InstanceId, Maintenance, Peers, Policy,
    Release, ReleaseId, RolloutId, ServiceName,
};

/// The longest that requests of a service are held by a pause, however often it is asked for.
pub const PAUSE_MAX: Duration = Duration::from_secs(60);

/// A command of a person to the engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Command {
    /// Roll out releases.
    Deploy(Deploy),
    /// End the present step's wait; `full`: all of them. Never a gate, a failed check or missing capacity.
    Promote {
        /// Which service.
        service: ServiceName,
        /// All waits that follow, too.
        full: bool,
    },
    /// Freeze the running rollout.
    Hold {
        /// Which service.
        service: ServiceName,
    },
    /// Go on: end the hold of a rollout, or the pause of a service whose rollout is not held.
    /// Refused when both are there.
    Resume {
        /// Which service.
        service: ServiceName,
    },
    /// Hold new requests of a service until the time is over or somebody ends it. Open ones go
    /// on. Once more while it lasts: end it so long from now, at most [`PAUSE_MAX`] after it began.
    Pause {
        /// Which service.
        service: ServiceName,
        /// For how long, at most [`PAUSE_MAX`].
        lasts: Duration,
    },
    /// End a pause.
    PauseEnd {
        /// Which service.
        service: ServiceName,
    },
    /// Close a service for new requests until it is opened again; open ones go on. Once more:
    /// what it says is replaced.
    Close {
        /// Which service.
        service: ServiceName,
        /// What it answers.
        maintenance: Maintenance,
    },
    /// Open a closed service.
    Open {
        /// Which service.
        service: ServiceName,
    },
    /// Pass the gate that the rollout waits at.
    Approve {
        /// Which service.
        service: ServiceName,
    },
    /// End the running rollout and return to the release it began from.
    Abort {
        /// Which service.
        service: ServiceName,
    },
    /// Start a new rollout to an earlier release.
    Rollback {
        /// Which service.
        service: ServiceName,
        /// `None`: the release that was active before.
        release: Option<ReleaseId>,
    },
    /// Override `replicas` until that line of the file changes.
    Scale {
        /// Which service.
        service: ServiceName,
        /// So many.
        replicas: u32,
    },
    /// Replace every instance by a fresh one of the same release.
    Restart {
        /// Which service.
        service: ServiceName,
    },
    /// Replace one instance by a fresh one.
    Drain {
        /// Which.
        instance: InstanceId,
    },
    /// Approve that what only older versions of a database needed is removed.
    Contract {
        /// Which database.
        database: DatabaseName,
        /// Do not wait until the time for a rollback is over.
        at_once: bool,
    },
    /// Drain and stop all instances; the routes answer 503.
    Stop {
        /// Which service.
        service: ServiceName,
    },
}

/// One deploy: every service whose release or policy the file changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deploy {
    /// The address of the HTTP listener, already bound.
    pub http: SocketAddr,
    /// The HTTPS listener, its address already bound and its certificates looked at.
    #[serde(default)]
    pub https: Option<Https>,
    /// The range that instances' ports are taken from, both ends included.
    pub ports: (u16, u16),
    /// Whom the proxy believes.
    #[serde(default)]
    pub peers: Peers,
    /// The access log, if there is to be one.
    #[serde(default)]
    pub access_log: Option<AccessLog>,
    /// The databases and how their migrations are run.
    #[serde(default)]
    pub databases: BTreeMap<DatabaseName, DatabasePolicy>,
    /// The services in the file's order.
    pub services: Vec<DeployService>,
    /// Services that are gone from the file and are to be stopped and forgotten.
    pub prune: Vec<ServiceName>,
    /// Whether running rollouts are aborted in favour of this one.
    pub supersede: bool,
}

/// One service of a deploy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeployService {
    /// Its name.
    pub service: ServiceName,
    /// The policy, in force at once.
    pub policy: Policy,
    /// The service's own loopback address through the proxy, already bound; `None` without a port.
    pub internal: Option<SocketAddr>,
    /// What is rolled out; `None`: only the policy is applied.
    pub release: Option<Release>,
    /// Roll out even what is active already.
    pub force: bool,
}

/// Why a command was refused. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "refusal", rename_all = "snake_case")]
pub enum Refusal {
    /// Another rollout of the service is active.
    #[error("rollout {rollout} of `{service}` is active")]
    Active {
        /// The service.
        service: ServiceName,
        /// Its rollout.
        rollout: RolloutId,
    },
    /// The service has no active rollout.
    #[error("`{service}` has no active rollout")]
    NoRollout {
        /// The service.
        service: ServiceName,
    },
    /// The rollout cannot do that now.
    #[error("{reason}")]
    NotNow {
        /// Why.
        reason: String,
    },
    /// There is no such service.
    #[error("there is no service `{service}`")]
    NoService {
        /// The name asked for.
        service: ServiceName,
    },
    /// There is no such release, or it was pruned.
    #[error("`{service}` has no release {release}")]
    NoRelease {
        /// The service.
        service: ServiceName,
        /// The release asked for.
        release: ReleaseId,
    },
    /// The file of no deploy had such a database.
    #[error("there is no database `{database}`")]
    NoDatabase {
        /// The name asked for.
        database: DatabaseName,
    },
    /// What the release needs of a database is gone.
    #[error(
        "{release} of `{service}` was made for {} of database `{database}`, and what that needs is gone since the contract of `{contracted}` began",
        needs.as_ref().map_or_else(|| "no version".to_owned(), |needs| format!("`{needs}`"))
    )]
    Contracted {
        /// The service.
        service: ServiceName,
        /// The release asked for.
        release: ReleaseId,
        /// The database.
        database: DatabaseName,
        /// The version that it was made for.
        needs: Option<String>,
        /// The oldest version that is left.
        contracted: String,
    },
    /// There is no earlier release to go back to.
    #[error("`{service}` has no earlier release to go back to")]
    NoEarlier {
        /// The service.
        service: ServiceName,
    },
    /// There is no such instance.
    #[error("there is no instance `{instance}`")]
    NoInstance {
        /// The instance asked for.
        instance: InstanceId,
    },
    /// The journal cannot be written, so nothing new is begun.
    #[error("the journal cannot be written: {error}")]
    Journal {
        /// What the write said.
        error: String,
    },
    /// Another worker holds control.
    #[error("another worker holds control since epoch {}", epoch.0)]
    Fenced {
        /// Its epoch.
        epoch: Epoch,
    },
}
