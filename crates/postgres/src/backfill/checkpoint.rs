//! How far a backfill is, as the database remembers it.

use migration::plan::{Backfill, Key};
use tokio_postgres::Client;

use crate::error::{DatabaseError, Doing as _};
use crate::name::qualified;

/// A backfill's row in the history.
#[derive(Debug, Clone)]
pub(super) struct Checkpoint {
    rank: i32,
    position: i32,
    /// The last key that was done, as text; or the first page that was not.
    pub(super) cursor: Option<Vec<String>>,
    /// Where the pages end: what is written behind it, triggers have filled in.
    pub(super) last_page: Option<i64>,
    pub(super) rows_done: i64,
    pub(super) failed_rows: i64,
    pub(super) failed_keys: Vec<String>,
    pub(super) failed_reason: Option<String>,
    pub(super) finished: bool,
}

impl Checkpoint {
    /// Reads it, or makes it where the backfill never began.
    pub(super) async fn load(
        client: &Client,
        (rank, position): (i32, i32),
        backfill: &Backfill,
    ) -> Result<Self, DatabaseError> {
        let reading = "see how far a backfill is";
        let last_page = match &backfill.key {
            Key::Columns { .. } => None,
            Key::Ctid => Some(pages(client, backfill).await?),
        };
        client
            .execute(
                "INSERT INTO gapless.backfill (installed_rank, position, last_page)
                 VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
                &[&rank, &position, &last_page],
            )
            .await
            .doing(reading)?;
        let row = client
            .query_one(
                "SELECT cursor, last_page, rows_done, failed_rows, failed_keys, failed_reason, finished
                 FROM gapless.backfill WHERE installed_rank = $1 AND position = $2",
                &[&rank, &position],
            )
            .await
            .doing(reading)?;
        Ok(Self {
            rank,
            position,
            cursor: row.get(0),
            last_page: row.get(1),
            rows_done: row.get(2),
            failed_rows: row.get(3),
            failed_keys: row.get(4),
            failed_reason: row.get(5),
            finished: row.get(6),
        })
    }

    /// Writes it, in whatever transaction the client has open.
    pub(super) async fn save(&self, client: &Client) -> Result<(), DatabaseError> {
        client
            .execute(
                "UPDATE gapless.backfill SET cursor = $3, rows_done = $4, failed_rows = $5,
                    failed_keys = $6, failed_reason = $7, finished = $8
                 WHERE installed_rank = $1 AND position = $2",
                &[
                    &self.rank,
                    &self.position,
                    &self.cursor,
                    &self.rows_done,
                    &self.failed_rows,
                    &self.failed_keys,
                    &self.failed_reason,
                    &self.finished,
                ],
            )
            .await
            .doing("write down how far a backfill is")?;
        Ok(())
    }

    /// Counts a row that cannot be filled in; some are remembered by name.
    pub(super) fn fail(&mut self, key: String, reason: &str) {
        const SAMPLES: usize = 10;
        self.failed_rows += 1;
        if self.failed_keys.len() < SAMPLES {
            self.failed_keys.push(key);
        }
        self.failed_reason.get_or_insert_with(|| reason.to_owned());
    }
}

/// The pages of the table, or of its largest partition.
async fn pages(client: &Client, backfill: &Backfill) -> Result<i64, DatabaseError> {
    let row = client
        .query_one(
            "SELECT coalesce(max(pg_relation_size(c.oid)) / current_setting('block_size')::int8, 0)::int8
             FROM pg_class c WHERE c.relkind = 'r' AND (c.oid = to_regclass($1)
                OR c.oid IN (SELECT relid FROM pg_partition_tree(to_regclass($1)))
                OR c.oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = to_regclass($1)))",
            &[&qualified(&backfill.table)],
        )
        .await
        .doing("see how large a table is")?;
    Ok(row.get(0))
}
