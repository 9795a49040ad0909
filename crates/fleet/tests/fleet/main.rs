//! What a fleet does, rule by rule, and in a random but valid world.

#![expect(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

mod bench;
mod drains;
mod exclusive;
mod fails;
mod health;
mod lives;
mod recovers;
mod replaces;
mod weights;
mod world;
