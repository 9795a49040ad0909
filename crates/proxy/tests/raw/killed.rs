//! A worker that is killed with -9: its sockets and its ledger belong to somebody else.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ledger::Ledger;
use proxy::{Proxy, Settings, ThreadSetup};
use traffic::{Cell, Outcome, Phase};

use crate::world::{Client, Program, World, until};

/// A worker of generation 2: this test binary again, with a listening socket as its standard
/// input.
pub(crate) struct Worker(Child);

impl Worker {
    pub(crate) fn start(world: &World, endpoint: SocketAddr) -> Self {
        Self::start_as(world, endpoint, "http")
    }

    /// A worker of a TCP service.
    pub(crate) fn start_carrying(world: &World, endpoint: SocketAddr) -> Self {
        Self::start_as(world, endpoint, "tcp")
    }

    fn start_as(world: &World, endpoint: SocketAddr, kind: &str) -> Self {
        let memory = format!(
            "/proc/{}/fd/{}",
            std::process::id(),
            world.memory.as_raw_fd()
        );
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "killed::the_worker", "--nocapture", "--ignored"])
            .env("WORKER_LEDGER", memory)
            .env("WORKER_LISTEN", world.address.to_string())
            .env("WORKER_ENDPOINT", endpoint.to_string())
            .env("WORKER_KIND", kind)
            .stdin(Stdio::from(world.socket()))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains("worker serves")));
        Self(child)
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "not a test of its own: the process that the tests below kill"]
fn the_worker() {
    let Ok(memory) = std::env::var("WORKER_LEDGER") else {
        return;
    };
    let address = std::env::var("WORKER_LISTEN").unwrap().parse().unwrap();
    let endpoint: SocketAddr = std::env::var("WORKER_ENDPOINT").unwrap().parse().unwrap();
    let memory = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(memory)
        .unwrap();
    let ledger = Ledger::map(&memory).unwrap();
    let socket = std::io::stdin().as_fd().try_clone_to_owned().unwrap();
    let setup = ThreadSetup {
        listeners: vec![(address, socket)],
        writer: ledger.writer(2, 0).unwrap(),
    };
    let proxy = Proxy::start(
        vec![setup],
        ledger.shadow_writer(2).unwrap(),
        Settings::default(),
        tls::Tickets::unshared().unwrap(),
    )
    .unwrap();
    let mut table = crate::world::table_for(address, endpoint);
    if std::env::var("WORKER_KIND").unwrap() == "tcp" {
        table.listeners[0].kind = traffic::ListenerKind::Tcp;
    }
    proxy.publish(&Arc::new(table));
    until("the table is confirmed", || {
        ledger.confirmed(model::Revision(1))
    });
    println!("worker serves");
    // Whoever started it kills it long before.
    std::thread::sleep(Duration::from_secs(60));
}

fn held() -> Program {
    Program::new(|connection| {
        connection.request()?;
        connection.report("asked");
        connection.wait_for_end();
        connection.report("ended");
        Some(())
    })
}

#[test]
fn exactly_what_was_open_is_counted_and_nobody_is_refused() {
    let (program, healthy) = (held(), Program::echo("next"));
    let mut world = World::without_proxy();
    let mut worker = Worker::start(&world, program.address);
    let mut open: Vec<Client> = (0..7).map(|_| world.client()).collect();
    for client in &mut open {
        client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(program.report(), "asked");
    }
    let mut partial = world.client();
    partial.send("GET / HT");
    until("the partial head was read", || {
        world.ledger.slots().reading == 1
    });
    worker.kill();
    for client in &mut open {
        client.rest();
        assert_eq!(program.report(), "ended");
    }
    // Nobody accepts now: these wait in the socket.
    let mut waiting: Vec<Client> = (0..10).map(|_| world.client()).collect();
    for client in &mut waiting {
        client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    }
    let dead = world.ledger.fold_dead(2);
    assert_eq!(dead.open, [(Cell(10), 7)]);
    assert_eq!((dead.reading, dead.connections), (1, 8));
    world.start_proxy();
    world.set_endpoints(&[&healthy]);
    for client in &mut waiting {
        assert_eq!(client.response().status, 200);
    }
    let totals = world.settled(10);
    assert_eq!(totals.outcome(Phase::Serving, Outcome::Killed), 7);
    assert_eq!(totals.outcome(Phase::Serving, Outcome::Status2xx), 10);
}

#[test]
fn a_worker_killed_under_load_cuts_no_more_than_was_open_in_it() {
    let program = Program::echo("one");
    let mut world = World::without_proxy();
    let mut worker = Worker::start(&world, program.address);
    world.start_proxy();
    world.set_endpoints(&[&program]);
    let address = world.address;
    let is_over = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let is_over = Arc::clone(&is_over);
            std::thread::spawn(move || {
                let mut client = Client::connect(address);
                let mut served = 0_u64;
                while !is_over.load(Ordering::Relaxed) && client.try_get() {
                    served += 1;
                }
                served
            })
        })
        .collect();
    until("requests are served", || world.cell(10).ended() > 200);
    worker.kill();
    let dead = world.ledger.fold_dead(2);
    is_over.store(true, Ordering::Relaxed);
    let served: u64 = clients
        .into_iter()
        .map(|client| client.join().unwrap())
        .sum();
    let cut: u64 = dead.open.iter().map(|(_, open)| u64::from(*open)).sum();
    assert!(cut <= u64::from(dead.connections));
    let totals = world.settled(10);
    let whole = totals.outcome(Phase::Serving, Outcome::Status2xx);
    assert!(
        whole.abs_diff(served) <= u64::from(dead.connections),
        "{whole} counted, {served} served"
    );
    assert_eq!(totals.outcome(Phase::Serving, Outcome::Killed), cut);
    assert_eq!(
        totals
            .seen()
            .filter(|(_, outcome, _)| outcome.is_error())
            .count(),
        0
    );
    let mut after = world.client();
    assert_eq!(after.get("/").status, 200);
}

/// The socket of a world's first listener, as a worker inherits it.
impl World {
    fn socket(&self) -> OwnedFd {
        OwnedFd::from(self.listeners[0].try_clone().unwrap())
    }
}
