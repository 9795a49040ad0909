//! Who asked for what, and what was answered: appended only, each entry bound to the one before.

use rusqlite::{OptionalExtension, params};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Store, StoreError};
use crate::digest::hex;

/// The hash before the first entry.
const BEGIN: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// One command and its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AuditEntry {
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
    /// Who: `uid 1000, pid 4711`.
    pub actor: String,
    /// What was asked, without secret values.
    pub command: String,
    /// `accepted`, or why it was refused.
    pub result: String,
}

impl Store {
    /// Appends an entry.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub(crate) fn append_audit(&mut self, entry: &AuditEntry) -> Result<(), StoreError> {
        let text = serde_json::to_string(entry).map_err(StoreError::malformed("audit entry"))?;
        self.write_soon(|transaction| {
            let fail = StoreError::sqlite("write the audit");
            let last = transaction
                .query_row(
                    "SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1",
                    [],
                    |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)),
                )
                .optional()
                .map_err(&fail)?;
            let (seq, previous) = last.unwrap_or_else(|| (0, BEGIN.to_owned()));
            let hash = chained(&previous, &text);
            transaction
                .execute(
                    "INSERT INTO audit (seq, entry, previous, hash) VALUES (?1, ?2, ?3, ?4)",
                    params![seq + 1, text, previous, hash],
                )
                .map_err(&fail)?;
            Ok(())
        })
    }

    /// The newest `limit` entries, newest first.
    ///
    /// # Errors
    ///
    /// When the database cannot be read.
    pub(crate) fn audit(&self, limit: u32) -> Result<Vec<AuditEntry>, StoreError> {
        let fail = StoreError::sqlite("read the audit");
        let mut statement = self
            .connection
            .prepare_cached("SELECT entry FROM audit ORDER BY seq DESC LIMIT ?1")
            .map_err(&fail)?;
        let rows = statement
            .query_map([limit], |row| row.get::<_, String>(0))
            .map_err(&fail)?;
        rows.map(|row| {
            let text = row.map_err(&fail)?;
            serde_json::from_str(&text).map_err(StoreError::malformed("audit entry"))
        })
        .collect()
    }

    /// The number of the first entry that does not follow from the one before; `None`: all do.
    ///
    /// # Errors
    ///
    /// When the database cannot be read.
    pub(crate) fn audit_broken_at(&self) -> Result<Option<i64>, StoreError> {
        let fail = StoreError::sqlite("read the audit");
        let mut statement = self
            .connection
            .prepare_cached("SELECT seq, entry, previous, hash FROM audit ORDER BY seq")
            .map_err(&fail)?;
        let mut rows = statement.query([]).map_err(&fail)?;
        let (mut number, mut before) = (0, BEGIN.to_owned());
        while let Some(row) = rows.next().map_err(&fail)? {
            let read = || -> rusqlite::Result<(i64, String, String, String)> {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            };
            let (seq, entry, previous, hash) = read().map_err(&fail)?;
            number += 1;
            if seq != number || previous != before || hash != chained(&previous, &entry) {
                return Ok(Some(number));
            }
            before = hash;
        }
        Ok(None)
    }
}

fn chained(previous: &str, entry: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(previous.as_bytes());
    hash.update(entry.as_bytes());
    hex(&hash.finalize())
}
