//! The open-loop client that never retries, and the small program it is pointed at.
//!
//! A client that retries hides exactly what a receipt must show, so this one speaks
//! HTTP/1.1 or HTTP/2 over plain sockets, sends every request once, at the time it is due whatever
//! became of the ones before, and says of each how it ended.

pub mod app;
mod calls;
mod client;
mod exchange;
mod held;
mod relay;
mod talk;
mod tally;

pub use client::{Load, Loss, Lost, Mix, Running};
pub use exchange::Failure;
pub use held::{Held, HeldCount, HeldKind};
pub use relay::Relay;
pub use tally::Tally;
