//! How a worker ends that is not to end the server: it serves what it has, then goes.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use control::LastTable;
use ledger::Ledger;
use proxy::Proxy;
use supervisor::client::Client;
use tokio::signal::unix::{SignalKind, signal};

/// How long a worker that is told to go (not the server) may drain at least: nothing but
/// itself has to wait for it.
const DRAIN_LIMIT_MIN: Duration = Duration::from_secs(600);

/// How long what was told goodbye last may take to answer.
const FAREWELL: Duration = Duration::from_secs(5);

/// How often a worker without a supervisor looks whether it still serves anybody.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// So many looks in a row that find nobody served are believed.
const IDLE_LOOKS: u32 = 5;

/// How long an endpoint on this machine may take to accept a connection.
const CONNECT_LIMIT: Duration = Duration::from_millis(500);

/// What a worker is known by to itself.
pub(super) struct Own<'a> {
    pub(super) state: &'a Path,
    pub(super) client: &'a Arc<Client>,
    pub(super) ledger: &'a Ledger,
    pub(super) proxy: &'a Arc<Proxy>,
}

/// Waits for SIGTERM, then for the last open request; or until nobody can be served any more
/// and nobody is left who would say so.
pub(super) async fn told_to_go(own: &Own<'_>) {
    tokio::select! {
        () = terminated() => drained(own).await,
        () = forsaken(own) => {
            tracing::warn!("the supervisor is gone and no endpoint answers: this worker ends");
        }
    }
}

pub(super) async fn terminated() {
    match signal(SignalKind::terminate()) {
        Ok(mut told) => drop(told.recv().await),
        Err(error) => {
            tracing::error!(%error, "SIGTERM cannot be heard");
            std::future::pending().await
        }
    }
}

/// How long a worker may drain: no shorter than what an instance may, as the table has it that
/// was published last.
pub(super) fn limit(state: &Path) -> Duration {
    let drain = LastTable::read(state).map(|last| last.table.drain);
    drain.unwrap_or_default().max(DRAIN_LIMIT_MIN)
}

/// Ends the proxy in order. A dead supervisor's sockets are nobody else's: they are emptied.
pub(super) async fn drained(own: &Own<'_>) {
    let limit = limit(own.state);
    if own.client.is_orphan() {
        own.proxy.leave(limit);
    } else {
        own.proxy.drain(limit);
    }
    let drained = async {
        while !own.proxy.is_ended() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let limit = limit.saturating_add(FAREWELL);
    if tokio::time::timeout(limit, drained).await.is_err() {
        tracing::warn!("the drain limit is reached: what is open ends now");
    }
}

/// Waits until the supervisor is gone, no client is connected and no endpoint of the last table
/// accepts: instances without a supervisor are started by nobody again.
async fn forsaken(own: &Own<'_>) {
    let mut idle = 0;
    while idle < IDLE_LOOKS {
        tokio::time::sleep(LOOK_EVERY).await;
        let unused = own.client.is_orphan() && own.ledger.connections(own.client.generation()) == 0;
        idle = if unused && nothing_answers(own.state).await {
            idle + 1
        } else {
            0
        };
    }
}

async fn nothing_answers(state: &Path) -> bool {
    let services = LastTable::read(state).map(|last| last.table.services);
    let services = services.into_iter().flatten();
    let endpoints: Vec<SocketAddr> = services
        .flat_map(|service| std::iter::once(service.stable).chain(service.candidate))
        .flat_map(|candidate| candidate.endpoints)
        .map(|endpoint| endpoint.address)
        .collect();
    let looked = tokio::task::spawn_blocking(move || {
        let mut endpoints = endpoints.iter();
        endpoints.all(|address| TcpStream::connect_timeout(address, CONNECT_LIMIT).is_err())
    });
    looked.await.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use traffic::Table;

    #[test]
    fn a_worker_stays_as_long_as_the_longest_drain_and_never_less_than_ten_minutes() {
        let state = tempfile::tempdir().unwrap();
        assert_eq!(
            limit(state.path()),
            DRAIN_LIMIT_MIN,
            "nothing was published"
        );
        for (minutes, expected) in [(1, 10), (90, 90)] {
            let last = LastTable {
                table: Table {
                    drain: Duration::from_secs(minutes * 60),
                    ..Table::default()
                },
                audiences: std::collections::BTreeMap::new(),
            };
            last.write(state.path()).unwrap();
            assert_eq!(limit(state.path()), Duration::from_secs(expected * 60));
        }
    }
}
