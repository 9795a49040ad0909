//! Long-lived connections: opened once, watched until somebody ends them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::calls::connect;

/// What is held open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeldKind {
    /// A WebSocket that sends a byte now and then and awaits its echo.
    Socket,
    /// A stream of server-sent events.
    Events,
    /// A stream of gRPC's messages.
    Grpc,
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
    /// Those of the ended that were told to try again, in gRPC's own words.
    pub told: u64,
}

#[derive(Default)]
struct Shared {
    opened: AtomicU64,
    ended: AtomicU64,
    bytes: AtomicU64,
    told: AtomicU64,
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
            told: self.shared.told.load(Ordering::Relaxed),
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
    let head = match kind {
        HeldKind::Grpc => {
            let watched = watch((address, host), shared).await;
            return watched.map_err(std::io::Error::other);
        }
        HeldKind::Socket => format!(
            "GET /socket HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        ),
        HeldKind::Events => format!("GET /events HTTP/1.1\r\nHost: {host}\r\n\r\n"),
    };
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(head.as_bytes()).await?;
    let mut buffer = vec![0; 4096];
    let first = stream.read(&mut buffer).await?;
    let expected = match kind {
        HeldKind::Socket => b"HTTP/1.1 101",
        HeldKind::Events | HeldKind::Grpc => b"HTTP/1.1 200",
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

/// Watches a stream of gRPC to its end.
async fn watch((address, host): (SocketAddr, &str), shared: &Shared) -> Result<(), h2::Error> {
    const UNAVAILABLE: &[u8] = b"14";
    let (mut send, driving) = connect(address).await?;
    // Ends with the last stream.
    tokio::spawn(driving);
    let request = http::Request::post(format!("http://{host}/load.Stream/Watch"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(());
    let request = request.map_err(|_| h2::Error::from(h2::Reason::INTERNAL_ERROR))?;
    let (response, _) = send.send_request(request, true)?;
    let mut body = response.await?.into_body();
    shared.opened.fetch_add(1, Ordering::Relaxed);
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        shared.bytes.fetch_add(data.len() as u64, Ordering::Relaxed);
    }
    let trailers = body.trailers().await?.unwrap_or_default();
    let status = trailers.get("grpc-status").map(http::HeaderValue::as_bytes);
    if status == Some(UNAVAILABLE) {
        shared.told.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}
