//! Everything that must outlive a worker: one SQLite database in the state directory.
//!
//! Every write is one transaction that first compares the epoch: once another worker has taken
//! control, nothing of this one is written any more. The database is checked when it is opened;
//! a damaged one is refused with the way out, while traffic goes on with the table beside it.

mod audit;
mod backup;
mod error;
mod events;
mod history;
mod idempotency;
mod jobs;
mod journal;
mod kept;
mod releases;
mod reserve;
mod schema;
mod secrets;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Duration;

use model::Epoch;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior};

pub(crate) use audit::AuditEntry;
pub use error::StoreError;
pub use events::EventRow;
pub(crate) use history::RolloutRow;
pub(crate) use idempotency::Remembered;
pub(crate) use secrets::SealedSecret;

use reserve::Reserve;

/// How long a write waits for another worker's.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// The file of the database within the state directory.
const DATABASE_FILE: &str = "gapless.db";

/// The file of its last copy.
const BACKUP_FILE: &str = "gapless.backup.db";

/// The database of one worker.
#[derive(Debug)]
pub(crate) struct Store {
    connection: Connection,
    path: PathBuf,
    backup_path: PathBuf,
    epoch: Epoch,
    reserve: Reserve,
}

impl Store {
    /// Opens the database in `state`, or makes it.
    ///
    /// Until [`Self::take_control`] it can be read only.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`] names the damaged file and the way out; [`StoreError::Newer`] when
    /// a later version of Gapless wrote it; else what could not be done.
    pub(crate) fn open(state: &Path) -> Result<Self, StoreError> {
        let path = state.join(DATABASE_FILE);
        let backup_path = state.join(BACKUP_FILE);
        let connection = Self::connect(&path, &backup_path)?;
        let reserve = Reserve::keep(state);
        Ok(Self {
            connection,
            path,
            backup_path,
            epoch: Epoch(0),
            reserve,
        })
    }

    fn connect(path: &Path, backup_path: &Path) -> Result<Connection, StoreError> {
        let seen = |source| StoreError::from_opening(path, backup_path, source);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        private_file(path).map_err(|source| StoreError::io("make", path, source))?;
        let mut connection = Connection::open_with_flags(path, flags).map_err(seen)?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(seen)?;
        connection
            .execute_batch(
                "PRAGMA journal_mode = WAL;
                 PRAGMA synchronous = FULL;
                 PRAGMA foreign_keys = ON;
                 PRAGMA secure_delete = ON;
                 PRAGMA trusted_schema = OFF;",
            )
            .map_err(seen)?;
        let found: String = connection
            .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
            .map_err(seen)?;
        if found != "ok" {
            return Err(StoreError::corrupt(path, backup_path, found));
        }
        schema::migrate(&mut connection, path).map_err(|error| match error {
            StoreError::Sqlite { source, .. } => seen(source),
            other => other,
        })?;
        Ok(connection)
    }

    /// Takes control: from now on writes of every earlier worker are refused.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub(crate) fn take_control(&mut self) -> Result<Epoch, StoreError> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(StoreError::sqlite("begin a write"))?;
        let epoch = Epoch(stored_epoch(&transaction)?.0 + 1);
        set_meta(&transaction, "epoch", &epoch.0.to_string())?;
        if meta(&transaction, SERVER)?.is_none() {
            set_meta(&transaction, SERVER, &fresh_id()?)?;
        }
        transaction
            .commit()
            .map_err(StoreError::sqlite("take control"))?;
        self.epoch = epoch;
        Ok(epoch)
    }

    /// What no other server has: it goes with the state, wherever that is put.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub(crate) fn server_id(&self) -> Result<String, StoreError> {
        Ok(self.meta(SERVER)?.unwrap_or_default())
    }

    /// Whose writes this store makes.
    #[must_use]
    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The file of the database.
    #[must_use]
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// As [`Self::write`], but safe against the death of this process only: after a power cut it
    /// may be missing unless something was written durably since. It does not wait for the disk.
    fn write_soon<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.wait_for_disk("NORMAL")?;
        let written = self.write(work);
        self.wait_for_disk("FULL")?;
        written
    }

    fn wait_for_disk(&self, synchronous: &str) -> Result<(), StoreError> {
        self.connection
            .pragma_update(None, "synchronous", synchronous)
            .map_err(StoreError::sqlite("prepare a write"))
    }

    /// Does `work` in one durable transaction, unless another worker has taken control.
    fn write<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(StoreError::sqlite("begin a write"))?;
        let stored = stored_epoch(&transaction)?;
        if stored != self.epoch {
            return Err(StoreError::Fenced { epoch: stored });
        }
        let result = work(&transaction)?;
        transaction
            .commit()
            .map_err(StoreError::sqlite("commit a write"))?;
        Ok(result)
    }

    /// The value kept under `key`, if any.
    ///
    /// # Errors
    ///
    /// When the database cannot be read.
    pub(crate) fn meta(&self, key: &str) -> Result<Option<String>, StoreError> {
        meta(&self.connection, key)
    }

    /// Keeps `value` under `key`.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub(crate) fn set_meta(&mut self, key: &str, value: &str) -> Result<(), StoreError> {
        self.write(|transaction| set_meta(transaction, key, value))
    }
}

/// Names the server in `meta`.
const SERVER: &str = "server";

fn fresh_id() -> Result<String, StoreError> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(|error| StoreError::Io {
        doing: "make an id for the server from",
        path: PathBuf::from("/dev/urandom"),
        source: std::io::Error::other(error.to_string()),
    })?;
    Ok(crate::digest::hex(&bytes))
}

fn meta(connection: &Connection, key: &str) -> Result<Option<String>, StoreError> {
    connection
        .query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| {
            row.get(0)
        })
        .optional()
        .map_err(StoreError::sqlite("read the state"))
}

fn set_meta(transaction: &Transaction<'_>, key: &str, value: &str) -> Result<(), StoreError> {
    transaction
        .execute(
            "INSERT INTO meta (key, value) VALUES (?1, ?2)
             ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            [key, value],
        )
        .map_err(StoreError::sqlite("write the state"))?;
    Ok(())
}

fn stored_epoch(connection: &Connection) -> Result<Epoch, StoreError> {
    let text = meta(connection, "epoch")?.unwrap_or_default();
    Ok(Epoch(text.parse().unwrap_or(0)))
}

/// Makes an empty file that only its owner may read, unless there is one.
fn private_file(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .map(drop)
}
