//! What a person may write into the history.

use super::{Runner, live};
use crate::error::DatabaseError;
use crate::state;

impl Runner {
    /// Writes that everything up to `version` was in `base` before the history began.
    ///
    /// # Errors
    ///
    /// When the history of `base` has begun already.
    pub async fn baseline(&mut self, base: &str, version: &str) -> Result<(), DatabaseError> {
        let history = self.history().await?;
        if let Some(entry) = history.iter().find(|entry| entry.base == base) {
            return Err(DatabaseError::history(format!(
                "the history of `{base}` has begun already, with `{}`",
                entry.version
            )));
        }
        state::baseline(&self.connection.client, base, version).await
    }

    /// Puts the checksum of the file as it is now in the entry of `version`. Returns whether it
    /// was another.
    ///
    /// # Errors
    ///
    /// When the change is unfinished: it goes on by the file as it was.
    pub async fn repair(
        &mut self,
        (base, version): (&str, &str),
        checksum: &str,
    ) -> Result<bool, DatabaseError> {
        let history = self.history().await?;
        let Some(entry) = live(&history, base, version) else {
            return Ok(false);
        };
        if entry.checksum == checksum || entry.plan.is_none() {
            return Ok(false);
        }
        if !entry.phase.is_settled() {
            return Err(super::unfinished(entry));
        }
        state::set_checksum(&self.connection.client, entry.installed_rank, checksum).await?;
        Ok(true)
    }
}
