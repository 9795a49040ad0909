//! The admin API: HTTP with JSON over a Unix socket in the state directory.
//!
//! Only the server's own user and root may use it. Every change goes through
//! [`control::Handle`]; nothing here opens a path that a client names.

mod body;
pub mod client;
mod failure;
mod openapi;
mod peer;
mod place;
mod routes;
mod serve;

pub use openapi::openapi;
pub use serve::{bind, serve};

/// The socket's file within the state directory.
pub const SOCKET: &str = "gapless.sock";

/// The header under whose value a request is carried out once, however often it is sent.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
