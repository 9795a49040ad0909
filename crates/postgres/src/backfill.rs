//! Fills rows in, batch by batch, while programs use the table.
//!
//! A batch is a range of the key, or of pages, and is written down in its own transaction, so
//! that a killed runner's successor goes on behind it. Rows that programs write meanwhile are
//! right already, wherever in the key they lie: the plan's triggers are there before. A row
//! that cannot be filled in is counted and passed over, to tell how many there are; then
//! nothing is published.

mod checkpoint;
mod crowd;
mod lag;
mod pace;
mod range;

use std::time::{Duration, Instant};

use migration::plan::{Backfill, Key};
use tokio_postgres::Client;

use crate::error::{DatabaseError, Doing as _};
use crate::event::{Event, Progress, millis};
use crate::name::{qualified, quoted};
use crate::run::Runner;
use crate::settings::backoff;
use checkpoint::Checkpoint;
use crowd::Crowd;
use lag::Lag;
pub(crate) use lag::hidden;
use pace::Pace;
use range::Ranges;

/// So many rows that cannot be filled in are enough to tell.
const FAILED_MAX: i64 = 100;

/// Whether this session may silence triggers.
pub(crate) async fn may_silence(client: &Client) -> Result<bool, DatabaseError> {
    let looking = "look at privileges";
    let row = client
        .query_one(
            "SELECT rolsuper, current_setting('server_version_num')::int4 >= 150000
             FROM pg_roles WHERE rolname = current_user",
            &[],
        )
        .await
        .doing(looking)?;
    if row.get(0) || !row.get::<_, bool>(1) {
        return Ok(row.get(0));
    }
    let sql = "SELECT has_parameter_privilege(current_user, 'session_replication_role', 'SET')";
    Ok(client.query_one(sql, &[]).await.doing(looking)?.get(0))
}

/// Fills `backfill` in, from where the last run of it ended.
pub(crate) async fn run(
    runner: &mut Runner,
    (rank, position): (i32, usize),
    backfill: &Backfill,
) -> Result<(), DatabaseError> {
    let position = i32::try_from(position).expect("a plan has few backfills");
    let client = &runner.connection.client;
    let mut checkpoint = Checkpoint::load(client, (rank, position), backfill).await?;
    if !checkpoint.finished {
        prepare(client, backfill).await?;
        let filled = batches(runner, &mut checkpoint, backfill).await;
        // A lost connection has forgotten the settings anyway.
        let reset = runner.connection.client.batch_execute(RESET).await;
        filled?;
        reset.doing("end a backfill")?;
    }
    if checkpoint.failed_rows > 0 {
        return Err(DatabaseError::RowsRefuse {
            table: backfill.table.to_string(),
            rows: checkpoint.failed_rows,
            more: checkpoint.failed_rows >= FAILED_MAX,
            keys: checkpoint.failed_keys,
            reason: checkpoint.failed_reason.unwrap_or_default(),
        });
    }
    // The new columns have no statistics yet, and the new version's queries need them.
    analyse(runner, backfill).await
}

const RESET: &str =
    "RESET row_security; RESET search_path; RESET enable_seqscan; RESET jit; RESET plan_cache_mode";

/// Settings of the session: the range of each batch is found by the index or the page, never by
/// reading the table, whatever the statistics say; and a policy that would hide rows is an error.
async fn prepare(client: &Client, backfill: &Backfill) -> Result<(), DatabaseError> {
    let path: Vec<String> = backfill
        .search_path
        .iter()
        .map(|name| quoted(name))
        .collect();
    let path = match path.is_empty() {
        true => "''".to_owned(),
        false => path.join(", "),
    };
    let sql = format!(
        "SET row_security = off; SET search_path = {path}; SET enable_seqscan = off; SET jit = off;
         SET plan_cache_mode = force_custom_plan"
    );
    client.batch_execute(&sql).await.doing("begin a backfill")
}

async fn batches(
    runner: &mut Runner,
    checkpoint: &mut Checkpoint,
    backfill: &Backfill,
) -> Result<(), DatabaseError> {
    let ranges = Ranges::new(&runner.connection.client, backfill).await?;
    let mut total = rows_total(&runner.connection.client, backfill).await?;
    if total.is_none() {
        // Nobody has counted yet, and a person wants to know how long it takes.
        analyse(runner, backfill).await?;
        total = rows_total(&runner.connection.client, backfill).await?;
    }
    let mut pace = Pace::new(runner.settings.batch_time, ranges.units());
    let (begun, rows_before) = (Instant::now(), checkpoint.rows_done);
    let (mut lag, mut crowd) = (Lag::default(), Crowd::default());
    let (mut tries, mut stuck) = (0, begun);
    while !checkpoint.finished && checkpoint.failed_rows < FAILED_MAX {
        runner.helm.go_on().await?;
        lag.wait(runner).await?;
        let others = crowd.look(&runner.connection.client).await?;
        let started = Instant::now();
        match ranges.batch(runner, checkpoint, pace.units()).await {
            Ok(next) => {
                let rows = (next.rows_done - checkpoint.rows_done).unsigned_abs();
                let took = started.elapsed();
                *checkpoint = next;
                (tries, stuck) = (0, Instant::now());
                let pause = pace.took(rows, took, others);
                let done = (checkpoint.rows_done - rows_before).unsigned_abs();
                let remaining_s = remaining(total, checkpoint.rows_done, (done, begun.elapsed()));
                runner.helm.tell(Event::Backfill(Progress {
                    table: backfill.table.to_string(),
                    rows: checkpoint.rows_done.unsigned_abs(),
                    rows_total: total,
                    batch_rows: rows,
                    batch_ms: millis(took),
                    remaining_s,
                }));
                if !pause.is_zero() {
                    runner.helm.wait(pause).await?;
                }
            }
            Err(error) if error.is_contention() => {
                tries += 1;
                contended(runner, backfill, (error, stuck)).await?;
                pace.halve();
                runner.helm.wait(backoff(tries)).await?;
            }
            Err(error) if error.is_about_rows() && pace.units() > 1 => pace.halve(),
            Err(error) if error.is_about_rows() => {
                ranges.pass_over(runner, checkpoint, &error).await?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn contended(
    runner: &Runner,
    backfill: &Backfill,
    (error, stuck): (DatabaseError, Instant),
) -> Result<(), DatabaseError> {
    let title = format!("fill in rows of {}", backfill.table);
    let waited = stuck.elapsed();
    if waited >= runner.settings.patience {
        let blockers = vec![error.to_string()];
        return Err(DatabaseError::Patience {
            title,
            seconds: waited.as_secs(),
            blockers,
        });
    }
    runner.helm.tell(Event::Again {
        title,
        reason: error.to_string(),
    });
    Ok(())
}

fn remaining(total: Option<u64>, rows: i64, (done, took): (u64, Duration)) -> Option<u64> {
    let left = total?.saturating_sub(rows.unsigned_abs());
    let seconds = u128::from(left) * took.as_millis() / u128::from(done.max(1)) / 1000;
    u64::try_from(seconds).ok()
}

async fn rows_total(client: &Client, backfill: &Backfill) -> Result<Option<u64>, DatabaseError> {
    let row = client
        .query_one(
            "SELECT CASE WHEN bool_and(c.reltuples < 0) THEN NULL ELSE sum(greatest(0, c.reltuples))::int8 END
             FROM pg_class c WHERE c.relkind = 'r' AND (c.oid = to_regclass($1)
                OR c.oid IN (SELECT relid FROM pg_partition_tree(to_regclass($1))))",
            &[&qualified(&backfill.table)],
        )
        .await
        .doing("estimate the rows of a table")?;
    Ok(row.get::<_, Option<i64>>(0).map(i64::unsigned_abs))
}

/// Somebody else may be at work on the table; then its statistics come with the next vacuum.
async fn analyse(runner: &Runner, backfill: &Backfill) -> Result<(), DatabaseError> {
    let columns: Vec<String> = backfill.set.iter().map(|it| quoted(&it.column)).collect();
    let sql = format!(
        "ANALYZE {} ({})",
        qualified(&backfill.table),
        columns.join(", ")
    );
    let client = &runner.connection.client;
    let limit = format!(
        "SET lock_timeout = {}",
        runner.settings.lock_timeout.as_millis()
    );
    client
        .batch_execute(&limit)
        .await
        .doing("make statistics")?;
    let analysed = client.batch_execute(&sql).await.doing("make statistics");
    client
        .batch_execute("RESET lock_timeout")
        .await
        .doing("make statistics")?;
    match analysed {
        Err(error) if error.is_contention() => {
            let title = format!("make statistics of {}", backfill.table);
            runner.helm.tell(Event::Again {
                title,
                reason: error.to_string(),
            });
            Ok(())
        }
        done => done,
    }
}

/// The kind of key, for what a person is told about a row.
fn key_names(backfill: &Backfill) -> Vec<String> {
    match &backfill.key {
        Key::Columns { columns, .. } => columns.clone(),
        Key::Ctid => vec!["ctid".to_owned()],
    }
}
