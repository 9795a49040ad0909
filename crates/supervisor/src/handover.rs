//! Everything a supervisor holds, handed to another binary in the same process.
//!
//! The form is a list of sections, each with a number. What was released once keeps its layout:
//! more to say is a section of its own, which a binary before passes over. A binary that drops or
//! changes one says which readers it still serves, and waits until no older one is in use.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::activation::{self, Inherited};
use crate::answer::Stop;
use crate::cgroup::{CgroupsState, ChildCgroup};
use crate::child::{Birthplace, Child, Children};
use crate::config::{Identity, RootInstances, SupervisorConfig, SupervisorError};
use crate::listener::{Listener, Listeners};
use crate::pipe::StreamState;
use crate::protocol::{ChildInfo, Leftover};
use crate::server::Supervisor;
use crate::sys;
use crate::wire::{Wire, WireError, wire_struct};
use crate::worker::WorkerState;

const MAGIC: u64 = u64::from_be_bytes(*b"GAPLESSH");

/// The version of the form that this binary writes.
const VERSION: u16 = 1;

/// The oldest version whose binary can read what this one writes.
const READER_OLDEST: u16 = 1;

const CORE: u16 = 1;
const LISTENERS: u16 = 2;
const CHILDREN: u16 = 3;
const WORKERS: u16 = 4;
const CGROUPS: u16 = 5;
const STOPS: u16 = 6;
/// Absent when a binary wrote it that knew of no inherited sockets.
const INHERITED: u16 = 7;

/// Rings of all children at their fullest, and some.
pub(crate) const BYTES_MAX: u64 = 1 << 30;

#[derive(Debug, PartialEq, Eq)]
struct Form {
    magic: u64,
    version: u16,
    reader_oldest: u16,
    sections: Vec<Section>,
}
wire_struct!(Form {
    magic,
    version,
    reader_oldest,
    sections
});

#[derive(Debug, PartialEq, Eq)]
struct Section {
    number: u16,
    content: Vec<u8>,
}
wire_struct!(Section { number, content });

/// What there is once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Core {
    state: PathBuf,
    worker_argv: Vec<String>,
    worker_identity: Option<Identity>,
    sockets_per_address: u64,
    ledger_bytes: u64,
    root_allowed: bool,
    drain_limit_ms: u64,
    step_limit_ms: u64,
    stop_grace_ms: u64,
    pub(crate) generation: u64,
    pub(crate) control: Option<u64>,
    pub(crate) told_ready: bool,
    pub(crate) open_files: (Option<u64>, Option<u64>),
    pub(crate) core_bytes: (Option<u64>, Option<u64>),
    lock: i32,
    ledger: i32,
}
wire_struct!(Core {
    state,
    worker_argv,
    worker_identity,
    sockets_per_address,
    ledger_bytes,
    root_allowed,
    drain_limit_ms,
    step_limit_ms,
    stop_grace_ms,
    generation,
    control,
    told_ready,
    open_files,
    core_bytes,
    lock,
    ledger
});

#[derive(Debug, Clone, PartialEq, Eq)]
struct ListenerState {
    asked: SocketAddr,
    address: SocketAddr,
    beside: u32,
    sockets: Vec<i32>,
}
wire_struct!(ListenerState {
    asked,
    address,
    beside,
    sockets
});

#[derive(Debug, Clone, PartialEq, Eq)]
struct ChildState {
    info: ChildInfo,
    ended: Option<u64>,
    cgroup: Option<PathBuf>,
    stdout: StreamState,
    stderr: StreamState,
    seen: Vec<(u32, u64)>,
}
wire_struct!(ChildState {
    info,
    ended,
    cgroup,
    stdout,
    stderr,
    seen
});

#[derive(Debug, Clone, PartialEq, Eq)]
struct StopState {
    due_ms: u64,
    leftovers: Vec<Leftover>,
}
wire_struct!(StopState { due_ms, leftovers });

/// All of it, without the descriptors themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Handover {
    pub(crate) core: Core,
    listeners: Vec<ListenerState>,
    children: Vec<ChildState>,
    pub(crate) workers: Vec<WorkerState>,
    pub(crate) cgroups: CgroupsState,
    stops: Vec<StopState>,
    inherited: Vec<i32>,
}

/// Why something cannot be read as a handover.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandoverError {
    #[error("it is no handover of a server")]
    NoHandover,
    #[error("it needs a reader of version {needed}; this one is of version {VERSION}")]
    Newer { needed: u16 },
    #[error("section {0} is missing")]
    Missing(u16),
    #[error("descriptor {0} is not open, or named twice")]
    Descriptor(i32),
    #[error(transparent)]
    Malformed(#[from] WireError),
}

impl Handover {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let section = |number: u16, content: Vec<u8>| Section { number, content };
        let form = Form {
            magic: MAGIC,
            version: VERSION,
            reader_oldest: READER_OLDEST,
            sections: vec![
                section(CORE, self.core.to_bytes()),
                section(LISTENERS, self.listeners.to_bytes()),
                section(CHILDREN, self.children.to_bytes()),
                section(WORKERS, self.workers.to_bytes()),
                section(CGROUPS, self.cgroups.to_bytes()),
                section(STOPS, self.stops.to_bytes()),
                section(INHERITED, self.inherited.to_bytes()),
            ],
        };
        form.to_bytes()
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, HandoverError> {
        let form = Form::from_bytes(bytes)?;
        if form.magic != MAGIC {
            return Err(HandoverError::NoHandover);
        }
        if form.reader_oldest > VERSION {
            let needed = form.reader_oldest;
            return Err(HandoverError::Newer { needed });
        }
        let sections = form.sections.into_iter();
        let all: BTreeMap<u16, Vec<u8>> = sections
            .map(|section| (section.number, section.content))
            .collect();
        Ok(Self {
            core: read(&all, CORE)?,
            listeners: read(&all, LISTENERS)?,
            children: read(&all, CHILDREN)?,
            workers: read(&all, WORKERS)?,
            cgroups: read(&all, CGROUPS)?,
            stops: read(&all, STOPS)?,
            inherited: match all.contains_key(&INHERITED) {
                true => read(&all, INHERITED)?,
                false => Vec::new(),
            },
        })
    }

    /// The numbers of all descriptors.
    pub(crate) fn descriptors(&self) -> Vec<RawFd> {
        let listeners = self.listeners.iter().flat_map(|one| one.sockets.iter());
        let streams = self
            .children
            .iter()
            .flat_map(|one| [&one.stdout, &one.stderr]);
        let pipes = streams.filter_map(|stream| stream.pipe.as_ref());
        let workers = self.workers.iter();
        let sockets = workers.flat_map(|worker| [&worker.requests, &worker.events]);
        let core = [&self.core.lock, &self.core.ledger];
        let inherited = self.inherited.iter();
        let all = core
            .into_iter()
            .chain(listeners)
            .chain(inherited)
            .chain(pipes)
            .chain(sockets);
        all.copied().collect()
    }

    /// The configuration, for a program of this version.
    pub(crate) fn config(&self, version: String) -> SupervisorConfig {
        let core = &self.core;
        SupervisorConfig {
            state: core.state.clone(),
            version,
            worker_argv: core.worker_argv.clone(),
            worker_identity: core.worker_identity,
            sockets_per_address: usize::try_from(core.sockets_per_address).unwrap_or(1),
            ledger_bytes: core.ledger_bytes,
            root_instances: match core.root_allowed {
                true => RootInstances::Allowed,
                false => RootInstances::Refused,
            },
            drain_limit: Duration::from_millis(core.drain_limit_ms),
            step_limit: Duration::from_millis(core.step_limit_ms),
            stop_grace: Duration::from_millis(core.stop_grace_ms),
        }
    }
}

fn read<T: Wire>(all: &BTreeMap<u16, Vec<u8>>, number: u16) -> Result<T, HandoverError> {
    let content = all.get(&number).ok_or(HandoverError::Missing(number))?;
    Ok(T::from_bytes(content)?)
}

/// Descriptors by the numbers that they were handed over with; each is taken once.
#[derive(Debug)]
pub(crate) struct Descriptors(BTreeMap<RawFd, OwnedFd>);

impl Descriptors {
    /// Takes ownership of all that a handover names.
    pub(crate) fn adopt(handover: &Handover) -> Result<Self, HandoverError> {
        let mut all = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for number in handover.descriptors() {
            let descriptor = seen.insert(number).then(|| sys::adopt(number)).flatten();
            let descriptor = descriptor.ok_or(HandoverError::Descriptor(number))?;
            all.insert(number, descriptor);
        }
        Ok(Self(all))
    }

    pub(crate) fn take(&mut self, number: RawFd) -> Result<OwnedFd, HandoverError> {
        self.0
            .remove(&number)
            .ok_or(HandoverError::Descriptor(number))
    }
}

/// What is built from the sections.
pub(crate) struct Held {
    pub(crate) lock: OwnedFd,
    pub(crate) ledger: OwnedFd,
    pub(crate) listeners: Listeners,
    pub(crate) inherited: Inherited,
    pub(crate) children: Children,
    pub(crate) stops: Vec<Stop>,
}

impl Handover {
    /// Builds everything but the workers.
    pub(crate) fn hold(&self, from: &mut Descriptors) -> Result<Held, HandoverError> {
        let mut listeners = Listeners::new();
        for one in &self.listeners {
            let sockets = one.sockets.iter().map(|number| from.take(*number));
            let listener = Listener {
                address: one.address,
                sockets: sockets.collect::<Result<_, _>>()?,
                beside: one.beside,
            };
            listeners.insert(one.asked, listener);
        }
        let mut children = Children::new();
        for one in &self.children {
            let child = Child {
                info: one.info.clone(),
                ended: one.ended,
                cgroup: one.cgroup.clone().map(ChildCgroup::at),
                stdout: one.stdout.restore(from)?,
                stderr: one.stderr.restore(from)?,
                seen: one.seen.iter().copied().collect(),
            };
            children.insert(one.info.key.clone(), child);
        }
        let now = Instant::now();
        let stops = self.stops.iter().map(|stop| {
            let due = now + Duration::from_millis(stop.due_ms);
            Stop::new(due, stop.leftovers.clone())
        });
        let inherited = self.inherited.iter().map(|number| from.take(*number));
        let inherited = inherited.collect::<Result<Vec<_>, _>>()?;
        Ok(Held {
            inherited: activation::by_address(inherited.into_iter()),
            lock: from.take(self.core.lock)?,
            ledger: from.take(self.core.ledger)?,
            listeners,
            children,
            stops: stops.collect(),
        })
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

impl Supervisor {
    /// Everything that another binary needs to go on as this process.
    pub(crate) fn handover(&self) -> Handover {
        Handover {
            core: self.core(),
            listeners: self.listeners.iter().map(listener).collect(),
            children: self.children.values().map(child).collect(),
            workers: self
                .workers
                .iter()
                .map(crate::worker::Worker::state)
                .collect(),
            cgroups: CgroupsState::of(self.birthplace.cgroups.as_ref(), &self.cgroups_left),
            stops: self.stops.iter().map(stop).collect(),
            inherited: activation::numbers(&self.inherited),
        }
    }

    fn core(&self) -> Core {
        let config = &self.config;
        let Birthplace {
            open_files,
            core_bytes,
            ..
        } = &self.birthplace;
        Core {
            state: config.state.clone(),
            worker_argv: config.worker_argv.clone(),
            worker_identity: config.worker_identity,
            sockets_per_address: config.sockets_per_address as u64,
            ledger_bytes: config.ledger_bytes,
            root_allowed: config.root_instances == RootInstances::Allowed,
            drain_limit_ms: millis(config.drain_limit),
            step_limit_ms: millis(config.step_limit),
            stop_grace_ms: millis(config.stop_grace),
            generation: self.generation,
            control: self.control,
            told_ready: self.told_ready,
            open_files: (open_files.current, open_files.maximum),
            core_bytes: (core_bytes.current, core_bytes.maximum),
            lock: self.lock.as_raw_fd(),
            ledger: self.ledger.as_raw_fd(),
        }
    }
}

fn listener((asked, listener): (&SocketAddr, &Listener)) -> ListenerState {
    ListenerState {
        asked: *asked,
        address: listener.address,
        beside: listener.beside,
        sockets: listener.sockets.iter().map(AsRawFd::as_raw_fd).collect(),
    }
}

fn child(child: &Child) -> ChildState {
    ChildState {
        info: child.info.clone(),
        ended: child.ended,
        cgroup: child.cgroup.as_ref().map(|cgroup| cgroup.path().to_owned()),
        stdout: child.stdout.state(),
        stderr: child.stderr.state(),
        seen: child.seen.iter().copied().collect(),
    }
}

fn stop(stop: &Stop) -> StopState {
    StopState {
        due_ms: millis(stop.due.saturating_duration_since(Instant::now())),
        leftovers: stop.leftovers().to_vec(),
    }
}

impl From<HandoverError> for SupervisorError {
    fn from(error: HandoverError) -> Self {
        Self::os(
            "go on with what another binary handed over",
            std::io::Error::other(error.to_string()),
        )
    }
}

#[cfg(test)]
mod tests;
