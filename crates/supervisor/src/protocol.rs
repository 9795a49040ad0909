//! The messages between a worker and its supervisor.
//!
//! Two sockets keep message boundaries: on one the worker asks and the
//! supervisor answers, one at a time; on the other the supervisor tells.
//! Every message begins with the sequence number of its request.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::spec::Key;
use crate::wire::{wire_enum, wire_struct, wire_tag};

/// The version of the protocol that this binary speaks.
///
/// Supervisor and worker may be of neighbouring versions. A version only adds: requests, answers,
/// events and refusals with tags of their own. Nobody sends what the other's version lacks, and
/// what exists keeps its layout.
pub const PROTOCOL_VERSION: u16 = 3;

/// The oldest version that this binary still speaks.
pub const PROTOCOL_OLDEST: u16 = 1;

/// The longest message, in bytes; what is larger travels in a sealed memfd.
pub(crate) const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// The largest spawn specification, in bytes.
pub(crate) const SPEC_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// The most descriptors in one message (the kernel's own limit is 253).
pub(crate) const FDS_MAX: usize = 253;

/// What a worker asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Request {
    /// First of all: which version the worker speaks.
    Hello { version: u16 },
    /// The listening sockets of an address, made at the first time.
    Bind { address: SocketAddr },
    /// Close the sockets of an address.
    Release { address: SocketAddr },
    /// Start a child; the specification is in the attached memfd.
    Spawn { key: Key },
    /// Send a signal to a child.
    Signal { key: Key, signal: i32, scope: Scope },
    /// The children after a key, in order.
    List { after: Option<Key> },
    /// The read ends of a child's log pipes.
    Take { key: Key },
    /// The exit status was seen: forget the child.
    Acknowledge { key: Key },
    /// Who listens on a TCP port.
    Owner { port: u16 },
    /// Where a child listens.
    Listening { key: Key },
    /// The memory shared by all workers.
    Ledger,
    /// Take control, or give it back.
    Lease { acquire: bool },
    /// Connections that the kernel dropped, by address.
    Drops,
    /// The worker serves.
    Ready,
    /// End the whole server in order, with this exit code.
    Stop { code: i32 },
    /// The worker has drained and stopped everything.
    Stopped,
    /// Processes of dead supervisors of this state directory, after a pid.
    Leftovers { after: u32 },
    /// Ask leftovers of one kind to end; SIGKILL after the grace.
    StopLeftovers { kind: LeftoverKind, grace_ms: u64 },
    /// Have a worker of this program take the asker's place; empty: of the present one.
    Upgrade { program: PathBuf },
    /// Why this worker cannot take control.
    Unfit { reason: String },
    /// Pass the attached table on to all other workers.
    Publish,
    /// Have all other workers end what is open at an endpoint.
    Cut { cell: u32 },
    /// The living workers.
    Workers,
    /// Which version of the program the worker is.
    Introduce { version: String },
    /// What would hold limits of children here.
    Limits,
    /// The server ends: draining and stopping everything may take so long.
    Ending { within_ms: u64 },
}
wire_enum!(Request {
    0 = Hello { version },
    1 = Bind { address },
    2 = Release { address },
    3 = Spawn { key },
    4 = Signal { key, signal, scope },
    5 = List { after },
    6 = Take { key },
    7 = Acknowledge { key },
    8 = Owner { port },
    9 = Ledger,
    10 = Lease { acquire },
    11 = Drops,
    12 = Ready,
    13 = Stop { code },
    14 = Stopped,
    15 = Leftovers { after },
    16 = StopLeftovers { kind, grace_ms },
    17 = Upgrade { program },
    18 = Unfit { reason },
    19 = Publish,
    20 = Cut { cell },
    21 = Workers,
    22 = Introduce { version },
    23 = Listening { key },
    24 = Limits,
    25 = Ending { within_ms },
});

/// What a supervisor answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    Done,
    Hello {
        version: u16,
        generation: u64,
        terminating: bool,
    },
    Bound {
        address: SocketAddr,
        backlog: u32,
    },
    Child(ChildInfo),
    Children {
        children: Vec<ChildInfo>,
        more: bool,
    },
    Taken {
        stdout: TakenHead,
        stderr: TakenHead,
    },
    Owners {
        owners: Vec<PortOwner>,
    },
    Listening {
        addresses: Vec<SocketAddr>,
    },
    Ledger {
        bytes: u64,
    },
    Lease {
        granted: bool,
    },
    Drops {
        drops: Vec<(SocketAddr, u64)>,
    },
    Leftovers {
        leftovers: Vec<Leftover>,
        more: bool,
    },
    Refused(Refusal),
    Upgrading {
        generation: u64,
    },
    Workers {
        version: String,
        workers: Vec<WorkerInfo>,
    },
    Limits(Enforced),
}
wire_enum!(Reply {
    0 = Done,
    1 = Hello { version, generation, terminating },
    2 = Bound { address, backlog },
    3 = Child(child),
    4 = Children { children, more },
    5 = Taken { stdout, stderr },
    6 = Owners { owners },
    14 = Listening { addresses },
    15 = Limits(enforced),
    7 = Ledger { bytes },
    8 = Lease { granted },
    9 = Drops { drops },
    10 = Leftovers { leftovers, more },
    11 = Refused(refusal),
    12 = Upgrading { generation },
    13 = Workers { version, workers },
});

/// One stream of a taken pair: what was kept, in the attached memfd, and
/// whether its pipe is attached too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TakenHead {
    pub(crate) open: bool,
    pub(crate) kept_bytes: u32,
    pub(crate) dropped_bytes: u64,
}
wire_struct!(TakenHead {
    open,
    kept_bytes,
    dropped_bytes
});

/// What a supervisor tells a worker without being asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A child ended; its status is kept until acknowledged.
    Exited {
        /// Which child.
        key: Key,
        /// How it ended.
        status: ExitStatus,
    },
    /// Events were lost because nobody read them: list the children again.
    Resync,
    /// The server is to end: drain, stop everything, then say so.
    Terminate,
    /// Another worker is ready: end what is begun and give control back, but serve on.
    Yield,
    /// Control is free for this worker: take it.
    Lead,
    /// Another worker serves: accept nothing more, finish what is open, end.
    Retire,
    /// The worker in control published a table, which comes along.
    Published,
    /// End what is open at this endpoint.
    Cut {
        /// Its index in the ledger.
        cell: u32,
    },
    /// Another worker has ended.
    WorkerGone {
        /// Which.
        generation: u64,
    },
    /// An upgrade has ended.
    Upgraded(UpgradeOutcome),
}
wire_enum!(Event {
    0 = Exited { key, status },
    1 = Resync,
    2 = Terminate,
    3 = Yield,
    4 = Lead,
    5 = Retire,
    6 = Published,
    7 = Cut { cell },
    8 = WorkerGone { generation },
    9 = Upgraded(outcome),
});

impl Event {
    /// The version of the protocol that began to have it.
    pub(crate) fn since(&self) -> u16 {
        match self {
            Self::Exited { .. } | Self::Resync | Self::Terminate => 1,
            Self::Yield
            | Self::Lead
            | Self::Retire
            | Self::Published
            | Self::Cut { .. }
            | Self::WorkerGone { .. }
            | Self::Upgraded(_) => 2,
        }
    }
}

/// How an upgrade ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpgradeOutcome {
    /// All of the server is of the new program.
    Done,
    /// The old worker has control, as if nothing had been asked.
    Failed {
        /// Why.
        reason: String,
    },
    /// The new worker serves, but the supervisor is still the old one.
    WorkerOnly {
        /// Why.
        reason: String,
    },
}
wire_enum!(UpgradeOutcome { 0 = Done, 1 = Failed { reason }, 2 = WorkerOnly { reason } });

/// A living worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerInfo {
    /// Which worker of its supervisor it is, from 1.
    pub generation: u64,
    /// Its process.
    pub pid: u32,
    /// The version that it says it is; empty before it said so.
    pub version: String,
    /// Its program.
    pub program: PathBuf,
    /// Whether it only finishes what it has open.
    pub retired: bool,
}
wire_struct!(WorkerInfo {
    generation,
    pid,
    version,
    program,
    retired
});

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// It exited.
    Code {
        /// With this code.
        code: i32,
    },
    /// A signal killed it.
    Signal {
        /// This one.
        signal: i32,
    },
}
wire_enum!(ExitStatus { 0 = Code { code }, 1 = Signal { signal } });

/// Whether a child still runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChildState {
    /// It runs.
    Running,
    /// It ended, and that was not acknowledged yet.
    Exited(ExitStatus),
}
wire_enum!(ChildState { 0 = Running, 1 = Exited(status) });

/// Which processes a signal goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The child itself.
    Process,
    /// Its process group; with SIGKILL also everything that it started and
    /// that left the group.
    Group,
}
wire_tag!(Scope { Process = 0, Group = 1 });

/// What holds a limit in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enforcement {
    /// No limit was asked for.
    NotAsked,
    /// A cgroup, over the child and its descendants.
    Cgroup,
    /// A classic limit, over each process on its own.
    Rlimit,
    /// It was asked for, but nothing here can hold it.
    Unavailable,
}
wire_tag!(Enforcement { NotAsked = 0, Cgroup = 1, Rlimit = 2, Unavailable = 3 });

/// What holds each of a child's limits in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enforced {
    /// Memory.
    pub memory: Enforcement,
    /// CPU.
    pub cpu: Enforcement,
    /// Number of processes.
    pub pids: Enforcement,
}
wire_struct!(Enforced { memory, cpu, pids });

/// A child as the supervisor knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildInfo {
    /// Its key.
    pub key: Key,
    /// Its process id.
    pub pid: u32,
    /// Its start in clock ticks after boot: with the pid, unique.
    pub start_time: u64,
    /// Whether it runs.
    pub state: ChildState,
    /// What holds its limits in place.
    pub enforced: Enforced,
}
wire_struct!(ChildInfo {
    key,
    pid,
    start_time,
    state,
    enforced
});

/// Who listens on a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortOwner {
    /// The process; absent when it belongs to a user that may not be looked at.
    pub pid: Option<u32>,
    /// Its name; empty when unknown.
    pub name: String,
    /// The child it belongs to, as the child itself or something it started.
    pub key: Option<Key>,
}
wire_struct!(PortOwner { pid, name, key });

/// What a process of a dead supervisor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeftoverKind {
    /// A worker that still serves.
    Worker,
    /// A child or something that it started.
    Child,
}
wire_tag!(LeftoverKind { Worker = 0, Child = 1 });

/// A process that an earlier, dead supervisor of the same state left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// Its process id.
    pub pid: u32,
    /// Its start in clock ticks after boot.
    pub start_time: u64,
    /// What it is.
    pub kind: LeftoverKind,
    /// Its key; absent for a worker.
    pub key: Option<Key>,
}
wire_struct!(Leftover {
    pid,
    start_time,
    kind,
    key
});

/// Why a supervisor did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It does not speak the worker's version.
    #[error("the supervisor speaks protocol version {supported}")]
    Version {
        /// The version it speaks.
        supported: u16,
    },
    /// The request was not one of the protocol, or lacked its attachment.
    #[error("the supervisor could not read the request")]
    Malformed,
    /// No child has that key.
    #[error("no child has that key")]
    UnknownKey,
    /// Somebody else listens on the address.
    #[error("address {address} is in use by {by}", by = Self::somebody(*pid, name))]
    AddressInUse {
        /// The address.
        address: SocketAddr,
        /// Who listens there, if that may be seen.
        pid: Option<u32>,
        /// Its name; empty when unknown.
        name: String,
    },
    /// The child would run as uid 0, which this server was not started to allow.
    #[error(
        "instances may not run as root; set `user`, or start the server with root instances allowed"
    )]
    RootNotAllowed,
    /// The program could not be started.
    #[error("cannot start {program}: {}", std::io::Error::from_raw_os_error(*errno))]
    SpawnFailed {
        /// The program.
        program: String,
        /// What the kernel said.
        errno: i32,
    },
    /// Another worker holds control.
    #[error("another worker holds control")]
    NotInControl,
    /// There are as many children or addresses as the supervisor keeps.
    #[error("the supervisor holds as many of these as it can")]
    LimitReached,
    /// The child has not ended yet.
    #[error("the child still runs")]
    StillRunning,
    /// The server is ending.
    #[error("the server is ending")]
    Terminating,
    /// An upgrade is under way already.
    #[error("an upgrade is under way already")]
    Busy,
    /// The program of an upgrade may not be run.
    #[error("{program} is not run: {reason}", program = program.display())]
    Program {
        /// The program.
        program: PathBuf,
        /// Why.
        reason: String,
    },
    /// The kernel refused.
    #[error("cannot {doing}: {}", std::io::Error::from_raw_os_error(*errno))]
    Os {
        /// What was tried.
        doing: String,
        /// What the kernel said.
        errno: i32,
    },
}
wire_enum!(Refusal {
    0 = Version { supported },
    1 = Malformed,
    2 = UnknownKey,
    3 = AddressInUse { address, pid, name },
    4 = RootNotAllowed,
    5 = SpawnFailed { program, errno },
    6 = NotInControl,
    7 = LimitReached,
    8 = Terminating,
    9 = Os { doing, errno },
    10 = StillRunning,
    11 = Busy,
    12 = Program { program, reason },
});

impl Refusal {
    pub(crate) fn os(doing: &str, error: &std::io::Error) -> Self {
        Self::Os {
            doing: doing.to_owned(),
            errno: error.raw_os_error().unwrap_or(0),
        }
    }

    fn somebody(pid: Option<u32>, name: &str) -> String {
        match pid {
            Some(pid) => format!("{name} (pid {pid})"),
            None => "a process of another user".to_owned(),
        }
    }
}
