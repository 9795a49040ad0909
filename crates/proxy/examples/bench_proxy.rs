//! The proxy alone, with a fixed table, to compare its cost with other proxies.
//!
//! `bench_proxy LISTEN ENDPOINT [THREADS]`

use std::error::Error;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use ledger::Ledger;
use model::{Delivery, InstanceId, ProxyLimits, ReleaseId, Revision, ServiceName, Share};
use proxy::{Proxy, Settings, ThreadSetup};
use rustix::fs::MemfdFlags;
use socket2::{Domain, Socket, Type};
use traffic::{Candidate, Cell, Endpoint, HostPattern, Listener, Route, ServiceTable, Table};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (listen, endpoint): (SocketAddr, SocketAddr) = match arguments.as_slice() {
        [listen, endpoint, ..] => (listen.parse()?, endpoint.parse()?),
        _ => return Err("usage: bench_proxy LISTEN ENDPOINT [THREADS]".into()),
    };
    let threads: u32 = arguments.get(2).map_or(Ok(1), |threads| threads.parse())?;
    let memory = rustix::fs::memfd_create("ledger", MemfdFlags::CLOEXEC)?;
    rustix::fs::ftruncate(&memory, ledger::SIZE)?;
    let ledger = Ledger::map(&memory)?;
    let setups = (0..threads).map(|thread| -> Result<ThreadSetup, Box<dyn Error>> {
        let listeners = vec![(listen, listening(listen)?)];
        Ok(ThreadSetup {
            listeners,
            writer: ledger.writer(1, thread)?,
        })
    });
    let proxy = Proxy::start(
        setups.collect::<Result<_, _>>()?,
        ledger.shadow_writer(1)?,
        Settings::default(),
        tls::Tickets::unshared()?,
    )?;
    proxy.publish(&Arc::new(table(listen, endpoint)?));
    loop {
        std::thread::park();
    }
}

fn listening(address: SocketAddr) -> Result<OwnedFd, std::io::Error> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    socket.listen(1_024)?;
    Ok(socket.into())
}

fn table(listen: SocketAddr, endpoint: SocketAddr) -> Result<Table, Box<dyn Error>> {
    let name = ServiceName::try_new("bench")?;
    let instance = InstanceId {
        service: name.clone(),
        release: ReleaseId(1),
        serial: 1,
    };
    let endpoint = Endpoint {
        instance,
        address: endpoint,
        protocol: model::Protocol::Http1,
        cell: Cell(1),
    };
    let service = ServiceTable {
        https: model::HttpsPolicy::default(),
        name,
        cell: Cell(0),
        stable: Candidate {
            release: ReleaseId(1),
            endpoints: vec![endpoint],
            tls: None,
        },
        candidate: None,
        share: Share::NONE,
        rollout: None,
        affinity: None,
        stick_to_instance: false,
        audiences: Vec::new(),
        limits: ProxyLimits::default(),
        paused: None,
        closed: None,
        shadow: None,
        delivery: Delivery::default(),
    };
    let route = Route {
        host: HostPattern::Any,
        path: "/".to_owned(),
        service: 0,
        only: None,
    };
    let listener = Listener {
        kind: traffic::ListenerKind::Http,
        address: listen,
        proxy_protocol: false,
        routes: vec![route],
    };
    Ok(Table {
        revision: Revision(1),
        certificates: Vec::new(),
        listeners: vec![listener],
        services: vec![service],
        ..Table::default()
    })
}
