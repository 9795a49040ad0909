//! The engine's own state.

use std::collections::BTreeMap;

use model::Epoch;
use rusqlite::params;

use super::{Store, StoreError, set_meta};

impl Store {
    /// Everything that was journaled, by key.
    ///
    /// # Errors
    ///
    /// When the database cannot be read.
    pub(crate) fn journal(&self) -> Result<BTreeMap<String, String>, StoreError> {
        let fail = StoreError::sqlite("read the journal");
        let mut statement = self
            .connection
            .prepare_cached("SELECT key, value FROM journal")
            .map_err(&fail)?;
        let rows = statement
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .map_err(&fail)?;
        rows.collect::<Result<_, _>>().map_err(&fail)
    }

    /// Writes a batch of the engine's state and the clock's reading, durably and as one.
    ///
    /// # Errors
    ///
    /// [`StoreError::Fenced`] when a greater epoch is stored; [`StoreError::Full`] and others when
    /// it cannot be written. Nothing was changed then.
    pub(crate) fn write_journal(
        &mut self,
        epoch: Epoch,
        entries: &BTreeMap<String, Option<String>>,
        clock: &str,
    ) -> Result<(), StoreError> {
        if epoch < self.epoch {
            return Err(StoreError::Fenced { epoch: self.epoch });
        }
        let number = i64::try_from(epoch.0).unwrap_or(i64::MAX);
        self.write(|transaction| {
            let fail = StoreError::sqlite("write the journal");
            for (key, value) in entries {
                match value {
                    Some(value) => transaction
                        .prepare_cached(
                            "INSERT INTO journal (key, value, epoch) VALUES (?1, ?2, ?3)
                             ON CONFLICT (key) DO UPDATE
                             SET value = excluded.value, epoch = excluded.epoch",
                        )
                        .and_then(|mut insert| insert.execute(params![key, value, number])),
                    None => transaction
                        .prepare_cached("DELETE FROM journal WHERE key = ?1")
                        .and_then(|mut delete| delete.execute([key])),
                }
                .map_err(&fail)?;
            }
            set_meta(transaction, "clock", clock)
        })
    }

    /// As [`Self::write_journal`], and when the disk is full the reserved space is given up for it.
    ///
    /// # Errors
    ///
    /// When it cannot be written even so.
    pub(crate) fn write_journal_from_reserve(
        &mut self,
        epoch: Epoch,
        entries: &BTreeMap<String, Option<String>>,
        clock: &str,
    ) -> Result<(), StoreError> {
        match self.write_journal(epoch, entries, clock) {
            Err(error) if error.is_full() && self.reserve.free() => {
                tracing::warn!("the disk is full: the reserved space is used for the journal");
                self.write_journal(epoch, entries, clock)
            }
            other => other,
        }
    }

    /// Sets the reserved space aside again, once there is some.
    pub(crate) fn refill_reserve(&self) {
        self.reserve.refill();
    }
}
