//! Releases by service and number.

use std::collections::{BTreeMap, BTreeSet};

use model::{Digest, Release, ReleaseId, ReleaseSpec, ServiceName};
use rusqlite::{OptionalExtension, Row, params};

use super::{Store, StoreError};

type Columns = (u32, String, Option<String>, String);

impl Store {
    /// The release with this content, if there ever was one; a pruned one too.
    ///
    /// # Errors
    ///
    /// When the database cannot be read.
    pub(crate) fn release_by_digest(
        &self,
        service: &ServiceName,
        digest: &Digest,
    ) -> Result<Option<Release>, StoreError> {
        let found = self
            .connection
            .prepare_cached(
                "SELECT number, digest, label, spec FROM releases
                 WHERE service = ?1 AND digest = ?2",
            )
            .and_then(|mut statement| {
                statement
                    .query_row([service.as_str(), digest.as_str()], columns)
                    .optional()
            })
            .map_err(StoreError::sqlite("read a release"))?;
        found.map(release).transpose()
    }

    /// The releases of a service that are kept, oldest first, with the time each was made.
    ///
    /// # Errors
    ///
    /// When the database cannot be read.
    pub(crate) fn releases(
        &self,
        service: &ServiceName,
    ) -> Result<Vec<(Release, i64)>, StoreError> {
        let fail = StoreError::sqlite("list releases");
        let mut statement = self
            .connection
            .prepare_cached(
                "SELECT number, digest, label, spec, made_ms FROM releases
                 WHERE service = ?1 AND pruned = 0 ORDER BY number",
            )
            .map_err(&fail)?;
        let rows = statement
            .query_map([service.as_str()], |row| Ok((columns(row)?, row.get(4)?)))
            .map_err(&fail)?;
        rows.map(|row| {
            let (columns, made_ms) = row.map_err(&fail)?;
            Ok((release(columns)?, made_ms))
        })
        .collect()
    }

    /// The number that the next release of a service gets; never one that was given before.
    ///
    /// # Errors
    ///
    /// When the database cannot be read.
    pub(crate) fn next_release(&self, service: &ServiceName) -> Result<ReleaseId, StoreError> {
        let newest: Option<u32> = self
            .connection
            .query_row(
                "SELECT max(number) FROM releases WHERE service = ?1",
                [service.as_str()],
                |row| row.get(0),
            )
            .map_err(StoreError::sqlite("number a release"))?;
        Ok(ReleaseId(newest.unwrap_or(0) + 1))
    }

    /// Keeps releases, one per service: new ones, and known ones with a new label.
    ///
    /// # Errors
    ///
    /// When they cannot be written; none is then.
    pub(crate) fn put_releases(
        &mut self,
        releases: &BTreeMap<ServiceName, Release>,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let mut rows = Vec::with_capacity(releases.len());
        for (service, release) in releases {
            let spec = serde_json::to_string(&release.spec);
            rows.push((
                service,
                release,
                spec.map_err(StoreError::malformed("release"))?,
            ));
        }
        self.write(|transaction| {
            for (service, release, spec) in rows {
                transaction
                    .execute(
                        "INSERT INTO releases
                           (service, number, digest, artifact, label, spec, made_ms)
                         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                         ON CONFLICT (service, number) DO UPDATE
                         SET label = excluded.label, pruned = 0",
                        params![
                            service.as_str(),
                            release.id.0,
                            release.digest.as_str(),
                            release.spec.artifact.as_str(),
                            release.label,
                            spec,
                            now_ms
                        ],
                    )
                    .map_err(StoreError::sqlite("write a release"))?;
            }
            Ok(())
        })
    }

    /// Marks releases of a service as pruned: their numbers stay taken.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub(crate) fn prune_releases(
        &mut self,
        service: &ServiceName,
        releases: &[ReleaseId],
    ) -> Result<(), StoreError> {
        self.write(|transaction| {
            for release in releases {
                transaction
                    .execute(
                        "UPDATE releases SET pruned = 1 WHERE service = ?1 AND number = ?2",
                        params![service.as_str(), release.0],
                    )
                    .map_err(StoreError::sqlite("prune a release"))?;
            }
            Ok(())
        })
    }

    /// The artefacts and migrations of all kept releases.
    ///
    /// # Errors
    ///
    /// When the database cannot be read.
    pub(crate) fn artifacts_in_use(&self) -> Result<BTreeSet<String>, StoreError> {
        let fail = StoreError::sqlite("list artefacts");
        let mut statement = self
            .connection
            .prepare_cached(
                "SELECT artifact FROM releases WHERE pruned = 0 UNION
                 SELECT json_extract(spec, '$.database.migrations') FROM releases
                 WHERE pruned = 0 AND json_extract(spec, '$.database.migrations') IS NOT NULL",
            )
            .map_err(&fail)?;
        let rows = statement.query_map([], |row| row.get(0)).map_err(&fail)?;
        rows.collect::<Result<_, _>>().map_err(&fail)
    }
}

fn columns(row: &Row<'_>) -> rusqlite::Result<Columns> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
}

fn release((number, digest, label, spec): Columns) -> Result<Release, StoreError> {
    let malformed = || StoreError::malformed(format!("release v{number}"));
    let spec: ReleaseSpec = serde_json::from_str(&spec).map_err(malformed())?;
    let digest = Digest::try_new(&digest)
        .map_err(<serde_json::Error as serde::de::Error>::custom)
        .map_err(malformed())?;
    Ok(Release {
        id: ReleaseId(number),
        digest,
        label,
        spec,
    })
}
