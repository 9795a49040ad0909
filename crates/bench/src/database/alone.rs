//! Filling rows in while nobody else is there, beside plain updates of all rows in the same run.

use std::time::Instant;

use serde_json::{Value, json};
use stage::Cluster;

use super::{CHANGE, Heard, ROWS, drop_database, filled, median, number, per_second, runner, sql};

/// Each figure is the median of so many.
const ROUNDS: usize = 3;

pub(super) async fn run(cluster: &Cluster) -> Result<Value, String> {
    let (mut backfills, mut fired, mut silent) = (Vec::new(), Vec::new(), Vec::new());
    let (mut wal, mut dead, mut update_wal) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let backfill = backfill(cluster).await?;
        backfills.push(backfill.rate);
        wal.push(backfill.wal);
        dead.push(backfill.dead);
        fired.push(update(cluster, "off").await?.0);
        let (rate, bytes) = update(cluster, "on").await?;
        silent.push(rate);
        update_wal.push(bytes);
    }
    let (rate, fired, silent) = (median(backfills), median(fired), median(silent));
    let percent = rate * 100 / fired.max(1);
    let (wal, dead, update_wal) = (median(wal), median(dead), median(update_wal));
    eprintln!(
        "alone: {rate} rows/s; one UPDATE of all rows with the same triggers {fired} rows/s ({percent} %), \
         its triggers passed over {silent} rows/s"
    );
    eprintln!(
        "       {} MiB of WAL (the one UPDATE: {}), {dead} dead tuples",
        wal >> 20,
        update_wal >> 20
    );
    Ok(json!({
        "rows_per_second": rate, "update_rows_per_second": fired, "percent_of_update": percent,
        "update_without_triggers_rows_per_second": silent, "wal_bytes": wal,
        "update_wal_bytes": update_wal, "dead_tuples": dead,
    }))
}

struct Backfill {
    rate: u64,
    wal: u64,
    dead: u64,
}

async fn backfill(cluster: &Cluster) -> Result<Backfill, String> {
    let database = filled(cluster)?;
    let heard = Heard::default();
    let mut runner = runner(cluster, &database, &heard).await?;
    let change = runner.plan("public", CHANGE).await;
    let change = change.map_err(|error| error.to_string())?;
    let before = lsn(cluster, &database)?;
    let expanded = runner.expand(&change).await;
    expanded.map_err(|error| error.to_string())?;
    let wal = lsn(cluster, &database)?.saturating_sub(before);
    let (rows, from, to) = heard.filling()?;
    // The session tells the server what it did when it ends.
    drop(runner);
    let dead = "SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 'users'";
    let dead = number(cluster, &database, dead)?;
    drop_database(cluster, &database)?;
    let rate = per_second(rows, (to - from).as_secs_f64());
    Ok(Backfill { rate, wal, dead })
}

/// One statement that does the same, under the triggers of the change; `silent` is the setting
/// by which they pass a backfill over.
async fn update(cluster: &Cluster, silent: &str) -> Result<(u64, u64), String> {
    let database = filled(cluster)?;
    let heard = Heard::default();
    let mut runner = runner(cluster, &database, &heard).await?;
    let change = runner.plan("public", CHANGE).await;
    let plan = change.map_err(|error| error.to_string())?.plan;
    drop(runner);
    for statement in plan.expand.iter().flat_map(|step| &step.statements) {
        sql(cluster, &database, statement)?;
    }
    let fill = plan.backfill.first().ok_or("there is nothing to fill in")?;
    let set = fill.set.first().ok_or("there is nothing to fill in")?;
    let before = lsn(cluster, &database)?;
    let begun = Instant::now();
    let update = format!(
        "SET gapless.backfill = '{silent}'; UPDATE users SET \"{}\" = {}",
        set.column, set.expression
    );
    sql(cluster, &database, &update)?;
    let rate = per_second(ROWS, begun.elapsed().as_secs_f64());
    let wal = lsn(cluster, &database)?.saturating_sub(before);
    drop_database(cluster, &database)?;
    Ok((rate, wal))
}

/// How many bytes of WAL there were so far.
fn lsn(cluster: &Cluster, database: &str) -> Result<u64, String> {
    let query = "SELECT (pg_current_wal_insert_lsn() - '0/0')::int8";
    number(cluster, database, query)
}
