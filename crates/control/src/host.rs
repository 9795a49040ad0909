//! The server as control sees it: what the supervisor holds for its workers.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use runtime::PortOwner;
use supervisor::client::{Client, ClientError};
use supervisor::{Enforced, WorkerInfo};
use traffic::{Cell, Table};

/// What control asks of the supervisor beside running instances.
pub trait Host: Send {
    /// Which worker of the supervisor this is.
    fn generation(&self) -> u64;

    /// Asks for control; `false` while another living worker holds it.
    ///
    /// # Errors
    ///
    /// In one sentence.
    fn acquire_control(&self) -> Result<bool, String>;

    /// The listening sockets of an address, made at the first time.
    ///
    /// # Errors
    ///
    /// In one sentence, with who has the address if somebody does.
    fn bind(&self, address: SocketAddr) -> Result<Vec<OwnedFd>, String>;

    /// Closes the sockets of an address.
    fn release(&self, address: SocketAddr);

    /// Who would answer a connection to `port` on the loopback address; empty when nobody does or
    /// it cannot be found out.
    fn owners(&self, port: u16) -> Vec<PortOwner>;

    /// How many connections the kernel dropped at each bound address.
    fn drops(&self) -> Vec<(SocketAddr, u64)>;

    /// Says how long draining and stopping everything may take, now that the server ends.
    fn ending(&self, within: Duration);

    /// Says that everything was drained and stopped.
    fn stopped(&self);

    /// The supervisor's version and all living workers; `None` when it does not tell.
    fn workers(&self) -> Option<(String, Vec<WorkerInfo>)>;

    /// What would hold limits of instances here; `None` when it is not told.
    fn limits(&self) -> Option<Enforced>;

    /// Has a worker of `program` take this one's place; an empty path is the present program.
    /// Returns its generation.
    ///
    /// # Errors
    ///
    /// In one sentence.
    fn upgrade(&self, program: &Path) -> Result<u64, String>;

    /// Passes a table on to the other workers, which still have connections.
    fn publish(&self, table: &Table);

    /// Has the other workers end what is open at an endpoint.
    fn cut(&self, cell: Cell);

    /// How many processes run that a dead server of the same state directory began.
    ///
    /// # Errors
    ///
    /// In one sentence.
    fn leftovers(&self) -> Result<usize, String>;
}

impl Host for Arc<Client> {
    fn generation(&self) -> u64 {
        Client::generation(self)
    }

    fn acquire_control(&self) -> Result<bool, String> {
        Client::acquire_control(self).map_err(told)
    }

    fn bind(&self, address: SocketAddr) -> Result<Vec<OwnedFd>, String> {
        let bound = Client::bind(self, address).map_err(told)?;
        Ok(bound.listeners)
    }

    fn release(&self, address: SocketAddr) {
        if let Err(error) = Client::release(self, address) {
            tracing::warn!(%address, error = crate::chain(&error), "an address stays bound");
        }
    }

    fn owners(&self, port: u16) -> Vec<PortOwner> {
        let owners = Client::owners(self, port).unwrap_or_default();
        owners.into_iter().map(PortOwner::from).collect()
    }

    fn drops(&self) -> Vec<(SocketAddr, u64)> {
        Client::drops(self).unwrap_or_default()
    }

    fn stopped(&self) {
        if let Err(error) = Client::stopped(self) {
            tracing::error!(
                error = crate::chain(&error),
                "the supervisor cannot be told"
            );
        }
    }

    fn ending(&self, within: Duration) {
        if let Err(error) = Client::ending(self, within) {
            tracing::warn!(
                error = crate::chain(&error),
                "the supervisor keeps its own limit for ending"
            );
        }
    }

    fn workers(&self) -> Option<(String, Vec<WorkerInfo>)> {
        Client::workers(self).ok()
    }

    fn limits(&self) -> Option<Enforced> {
        Client::limits(self).ok()
    }

    fn upgrade(&self, program: &Path) -> Result<u64, String> {
        Client::upgrade(self, program).map_err(told)
    }

    fn publish(&self, table: &Table) {
        match serde_json::to_vec(table) {
            Ok(bytes) => passed_on(Client::publish(self, &bytes)),
            Err(error) => tracing::error!(%error, "a table is not passed on"),
        }
    }

    fn cut(&self, cell: Cell) {
        passed_on(Client::cut(self, cell.0));
    }

    fn leftovers(&self) -> Result<usize, String> {
        let left = Client::leftovers(self).map_err(told)?;
        Ok(left.len())
    }
}

/// A supervisor that is gone, or too old to pass anything on, is no reason to stop.
fn passed_on(result: Result<(), ClientError>) {
    if let Err(error) = result {
        tracing::warn!(error = crate::chain(&error), "other workers are not told");
    }
}

fn told(error: ClientError) -> String {
    crate::chain(&error)
}
