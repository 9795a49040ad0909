//! A proxy with a table that a test changes, clients that never retry, and scripted endpoints.
//! Everything speaks in raw bytes; waits are bounded only so that a failure ends.

mod client;
mod endpoint;
pub(crate) mod faulty;
mod veil;

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use ledger::{CellTotals, Ledger, ServiceTotals};
use model::{InstanceId, ProxyLimits, ReleaseId, Revision, ServiceName};
use proxy::{Proxy, Settings, ThreadSetup};
use rustix::fs::MemfdFlags;
use socket2::{Domain, Socket, Type};
use tls::Tickets;
use traffic::{
    Candidate, Cell, Endpoint, HostPattern, Listener, ListenerKind, Outcome, Phase, Route,
    ServiceTable, Table,
};

pub(crate) use client::{Client, Ended};
pub(crate) use endpoint::{Connection, Program};
pub(crate) use veil::{Manners, Veil, speaking, suspicious};

/// The longest that anything may take before a test fails.
pub(crate) const GUARD: Duration = Duration::from_secs(20);
/// The cell of the one service.
pub(crate) const SERVICE: Cell = Cell(3);

/// Waits until something holds.
pub(crate) fn until(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < GUARD, "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub(crate) struct World {
    proxy: Option<Proxy>,
    pub(crate) ledger: Ledger,
    pub(crate) address: SocketAddr,
    pub(crate) table: Table,
    /// What a proxy that is started listens for before its first table.
    pub(crate) kind: ListenerKind,
    /// Held like the supervisor holds them: sockets and ledger outlive the proxy.
    pub(crate) listeners: Vec<TcpListener>,
    pub(crate) memory: OwnedFd,
}

impl World {
    /// A proxy of one thread, without a table.
    pub(crate) fn without_table() -> Self {
        Self::with_settings(Settings::default())
    }

    pub(crate) fn with_settings(settings: Settings) -> Self {
        Self::with_threads(1, settings)
    }

    pub(crate) fn with_threads(threads: u32, settings: Settings) -> Self {
        let mut world = Self::with_listeners(threads);
        world.start(settings);
        world
    }

    /// Listening sockets and a ledger that no proxy uses yet.
    pub(crate) fn without_proxy() -> Self {
        Self::with_listeners(1)
    }

    fn with_listeners(threads: u32) -> Self {
        COUNTING.call_once(count_panics);
        let memory = rustix::fs::memfd_create("ledger", MemfdFlags::CLOEXEC).unwrap();
        rustix::fs::ftruncate(&memory, ledger::SIZE).unwrap();
        let ledger = Ledger::map(&memory).unwrap();
        let mut address = SocketAddr::from(([127, 0, 0, 1], 0));
        let listeners = (0..threads).map(|_| {
            let listener = listening(address);
            address = listener.local_addr().unwrap();
            listener
        });
        Self {
            proxy: None,
            ledger,
            memory,
            listeners: listeners.collect(),
            kind: ListenerKind::Http,
            address,
            table: Table::default(),
        }
    }

    pub(crate) fn start_proxy(&mut self) {
        self.start(Settings::default());
    }

    /// A proxy that shares the keys of its tickets through this file.
    pub(crate) fn start_with_tickets(&mut self, path: &std::path::Path) {
        self.start_with(Settings::default(), Tickets::open(path).unwrap());
    }

    fn start(&mut self, settings: Settings) {
        self.start_with(settings, Tickets::unshared().unwrap());
    }

    fn start_with(&mut self, settings: Settings, tickets: Tickets) {
        let setups = self
            .listeners
            .iter()
            .zip(0..)
            .map(|(listener, thread)| ThreadSetup {
                listeners: match self.kind {
                    ListenerKind::Http => vec![(self.address, socket_of(listener))],
                    _ => Vec::new(),
                },
                writer: self.ledger.writer(1, thread).unwrap(),
            });
        let shadow = self.ledger.shadow_writer(1).unwrap();
        let proxy = Proxy::start(setups.collect(), shadow, settings, tickets).unwrap();
        if self.kind != ListenerKind::Http {
            for (thread, listener) in self.listeners.iter().enumerate() {
                proxy.listen(thread, (self.address, self.kind), socket_of(listener));
            }
        }
        self.proxy = Some(proxy);
    }

    /// A proxy whose one service has these endpoints.
    pub(crate) fn serving(programs: &[&Program]) -> Self {
        let mut world = Self::without_table();
        world.set_endpoints(programs);
        world
    }

    /// A proxy whose one service has these endpoints, which speak HTTP/2.
    pub(crate) fn calling(programs: &[&Program]) -> Self {
        let mut world = Self::serving(programs);
        world.set_service(|service| {
            for endpoint in &mut service.stable.endpoints {
                endpoint.protocol = model::Protocol::H2c;
            }
        });
        world
    }

    pub(crate) fn proxy(&self) -> &Proxy {
        self.proxy.as_ref().unwrap()
    }

    /// Publishes a changed table and waits until it is confirmed.
    pub(crate) fn publish(&mut self, change: impl FnOnce(&mut Table)) {
        change(&mut self.table);
        self.table.revision = Revision(self.table.revision.0 + 1);
        self.proxy().publish(&Arc::new(self.table.clone()));
        until("the table is confirmed", || {
            self.ledger.confirmed(self.table.revision)
        });
    }

    /// Publishes a table with one service that has these endpoints, cells from 10 on.
    pub(crate) fn set_endpoints(&mut self, programs: &[&Program]) {
        let address = self.address;
        let service = self.table.services.first().cloned();
        let mut service = service.unwrap_or_else(|| service_table(ProxyLimits::default()));
        service.stable = candidate(1, programs, 10);
        let kind = self.kind;
        self.publish(|table| {
            *table = with_service(address, service, table.revision);
            table.listeners[0].kind = kind;
        });
    }

    pub(crate) fn set_service(&mut self, change: impl FnOnce(&mut ServiceTable)) {
        self.publish(|table| change(&mut table.services[0]));
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address)
    }

    pub(crate) fn stop(&mut self) {
        self.stop_within(GUARD);
    }

    pub(crate) fn stop_within(&mut self, limit: Duration) {
        if let Some(proxy) = self.proxy.take() {
            proxy.stop(limit);
        }
    }

    pub(crate) fn cell(&self, cell: u32) -> CellTotals {
        self.ledger.cell(Cell(cell))
    }

    /// An endpoint's totals once nothing is open there: a client may have its response just
    /// before it is counted.
    pub(crate) fn settled(&self, cell: u32) -> CellTotals {
        until("nothing is open", || self.open(cell) == 0);
        self.cell(cell)
    }

    pub(crate) fn service(&self) -> ServiceTotals {
        self.ledger.service(SERVICE)
    }

    pub(crate) fn open(&self, cell: u32) -> u64 {
        self.ledger.open(Cell(cell))
    }

    /// Waits until an endpoint has had exactly these outcomes and nothing is open there.
    pub(crate) fn expect_outcomes(&self, cell: u32, wanted: &[(Outcome, u64)]) {
        let seen = || -> Vec<(Outcome, u64)> {
            let seen = self.cell(cell);
            seen.seen()
                .map(|(phase, outcome, count)| {
                    assert_eq!(phase, Phase::Serving);
                    (outcome, count)
                })
                .collect()
        };
        let begun = Instant::now();
        while seen() != wanted || self.open(cell) > 0 {
            assert!(
                begun.elapsed() < GUARD,
                "wanted {wanted:?}, seen {:?}, open {}",
                seen(),
                self.open(cell)
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop_within(Duration::ZERO);
        if !std::thread::panicking() {
            assert_eq!(PANICS.load(Ordering::SeqCst), 0, "a proxy thread panicked");
        }
    }
}

/// Panics of proxy threads, in any test: the runtime would swallow them.
static PANICS: AtomicUsize = AtomicUsize::new(0);
static COUNTING: Once = Once::new();

fn count_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let thread = std::thread::current();
        if thread.name().is_some_and(|name| name.starts_with("proxy-")) {
            PANICS.fetch_add(1, Ordering::SeqCst);
        }
        before(info);
    }));
}

pub(crate) fn service_table(limits: ProxyLimits) -> ServiceTable {
    let name = ServiceName::try_new("web").unwrap();
    ServiceTable {
        limits,
        ..ServiceTable::serving(name, SERVICE, candidate(1, &[], 0))
    }
}

pub(crate) fn candidate(release: u32, programs: &[&Program], first_cell: u32) -> Candidate {
    let addresses = programs.iter().map(|program| program.address);
    candidate_at(release, addresses, first_cell)
}

pub(crate) fn candidate_at(
    release: u32,
    addresses: impl Iterator<Item = SocketAddr>,
    first_cell: u32,
) -> Candidate {
    let endpoint = |(at, address): (usize, SocketAddr)| {
        let cell = first_cell + at as u32;
        Endpoint {
            instance: InstanceId {
                service: ServiceName::try_new("web").unwrap(),
                release: ReleaseId(release),
                serial: cell,
            },
            address,
            protocol: model::Protocol::Http1,
            cell: Cell(cell),
            weight: None,
        }
    };
    Candidate {
        release: ReleaseId(release),
        endpoints: addresses.enumerate().map(endpoint).collect(),
        tls: None,
    }
}

/// A table of revision 1 with one service that has this endpoint, at cell 10.
pub(crate) fn table_for(address: SocketAddr, endpoint: SocketAddr) -> Table {
    let mut service = service_table(ProxyLimits::default());
    service.stable = candidate_at(1, std::iter::once(endpoint), 10);
    with_service(address, service, Revision(1))
}

fn with_service(address: SocketAddr, service: ServiceTable, revision: Revision) -> Table {
    let route = Route {
        host: HostPattern::Any,
        path: "/".to_owned(),
        service: 0,
        only: None,
    };
    Table {
        revision,
        certificates: Vec::new(),
        listeners: vec![Listener {
            kind: traffic::ListenerKind::Http,
            address,
            proxy_protocol: false,
            routes: vec![route],
        }],
        services: vec![service],
        ..Table::default()
    }
}

fn socket_of(listener: &TcpListener) -> OwnedFd {
    OwnedFd::from(listener.try_clone().unwrap())
}

/// One of several listening sockets of an address.
fn listening(address: SocketAddr) -> TcpListener {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
    socket.set_reuse_port(true).unwrap();
    socket.bind(&address.into()).unwrap();
    socket.listen(1_024).unwrap();
    socket.into()
}

/// An address where nothing listens.
pub(crate) fn nowhere() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}
