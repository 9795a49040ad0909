//! Carries out the engine's effects and feeds back events; releases, secrets, history, receipts.
//!
//! One actor on one thread owns the engine and the database. What takes time (probes, jobs,
//! confirmations) runs beside it and comes back as an event. It knows the proxy only as a
//! [`Publisher`].

mod account;
pub mod api;
mod clock;
mod database;
pub mod database_url;
mod digest;
mod files;
mod handle;
mod host;
mod publisher;
pub mod search_path;
mod secret;
mod shell;
mod store;
mod table;

pub use clock::{Clock, rfc3339};
pub use database::{
    Again, ContractFailed, DatabaseFailed, Databases, Expansion, Followed, Hear, MigrationFile,
    Site, Standing,
};
pub use engine::Removed;
pub use handle::Handle;
pub use host::Host;
pub use publisher::Publisher;
pub use secret::{Retire, SecretError, SecretValue};
pub use shell::{ACCESS_LOG, Control, End, Parts, StartError, note, prove, serve_last_table};
pub use store::{EventRow, StoreError};
pub use table::LastTable;

/// An error and its sources in one line.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
