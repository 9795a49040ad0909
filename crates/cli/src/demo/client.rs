//! The demonstration's client, on a thread of its own.

use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use load::{Load, Mix, Tally};
use tokio::sync::mpsc as requests;
use tokio::task::LocalSet;

/// Requests a second.
pub(super) const RATE: u32 = 300;

/// How long the client waits for one response: longer than any bound of the proxy here, so that
/// the proxy's answer is what it counts.
const PATIENCE: Duration = Duration::from_secs(10);

/// The running client; dropping it ends it.
pub(super) struct Client {
    ask: requests::UnboundedSender<mpsc::Sender<Tally>>,
    thread: Option<JoinHandle<()>>,
}

impl Client {
    /// Starts sending to `address`.
    pub(super) fn start(address: SocketAddr) -> std::io::Result<Self> {
        let (ask, asked) = requests::unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let thread = std::thread::Builder::new()
            .name("client".to_owned())
            .spawn(move || {
                LocalSet::new().block_on(&runtime, answer(address, asked));
            })?;
        Ok(Self {
            ask,
            thread: Some(thread),
        })
    }

    /// The account once every request begun so far has ended.
    pub(super) fn settled(&self) -> Option<Tally> {
        let (reply, answer) = mpsc::channel();
        self.ask.send(reply).ok()?;
        answer.recv_timeout(PATIENCE * 2).ok()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let (closed, _) = requests::unbounded_channel();
        self.ask = closed;
        if let Some(thread) = self.thread.take() {
            // A client that panicked has already failed the act that asked it.
            let _ = thread.join();
        }
    }
}

async fn answer(address: SocketAddr, mut asked: requests::UnboundedReceiver<mpsc::Sender<Tally>>) {
    let load = Load {
        address,
        host: "shop.localhost".to_owned(),
        path: "/".to_owned(),
        rate: RATE,
        mix: Mix::HalfFresh,
        patience: PATIENCE,
    };
    let running = load.start();
    while let Some(reply) = asked.recv().await {
        // Nobody waits for it any more when this fails.
        let _ = reply.send(running.settled().await);
    }
}
