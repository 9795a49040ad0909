//! Real servers, workers and children, killed at every turn.
#![expect(
    clippy::unwrap_used,
    reason = "a test's helpers fail as its assertions do"
)]

mod activation;
mod children;
mod stage;
mod upgrades;
mod workers;
