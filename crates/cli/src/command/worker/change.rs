//! Changing places with a worker of another binary.
//!
//! Who does not hold control serves what it has and follows the tables of the one that does.

use std::sync::Arc;

use supervisor::UpgradeOutcome;
use supervisor::client::{Client, ClientError, News};
use tokio::io::Interest;
use tokio::net::UnixDatagram;
use traffic::{Cell, Table};

use super::leave::{self, Own};
use crate::exit::{Exit, Trouble};

/// What a worker without control is to do.
#[derive(Debug)]
pub(super) enum Turn {
    /// Take control; an upgrade may have ended before.
    Lead(Option<UpgradeOutcome>),
    /// It is over: another worker serves, or the one that was to be replaced is gone with the
    /// supervisor.
    Over,
}

/// The supervisor's news, awaited.
struct Ear<'a> {
    client: &'a Client,
    /// The client's event descriptor; only its readiness is used.
    events: UnixDatagram,
}

impl<'a> Ear<'a> {
    fn new(client: &'a Client) -> std::io::Result<Self> {
        let events = client.event_fd().try_clone_to_owned()?;
        let events = UnixDatagram::from_std(events.into())?;
        Ok(Self { client, events })
    }

    async fn news(&self) -> Result<News, ClientError> {
        loop {
            // The runtime forgets the readiness only when the client has nothing.
            let news = self
                .events
                .try_io(Interest::READABLE, || match self.client.try_news() {
                    Ok(Some(news)) => Ok(Ok(news)),
                    Ok(None) => Err(std::io::ErrorKind::WouldBlock.into()),
                    Err(error) => Ok(Err(error)),
                });
            match news {
                Ok(news) => return news,
                Err(_) => self.events.readable().await?,
            }
        }
    }
}

fn deaf(error: &dyn std::error::Error) -> Trouble {
    Trouble::new(Exit::Failed, "the supervisor cannot be heard").cause(control::chain(error))
}

/// Another worker holds control: proves that this one could take it, says so and waits for it.
pub(super) async fn stand_by(own: &Own<'_>) -> Result<Turn, Trouble> {
    if let Err(error) = control::prove(own.state) {
        return Err(unfit(own, &error));
    }
    let ear = Ear::new(own.client).map_err(|error| deaf(&error))?;
    own.client.ready().map_err(|error| deaf(&error))?;
    match turn(own, &ear).await {
        Ok(turn) => Ok(turn),
        Err(error) => Err(deaf(&error)),
    }
}

/// Tells why this worker cannot take the place of the one that serves.
pub(super) fn unfit(own: &Own<'_>, error: &dyn std::error::Error) -> Trouble {
    let reason = control::chain(error);
    if let Err(error) = own.client.unfit(&reason) {
        tracing::warn!(
            error = control::chain(&error),
            "nobody hears why this worker ends"
        );
    }
    Trouble::new(Exit::Failed, "this worker cannot take control").cause(reason)
}

/// Gives control back and serves on, until it is this worker's again or another one serves.
pub(super) async fn make_way(own: &Own<'_>) -> Result<Turn, Trouble> {
    let ear = Ear::new(own.client).map_err(|error| deaf(&error))?;
    own.client.yield_control().map_err(|error| deaf(&error))?;
    match turn(own, &ear).await {
        Ok(Turn::Lead(outcome)) => return Ok(Turn::Lead(outcome)),
        Ok(Turn::Over) => retire(own, &ear).await,
        // What this worker has open goes on; the next server tells it to go.
        Err(_) => leave::told_to_go(own).await,
    }
    Ok(Turn::Over)
}

/// Waits until the supervisor is to end. It never does if nothing is heard from it.
pub(super) async fn server_ends(own: &Own<'_>) {
    if let Ok(ear) = Ear::new(own.client) {
        while let Ok(news) = ear.news().await {
            if matches!(news.event, supervisor::Event::Terminate) {
                return;
            }
        }
    }
    std::future::pending().await
}

async fn turn(own: &Own<'_>, ear: &Ear<'_>) -> Result<Turn, ClientError> {
    use supervisor::Event;
    let mut outcome = None;
    loop {
        let news = ear.news().await?;
        match &news.event {
            Event::Lead => return Ok(Turn::Lead(outcome)),
            Event::Retire => return Ok(Turn::Over),
            Event::Published => publish(own, &news),
            Event::Cut { cell } => own.proxy.cut(Cell(*cell)),
            Event::Upgraded(ended) => outcome = Some(ended.clone()),
            // They are for the worker in control.
            Event::Exited { .. }
            | Event::Resync
            | Event::Terminate
            | Event::Yield
            | Event::WorkerGone { .. } => {}
        }
    }
}

fn publish(own: &Own<'_>, news: &News) {
    let table = news.table().map_err(|error| error.to_string());
    let table = table.and_then(|bytes| {
        serde_json::from_slice::<Table>(&bytes).map_err(|error| error.to_string())
    });
    match table {
        Ok(table) => own.proxy.publish(&Arc::new(table)),
        Err(error) => tracing::error!(error, "a table of the new worker cannot be followed"),
    }
}

/// Serves what is open to its end.
async fn retire(own: &Own<'_>, ear: &Ear<'_>) {
    tracing::info!("another worker serves: this one finishes what it has open");
    let following = async {
        // It ends with the supervisor only; the proxy goes on as it is then.
        while turn(own, ear).await.is_ok() {}
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = leave::drained(own) => tracing::info!("nothing is open any more: this worker ends"),
        () = leave::terminated() => {}
        () = following => {}
    }
}
