//! Rollouts with their accounts and receipts.

use model::{Receipt, RolloutId, ServiceName};
use rusqlite::{OptionalExtension, Row, params};

use super::{Store, StoreError};

/// How many rollouts are kept at most.
const ROLLOUTS_MAX: i64 = 5_000;

/// A rollout as stored.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RolloutRow {
    /// Its number.
    pub id: RolloutId,
    /// Its service.
    pub service: String,
    /// When it began, in milliseconds since 1970.
    pub began_ms: i64,
    /// Its receipt, once it has ended.
    pub receipt: Option<Receipt>,
}

impl Store {
    /// Begins or continues the account of a rollout.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub(crate) fn put_account(
        &mut self,
        rollout: RolloutId,
        (service, began_ms): (&ServiceName, i64),
        account: &str,
    ) -> Result<(), StoreError> {
        self.write_soon(|transaction| {
            transaction
                .execute(
                    "INSERT INTO rollouts (id, service, began_ms, account) VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT (id) DO UPDATE SET account = excluded.account",
                    params![rollout.0.cast_signed(), service.as_str(), began_ms, account],
                )
                .map_err(StoreError::sqlite("write an account"))?;
            transaction
                .execute(
                    "DELETE FROM rollouts WHERE id <= ?1 AND account IS NULL",
                    [rollout.0.cast_signed() - ROLLOUTS_MAX],
                )
                .map_err(StoreError::sqlite("forget old rollouts"))?;
            Ok(())
        })
    }

    /// The accounts that are still open, as they were last written.
    ///
    /// # Errors
    ///
    /// When the database cannot be read.
    pub(crate) fn open_accounts(&self) -> Result<Vec<String>, StoreError> {
        let fail = StoreError::sqlite("read the accounts");
        let mut statement = self
            .connection
            .prepare_cached("SELECT account FROM rollouts WHERE account IS NOT NULL ORDER BY id")
            .map_err(&fail)?;
        let rows = statement.query_map([], |row| row.get(0)).map_err(&fail)?;
        rows.collect::<Result<_, _>>().map_err(&fail)
    }

    /// Writes a receipt. The account stays open until `account` is `None`.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub(crate) fn put_receipt(
        &mut self,
        receipt: &Receipt,
        account: Option<&str>,
    ) -> Result<(), StoreError> {
        let text = serde_json::to_string(receipt).map_err(StoreError::malformed("receipt"))?;
        self.write(|transaction| {
            transaction
                .execute(
                    "UPDATE rollouts SET receipt = ?2, account = ?3 WHERE id = ?1",
                    params![receipt.rollout.0.cast_signed(), text, account],
                )
                .map_err(StoreError::sqlite("write a receipt"))?;
            Ok(())
        })
    }

    /// One rollout.
    ///
    /// # Errors
    ///
    /// When the database cannot be read.
    pub(crate) fn rollout(&self, id: RolloutId) -> Result<Option<RolloutRow>, StoreError> {
        let found = self
            .connection
            .query_row(
                "SELECT id, service, began_ms, receipt FROM rollouts WHERE id = ?1",
                [id.0.cast_signed()],
                rollout_columns,
            )
            .optional()
            .map_err(StoreError::sqlite("read a rollout"))?;
        found.map(rollout_row).transpose()
    }

    /// The newest `limit` rollouts of these services, or of all if none is named, newest first.
    ///
    /// # Errors
    ///
    /// When the database cannot be read.
    pub(crate) fn rollouts(
        &self,
        services: &[ServiceName],
        limit: u32,
    ) -> Result<Vec<RolloutRow>, StoreError> {
        let fail = StoreError::sqlite("read the history");
        let mut statement = self
            .connection
            .prepare_cached(
                "SELECT id, service, began_ms, receipt FROM rollouts
                 WHERE ?1 = '[]' OR service IN (SELECT value FROM json_each(?1))
                 ORDER BY id DESC LIMIT ?2",
            )
            .map_err(&fail)?;
        let names = serde_json::to_string(services).map_err(StoreError::malformed("names"))?;
        let rows = statement
            .query_map(params![names, limit], rollout_columns)
            .map_err(&fail)?;
        rows.map(|row| rollout_row(row.map_err(&fail)?)).collect()
    }
}

type RolloutColumns = (i64, String, i64, Option<String>);

fn rollout_columns(row: &Row<'_>) -> rusqlite::Result<RolloutColumns> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
}

fn rollout_row((id, service, began_ms, receipt): RolloutColumns) -> Result<RolloutRow, StoreError> {
    let receipt = receipt
        .map(|text| serde_json::from_str(&text).map_err(StoreError::malformed("receipt")))
        .transpose()?;
    Ok(RolloutRow {
        id: RolloutId(id.cast_unsigned()),
        service,
        began_ms,
        receipt,
    })
}
