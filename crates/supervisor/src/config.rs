//! What a supervisor is started with and how it ends.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::protocol::ExitStatus;
use crate::wire::wire_struct;

/// A user and group that a process runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// User id.
    pub uid: u32,
    /// Group id; there are no supplementary groups.
    pub gid: u32,
}
wire_struct!(Identity { uid, gid });

/// What a supervisor is started with.
#[derive(Debug, Clone)]
pub struct SupervisorConfig {
    /// The state directory; made with mode 0700 when missing.
    pub state: PathBuf,
    /// Which version of the program this is; for people only.
    pub version: String,
    /// The worker's program (an absolute path) and arguments.
    pub worker_argv: Vec<String>,
    /// Who the worker runs as, when the supervisor is root; else itself.
    pub worker_identity: Option<Identity>,
    /// Listening sockets per address: one for each proxy thread, 1 to 250.
    pub sockets_per_address: usize,
    /// The ledger's size in bytes.
    pub ledger_bytes: u64,
    /// Whether children may run as uid 0.
    pub root_instances: RootInstances,
    /// How long a terminating worker may take to drain before it is stopped.
    pub drain_limit: Duration,
    /// How long each step of an upgrade may take.
    pub step_limit: Duration,
    /// How long children may take to end between SIGTERM and SIGKILL.
    pub stop_grace: Duration,
}

/// Whether children may run as uid 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RootInstances {
    /// A spawn that would run as uid 0 is refused.
    Refused,
    /// The operator asked for it.
    Allowed,
}

/// Why a supervisor ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitReason {
    /// A signal asked for it.
    Signalled,
    /// The worker asked for it, with this exit code.
    Stopped {
        /// The exit code that the process should end with.
        code: i32,
    },
}

/// Why a supervisor could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum SupervisorError {
    /// Another server holds the state directory.
    #[error("state directory {state} belongs to a running server (pid {pid})", state = state.display())]
    Locked {
        /// The directory.
        state: PathBuf,
        /// The other server.
        pid: u32,
    },
    /// A directory, socket or memory could not be had.
    #[error("cannot {doing}")]
    Os {
        /// What was tried.
        doing: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The configuration cannot work.
    #[error("{0}")]
    Config(&'static str),
    /// The worker's program could not be started at all.
    #[error("cannot start the worker {program}")]
    Worker {
        /// The program.
        program: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

impl SupervisorError {
    pub(crate) fn os(doing: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self::Os {
            doing: doing.into(),
            source: source.into(),
        }
    }
}

impl std::fmt::Display for ExitStatus {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code { code } => write!(out, "exit code {code}"),
            Self::Signal { signal } => write!(out, "signal {signal}"),
        }
    }
}
