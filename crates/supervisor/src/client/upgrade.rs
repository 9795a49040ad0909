//! Workers that know of each other: upgrades, and what a worker without control still follows.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::{Client, ClientError, unexpected};
use crate::channel;
use crate::protocol::{Enforced, Event, Reply, Request, WorkerInfo};
use crate::wire::Wire;

/// The largest table that is passed on, in bytes.
const TABLE_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// The version of the protocol that began to have these requests.
const SINCE: u16 = 2;

/// A word from the supervisor, with the table that may come with it.
#[derive(Debug)]
pub struct News {
    /// What it says.
    pub event: Event,
    table: Option<OwnedFd>,
}

impl News {
    /// The table that the worker in control published.
    ///
    /// # Errors
    ///
    /// When none came along or it cannot be read.
    pub fn table(&self) -> std::io::Result<Vec<u8>> {
        match &self.table {
            Some(table) => channel::unseal(table, TABLE_BYTES_MAX),
            None => Err(std::io::ErrorKind::NotFound.into()),
        }
    }
}

impl Client {
    /// Says which version of the program this worker is; for people only.
    ///
    /// # Errors
    ///
    /// As any request.
    pub fn introduce(&self, version: &str) -> Result<(), ClientError> {
        self.since(SINCE)?;
        let version = version.to_owned();
        self.order("introduce", &Request::Introduce { version })
    }

    /// The supervisor's version and its living workers, in order of their generations.
    ///
    /// # Errors
    ///
    /// As any request.
    pub fn workers(&self) -> Result<(String, Vec<WorkerInfo>), ClientError> {
        self.since(SINCE)?;
        match self.ask(&Request::Workers, None)?.0 {
            Reply::Workers { version, workers } => Ok((version, workers)),
            other => Err(unexpected("workers", other)),
        }
    }

    /// What would hold limits of children here.
    ///
    /// # Errors
    ///
    /// As any request.
    pub fn limits(&self) -> Result<Enforced, ClientError> {
        self.since(SINCE)?;
        match self.ask(&Request::Limits, None)?.0 {
            Reply::Limits(enforced) => Ok(enforced),
            other => Err(unexpected("limits", other)),
        }
    }

    /// Asks for a worker from `program` to take this one's place; an empty path is the present
    /// program. [`Event::Upgraded`] tells this worker or the new one how it ended.
    ///
    /// # Errors
    ///
    /// [`crate::Refusal::Busy`], [`crate::Refusal::Program`], [`crate::Refusal::NotInControl`],
    /// [`crate::Refusal::SpawnFailed`].
    pub fn upgrade(&self, program: &Path) -> Result<u64, ClientError> {
        self.since(SINCE)?;
        let program = PathBuf::from(program);
        match self.ask(&Request::Upgrade { program }, None)?.0 {
            Reply::Upgrading { generation } => Ok(generation),
            other => Err(unexpected("upgrade", other)),
        }
    }

    /// Says why this worker, which is to take control, cannot; it should end.
    ///
    /// # Errors
    ///
    /// As any request.
    pub fn unfit(&self, reason: &str) -> Result<(), ClientError> {
        self.since(SINCE)?;
        // A message has room for far more than anybody reads.
        let reason = reason.chars().take(4_000).collect();
        self.order("unfit", &Request::Unfit { reason })
    }

    /// Passes a table on to all other workers, which still have connections to serve.
    ///
    /// # Errors
    ///
    /// As any request.
    pub fn publish(&self, table: &[u8]) -> Result<(), ClientError> {
        self.since(SINCE)?;
        let content = channel::sealed(table)?;
        match self.ask(&Request::Publish, Some(content.as_fd()))?.0 {
            Reply::Done => Ok(()),
            other => Err(unexpected("publish", other)),
        }
    }

    /// Tells all other workers to end what is open at an endpoint.
    ///
    /// # Errors
    ///
    /// As any request.
    pub fn cut(&self, cell: u32) -> Result<(), ClientError> {
        self.since(SINCE)?;
        self.order("cut", &Request::Cut { cell })
    }

    /// As [`Self::try_event`], with what may come along.
    ///
    /// # Errors
    ///
    /// As [`Self::try_event`].
    pub fn try_news(&self) -> Result<Option<News>, ClientError> {
        match channel::receive(self.events.as_fd()) {
            Ok(Some(packet)) => Ok(Some(News {
                event: Event::from_bytes(&packet.bytes)?,
                table: packet.fds.into_iter().next(),
            })),
            Ok(None) => Err(ClientError::SupervisorGone),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}
