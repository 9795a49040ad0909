//! The process driver: instances are children of the supervisor.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use supervisor::client::{Client, ClientError, TakenStream};
use supervisor::{
    ChildInfo, ChildState, Event, ExitStatus, Key, Output, Refusal, Scope, Signal, SpawnSpec,
};
use tokio::io::Interest;
use tokio::net::UnixDatagram;
use tokio::net::unix::pipe;
use tokio::sync::{Mutex, watch};

use crate::driver::{
    Driver, DriverError, DriverEvent, Instance, InstanceState, LogPipes, LogStream, PROBE_KEYS,
    Pending, PortOwner, StartSpec,
};

const NAME: &str = "process";

/// How the server stands, as its supervisor tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerState {
    /// All is well.
    Serving,
    /// The server is to end: drain, stop everything, then tell the supervisor.
    Terminating,
    /// Another worker is to take control: leave everything as it is for it.
    Yielding,
    /// The supervisor is dead: keep serving, refuse every change.
    SupervisorLost,
}

/// Instances as children of the supervisor.
#[derive(Debug)]
pub struct ProcessDriver {
    client: Arc<Client>,
    /// The client's event descriptor; only its readiness is used.
    events: Mutex<UnixDatagram>,
    state: watch::Sender<ServerState>,
    /// Changes whenever a child may have ended.
    exits: watch::Sender<()>,
}

impl ProcessDriver {
    /// Drives children of the supervisor that `client` is connected to.
    ///
    /// Must be called within a tokio runtime; [`Driver::event`] must be
    /// awaited for the server's state to change.
    ///
    /// # Errors
    ///
    /// If the runtime cannot watch the client's events.
    pub fn new(client: Arc<Client>) -> io::Result<Self> {
        let initial = if client.terminating() {
            ServerState::Terminating
        } else {
            ServerState::Serving
        };
        let events = client.event_fd().try_clone_to_owned()?;
        let events = UnixDatagram::from_std(events.into())?;
        Ok(Self {
            client,
            events: Mutex::new(events),
            state: watch::Sender::new(initial),
            exits: watch::Sender::new(()),
        })
    }

    /// How the server stands; changes while [`Driver::event`] is awaited.
    #[must_use]
    pub fn server_state(&self) -> watch::Receiver<ServerState> {
        self.state.subscribe()
    }

    /// The connection to the supervisor.
    #[must_use]
    pub fn client(&self) -> &Arc<Client> {
        &self.client
    }

    async fn next_event(&self) -> DriverEvent {
        let events = self.events.lock().await;
        loop {
            // The runtime forgets the readiness only when the client has nothing.
            let next = events.try_io(Interest::READABLE, || match self.client.try_event() {
                Ok(Some(event)) => Ok(Some(event)),
                Ok(None) => Err(io::ErrorKind::WouldBlock.into()),
                Err(_) => Ok(None),
            });
            match next {
                Ok(Some(Event::Exited { key, status })) => {
                    self.exits.send_replace(());
                    if !key.as_str().starts_with(PROBE_KEYS) {
                        return DriverEvent::Exited { key, status };
                    }
                }
                Ok(Some(Event::Resync)) => {
                    self.exits.send_replace(());
                    return DriverEvent::Resync;
                }
                Ok(Some(Event::Terminate)) => {
                    self.state.send_replace(ServerState::Terminating);
                }
                Ok(Some(Event::Yield)) => {
                    self.state.send_replace(ServerState::Yielding);
                }
                Ok(Some(Event::WorkerGone { generation })) => {
                    return DriverEvent::WorkerGone { generation };
                }
                Ok(Some(Event::Upgraded(outcome))) => return DriverEvent::Upgraded(outcome),
                // They are for workers without control.
                Ok(Some(Event::Lead | Event::Retire | Event::Published | Event::Cut { .. })) => {}
                Ok(None) => return self.lost().await,
                Err(_) => {
                    if events.readable().await.is_err() {
                        return self.lost().await;
                    }
                }
            }
        }
    }

    /// Asks the supervisor without holding up other work.
    async fn ask<T: Send + 'static>(
        &self,
        request: impl FnOnce(&Client) -> Result<T, ClientError> + Send + 'static,
    ) -> Result<T, DriverError> {
        let client = Arc::clone(&self.client);
        let asked = tokio::task::spawn_blocking(move || request(&client)).await;
        asked.map_err(failed)?.map_err(driver_error)
    }

    async fn ended(&self, key: &Key) -> Result<ExitStatus, DriverError> {
        let mut exits = self.exits.subscribe();
        loop {
            let children = self.list().await?;
            let found = children.into_iter().find(|child| child.key == *key);
            match found.ok_or(DriverError::UnknownKey)?.state {
                InstanceState::Exited(status) => return Ok(status),
                InstanceState::Running => {}
            }
            // The sender lives as long as this driver.
            let _changed = exits.changed().await;
        }
    }

    /// Says once that the supervisor is gone, then nothing for ever.
    async fn lost(&self) -> DriverEvent {
        self.exits.send_replace(());
        if self.state.send_replace(ServerState::SupervisorLost) == ServerState::SupervisorLost {
            std::future::pending::<()>().await;
        }
        DriverEvent::Lost
    }
}

impl Driver for ProcessDriver {
    fn name(&self) -> &'static str {
        NAME
    }

    fn start<'a>(
        &'a self,
        key: &'a Key,
        spec: &'a StartSpec,
    ) -> Pending<'a, Result<Instance, DriverError>> {
        Box::pin(async move {
            let spec = SpawnSpec {
                argv: spec.argv.clone(),
                env: spec.env.clone(),
                cwd: spec.cwd.clone(),
                identity: spec.identity,
                rlimits: spec.rlimits.clone(),
                limits: spec.limits,
                output: Output::Pipes,
            };
            self.client
                .spawn(key, &spec)
                .map(instance)
                .map_err(driver_error)
        })
    }

    fn signal<'a>(&'a self, key: &'a Key, signal: Signal) -> Pending<'a, Result<(), DriverError>> {
        Box::pin(async move {
            let key = key.clone();
            self.ask(move |client| client.signal(&key, signal, Scope::Group))
                .await
        })
    }

    fn kill<'a>(&'a self, key: &'a Key) -> Pending<'a, Result<(), DriverError>> {
        self.signal(key, Signal::KILL)
    }

    fn list(&self) -> Pending<'_, Result<Vec<Instance>, DriverError>> {
        Box::pin(async move {
            let children = self.ask(Client::list).await?;
            Ok(children.into_iter().map(instance).collect())
        })
    }

    fn wait<'a>(&'a self, key: &'a Key) -> Pending<'a, Result<ExitStatus, DriverError>> {
        Box::pin(self.ended(key))
    }

    fn take_logs<'a>(&'a self, key: &'a Key) -> Pending<'a, Result<LogPipes, DriverError>> {
        Box::pin(async move {
            let key = key.clone();
            let taken = self.ask(move |client| client.take(&key)).await?;
            Ok(LogPipes {
                stdout: log_stream(taken.stdout).map_err(failed)?,
                stderr: log_stream(taken.stderr).map_err(failed)?,
            })
        })
    }

    fn acknowledge<'a>(&'a self, key: &'a Key) -> Pending<'a, Result<(), DriverError>> {
        let key = key.clone();
        Box::pin(self.ask(move |client| client.acknowledge(&key)))
    }

    fn owners(&self, port: u16) -> Pending<'_, Result<Vec<PortOwner>, DriverError>> {
        Box::pin(async move {
            let owners = self.ask(move |client| client.owners(port)).await?;
            Ok(owners.into_iter().map(PortOwner::from).collect())
        })
    }

    fn listening<'a>(&'a self, key: &'a Key) -> Pending<'a, Result<Vec<SocketAddr>, DriverError>> {
        let key = key.clone();
        Box::pin(self.ask(move |client| client.listening(&key)))
    }

    fn event(&self) -> Pending<'_, DriverEvent> {
        Box::pin(self.next_event())
    }
}

fn instance(child: ChildInfo) -> Instance {
    let state = match child.state {
        ChildState::Running => InstanceState::Running,
        ChildState::Exited(status) => InstanceState::Exited(status),
    };
    Instance {
        key: child.key,
        pid: child.pid,
        state,
        enforced: child.enforced,
    }
}

fn log_stream(taken: TakenStream) -> io::Result<LogStream> {
    let open = |fd: OwnedFd| {
        rustix::io::ioctl_fionbio(fd.as_fd(), true)?;
        pipe::Receiver::from_owned_fd(fd)
    };
    let pipe = taken.pipe.map(open).transpose()?;
    Ok(LogStream {
        pipe,
        kept: taken.kept,
        dropped_bytes: taken.dropped_bytes,
    })
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> DriverError {
    DriverError::Failed {
        driver: NAME,
        source: Box::new(error),
    }
}

fn driver_error(error: ClientError) -> DriverError {
    match error {
        ClientError::SupervisorGone => DriverError::Lost,
        ClientError::Refused(refusal) => refused(refusal),
        error @ (ClientError::Timeout
        | ClientError::Environment
        | ClientError::Unexpected(_)
        | ClientError::Malformed(_)
        | ClientError::Io(_)) => failed(error),
    }
}

fn refused(refusal: Refusal) -> DriverError {
    match refusal {
        Refusal::UnknownKey => DriverError::UnknownKey,
        Refusal::SpawnFailed { program, errno } => DriverError::Start {
            program,
            source: io::Error::from_raw_os_error(errno),
        },
        refusal @ (Refusal::Version { .. }
        | Refusal::Malformed
        | Refusal::AddressInUse { .. }
        | Refusal::RootNotAllowed
        | Refusal::NotInControl
        | Refusal::LimitReached
        | Refusal::StillRunning
        | Refusal::Terminating
        | Refusal::Busy
        | Refusal::Program { .. }
        | Refusal::Os { .. }) => DriverError::Refused(refusal.to_string()),
    }
}
