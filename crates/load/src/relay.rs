//! A relay that makes the way longer, to show what a distant client sees.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

/// A relay on loopback; dropping it ends it.
pub struct Relay {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Relay {
    /// Relays to `to`, holding every byte and every end for `one_way` in each direction.
    ///
    /// # Errors
    ///
    /// When no port can be bound.
    pub async fn start(to: SocketAddr, one_way: Duration) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(both(client, to, one_way));
            }
        });
        Ok(Self { address, task })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn both(client: TcpStream, to: SocketAddr, one_way: Duration) {
    let Ok(server) = TcpStream::connect(to).await else {
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (client_read, client_write) = client.into_split();
    let (server_read, server_write) = server.into_split();
    tokio::spawn(one(client_read, server_write, one_way));
    one(server_read, client_write, one_way).await;
}

/// Copies one direction; the queue is bounded by what arrives within `one_way`.
async fn one(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, one_way: Duration) {
    let mut queue: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
    let mut open = true;
    while open || !queue.is_empty() {
        let mut buffer = vec![0; 16 * 1024];
        let due = queue.front().map(|(at, _)| *at);
        tokio::select! {
            read = from.read(&mut buffer), if open => match read {
                Ok(count) if count > 0 => {
                    buffer.truncate(count);
                    queue.push_back((Instant::now() + one_way, buffer));
                }
                Ok(_) | Err(_) => {
                    open = false;
                    queue.push_back((Instant::now() + one_way, Vec::new()));
                }
            },
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                let Some((_, bytes)) = queue.pop_front() else { continue };
                if to.write_all(&bytes).await.is_err() {
                    return;
                }
            }
        }
    }
}
