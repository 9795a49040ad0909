//! Rows that a write of an older version left wrong for a newer one.
//!
//! The plan's triggers mark such rows in a hidden column and note them here, a bounded number of
//! them by key. The notes say that there may be marked rows; the table itself says how many.

use std::collections::BTreeMap;

use migration::schema::Qualified;
use serde::Serialize;
use tokio_postgres::Client;

use crate::error::{DatabaseError, Doing as _};
use crate::name::{qualified, quoted};

const LOOKING: &str = "look for rows that were not converted";

/// Keys that a person is told of.
const SAMPLES: usize = 10;

/// Rows of a table that hold what a program of an older version wrote and `up` could not convert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unconverted {
    /// The table.
    pub table: String,
    /// How many there are; at most some more than a thousand are counted as they come.
    pub rows: i64,
    /// The keys of some.
    pub keys: Vec<String>,
    /// What was wrong with one of them.
    pub reason: String,
}

/// Whether there is a place for notes: a database may know changes from before there was one.
pub(crate) async fn is_there(client: &Client) -> Result<bool, DatabaseError> {
    let sql = "SELECT to_regclass('gapless.unconverted') IS NOT NULL";
    Ok(client.query_one(sql, &[]).await.doing(LOOKING)?.get(0))
}

/// What is noted, by the rank of the change.
pub(crate) async fn noted(
    client: &Client,
) -> Result<BTreeMap<i32, Vec<Unconverted>>, DatabaseError> {
    if !is_there(client).await? {
        return Ok(BTreeMap::new());
    }
    let rows = client
        .query(
            "SELECT installed_rank, \"table\", count(*), min(error),
                (array_agg(key ORDER BY noted_on) FILTER (WHERE key IS NOT NULL))
             FROM gapless.unconverted GROUP BY 1, 2 ORDER BY 1, 2",
            &[],
        )
        .await
        .doing(LOOKING)?;
    let mut noted: BTreeMap<i32, Vec<Unconverted>> = BTreeMap::new();
    for row in rows {
        let mut keys: Vec<String> = row.get::<_, Option<_>>(4).unwrap_or_default();
        keys.truncate(SAMPLES);
        noted.entry(row.get(0)).or_default().push(Unconverted {
            table: row.get(1),
            rows: row.get(2),
            keys,
            reason: row.get(3),
        });
    }
    Ok(noted)
}

/// What is noted for each change of `base`, by its name.
///
/// # Errors
///
/// When the connection is lost.
pub async fn unconverted(
    client: &Client,
    base: &str,
) -> Result<Vec<(String, Unconverted)>, DatabaseError> {
    let mut noted = noted(client).await?;
    if noted.is_empty() {
        return Ok(Vec::new());
    }
    let sql = "SELECT installed_rank, version FROM gapless.history WHERE base = $1 ORDER BY 1";
    let rows = client.query(sql, &[&base]).await.doing(LOOKING)?;
    let of = |row: tokio_postgres::Row| {
        let all = noted.remove(&row.get(0)).unwrap_or_default();
        all.into_iter().map(move |it| (row.get(1), it))
    };
    Ok(rows.into_iter().flat_map(of).collect())
}

/// The rows that are marked wrong for the change `rank` of `base`, counted in the tables where
/// any were noted. Notes without such a row are forgotten.
pub(crate) async fn marked(
    client: &Client,
    (rank, base): (i32, &str),
) -> Result<Vec<Unconverted>, DatabaseError> {
    let Some(noted) = noted(client).await?.remove(&rank) else {
        return Ok(Vec::new());
    };
    let mark = format!("_gapless_{rank}_unconverted");
    let tables = client
        .query(
            "SELECT c.relname::text FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
             JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE n.nspname = $1 AND a.attname = $2 AND c.relkind IN ('r', 'p') AND NOT c.relispartition
             ORDER BY 1",
            &[&base, &mark],
        )
        .await
        .doing(LOOKING)?;
    let mut found = Vec::new();
    for row in tables {
        let table = Qualified {
            schema: base.to_owned(),
            name: row.get(0),
        };
        let of_table = noted.iter().find(|it| it.table == table.name);
        if let Some(mut it) = count(client, (&table, &quoted(&mark))).await? {
            it.keys = of_table.map_or(Vec::new(), |noted| noted.keys.clone());
            found.push(it);
        }
    }
    if found.is_empty() {
        forget(client, rank).await?;
    }
    Ok(found)
}

async fn count(
    client: &Client,
    (table, mark): (&Qualified, &str),
) -> Result<Option<Unconverted>, DatabaseError> {
    let sql = format!(
        "SELECT count(*), min((SELECT string_agg(reason.value, '; ') FROM jsonb_each_text({mark}) reason))
         FROM {} WHERE {mark} IS NOT NULL",
        qualified(table)
    );
    let row = client.query_one(&sql, &[]).await.doing(LOOKING)?;
    let reason: Option<String> = row.get(1);
    Ok(reason.map(|reason| Unconverted {
        table: table.to_string(),
        rows: row.get(0),
        keys: Vec::new(),
        reason,
    }))
}

/// Forgets the notes of a change that is at its end.
pub(crate) async fn forget(client: &Client, rank: i32) -> Result<(), DatabaseError> {
    let sql = "DELETE FROM gapless.unconverted WHERE installed_rank = $1";
    client.execute(sql, &[&rank]).await.doing(LOOKING)?;
    Ok(())
}

/// Refuses to publish a change while rows are marked wrong for it.
pub(crate) async fn refuse_publication(
    client: &Client,
    (rank, base): (i32, &str),
) -> Result<(), DatabaseError> {
    match marked(client, (rank, base)).await?.into_iter().next() {
        None => Ok(()),
        Some(it) => Err(DatabaseError::RowsRefuse {
            table: it.table,
            rows: it.rows,
            more: false,
            keys: it.keys,
            reason: it.reason,
        }),
    }
}

/// Refuses to contract a change while rows are marked wrong for it.
pub(crate) async fn refuse_contract(
    client: &Client,
    (rank, base): (i32, &str),
    version: &str,
) -> Result<(), DatabaseError> {
    match marked(client, (rank, base)).await?.into_iter().next() {
        None => Ok(()),
        Some(rows) => Err(DatabaseError::Unconverted {
            version: version.to_owned(),
            rows,
        }),
    }
}
