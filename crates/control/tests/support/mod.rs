//! A world for control: instances that answer, a proxy that confirms, a supervisor that binds.

mod database;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use control::{Control, Databases, End, Handle, Host, Parts, Publisher, StartError};
use database::FakeDatabases;
use ledger::{Ledger, Writer};
use model::{
    Argv, Count, Delivery, Drain, Health, Limits, OnFail, OnNoData, Peers, Policy, Port, Probe,
    Project, ProxyLimits, ReleaseTemplate, RolloutPolicy, ServerConfig, Service, ServiceName, Stop,
    Strategy,
};
use runtime::artifact::{self, ArtifactBounds};
use runtime::logs::{LogBounds, Logs};
use runtime::process::ServerState;
use runtime::{
    Driver, DriverError, DriverEvent, Enforced, Enforcement, ExitStatus, Instance, InstanceState,
    Key, LogPipes, LogStream, Pending, PortOwner, Signal, StartSpec,
};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use traffic::{Cell, Table};

/// The first port of the first world, and how many each has.
const PORTS_FIRST: u16 = 21_000;
const PORTS: u16 = 20;

/// Everything that outlives a worker.
pub(crate) struct World {
    pub(crate) state: tempfile::TempDir,
    pub(crate) driver: Arc<FakeDriver>,
    pub(crate) databases: Arc<FakeDatabases>,
    pub(crate) ledger: Ledger,
    pub(crate) tables: Arc<Mutex<Vec<Arc<Table>>>>,
    /// Whether the proxy confirms tables.
    pub(crate) confirms: Arc<Mutex<bool>>,
    pub(crate) server: watch::Sender<ServerState>,
    pub(crate) bound: Arc<Mutex<Vec<SocketAddr>>>,
    /// Processes of a dead server.
    pub(crate) leftovers: Arc<Mutex<usize>>,
    /// How long the supervisor was told that ending may take.
    pub(crate) ending: Arc<Mutex<Option<Duration>>>,
    generation: Mutex<u64>,
    /// No two worlds share a port.
    ports: (u16, u16),
}

/// One worker.
pub(crate) struct Worker {
    pub(crate) handle: Handle,
    pub(crate) running: JoinHandle<End>,
}

impl World {
    pub(crate) fn new() -> Self {
        static WORLDS: AtomicU16 = AtomicU16::new(0);
        let first = PORTS_FIRST + WORLDS.fetch_add(1, Ordering::Relaxed) * PORTS;
        let fd: OwnedFd = tempfile::tempfile().unwrap().into();
        rustix::fs::ftruncate(&fd, ledger::SIZE).unwrap();
        Self {
            state: tempfile::tempdir().unwrap(),
            driver: Arc::default(),
            databases: Arc::default(),
            ledger: Ledger::map(fd).unwrap(),
            tables: Arc::default(),
            confirms: Arc::new(Mutex::new(true)),
            server: watch::Sender::new(ServerState::Serving),
            bound: Arc::default(),
            leftovers: Arc::default(),
            ending: Arc::default(),
            generation: Mutex::new(0),
            ports: (first, first + PORTS - 1),
        }
    }

    /// Starts the next worker.
    pub(crate) fn start(&self) -> Worker {
        self.try_start().unwrap()
    }

    pub(crate) fn try_start(&self) -> Result<Worker, StartError> {
        let (control, handle) = Control::start(self.parts())?;
        let running = tokio::task::spawn_local(control.run());
        Ok(Worker { handle, running })
    }

    pub(crate) fn parts(&self) -> Parts {
        let mut generation = self.generation.lock().unwrap();
        *generation += 1;
        let state = self.state.path();
        let artifacts = artifact::Store::open(state.join("artifacts"), ArtifactBounds::default());
        Parts {
            state: state.to_owned(),
            driver: Arc::clone(&self.driver) as Arc<dyn Driver>,
            databases: Arc::clone(&self.databases) as Arc<dyn Databases>,
            server_state: self.server.subscribe(),
            host: Box::new(FakeHost {
                generation: *generation,
                bound: Arc::clone(&self.bound),
                leftovers: Arc::clone(&self.leftovers),
                ending: Arc::clone(&self.ending),
            }),
            publisher: Box::new(self.publisher(*generation)),
            ledger: self.ledger.clone(),
            artifacts: Arc::new(artifacts.unwrap()),
            logs: Logs::open(state.join("logs"), LogBounds::default()).unwrap(),
        }
    }

    pub(crate) fn publisher(&self, generation: u64) -> FakePublisher {
        FakePublisher {
            writer: self.ledger.writer(generation, 0).unwrap(),
            tables: Arc::clone(&self.tables),
            confirms: Arc::clone(&self.confirms),
        }
    }

    /// The address of the HTTP listener; nothing listens there.
    pub(crate) fn project(&self, services: &[(&str, Service)]) -> Project {
        let named = services.iter().map(|(name, service)| {
            let name = ServiceName::try_new(name).unwrap();
            (name, service.clone())
        });
        Project {
            name: "shop".to_owned(),
            server: ServerConfig {
                http: SocketAddr::from(([127, 0, 0, 1], 80)),
                https: None,
                keep_releases: 3,
                ports: self.ports,
                peers: Peers::default(),
                access_log: None,
            },
            services: named.collect(),
            databases: BTreeMap::new(),
        }
    }
}

impl Worker {
    /// Dies without a word.
    pub(crate) async fn kill(self) {
        self.running.abort();
        let _ = self.running.await;
    }
}

/// A directory with a program that can be run as far as anyone looks.
pub(crate) fn program() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("web");
    std::fs::write(&file, "#!/bin/sh\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    directory
}

/// A service with one replica that is rolled out at once.
pub(crate) fn service(env: &str) -> Service {
    Service {
        artifact: "dist".to_owned(),
        template: ReleaseTemplate {
            run: Argv(vec!["./web".to_owned()]),
            port: Port::Assigned,
            protocol: model::Protocol::Http1,
            program_tls: None,
            env: BTreeMap::from([("E".to_owned(), env.to_owned())]),
            secrets: Vec::new(),
            health: Some(Health {
                probe: Probe::Tcp,
                every: Duration::from_secs(1),
                timeout: Duration::from_secs(1),
                rise: 1,
                fall: 3,
            }),
            drain: Duration::from_secs(5),
            drain_limits: None,
            stop: Stop {
                signal: 15,
                grace: Duration::from_secs(5),
            },
            user: None,
            limits: Limits::default(),
            database: None,
        },
        policy: Policy {
            replicas: 1,
            hosts: Vec::new(),
            paths: Vec::new(),
            reach: model::Reach::Public,
            tcp: None,
            after: Vec::new(),
            lockstep: false,
            https: model::HttpsPolicy::default(),
            limits: ProxyLimits::default(),
            delivery: Delivery::default(),
            rollout: rollout(),
        },
    }
}

fn rollout() -> RolloutPolicy {
    RolloutPolicy {
        strategy: Strategy::Rolling {
            surge: Count::Absolute(1),
            max_unavailable: Count::Absolute(0),
            batch: None,
        },
        min_ready: Duration::ZERO,
        deadline: Duration::from_secs(600),
        affinity: None,
        stick_to_instance: false,
        checks: Vec::new(),
        min_requests: 100,
        on_fail: OnFail::Rollback,
        on_no_data: OnNoData::Hold,
        before: None,
        after: None,
        job_timeout: Duration::from_secs(60),
    }
}

/// Runs instances as tasks that listen on their port.
#[derive(Default)]
pub(crate) struct FakeDriver {
    pub(crate) children: Mutex<BTreeMap<Key, Child>>,
    events: Mutex<VecDeque<DriverEvent>>,
    news: Notify,
    /// Every environment that was given, by key.
    pub(crate) environments: Mutex<BTreeMap<String, BTreeMap<String, String>>>,
    /// Every start, in order.
    pub(crate) starts: Mutex<Vec<String>>,
    /// The exit code of jobs; `None`: they run until they are killed.
    pub(crate) job_code: Mutex<Option<i32>>,
}

pub(crate) struct Child {
    pub(crate) state: InstanceState,
    port: Option<u16>,
    listening: Option<JoinHandle<()>>,
}

impl FakeDriver {
    /// Ends a child, as if it crashed.
    pub(crate) fn end(&self, key: &Key, status: ExitStatus) {
        let mut children = self.children.lock().unwrap();
        let Some(child) = children.get_mut(key) else {
            return;
        };
        if child.state == InstanceState::Running {
            child.state = InstanceState::Exited(status);
            if let Some(listening) = child.listening.take() {
                listening.abort();
            }
            let key = key.clone();
            let mut events = self.events.lock().unwrap();
            events.push_back(DriverEvent::Exited { key, status });
            self.news.notify_waiters();
            self.news.notify_one();
        }
    }

    fn describe(key: &Key, child: &Child) -> Instance {
        let not_asked = Enforcement::NotAsked;
        Instance {
            key: key.clone(),
            pid: 1,
            state: child.state,
            enforced: Enforced {
                memory: not_asked,
                cpu: not_asked,
                pids: not_asked,
            },
        }
    }
}

impl Driver for FakeDriver {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn start<'a>(
        &'a self,
        key: &'a Key,
        spec: &'a StartSpec,
    ) -> Pending<'a, Result<Instance, DriverError>> {
        Box::pin(async move {
            let env: BTreeMap<String, String> = spec.env.iter().cloned().collect();
            let port = env.get("PORT").map(|port| port.parse().unwrap());
            let mut children = self.children.lock().unwrap();
            if let Some(child) = children.get(key) {
                return Ok(Self::describe(key, child));
            }
            let silent = env.get("E").is_some_and(|value| value == "silent");
            let listening = port.filter(|_| !silent).map(|port| {
                let listener = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
                listener.set_nonblocking(true).unwrap();
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                tokio::spawn(async move { while listener.accept().await.is_ok() {} })
            });
            self.environments
                .lock()
                .unwrap()
                .insert(key.to_string(), env);
            self.starts.lock().unwrap().push(key.to_string());
            let child = Child {
                state: InstanceState::Running,
                port,
                listening,
            };
            let described = Self::describe(key, &child);
            children.insert(key.clone(), child);
            drop(children);
            if key.as_str().starts_with("job-")
                && let Some(code) = *self.job_code.lock().unwrap()
            {
                self.end(key, ExitStatus::Code { code });
            }
            Ok(described)
        })
    }

    fn signal<'a>(&'a self, key: &'a Key, signal: Signal) -> Pending<'a, Result<(), DriverError>> {
        Box::pin(async move {
            let signal = signal.as_raw();
            self.end(key, ExitStatus::Signal { signal });
            Ok(())
        })
    }

    fn kill<'a>(&'a self, key: &'a Key) -> Pending<'a, Result<(), DriverError>> {
        self.signal(key, Signal::KILL)
    }

    fn list(&self) -> Pending<'_, Result<Vec<Instance>, DriverError>> {
        Box::pin(async move {
            let children = self.children.lock().unwrap();
            let all = children.iter();
            Ok(all.map(|(key, child)| Self::describe(key, child)).collect())
        })
    }

    fn take_logs<'a>(&'a self, _: &'a Key) -> Pending<'a, Result<LogPipes, DriverError>> {
        Box::pin(async move {
            let stream = |kept: &[u8]| LogStream {
                pipe: None,
                kept: kept.to_vec(),
                dropped_bytes: 0,
            };
            Ok(LogPipes {
                stdout: stream(b"it says this\n"),
                stderr: stream(b""),
            })
        })
    }

    fn acknowledge<'a>(&'a self, key: &'a Key) -> Pending<'a, Result<(), DriverError>> {
        Box::pin(async move {
            self.children.lock().unwrap().remove(key);
            Ok(())
        })
    }

    fn listening<'a>(&'a self, _key: &'a Key) -> Pending<'a, Result<Vec<SocketAddr>, DriverError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn owners(&self, port: u16) -> Pending<'_, Result<Vec<PortOwner>, DriverError>> {
        Box::pin(async move {
            let children = self.children.lock().unwrap();
            let owners = children.iter().filter(|(_, child)| {
                child.port == Some(port) && child.state == InstanceState::Running
            });
            let owner = |key: &Key| PortOwner {
                pid: Some(1),
                name: "web".to_owned(),
                key: Some(key.clone()),
            };
            Ok(owners.map(|(key, _)| owner(key)).collect())
        })
    }

    fn event(&self) -> Pending<'_, DriverEvent> {
        Box::pin(async move {
            loop {
                let news = self.news.notified();
                if let Some(event) = self.events.lock().unwrap().pop_front() {
                    return event;
                }
                news.await;
            }
        })
    }

    fn wait<'a>(&'a self, key: &'a Key) -> Pending<'a, Result<ExitStatus, DriverError>> {
        Box::pin(async move {
            loop {
                let news = self.news.notified();
                match self
                    .children
                    .lock()
                    .unwrap()
                    .get(key)
                    .map(|child| child.state)
                {
                    None => return Err(DriverError::UnknownKey),
                    Some(InstanceState::Exited(status)) => return Ok(status),
                    Some(InstanceState::Running) => {}
                }
                // Whoever waits for events may have been told instead.
                let _ = tokio::time::timeout(Duration::from_millis(5), news).await;
            }
        })
    }
}

struct FakeHost {
    generation: u64,
    bound: Arc<Mutex<Vec<SocketAddr>>>,
    leftovers: Arc<Mutex<usize>>,
    ending: Arc<Mutex<Option<Duration>>>,
}

impl Host for FakeHost {
    fn generation(&self) -> u64 {
        self.generation
    }

    fn acquire_control(&self) -> Result<bool, String> {
        Ok(true)
    }

    fn bind(&self, address: SocketAddr) -> Result<Vec<OwnedFd>, String> {
        if address.port() == 81 {
            return Err(format!("address {address} is in use by nginx (pid 7)"));
        }
        self.bound.lock().unwrap().push(address);
        Ok(Vec::new())
    }

    fn release(&self, address: SocketAddr) {
        self.bound.lock().unwrap().retain(|bound| *bound != address);
    }

    fn owners(&self, _port: u16) -> Vec<PortOwner> {
        vec![PortOwner {
            pid: Some(8),
            name: "stranger".to_owned(),
            key: None,
        }]
    }

    fn drops(&self) -> Vec<(SocketAddr, u64)> {
        Vec::new()
    }

    fn ending(&self, within: Duration) {
        *self.ending.lock().unwrap() = Some(within);
    }

    fn stopped(&self) {}

    fn workers(&self) -> Option<(String, Vec<supervisor::WorkerInfo>)> {
        None
    }

    fn limits(&self) -> Option<Enforced> {
        Some(Enforced {
            memory: Enforcement::Rlimit,
            cpu: Enforcement::Unavailable,
            pids: Enforcement::Cgroup,
        })
    }

    fn upgrade(&self, program: &Path) -> Result<u64, String> {
        Err(format!("{} is not run", program.display()))
    }

    fn publish(&self, _: &Table) {}

    fn cut(&self, _: Cell) {}

    fn leftovers(&self) -> Result<usize, String> {
        Ok(*self.leftovers.lock().unwrap())
    }
}

/// Confirms every table at once, as one proxy thread.
pub(crate) struct FakePublisher {
    writer: Writer,
    tables: Arc<Mutex<Vec<Arc<Table>>>>,
    confirms: Arc<Mutex<bool>>,
}

impl Publisher for FakePublisher {
    fn bind(&mut self, _: SocketAddr, _: traffic::ListenerKind, _: Vec<OwnedFd>) {}

    fn release(&mut self, _: SocketAddr) {}

    fn publish(&mut self, table: Arc<Table>) {
        if *self.confirms.lock().unwrap() {
            self.writer.confirm(table.revision);
        }
        self.tables.lock().unwrap().push(table);
    }

    fn part(&mut self, _: Cell, _: Drain) {}

    fn compared(&mut self, _: model::ShadowKey) -> Option<verdict::Tally> {
        None
    }

    fn cut(&mut self, _: Cell) {}
}
