//! What a table of 10 000 routes costs: to find one of them, and to publish another such table
//! under full load until every thread has confirmed it.
//!
//! `bench_routes` prints one JSON object on its last line.

mod measured;

use std::error::Error;
use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ledger::Ledger;
use model::{InstanceId, ReleaseId, Revision, ServiceName};
use proxy::{Proxy, Settings, ThreadSetup};
use rustix::fs::MemfdFlags;
use socket2::Socket;
use traffic::{Candidate, Cell, Endpoint, HostPattern, Index, Listener, ListenerKind, Route};
use traffic::{ServiceTable, Table};

const ROUTES: usize = 10_000;
/// As many services as a file may have.
const SERVICES: usize = 200;
/// As many endpoints as the ledger has cells for, nearly.
const ENDPOINTS: usize = 4_000;
const THREADS: u32 = 2;
const CLIENTS: usize = 16;
const PUBLICATIONS: usize = 100;
const IDLE_PUBLICATIONS: usize = 10;
const LOOKUPS: usize = 2_000_000;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let endpoint = endpoint()?;
    let socket = measured::listening(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let listen = socket.local_addr()?.as_socket().ok_or("no address")?;
    let table = table(listen, endpoint)?;
    let (index_micros, match_nanos) = matching(listen, &table);
    let memory = rustix::fs::memfd_create("ledger", MemfdFlags::CLOEXEC)?;
    rustix::fs::ftruncate(&memory, ledger::SIZE)?;
    let ledger = Ledger::map(&memory)?;
    let proxy = start(&ledger, (listen, socket))?;
    let (moved, rerouted) = (moved(&table), rerouted(&table));
    let mut next = Revision(1);
    let mut published = |tables: [&Table; 2], count, pause| {
        let mut took = Vec::new();
        for number in 0..count {
            std::thread::sleep(pause);
            took.push(publish((&proxy, &ledger), tables[number % 2], next));
            next = Revision(next.0 + 1);
        }
        took
    };
    let mut idle = published([&table, &moved], IDLE_PUBLICATIONS, Duration::ZERO);
    let done = Arc::new(AtomicU64::new(0));
    let over = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let (done, over) = (Arc::clone(&done), Arc::clone(&over));
            std::thread::spawn(move || ask(listen, number, (&done, &over)).is_ok())
        })
        .collect();
    while done.load(Ordering::Relaxed) < 1_000 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let begun = (Instant::now(), done.load(Ordering::Relaxed));
    let pause = Duration::from_millis(20);
    let mut moves = published([&table, &moved], PUBLICATIONS, pause);
    let mut reroutes = published([&table, &rerouted], PUBLICATIONS, pause);
    let rate = (done.load(Ordering::Relaxed) - begun.1) as f64 / begun.0.elapsed().as_secs_f64();
    over.store(true, Ordering::Relaxed);
    let whole = clients.into_iter().filter_map(|one| one.join().ok());
    let failed = whole.filter(|&fine| !fine).count();
    proxy.stop(Duration::from_secs(1));
    eprintln!(
        "a route of {ROUTES} is found in {match_nanos:.0} ns; their index is made in {index_micros} µs"
    );
    let figures = serde_json::json!({
        "routes": ROUTES,
        "endpoints": ENDPOINTS,
        "match_nanos": match_nanos,
        "index_micros": index_micros,
        "alone_micros": told("other endpoints, alone,", &mut idle),
        "confirmed_micros": told("other endpoints", &mut moves),
        "rerouted_micros": told("other routes", &mut reroutes),
        "requests_per_second": rate,
        "clients_failed": failed,
    });
    eprintln!("that was at {rate:.0} requests/s");
    println!("{figures}");
    Ok(())
}

fn told(what: &str, took: &mut [u64]) -> serde_json::Value {
    let [median, p99, worst] = [50, 99, 100].map(|percent| quantile(took, percent));
    eprintln!(
        "a table with {what} is confirmed by {THREADS} threads after {median} µs (p99 {p99} µs)"
    );
    serde_json::json!({ "p50": median, "p99": p99, "worst": worst })
}

/// The table with another endpoint, as the next step of a rollout has it.
fn moved(table: &Table) -> Table {
    let mut table = table.clone();
    let services = table.services.iter_mut();
    for endpoint in services.flat_map(|service| service.stable.endpoints.last_mut()) {
        endpoint.instance.serial += 1;
    }
    table
}

/// The table with a route that leads elsewhere, as a deploy of another file has it.
fn rerouted(table: &Table) -> Table {
    let mut table = table.clone();
    for route in table
        .listeners
        .iter_mut()
        .flat_map(|one| one.routes.last_mut())
    {
        route.service = 0;
    }
    table
}

/// How long this thread was running so far, whatever else the machine does.
fn ran() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// How long the index takes, and a match, half of them with a path below the route's.
fn matching(listen: SocketAddr, table: &Table) -> (u128, f64) {
    let begun = ran();
    let index = Index::new(table);
    let index_micros = (ran() - begun).as_micros();
    let asked: Vec<(String, String)> = (0..ROUTES)
        .map(|number| {
            // Far from each other, so that no cache has them by chance.
            let number = number * 7_919 % ROUTES;
            let rest = if number.is_multiple_of(2) {
                ""
            } else {
                "/item/17"
            };
            (host(number), format!("{}{rest}", path(number)))
        })
        .collect();
    let begun = ran();
    for lookup in 0..LOOKUPS {
        let (host, path) = &asked[lookup % asked.len()];
        let found = index.route(listen, host.as_bytes(), path.as_bytes());
        assert!(black_box(found).is_some(), "every one of them is a route");
    }
    let nanos = (ran() - begun).as_nanos() as f64 / LOOKUPS as f64;
    (index_micros, nanos)
}

/// Publishes a table, and how long it took to be confirmed, in microseconds.
fn publish((proxy, ledger): (&Proxy, &Ledger), table: &Table, revision: Revision) -> u64 {
    let table = Arc::new(Table {
        revision,
        ..table.clone()
    });
    let begun = Instant::now();
    proxy.publish(&table);
    while !ledger.confirmed(revision) {
        std::thread::sleep(Duration::from_micros(50));
    }
    u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX)
}

fn quantile(sorted: &mut [u64], percent: usize) -> u64 {
    sorted.sort_unstable();
    let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().unwrap_or(0)
}

/// Asks for one route after the other on one connection.
fn ask(listen: SocketAddr, number: usize, (done, over): (&AtomicU64, &AtomicBool)) -> Outcome<()> {
    let mut stream = TcpStream::connect(listen)?;
    stream.set_nodelay(true)?;
    let mut bytes = [0; 4_096];
    for at in number.. {
        if over.load(Ordering::Relaxed) {
            break;
        }
        let number = at * 7_919 % ROUTES;
        let (host, path) = (host(number), path(number));
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes())?;
        let read = stream.read(&mut bytes)?;
        if !bytes[..read].starts_with(b"HTTP/1.1 200") {
            return Err("not answered".into());
        }
        done.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// A program that answers everything.
fn endpoint() -> Outcome<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(stream));
        }
    });
    Ok(address)
}

fn answer(mut stream: TcpStream) {
    let mut bytes = [0; 4_096];
    while stream.read(&mut bytes).is_ok_and(|read| read > 0) {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        if stream.write_all(answer).is_err() {
            return;
        }
    }
}

fn start(ledger: &Ledger, (listen, first): (SocketAddr, Socket)) -> Outcome<Proxy> {
    let mut sockets = vec![first];
    for _ in 1..THREADS {
        sockets.push(measured::listening(listen)?);
    }
    let setups = (0..THREADS).zip(sockets).map(|(thread, socket)| {
        Ok(ThreadSetup {
            listeners: vec![(listen, OwnedFd::from(socket))],
            writer: ledger.writer(1, thread)?,
        })
    });
    let setups = setups.collect::<Outcome<_>>()?;
    let tickets = tls::Tickets::unshared()?;
    let shadows = ledger.shadow_writer(1)?;
    Ok(Proxy::start(setups, shadows, Settings::default(), tickets)?)
}

fn host(route: usize) -> String {
    format!("shop-{}.example.com", route / 10)
}

fn path(route: usize) -> String {
    format!("/area/part-{}", route % 10)
}

fn table(listen: SocketAddr, endpoint: SocketAddr) -> Outcome<Table> {
    let services = (0..SERVICES).map(|number| service(number, endpoint));
    let routes = (0..ROUTES).map(|number| Route {
        host: HostPattern::Exact(host(number)),
        path: path(number),
        service: number % SERVICES,
        only: None,
    });
    let listener = Listener {
        kind: ListenerKind::Http,
        address: listen,
        proxy_protocol: false,
        routes: routes.collect(),
    };
    Ok(Table {
        listeners: vec![listener],
        services: services.collect::<Outcome<_>>()?,
        ..Table::default()
    })
}

fn service(number: usize, address: SocketAddr) -> Outcome<ServiceTable> {
    let name = ServiceName::try_new(&format!("service-{number}"))?;
    let each = ENDPOINTS / SERVICES;
    let endpoints = (0..each).map(|at| -> Outcome<Endpoint> {
        let serial = u32::try_from(number * each + at)?;
        Ok(Endpoint {
            instance: InstanceId {
                service: name.clone(),
                release: ReleaseId(1),
                serial,
            },
            address,
            protocol: model::Protocol::Http1,
            cell: Cell(serial),
            weight: None,
        })
    });
    let stable = Candidate {
        release: ReleaseId(1),
        endpoints: endpoints.collect::<Outcome<_>>()?,
        tls: None,
    };
    let cell = Cell(u32::try_from(number)?);
    Ok(ServiceTable::serving(name, cell, stable))
}
