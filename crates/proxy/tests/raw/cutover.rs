//! Tables that change under load, drains and ends.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use traffic::{Cell, Outcome, Phase, Rejected};

use crate::world::{Client, Ended, Program, World, candidate, until};

/// Answers when it is told to, on a line of its own for each request.
fn held() -> (Program, std::sync::mpsc::Sender<()>) {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let program = Program::new(move |connection| {
        loop {
            connection.request()?;
            connection.report("asked");
            wait.lock().unwrap().recv().ok()?;
            connection.answer("held");
        }
    });
    (program, go)
}

#[test]
fn a_cutover_under_load_loses_nothing_and_the_old_endpoint_gets_nothing_more() {
    let programs = [Program::echo("a"), Program::echo("b")];
    let mut world = World::serving(&[&programs[0]]);
    let address = world.address;
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let load = |number: usize| {
            let is_over = &is_over;
            move || {
                let mut served = 0_u64;
                let mut client = Client::connect(address);
                while !is_over.load(Ordering::Relaxed) {
                    if number.is_multiple_of(2) {
                        client = Client::connect(address);
                    }
                    let response = if served.is_multiple_of(3) {
                        client.post("/", "x")
                    } else {
                        client.get("/")
                    };
                    assert_eq!(response.status, 200);
                    served += 1;
                }
                served
            }
        };
        let workers: Vec<_> = (0..6).map(|number| scope.spawn(load(number))).collect();
        for round in 0..100_u32 {
            let to = (round as usize + 1) % 2;
            world.set_service(|service| {
                service.stable = candidate(2 + round, &[&programs[to]], 10 + to as u32);
            });
            let drained = Cell(10 + (1 - to as u32));
            until("the old endpoint is drained", || {
                world.ledger.open(drained) == 0
            });
            let ended = world.ledger.cell(drained).ended();
            std::thread::sleep(Duration::from_millis(5));
            assert_eq!(
                world.ledger.cell(drained).ended(),
                ended,
                "no request after the confirmation"
            );
        }
        is_over.store(true, Ordering::Relaxed);
        let served: u64 = workers
            .into_iter()
            .map(|worker| worker.join().unwrap())
            .sum();
        until("all are counted", || {
            let ok = |cell| world.cell(cell).outcome(Phase::Serving, Outcome::Status2xx);
            ok(10) + ok(11) == served
        });
        assert_eq!(world.service().requests, served);
        assert_eq!(
            world.cell(10).seen().count() + world.cell(11).seen().count(),
            2
        );
    });
}

#[test]
fn a_request_in_flight_ends_where_it_began_and_keeps_its_endpoint_open_until_then() {
    let (old, go) = held();
    let new = Program::echo("new");
    let mut world = World::serving(&[&old]);
    let mut client = world.client();
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    old.report();
    world.set_service(|service| service.stable = candidate(2, &[&new], 20));
    assert_eq!(world.open(10), 1);
    assert!(world.client().get("/").text().starts_with("new"));
    go.send(()).unwrap();
    assert_eq!(client.response().text(), "held");
    assert!(client.get("/").text().starts_with("new"));
    world.expect_outcomes(10, &[(Outcome::Status2xx, 1)]);
}

#[test]
fn idle_connections_to_an_old_endpoint_are_closed_before_the_table_is_confirmed() {
    let old = Program::new(|connection| {
        connection.request()?;
        connection.answer("old");
        connection.wait_for_end();
        connection.report("closed");
        Some(())
    });
    let new = Program::echo("new");
    let mut world = World::serving(&[&old]);
    world.client().get("/");
    world.set_service(|service| service.stable = candidate(2, &[&new], 20));
    assert_eq!(old.report(), "closed");
}

#[test]
fn a_long_upload_outlives_the_beginning_of_a_drain() {
    let old = Program::echo("old");
    let new = Program::echo("new");
    let mut world = World::serving(&[&old]);
    let mut client = world.client();
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 8\r\n\r\nhalf");
    until("it is open", || world.open(10) == 1);
    world.set_service(|service| service.stable = candidate(2, &[&new], 20));
    world.ledger.set_told(Cell(10), true);
    client.send("rest");
    assert_eq!(client.response().text(), "old: POST / HTTP/1.1 [halfrest]");
    until("it is counted", || {
        world.cell(10).outcome(Phase::Told, Outcome::Status2xx) == 1
    });
}

#[test]
fn what_is_open_at_the_drain_limit_is_cut_and_counted() {
    let (old, _go) = held();
    let mut world = World::serving(&[&old]);
    let mut client = world.client();
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    old.report();
    world.set_endpoints(&[]);
    world.ledger.set_told(Cell(10), true);
    world.proxy().cut(Cell(10));
    let response = client.response();
    assert_eq!(
        (response.status, response.header("x-gapless-error")),
        (502, Some("cut"))
    );
    assert_eq!(response.header("connection"), Some("close"));
    client.half_close();
    assert_eq!(client.rest(), (Vec::new(), crate::world::Ended::Cleanly));
    until("it is counted", || {
        world.cell(10).outcome(Phase::Told, Outcome::Cut) == 1
    });
    assert_eq!(world.open(10), 0);
    assert_eq!(world.service().rejected(Rejected::Cut), 1);
}

#[test]
fn a_response_cut_in_its_middle_never_looks_whole() {
    let old = Program::new(|connection| {
        connection.request()?;
        connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")?;
        connection.wait_for_end();
        Some(())
    });
    let world = World::serving(&[&old]);
    let mut client = world.client();
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    client.read_to(b"abc\r\n");
    world.proxy().cut(Cell(10));
    assert_eq!(client.rest(), (Vec::new(), Ended::Reset));
    world.expect_outcomes(10, &[(Outcome::Cut, 1)]);
}

#[test]
fn a_failure_after_the_endpoint_was_told_is_counted_as_such() {
    let old = Program::new(|connection| {
        connection.request()?;
        connection.report("asked");
        connection.read_to(b"never");
        Some(())
    });
    let dying = Program::new(|connection| {
        connection.request()?;
        connection.report("asked");
        std::thread::sleep(Duration::from_millis(100));
        Some(())
    });
    drop(old);
    let world = World::serving(&[&dying]);
    let mut client = world.client();
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    dying.report();
    world.ledger.set_told(Cell(10), true);
    assert_eq!(client.response().status, 502);
    until("it is counted", || {
        world.cell(10).outcome(Phase::Told, Outcome::NoResponse) == 1
    });
}

#[test]
fn a_draining_worker_says_close_on_its_last_response_and_never_closes_an_idle_connection() {
    let program = Program::echo("one");
    let world = World::serving(&[&program]);
    let mut busy = world.client();
    let mut idle = world.client();
    assert_eq!(busy.get("/").header("connection"), None);
    assert_eq!(idle.get("/").header("connection"), None);
    world.proxy().drain(Duration::from_secs(60));
    let last = busy.get("/");
    assert_eq!(
        (last.status, last.header("connection")),
        (200, Some("close"))
    );
    assert_eq!(busy.rest(), (Vec::new(), Ended::Cleanly));
    assert!(idle.is_silent_for(Duration::from_millis(300)));
    assert!(!world.proxy().is_ended());
    assert_eq!(idle.get("/").header("connection"), Some("close"));
    until("the worker has ended", || world.proxy().is_ended());
}

/// True if a new connection's request gets no answer.
fn is_left_waiting(address: std::net::SocketAddr) -> bool {
    let mut client = Client::connect(address);
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    client.is_silent_for(Duration::from_millis(200))
}

#[test]
fn a_draining_worker_accepts_nothing_more_and_still_follows_tables() {
    let (old, new) = (Program::echo("old"), Program::echo("new"));
    let mut world = World::serving(&[&old]);
    let mut client = world.client();
    client.get("/");
    world.proxy().drain(Duration::from_secs(60));
    until("nothing more is accepted", || {
        is_left_waiting(world.address)
    });
    world.set_service(|service| service.stable = candidate(2, &[&new], 20));
    assert!(client.get("/").text().starts_with("new"));
}

#[test]
fn a_stop_lets_open_requests_end_and_closes_idle_connections() {
    let (program, go) = held();
    let mut world = World::serving(&[&program]);
    let mut idle = world.client();
    idle.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    program.report();
    go.send(()).unwrap();
    assert_eq!(idle.response().text(), "held");
    let mut busy = world.client();
    busy.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    program.report();
    let release = std::thread::spawn(move || {
        assert_eq!(idle.rest(), (Vec::new(), Ended::Cleanly));
        go.send(()).unwrap();
    });
    world.stop();
    release.join().unwrap();
    assert_eq!(busy.response().text(), "held");
    assert!(
        world.ledger.generations().is_empty(),
        "the slot was given back"
    );
}

#[test]
fn a_stop_cuts_what_does_not_end_in_time() {
    let (program, _go) = held();
    let mut world = World::serving(&[&program]);
    let mut client = world.client();
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    program.report();
    world.stop_within(Duration::from_millis(100));
    assert_eq!(client.rest(), (Vec::new(), Ended::Reset));
    assert_eq!(world.cell(10).outcome(Phase::Serving, Outcome::Cut), 1);
    assert_eq!(world.open(10), 0);
}

#[test]
fn listeners_come_and_go_while_others_serve() {
    let program = Program::echo("one");
    let mut world = World::serving(&[&program]);
    let second = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = second.local_addr().unwrap();
    world.proxy().listen(
        0,
        (address, traffic::ListenerKind::Http),
        OwnedFd::from(second.try_clone().unwrap()),
    );
    world.publish(|table| {
        let mut listener = table.listeners[0].clone();
        listener.address = address;
        table.listeners.push(listener);
    });
    let mut client = Client::connect(address);
    assert_eq!(client.get("/").status, 200);
    world.proxy().unlisten(address);
    until("nothing more is accepted there", || {
        is_left_waiting(address)
    });
    assert_eq!(client.get("/").status, 200, "a connection stays");
    assert_eq!(world.client().get("/").status, 200);
}

#[test]
fn an_older_table_is_ignored() {
    let (old, new) = (Program::echo("old"), Program::echo("new"));
    let mut world = World::serving(&[&old]);
    let before = std::sync::Arc::new(world.table.clone());
    world.set_service(|service| service.stable = candidate(2, &[&new], 20));
    world.proxy().publish(&before);
    let mut client = world.client();
    assert!((0..20).all(|_| client.get("/").text().starts_with("new")));
}

#[test]
fn every_thread_follows_and_confirms_a_table() {
    let (old, new) = (Program::echo("old"), Program::echo("new"));
    let mut world = World::with_threads(3, proxy::Settings::default());
    world.set_endpoints(&[&old]);
    let mut clients: Vec<_> = (0..30).map(|_| world.client()).collect();
    assert!(
        clients
            .iter_mut()
            .all(|client| client.get("/").text().starts_with("old"))
    );
    world.set_service(|service| service.stable = candidate(2, &[&new], 20));
    assert!(
        clients
            .iter_mut()
            .all(|client| client.get("/").text().starts_with("new"))
    );
    until("all are counted", || world.cell(20).ended() == 30);
    assert_eq!(world.settled(10).ended(), 30);
    assert_eq!(world.ledger.slots().connections, 30);
}
