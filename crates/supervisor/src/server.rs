//! The supervisor's one thread: wait for something, do the little there is to do.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Resource, Rlimit, Signal, WaitOptions, WaitStatus};

use crate::activation::{self, Inherited};
use crate::answer::Stops;
use crate::cgroup::Cgroups;
use crate::child::{Birthplace, Children};
use crate::config::{ExitReason, RootInstances, SupervisorConfig, SupervisorError};
use crate::group::Family;
use crate::handover::{Descriptors, Handover};
use crate::identity::{HANDOVER_VARIABLE, ServerId};
use crate::listener::Listeners;
use crate::pipe::Stream;
use crate::proc::Table;
use crate::protocol::{ChildState, Event, ExitStatus, FDS_MAX, UpgradeOutcome};
use crate::spec::Key;
use crate::state::{self, Lock};
use crate::upgrade::{PROVE, RESUME, Upgrade};
use crate::worker::{self, CORE_BYTES_MAX, Restart, Worker};
use crate::{channel, group, handover, notify, proc, sys};

/// How often nothing at all is waited for.
const TICK: Duration = Duration::from_secs(5);

/// How often the last processes are killed before giving up on them.
const KILL_ROUNDS_MAX: usize = 200;

/// What the supervisor is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Serving.
    Serving,
    /// The workers drain and stop everything.
    Draining { until: Instant, reason: ExitReason },
    /// What is left was asked to end.
    Stopping { until: Instant, reason: ExitReason },
    /// What is left is killed.
    Killing { reason: ExitReason },
}

/// Everything a supervisor holds.
#[derive(Debug)]
pub(crate) struct Supervisor {
    pub(crate) config: SupervisorConfig,
    pub(crate) server: ServerId,
    pub(crate) birthplace: Birthplace,
    pub(crate) children: Children,
    pub(crate) listeners: Listeners,
    /// Sockets that the service manager made and that no address was asked for yet.
    pub(crate) inherited: Inherited,
    pub(crate) ledger: OwnedFd,
    pub(crate) workers: Vec<Worker>,
    /// The generation of the worker that holds control.
    pub(crate) control: Option<u64>,
    pub(crate) phase: Phase,
    /// Leftovers that are killed when their grace is over.
    pub(crate) stops: Stops,
    pub(crate) cgroups_left: Vec<crate::cgroup::ChildCgroup>,
    pub(crate) told_ready: bool,
    pub(crate) upgrade: Option<Upgrade>,
    /// How the last upgrade ended, until the worker in control is told.
    pub(crate) outcome: Option<UpgradeOutcome>,
    pub(crate) restart: Restart,
    pub(crate) generation: u64,
    signals: OwnedFd,
    pub(crate) lock: Lock,
}

/// Whose descriptor is ready.
#[derive(Debug, Clone)]
enum Source {
    Signals,
    Requests(u64),
    Events(u64),
    Output(Key),
}

/// Runs a server until it is asked to end.
///
/// Must be called in the main thread before any other is started: signals are
/// blocked and read from a descriptor from now on.
///
/// # Errors
///
/// [`SupervisorError::Locked`] if another server has the state directory;
/// anything that keeps it from starting. Once it runs it does not fail.
pub fn run(config: SupervisorConfig) -> Result<ExitReason, SupervisorError> {
    Supervisor::start(config)?.serve()
}

/// Goes on as the supervisor that this process was before it became this binary, or proves that
/// it could; `None` when nothing was handed over. To be asked before anything else.
///
/// # Errors
///
/// When what was handed over cannot be read.
pub fn handed_over(version: &str) -> Option<Result<ExitReason, SupervisorError>> {
    let order = std::env::var(HANDOVER_VARIABLE).ok()?;
    Some(go_on(&order, version))
}

fn go_on(order: &str, version: &str) -> Result<ExitReason, SupervisorError> {
    let unknown = || SupervisorError::Config("the order to go on is not understood");
    let (verb, number) = order.split_once(':').ok_or_else(unknown)?;
    let number = number.parse().map_err(|_| unknown())?;
    let memory = sys::adopt(number).ok_or_else(unknown)?;
    let read = channel::unseal(&memory, handover::BYTES_MAX);
    let read = read.map_err(|error| SupervisorError::os("read what was handed over", error))?;
    let handover = Handover::from_bytes(&read)?;
    match verb {
        PROVE => Ok(ExitReason::Stopped { code: 0 }),
        RESUME => Supervisor::resume(handover, version)?.serve(),
        _ => Err(unknown()),
    }
}

impl Supervisor {
    /// The supervisor that this process was before.
    fn resume(handover: Handover, version: &str) -> Result<Self, SupervisorError> {
        let os = |doing: &str, error| SupervisorError::os(doing, error);
        let mut from = Descriptors::adopt(&handover)?;
        sys::close_inherited_on_exec().map_err(|error| os("close inherited files", error))?;
        let signals = sys::signal_descriptor().map_err(|error| os("receive signals", error))?;
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
            .map_err(|error| os("become a subreaper", error.into()))?;
        let config = handover.config(version.to_owned());
        let held = handover.hold(&mut from)?;
        let server = ServerId::own(&config.state).map_err(|error| os("see the state", error))?;
        let workers = handover.workers.into_iter();
        let workers = workers.map(|worker| worker.restore(&mut from));
        let workers = workers.collect::<Result<Vec<_>, _>>()?;
        let (cgroups, cgroups_left) = handover.cgroups.restore();
        let core = handover.core;
        let limit = |(current, maximum)| Rlimit { current, maximum };
        forbid_dumps();
        let birthplace = Birthplace {
            server,
            cgroups,
            identity: worker::worker_identity(&config),
            root_allowed: config.root_instances == RootInstances::Allowed,
            open_files: limit(core.open_files),
            core_bytes: limit(core.core_bytes),
        };
        let mut resumed = Self {
            config,
            server,
            birthplace,
            children: held.children,
            listeners: held.listeners,
            inherited: held.inherited,
            ledger: held.ledger,
            workers,
            control: core.control,
            phase: Phase::Serving,
            stops: held.stops,
            cgroups_left,
            told_ready: core.told_ready,
            upgrade: None,
            outcome: None,
            restart: Restart::default(),
            generation: core.generation,
            signals,
            lock: Lock::held(held.lock),
        };
        resumed.replaced();
        Ok(resumed)
    }

    fn start(config: SupervisorConfig) -> Result<Self, SupervisorError> {
        if !(1..=FDS_MAX).contains(&config.sockets_per_address) {
            return Err(SupervisorError::Config(
                "sockets per address must be 1 to 253",
            ));
        }
        let inherited = activation::inherited();
        state::make(&config.state, worker::worker_identity(&config))?;
        let lock = Lock::take(&config.state)?;
        let os = |doing: &str, error| SupervisorError::os(doing, error);
        sys::close_inherited_on_exec().map_err(|error| os("close inherited files", error))?;
        let signals = sys::signal_descriptor().map_err(|error| os("receive signals", error))?;
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
            .map_err(|error| os("become a subreaper", error.into()))?;
        let ledger = ledger(config.ledger_bytes).map_err(|error| os("make the ledger", error))?;
        let server = ServerId::own(&config.state).map_err(|error| os("see the state", error))?;
        let birthplace = Birthplace {
            server,
            cgroups: Cgroups::open(),
            identity: worker::worker_identity(&config),
            root_allowed: config.root_instances == RootInstances::Allowed,
            open_files: raise_open_files(),
            core_bytes: forbid_dumps(),
        };
        let program = config.worker_argv.first();
        let program = program.ok_or(SupervisorError::Config("no worker program"))?;
        let first = Worker::start(&config, server, 1, program.as_ref())?;
        Ok(Self {
            config,
            server,
            birthplace,
            children: Children::new(),
            listeners: Listeners::new(),
            inherited,
            ledger,
            workers: vec![first],
            control: None,
            phase: Phase::Serving,
            stops: Stops::new(),
            cgroups_left: Vec::new(),
            told_ready: false,
            upgrade: None,
            outcome: None,
            restart: Restart::default(),
            generation: 1,
            signals,
            lock,
        })
    }

    fn serve(mut self) -> Result<ExitReason, SupervisorError> {
        loop {
            for source in self.wait() {
                self.handle(source);
            }
            let now = Instant::now();
            self.kill_overdue_leftovers(now);
            self.cgroups_left.retain(|cgroup| !cgroup.remove());
            self.replace_if_proved();
            self.upgrade_overdue(now);
            self.restart_if_due(now);
            self.next_phase(now);
            if let Phase::Killing { reason } = self.phase {
                self.kill_everything();
                return Ok(reason);
            }
        }
    }

    /// Waits until something is ready or due.
    fn wait(&self) -> Vec<Source> {
        let sources = self.sources();
        let mut polled: Vec<PollFd<'_>> = sources
            .iter()
            .map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags))
            .collect();
        let left = self.due().saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).expect("a tick fits into a timespec");
        // An error is an interruption or a shortage; the next round sees the same.
        let _interrupted = rustix::event::poll(&mut polled, Some(&timeout));
        let ready = sources
            .iter()
            .zip(&polled)
            .filter(|(_, poll)| !poll.revents().is_empty());
        ready.map(|((source, _, _), _)| source.clone()).collect()
    }

    fn sources(&self) -> Vec<(Source, BorrowedFd<'_>, PollFlags)> {
        let mut all = vec![(Source::Signals, self.signals.as_fd(), PollFlags::IN)];
        for worker in &self.workers {
            let wanted = if worker.reply_waits() {
                PollFlags::OUT
            } else {
                PollFlags::IN
            };
            all.push((
                Source::Requests(worker.generation),
                worker.requests.as_fd(),
                wanted,
            ));
            if worker.events_wait() {
                let events = worker.events.as_fd();
                all.push((Source::Events(worker.generation), events, PollFlags::OUT));
            }
        }
        for (key, child) in &self.children {
            for pipe in [&child.stdout, &child.stderr]
                .into_iter()
                .filter_map(|s| s.unread())
            {
                all.push((Source::Output(key.clone()), pipe, PollFlags::IN));
            }
        }
        all
    }

    /// When something is to be done even if nothing happens.
    fn due(&self) -> Instant {
        let phase = match self.phase {
            Phase::Serving | Phase::Killing { .. } => None,
            Phase::Draining { until, .. } | Phase::Stopping { until, .. } => Some(until),
        };
        let stops = self.stops.iter().map(|stop| stop.due);
        let children = self.children.values();
        let fresh = children
            .flat_map(|child| [&child.stdout, &child.stderr])
            .filter_map(Stream::fresh_until);
        let tick = Instant::now() + TICK;
        stops
            .chain(phase)
            .chain(fresh)
            .chain(self.restart.due)
            .chain(self.upgrade.as_ref().map(|upgrade| upgrade.due))
            .fold(tick, Instant::min)
    }

    fn handle(&mut self, source: Source) {
        match source {
            Source::Signals => self.take_signals(),
            Source::Requests(generation) => self.take_request(generation),
            Source::Events(generation) => {
                if let Some(worker) = self.worker(generation) {
                    worker.flush_events();
                }
            }
            Source::Output(key) => {
                if let Some(child) = self.children.get_mut(&key) {
                    for stream in [&mut child.stdout, &mut child.stderr] {
                        if stream.unread().is_some() {
                            stream.drain();
                        }
                    }
                }
            }
        }
    }

    pub(crate) fn worker(&mut self, generation: u64) -> Option<&mut Worker> {
        self.workers
            .iter_mut()
            .find(|worker| worker.generation == generation)
    }

    /// Answers one request, or sends the answer that waits.
    fn take_request(&mut self, generation: u64) {
        let Some(worker) = self.worker(generation) else {
            return;
        };
        if worker.reply_waits() {
            worker.flush_reply();
            return;
        }
        match channel::receive(worker.requests.as_fd()) {
            Ok(Some(packet)) => self.answer(generation, packet),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            // It hung up or sends what cannot be read: it is of no use any more.
            Ok(None) | Err(_) => worker.signal(Signal::KILL),
        }
    }

    fn take_signals(&mut self) {
        for number in sys::read_signals(&self.signals) {
            if Signal::from_named_raw(number) != Some(Signal::CHILD) {
                self.hurry(ExitReason::Signalled);
            }
        }
        self.reap();
    }

    /// Begins to end, or ends faster.
    pub(crate) fn hurry(&mut self, reason: ExitReason) {
        let now = Instant::now();
        match self.phase {
            Phase::Serving => {
                self.upgrade_failed("the server is ending".to_owned());
                notify::tell("STOPPING=1");
                self.phase = Phase::Draining {
                    until: now + self.config.drain_limit,
                    reason,
                };
                self.restart.due = None;
                for worker in &mut self.workers {
                    worker.tell(Event::Terminate);
                }
            }
            Phase::Draining { reason, .. } => self.stop_all(now, reason),
            Phase::Stopping { reason, .. } => self.phase = Phase::Killing { reason },
            Phase::Killing { .. } => {}
        }
    }

    /// Asks everything that is left to end.
    pub(crate) fn stop_all(&mut self, now: Instant, reason: ExitReason) {
        let family = Family::of(self.server, &self.children);
        let table = Table::read();
        for child in self.children.values_mut() {
            family.signal(child, &table, Signal::TERM);
        }
        for worker in &self.workers {
            worker.signal(Signal::TERM);
        }
        self.phase = Phase::Stopping {
            until: now + self.config.stop_grace,
            reason,
        };
    }

    fn next_phase(&mut self, now: Instant) {
        match self.phase {
            Phase::Draining { until, reason } if now >= until || self.workers.is_empty() => {
                self.stop_all(now, reason);
            }
            Phase::Stopping { until, reason } => {
                let running = self.children.values().any(crate::child::Child::running);
                if now >= until || (self.workers.is_empty() && !running) {
                    self.phase = Phase::Killing { reason };
                }
            }
            Phase::Serving | Phase::Draining { .. } | Phase::Killing { .. } => {}
        }
    }

    /// Collects whoever ended: workers, children and their orphans.
    pub(crate) fn reap(&mut self) {
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            if let Some(index) = self.workers.iter().position(|worker| worker.pid == pid) {
                let worker = self.workers.remove(index);
                self.bury(&worker, exit_status(status));
            } else if !self.proved(pid, exit_status(status)) {
                self.note_exit(pid.as_raw_pid().unsigned_abs(), exit_status(status));
            }
        }
    }

    /// A worker died: take back what it held and start the next one.
    fn bury(&mut self, worker: &Worker, status: ExitStatus) {
        let generation = worker.generation;
        self.take_control_from(generation);
        self.upgrade_bury(generation, status);
        for other in &mut self.workers {
            other.tell(Event::WorkerGone { generation });
        }
        if self.phase == Phase::Serving && self.workers.iter().all(|other| other.retired) {
            self.restart.after(worker, Instant::now());
        }
    }

    /// The worker no longer holds control; its pipes are read here again.
    pub(crate) fn take_control_from(&mut self, generation: u64) {
        if self.control == Some(generation) {
            self.control = None;
        }
        for child in self.children.values_mut() {
            child.stdout.returned_by(generation);
            child.stderr.returned_by(generation);
        }
    }

    fn note_exit(&mut self, pid: u32, status: ExitStatus) {
        let mut running = self.children.values_mut().filter(|child| child.running());
        if let Some(child) = running.find(|child| child.info.pid == pid) {
            child.info.state = ChildState::Exited(status);
            child.ended = Some(proc::ticks_now());
            let key = child.info.key.clone();
            for worker in &mut self.workers {
                worker.tell(Event::Exited {
                    key: key.clone(),
                    status,
                });
            }
        }
    }

    fn restart_if_due(&mut self, now: Instant) {
        if self.restart.due.is_none_or(|due| now < due) {
            return;
        }
        self.restart.due = None;
        self.generation += 1;
        let program = self.config.worker_argv[0].clone();
        match Worker::start(&self.config, self.server, self.generation, program.as_ref()) {
            Ok(worker) => self.workers.push(worker),
            Err(_) => self.restart.after_failure(now),
        }
    }

    /// Kills everything below us until nothing is left.
    fn kill_everything(&mut self) {
        for child in self.children.values_mut() {
            if let Some(cgroup) = &child.cgroup {
                cgroup.kill();
            }
        }
        for _ in 0..KILL_ROUNDS_MAX {
            group::kill_all_below(self.server);
            // Whoever loses its parent becomes our child: without children nothing is left.
            while let Ok(Some(_)) = rustix::process::wait(WaitOptions::NOHANG) {}
            if rustix::process::wait(WaitOptions::NOHANG).is_err_and(|error| error == Errno::CHILD)
            {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.children.clear();
    }
}

fn exit_status(status: WaitStatus) -> ExitStatus {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => ExitStatus::Code { code },
        (None, Some(signal)) => ExitStatus::Signal { signal },
        (None, None) => ExitStatus::Code {
            code: status.as_raw(),
        },
    }
}

/// Memory of a fixed size that outlives every worker.
fn ledger(bytes: u64) -> std::io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let ledger = rustix::fs::memfd_create("gapless-ledger", flags)?;
    rustix::fs::ftruncate(&ledger, bytes)?;
    // No worker can shrink it under another one's mapping.
    let fixed = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&ledger, fixed)?;
    Ok(ledger)
}

/// Allows as many open files as the hard limit does; returns the limit as it was.
fn raise_open_files() -> Rlimit {
    let before = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: before.maximum,
        maximum: before.maximum,
    };
    let _as_before = rustix::process::setrlimit(Resource::Nofile, raised);
    before
}

/// Sees to it that no memory of ours, where secrets pass through, is written to a core file;
/// returns the limit as it was, which children get back.
fn forbid_dumps() -> Rlimit {
    let before = rustix::process::getrlimit(Resource::Core);
    let limit = Rlimit {
        current: Some(CORE_BYTES_MAX),
        maximum: before.maximum,
    };
    let _lower_already = rustix::process::setrlimit(Resource::Core, limit);
    if rustix::process::geteuid().is_root() {
        // Who is not root must be able to look at what it left: the next server finds it so.
        let _stays = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
    }
    before
}
