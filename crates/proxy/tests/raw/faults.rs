//! Networks and peers that fail in every phase, on either side: what clients count and what the
//! ledger counts is the same, reason by reason.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use proxy::Settings;
use traffic::{Effect, Outcome, Rejected};

use crate::world::faulty::{Fault, Faulty};
use crate::world::{GUARD, Program, SERVICE, World, candidate_at, until};

/// The bytes of a response and of a request here, about.
const EXCHANGE_BYTES: u64 = 300;
const REQUEST: &str = "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
const LANES: u64 = 8;
const EACH: u64 = 30;

/// A number that looks like nothing, by a seed and another number.
fn mixed(seed: u64, number: u64) -> u64 {
    let mixed = (seed << 32 | number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^ (mixed >> 32)
}

/// What a client sees of one request: a status with the proxy's reason, or no whole response.
fn seen(address: SocketAddr) -> String {
    let Ok(mut stream) = TcpStream::connect(address) else {
        return "refused".to_owned();
    };
    stream.set_read_timeout(Some(GUARD)).unwrap();
    let mut response = Vec::new();
    let _ = stream.write_all(REQUEST.as_bytes());
    let _ = stream.read_to_end(&mut response);
    let response = String::from_utf8_lossy(&response).into_owned();
    let Some((head, body)) = response.split_once("\r\n\r\n") else {
        return "broken".to_owned();
    };
    let head = head.to_ascii_lowercase();
    let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
    let length: Option<usize> = field("content-length: ").and_then(|text| text.parse().ok());
    if length != Some(body.len()) {
        return "broken".to_owned();
    }
    let reason = field("x-gapless-error: ");
    let status = head.split(' ').nth(1).unwrap_or_default();
    reason.map_or_else(|| status.to_owned(), str::to_owned)
}

/// What all clients see, by how often.
fn ask(address: SocketAddr) -> BTreeMap<String, u64> {
    let lanes: Vec<Vec<String>> = std::thread::scope(|scope| {
        let lane = |_| scope.spawn(move || (0..EACH).map(|_| seen(address)).collect());
        let lanes: Vec<_> = (0..LANES).map(lane).collect();
        lanes.into_iter().map(|lane| lane.join().unwrap()).collect()
    });
    let mut counts = BTreeMap::new();
    for what in lanes.into_iter().flatten() {
        *counts.entry(what).or_default() += 1;
    }
    counts
}

/// A program that ends each connection after its second answer, so that there are many.
fn program() -> Program {
    let body = "x".repeat(200);
    Program::new(move |connection| {
        for end in ["", "Connection: close\r\n"] {
            connection.request()?;
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: 200\r\n{end}\r\n");
            connection.send(head + &body)?;
        }
        None
    })
}

fn impatient(world: &mut World) {
    world.set_service(|service| {
        service.limits.response_timeout = Duration::from_millis(300);
        service.limits.idle_timeout = Duration::from_millis(300);
    });
}

/// How often each outcome was, once nothing is open.
fn outcomes(world: &World, cell: u32) -> impl Fn(Outcome) -> u64 {
    until("every connection has ended", || {
        world.ledger.slots().connections == 0
    });
    let totals = world.settled(cell);
    let service = world.service();
    let ended = totals.with_effect(|effect| !matches!(effect, Effect::Repeated | Effect::None));
    assert_eq!(ended, service.requests, "{totals:?}");
    assert_eq!(world.ledger.waiting(SERVICE), 0);
    assert_eq!(world.ledger.slots().reading, 0);
    move |outcome| {
        let phases = totals.outcomes.iter();
        phases.map(|phase| phase[outcome.index()]).sum()
    }
}

#[test]
fn whatever_happens_between_proxy_and_program_the_client_counts_what_the_ledger_counts() {
    for seed in 1..=2 {
        let program = program();
        let faulty = Faulty::before(program.address, move |number| {
            let number = mixed(seed, number);
            let (up, down) = (number, mixed(number, seed));
            (
                Fault::drawn(up, EXCHANGE_BYTES),
                Fault::drawn(down, EXCHANGE_BYTES),
            )
        });
        let mut world = World::serving(&[]);
        impatient(&mut world);
        world.set_service(|service| {
            service.stable = candidate_at(1, std::iter::once(faulty.address), 10);
        });
        let counts = ask(world.address);
        let outcome = outcomes(&world, 10);
        let client = |what: &str| counts.get(what).copied().unwrap_or(0);
        let rejected = |why| world.service().rejected(why);
        let replay = format!("seed {seed}: {counts:?}");
        assert_eq!(client("200"), outcome(Outcome::Status2xx), "{replay}");
        assert_eq!(
            client("no_response"),
            outcome(Outcome::NoResponse),
            "{replay}"
        );
        for (what, why) in [
            ("no_response", Rejected::NoResponse),
            ("bad_response", Rejected::BadResponse),
            ("timeout", Rejected::Timeout),
            ("connect", Rejected::Connect),
        ] {
            assert_eq!(client(what), rejected(why), "{what}, {replay}");
        }
        let begun = outcome(Outcome::Truncated) + outcome(Outcome::Timeout)
            - rejected(Rejected::Timeout)
            + outcome(Outcome::BadResponse)
            - rejected(Rejected::BadResponse);
        assert_eq!(client("broken"), begun, "{replay}");
        assert_eq!(counts.values().sum::<u64>(), LANES * EACH, "{replay}");
        assert!(faulty.struck() > 10, "{replay}");
    }
}

#[test]
fn whatever_happens_between_client_and_proxy_every_request_that_came_has_one_end() {
    for seed in 1..=2 {
        let program = program();
        let mut world = World::with_settings(Settings {
            head_timeout: Duration::from_secs(2),
            ..Settings::default()
        });
        world.set_endpoints(&[&program]);
        impatient(&mut world);
        let faulty = Faulty::before(world.address, move |number| {
            let number = mixed(seed, number);
            let (up, down) = (number, mixed(number, seed));
            (
                Fault::drawn(up, REQUEST.len() as u64),
                Fault::drawn(down, EXCHANGE_BYTES),
            )
        });
        let counts = ask(faulty.address);
        let outcome = outcomes(&world, 10);
        let client = |what: &str| counts.get(what).copied().unwrap_or(0);
        let replay = format!("seed {seed}: {counts:?}, {} struck", faulty.struck());
        let answered = outcome(Outcome::Status2xx);
        assert!(client("200") <= answered, "{replay}: {answered}");
        let missing = LANES * EACH - client("200");
        assert!(missing <= faulty.struck(), "{replay}");
        assert!(answered - client("200") <= missing, "{replay}: {answered}");
        assert_eq!(
            answered + outcome(Outcome::ClientGone),
            world.service().requests,
            "{replay}"
        );
        assert!(faulty.struck() > 10, "{replay}");
    }
}
