//! Long-lived connections: opened once, watched until somebody ends them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// What is held open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeldKind {
    /// A WebSocket that sends a byte now and then and awaits its echo.
    Socket,
    /// A stream of server-sent events.
    Events,
}

/// How the held connections fare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldCount {
    /// Opened and answered.
    pub opened: u64,
    /// Ended by the other side.
    pub ended: u64,
    /// Bytes received after the opening.
    pub bytes: u64,
}

#[derive(Default)]
struct Shared {
    opened: AtomicU64,
    ended: AtomicU64,
    bytes: AtomicU64,
}

/// A set of held connections; dropping it closes them.
pub struct Held {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

impl Held {
    /// Opens `count` connections of a kind.
    #[must_use]
    pub fn open(address: SocketAddr, host: &str, kind: HeldKind, count: usize) -> Self {
        let shared = Arc::new(Shared::default());
        let one = |_| {
            let (shared, host) = (Arc::clone(&shared), host.to_owned());
            tokio::spawn(async move {
                // An error is an end like any other: it is counted below.
                let _ = hold(address, &host, kind, &shared).await;
                shared.ended.fetch_add(1, Ordering::Relaxed);
            })
        };
        let tasks = (0..count).map(one).collect();
        Self { shared, tasks }
    }

    /// How they fare now.
    #[must_use]
    pub fn count(&self) -> HeldCount {
        HeldCount {
            opened: self.shared.opened.load(Ordering::Relaxed),
            ended: self.shared.ended.load(Ordering::Relaxed),
            bytes: self.shared.bytes.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

async fn hold(
    address: SocketAddr,
    host: &str,
    kind: HeldKind,
    shared: &Shared,
) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    let head = match kind {
        HeldKind::Socket => format!(
            "GET /socket HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        ),
        HeldKind::Events => format!("GET /events HTTP/1.1\r\nHost: {host}\r\n\r\n"),
    };
    stream.write_all(head.as_bytes()).await?;
    let mut buffer = vec![0; 4096];
    let first = stream.read(&mut buffer).await?;
    let expected = match kind {
        HeldKind::Socket => b"HTTP/1.1 101",
        HeldKind::Events => b"HTTP/1.1 200",
    };
    if !buffer[..first].starts_with(expected) {
        return Err(std::io::Error::other("the connection was not accepted"));
    }
    shared.opened.fetch_add(1, Ordering::Relaxed);
    loop {
        if kind == HeldKind::Socket {
            stream.write_all(b".").await?;
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            count => shared.bytes.fetch_add(count as u64, Ordering::Relaxed),
        };
    }
}
