//! Writers of the old and the new version hammer the same rows while a change is made, taken
//! back, made again and contracted. Every acknowledged write is in the ledger; afterwards each
//! row is what the last of its writes says, through both versions, and no write has failed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use postgres::Runner;
use tokio::task::JoinHandle;

use crate::script::runner;
use crate::stand::Database;

/// In the old version names are small letters, in the new one capitals.
const CHANGE: &str = r#"
operations:
  - alter_column:
      table: users
      column: name
      type: varchar(60)
      up: upper(name)
      down: lower(name)
"#;

/// Where the new version is.
const NEW_PATH: &str = "public_02_capitals";

const ROWS: u64 = 400;

/// Writes per phase; a million of them in all takes a while.
fn writes_per_phase() -> u64 {
    let all = std::env::var("GAPLESS_LEDGER_WRITES")
        .ok()
        .and_then(|text| text.parse().ok());
    all.unwrap_or(4_000_u64) / 4
}

/// The last acknowledged write of each row: its number among the row's, and the value in small
/// letters; and how many there were.
#[derive(Default)]
struct Ledger(Mutex<BTreeMap<i64, (i64, String, i64)>>);

impl Ledger {
    fn wrote(&self, id: i64, number: i64, value: &str) {
        let mut rows = self.0.lock().unwrap();
        let row = rows.entry(id).or_insert((0, String::new(), 0));
        row.2 += 1;
        if number > row.0 {
            (row.0, row.1) = (number, value.to_owned());
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Version {
    Old,
    New,
}

impl Version {
    /// What a writer writes as its `n`th, in small letters.
    fn value(self, writer: u64, n: u64) -> String {
        match self {
            Self::Old => format!("old{writer}-{n}"),
            Self::New => format!("new{writer}-{n}"),
        }
    }

    /// A value as this version knows it.
    fn shown(self, value: &str) -> String {
        match self {
            Self::Old => value.to_owned(),
            Self::New => value.to_uppercase(),
        }
    }

    /// Views take no `ON CONFLICT` of a table's key, so only the old version writes that way.
    fn statement(self, n: u64) -> &'static str {
        match (self, n % 5) {
            (Self::Old, 0) => {
                "INSERT INTO users (id, name, n) VALUES ($1, $2, 1) ON CONFLICT (id)
                 DO UPDATE SET name = excluded.name, n = users.n + 1 RETURNING n"
            }
            _ => "UPDATE users SET name = $2, n = n + 1 WHERE id = $1 RETURNING n",
        }
    }
}

struct Writers {
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Writers {
    async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
    }
}

struct Stage {
    database: Database,
    ledger: Arc<Ledger>,
    writes: Arc<AtomicU64>,
}

impl Stage {
    /// Two writers of a version, until they are told to end.
    async fn writers(&self, version: Version, path: &str) -> Writers {
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = Vec::new();
        for writer in 0..2_u64 {
            let mut connection = self.database.connect().await;
            let set = format!("SET search_path = {path}");
            connection.client().batch_execute(&set).await.unwrap();
            let (stop, ledger, writes) = (stop.clone(), self.ledger.clone(), self.writes.clone());
            tasks.push(tokio::spawn(async move {
                let mut n = writer;
                while !stop.load(Ordering::Relaxed) {
                    n += 1;
                    let id = i64::try_from(n.wrapping_mul(2_654_435_761) % ROWS).unwrap();
                    let value = version.value(writer, n);
                    let (client, sent) = (connection.client(), version.shown(&value));
                    let rows = client.query(version.statement(n), &[&id, &sent]).await;
                    let rows = rows.unwrap_or_else(|error| panic!("{value} failed: {error:?}"));
                    if let Some(row) = rows.first() {
                        ledger.wrote(id, row.get(0), &value);
                    }
                    writes.fetch_add(1, Ordering::Relaxed);
                }
            }));
        }
        Writers { stop, tasks }
    }

    /// The change, published, and writers of its version that have done their part.
    async fn published(&self, runner: &mut Runner) -> Writers {
        let change = runner.plan("public", ("02_capitals.yaml", CHANGE)).await;
        runner.expand(&change.unwrap()).await.unwrap();
        let path = format!("{NEW_PATH}, public");
        let writers = self.writers(Version::New, &path).await;
        self.more().await;
        writers
    }

    /// Waits until the writers have done so many more.
    async fn more(&self) {
        let until = self.writes.load(Ordering::Relaxed) + writes_per_phase();
        while self.writes.load(Ordering::Relaxed) < until {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    /// Each row through a version's schema is what the ledger says.
    async fn balance(&self, version: Version, path: &str) {
        let mut connection = self.database.connect().await;
        let sql = format!("SELECT id, name::text, n FROM {path}.users");
        let rows = connection.client().query(&sql, &[]).await.unwrap();
        assert_eq!(rows.len() as u64, ROWS);
        let ledger = self.ledger.0.lock().unwrap();
        for row in rows {
            let (id, name, n): (i64, String, i64) = (row.get(0), row.get(1), row.get(2));
            let Some((last, value, count)) = ledger.get(&id) else {
                continue;
            };
            let wanted = version.shown(value);
            assert_eq!((&name, n), (&wanted, *last), "row {id} through {path}");
            assert_eq!(n, *count, "no write of row {id} was lost");
        }
    }
}

#[tokio::test]
async fn no_write_of_either_version_is_lost() {
    let Some(database) = Database::new() else {
        return;
    };
    database.run(&format!("CREATE TABLE users (id bigint PRIMARY KEY, name varchar(40) NOT NULL, n bigint NOT NULL DEFAULT 0);
        INSERT INTO users SELECT n, 'first', 0 FROM generate_series(0, {ROWS} - 1) n")).await;
    let stage = Stage {
        database,
        ledger: Arc::default(),
        writes: Arc::default(),
    };
    let mut runner = runner(&stage.database).await;
    let old = stage.writers(Version::Old, "public").await;
    stage.more().await;
    let new = stage.published(&mut runner).await;
    new.end().await;
    let reason = "the ledger's first half";
    runner.abort("02_capitals", reason).await.unwrap();
    old.end().await;
    stage.balance(Version::Old, "public").await;

    let old = stage.writers(Version::Old, "public").await;
    let new = stage.published(&mut runner).await;
    old.end().await;
    stage.more().await;
    runner.contract("02_capitals").await.unwrap();
    new.end().await;
    stage.balance(Version::New, NEW_PATH).await;
    stage.balance(Version::New, "public").await;
}
