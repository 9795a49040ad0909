//! The proxy as control sees it.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ledger::Writer;
use model::{Drain, ShadowKey};
use tls::Tickets;
use traffic::{Cell, ListenerKind, Table};
use verdict::Tally;

use crate::access::{self, AccessPlace};
use crate::crowds::Crowds;
use crate::keeper::{Keeper, LOOK};
use crate::links::Links;
use crate::orders::{Ending, Listening, OrderBox, Orders};
use crate::queue::Heads;
use crate::room::Room;
use crate::routing::Routing;
use crate::shadow::{self, Findings, Shadows};
use crate::thread::{self, Given};

/// What one proxy thread begins with.
#[derive(Debug)]
pub struct ThreadSetup {
    /// Its listening sockets, by the address that a [`traffic::Listener`] has in the table.
    pub listeners: Vec<(SocketAddr, OwnedFd)>,
    /// Its slot of the ledger.
    pub writer: Writer,
}

/// Bounds that hold for every service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How long a request's head may take from its first byte, and a new connection until
    /// that byte.
    pub head_timeout: Duration,
    /// How long a client's connection may stay without another request.
    pub idle_timeout: Duration,
    /// Descriptors that the connections of each thread may take, to clients and to endpoints;
    /// `None`: as many as the limit of open files allows.
    pub files_max: Option<u32>,
    /// Requests of one service that each thread lets wait for an endpoint.
    pub waiting_max: u32,
    /// Where the access log goes; `None`: nowhere, whatever a table says.
    pub access: Option<AccessPlace>,
    /// Whether connections from this machine are bounded like those of any client.
    pub loopback: Loopback,
}

/// Whether connections from this machine are bounded like those of any client.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Loopback {
    /// They are not: a proxy in front brings many clients' connections.
    #[default]
    Unbounded,
    /// They are.
    Bounded,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            files_max: None,
            waiting_max: 1_024,
            access: None,
            loopback: Loopback::default(),
        }
    }
}

/// Why the proxy could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The kernel gave no thread or no runtime.
    #[error("a proxy thread cannot start")]
    Thread(#[from] std::io::Error),
}

/// The running proxy threads.
#[derive(Debug)]
pub struct Proxy {
    threads: Vec<Running>,
    /// The thread that asks shadows, and what comparing has found there.
    shadow: Running,
    findings: Findings,
    access: Option<access::Writer>,
    keeper: Arc<Keeper>,
    /// Tables that threads may still follow.
    followed: Mutex<Vec<Arc<Routing>>>,
    /// The thread that looks at certificates ends with this.
    _looking: Sender<()>,
}

#[derive(Debug)]
struct Running {
    orders: Arc<OrderBox>,
    handle: JoinHandle<()>,
}

impl Proxy {
    /// Starts one thread for each setup. They accept at once and let requests wait for the
    /// first table. Clients resume their TLS sessions by `tickets`. One more thread asks
    /// shadows; `shadow` is its slot of the ledger.
    ///
    /// # Errors
    ///
    /// [`StartError`] when a thread or its runtime cannot be made; those already started end.
    pub fn start(
        setups: Vec<ThreadSetup>,
        shadow: Writer,
        settings: Settings,
        tickets: Tickets,
    ) -> Result<Self, StartError> {
        let room = Room::new(&settings, setups.len());
        let access = settings
            .access
            .clone()
            .map(access::Writer::start)
            .transpose()?;
        let crowds = Arc::new(Crowds::default());
        let links = Arc::new(Links::default());
        let boxes: Vec<Arc<OrderBox>> = setups.iter().map(|_| Arc::default()).collect();
        let heads = Arc::new(Heads::new(boxes.clone()));
        let (shadows, received) = Shadows::new();
        let mut threads = Vec::new();
        for (number, (setup, orders)) in setups.into_iter().zip(boxes).enumerate() {
            let given = Given {
                settings: settings.clone(),
                room,
                crowds: Arc::clone(&crowds),
                links: Arc::clone(&links),
                heads: Arc::clone(&heads),
                access: access
                    .as_ref()
                    .map(access::Writer::access)
                    .unwrap_or_default(),
                shadows: shadows.clone(),
            };
            let handle = thread::spawn(number, setup, given, Arc::clone(&orders))?;
            threads.push(Running { orders, handle });
        }
        let keeper = Arc::new(Keeper::new(tickets));
        let findings = Findings::default();
        let orders = Arc::new(OrderBox::default());
        let found = (shadow, findings.clone());
        let handle = shadow::spawn(found, received, Arc::clone(&orders))?;
        let shadow = Running { orders, handle };
        let all = threads.iter().chain(std::iter::once(&shadow));
        let orders = all.map(|running: &Running| &running.orders);
        let looking = look(Arc::clone(&keeper), orders.map(Arc::clone).collect())?;
        Ok(Self {
            threads,
            shadow,
            findings,
            access,
            keeper,
            followed: Mutex::default(),
            _looking: looking,
        })
    }

    /// How many threads there are.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.threads.len()
    }

    /// Publishes a table. Each thread follows it as soon as it looks and then confirms it in
    /// the ledger; one with a smaller revision than the present one is ignored.
    pub fn publish(&self, table: &Arc<Table>) {
        let followed = || self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        let routing = Arc::new(Routing::new(table, followed().last().map(|last| &**last)));
        let tls = self.keeper.follow(table);
        self.order(|orders| {
            orders.tls = Some(tls.clone());
            orders.routing = Some(Arc::clone(&routing));
        });
        // Here and after all else: to take a large table apart takes longer than a thread that
        // serves may be away.
        let mut followed = followed();
        followed.push(routing);
        followed.retain(|one| Arc::strong_count(one) > 1);
    }

    /// Adds a listening socket to one thread.
    pub fn listen(&self, thread: usize, listener: (SocketAddr, ListenerKind), socket: OwnedFd) {
        if let Some(running) = self.threads.get(thread) {
            running
                .orders
                .change(|orders| orders.listening.push(Listening::Add(listener, socket)));
        }
    }

    /// Stops accepting at an address, in every thread. Connections stay.
    pub fn unlisten(&self, address: SocketAddr) {
        self.order(|orders| orders.listening.push(Listening::Remove(address)));
    }

    /// Says when what is open at an endpoint is cut. Tunnels and event streams are ended before,
    /// each at its own time in the last quarter of what they have left, so that their clients do
    /// not all come back at once; they are counted as cut. What has less left than others is cut
    /// when that is over; the rest by [`Proxy::cut`]. Said again, it changes nothing.
    pub fn part(&self, cell: Cell, left: Drain) {
        self.order(|orders| {
            orders.parting.entry(cell).or_insert(left);
        });
    }

    /// Ends everything that is open at an endpoint, counted as cut: its drain limit is over.
    pub fn cut(&self, cell: Cell) {
        self.order(|orders| {
            orders.cut.insert(cell);
        });
    }

    /// Stops accepting; each connection is closed after its next response, and tells its
    /// client so. Idle connections stay until then, so that no request meets a closed one.
    /// Tunnels and event streams are ended in the last quarter of `limit`, after which the
    /// caller ends everything.
    pub fn drain(&self, limit: Duration) {
        self.order(|orders| {
            orders.ending = orders.ending.max(Ending::Draining);
            orders.leaving = Some(limit);
        });
    }

    /// As [`Proxy::drain`] for sockets that nobody else has: accepts until nothing comes any
    /// more, since what waits in a socket that is closed is reset. Others must be where new
    /// connections go by now.
    pub fn leave(&self, limit: Duration) {
        self.order(|orders| {
            orders.ending = orders.ending.max(Ending::Leaving);
            orders.leaving = Some(limit);
        });
    }

    /// True when every thread has ended, as after [`Proxy::drain`] once the last connection
    /// is gone.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.all().all(|running| running.handle.is_finished())
    }

    /// What comparing the answers to a shadow's copies has found in this process so far.
    #[must_use]
    pub fn compared(&self, key: ShadowKey) -> Option<Tally> {
        self.findings.of(key)
    }

    fn all(&self) -> impl Iterator<Item = &Running> {
        self.threads.iter().chain(std::iter::once(&self.shadow))
    }

    /// Ends: accepts nothing more, closes idle connections, lets open requests end within
    /// `limit`, cuts the rest. Blocks for at most a little more than `limit`.
    pub fn stop(self, limit: Duration) {
        let deadline = Instant::now() + limit;
        self.order(|orders| orders.ending = orders.ending.max(Ending::Closing));
        while !self.is_ended() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.order(|orders| orders.ending = Ending::Now);
        for running in self.threads.into_iter().chain([self.shadow]) {
            if running.handle.join().is_err() {
                tracing::error!("a proxy thread panicked");
            }
        }
        self.access.into_iter().for_each(access::Writer::end);
    }

    fn order(&self, mut change: impl FnMut(&mut Orders)) {
        self.all()
            .for_each(|running| running.orders.change(&mut change));
    }
}

/// Looks at the files of certificates until the proxy is gone, away from its threads.
fn look(keeper: Arc<Keeper>, threads: Vec<Arc<OrderBox>>) -> std::io::Result<Sender<()>> {
    let (proxy, gone) = channel::<()>();
    let thread = std::thread::Builder::new().name("certificates".to_owned());
    thread.spawn(move || {
        while gone.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
            let Some(tls) = keeper.look() else {
                continue;
            };
            tracing::info!("certificates have changed and are used from now on");
            for orders in &threads {
                orders.change(|orders| orders.tls = Some(tls.clone()));
            }
        }
    })?;
    Ok(proxy)
}
