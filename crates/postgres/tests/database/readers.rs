//! Somebody reads for ten minutes; nobody else is to notice, and the change comes through.

use std::time::Duration;

use postgres::{Connection, Event, Settings};

use crate::script::{Heard, runner_with, settings};
use crate::stand::Database;
use crate::traffic::Traffic;

const CHANGE: &str = "operations:
  - alter_column: {table: users, column: name, type: varchar(60), up: upper(name), down: lower(name)}
";

const TIMEOUT: Duration = Duration::from_millis(100);

/// What a busy machine may add to a wait before the server looks at its clock.
const SLACK: Duration = Duration::from_millis(1500);

/// So many tries of a step are many minutes of a reader who is in the way: each is the same.
const TRIES: usize = 6;

/// The longest that anybody waits for a lock at this moment, by the server's clock.
async fn longest_wait(session: &mut Connection) -> Duration {
    let sql = "SELECT coalesce(max(extract(epoch FROM clock_timestamp() - waitstart) * 1000), 0)::int8
        FROM pg_locks WHERE NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    let row = session.client().query_one(sql, &[]).await.unwrap();
    Duration::from_millis(row.get::<_, i64>(0).unsigned_abs())
}

/// Holds a reader's lock until the runner has tried often; returns the longest wait of anybody.
async fn read_on(database: &Database, heard: &Heard) -> Duration {
    let (mut reader, mut looker) = (database.connect().await, database.connect().await);
    let sql = "BEGIN; SELECT count(*) FROM users";
    reader.client().batch_execute(sql).await.unwrap();
    let waits = || {
        let all = heard.all();
        all.iter()
            .filter(|it| matches!(it, Event::Waiting { .. }))
            .count()
    };
    let (begun, mut longest) = (waits(), Duration::ZERO);
    while waits() < begun + TRIES {
        longest = longest.max(longest_wait(&mut looker).await);
    }
    reader.client().batch_execute("COMMIT").await.unwrap();
    longest
}

#[tokio::test]
async fn while_somebody_reads_nobody_waits_longer_than_the_lock_timeout() {
    let Some(database) = Database::new() else {
        return;
    };
    database
        .run(
            "CREATE TABLE users (id bigint PRIMARY KEY, name text NOT NULL);
            INSERT INTO users SELECT n, 'u' || n FROM generate_series(1, 500) n",
        )
        .await;
    let old = &["UPDATE users SET name = 'old{n}' WHERE id = 1 + {n} % 500"];
    let new = &["UPDATE users SET name = 'NEW{n}' WHERE id = 1 + {n} % 500"];
    let heard = Heard::default();
    let strict = Settings {
        lock_timeout: TIMEOUT,
        ..settings()
    };
    let opened = runner_with(&database, (strict, heard.observer())).await;
    let (mut runner, _wish) = opened.unwrap();
    let change = runner.plan("public", ("v1.yaml", CHANGE)).await.unwrap();

    let mut writer = Traffic::of(&database, "public", old).await;
    let expanding = async { runner.expand(&change).await.unwrap() };
    let (longest, ()) = tokio::join!(read_on(&database, &heard), expanding);
    assert!(
        longest < TIMEOUT + SLACK,
        "somebody waited {longest:?} at expand"
    );
    writer.more(5).await;
    writer.end().await;

    let mut writer = Traffic::of(&database, "public_v1, public", new).await;
    let contracting = async { runner.contract("v1").await.unwrap() };
    let (longest, ()) = tokio::join!(read_on(&database, &heard), contracting);
    assert!(
        longest < TIMEOUT + SLACK,
        "somebody waited {longest:?} at contract"
    );
    writer.more(5).await;
    writer.end().await;
}
