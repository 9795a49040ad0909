//! A worker: the process that does the work, and the sockets to talk with it.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::{Pid, Resource, Rlimit, Signal};

use crate::activation;
use crate::channel;
use crate::client::SOCKETS_VARIABLE;
use crate::config::{Identity, SupervisorConfig, SupervisorError};
use crate::handover::{Descriptors, HandoverError};
use crate::identity::{HANDOVER_VARIABLE, KEY_VARIABLE, SERVER_VARIABLE, ServerId};
use crate::notify::NOTIFY_VARIABLE;
use crate::protocol::{Event, PROTOCOL_OLDEST, Reply, WorkerInfo};
use crate::sys::{self, BeforeExec};
use crate::wire::{Wire, wire_struct};

/// Events that wait for a worker that does not read; then it is told to list again.
const EVENTS_MAX: usize = 256;

/// The limit of core files that also holds where the kernel gives them to a program: there it
/// takes no smaller one for a limit, and this one for "none".
pub(crate) const CORE_BYTES_MAX: u64 = 1;
const NO_CORE: Rlimit = Rlimit {
    current: Some(CORE_BYTES_MAX),
    maximum: Some(CORE_BYTES_MAX),
};

/// A worker that lived at least this long is started again at once.
const STEADY_LIFE: Duration = Duration::from_secs(1);
const RESTART_DELAY_MIN: Duration = Duration::from_millis(50);
const RESTART_DELAY_MAX: Duration = Duration::from_secs(1);

/// A living worker.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) generation: u64,
    pub(crate) pid: Pid,
    pub(crate) requests: OwnedFd,
    pub(crate) events: OwnedFd,
    started: Instant,
    /// An answer that did not fit into the socket; nothing is read before it is sent.
    waiting_reply: Option<(Vec<u8>, Vec<OwnedFd>)>,
    waiting_events: VecDeque<(Event, Option<OwnedFd>)>,
    /// The version of the protocol that it speaks; the oldest until it says.
    pub(crate) protocol: u16,
    /// The version that it says its program is.
    pub(crate) version: String,
    pub(crate) program: PathBuf,
    /// It never takes control again and only finishes what it has open.
    pub(crate) retired: bool,
}

/// A worker as it is handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WorkerState {
    pub(crate) generation: u64,
    pub(crate) pid: i32,
    pub(crate) requests: i32,
    pub(crate) events: i32,
    pub(crate) lived_ms: u64,
    pub(crate) protocol: u16,
    pub(crate) version: String,
    pub(crate) program: PathBuf,
    pub(crate) retired: bool,
}
wire_struct!(WorkerState {
    generation,
    pid,
    requests,
    events,
    lived_ms,
    protocol,
    version,
    program,
    retired
});

impl WorkerState {
    pub(crate) fn restore(self, from: &mut Descriptors) -> Result<Worker, HandoverError> {
        let lived = Duration::from_millis(self.lived_ms);
        let now = Instant::now();
        Ok(Worker {
            generation: self.generation,
            pid: Pid::from_raw(self.pid).ok_or(HandoverError::NoHandover)?,
            requests: from.take(self.requests)?,
            events: from.take(self.events)?,
            started: now.checked_sub(lived).unwrap_or(now),
            waiting_reply: None,
            waiting_events: VecDeque::new(),
            protocol: self.protocol,
            version: self.version,
            program: self.program,
            retired: self.retired,
        })
    }
}

impl Worker {
    /// The worker as it is handed over, which it can be while nothing waits to be sent to it.
    pub(crate) fn state(&self) -> WorkerState {
        WorkerState {
            generation: self.generation,
            pid: self.pid.as_raw_pid(),
            requests: self.requests.as_raw_fd(),
            events: self.events.as_raw_fd(),
            lived_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            protocol: self.protocol,
            version: self.version.clone(),
            program: self.program.clone(),
            retired: self.retired,
        }
    }

    /// Starts a worker.
    pub(crate) fn start(
        config: &SupervisorConfig,
        server: ServerId,
        generation: u64,
        program: &Path,
    ) -> Result<Self, SupervisorError> {
        let failed = |source: io::Error| SupervisorError::Worker {
            program: program.display().to_string(),
            source,
        };
        let (requests, their_requests) = pair().map_err(failed)?;
        let (events, their_events) = pair().map_err(failed)?;
        let sockets = format!(
            "{}:{}",
            their_requests.as_raw_fd(),
            their_events.as_raw_fd()
        );
        let mut command = Command::new(program);
        command.args(&config.worker_argv[1..]).stdin(Stdio::null());
        command
            .env(SOCKETS_VARIABLE, sockets)
            .env(SERVER_VARIABLE, server.to_text());
        // Set when we are ourselves somebody's child; the worker is not.
        let ours = [KEY_VARIABLE, NOTIFY_VARIABLE, HANDOVER_VARIABLE];
        for ours in ours.into_iter().chain(activation::VARIABLES) {
            command.env_remove(ours);
        }
        let before = BeforeExec {
            identity: worker_identity(config),
            rlimits: vec![(Resource::Core, NO_CORE)],
            keep: vec![their_requests, their_events],
            ..BeforeExec::default()
        };
        sys::set_before_exec(&mut command, before);
        let child = command.spawn().map_err(failed)?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        Ok(Self {
            generation,
            pid: pid.expect("the kernel gives out positive pids"),
            requests,
            events,
            started: Instant::now(),
            waiting_reply: None,
            waiting_events: VecDeque::new(),
            protocol: PROTOCOL_OLDEST,
            version: String::new(),
            program: program.to_owned(),
            retired: false,
        })
    }

    /// Sends an answer, or keeps it until the socket has room.
    pub(crate) fn answer(&mut self, sequence: u32, reply: &Reply, fds: Vec<OwnedFd>) {
        let mut bytes = sequence.to_bytes();
        reply.put(&mut bytes);
        self.waiting_reply = Some((bytes, fds));
        self.flush_reply();
    }

    /// Whether an answer waits for room.
    pub(crate) fn reply_waits(&self) -> bool {
        self.waiting_reply.is_some()
    }

    /// Tries to send the waiting answer; a worker that is gone gets none.
    pub(crate) fn flush_reply(&mut self) {
        if let Some((bytes, fds)) = self.waiting_reply.take() {
            let attached: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
            let sent = channel::send(self.requests.as_fd(), &bytes, &attached);
            if sent.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
                self.waiting_reply = Some((bytes, fds));
            }
        }
    }

    /// Tells the worker something.
    pub(crate) fn tell(&mut self, event: Event) {
        self.tell_with(event, None);
    }

    /// Tells the worker something, with a file; what its version does not know is left out.
    pub(crate) fn tell_with(&mut self, event: Event, file: Option<OwnedFd>) {
        if event.since() > self.protocol {
            return;
        }
        if event == Event::Published {
            self.waiting_events
                .retain(|(waiting, _)| *waiting != Event::Published);
        }
        if self.waiting_events.len() >= EVENTS_MAX {
            // Only exits are found in a list.
            self.waiting_events.retain(|(waiting, _)| {
                !matches!(
                    waiting,
                    Event::Exited { .. } | Event::Cut { .. } | Event::Resync
                )
            });
            self.waiting_events.push_back((Event::Resync, None));
        }
        self.waiting_events.push_back((event, file));
        self.flush_events();
    }

    /// The worker as others see it.
    pub(crate) fn info(&self) -> WorkerInfo {
        WorkerInfo {
            generation: self.generation,
            pid: self.pid.as_raw_pid().unsigned_abs(),
            version: self.version.clone(),
            program: self.program.clone(),
            retired: self.retired,
        }
    }

    /// Whether events wait for room.
    pub(crate) fn events_wait(&self) -> bool {
        !self.waiting_events.is_empty()
    }

    /// Tries to send the waiting events.
    pub(crate) fn flush_events(&mut self) {
        while let Some((event, file)) = self.waiting_events.front() {
            let files: Vec<_> = file.iter().map(AsFd::as_fd).collect();
            let sent = channel::send(self.events.as_fd(), &event.to_bytes(), &files);
            if sent.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
                return;
            }
            self.waiting_events.pop_front();
        }
    }

    /// Sends it a signal. It is our child and not reaped, so the pid is its own.
    pub(crate) fn signal(&self, signal: Signal) {
        let _ended_meanwhile = rustix::process::kill_process(self.pid, signal);
    }
}

/// Who the worker becomes: only root can become somebody else.
pub(crate) fn worker_identity(config: &SupervisorConfig) -> Option<Identity> {
    config
        .worker_identity
        .filter(|_| rustix::process::geteuid().is_root())
}

fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        flags,
        None,
    )?)
}

/// When the next worker is to be started.
#[derive(Debug, Default)]
pub(crate) struct Restart {
    pub(crate) due: Option<Instant>,
    delay: Duration,
}

impl Restart {
    /// A worker died: at once, unless it hardly lived.
    pub(crate) fn after(&mut self, worker: &Worker, now: Instant) {
        self.after_life(now.saturating_duration_since(worker.started), now);
    }

    /// A worker could not even be started.
    pub(crate) fn after_failure(&mut self, now: Instant) {
        self.delay = RESTART_DELAY_MAX;
        self.due = Some(now + self.delay);
    }

    fn after_life(&mut self, life: Duration, now: Instant) {
        self.delay = if life >= STEADY_LIFE {
            Duration::ZERO
        } else {
            self.delay
        };
        self.due = Some(now + self.delay);
        self.delay = (self.delay * 2).clamp(RESTART_DELAY_MIN, RESTART_DELAY_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_lived_is_restarted_at_once_and_one_that_keeps_dying_ever_later() {
        let now = Instant::now();
        let mut restart = Restart::default();
        let mut delays = Vec::new();
        for life in [60_000, 10, 10, 10, 10, 10, 10, 10, 60_000] {
            restart.after_life(Duration::from_millis(life), now);
            delays.push(restart.due.unwrap().duration_since(now).as_millis());
        }
        assert_eq!(delays, [0, 50, 100, 200, 400, 800, 1000, 1000, 0]);
    }
}
