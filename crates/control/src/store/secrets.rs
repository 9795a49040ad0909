//! Sealed secrets by name and version.

use std::collections::BTreeMap;

use rusqlite::{OptionalExtension, params};

use super::{Store, StoreError};

/// One sealed value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SealedSecret {
    /// Its version, from 1.
    pub version: u32,
    /// The nonce it was sealed with.
    pub nonce: Vec<u8>,
    /// The sealed value.
    pub sealed: Vec<u8>,
    /// When it was set, in milliseconds since 1970.
    pub set_ms: i64,
}

impl Store {
    /// The version that the next value of `name` gets; never one that was given before.
    ///
    /// # Errors
    ///
    /// When the database cannot be read.
    pub(crate) fn next_secret_version(&self, name: &str) -> Result<u32, StoreError> {
        let newest: Option<u32> = self
            .connection
            .query_row(
                "SELECT newest FROM secret_versions WHERE name = ?1",
                [name],
                |row| row.get(0),
            )
            .optional()
            .map_err(StoreError::sqlite("read a secret's version"))?;
        Ok(newest.unwrap_or(0) + 1)
    }

    /// Keeps a sealed value; with `retire` the older versions' values are destroyed.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub(crate) fn put_secret(
        &mut self,
        name: &str,
        secret: &SealedSecret,
        retire: crate::Retire,
    ) -> Result<(), StoreError> {
        self.write(|transaction| {
            let fail = StoreError::sqlite("write a secret");
            transaction
                .execute(
                    "INSERT INTO secret_versions (name, newest) VALUES (?1, ?2)
                     ON CONFLICT (name) DO UPDATE SET newest = excluded.newest",
                    params![name, secret.version],
                )
                .map_err(&fail)?;
            transaction
                .execute(
                    "INSERT INTO secrets (name, version, nonce, sealed, set_ms)
                     VALUES (?1, ?2, ?3, ?4, ?5)",
                    params![
                        name,
                        secret.version,
                        secret.nonce,
                        secret.sealed,
                        secret.set_ms
                    ],
                )
                .map_err(&fail)?;
            if retire == crate::Retire::Older {
                transaction
                    .execute(
                        "UPDATE secrets SET retired = 1, nonce = x'', sealed = x''
                         WHERE name = ?1 AND version < ?2",
                        params![name, secret.version],
                    )
                    .map_err(&fail)?;
            }
            Ok(())
        })
    }

    /// The value that stands for `version` of `name`: itself, or the newest once it is retired.
    ///
    /// # Errors
    ///
    /// When the database cannot be read.
    pub(crate) fn secret(
        &self,
        name: &str,
        version: u32,
    ) -> Result<Option<SealedSecret>, StoreError> {
        self.connection
            .prepare_cached(
                "SELECT version, nonce, sealed, set_ms FROM secrets
                 WHERE name = ?1 AND retired = 0 AND version >= ?2
                   AND (version = ?2 OR EXISTS (
                     SELECT 1 FROM secrets WHERE name = ?1 AND version = ?2 AND retired = 1))
                 ORDER BY version = ?2 DESC, version DESC LIMIT 1",
            )
            .and_then(|mut statement| {
                statement
                    .query_row(params![name, version], |row| {
                        Ok(SealedSecret {
                            version: row.get(0)?,
                            nonce: row.get(1)?,
                            sealed: row.get(2)?,
                            set_ms: row.get(3)?,
                        })
                    })
                    .optional()
            })
            .map_err(StoreError::sqlite("read a secret"))
    }

    /// The versions in use of every secret, oldest first, with the time each was set.
    ///
    /// # Errors
    ///
    /// When the database cannot be read.
    pub(crate) fn secret_versions(&self) -> Result<BTreeMap<String, Vec<(u32, i64)>>, StoreError> {
        let fail = StoreError::sqlite("list secrets");
        let mut statement = self
            .connection
            .prepare_cached(
                "SELECT name, version, set_ms FROM secrets WHERE retired = 0
                 ORDER BY name, version",
            )
            .map_err(&fail)?;
        let mut rows = statement.query([]).map_err(&fail)?;
        let mut all: BTreeMap<String, Vec<(u32, i64)>> = BTreeMap::new();
        while let Some(row) = rows.next().map_err(&fail)? {
            let name = row.get(0).map_err(&fail)?;
            let version = (row.get(1).map_err(&fail)?, row.get(2).map_err(&fail)?);
            all.entry(name).or_default().push(version);
        }
        Ok(all)
    }

    /// Destroys every version of a secret; `false` when there was none.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub(crate) fn remove_secret(&mut self, name: &str) -> Result<bool, StoreError> {
        self.write(|transaction| {
            let removed = transaction
                .execute("DELETE FROM secrets WHERE name = ?1", [name])
                .map_err(StoreError::sqlite("remove a secret"))?;
            Ok(removed > 0)
        })
    }
}
