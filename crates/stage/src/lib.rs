//! A temporary project with its server, driven by the binary's own commands.
//!
//! The demonstration, the end-to-end tests and the benchmarks play on it. It knows nothing of
//! the product's insides: what a user cannot see, it cannot see.

mod cluster;
mod pool;
mod said;
mod server;
mod soak;

pub use cluster::Cluster;
pub use pool::Pool;
pub use said::Said;
pub use server::{Stage, StageError, THREADS};
pub use soak::{Soak, SoakReport};

/// The address that a service is reached at when nothing says otherwise: a port that is free now
/// and outside the range of outgoing connections.
///
/// # Errors
///
/// When every port of the range is taken.
pub fn free_address() -> std::io::Result<std::net::SocketAddr> {
    /// Callers of one process never get the same port.
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    const PORTS: u32 = 1_900;
    let mut last = None;
    for _ in 0..PORTS {
        // Processes that look at the same time begin at different places.
        let next = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let offset = (std::process::id().wrapping_mul(37).wrapping_add(next)) % PORTS;
        let port = 18_000 + u16::try_from(offset).expect("below 1900");
        match std::net::TcpListener::bind(("127.0.0.1", port)) {
            Ok(listener) => return listener.local_addr(),
            Err(error) => last = Some(error),
        }
    }
    Err(last.expect("the range is not empty"))
}
