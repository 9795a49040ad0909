//! Runs migration plans on PostgreSQL.
//!
//! What a plan holds is decided in `migration`; here it is done to a database that programs use
//! meanwhile: nobody waits longer than the lock timeout because of us, and whatever ends the
//! process, the next one carries on from what the database says was done.

mod connection;
mod error;
pub mod read;
mod tls;
mod url;

pub use connection::Connection;
pub use error::DatabaseError;
pub use url::{Encryption, Url};
