//! Endpoints that may be given only so much, and requests that wait for a place there.

use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use model::{EndpointLimits, Queue};
use proxy::Settings;
use rustix::net::RecvFlags;
use traffic::{Outcome, Rejected};

use crate::world::{Client, GUARD, Program, SERVICE, World, until};

fn limits(length_max: u32) -> EndpointLimits {
    EndpointLimits {
        connections_max: None,
        requests_max: Some(1),
        queue: Queue {
            length_max,
            wait: Duration::from_secs(3_600),
        },
    }
}

fn limited(mut world: World, programs: &[&Program], limits: EndpointLimits) -> World {
    world.set_endpoints(programs);
    world.set_service(|service| service.delivery.limits = Some(limits));
    world
}

/// A program that answers a request only once it is let, and notes how many it had at a time.
#[derive(Clone, Default)]
struct Gate {
    let_go: Arc<(Mutex<usize>, Condvar)>,
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Gate {
    fn program(&self) -> Program {
        let gate = self.clone();
        Program::new(move |connection| {
            loop {
                let (head, _) = connection.request()?;
                let now = gate.now.fetch_add(1, Ordering::SeqCst) + 1;
                gate.most.fetch_max(now, Ordering::SeqCst);
                connection.report(head.lines().next().unwrap());
                let (count, changed) = &*gate.let_go;
                let left = count.lock().unwrap();
                let mut left = changed.wait_while(left, |left| *left == 0).unwrap();
                *left -= 1;
                drop(left);
                gate.now.fetch_sub(1, Ordering::SeqCst);
                connection.answer("done");
            }
        })
    }

    fn let_go(&self, count: usize) {
        *self.let_go.0.lock().unwrap() += count;
        self.let_go.1.notify_all();
    }
}

fn asking(world: &World, path: &str) -> Client {
    let mut client = world.client();
    client.send(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n"));
    client
}

fn waiting(world: &World, count: u64) {
    until("they wait", || world.ledger.waiting(SERVICE) == count);
}

#[test]
fn requests_wait_for_a_place_and_get_it_in_the_order_in_which_they_came() {
    let gate = Gate::default();
    let program = gate.program();
    let world = limited(World::without_table(), &[&program], limits(10));
    let mut clients = vec![asking(&world, "/0")];
    assert_eq!(program.report(), "GET /0 HTTP/1.1");
    for number in 1..=5 {
        clients.push(asking(&world, &format!("/{number}")));
        waiting(&world, number);
    }
    for (number, client) in clients.iter_mut().enumerate() {
        if number > 0 {
            assert_eq!(program.report(), format!("GET /{number} HTTP/1.1"));
        }
        assert_eq!(world.open(10), 1);
        gate.let_go(1);
        assert_eq!(client.response().status, 200);
    }
    assert_eq!(gate.most.load(Ordering::SeqCst), 1);
    assert_eq!(program.connections(), 1);
    world.expect_outcomes(10, &[(Outcome::Status2xx, 6)]);
}

#[test]
fn a_full_queue_answers_at_once_and_a_client_that_leaves_frees_its_place() {
    let gate = Gate::default();
    let program = gate.program();
    let world = limited(World::without_table(), &[&program], limits(2));
    let mut first = asking(&world, "/first");
    program.report();
    let gone = asking(&world, "/gone");
    waiting(&world, 1);
    let mut second = asking(&world, "/second");
    waiting(&world, 2);
    let refused = world.client().get("/refused");
    assert_eq!(refused.status, 503);
    assert_eq!(refused.header("x-gapless-error"), Some("queue_full"));
    assert_eq!(refused.header("retry-after"), Some("1"));
    drop(gone);
    waiting(&world, 1);
    let mut third = asking(&world, "/third");
    waiting(&world, 2);
    gate.let_go(3);
    for client in [&mut first, &mut second, &mut third] {
        assert_eq!(client.response().status, 200);
    }
    world.expect_outcomes(10, &[(Outcome::Status2xx, 3)]);
    let service = world.service();
    assert_eq!((service.requests, service.queue_left), (5, 1));
    assert_eq!(service.rejected(Rejected::QueueFull), 1);
}

#[test]
fn who_has_waited_for_too_long_is_answered() {
    let gate = Gate::default();
    let program = gate.program();
    let mut short = limits(2);
    short.queue.wait = Duration::from_millis(200);
    let world = limited(World::without_table(), &[&program], short);
    let mut first = asking(&world, "/first");
    program.report();
    let late = world.client().get("/late");
    assert_eq!(late.status, 503);
    assert_eq!(late.header("x-gapless-error"), Some("queue_timeout"));
    assert_eq!(late.header("retry-after"), Some("1"));
    gate.let_go(1);
    assert_eq!(first.response().status, 200);
    assert_eq!(world.service().rejected(Rejected::QueueTimeout), 1);
    assert_eq!(world.ledger.waiting(SERVICE), 0);
}

#[test]
fn a_request_over_http2_waits_like_any_other() {
    let gate = Gate::default();
    let program = gate.program();
    let world = limited(World::without_table(), &[&program], limits(2));
    let mut first = asking(&world, "/first");
    program.report();
    let mut preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    // HEADERS of stream 1 with END_STREAM and END_HEADERS: GET, http, /, and the authority `h`.
    preface.extend_from_slice(b"\0\0\x06\x01\x05\0\0\0\x01\x82\x86\x84\x41\x01h");
    let mut second = world.client();
    second.send(preface);
    waiting(&world, 1);
    gate.let_go(2);
    assert_eq!(first.response().status, 200);
    second.read_to(b"done");
    world.expect_outcomes(10, &[(Outcome::Status2xx, 2)]);
}

#[test]
fn a_new_endpoint_takes_those_that_wait() {
    let gate = Gate::default();
    let (full, new) = (gate.program(), Program::echo("new"));
    let mut world = limited(World::without_table(), &[&full], limits(10));
    let mut first = asking(&world, "/first");
    full.report();
    let mut others: Vec<Client> = (0..4).map(|_| asking(&world, "/")).collect();
    waiting(&world, 4);
    world.set_endpoints(&[&full, &new]);
    for other in &mut others {
        assert_eq!(other.response().text(), "new: GET / HTTP/1.1 []");
    }
    gate.let_go(1);
    assert_eq!(first.response().status, 200);
}

#[test]
fn a_stale_connection_is_no_reason_to_wait_for_oneself() {
    let program = Program::new(|connection| {
        connection.request()?;
        connection.answer("once");
        connection.request()?;
        None
    });
    let mut one = limits(10);
    one.connections_max = Some(1);
    let world = limited(World::without_table(), &[&program], one);
    let mut client = world.client();
    assert_eq!(client.get("/").text(), "once");
    assert_eq!(client.get("/").text(), "once", "on another connection");
    assert_eq!(program.connections(), 2);
}

fn is_ended(stream: &TcpStream) -> bool {
    let peek = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    match rustix::net::recv(stream, &mut [0_u8; 1], peek) {
        Ok((_, bytes)) => bytes == 0,
        Err(error) => error != rustix::io::Errno::AGAIN,
    }
}

#[test]
fn an_endpoint_has_no_more_connections_than_it_may_whoever_asks() {
    let open: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
    let (all, too_many) = (Arc::clone(&open), Arc::new(AtomicBool::new(false)));
    let found = Arc::clone(&too_many);
    let program = Program::new(move |connection| {
        let mut open = all.lock().unwrap();
        open.push(connection.stream.try_clone().unwrap());
        // The end of another one may be seen a moment after this one's beginning.
        let begun = Instant::now();
        while open.len() > 2 && begun.elapsed() < GUARD {
            open.retain(|stream| !is_ended(stream));
        }
        found.fetch_or(open.len() > 2, Ordering::SeqCst);
        drop(open);
        loop {
            connection.request()?;
            connection.answer("done");
        }
    });
    let bound = EndpointLimits {
        connections_max: Some(2),
        requests_max: None,
        ..limits(1_000)
    };
    let threads = World::with_threads(3, Settings::default());
    let world = limited(threads, &[&program], bound);
    std::thread::scope(|scope| {
        for number in 0..12 {
            let world = &world;
            scope.spawn(move || {
                for round in 0..30 {
                    let mut client = world.client();
                    let response = if (number + round) % 3 == 0 {
                        client.post("/", "body")
                    } else {
                        client.get("/")
                    };
                    assert_eq!(response.status, 200);
                }
            });
        }
    });
    assert!(!too_many.load(Ordering::SeqCst));
    world.expect_outcomes(10, &[(Outcome::Status2xx, 360)]);
}

#[test]
fn threads_together_give_an_endpoint_no_more_than_it_may_have_and_lose_nothing() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counted = (Arc::clone(&now), Arc::clone(&most));
    let program = Program::new(move |connection| {
        let (now, most) = &counted;
        loop {
            connection.request()?;
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::yield_now();
            now.fetch_sub(1, Ordering::SeqCst);
            connection.answer("done");
        }
    });
    let bound = EndpointLimits {
        requests_max: Some(2),
        ..limits(1_000)
    };
    let threads = World::with_threads(3, Settings::default());
    let world = limited(threads, &[&program], bound);
    std::thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| {
                let mut client = world.client();
                for _ in 0..50 {
                    assert_eq!(client.get("/").status, 200);
                }
            });
        }
    });
    assert!(most.load(Ordering::SeqCst) <= 2, "{most:?}");
    world.expect_outcomes(10, &[(Outcome::Status2xx, 600)]);
    assert_eq!(world.ledger.waiting(SERVICE), 0);
}
