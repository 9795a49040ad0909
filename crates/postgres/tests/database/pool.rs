//! Through a pool: refused where it lends sessions by the transaction, else as without.

use postgres::{DatabaseError, Observer, Runner, Url, Wish};
use stage::Pool;
use tokio::sync::watch;

use crate::script::{by_id, change, plan, settings};
use crate::stand::Database;

/// A pool before the database; `None` where none is installed, with the reason.
fn pool(database: &Database, mode: &str) -> Option<Pool> {
    if let Err(reason) = Pool::installed() {
        eprintln!("skipped: {reason}");
        return None;
    }
    Some(Pool::start(database.cluster, &database.name, mode).unwrap())
}

async fn runner(pool: &Pool, database: &Database) -> Result<Runner, DatabaseError> {
    let url = pool.url(&database.name, &database.name);
    let quiet: Observer = std::sync::Arc::new(|_| {});
    let (_, wish) = watch::channel(Wish::Go);
    Runner::open(&Url::parse(&url).unwrap(), settings(), (quiet, wish)).await
}

const USERS: &str = "CREATE TABLE users (id int PRIMARY KEY, name text NOT NULL);
    INSERT INTO users SELECT n, 'u' || n FROM generate_series(1, 2500) n";

#[tokio::test]
async fn a_pool_that_lends_sessions_by_the_transaction_is_refused() {
    let Some(database) = Database::new() else {
        return;
    };
    database.run(USERS).await;
    let Some(pool) = pool(&database, "transaction") else {
        return;
    };
    let refused = runner(&pool, &database).await.map(|_| ()).unwrap_err();
    assert!(matches!(refused, DatabaseError::Pooled { .. }), "{refused}");
    let said = refused.to_string();
    assert!(said.contains("pool_mode = session"), "{said}");
    let left = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        UNION ALL SELECT count(*) FROM pg_namespace WHERE nspname = 'gapless'";
    assert_eq!(database.superuser(left), "0\n0");
}

#[tokio::test]
async fn a_pool_that_lends_sessions_as_long_as_they_last_is_as_good_as_none() {
    let Some(database) = Database::new() else {
        return;
    };
    database.run(USERS).await;
    let Some(pool) = pool(&database, "session") else {
        return;
    };
    let mut runner = runner(&pool, &database).await.unwrap();
    runner.expand(&change(plan(by_id()))).await.unwrap();
    runner.contract("02_nick").await.unwrap();
    let filled = "SELECT count(*) FROM users WHERE nick LIKE 'U%'";
    assert_eq!(database.superuser(filled), "2500");
}
