//! Clients and programs that do anything at all, many at a time: nothing panics, nothing stays
//! open, every request ends with exactly one outcome, and no bad response looks whole.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use traffic::{Effect, Outcome, Rejected};

use crate::world::{Program, World, until};

/// A small generator, so that a seed replays what each side did.
struct Random(u64);

impl Random {
    fn below(&mut self, below: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len() as u64) as usize]
    }
}

const ANSWERS: &[&str] = &[
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhole",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nwhole\r\n0\r\n\r\n",
    "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhole",
    "HTTP/1.1 204 No Content\r\n\r\n",
    "HTTP/1.1 500 Oops\r\nContent-Length: 5\r\nConnection: close\r\n\r\nwhole",
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwholeTOO MUCH",
];
const BROKEN: &[&str] = &[
    "",
    "HTTP/1.1 2",
    "garbage\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nbroken",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nbroken\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nbroken\r\nxyz",
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
];
const REQUESTS: &[&str] = &[
    "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
    "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello",
    "PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "GET / HTTP/1.0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello",
    "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\n",
];
const NONSENSE: &[&str] = &[
    "\0\0\0\0",
    "GET / HTTP/1.1\n\n",
    "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhe",
    "PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nq\r\n",
    "GET / HT",
    "",
];

fn wild_program(seed: u64) -> Program {
    let seeds = AtomicU64::new(seed);
    Program::new(move |connection| {
        let mut random = Random(seeds.fetch_add(1, Ordering::Relaxed));
        loop {
            if random.below(4) > 0 {
                connection.request()?;
            } else {
                connection.head()?;
            }
            if random.below(3) > 0 {
                connection.send(random.pick(ANSWERS))?;
                continue;
            }
            connection.send(random.pick(BROKEN))?;
            if random.below(2) == 0 {
                connection.reset();
            }
            return None;
        }
    })
}

/// One connection of a client that does anything; every wait is short.
fn wild_client(address: SocketAddr, seed: u64) {
    let mut random = Random(seed);
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_millis(40)))
        .unwrap();
    for _ in 0..1 + random.below(6) {
        let sent = if random.below(5) == 0 {
            random.pick(NONSENSE)
        } else {
            random.pick(REQUESTS)
        };
        let cut = if random.below(4) == 0 {
            random.below(sent.len() as u64 + 1) as usize
        } else {
            sent.len()
        };
        if stream.write_all(&sent.as_bytes()[..cut]).is_err() {
            return;
        }
        if random.below(4) > 0 {
            let mut bytes = [0; 4_096];
            if let Ok(0) = stream.read(&mut bytes) {
                return;
            }
        }
    }
    match random.below(3) {
        0 => drop(stream.shutdown(Shutdown::Write)),
        1 => drop(rustix::net::sockopt::set_socket_linger(
            &stream,
            Some(Duration::ZERO),
        )),
        _ => {}
    }
}

#[test]
fn every_request_ends_exactly_once_whatever_happens() {
    for seed in 1..=4_u64 {
        let programs = [1, 2, 3].map(|number| wild_program(seed * 1_000_000 + number * 10_000));
        let mut world = World::serving(&[&programs[0], &programs[1], &programs[2]]);
        world.set_service(|service| {
            service.limits.response_timeout = Duration::from_millis(300);
            service.limits.idle_timeout = Duration::from_millis(300);
        });
        let address = world.address;
        std::thread::scope(|scope| {
            for lane in 0..16_u64 {
                scope.spawn(move || {
                    for number in 0..60 {
                        wild_client(address, seed * 7_919 + lane * 1_000 + number);
                    }
                });
            }
        });
        until("every connection has ended", || {
            world.ledger.slots().connections == 0
        });
        let totals = [10, 11, 12].map(|cell| world.settled(cell));
        let count = |of: &dyn Fn(Outcome, Effect) -> bool| -> u64 {
            let seen = totals.iter().flat_map(|totals| totals.seen());
            seen.filter(|(phase, outcome, _)| of(*outcome, outcome.effect(*phase)))
                .map(|(_, _, count)| count)
                .sum()
        };
        let ended = count(&|_, effect| effect != Effect::Repeated && effect != Effect::None);
        let service = world.service();
        assert_eq!(ended, service.requests, "seed {seed}: {totals:?}");
        let failed =
            count(&|outcome, _| matches!(outcome, Outcome::NoResponse | Outcome::ConnectFailed));
        let answered = service.rejected(Rejected::NoResponse) + service.rejected(Rejected::Connect);
        assert_eq!(failed, answered, "seed {seed}");
        assert!(
            count(&|outcome, _| outcome == Outcome::Truncated) > 0,
            "seed {seed} is wild enough"
        );
        assert_eq!(world.ledger.slots().reading, 0);
        assert_eq!(world.ledger.waiting(crate::world::SERVICE), 0);
    }
}
