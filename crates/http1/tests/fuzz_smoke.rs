//! The fuzz targets on a bounded number of seeded cases, on the stable toolchain.
//!
//! `FUZZ_SEED` and `FUZZ_CASES` choose others; a failure prints the seed that replays it.

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};

use http1::IntroductionVersion;
use support::{checks, message, seed::Seed, strict};

/// The seed of the first case when none is given.
const FIRST_SEED: u64 = 0x6761_706c_6573_7300;

#[expect(
    clippy::disallowed_methods,
    reason = "a person chooses other cases by the environment"
)]
fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    Some(parsed.expect("a number"))
}

fn run(cases: u64, case: impl Fn(&mut Seed)) {
    let first = number("FUZZ_SEED").unwrap_or(FIRST_SEED);
    for at in 0..number("FUZZ_CASES").unwrap_or(cases) {
        let seed = first.wrapping_add(at);
        let outcome = catch_unwind(AssertUnwindSafe(|| case(&mut Seed(seed))));
        assert!(
            outcome.is_ok(),
            "replay with FUZZ_SEED={seed:#x} FUZZ_CASES=1"
        );
    }
}

fn broken(seed: &mut Seed, mut bytes: Vec<u8>) -> Vec<u8> {
    if !seed.one_in(4) {
        message::mutate(seed, &mut bytes);
    }
    bytes
}

#[test]
fn generated_messages_are_what_they_say() {
    run(2_000, |seed| {
        let message = message::request(seed);
        let head = strict::head(&message.bytes).expect("a strict head");
        assert_eq!(head.bytes, message.head_bytes);
        for (name, value) in &message.fields {
            assert_eq!(head.all(name), [value.as_bytes()]);
        }
        let body = &message.bytes[message.head_bytes..];
        if message.body == message::Body::Chunked {
            let body = strict::chunked(body).expect("a strict body");
            assert_eq!(body.payload, message.payload);
            assert_eq!(body.trailers.len(), message.trailers.len());
        } else {
            assert_eq!(body, message.payload);
        }
    });
}

#[test]
fn request_heads_hold_their_promises() {
    run(20_000, |seed| {
        let request = message::request(seed);
        let data = broken(seed, request.bytes[..request.head_bytes].to_vec());
        checks::request_head(&data);
    });
}

#[test]
fn response_heads_hold_their_promises() {
    run(20_000, |seed| {
        let response = message::response(seed);
        let mut data = vec![seed.bits() as u8];
        data.extend(broken(seed, response.bytes[..response.head_bytes].to_vec()));
        checks::response_head(&data);
    });
}

#[test]
fn chunked_bodies_hold_their_promises() {
    run(20_000, |seed| {
        let message = message::request(seed);
        let wire = match message.body {
            message::Body::Chunked => message.bytes[message.head_bytes..].to_vec(),
            message::Body::Absent | message::Body::Length | message::Body::UntilClose => {
                b"5\r\nhello\r\n0\r\n\r\n".to_vec()
            }
        };
        checks::chunked_body(&broken(seed, wire));
    });
}

#[test]
fn introductions_hold_their_promises() {
    run(20_000, |seed| {
        let version = if seed.one_in(2) {
            IntroductionVersion::V1
        } else {
            IntroductionVersion::V2
        };
        let end = |seed: &mut Seed| {
            let address = std::net::Ipv4Addr::from_bits(seed.bits() as u32);
            (address, seed.bits() as u16).into()
        };
        let ends = (end(seed), end(seed));
        let mut data = Vec::new();
        http1::write_introduction(version, ends, &mut data);
        checks::introduction(&broken(seed, data));
    });
}

#[test]
fn conversations_do_not_depend_on_the_split() {
    run(10_000, |seed| {
        let mut data = seed.bits().to_le_bytes().to_vec();
        let mut wire = Vec::new();
        for _ in 0..=seed.below(3) {
            wire.extend(message::request(seed).bytes);
        }
        data.extend(broken(seed, wire));
        checks::split_invariance(&data);
    });
}

#[test]
fn random_bytes_hold_the_promises() {
    run(20_000, |seed| {
        let bytes = seed.below(200);
        let data: Vec<u8> = (0..bytes)
            .map(|_| {
                if seed.one_in(3) {
                    seed.pick(b"\r\n :;0aGET/H")
                } else {
                    seed.bits() as u8
                }
            })
            .collect();
        checks::request_head(&data);
        checks::response_head(&data);
        checks::chunked_body(&data);
        checks::split_invariance(&data);
    });
}
