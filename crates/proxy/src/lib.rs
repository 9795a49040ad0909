//! The data plane: sockets, HTTP, endpoints.
//!
//! [`Proxy::start`] runs one thread per set of listening sockets. Threads share nothing on the
//! hot path: each has its own runtime, pool of connections and slot of the ledger. Control
//! speaks to them through [`Proxy`], and hears from them through the ledger alone: a table is
//! confirmed there, and every request's outcome is counted there.
//!
//! A request is matched, and its endpoint chosen and claimed, without a pause in between, so
//! it is always open in the ledger under the table it was matched with.

mod accept;
mod access;
mod attempt;
mod buffer;
mod caller;
mod claim;
mod client;
mod clock;
mod crowds;
mod doors;
mod exchange;
mod flow;
mod hedge;
mod http2;
mod introduce;
mod keeper;
mod links;
mod memory;
mod orders;
mod pool;
mod presence;
mod queue;
mod reject;
mod relay;
mod room;
mod routing;
mod secure;
mod serve;
mod shadow;
mod standing;
mod start;
mod stream;
mod sys;
mod tcp;
mod thread;
mod tunnel;
mod upstream;
mod visit;
mod watch;
mod websocket;
mod wire;

pub use access::AccessPlace;
pub use start::{Loopback, Proxy, Settings, StartError, ThreadSetup};
