//! Whole rollouts in a small world, strategy by strategy.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod blue_green;
mod canary;
mod draws;
mod orders;
mod plans;
mod properties;
mod recreate;
mod returning;
mod rollback;
mod rolling;
mod shadow;
mod world;
