//! Jobs: begun once, and how they ended.

use model::{JobKind, RolloutId};
use rusqlite::{OptionalExtension, params};

use super::{Store, StoreError};

impl Store {
    /// Remembers that a job was begun; `false` when it was before.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub(crate) fn begin_job(
        &mut self,
        rollout: RolloutId,
        kind: JobKind,
    ) -> Result<bool, StoreError> {
        self.write(|transaction| {
            let fresh = transaction
                .execute(
                    "INSERT INTO jobs (rollout, kind) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
                    params![rollout.0.cast_signed(), kind.to_string()],
                )
                .map_err(StoreError::sqlite("begin a job"))?;
            Ok(fresh == 1)
        })
    }

    /// Whether a job was begun.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub(crate) fn job_is_known(
        &self,
        rollout: RolloutId,
        kind: JobKind,
    ) -> Result<bool, StoreError> {
        let known = self
            .connection
            .query_row(
                "SELECT 1 FROM jobs WHERE rollout = ?1 AND kind = ?2",
                params![rollout.0.cast_signed(), kind.to_string()],
                |_| Ok(()),
            )
            .optional();
        Ok(known.map_err(StoreError::sqlite("read a job"))?.is_some())
    }

    /// Remembers how a job ended.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub(crate) fn end_job(
        &mut self,
        rollout: RolloutId,
        kind: JobKind,
        result: &Result<(), String>,
    ) -> Result<(), StoreError> {
        let text = serde_json::to_string(result).map_err(StoreError::malformed("job"))?;
        self.write(|transaction| {
            transaction
                .execute(
                    "UPDATE jobs SET result = ?3 WHERE rollout = ?1 AND kind = ?2",
                    params![rollout.0.cast_signed(), kind.to_string(), text],
                )
                .map_err(StoreError::sqlite("end a job"))?;
            Ok(())
        })
    }

    /// How a job ended, if it is known to have.
    ///
    /// # Errors
    ///
    /// When the database cannot be read.
    pub(crate) fn job_result(
        &self,
        rollout: RolloutId,
        kind: JobKind,
    ) -> Result<Option<Result<(), String>>, StoreError> {
        let text: Option<Option<String>> = self
            .connection
            .query_row(
                "SELECT result FROM jobs WHERE rollout = ?1 AND kind = ?2",
                params![rollout.0.cast_signed(), kind.to_string()],
                |row| row.get(0),
            )
            .optional()
            .map_err(StoreError::sqlite("read a job"))?;
        text.flatten()
            .map(|text| serde_json::from_str(&text).map_err(StoreError::malformed("job")))
            .transpose()
    }
}
