//! The database's server crashes wherever it happens to be.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use postgres::{Observer, Runner, Settings, Url, Wish};
use stage::Cluster;
use tokio::sync::watch;

use crate::script::settings;

/// What was acknowledged is there after a crash, as on a server of its own.
const DURABLE: &str = "synchronous_commit = on\nfull_page_writes = on\nrestart_after_crash = on";

const TABLE: &str = "CREATE TABLE users (id bigint PRIMARY KEY, name text NOT NULL);
    INSERT INTO users SELECT n, 'u' || n FROM generate_series(1, 6000) n";

const CHANGE: (&str, &str) = (
    "02_capitals.yaml",
    "operations: [{alter_column: {table: users, column: name, type: varchar(60), up: upper(name), down: lower(name)}}]",
);

/// So many crashes; hundreds take a while.
fn crashes() -> u64 {
    let asked = std::env::var("GAPLESS_CRASHES").ok();
    asked.and_then(|text| text.parse().ok()).unwrap_or(12)
}

struct Server {
    cluster: Cluster,
    database: String,
}

impl Server {
    fn new() -> Option<Self> {
        if let Err(reason) = Cluster::installed() {
            eprintln!("skipped: {reason}");
            return None;
        }
        let cluster = Cluster::start(DURABLE, &[]).unwrap();
        let database = cluster.database().unwrap();
        Some(Self { cluster, database })
    }

    fn sql(&self, sql: &str) -> String {
        self.cluster.sql(&self.database, sql).unwrap()
    }

    /// A runner whose server crashes when it comes to its statement or batch `number`.
    async fn runner_until(&self, number: usize) -> Runner {
        let pid: Arc<OnceLock<i32>> = Arc::default();
        let (known, count) = (Arc::clone(&pid), AtomicUsize::new(0));
        let observer: Observer = Arc::new(move |event| {
            let counts = matches!(
                event,
                postgres::Event::Statement { .. } | postgres::Event::Backfill(_)
            );
            if counts && count.fetch_add(1, Ordering::Relaxed) == number {
                crash(*known.get().unwrap());
            }
        });
        let runner = self.open(observer).await;
        pid.set(runner.pid()).unwrap();
        runner
    }

    /// Opens a runner, once the server is up again.
    async fn open(&self, observer: Observer) -> Runner {
        let url = Url::parse(&self.cluster.url(&self.database, &self.database)).unwrap();
        let settings = Settings {
            wait_for_other: Duration::from_secs(30),
            ..settings()
        };
        let mut tries = 0;
        loop {
            let (_, wish) = watch::channel(Wish::Go);
            match Runner::open(&url, settings.clone(), (Arc::clone(&observer), wish)).await {
                Ok(runner) => return runner,
                Err(error) => {
                    tries += 1;
                    assert!(tries < 600 && error.may_pass(), "{error}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    async fn next(&self) -> Runner {
        self.open(Arc::new(|_| {})).await
    }
}

/// One session that ends so takes the whole server down, and it recovers from its log.
fn crash(pid: i32) {
    let kill = format!("kill -9 {pid}");
    let killed = Command::new("sh").args(["-c", &kill]).status();
    assert!(killed.unwrap().success());
}

async fn expand(runner: &mut Runner) -> Result<(), postgres::DatabaseError> {
    let change = runner.plan("public", CHANGE).await?;
    runner.expand(&change).await
}

/// Any number, the same in every run.
fn point(round: u64) -> usize {
    let mixed = (round + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    usize::try_from(mixed % 24).unwrap()
}

const WRONG: &str = "SELECT count(*) FROM users u FULL JOIN public_02_capitals.users v USING (id)
    WHERE upper(u.name) IS DISTINCT FROM v.name::text";

#[tokio::test]
async fn a_server_that_crashes_anywhere_is_carried_on_or_taken_back() {
    let Some(server) = Server::new() else { return };
    server.sql(&format!("SET ROLE {}; {TABLE}", server.database));
    let before = "SELECT count(*) || ' ' || md5(string_agg(name, ',' ORDER BY id)) FROM users";
    let whole = server.sql(before);
    for round in 0..crashes() {
        let number = point(round);
        let mut crashed = server.runner_until(number).await;
        // A point behind the last statement crashes nothing.
        let ended = expand(&mut crashed).await;
        let ended = match (&ended, round % 3) {
            (Ok(()), _) | (Err(_), 0 | 1) => ended.is_ok(),
            (Err(_), _) => {
                server
                    .next()
                    .await
                    .abort("02_capitals", "crashed")
                    .await
                    .unwrap();
                false
            }
        };
        drop(crashed);
        let mut next = server.next().await;
        expand(&mut next).await.unwrap();
        assert_eq!(server.sql(WRONG), "0", "round {round}: {number}, {ended}");
        next.abort("02_capitals", "next round").await.unwrap();
        assert_eq!(server.sql(before), whole, "round {round}: {number}");
    }
}

#[tokio::test]
async fn a_server_that_crashes_while_it_contracts_ends_with_the_new_version() {
    let Some(server) = Server::new() else { return };
    for number in 0..4 {
        server.sql(&format!(
            "DROP SCHEMA IF EXISTS gapless, public_02_capitals CASCADE; DROP TABLE IF EXISTS users; \
             SET ROLE {}; {TABLE}",
            server.database
        ));
        expand(&mut server.next().await).await.unwrap();
        let mut crashed = server.runner_until(number * 3).await;
        let ended = crashed.contract("02_capitals").await;
        drop(crashed);
        server.next().await.contract("02_capitals").await.unwrap();
        let capitals = "SELECT count(*) FROM users WHERE name = upper(name)";
        assert_eq!(server.sql(capitals), "6000", "{number}: {ended:?}");
        let left = "SELECT count(*) FROM pg_attribute WHERE attname LIKE '\\_gapless%' AND NOT attisdropped
            AND attrelid = 'users'::regclass";
        assert_eq!(server.sql(left), "0", "{number}: {ended:?}");
    }
}
