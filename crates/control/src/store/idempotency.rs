//! Requests that may come twice.

use rusqlite::{OptionalExtension, params};

use super::{Store, StoreError};

/// How long an answer is remembered.
const KEPT_MS: i64 = 24 * 60 * 60 * 1_000;

/// What is known of a request's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Remembered {
    /// It is new, and remembered from now on.
    New,
    /// The same request came before; its answer, unless it is still being worked on or the
    /// worker died over it.
    Same(Option<String>),
    /// Another request came under this key.
    Other,
}

impl Store {
    /// Remembers that the request with this key and digest is being worked on.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub(crate) fn remember(
        &mut self,
        key: &str,
        request: &str,
        now_ms: i64,
    ) -> Result<Remembered, StoreError> {
        self.write(|transaction| {
            let fail = StoreError::sqlite("remember a request");
            transaction
                .execute(
                    "DELETE FROM idempotency WHERE at_ms < ?1",
                    [now_ms - KEPT_MS],
                )
                .map_err(&fail)?;
            let known = transaction
                .query_row(
                    "SELECT request, answer FROM idempotency WHERE key = ?1",
                    [key],
                    |row| Ok((row.get::<_, String>(0)?, row.get::<_, Option<String>>(1)?)),
                )
                .optional()
                .map_err(&fail)?;
            match known {
                Some((before, answer)) if before == request => Ok(Remembered::Same(answer)),
                Some(_) => Ok(Remembered::Other),
                None => {
                    transaction
                        .execute(
                            "INSERT INTO idempotency (key, request, at_ms) VALUES (?1, ?2, ?3)",
                            params![key, request, now_ms],
                        )
                        .map_err(&fail)?;
                    Ok(Remembered::New)
                }
            }
        })
    }

    /// Remembers the answer to a request; `None` forgets the request, so that it may come again.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub(crate) fn remember_answer(
        &mut self,
        key: &str,
        answer: Option<&str>,
    ) -> Result<(), StoreError> {
        self.write(|transaction| {
            match answer {
                Some(answer) => transaction.execute(
                    "UPDATE idempotency SET answer = ?2 WHERE key = ?1",
                    [key, answer],
                ),
                None => transaction.execute("DELETE FROM idempotency WHERE key = ?1", [key]),
            }
            .map_err(StoreError::sqlite("remember an answer"))?;
            Ok(())
        })
    }
}
