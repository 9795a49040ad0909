//! Nouns of Gapless: ids, weights, timestamps and the validated configuration.
//!
//! Every other room speaks in these types. They hold no behaviour beyond their
//! own invariants: what is built is valid, and serialises to the same value.

mod access_log;
mod argv;
mod command;
pub mod connection_string;
mod database;
pub mod diagnostic;
mod https;
mod id;
mod limits;
mod maintenance;
mod network;
mod outcome;
mod policy;
mod receipt;
mod release;
mod shadow;
mod share;
mod time;
mod waiting;
mod weight;

pub use access_log::{AccessLog, QueryShown};
pub use argv::{VariableError, variables};
pub use command::{Command, Deploy, DeployService, PAUSE_MAX, Refusal};
pub use database::{
    Database, DatabaseName, DatabasePolicy, ReleaseDatabase, SchemaVersion, SearchPath,
};
pub use https::{CertificateFiles, ClientCertificates, Demand, Https, HttpsPolicy, ProgramTls};
pub use id::{Epoch, InstanceId, NameError, ReleaseId, Revision, RolloutId, ServiceName};
pub use limits::{Deadline, EndpointLimits, Queue};
pub use maintenance::{Maintenance, MaintenanceError, Page, Pass};
pub use network::{Network, NetworkError, Peers};
pub use outcome::{JobKind, Outcome, RolloutKind};
pub use policy::{
    Affinity, Audience, AudienceValue, Balancing, Blue, Check, Count, Delivery, Ejection, HashKey,
    Hedge, HedgeAfter, Limit, Metric, OnFail, OnNoData, Policy, ProxyLimits, ProxyProtocol, Reach,
    RolloutPolicy, Step, Strategy, TcpEntrance,
};
pub use receipt::{
    Balance, BlockedQueries, ByRelease, HedgedRequests, InstanceTimes, Latency, LatencyWindows,
    LockWaits, Lost, PausedRequests, Receipt, RejectedRequests, SchemaAccount, Waited,
};
pub use release::{
    Argv, Carrier, Digest, DigestError, Drain, Health, Limits, Port, Probe, Protocol, Release,
    ReleaseSpec, Secret, Stop,
};
pub use shadow::{Compare, Compared, Difference, DifferenceKind, Shadow, ShadowAccount, ShadowKey};
pub use share::{Share, ShareError};
pub use time::Time;
pub use waiting::WaitingOn;
pub use weight::{Weight, WeightError};

/// A whole `gapless.toml`, checked: what one deploy sends to the server.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Project {
    /// The project's name.
    pub name: String,
    /// What the server listens on.
    pub server: ServerConfig,
    /// Every service, by name.
    pub services: std::collections::BTreeMap<ServiceName, Service>,
    /// Every database, by name.
    #[serde(default)]
    pub databases: std::collections::BTreeMap<DatabaseName, Database>,
}

/// Addresses and limits of the server as a whole.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ServerConfig {
    /// The address of the HTTP listener.
    pub http: std::net::SocketAddr,
    /// The HTTPS listener, if there is one.
    #[serde(default)]
    pub https: Option<Https>,
    /// How many releases of each service are kept, the active and previous ones beside.
    pub keep_releases: u32,
    /// The range that instances' ports are taken from, both ends included.
    pub ports: (u16, u16),
    /// Whom the proxy believes.
    #[serde(default)]
    pub peers: Peers,
    /// The access log, if there is to be one.
    #[serde(default)]
    pub access_log: Option<AccessLog>,
}

/// One service as configured: what a release is made of, and the policy.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Service {
    /// The path of the artefact as written, relative to the configuration file.
    pub artifact: String,
    /// The parts of the release that the file alone decides.
    pub template: ReleaseTemplate,
    /// Everything that is in force at once and never moved back.
    pub policy: Policy,
}

/// A release before its artefact is stored and its secrets' versions are known.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ReleaseTemplate {
    /// What is run.
    pub run: Argv,
    /// Which port the program listens on.
    pub port: Port,
    /// What it speaks there.
    #[serde(default, skip_serializing_if = "Protocol::is_default")]
    pub protocol: Protocol,
    /// What it must prove there, if that is over TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program_tls: Option<ProgramTls>,
    /// Plain environment variables.
    pub env: std::collections::BTreeMap<String, String>,
    /// Names of the secrets that the program gets.
    pub secrets: Vec<String>,
    /// How readiness and liveness are found out; `None` only for services without a port.
    pub health: Option<Health>,
    /// How long anything may take once an instance is drained.
    pub drain: std::time::Duration,
    /// The same by what it is, where that differs; the longest of them is `drain`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain_limits: Option<Drain>,
    /// How the program is stopped.
    pub stop: Stop,
    /// The user the program runs as; `None`: the server's own.
    pub user: Option<String>,
    /// Resource limits.
    pub limits: Limits,
    /// The database that it works with.
    #[serde(default)]
    pub database: Option<DatabaseName>,
}

impl ReleaseTemplate {
    /// Completes the template with the stored artefact, the secrets' versions and what it needs
    /// of its database.
    ///
    /// `versions` must name every secret of the template; others are ignored.
    #[must_use]
    pub fn complete(
        &self,
        artifact: Digest,
        versions: &std::collections::BTreeMap<String, u32>,
        database: Option<ReleaseDatabase>,
    ) -> ReleaseSpec {
        let secrets = self.secrets.iter().filter_map(|name| {
            let version = *versions.get(name)?;
            Some((name.clone(), Secret { version }))
        });
        ReleaseSpec {
            artifact,
            run: self.run.clone(),
            port: self.port,
            protocol: self.protocol,
            program_tls: self.program_tls.clone(),
            env: self.env.clone(),
            secrets: secrets.collect(),
            health: self.health.clone(),
            drain: self.drain,
            drain_limits: self.drain_limits,
            stop: self.stop.clone(),
            user: self.user.clone(),
            limits: self.limits.clone(),
            database,
        }
    }
}
