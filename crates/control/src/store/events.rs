//! What happened, in sentences.

use model::RolloutId;
use rusqlite::params;

use super::{Store, StoreError};

/// How many events are kept at most.
const EVENTS_MAX: i64 = 50_000;

/// Something that happened, in one sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRow {
    /// Its number; they only grow.
    pub seq: i64,
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
    /// The rollout it belongs to.
    pub rollout: Option<RolloutId>,
    /// The service.
    pub service: String,
    /// `note`, `evidence` or `receipt`.
    pub kind: String,
    /// The sentence, a line of evidence, or the receipt as JSON.
    pub text: String,
}

impl Store {
    /// Appends events; their numbers are filled in.
    ///
    /// # Errors
    ///
    /// When they cannot be written.
    pub(crate) fn append_events(&mut self, events: &mut [EventRow]) -> Result<(), StoreError> {
        self.write_soon(|transaction| {
            let fail = StoreError::sqlite("write events");
            for event in events.iter_mut() {
                transaction
                    .prepare_cached(
                        "INSERT INTO events (at_ms, rollout, service, kind, text)
                         VALUES (?1, ?2, ?3, ?4, ?5)",
                    )
                    .and_then(|mut insert| {
                        insert.execute(params![
                            event.at_ms,
                            event.rollout.map(|id| id.0.cast_signed()),
                            event.service,
                            event.kind,
                            event.text
                        ])
                    })
                    .map_err(&fail)?;
                event.seq = transaction.last_insert_rowid();
            }
            let oldest = transaction.last_insert_rowid() - EVENTS_MAX;
            transaction
                .execute("DELETE FROM events WHERE seq <= ?1", [oldest])
                .map_err(&fail)?;
            Ok(())
        })
    }

    /// At most `limit` events after number `after`, oldest first.
    ///
    /// # Errors
    ///
    /// When the database cannot be read.
    pub(crate) fn events_after(&self, after: i64, limit: u32) -> Result<Vec<EventRow>, StoreError> {
        self.select_events(
            "SELECT seq, at_ms, rollout, service, kind, text FROM events
             WHERE seq > ?1 ORDER BY seq LIMIT ?2",
            (after, i64::from(limit)),
        )
    }

    /// The events of one rollout, oldest first.
    ///
    /// # Errors
    ///
    /// When the database cannot be read.
    pub(crate) fn events_of(&self, rollout: RolloutId) -> Result<Vec<EventRow>, StoreError> {
        self.select_events(
            "SELECT seq, at_ms, rollout, service, kind, text FROM events
             WHERE rollout = ?1 AND kind <> 'receipt' ORDER BY seq LIMIT ?2",
            (rollout.0.cast_signed(), EVENTS_MAX),
        )
    }

    /// The number of the newest event; 0 without any.
    ///
    /// # Errors
    ///
    /// When the database cannot be read.
    pub(crate) fn newest_event(&self) -> Result<i64, StoreError> {
        self.connection
            .query_row("SELECT coalesce(max(seq), 0) FROM events", [], |row| {
                row.get(0)
            })
            .map_err(StoreError::sqlite("read events"))
    }

    fn select_events(&self, sql: &str, values: (i64, i64)) -> Result<Vec<EventRow>, StoreError> {
        let fail = StoreError::sqlite("read events");
        let mut statement = self.connection.prepare_cached(sql).map_err(&fail)?;
        let rows = statement
            .query_map([values.0, values.1], |row| {
                Ok(EventRow {
                    seq: row.get(0)?,
                    at_ms: row.get(1)?,
                    rollout: row
                        .get::<_, Option<i64>>(2)?
                        .map(|id| RolloutId(id.cast_unsigned())),
                    service: row.get(3)?,
                    kind: row.get(4)?,
                    text: row.get(5)?,
                })
            })
            .map_err(&fail)?;
        rows.collect::<Result<_, _>>().map_err(&fail)
    }
}
