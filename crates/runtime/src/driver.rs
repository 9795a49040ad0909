//! What a place that runs instances must be able to do.

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;

use supervisor::{Enforced, ExitStatus, Identity, Key, Limits, ResourceLimit, Signal};
use tokio::net::unix::pipe;

/// A future that a driver returns.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Keys that begin so are exec probes: no instance, and no event is told of them.
pub const PROBE_KEYS: &str = "probe/";

/// Runs instances (and jobs and exec probes) in one place.
///
/// All calls are idempotent by key; a key names one life of one process.
pub trait Driver: Send + Sync {
    /// The driver's name in messages: `process`, `docker`.
    fn name(&self) -> &'static str;

    /// Starts an instance, or returns the one that already has this key.
    fn start<'a>(
        &'a self,
        key: &'a Key,
        spec: &'a StartSpec,
    ) -> Pending<'a, Result<Instance, DriverError>>;

    /// Sends a signal to the instance's process group. One that has ended is no error.
    fn signal<'a>(&'a self, key: &'a Key, signal: Signal) -> Pending<'a, Result<(), DriverError>>;

    /// Kills the instance and everything it started; nothing is left behind.
    fn kill<'a>(&'a self, key: &'a Key) -> Pending<'a, Result<(), DriverError>>;

    /// Lists all instances, ended ones that were not acknowledged included, by key.
    fn list(&self) -> Pending<'_, Result<Vec<Instance>, DriverError>>;

    /// Waits until the instance has ended. Needs [`Self::event`] to be awaited as well.
    fn wait<'a>(&'a self, key: &'a Key) -> Pending<'a, Result<ExitStatus, DriverError>>;

    /// Takes the instance's output; from now on only the caller reads it.
    fn take_logs<'a>(&'a self, key: &'a Key) -> Pending<'a, Result<LogPipes, DriverError>>;

    /// Forgets an instance that has ended and ends whatever it left behind.
    fn acknowledge<'a>(&'a self, key: &'a Key) -> Pending<'a, Result<(), DriverError>>;

    /// Who would answer a connection to `port` on the loopback address.
    fn owners(&self, port: u16) -> Pending<'_, Result<Vec<PortOwner>, DriverError>>;

    /// Where an instance listens, on whatever port; empty when it does not, or is not known.
    fn listening<'a>(&'a self, key: &'a Key) -> Pending<'a, Result<Vec<SocketAddr>, DriverError>>;

    /// Waits for the next event; must always be awaited. Dropping the future loses none.
    fn event(&self) -> Pending<'_, DriverEvent>;
}

/// Everything needed to start an instance; nothing else reaches it.
#[derive(Clone, PartialEq, Eq)]
pub struct StartSpec {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// Names and values; values may be secret.
    pub env: Vec<(String, String)>,
    /// The working directory.
    pub cwd: PathBuf,
    /// Who runs it; the driver's own user when absent.
    pub identity: Option<Identity>,
    /// Classic limits of the process.
    pub rlimits: Vec<ResourceLimit>,
    /// Limits of the process and its descendants.
    pub limits: Limits,
}

impl std::fmt::Debug for StartSpec {
    /// Shows the names of the environment only: values may be secrets.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&String> = self.env.iter().map(|(name, _)| name).collect();
        out.debug_struct("StartSpec")
            .field("argv", &self.argv)
            .field("env", &names)
            .field("cwd", &self.cwd)
            .field("identity", &self.identity)
            .field("rlimits", &self.rlimits)
            .field("limits", &self.limits)
            .finish()
    }
}

/// An instance as its driver knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Its key.
    pub key: Key,
    /// Its process id.
    pub pid: u32,
    /// Whether it runs.
    pub state: InstanceState,
    /// What holds its limits in place.
    pub enforced: Enforced,
}

/// Whether an instance runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstanceState {
    /// It runs.
    Running,
    /// It ended, and that was not acknowledged yet.
    Exited(ExitStatus),
}

/// Something that happened to an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DriverEvent {
    /// An instance ended.
    Exited {
        /// Which.
        key: Key,
        /// How.
        status: ExitStatus,
    },
    /// Events may have been lost: list the instances again.
    Resync,
    /// Another worker of this server has ended.
    WorkerGone {
        /// Which.
        generation: u64,
    },
    /// An upgrade of the server has ended.
    Upgraded(supervisor::UpgradeOutcome),
    /// What runs the instances is gone: they go on, but nothing can be changed.
    Lost,
}

/// One stream of an instance's output.
#[derive(Debug)]
pub struct LogStream {
    /// What comes from now on; absent when the stream has ended.
    pub pipe: Option<pipe::Receiver>,
    /// What was written before, oldest first.
    pub kept: Vec<u8>,
    /// How many bytes before `kept` were dropped.
    pub dropped_bytes: u64,
}

/// Both streams of an instance's output.
#[derive(Debug)]
pub struct LogPipes {
    /// Standard output.
    pub stdout: LogStream,
    /// Standard error.
    pub stderr: LogStream,
}

/// Who listens on a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortOwner {
    /// The process; absent when it may not be looked at.
    pub pid: Option<u32>,
    /// Its name; empty when unknown.
    pub name: String,
    /// The instance it belongs to.
    pub key: Option<Key>,
}

impl From<supervisor::PortOwner> for PortOwner {
    fn from(owner: supervisor::PortOwner) -> Self {
        Self {
            pid: owner.pid,
            name: owner.name,
            key: owner.key,
        }
    }
}

/// As evidence: `nginx (pid 7)`, `web (pid 8) of web-v1-1`.
impl std::fmt::Display for PortOwner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.pid, &self.key) {
            (Some(pid), Some(key)) => write!(f, "{} (pid {pid}) of {key}", self.name),
            (Some(pid), None) => write!(f, "{} (pid {pid})", self.name),
            (None, _) => f.write_str("a process of another user"),
        }
    }
}

/// Why a driver did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// The program could not be started.
    #[error("cannot start {program}")]
    Start {
        /// The program.
        program: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// No instance has that key.
    #[error("no instance has that key")]
    UnknownKey,
    /// The request is not allowed or not possible here.
    #[error("{0}")]
    Refused(String),
    /// What runs the instances is gone.
    #[error("the supervisor is gone; what runs goes on, but nothing can be changed")]
    Lost,
    /// Talking to what runs the instances failed.
    #[error("the {driver} driver failed")]
    Failed {
        /// Which driver.
        driver: &'static str,
        /// How.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}
