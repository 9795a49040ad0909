//! A change of a table of a million rows: how quickly rows are filled in alone, and what programs
//! of both versions feel of it that keep the machine busy.

mod alone;
mod beside;
mod cpu;
mod pgbench;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use migration::plan::{LockLevel, Plan};
use postgres::{Consent, Event, Observer, Runner, Settings, Url, Wish};
use serde_json::{Value, json};
use stage::Cluster;

/// As a server of its own would be set up: all is written ahead and to the disk; a commit does
/// not wait for it, so that processors are measured and not the disk.
const SETTINGS: &str = "
fsync = on
full_page_writes = on
shared_buffers = 512MB
max_wal_size = 4GB
checkpoint_timeout = 10min
";

const ROWS: u64 = 1_000_000;

/// The table, with something in each row that nobody changes.
const TABLE: &str = "CREATE TABLE users (id bigint PRIMARY KEY, name text NOT NULL, age int NOT NULL, more text NOT NULL);
    INSERT INTO users SELECT n, 'user ' || n, n % 90, repeat('x', 60) FROM generate_series(1, 1000000) n";

/// The change: names in capitals, in a column of another type.
const CHANGE: (&str, &str) = (
    "02_capitals.yaml",
    "operations:
  - alter_column: {table: users, column: name, type: varchar(60), up: upper(name), down: lower(name)}
",
);

/// The schema of the change's version.
const VERSION: &str = "public_02_capitals";

/// Fills a million rows in: alone, then beside programs that saturate the machine.
pub(crate) fn run() -> Result<Value, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let cluster = Cluster::start(SETTINGS, &[]).map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let alone = alone::run(&cluster).await?;
        let beside = beside::run(&cluster).await?;
        Ok(json!({ "rows": ROWS, "alone": alone, "beside_load": beside }))
    })
}

/// An empty database with the table, at rest.
fn filled(cluster: &Cluster) -> Result<String, String> {
    let name = cluster.database().map_err(|error| error.to_string())?;
    sql(cluster, &name, &format!("SET ROLE {name}; {TABLE}"))?;
    sql(cluster, &name, "VACUUM ANALYZE users")?;
    sql(cluster, &name, "CHECKPOINT")?;
    Ok(name)
}

fn drop_database(cluster: &Cluster, database: &str) -> Result<(), String> {
    let drop = format!("DROP DATABASE {database} WITH (FORCE)");
    sql(cluster, "postgres", &drop)?;
    sql(cluster, "postgres", "CHECKPOINT").map(|_| ())
}

fn sql(cluster: &Cluster, database: &str, sql: &str) -> Result<String, String> {
    cluster
        .sql(database, sql)
        .map_err(|error| error.to_string())
}

fn number(cluster: &Cluster, database: &str, query: &str) -> Result<u64, String> {
    let text = sql(cluster, database, query)?;
    text.parse()
        .map_err(|_| format!("`{query}` is no number but `{text}`"))
}

/// What happened, and when.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<(Instant, Event)>>>);

impl Heard {
    fn observer(&self) -> Observer {
        let heard = self.0.clone();
        Arc::new(move |event| {
            let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
            heard.push((Instant::now(), event.clone()));
        })
    }

    fn all(&self) -> Vec<(Instant, Event)> {
        let heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heard.clone()
    }

    /// The rows that were filled in, and from when to when.
    fn filling(&self) -> Result<(u64, Instant, Instant), String> {
        let all = self.all();
        let first = all
            .iter()
            .position(|(_, event)| matches!(event, Event::Backfill(_)));
        let first = first.ok_or("nothing was filled in")?;
        let begun = all[first.saturating_sub(1)].0;
        let mut filled = (0, begun);
        for (at, event) in &all {
            if let Event::Backfill(progress) = event {
                filled = (progress.rows, *at);
            }
        }
        Ok((filled.0, begun, filled.1))
    }

    /// The longest that a step of `plan` could keep writers waiting, in milliseconds.
    fn longest_lock_ms(&self, plan: &Plan) -> u64 {
        let parts = [&plan.expand, &plan.publish, &plan.contract];
        let steps = parts.into_iter().flatten().filter(|step| {
            let strong = |level| level >= LockLevel::Share;
            step.locks.iter().any(|lock| strong(lock.level))
        });
        let titles: Vec<&str> = steps.map(|step| step.title.as_str()).collect();
        let held = self.all().into_iter().filter_map(|(_, event)| match event {
            Event::Done { title, held_ms, .. } if titles.contains(&title.as_str()) => Some(held_ms),
            _ => None,
        });
        held.max().unwrap_or(0)
    }
}

/// A runner as the command line has one.
async fn runner(cluster: &Cluster, database: &str, heard: &Heard) -> Result<Runner, String> {
    let settings = Settings {
        consent: Consent::Given,
        ..Settings::default()
    };
    let url = Url::parse(&cluster.url(database, database)).map_err(|error| error.to_string())?;
    let (_, wish) = tokio::sync::watch::channel(Wish::Go);
    let opened = Runner::open(&url, settings, (heard.observer(), wish)).await;
    opened.map_err(|error| error.to_string())
}

fn per_second(rows: u64, seconds: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a figure for people"
    )]
    let rate = (rows as f64 / seconds.max(0.001)) as u64;
    rate
}

fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}
