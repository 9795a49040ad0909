//! What the fuzz targets run and how they make their inputs, shared with the seeded test on
//! stable in `crates/http1/tests/fuzz_smoke.rs`.

#[expect(
    dead_code,
    reason = "what the generated messages mean is for other tests"
)]
#[path = "../crates/http1/tests/support/mod.rs"]
mod support;

mod configuration;

use support::{checks, message, seed::Seed};

/// One fuzz target.
#[derive(Clone, Copy)]
pub enum Target {
    /// A request's head.
    RequestHead,
    /// A response's head, after a byte that chooses method and client.
    ResponseHead,
    /// A chunked body.
    ChunkedBody,
    /// Pipelined requests, after eight bytes that choose the split.
    SplitInvariance,
    /// The PROXY protocol's beginning of a connection.
    Introduction,
    /// A `gapless.toml`.
    Configuration,
}

impl Target {
    /// Checks the promises on `data`.
    pub fn check(self, data: &[u8]) {
        match self {
            Self::RequestHead => checks::request_head(data),
            Self::ResponseHead => checks::response_head(data),
            Self::ChunkedBody => checks::chunked_body(data),
            Self::SplitInvariance => checks::split_invariance(data),
            Self::Introduction => checks::introduction(data),
            Self::Configuration => configuration::check(data),
        }
    }

    /// Changes the first `size` bytes of `data`, which has room for more, and returns how many
    /// there are then: sometimes a new valid input, sometimes one broken where it hurts, else
    /// what libFuzzer makes of it.
    pub fn mutate(self, data: &mut [u8], size: usize, seed: u32) -> usize {
        let room = data.len();
        let mut seed = Seed(u64::from(seed));
        let bytes = match seed.below(16) {
            0 => self.valid(&mut seed),
            1..6 if matches!(self, Self::Configuration) => {
                configuration::mutate(&mut seed, &data[..size])
            }
            1..6 => {
                let mut bytes = data[..size].to_vec();
                message::mutate(&mut seed, &mut bytes);
                bytes
            }
            _ => return libfuzzer_sys::fuzzer_mutate(data, size, room),
        };
        let size = bytes.len().min(room);
        data[..size].copy_from_slice(&bytes[..size]);
        size
    }

    fn valid(self, seed: &mut Seed) -> Vec<u8> {
        match self {
            Self::RequestHead => {
                let request = message::request(seed);
                request.bytes[..request.head_bytes].to_vec()
            }
            Self::ResponseHead => {
                let response = message::response(seed);
                [&[seed.bits() as u8], &response.bytes[..response.head_bytes]].concat()
            }
            Self::ChunkedBody => loop {
                let message = message::request(seed);
                if message.body == message::Body::Chunked {
                    return message.bytes[message.head_bytes..].to_vec();
                }
            },
            Self::Introduction => {
                let version = if seed.one_in(2) {
                    http1::IntroductionVersion::V1
                } else {
                    http1::IntroductionVersion::V2
                };
                let end = |seed: &mut Seed| {
                    let address = std::net::Ipv6Addr::from_bits(u128::from(seed.bits()));
                    (address, seed.bits() as u16).into()
                };
                let mut bytes = Vec::new();
                let ends = (end(seed), end(seed));
                http1::write_introduction(version, ends, &mut bytes);
                bytes
            }
            Self::Configuration => configuration::EVERYTHING.as_bytes().to_vec(),
            Self::SplitInvariance => {
                let choice = seed.bits().to_le_bytes();
                [
                    &choice[..],
                    &message::request(seed).bytes,
                    &message::request(seed).bytes,
                ]
                .concat()
            }
        }
    }
}
