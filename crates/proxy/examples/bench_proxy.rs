//! The proxy alone, with a fixed table, to compare its cost with other proxies.
//!
//! `bench_proxy LISTEN ENDPOINT [THREADS]`

mod measured;

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;

use ledger::Ledger;
use model::{InstanceId, ReleaseId, Revision, ServiceName};
use proxy::{Proxy, Settings, ThreadSetup};
use rustix::fs::MemfdFlags;
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
        let listeners = vec![(listen, measured::listening(listen)?.into())];
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
        weight: None,
    };
    let stable = Candidate {
        release: ReleaseId(1),
        endpoints: vec![endpoint],
        tls: None,
    };
    let service = ServiceTable::serving(name, Cell(0), stable);
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
