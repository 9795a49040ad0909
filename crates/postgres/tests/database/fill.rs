//! Backfills: every row once, whatever the key, whatever happens meanwhile.

use std::sync::Arc;

use migration::plan::{FiringTrigger, Key, Plan, TriggerEffect};
use postgres::{Consent, DatabaseError, Event, Runner, Settings};

use crate::script::{Heard, by_id, change, plan, runner, runner_with, settings};
use crate::stand::Database;

const MISSED: &str = "SELECT count(*) FROM users WHERE nick IS DISTINCT FROM upper(name)";

/// A plan of which only expand and backfill are of interest.
fn fill(key: Key) -> Plan {
    let mut plan = plan(key);
    plan.publish.clear();
    plan
}

fn key(columns: &[&str]) -> Key {
    Key::Columns {
        columns: columns.iter().map(|&it| it.to_owned()).collect(),
        index: "users_pkey".to_owned(),
    }
}

async fn filled(create: &str, key: Key) {
    let Some(database) = Database::new() else {
        return;
    };
    database.run(create).await;
    let rows = database.superuser("SELECT count(*) FROM users");
    let mut runner = runner(&database).await;
    runner.expand(&change(fill(key))).await.unwrap();
    assert_eq!(database.superuser(MISSED), "0");
    let done = runner.history().await.unwrap()[0].rows_done;
    // A row that an update moved to a later page is met again there.
    assert!(done >= rows.parse().unwrap(), "{done} of {rows}");
}

#[tokio::test]
async fn composite_keys_of_several_types() {
    let create = "CREATE TYPE mood AS ENUM ('sad', 'happy');
        CREATE TABLE users (at timestamptz, m mood, \"Odd \"\"Key\" varchar(5), name text, PRIMARY KEY (at, m, \"Odd \"\"Key\"));
        INSERT INTO users SELECT '2020-01-01'::timestamptz + (n / 6) * interval '1.000001 s',
            CASE n % 2 WHEN 0 THEN 'sad' ELSE 'happy' END::mood, 'k' || n % 3, 'u' || n FROM generate_series(1, 5000) n";
    filled(create, key(&["at", "m", "Odd \"Key"])).await;
}

#[tokio::test]
async fn no_key_at_all_by_ranges_of_pages() {
    let create = "CREATE TABLE users (name text);
        INSERT INTO users SELECT 'u' || n FROM generate_series(1, 30000) n; DELETE FROM users WHERE name LIKE '%7'";
    filled(create, Key::Ctid).await;
}

#[tokio::test]
async fn partitions_by_key_and_by_pages() {
    let create = "CREATE TABLE users (id int, name text, PRIMARY KEY (id)) PARTITION BY RANGE (id);
        CREATE TABLE users_1 PARTITION OF users FOR VALUES FROM (0) TO (900);
        CREATE TABLE users_2 PARTITION OF users DEFAULT;
        INSERT INTO users SELECT n, 'u' || n FROM generate_series(1, 4000) n";
    filled(create, key(&["id"])).await;
    filled(create, Key::Ctid).await;
}

#[tokio::test]
async fn an_empty_table_and_one_without_statistics() {
    filled(
        "CREATE TABLE users (id int PRIMARY KEY, name text)",
        key(&["id"]),
    )
    .await;
    filled("CREATE TABLE users (id int, name text)", Key::Ctid).await;
}

/// Keys that sort before the cursor are made while it moves on.
#[tokio::test]
async fn rows_inserted_behind_the_cursor_are_right() {
    let Some(database) = Database::new() else {
        return;
    };
    database
        .run(
            "CREATE TABLE users (id uuid PRIMARY KEY, name text);
        INSERT INTO users SELECT gen_random_uuid(), 'u' || n FROM generate_series(1, 20000) n",
        )
        .await;
    let mut writer = database.connect().await;
    let heard = Heard::default();
    let (mut runner, _wish) = runner_with(&database, (settings(), heard.observer()))
        .await
        .unwrap();
    let filling = tokio::spawn(async move { runner.expand(&change(fill(key(&["id"])))).await });
    while !filling.is_finished() {
        let sql = "INSERT INTO users SELECT gen_random_uuid(), 'new' || n FROM generate_series(1, 20) n;
            UPDATE users SET id = gen_random_uuid(), name = name || '!' WHERE id IN (SELECT id FROM users ORDER BY random() LIMIT 5)";
        writer.client().batch_execute(sql).await.unwrap();
    }
    filling.await.unwrap().unwrap();
    assert_eq!(database.superuser(MISSED), "0");
    let batches = heard
        .all()
        .iter()
        .filter(|it| matches!(it, Event::Backfill(_)))
        .count();
    assert!(batches > 2, "{batches} batches");
}

/// Programs change nothing but a row's place: its key, or, where it has none, its page.
async fn moved(create: &str, moving: &str) {
    let Some(database) = Database::new() else {
        return;
    };
    database.run(create).await;
    let mut program = database.connect().await;
    let mut runner = runner(&database).await;
    let file = "operations: [{add_column: {table: users, column: {name: nick, type: text}, up: upper(name)}}]";
    let change = runner.plan("public", ("02_nick.yaml", file)).await.unwrap();
    let filling = tokio::spawn(async move { runner.expand(&change).await });
    while !filling.is_finished() {
        program.client().batch_execute(moving).await.unwrap();
    }
    filling.await.unwrap().unwrap();
    let missed =
        "SELECT count(*) FROM public_02_nick.users WHERE nick IS DISTINCT FROM upper(name)";
    assert_eq!(database.superuser(missed), "0");
}

#[tokio::test]
async fn rows_that_only_move_past_the_cursor_are_right() {
    moved(
        "CREATE TABLE users (id uuid PRIMARY KEY, name text);
        INSERT INTO users SELECT gen_random_uuid(), 'u' || n FROM generate_series(1, 40000) n",
        "UPDATE users SET id = gen_random_uuid()
            WHERE id IN (SELECT id FROM users WHERE id > gen_random_uuid() LIMIT 200)",
    )
    .await;
    moved(
        "CREATE TABLE users (name text, n int);
        INSERT INTO users SELECT 'u' || n, n FROM generate_series(1, 40000) n",
        "UPDATE users SET n = n + 1 WHERE ctid IN (SELECT ctid FROM users ORDER BY random() LIMIT 200)",
    )
    .await;
}

async fn refused(create: &str, key: Key) -> Option<(Runner, String)> {
    let database = Database::new()?;
    database.run(create).await;
    let mut plan = fill(key);
    plan.backfill[0].set[0].expression = "(100 / (users.number % 1000))::text".to_owned();
    let mut runner = runner(&database).await;
    let error = runner.expand(&change(plan)).await.unwrap_err();
    assert!(matches!(error, DatabaseError::TakenBack { .. }), "{error}");
    assert_eq!(
        database.superuser("SELECT count(*) FROM pg_attribute WHERE attname = 'nick'"),
        "0"
    );
    Some((runner, error.to_string()))
}

#[tokio::test]
async fn rows_that_cannot_be_filled_in_are_counted_and_named() {
    let create = "CREATE TABLE users (id int PRIMARY KEY, number int, name text);
        INSERT INTO users SELECT n, n, 'u' FROM generate_series(1, 5500) n";
    let Some((_runner, error)) = refused(create, by_id()).await else {
        return;
    };
    assert!(
        error.contains("5 rows of public.users cannot be filled in, such as id = 1000, id = 2000"),
        "{error}"
    );
    assert!(error.contains("division by zero"), "{error}");
    let create = "CREATE TABLE users (number int, name text); INSERT INTO users SELECT n, 'u' FROM generate_series(1, 5500) n";
    let Some((_runner, error)) = refused(create, Key::Ctid).await else {
        return;
    };
    assert!(
        error.contains("5 rows of public.users cannot be filled in, such as ctid = ("),
        "{error}"
    );
    let create = "CREATE TABLE users (id int PRIMARY KEY, number int, name text);
        INSERT INTO users SELECT n, 0, 'u' FROM generate_series(1, 5500) n";
    let Some((_runner, error)) = refused(create, by_id()).await else {
        return;
    };
    assert!(error.contains("at least 100 rows"), "{error}");
}

const AUDIT: &str = "CREATE TABLE users (id int PRIMARY KEY, name text); INSERT INTO users VALUES (1, 'a'), (2, 'b');
    CREATE TABLE audit (id int);
    CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO audit VALUES (NEW.id); RETURN NULL; END $$;
    CREATE TRIGGER audit AFTER UPDATE ON users FOR EACH ROW EXECUTE FUNCTION audit()";

fn audited() -> Plan {
    let mut plan = fill(by_id());
    plan.backfill[0].triggers = vec![FiringTrigger {
        name: "audit".to_owned(),
        effect: TriggerEffect::Fires,
    }];
    plan
}

#[tokio::test]
async fn triggers_that_would_fire_are_asked_about() {
    let Some(database) = Database::new() else {
        return;
    };
    database.run(AUDIT).await;
    let mut asks = runner(&database).await;
    let error = asks
        .expand(&change(audited()))
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("fires audit"), "{error}");
    assert!(
        asks.history().await.unwrap().is_empty(),
        "nothing was begun"
    );
    drop(asks);
    let yes = Settings {
        consent: Consent::Given,
        ..settings()
    };
    let (mut runner, _wish) = runner_with(&database, (yes, Arc::new(|_| {})))
        .await
        .unwrap();
    runner.expand(&change(audited())).await.unwrap();
    assert_eq!(database.superuser("SELECT count(*) FROM audit"), "2");
}

#[tokio::test]
async fn triggers_are_silenced_where_the_role_may() {
    let Some(database) = Database::new() else {
        return;
    };
    database.run(AUDIT).await;
    database.superuser(&format!(
        "GRANT SET ON PARAMETER session_replication_role TO {}",
        database.name
    ));
    let mut runner = runner(&database).await;
    runner.expand(&change(audited())).await.unwrap();
    assert_eq!(database.superuser("SELECT count(*) FROM audit"), "0");
    assert_eq!(database.superuser(MISSED), "0");
}
