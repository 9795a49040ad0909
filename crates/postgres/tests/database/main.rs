//! What the room does to a real PostgreSQL; a database for each test.

#![expect(clippy::unwrap_used, reason = "a failure here is the test's failure")]

mod acceptance;
mod bugs;
mod crash;
mod disk;
mod examples;
mod fill;
mod ledger;
mod limits;
mod login;
mod owner;
mod plans;
mod pool;
mod read;
mod readers;
mod replica;
mod run;
mod script;
mod shapes;
mod stand;
mod survive;
mod tls;
mod traffic;
mod unconverted;
