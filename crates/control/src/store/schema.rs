//! The tables, and how an older database becomes a newer one.
//!
//! Each migration only adds, so that the binary before still works with its result: a worker of
//! the old version may run beside one of the new.

use std::path::Path;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::StoreError;

/// One migration per version, in order; never changed once released.
const MIGRATIONS: &[&str] = &["
    CREATE TABLE meta (
        key TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE journal (
        key TEXT PRIMARY KEY,
        value TEXT NOT NULL,
        epoch INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE releases (
        service TEXT NOT NULL,
        number INTEGER NOT NULL,
        digest TEXT NOT NULL,
        artifact TEXT NOT NULL,
        label TEXT,
        spec TEXT NOT NULL,
        made_ms INTEGER NOT NULL,
        pruned INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (service, number),
        UNIQUE (service, digest)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE secrets (
        name TEXT NOT NULL,
        version INTEGER NOT NULL,
        nonce BLOB NOT NULL,
        sealed BLOB NOT NULL,
        set_ms INTEGER NOT NULL,
        retired INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (name, version)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE secret_versions (
        name TEXT PRIMARY KEY,
        newest INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE services (
        name TEXT PRIMARY KEY,
        internal TEXT
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE rollouts (
        id INTEGER PRIMARY KEY,
        service TEXT NOT NULL,
        began_ms INTEGER NOT NULL,
        account TEXT,
        receipt TEXT
    ) STRICT;
    CREATE INDEX rollouts_by_service ON rollouts (service, id);

    CREATE TABLE jobs (
        rollout INTEGER NOT NULL,
        kind TEXT NOT NULL,
        result TEXT,
        PRIMARY KEY (rollout, kind)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE events (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        at_ms INTEGER NOT NULL,
        rollout INTEGER,
        service TEXT NOT NULL,
        kind TEXT NOT NULL,
        text TEXT NOT NULL
    ) STRICT;
    CREATE INDEX events_by_rollout ON events (rollout, seq);

    CREATE TABLE idempotency (
        key TEXT PRIMARY KEY,
        request TEXT NOT NULL,
        answer TEXT,
        at_ms INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE audit (
        seq INTEGER PRIMARY KEY,
        entry TEXT NOT NULL,
        previous TEXT NOT NULL,
        hash TEXT NOT NULL
    ) STRICT;
    CREATE TRIGGER audit_keeps BEFORE UPDATE ON audit
        BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
    CREATE TRIGGER audit_stays BEFORE DELETE ON audit
        BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
"];

/// The oldest binary, by the number of its migrations, that works with what these leave: one
/// that lacks only tables, indices and columns it need not know. A migration that it could not
/// work with raises this, and waits until no binary before it is in use.
const READER_OLDEST: u32 = 1;

/// Where [`READER_OLDEST`] of the newest binary that migrated is kept.
pub(super) const READER_KEY: &str = "schema_reader_oldest";

/// Brings the database to the newest version. One that a later binary has migrated is used as it
/// is, if that binary said so.
pub(super) fn migrate(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let fail = StoreError::sqlite("migrate the database");
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(&fail)?;
    let version: u32 = transaction
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(&fail)?;
    let supported = u32::try_from(MIGRATIONS.len()).expect("a handful of migrations");
    if version > supported && reader_oldest(&transaction, version)? > supported {
        return Err(StoreError::Newer {
            path: path.to_owned(),
            version,
            supported,
        });
    }
    if version < supported {
        for migration in &MIGRATIONS[version as usize..] {
            transaction.execute_batch(migration).map_err(&fail)?;
        }
        transaction
            .pragma_update(None, "user_version", supported)
            .map_err(&fail)?;
        super::set_meta(&transaction, READER_KEY, &READER_OLDEST.to_string())?;
    }
    transaction.commit().map_err(&fail)
}

/// The oldest binary that works with a database of a later version.
fn reader_oldest(transaction: &Transaction<'_>, version: u32) -> Result<u32, StoreError> {
    let kept = super::meta(transaction, READER_KEY)?;
    Ok(kept.and_then(|text| text.parse().ok()).unwrap_or(version))
}
