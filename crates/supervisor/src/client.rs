//! The worker's side of the protocol.
//!
//! Requests are synchronous and answered within microseconds, except a spawn
//! (about a millisecond); they may be made from any thread. Events arrive on
//! a descriptor of their own that never blocks.

mod upgrade;

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::Signal;

pub use upgrade::News;

use crate::channel::{self, Packet};
use crate::protocol::{
    ChildInfo, Event, Leftover, LeftoverKind, PROTOCOL_OLDEST, PROTOCOL_VERSION, PortOwner,
    Refusal, Reply, Request, Scope, TakenHead,
};
use crate::spec::{Key, SpawnSpec};
use crate::sys;
use crate::wire::{Wire, WireError};

/// The environment variable that carries the sockets' numbers to a worker.
pub(crate) const SOCKETS_VARIABLE: &str = "GAPLESS_SUPERVISOR";

/// How long an answer may take.
const REPLY_TIMEOUT: Duration = Duration::from_secs(2);

/// The most that a stream's ring holds, for both streams.
const KEPT_BYTES_MAX: u64 = 1024 * 1024;

/// Why a request had no useful answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The supervisor is dead. What runs goes on; nothing can be changed.
    #[error("the supervisor is gone")]
    SupervisorGone,
    /// The supervisor did not answer in time.
    #[error("the supervisor did not answer within {} s", REPLY_TIMEOUT.as_secs())]
    Timeout,
    /// The supervisor refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// This process was not started by a supervisor, or not correctly.
    #[error("{SOCKETS_VARIABLE} does not name the supervisor's sockets")]
    Environment,
    /// The answer is not one to this request.
    #[error("the supervisor's answer to `{0}` is not understood")]
    Unexpected(&'static str),
    /// The answer is not readable.
    #[error("the supervisor's answer is malformed")]
    Malformed(#[from] WireError),
    /// The socket failed.
    #[error("the supervisor's socket failed")]
    Io(#[from] io::Error),
}

/// The listening sockets of one address.
#[derive(Debug)]
pub struct Bound {
    /// The address as bound: the port is the real one also when 0 was asked for.
    pub address: SocketAddr,
    /// One nonblocking listening socket for each proxy thread.
    pub listeners: Vec<OwnedFd>,
    /// How many connections may wait at each: 4096, or fewer where the kernel's
    /// `somaxconn` is smaller.
    pub backlog: u32,
}

/// One stream of a child's output.
#[derive(Debug)]
pub struct TakenStream {
    /// The nonblocking read end; absent when the stream has ended.
    pub pipe: Option<OwnedFd>,
    /// What was written before, oldest first.
    pub kept: Vec<u8>,
    /// How many bytes before `kept` were dropped.
    pub dropped_bytes: u64,
}

/// Both streams of a child's output.
#[derive(Debug)]
pub struct Taken {
    /// Standard output.
    pub stdout: TakenStream,
    /// Standard error.
    pub stderr: TakenStream,
}

/// A worker's connection to its supervisor.
#[derive(Debug)]
pub struct Client {
    requests: Mutex<Requests>,
    events: OwnedFd,
    generation: u64,
    terminating: bool,
    /// The version of the protocol that the supervisor speaks.
    speaks: u16,
}

#[derive(Debug)]
struct Requests {
    socket: OwnedFd,
    sequence: u32,
}

impl Client {
    /// Connects with the sockets that the environment names.
    ///
    /// Must be called once, at the start of the worker, before threads.
    ///
    /// # Errors
    ///
    /// [`ClientError::Environment`] if this process is no worker; else as any request.
    pub fn from_env() -> Result<Self, ClientError> {
        let text = std::env::var(SOCKETS_VARIABLE).map_err(|_| ClientError::Environment)?;
        let (requests, events) = text.split_once(':').ok_or(ClientError::Environment)?;
        let adopt = |number: &str| {
            let number = number.parse().map_err(|_| ClientError::Environment)?;
            sys::adopt_socket(number).ok_or(ClientError::Environment)
        };
        Self::connect(adopt(requests)?, adopt(events)?)
    }

    /// Connects over a pair of sockets.
    pub(crate) fn connect(requests: OwnedFd, events: OwnedFd) -> Result<Self, ClientError> {
        rustix::io::ioctl_fionbio(&requests, true).map_err(io::Error::from)?;
        rustix::io::ioctl_fionbio(&events, true).map_err(io::Error::from)?;
        let requests = Mutex::new(Requests {
            socket: requests,
            sequence: 0,
        });
        let mut client = Self {
            requests,
            events,
            generation: 0,
            terminating: false,
            speaks: PROTOCOL_OLDEST,
        };
        match client
            .ask(
                &Request::Hello {
                    version: PROTOCOL_VERSION,
                },
                None,
            )?
            .0
        {
            Reply::Hello {
                version,
                generation,
                terminating,
            } => {
                client.speaks = version;
                client.since(PROTOCOL_OLDEST)?;
                client.generation = generation;
                client.terminating = terminating;
                Ok(client)
            }
            other => Err(unexpected("hello", other)),
        }
    }

    /// Which worker of this supervisor this is, from 1.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether the server was already ending when this worker began.
    #[must_use]
    pub fn terminating(&self) -> bool {
        self.terminating
    }

    /// Whether the supervisor is dead. Events are not touched.
    #[must_use]
    pub fn is_orphan(&self) -> bool {
        let mut polled = [PollFd::new(&self.events, PollFlags::empty())];
        let asked = rustix::event::poll(&mut polled, Some(&Timespec::default()));
        asked.is_ok_and(|count| count > 0) && polled[0].revents().contains(PollFlags::HUP)
    }

    /// Returns the listening sockets of `address`, made at the first time.
    ///
    /// Port 0 picks a free port and keeps it until released. An IPv6 address
    /// takes IPv6 connections only.
    ///
    /// # Errors
    ///
    /// [`Refusal::AddressInUse`] names who listens there.
    pub fn bind(&self, address: SocketAddr) -> Result<Bound, ClientError> {
        match self.ask(&Request::Bind { address }, None)? {
            (Reply::Bound { address, backlog }, listeners) => Ok(Bound {
                address,
                listeners,
                backlog,
            }),
            (other, _) => Err(unexpected("bind", other)),
        }
    }

    /// Closes the supervisor's sockets of `address` (as asked for in [`Self::bind`]).
    ///
    /// # Errors
    ///
    /// As any request. An unknown address is no error.
    pub fn release(&self, address: SocketAddr) -> Result<(), ClientError> {
        self.order("release", &Request::Release { address })
    }

    /// Starts a child, or returns the one that already has this key.
    ///
    /// # Errors
    ///
    /// [`Refusal::SpawnFailed`], [`Refusal::RootNotAllowed`], [`Refusal::NotInControl`].
    pub fn spawn(&self, key: &Key, spec: &SpawnSpec) -> Result<ChildInfo, ClientError> {
        let content = channel::sealed(&spec.to_bytes())?;
        let request = Request::Spawn { key: key.clone() };
        match self.ask(&request, Some(content.as_fd()))?.0 {
            Reply::Child(child) => Ok(child),
            other => Err(unexpected("spawn", other)),
        }
    }

    /// Sends a signal to a child. SIGKILL to [`Scope::Group`] leaves nothing behind.
    ///
    /// # Errors
    ///
    /// [`Refusal::UnknownKey`]. A child that has already ended is no error.
    pub fn signal(&self, key: &Key, signal: Signal, scope: Scope) -> Result<(), ClientError> {
        let request = Request::Signal {
            key: key.clone(),
            signal: signal.as_raw(),
            scope,
        };
        self.order("signal", &request)
    }

    /// Lists all children, in order of their keys.
    ///
    /// # Errors
    ///
    /// As any request.
    pub fn list(&self) -> Result<Vec<ChildInfo>, ClientError> {
        let mut all: Vec<ChildInfo> = Vec::new();
        loop {
            let after = all.last().map(|child| child.key.clone());
            match self.ask(&Request::List { after }, None)?.0 {
                Reply::Children { children, more } => {
                    let more = more && !children.is_empty();
                    all.extend(children);
                    if !more {
                        return Ok(all);
                    }
                }
                other => return Err(unexpected("list", other)),
            }
        }
    }

    /// Takes the read ends of a child's log pipes and what was kept of them.
    ///
    /// From now on only the caller reads them; when this worker dies the
    /// supervisor does again.
    ///
    /// # Errors
    ///
    /// [`Refusal::UnknownKey`], [`Refusal::NotInControl`].
    pub fn take(&self, key: &Key) -> Result<Taken, ClientError> {
        match self.ask(&Request::Take { key: key.clone() }, None)? {
            (Reply::Taken { stdout, stderr }, fds) => unpack_taken(stdout, stderr, fds),
            (other, _) => Err(unexpected("take", other)),
        }
    }

    /// Forgets a child that has ended, and ends whatever it left behind.
    ///
    /// # Errors
    ///
    /// [`Refusal::UnknownKey`]; [`Refusal::StillRunning`].
    pub fn acknowledge(&self, key: &Key) -> Result<(), ClientError> {
        self.order("acknowledge", &Request::Acknowledge { key: key.clone() })
    }

    /// Where a child, or what it started, listens; empty for one that is not known.
    ///
    /// # Errors
    ///
    /// As any request.
    pub fn listening(&self, key: &Key) -> Result<Vec<SocketAddr>, ClientError> {
        let key = key.clone();
        match self.ask(&Request::Listening { key }, None)?.0 {
            Reply::Listening { addresses } => Ok(addresses),
            other => Err(unexpected("listening", other)),
        }
    }

    /// Who would answer a connection to `port` on the IPv4 loopback address.
    ///
    /// Empty when nobody listens; several when sockets share the port.
    ///
    /// # Errors
    ///
    /// As any request.
    pub fn owners(&self, port: u16) -> Result<Vec<PortOwner>, ClientError> {
        match self.ask(&Request::Owner { port }, None)?.0 {
            Reply::Owners { owners } => Ok(owners),
            other => Err(unexpected("owner", other)),
        }
    }

    /// The memory that all workers of this supervisor share, and its size.
    ///
    /// # Errors
    ///
    /// As any request.
    pub fn ledger(&self) -> Result<(OwnedFd, u64), ClientError> {
        match self.ask(&Request::Ledger, None)? {
            (Reply::Ledger { bytes }, fds) => {
                let fd = fds
                    .into_iter()
                    .next()
                    .ok_or(ClientError::Unexpected("ledger"))?;
                Ok((fd, bytes))
            }
            (other, _) => Err(unexpected("ledger", other)),
        }
    }

    /// Asks for control; `false` while another living worker holds it.
    ///
    /// # Errors
    ///
    /// As any request.
    pub fn acquire_control(&self) -> Result<bool, ClientError> {
        match self.ask(&Request::Lease { acquire: true }, None)?.0 {
            Reply::Lease { granted } => Ok(granted),
            other => Err(unexpected("lease", other)),
        }
    }

    /// Gives control back; the supervisor reads the log pipes again.
    ///
    /// # Errors
    ///
    /// As any request.
    pub fn yield_control(&self) -> Result<(), ClientError> {
        match self.ask(&Request::Lease { acquire: false }, None)?.0 {
            Reply::Lease { .. } => Ok(()),
            other => Err(unexpected("lease", other)),
        }
    }

    /// How many connections the kernel dropped at each bound address.
    ///
    /// # Errors
    ///
    /// As any request.
    pub fn drops(&self) -> Result<Vec<(SocketAddr, u64)>, ClientError> {
        match self.ask(&Request::Drops, None)?.0 {
            Reply::Drops { drops } => Ok(drops),
            other => Err(unexpected("drops", other)),
        }
    }

    /// Says that this worker serves.
    ///
    /// # Errors
    ///
    /// As any request.
    pub fn ready(&self) -> Result<(), ClientError> {
        self.order("ready", &Request::Ready)
    }

    /// Asks the supervisor to end the whole server in order, with `code`.
    ///
    /// [`Event::Terminate`] follows, as after SIGTERM.
    ///
    /// # Errors
    ///
    /// As any request.
    pub fn stop(&self, code: i32) -> Result<(), ClientError> {
        self.order("stop", &Request::Stop { code })
    }

    /// Says that this worker has drained and stopped everything.
    ///
    /// # Errors
    ///
    /// As any request.
    pub fn stopped(&self) -> Result<(), ClientError> {
        self.order("stopped", &Request::Stopped)
    }

    /// Says how long draining and stopping everything may take from now on, once the server ends;
    /// else the supervisor's own limit counts. More than a day is a day.
    ///
    /// # Errors
    ///
    /// [`Refusal::Version`] if the supervisor is too old to be told, [`Refusal::NotInControl`].
    pub fn ending(&self, within: Duration) -> Result<(), ClientError> {
        self.since(3)?;
        let within_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
        self.order("ending", &Request::Ending { within_ms })
    }

    /// Lists what dead supervisors of this state directory left running.
    ///
    /// # Errors
    ///
    /// As any request.
    pub fn leftovers(&self) -> Result<Vec<Leftover>, ClientError> {
        let mut all: Vec<Leftover> = Vec::new();
        loop {
            let after = all.last().map_or(0, |last| last.pid);
            match self.ask(&Request::Leftovers { after }, None)?.0 {
                Reply::Leftovers { leftovers, more } => {
                    let more = more && !leftovers.is_empty();
                    all.extend(leftovers);
                    if !more {
                        return Ok(all);
                    }
                }
                other => return Err(unexpected("leftovers", other)),
            }
        }
    }

    /// Sends SIGTERM to leftovers of one kind, and SIGKILL after `grace`.
    ///
    /// A worker drains on SIGTERM; give it its drain limit as grace.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotInControl`].
    pub fn stop_leftovers(&self, kind: LeftoverKind, grace: Duration) -> Result<(), ClientError> {
        let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        self.order("stop leftovers", &Request::StopLeftovers { kind, grace_ms })
    }

    /// The descriptor that is readable when [`Self::try_event`] has something.
    #[must_use]
    pub fn event_fd(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }

    /// Returns the next event without waiting.
    ///
    /// # Errors
    ///
    /// [`ClientError::SupervisorGone`] once the supervisor is dead.
    pub fn try_event(&self) -> Result<Option<Event>, ClientError> {
        Ok(self.try_news()?.map(|news| news.event))
    }

    /// Refuses what began with a version that the supervisor does not have.
    fn since(&self, version: u16) -> Result<(), ClientError> {
        if self.speaks < version {
            let supported = self.speaks;
            return Err(Refusal::Version { supported }.into());
        }
        Ok(())
    }

    fn order(&self, name: &'static str, request: &Request) -> Result<(), ClientError> {
        match self.ask(request, None)?.0 {
            Reply::Done => Ok(()),
            other => Err(unexpected(name, other)),
        }
    }

    fn ask(
        &self,
        request: &Request,
        attachment: Option<BorrowedFd<'_>>,
    ) -> Result<(Reply, Vec<OwnedFd>), ClientError> {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.sequence = requests.sequence.wrapping_add(1);
        let mut bytes = requests.sequence.to_bytes();
        request.put(&mut bytes);
        let deadline = Instant::now() + REPLY_TIMEOUT;
        requests.send(&bytes, attachment, deadline)?;
        loop {
            let packet = requests.receive(deadline)?;
            let (sequence, reply) = <(u32, Reply)>::from_bytes(&packet.bytes)?;
            // An older number answers a request that was given up.
            if sequence == requests.sequence {
                return match reply {
                    Reply::Refused(refusal) => Err(refusal.into()),
                    reply => Ok((reply, packet.fds)),
                };
            }
        }
    }
}

impl Requests {
    fn send(
        &self,
        bytes: &[u8],
        attachment: Option<BorrowedFd<'_>>,
        deadline: Instant,
    ) -> Result<(), ClientError> {
        loop {
            match channel::send(self.socket.as_fd(), bytes, attachment.as_slice()) {
                Ok(()) => return Ok(()),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => self.wait(PollFlags::OUT, deadline)?,
                    io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => {
                        return Err(ClientError::SupervisorGone);
                    }
                    _ => return Err(error.into()),
                },
            }
        }
    }

    fn receive(&self, deadline: Instant) -> Result<Packet, ClientError> {
        loop {
            match channel::receive(self.socket.as_fd()) {
                Ok(Some(packet)) => return Ok(packet),
                Ok(None) => return Err(ClientError::SupervisorGone),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wait(PollFlags::IN, deadline)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn wait(&self, flags: PollFlags, deadline: Instant) -> Result<(), ClientError> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ClientError::Timeout);
        }
        let timeout = Timespec::try_from(left).map_err(|_| ClientError::Timeout)?;
        let mut polled = [PollFd::new(&self.socket, flags)];
        match rustix::event::poll(&mut polled, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(io::Error::from(error).into()),
        }
    }
}

fn unexpected(name: &'static str, _reply: Reply) -> ClientError {
    ClientError::Unexpected(name)
}

/// Attached are what was kept of both streams, then the pipes still open.
fn unpack_taken(
    stdout: TakenHead,
    stderr: TakenHead,
    fds: Vec<OwnedFd>,
) -> Result<Taken, ClientError> {
    let short = || ClientError::Unexpected("take");
    let mut fds = fds.into_iter();
    let mut kept = channel::unseal(&fds.next().ok_or_else(short)?, KEPT_BYTES_MAX)?;
    if kept.len() as u64 != u64::from(stdout.kept_bytes) + u64::from(stderr.kept_bytes) {
        return Err(short());
    }
    let kept_stderr = kept.split_off(stdout.kept_bytes as usize);
    let mut stream = |head: TakenHead, kept: Vec<u8>| {
        let pipe = if head.open {
            Some(fds.next().ok_or_else(short)?)
        } else {
            None
        };
        Ok::<_, ClientError>(TakenStream {
            pipe,
            kept,
            dropped_bytes: head.dropped_bytes,
        })
    };
    Ok(Taken {
        stdout: stream(stdout, kept)?,
        stderr: stream(stderr, kept_stderr)?,
    })
}
