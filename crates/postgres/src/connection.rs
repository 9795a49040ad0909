//! A session with the database.

use std::time::Duration;

use tokio_postgres::{CancelToken, Client};

use crate::error::{DatabaseError, Doing as _};
use crate::pool;
use crate::tls::Tls;
use crate::url::Url;

/// The whole of a connection, with names, TLS and authentication.
const CONNECT: Duration = Duration::from_secs(30);

/// Every session begins like this. A server notices within seconds that we died, also while it
/// works, and so lets go of our locks; values are written as the same text whoever reads them.
const SETTINGS: &str = "
SET client_connection_check_interval = '2s';
SET tcp_keepalives_idle = 15; SET tcp_keepalives_interval = 15; SET tcp_keepalives_count = 2;
SET idle_in_transaction_session_timeout = '60s';
SET statement_timeout = 0; SET lock_timeout = 0;
SET DateStyle = 'ISO, YMD'; SET IntervalStyle = 'postgres'; SET bytea_output = 'hex';
SET extra_float_digits = 1; SET default_transaction_isolation = 'read committed';
SET default_transaction_read_only = off; SET synchronous_commit = on;
SET standard_conforming_strings = on; SET quote_all_identifiers = off";

/// A session with the database. Dropping it ends the session, and whatever it was doing.
pub struct Connection {
    /// The session itself.
    pub(crate) client: Client,
    pid: i32,
    cancel: CancelToken,
    tls: Tls,
    task: tokio::task::JoinHandle<()>,
}

impl Connection {
    /// Connects, with an `application_name` of `gapless PURPOSE`.
    ///
    /// # Errors
    ///
    /// When nobody answers, the certificate is not right, or the server refuses.
    pub async fn open(url: &Url, purpose: &str) -> Result<Self, DatabaseError> {
        let mut session = Self::open_as_it_is(url, purpose).await?;
        let set = session.client.batch_execute(SETTINGS).await;
        set.doing("set up the session")?;
        session.pid = pool::process(&session).await?;
        Ok(session)
    }

    /// Connects and sets nothing: a pool may lend the session to a stranger next.
    pub(crate) async fn open_as_it_is(url: &Url, purpose: &str) -> Result<Self, DatabaseError> {
        let tls = Tls::new(url)?;
        let mut config = url.config.clone();
        config.application_name(format!("gapless {purpose}"));
        let place = url.place();
        let connected = tokio::time::timeout(CONNECT, config.connect(tls.clone())).await;
        let (client, connection) = connected
            .map_err(|_| DatabaseError::ConnectTimeout {
                place: place.clone(),
                seconds: CONNECT.as_secs(),
            })?
            .map_err(|source| DatabaseError::Connect { place, source })?;
        // Its end is seen by whoever asks the client for something.
        let task = tokio::spawn(async move {
            let _ = connection.await;
        });
        let cancel = client.cancel_token();
        Ok(Self {
            client,
            pid: 0,
            cancel,
            tls,
            task,
        })
    }

    /// The server's process for this session.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// The client, for statements of one's own.
    pub fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    /// Whether the connection is gone.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.client.is_closed()
    }

    /// Asks the server to end the statement that runs in this session.
    pub async fn cancel_statement(&self) {
        let _ = self.cancel.cancel_query(self.tls.clone()).await;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}
