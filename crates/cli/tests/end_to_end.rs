//! The product as its users see it: the real binary, real processes, a client that never retries.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "end/clients.rs"]
mod clients;
#[path = "end/databases.rs"]
mod databases;
#[path = "end/deploys.rs"]
mod deploys;
#[path = "end/disk.rs"]
mod disk;
#[path = "end/faults.rs"]
mod faults;
#[path = "end/hedges.rs"]
mod hedges;
#[path = "end/instances.rs"]
mod instances;
#[path = "end/maintenance.rs"]
mod maintenance;
#[path = "end/migrations.rs"]
mod migrations;
#[path = "end/pauses.rs"]
mod pauses;
#[path = "end/project.rs"]
mod project;
#[path = "end/refusals.rs"]
mod refusals;
#[path = "end/secrets.rs"]
mod secrets;
#[path = "end/secured.rs"]
mod secured;
#[path = "end/shadows.rs"]
mod shadows;
#[path = "end/soak.rs"]
mod soak;
#[path = "end/strategies.rs"]
mod strategies;
#[path = "end/streams.rs"]
mod streams;
#[path = "end/tcp.rs"]
mod tcp;
#[path = "end/tenant.rs"]
mod tenant;
#[path = "end/upgrades.rs"]
mod upgrades;
