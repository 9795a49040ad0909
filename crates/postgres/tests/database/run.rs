//! Plans are run, stopped and killed anywhere, and taken back.

use std::sync::Arc;
use std::time::Duration;

use migration::plan::{Run, Step};
use postgres::{Connection, DatabaseError, Event, Phase, Runner, Settings, Wish};

use tokio_postgres::Transaction;

use crate::script::{
    Heard, by_id, change, plan, runner, runner_until, runner_with, settings, step, table,
};
use crate::stand::Database;

const USERS: &str = "CREATE TABLE users (id int PRIMARY KEY, name text NOT NULL);
    INSERT INTO users SELECT n, 'u' || n FROM generate_series(1, 2500) n";

async fn users() -> Option<Database> {
    let database = Database::new()?;
    database.run(USERS).await;
    Some(database)
}

/// A transaction that has read `users`, and so keeps a lock on it.
async fn reading(reader: &mut Connection) -> Transaction<'_> {
    let reading = reader.client().transaction().await.unwrap();
    let read = reading.query("SELECT count(*) FROM users", &[]).await;
    read.unwrap();
    reading
}

async fn phase(runner: &Runner) -> Phase {
    runner.history().await.unwrap().last().unwrap().phase
}

#[tokio::test]
async fn a_change_is_made_published_and_contracted() {
    let Some(database) = users().await else {
        return;
    };
    let mut runner = runner(&database).await;
    runner.expand(&change(plan(by_id()))).await.unwrap();
    assert_eq!(phase(&runner).await, Phase::Published);
    assert_eq!(
        database.superuser("SELECT count(*) FROM v2.users WHERE nick LIKE 'U%'"),
        "2500"
    );
    runner.expand(&change(plan(by_id()))).await.unwrap();
    runner.contract("02_nick").await.unwrap();
    assert_eq!(
        database.superuser(
            "SELECT string_agg(attname, ',') FROM pg_attribute
        WHERE attrelid = 'users'::regclass AND attnum > 0 AND NOT attisdropped"
        ),
        "id,nick"
    );
    let history = runner.history().await.unwrap();
    assert_eq!(
        (history.len(), history[0].success, history[0].rows_done),
        (1, true, 2500)
    );
    assert!(matches!(
        runner.abort("02_nick", "late").await,
        Err(DatabaseError::History { .. })
    ));
}

#[tokio::test]
async fn a_stop_between_any_two_statements_is_carried_on() {
    for number in 0.. {
        let Some(database) = users().await else {
            return;
        };
        let mut stopped = runner_until(&database, number).await;
        let expanded = stopped.expand(&change(plan(by_id()))).await;
        let done = match expanded {
            Err(DatabaseError::Stopped) => None,
            expanded => {
                expanded.unwrap();
                Some(stopped.contract("02_nick").await)
            }
        };
        drop(stopped);
        let mut next = runner(&database).await;
        next.expand(&change(plan(by_id()))).await.unwrap();
        let filled = database.superuser("SELECT count(*) FROM users WHERE nick LIKE 'U%'");
        assert_eq!(filled, "2500", "stopped at {number}");
        next.contract("02_nick").await.unwrap();
        assert_eq!(phase(&next).await, Phase::Contracted, "stopped at {number}");
        if matches!(done, Some(Ok(()))) {
            assert!(number > 10, "there were statements to stop at");
            return;
        }
    }
}

#[tokio::test]
async fn a_stop_between_any_two_statements_can_be_taken_back() {
    for number in [0, 2, 4, 5, 6, 7, 8, 9, 10, 11] {
        let Some(database) = users().await else {
            return;
        };
        let mut stopped = runner_until(&database, number).await;
        let expanded = stopped.expand(&change(plan(by_id()))).await;
        assert!(
            matches!(expanded, Ok(()) | Err(DatabaseError::Stopped)),
            "{expanded:?}"
        );
        drop(stopped);
        let mut next = runner(&database).await;
        next.abort("02_nick", "changed my mind").await.unwrap();
        let left = database.superuser(
            "SELECT count(*) FROM pg_attribute WHERE attname = 'nick'
            UNION ALL SELECT count(*) FROM pg_namespace WHERE nspname = 'v2'
            UNION ALL SELECT count(*) FROM pg_proc WHERE proname = 'two_ways'",
        );
        assert_eq!(left, "0\n0\n0", "stopped at {number}");
        // And again from the beginning, under the same name.
        next.expand(&change(plan(by_id()))).await.unwrap();
        assert_eq!(phase(&next).await, Phase::Published);
    }
}

/// Nothing of the runner says goodbye: its future is dropped wherever it waits.
#[tokio::test]
async fn a_runner_killed_at_any_moment_is_carried_on() {
    let Some(database) = users().await else {
        return;
    };
    let rounds = 25;
    for round in 0..rounds {
        let patient = Settings {
            wait_for_other: Duration::from_secs(30),
            ..settings()
        };
        let heard = Heard::default();
        let opened = runner_with(&database, (patient, heard.observer())).await;
        let (mut killed, _wish) = opened.unwrap();
        let work = async {
            killed.expand(&change(plan(by_id()))).await.unwrap();
            match round % 2 {
                0 => killed.abort("02_nick", "round").await.unwrap(),
                _ => killed.expand(&change(plan(by_id()))).await.unwrap(),
            }
        };
        // Not a clock's answer is asked for, only some moment.
        let _ = tokio::time::timeout(Duration::from_millis(round * 7), work).await;
        drop(killed);
        let mut next = runner(&database).await;
        let unfinished = next.history().await.unwrap();
        let aborting = unfinished
            .last()
            .is_some_and(|entry| entry.phase == Phase::Abort);
        if aborting {
            next.abort("02_nick", "again").await.unwrap();
        }
        next.expand(&change(plan(by_id()))).await.unwrap();
        let filled = database.superuser("SELECT count(*) FROM v2.users WHERE nick LIKE 'U%'");
        assert_eq!(filled, "2500", "round {round}");
        next.abort("02_nick", "next round").await.unwrap();
        assert_eq!(
            database.superuser("SELECT count(*) FROM pg_attribute WHERE attname = 'nick'"),
            "0"
        );
    }
}

#[tokio::test]
async fn two_runners_never_work_at_once_and_the_second_is_told_who() {
    let Some(database) = users().await else {
        return;
    };
    let first = runner(&database).await;
    let hurried = Settings {
        wait_for_other: Duration::ZERO,
        ..settings()
    };
    let second = runner_with(&database, (hurried, Arc::new(|_| {}))).await;
    let error = second.map(|_| ()).unwrap_err().to_string();
    assert!(
        error.contains("another change") && error.contains("`gapless migrate`"),
        "{error}"
    );
    drop(first);
    runner(&database).await;
}

/// While a long reader is in the way, others' queries have five seconds at most; a step that
/// queued for its lock until the reader ends would make them fail.
#[tokio::test]
async fn a_long_reader_delays_the_step_and_nobody_else() {
    let Some(database) = users().await else {
        return;
    };
    let mut reader = database.connect().await;
    let reading = reading(&mut reader).await;
    let heard = Heard::default();
    let (mut runner, _wish) = runner_with(&database, (settings(), heard.observer()))
        .await
        .unwrap();
    let expanding = tokio::spawn(async move { runner.expand(&change(plan(by_id()))).await });
    let mut other = database.connect().await;
    other
        .client()
        .batch_execute("SET lock_timeout = '5s'")
        .await
        .unwrap();
    let waits = || {
        heard
            .all()
            .iter()
            .filter(|it| matches!(it, Event::Waiting { .. }))
            .count()
    };
    while waits() < 8 {
        other
            .client()
            .execute("UPDATE users SET name = name WHERE id = 7", &[])
            .await
            .unwrap();
        assert!(!expanding.is_finished());
    }
    let named = heard.all().into_iter().find_map(|event| match event {
        Event::Waiting { blockers, .. } => blockers.into_iter().next(),
        _ => None,
    });
    let blocker = named.unwrap();
    assert_eq!(
        (blocker.table.as_str(), blocker.application.as_str()),
        ("users", "gapless test")
    );
    assert!(
        blocker.to_string().contains("idle in transaction"),
        "{blocker}"
    );
    reading.commit().await.unwrap();
    expanding.await.unwrap().unwrap();
}

#[tokio::test]
async fn patience_has_an_end_and_the_change_can_be_carried_on() {
    let Some(database) = users().await else {
        return;
    };
    let mut reader = database.connect().await;
    let reading = reading(&mut reader).await;
    let hasty = Settings {
        patience: Duration::ZERO,
        ..settings()
    };
    let (mut runner, _wish) = runner_with(&database, (hasty, Arc::new(|_| {})))
        .await
        .unwrap();
    let error = runner
        .expand(&change(plan(by_id())))
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("in the way: pid"), "{error}");
    reading.commit().await.unwrap();
    runner.expand(&change(plan(by_id()))).await.unwrap();
}

#[tokio::test]
async fn what_a_broken_index_build_left_is_cleared_and_built_again() {
    let Some(database) = users().await else {
        return;
    };
    database.run("ALTER TABLE users ADD COLUMN nick text").await;
    let mut writer = database.connect().await;
    let writing = writer.client().transaction().await.unwrap();
    writing
        .execute("UPDATE users SET name = name WHERE id = 1", &[])
        .await
        .unwrap();
    let mut builder = database.connect().await;
    builder
        .client()
        .batch_execute("SET lock_timeout = '10ms'")
        .await
        .unwrap();
    let built = builder
        .client()
        .batch_execute("CREATE INDEX CONCURRENTLY users_nick ON users (nick)")
        .await;
    built.unwrap_err();
    writing.commit().await.unwrap();
    let valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'users_nick'::regclass";
    assert_eq!(database.superuser(valid), "f");
    let mut plan = plan(by_id());
    plan.expand[0].statements.remove(0);
    runner(&database).await.expand(&change(plan)).await.unwrap();
    assert_eq!(database.superuser(valid), "t");
}

#[tokio::test]
async fn a_rule_that_rows_break_takes_everything_back() {
    let Some(database) = users().await else {
        return;
    };
    let mut refused = plan(by_id());
    let rule = "ALTER TABLE public.users ADD CONSTRAINT few CHECK (id < 2000) NOT VALID";
    refused.expand[0].statements.push(rule.to_owned());
    refused.publish[1]
        .statements
        .push("ALTER TABLE public.users VALIDATE CONSTRAINT few".to_owned());
    refused.abort[1]
        .statements
        .push("ALTER TABLE public.users DROP CONSTRAINT IF EXISTS few".to_owned());
    let mut runner = runner(&database).await;
    let error = runner.expand(&change(refused)).await.unwrap_err();
    assert!(matches!(error, DatabaseError::TakenBack { .. }), "{error}");
    assert_eq!(phase(&runner).await, Phase::Aborted);
    assert!(
        runner.history().await.unwrap()[0]
            .reason
            .as_ref()
            .unwrap()
            .contains("few")
    );
    assert_eq!(
        database.superuser("SELECT count(*) FROM pg_namespace WHERE nspname = 'v2'"),
        "0"
    );
    runner.expand(&change(plan(by_id()))).await.unwrap();
}

#[tokio::test]
async fn a_contract_that_is_refused_leaves_both_versions_served() {
    let Some(database) = users().await else {
        return;
    };
    let mut refused = plan(by_id());
    let validate = step(
        Run::Validate,
        "validate",
        &["ALTER TABLE public.users VALIDATE CONSTRAINT late"],
    );
    refused.contract.insert(
        0,
        Step {
            locks: vec![],
            ..validate
        },
    );
    let mut runner = runner(&database).await;
    runner.expand(&change(refused)).await.unwrap();
    database
        .run("ALTER TABLE users ADD CONSTRAINT late CHECK (id <> 77) NOT VALID")
        .await;
    let error = runner.contract("02_nick").await.unwrap_err();
    assert!(error.to_string().contains("late"), "{error}");
    assert_eq!(
        database.superuser(
            "SELECT u.name || v.nick FROM users u, v2.users v WHERE u.id = 77 AND v.id = 77"
        ),
        "u77U77"
    );
    let history = runner.history().await.unwrap();
    assert_eq!(history[0].phase, Phase::Published, "nothing was removed");
    database.run("DELETE FROM users WHERE id = 77").await;
    runner.contract("02_nick").await.unwrap();
}

#[tokio::test]
async fn missing_privileges_are_named_before_anything_is_begun() {
    let Some(database) = users().await else {
        return;
    };
    database.superuser("ALTER TABLE users OWNER TO postgres");
    let mut runner = runner(&database).await;
    let error = runner
        .expand(&change(plan(by_id())))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains(&format!("GRANT \"postgres\" TO \"{}\"", database.name)),
        "{error}"
    );
    assert!(runner.history().await.unwrap().is_empty());
    drop(runner);
    database.superuser(&format!(
        "DROP SCHEMA gapless CASCADE; ALTER DATABASE {} OWNER TO postgres",
        database.name
    ));
    let opened = runner_with(&database, (settings(), Arc::new(|_| {}))).await;
    let error = opened.map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("GRANT CREATE ON DATABASE"), "{error}");
}

#[tokio::test]
async fn a_file_that_changed_since_it_was_begun_is_refused() {
    let Some(database) = users().await else {
        return;
    };
    let mut runner = runner(&database).await;
    runner.expand(&change(plan(by_id()))).await.unwrap();
    let mut other = change(plan(by_id()));
    other.checksum = "def".to_owned();
    let error = runner.expand(&other).await.unwrap_err().to_string();
    assert!(error.contains("has changed since it was begun"), "{error}");
    let mut next = change(plan(by_id()));
    next.version = "03_more".to_owned();
    next.plan.version.name = "v3".to_owned();
    next.plan.expand.clear();
    next.plan.backfill.clear();
    next.plan.publish.clear();
    next.plan.contract.clear();
    runner.expand(&next).await.unwrap();
    let early = runner.contract("03_more").await.unwrap_err().to_string();
    assert!(early.contains("`02_nick` came before"), "{early}");
    let late = runner.abort("02_nick", "no").await.unwrap_err().to_string();
    assert!(late.contains("`03_more` stands on `02_nick`"), "{late}");
    assert_eq!(table("users").to_string(), "public.users");
}

/// The pause is wished for while the step holds its locks; whoever wants them has five seconds.
#[tokio::test]
async fn a_pause_holds_no_lock_and_ends_when_it_is_told() {
    let Some(database) = users().await else {
        return;
    };
    let (sender, receiver) = tokio::sync::watch::channel(Wish::Go);
    let sender = Arc::new(sender);
    let (heard, pausing) = (Heard::default(), sender.clone());
    let told = heard.observer();
    let observer: postgres::Observer = Arc::new(move |event| {
        told(event);
        let begun = *pausing.borrow() == Wish::Go;
        if begun && matches!(event, Event::Statement { sql } if sql.contains("ADD COLUMN nick")) {
            pausing.send_replace(Wish::Pause);
        }
    });
    let opened = Runner::open(&database.url(), settings(), (observer, receiver)).await;
    let mut runner = opened.unwrap();
    let expanding = tokio::spawn(async move { runner.expand(&change(plan(by_id()))).await });
    let paused = || {
        heard
            .all()
            .iter()
            .any(|event| matches!(event, Event::Held { .. }))
    };
    while !paused() {
        tokio::task::yield_now().await;
    }
    let mut other = database.connect().await;
    other
        .client()
        .batch_execute("SET lock_timeout = '5s'; UPDATE users SET name = 'paused' WHERE id = 7")
        .await
        .unwrap();
    assert!(!expanding.is_finished());
    sender.send_replace(Wish::Go);
    expanding.await.unwrap().unwrap();
}
