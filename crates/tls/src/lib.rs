//! Certificates, keys and tickets: what a TLS connection is made with.
//!
//! Control checks here what a deploy names, and the proxy serves with the same: so nothing is
//! accepted that cannot be served. Keys are read by the process that needs them, are never
//! logged, and their bytes are overwritten once they are parsed.

mod certificate;
mod choose;
mod clients;
mod pin;
mod server;
mod ticket;
mod trust;

pub use certificate::{Certificate, LoadError, Stamp, load};
pub use choose::Certificates;
pub use clients::{Clients, subject};
pub use server::{ConfigError, server};
pub use ticket::Tickets;
pub use trust::{Trust, Trusts};
