//! The client, on a thread of its own.

use std::net::SocketAddr;
use std::sync::mpsc;
use std::time::Duration;

use load::{Load, Loss, Mix, Tally};
use tokio::sync::oneshot;
use tokio::task::LocalSet;

use crate::StageError;

/// Longer than any bound of the proxy, so that its answer is what is counted.
const PATIENCE: Duration = Duration::from_secs(75);

/// A load until it is stopped.
pub(super) struct Client {
    stop: oneshot::Sender<()>,
    account: mpsc::Receiver<(Tally, Vec<Loss>)>,
}

impl Client {
    /// Starts sending, half of the requests on connections of their own.
    pub(super) fn start(address: SocketAddr, rate: u32) -> Result<Self, StageError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.map_err(|error| StageError::new("no client", error))?;
        let (stop, stopped) = oneshot::channel::<()>();
        let (tell, account) = mpsc::channel();
        std::thread::spawn(move || {
            LocalSet::new().block_on(&runtime, async {
                let running = Load {
                    address,
                    host: "web.localhost".to_owned(),
                    path: "/".to_owned(),
                    rate,
                    mix: Mix::HalfFresh,
                    patience: PATIENCE,
                }
                .start();
                // Either way it is over: asked to stop, or nobody is left to ask.
                let _ = stopped.await;
                let tally = running.settled().await;
                let losses = running.losses();
                // The receiver is gone only when the soak has failed already.
                let _ = tell.send((tally, losses));
            });
        });
        Ok(Self { stop, account })
    }

    /// The account once every request has ended.
    pub(super) fn stop(self) -> Result<(Tally, Vec<Loss>), StageError> {
        // A client that has died is found out by its missing account.
        let _ = self.stop.send(());
        let account = self.account.recv_timeout(PATIENCE * 2);
        account.map_err(|error| StageError::new("the client has died", error))
    }
}
