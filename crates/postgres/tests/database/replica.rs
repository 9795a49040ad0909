//! A backfill beside a real replica, and one that is paused.

use std::sync::Arc;
use std::time::Duration;

use postgres::{DatabaseError, Event, Observer, Phase, Runner, Settings, Wish};
use stage::Cluster;
use tokio::sync::watch;

use crate::script::{Heard, by_id, change, plan, runner_with, settings};
use crate::stand::{Database, cluster};

const USERS: &str = "CREATE TABLE users (id int PRIMARY KEY, name text NOT NULL);
    INSERT INTO users SELECT n, 'u' || n FROM generate_series(1, 3000) n";

fn batches(heard: &Heard) -> usize {
    let all = heard.all();
    all.iter()
        .filter(|it| matches!(it, Event::Backfill(_)))
        .count()
}

fn helds(heard: &Heard) -> Vec<String> {
    let all = heard.all().into_iter();
    all.filter_map(|event| match event {
        Event::Held { reason } => Some(reason),
        _ => None,
    })
    .collect()
}

/// Not the shared server: what is seen of its replica concerns every backfill there.
async fn replicated() -> Option<(Database, Cluster)> {
    cluster()?;
    let own: &'static Cluster = Box::leak(Box::new(Cluster::start("", &[]).unwrap()));
    let name = own.database().unwrap();
    let database = Database { cluster: own, name };
    let replica = own.replica().unwrap();
    replica
        .sql("postgres", "SELECT pg_wal_replay_pause()")
        .unwrap();
    database.run(USERS).await;
    Some((database, replica))
}

#[tokio::test]
async fn a_backfill_waits_for_a_replica_that_is_behind() {
    let Some((database, replica)) = replicated().await else {
        return;
    };
    let strict = Settings {
        lag_max: Duration::ZERO,
        ..settings()
    };
    let heard = Heard::default();
    let opened = runner_with(&database, (strict, heard.observer())).await;
    let (mut runner, _wish) = opened.unwrap();
    // A role that may not see how far it is says so before anything is begun.
    let error = runner.expand(&change(plan(by_id()))).await.unwrap_err();
    assert!(matches!(error, DatabaseError::Asks { .. }), "{error}");
    let grant = format!("GRANT pg_read_all_stats TO \"{}\"", database.name);
    assert!(error.to_string().contains(&grant), "{error}");
    database.superuser(&grant);

    let filling = tokio::spawn(async move { runner.expand(&change(plan(by_id()))).await });
    while helds(&heard).len() < 3 {
        assert!(!filling.is_finished(), "it waits for the replica");
        tokio::task::yield_now().await;
    }
    assert_eq!(
        batches(&heard),
        0,
        "nothing is filled in while the replica stands"
    );
    assert!(
        helds(&heard)[0].contains("a replica lags"),
        "{:?}",
        helds(&heard)
    );
    replica
        .sql("postgres", "SELECT pg_wal_replay_resume()")
        .unwrap();
    filling.await.unwrap().unwrap();
    assert!(batches(&heard) > 0);
    let filled = "SELECT count(*) FROM v2.users WHERE nick LIKE 'U%'";
    assert_eq!(database.superuser(filled), "3000");
}

#[tokio::test]
async fn a_backfill_is_paused_and_resumed_and_says_how_far_it_is() {
    let Some(database) = Database::new() else {
        return;
    };
    database.run(USERS).await;
    let (sender, receiver) = watch::channel(Wish::Go);
    let sender = Arc::new(sender);
    let (heard, pausing) = (Heard::default(), sender.clone());
    let told = heard.observer();
    let observer: Observer = Arc::new(move |event| {
        told(event);
        // Once, after the first batch.
        if matches!(event, Event::Backfill(progress) if progress.rows == 1_000) {
            pausing.send_replace(Wish::Pause);
        }
    });
    let opened = Runner::open(&database.url(), settings(), (observer, receiver)).await;
    let mut runner = opened.unwrap();
    let filling = tokio::spawn(async move {
        let done = runner.expand(&change(plan(by_id()))).await;
        (runner, done)
    });
    while helds(&heard).is_empty() {
        assert!(!filling.is_finished(), "it is paused");
        tokio::task::yield_now().await;
    }
    let mut session = database.connect().await;
    let write = "SET lock_timeout = '5s'; UPDATE users SET name = 'paused' WHERE id IN (1, 2900)";
    session.client().batch_execute(write).await.unwrap();
    assert_eq!((batches(&heard), helds(&heard).len()), (1, 1));
    let all = heard.all();
    let progress = all.iter().find_map(|event| match event {
        Event::Backfill(progress) => Some(progress),
        _ => None,
    });
    let progress = progress.unwrap();
    assert_eq!((progress.rows, progress.rows_total), (1_000, Some(3_000)));
    assert!(progress.remaining_s.is_some());
    let entries = postgres::history(session.client()).await.unwrap();
    assert_eq!(
        (entries[0].phase, entries[0].rows_done),
        (Phase::Backfill, 1_000)
    );
    sender.send_replace(Wish::Go);
    let (runner, done) = filling.await.unwrap();
    done.unwrap();
    assert_eq!(runner.history().await.unwrap()[0].rows_done, 3_000);
    let filled = "SELECT count(*) FROM v2.users WHERE nick = 'PAUSED'";
    assert_eq!(database.superuser(filled), "2");
}
