//! What the supervisor does for each request.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::Signal;

use crate::channel::{self, Packet};
use crate::child::CHILDREN_MAX;
use crate::config::ExitReason;
use crate::group::{self, Family};
use crate::listener::{self, ADDRESSES_MAX, Listener, Steering};
use crate::proc::Table;
use crate::protocol::{
    ChildInfo, Event, Leftover, LeftoverKind, PROTOCOL_OLDEST, PROTOCOL_VERSION, Refusal, Reply,
    Request, SPEC_BYTES_MAX, Scope,
};
use crate::server::{Phase, Supervisor};
use crate::spec::{Key, SpawnSpec};
use crate::wire::Wire;
use crate::worker::Worker;
use crate::{activation, leftovers, notify, owner};

/// How long draining may take at most once the server ends, whatever the worker says.
const ENDING_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Entries of a list in one answer; far below the longest message.
const LIST_MAX: usize = 200;

/// A time after which leftovers of one kind are killed.
#[derive(Debug)]
pub(crate) struct Stop {
    pub(crate) due: Instant,
    leftovers: Vec<Leftover>,
}

impl Stop {
    pub(crate) fn new(due: Instant, leftovers: Vec<Leftover>) -> Self {
        Self { due, leftovers }
    }

    pub(crate) fn leftovers(&self) -> &[Leftover] {
        &self.leftovers
    }
}

/// All stops that are not over.
pub(crate) type Stops = Vec<Stop>;

/// An answer and the descriptors attached to it.
pub(crate) type Answer = Result<(Reply, Vec<OwnedFd>), Refusal>;

impl Supervisor {
    /// Does what a message asks and sends the answer.
    pub(crate) fn answer(&mut self, generation: u64, packet: Packet) {
        let request = <(u32, Request)>::from_bytes(&packet.bytes);
        // A request that cannot be read still has its number in front.
        let sequence = packet
            .bytes
            .first_chunk()
            .map_or(0, |bytes| u32::from_le_bytes(*bytes));
        let answer = match request {
            Ok((_, request)) => self.carry_out(generation, request, packet.fds),
            Err(_) => Err(Refusal::Malformed),
        };
        let (reply, fds) = answer.unwrap_or_else(|refusal| (Reply::Refused(refusal), Vec::new()));
        let mut workers = self.workers.iter_mut();
        if let Some(worker) = workers.find(|worker| worker.generation == generation) {
            worker.answer(sequence, &reply, fds);
        }
    }

    fn carry_out(&mut self, generation: u64, request: Request, fds: Vec<OwnedFd>) -> Answer {
        let plain = |reply: Reply| Ok((reply, Vec::new()));
        match request {
            Request::Hello { version } => self.hello(generation, version),
            Request::Bind { address } => self.bind(address),
            Request::Release { address } => {
                if let Some(listener) = self.listeners.remove(&address) {
                    activation::forget(&listener);
                }
                plain(Reply::Done)
            }
            Request::Spawn { key } => self.spawn(generation, &key, &fds),
            Request::Signal { key, signal, scope } => {
                self.control(generation)?;
                self.signal(&key, signal, scope)
            }
            Request::List { after } => plain(self.list(after.as_ref())),
            Request::Take { key } => self.take(generation, &key),
            Request::Acknowledge { key } => self.acknowledge(generation, &key),
            Request::Owner { port } => {
                let owners = owner::owners(port, &self.children, self.server);
                plain(Reply::Owners { owners })
            }
            Request::Listening { key } => {
                let addresses = owner::listening_of(&key, &self.children, self.server);
                plain(Reply::Listening { addresses })
            }
            Request::Ledger => self.ledger(),
            Request::Lease { acquire } => plain(self.lease(generation, acquire)),
            Request::Drops => plain(self.drops()),
            Request::Ready => plain(self.ready(generation)),
            Request::Stop { code } => {
                if self.phase == Phase::Serving {
                    self.hurry(ExitReason::Stopped { code });
                }
                plain(Reply::Done)
            }
            Request::Stopped => plain(self.stopped()),
            Request::Leftovers { after } => plain(self.leftovers(after)),
            Request::StopLeftovers { kind, grace_ms } => {
                self.control(generation)?;
                plain(self.stop_leftovers(kind, Duration::from_millis(grace_ms)))
            }
            Request::Upgrade { program } => {
                self.control(generation)?;
                self.upgrade(generation, program)
            }
            Request::Unfit { reason } => {
                self.unfit(generation, reason);
                plain(Reply::Done)
            }
            Request::Publish => {
                self.control(generation)?;
                let table = fds.first().ok_or(Refusal::Malformed)?;
                self.relay(generation, &Event::Published, Some(table))
            }
            Request::Cut { cell } => {
                self.control(generation)?;
                self.relay(generation, &Event::Cut { cell }, None)
            }
            Request::Workers => plain(Reply::Workers {
                version: self.config.version.clone(),
                workers: self.workers.iter().map(Worker::info).collect(),
            }),
            Request::Limits => plain(Reply::Limits(self.birthplace.enforcing())),
            Request::Ending { within_ms } => {
                self.control(generation)?;
                plain(self.ending(Duration::from_millis(within_ms)))
            }
            Request::Introduce { version } => plain(self.introduce(generation, version)),
        }
    }

    fn ledger(&self) -> Answer {
        let bytes = self.config.ledger_bytes;
        Ok((Reply::Ledger { bytes }, vec![duplicate(&self.ledger)?]))
    }

    fn drops(&self) -> Reply {
        let of = |(asked, listener): (&SocketAddr, &_)| (*asked, listener::drops(listener));
        Reply::Drops {
            drops: self.listeners.iter().map(of).collect(),
        }
    }

    fn control(&self, generation: u64) -> Result<(), Refusal> {
        if self.control == Some(generation) {
            Ok(())
        } else {
            Err(Refusal::NotInControl)
        }
    }

    fn introduce(&mut self, generation: u64, version: String) -> Reply {
        if let Some(worker) = self.worker(generation) {
            worker.version = version;
        }
        Reply::Done
    }

    /// Passes something on to all workers but the one that says it.
    fn relay(&mut self, from: u64, event: &Event, file: Option<&OwnedFd>) -> Answer {
        for worker in &mut self.workers {
            if worker.generation != from {
                let file = file.map(duplicate).transpose()?;
                worker.tell_with(event.clone(), file);
            }
        }
        Ok((Reply::Done, Vec::new()))
    }

    /// A newer worker is let in: it decides itself whether it still speaks our version.
    fn hello(&mut self, generation: u64, version: u16) -> Answer {
        if version < PROTOCOL_OLDEST {
            return Err(Refusal::Version {
                supported: PROTOCOL_VERSION,
            });
        }
        if let Some(worker) = self.worker(generation) {
            worker.protocol = version;
        }
        let terminating = self.phase != Phase::Serving;
        Ok((
            Reply::Hello {
                version: PROTOCOL_VERSION,
                generation,
                terminating,
            },
            Vec::new(),
        ))
    }

    fn bind(&mut self, address: SocketAddr) -> Answer {
        if !self.listeners.contains_key(&address) {
            if self.listeners.len() >= ADDRESSES_MAX {
                return Err(Refusal::LimitReached);
            }
            let made = self.listen(address)?;
            activation::store(&made);
            self.listeners.insert(address, made);
        }
        let listener = &self.listeners[&address];
        let sockets: Result<Vec<OwnedFd>, Refusal> =
            listener.sockets.iter().map(duplicate).collect();
        let reply = Reply::Bound {
            address: listener.address,
            backlog: listener::backlog(),
        };
        Ok((reply, sockets?))
    }

    /// The sockets of an address: those that the service manager has made, or our own.
    fn listen(&mut self, address: SocketAddr) -> Result<Listener, Refusal> {
        let count = self.config.sockets_per_address;
        if let Some(listener) = activation::claim(&mut self.inherited, address, count) {
            return Ok(listener);
        }
        let os = |error: Errno| Refusal::os(&format!("listen on {address}"), &error.into());
        let beside = match listener::probe(address) {
            Ok(()) => 0,
            Err(Errno::ADDRINUSE) => {
                self.only_leftovers_listen(address)?;
                owner::listening_at(address)
            }
            Err(error) => return Err(os(error)),
        };
        let made = listener::listen(address, count, beside).map_err(os)?;
        // Where the kernel cannot, both share: some requests wait for our instances.
        let _shared = made.steer(Steering::TheDead);
        Ok(made)
    }

    /// The worker of a dead supervisor of this state may listen beside us; nobody else.
    fn only_leftovers_listen(&self, address: SocketAddr) -> Result<(), Refusal> {
        let leftovers = leftovers::of(self.server);
        let owners = owner::rivals(address, &self.children, self.server);
        let known = |pid: Option<u32>| leftovers.iter().any(|left| Some(left.pid) == pid);
        match owners.into_iter().find(|owner| !known(owner.pid)) {
            Some(owner) => Err(Refusal::AddressInUse {
                address,
                pid: owner.pid,
                name: owner.name,
            }),
            None if leftovers.is_empty() => Err(Refusal::AddressInUse {
                address,
                pid: None,
                name: String::new(),
            }),
            None => Ok(()),
        }
    }

    fn spawn(&mut self, generation: u64, key: &Key, fds: &[OwnedFd]) -> Answer {
        self.control(generation)?;
        if let Some(child) = self.children.get(key) {
            return Ok((Reply::Child(child.info.clone()), Vec::new()));
        }
        match self.phase {
            Phase::Serving | Phase::Draining { .. } => {}
            Phase::Stopping { .. } | Phase::Killing { .. } => return Err(Refusal::Terminating),
        }
        if self.children.len() >= CHILDREN_MAX {
            return Err(Refusal::LimitReached);
        }
        let content = fds.first().ok_or(Refusal::Malformed)?;
        let content = channel::unseal(content, SPEC_BYTES_MAX).map_err(|_| Refusal::Malformed)?;
        let spec = SpawnSpec::from_bytes(&content).map_err(|_| Refusal::Malformed)?;
        let child = self.birthplace.start(key, &spec)?;
        let info = child.info.clone();
        self.children.insert(key.clone(), child);
        Ok((Reply::Child(info), Vec::new()))
    }

    fn signal(&mut self, key: &Key, number: i32, scope: Scope) -> Answer {
        let signal = Signal::from_named_raw(number).ok_or(Refusal::Malformed)?;
        let family = Family::of(self.server, &self.children);
        let child = self.children.get_mut(key).ok_or(Refusal::UnknownKey)?;
        match scope {
            Scope::Group if signal == Signal::KILL => family.kill(child),
            Scope::Group => family.signal(child, &Table::read(), signal),
            Scope::Process => {
                if let Some(pid) = group::running_pid(child) {
                    let _ended_meanwhile = rustix::process::kill_process(pid, signal);
                }
            }
        }
        Ok((Reply::Done, Vec::new()))
    }

    fn list(&self, after: Option<&Key>) -> Reply {
        let later = self
            .children
            .iter()
            .filter(|(key, _)| after.is_none_or(|after| *key > after));
        let mut children: Vec<ChildInfo> = later
            .take(LIST_MAX + 1)
            .map(|(_, child)| child.info.clone())
            .collect();
        let more = children.len() > LIST_MAX;
        children.truncate(LIST_MAX);
        Reply::Children { children, more }
    }

    fn take(&mut self, generation: u64, key: &Key) -> Answer {
        self.control(generation)?;
        let child = self.children.get_mut(key).ok_or(Refusal::UnknownKey)?;
        let (stdout, mut kept, stdout_pipe) = child.stdout.take(generation);
        let (stderr, kept_stderr, stderr_pipe) = child.stderr.take(generation);
        kept.extend(kept_stderr);
        let kept = channel::sealed(&kept).map_err(|error| Refusal::os("hand over logs", &error))?;
        let fds = [Some(kept), stdout_pipe, stderr_pipe]
            .into_iter()
            .flatten()
            .collect();
        Ok((Reply::Taken { stdout, stderr }, fds))
    }

    fn acknowledge(&mut self, generation: u64, key: &Key) -> Answer {
        self.control(generation)?;
        let family = Family::of(self.server, &self.children);
        let child = self.children.get_mut(key).ok_or(Refusal::UnknownKey)?;
        if child.running() {
            return Err(Refusal::StillRunning);
        }
        family.kill(child);
        let cgroup = self.children.remove(key).and_then(|child| child.cgroup);
        self.cgroups_left.extend(cgroup);
        Ok((Reply::Done, Vec::new()))
    }

    fn lease(&mut self, generation: u64, acquire: bool) -> Reply {
        match (acquire, self.control) {
            (false, _) => {
                if self.control == Some(generation) {
                    self.take_control_from(generation);
                    self.yielded(generation);
                }
                Reply::Lease { granted: false }
            }
            (true, Some(holder)) if holder != generation => Reply::Lease { granted: false },
            (true, _) => {
                self.control = Some(generation);
                self.tell_outcome();
                Reply::Lease { granted: true }
            }
        }
    }

    fn ready(&mut self, generation: u64) -> Reply {
        self.upgrade_ready(generation);
        if !self.told_ready {
            self.told_ready = true;
            notify::tell("READY=1");
        }
        Reply::Done
    }

    /// The worker knows what drains, and for how long. Systemd's own patience follows.
    fn ending(&mut self, within: Duration) -> Reply {
        if let Phase::Draining { until, .. } = &mut self.phase {
            let within = within.min(ENDING_MAX);
            *until = Instant::now() + within;
            let patience = within + self.config.stop_grace;
            notify::tell(&format!("EXTEND_TIMEOUT_USEC={}", patience.as_micros()));
        }
        Reply::Done
    }

    fn stopped(&mut self) -> Reply {
        if let Phase::Draining { reason, .. } = self.phase {
            self.stop_all(Instant::now(), reason);
        }
        Reply::Done
    }

    fn leftovers(&self, after: u32) -> Reply {
        let mut leftovers = leftovers::of(self.server);
        leftovers.retain(|left| left.pid > after);
        let more = leftovers.len() > LIST_MAX;
        leftovers.truncate(LIST_MAX);
        Reply::Leftovers { leftovers, more }
    }

    fn stop_leftovers(&mut self, kind: LeftoverKind, grace: Duration) -> Reply {
        let steering = match kind {
            LeftoverKind::Worker => Steering::Us,
            LeftoverKind::Child => Steering::All,
        };
        for listener in self.listeners.values() {
            let _shared = listener.steer(steering);
        }
        let mut leftovers = leftovers::of(self.server);
        leftovers.retain(|left| left.kind == kind);
        let _not_ours = leftovers::signal_leftovers(&leftovers, Signal::TERM);
        // A day is for ever; longer would overflow the clock.
        let grace = grace.min(Duration::from_secs(86_400));
        self.stops.push(Stop {
            due: Instant::now() + grace,
            leftovers,
        });
        Reply::Done
    }

    /// Kills leftovers whose grace is over, with what they started meanwhile.
    pub(crate) fn kill_overdue_leftovers(&mut self, now: Instant) {
        let (due, later) = std::mem::take(&mut self.stops)
            .into_iter()
            .partition(|stop| stop.due <= now);
        self.stops = later;
        let due: Vec<Stop> = due;
        if due.is_empty() {
            return;
        }
        let present = leftovers::of(self.server);
        for stop in due {
            let _not_ours = leftovers::signal_leftovers(&stop.leftovers, Signal::KILL);
            let keys: Vec<&Option<Key>> = stop.leftovers.iter().map(|left| &left.key).collect();
            let started_since: Vec<Leftover> = present
                .iter()
                .filter(|left| left.kind == LeftoverKind::Child && keys.contains(&&left.key))
                .cloned()
                .collect();
            let _not_ours = leftovers::signal_leftovers(&started_since, Signal::KILL);
        }
    }
}

fn duplicate(fd: &OwnedFd) -> Result<OwnedFd, Refusal> {
    fd.try_clone()
        .map_err(|error| Refusal::os("duplicate a descriptor", &error))
}
