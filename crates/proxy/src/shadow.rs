//! Copies of requests for shadows, and answers that are compared.
//!
//! A proxy thread copies a request while it sends it on, as far as there is room, and hands the
//! copy to a thread of its own, which asks the endpoints. So a real request never waits for a
//! shadow: not for its answer, and not for its processor time either. That thread follows
//! tables and confirms them like any other, so an endpoint that no table names any more gets no
//! copies, and what is open there is counted in the ledger.

mod ask;
mod copy;
mod found;
mod reply;
mod room;
mod thread;

pub(crate) use copy::{Copy, Drawn};
pub(crate) use found::Findings;
pub(crate) use room::Shadows;
pub(crate) use thread::spawn;

/// The header that tells a program that nobody gets its answer. A client's own is taken away.
pub(crate) const SHADOW: &str = "gapless-shadow";
