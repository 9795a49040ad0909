//! Reports about the beginning of a change: locks, backfill, publication, resuming.

use std::sync::Arc;

use postgres::{DatabaseError, Event, Observer, Runner, Settings};
use tokio::sync::watch;

use super::{CAPITALS, users};
use crate::script::{Heard, runner, runner_with, settings};
use crate::stand::Database;
use crate::traffic::Traffic;

const NICK: &str = "operations:
  - add_column: {table: users, up: upper(name), column: {name: nick, type: text}}
";

/// Writes failed while the migration began.
#[tokio::test]
async fn pgroll_905_writes_go_on_while_a_change_begins() {
    let Some(mut stage) = users().await else {
        return;
    };
    let old = [
        "UPDATE users SET name = 'old{n}' WHERE id = 1 + {n} % 500",
        "INSERT INTO users (id, name) VALUES (100000 + {n}, 'more')",
        "DELETE FROM users WHERE id = 100000 + {n}",
    ];
    let old: &'static [&'static str] = Box::leak(Box::new(old));
    let mut old = Traffic::of(&stage.database, "public", old).await;
    old.more(5).await;
    let all = "operations:
  - alter_column: {table: users, column: name, type: varchar(60), up: upper(name), down: lower(name), unique: {name: own}}
  - add_column: {table: users, up: \"name || '!'\", column: {name: nick, type: text, check: {name: nicked, constraint: length(nick) > 1}}}
  - create_index: {name: by_age, table: users, columns: [{column: age}]}
";
    for _ in 0..2 {
        // Some names are equal: what cannot be unique is taken back, and nobody notices.
        let change = stage.runner.plan("public", ("v1.yaml", all)).await.unwrap();
        let expanded = stage.runner.expand(&change).await;
        old.more(5).await;
        match expanded {
            Ok(()) => stage.runner.abort("v1", "again").await.unwrap(),
            Err(error) => assert!(matches!(error, DatabaseError::TakenBack { .. }), "{error}"),
        }
        let without = all.replace(", unique: {name: own}", "");
        stage.begin(2, &without).await;
        old.more(5).await;
        stage.abort().await;
    }
    old.end().await;
}

/// Two migrations at a time met in the same tables.
#[tokio::test]
async fn pgroll_208_of_two_at_a_time_one_is_told_who_is_at_work() {
    let Some(stage) = users().await else {
        return;
    };
    let database = stage.end();
    let hasty = || Settings {
        wait_for_other: std::time::Duration::ZERO,
        ..settings()
    };
    let quiet: Observer = Arc::new(|_| {});
    let (first, second) = tokio::join!(
        runner_with(&database, (hasty(), quiet.clone())),
        runner_with(&database, (hasty(), quiet.clone())),
    );
    let (open, busy): (Vec<_>, Vec<_>) = [first, second].into_iter().partition(Result::is_ok);
    assert_eq!((open.len(), busy.len()), (1, 1));
    let error = busy.into_iter().next().unwrap().map(|_| ()).unwrap_err();
    assert!(matches!(error, DatabaseError::Busy { .. }), "{error}");
    assert!(error.to_string().contains("pid"), "{error}");
}

/// After a crash the migration was neither carried on nor begun anew. Here the server ends the
/// session at each of its statements and batches in turn.
#[tokio::test]
async fn pgroll_1000_a_change_is_carried_on_after_its_session_was_ended_anywhere() {
    for number in 0.. {
        let Some(stage) = users().await else {
            return;
        };
        let database = stage.end();
        let ended = ended_at(&database, number).await;
        let mut next = runner(&database).await;
        let change = next.plan("public", ("v1.yaml", CAPITALS)).await.unwrap();
        next.expand(&change).await.unwrap();
        let wrong = "SELECT count(*) FROM public_v1.users v JOIN users u USING (id) WHERE v.name <> upper(u.name)";
        assert_eq!(database.superuser(wrong), "0", "ended at {number}");
        let rows = "SELECT sum(rows_done) FROM gapless.backfill";
        assert_eq!(
            database.superuser(rows),
            "3000",
            "none twice, ended at {number}"
        );
        if ended.is_ok() {
            assert!(number > 6, "there were statements to end at");
            return;
        }
        let error = ended.unwrap_err().to_string();
        let said = error.contains("terminat") || error.contains("closed");
        assert!(said, "ended at {number}: {error}");
    }
}

/// Expands in a session that the server ends at the statement or batch `number`.
async fn ended_at(database: &Database, number: usize) -> Result<(), DatabaseError> {
    let (_sender, wish) = watch::channel(postgres::Wish::Go);
    let url = database.cluster.url(&database.name, "postgres");
    let count = std::sync::atomic::AtomicUsize::new(0);
    let psql = database.cluster.program("psql");
    let observer: Observer = Arc::new(move |event| {
        let counts = matches!(event, Event::Statement { .. } | Event::Backfill(_));
        if counts && count.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == number {
            let sql = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
                WHERE application_name = 'gapless migrate' AND datname = current_database()";
            let ended = std::process::Command::new(&psql)
                .args(["-X", "-q", "-c", sql, &url])
                .output();
            assert!(ended.unwrap().status.success());
        }
    });
    let opened = Runner::open(&database.url(), settings(), (observer, wish)).await;
    let mut runner = opened.unwrap();
    let change = runner.plan("public", ("v1.yaml", CAPITALS)).await.unwrap();
    runner.expand(&change).await
}

/// A backfill ran after its own tail as long as programs inserted rows faster.
#[tokio::test]
async fn pgroll_583_a_backfill_ends_however_many_rows_are_inserted_meanwhile() {
    let Some(stage) = users().await else {
        return;
    };
    let database = stage.end();
    let (url, psql) = (
        database.cluster.url(&database.name, &database.name),
        database.cluster.program("psql"),
    );
    let batches = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let seen = batches.clone();
    let observer: Observer = Arc::new(move |event| {
        let Event::Backfill(progress) = event else {
            return;
        };
        assert!(
            seen.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < 40,
            "it never ends"
        );
        let more = progress.batch_rows * 2 + 1_000;
        let sql = format!(
            "INSERT INTO users SELECT m + n, 'later' FROM generate_series(1, {more}) n, (SELECT max(id) AS m FROM users) t"
        );
        let done = std::process::Command::new(&psql)
            .args(["-X", "-q", "-c", &sql, &url])
            .output();
        assert!(done.unwrap().status.success());
    });
    let (mut runner, _wish) = runner_with(&database, (settings(), observer))
        .await
        .unwrap();
    let change = runner.plan("public", ("v1.yaml", NICK)).await.unwrap();
    runner.expand(&change).await.unwrap();
    assert!(batches.load(std::sync::atomic::Ordering::Relaxed) > 1);
    let wrong = "SELECT count(*) FROM users u JOIN public_v1.users v USING (id) WHERE v.nick IS DISTINCT FROM upper(u.name)";
    assert_eq!(database.superuser(wrong), "0");
}

/// The new version was there before its rows were filled in, and lost what it wrote.
#[tokio::test]
async fn pgroll_no_version_is_published_before_its_last_row_is_filled_in() {
    let Some(stage) = users().await else {
        return;
    };
    let database = stage.end();
    let (url, psql) = (
        database.cluster.url(&database.name, "postgres"),
        database.cluster.program("psql"),
    );
    let observer: Observer = Arc::new(move |event| {
        if matches!(event, Event::Backfill(_)) {
            let sql = "SELECT count(*) FROM pg_namespace WHERE nspname = 'public_v1'";
            let seen = std::process::Command::new(&psql)
                .args(["-X", "-q", "-A", "-t", "-c", sql, &url])
                .output();
            assert_eq!(seen.unwrap().stdout, b"0\n");
        }
    });
    let (mut runner, _wish) = runner_with(&database, (settings(), observer))
        .await
        .unwrap();
    let change = runner.plan("public", ("v1.yaml", NICK)).await.unwrap();
    runner.expand(&change).await.unwrap();
    let missing = "SELECT count(*) FROM public_v1.users WHERE nick IS NULL";
    assert_eq!(database.superuser(missing), "0");
}

/// A plan is shown before, changes nothing, and is what is run.
#[tokio::test]
async fn pgroll_956_a_plan_writes_nothing_and_is_what_is_run() {
    let Some(stage) = users().await else {
        return;
    };
    let database = stage.end();
    let mut session = database.connect().await;
    let before = postgres::read::schema(session.client(), "public")
        .await
        .unwrap();
    let planned = postgres::plan(session.client(), "public", ("v1.yaml", CAPITALS)).await;
    let planned = planned.unwrap().plan;
    let after = postgres::read::schema(session.client(), "public")
        .await
        .unwrap();
    assert_eq!(before.without_estimates(), after.without_estimates());
    let heard = Heard::default();
    let opened = runner_with(&database, (settings(), heard.observer())).await;
    let (mut runner, _wish) = opened.unwrap();
    let change = runner.plan("public", ("v1.yaml", CAPITALS)).await.unwrap();
    runner.expand(&change).await.unwrap();
    runner.contract("v1").await.unwrap();
    let ran: Vec<String> = heard
        .all()
        .into_iter()
        .filter_map(|event| match event {
            Event::Statement { sql } => Some(sql),
            _ => None,
        })
        .collect();
    let parts = [&planned.expand, &planned.publish, &planned.contract];
    let said = parts
        .into_iter()
        .flatten()
        .flat_map(|step| step.statements.clone());
    assert_eq!(ran, said.collect::<Vec<_>>());
}

/// An index that was built under a short lock timeout stayed behind, invalid.
#[tokio::test]
async fn squawk_1230_an_index_build_waits_for_long_writers_and_is_valid() {
    let Some(stage) = users().await else {
        return;
    };
    let database = stage.end();
    let mut writer = database.connect().await;
    let writing = writer.client().transaction().await.unwrap();
    let sql = "UPDATE users SET age = 1 WHERE id = 1";
    writing.execute(sql, &[]).await.unwrap();
    let heard = Heard::default();
    let opened = runner_with(&database, (settings(), heard.observer())).await;
    let (mut runner, _wish) = opened.unwrap();
    let text =
        "operations: [{create_index: {name: by_age, table: users, columns: [{column: age}]}}]";
    let change = runner.plan("public", ("v1.yaml", text)).await.unwrap();
    let expanding = tokio::spawn(async move { runner.expand(&change).await });
    // Twenty times the timeout that other statements have.
    let waits = || {
        let mut all = heard.all().into_iter();
        all.any(|event| matches!(event, Event::Waiting { waited_ms, .. } if waited_ms > 1_000))
    };
    while !waits() {
        tokio::task::yield_now().await;
    }
    assert!(!expanding.is_finished());
    writing.commit().await.unwrap();
    expanding.await.unwrap().unwrap();
    let invalid =
        "SELECT count(*) FILTER (WHERE NOT indisvalid) || ' of ' || count(*) FROM pg_index
        WHERE indrelid = 'users'::regclass";
    assert_eq!(database.superuser(invalid), "0 of 2");
    let builds = heard.all().into_iter().filter(
        |event| matches!(event, Event::Statement { sql } if sql.starts_with("CREATE INDEX")),
    );
    assert_eq!(builds.count(), 1, "it waited, and was not tried again");
}

/// Operations that could not be read were taken for none.
#[tokio::test]
async fn pgroll_operations_that_cannot_be_read_are_refused() {
    let Some(mut stage) = users().await else {
        return;
    };
    for text in [
        "",
        "operations:",
        "operations: add_column",
        "operations: {add_column: {}}",
        "operations: []",
        "operation: []",
        "operations: [add_column]",
        "operations: [{add_colum: {table: users}}]",
        "operations: [{}]",
        "operations: [{drop_table: {name: users}, drop_index: {name: i}}]",
    ] {
        let planned = stage.runner.plan("public", ("v1.yaml", text)).await;
        let refused = matches!(planned, Err(DatabaseError::Refused { .. }));
        assert!(refused, "{text:?}");
    }
}
