//! What is refused: histories of newer versions, names that do not fit.

use postgres::DatabaseError;

use crate::plans::stage;
use crate::script::{Heard, runner_with, settings};
use crate::stand::Database;

#[tokio::test]
async fn a_history_that_a_newer_version_wrote_is_left_alone() {
    let Some(stage) = stage().await else {
        return;
    };
    let database = stage.end();
    database.superuser("UPDATE gapless.format SET version = 1000");
    let opened = runner_with(&database, (settings(), Heard::default().observer())).await;
    let error = opened.map(|_| ()).unwrap_err();
    assert!(matches!(error, DatabaseError::TooNew { .. }), "{error}");
    let mut session = database.connect().await;
    let error = postgres::history(session.client()).await.unwrap_err();
    assert!(error.to_string().contains("use that one"), "{error}");
    let planned = postgres::plan(session.client(), "public", ("a.yaml", DROP)).await;
    let error = planned.map(|_| ()).unwrap_err();
    assert!(matches!(error, DatabaseError::TooNew { .. }), "{error}");
}

const DROP: &str = "operations: [{drop_table: {name: users}}]";

/// A phase, too, may be one that only a newer version knows.
#[tokio::test]
async fn a_phase_that_a_newer_version_wrote_is_left_alone() {
    let Some(mut stage) = stage().await else {
        return;
    };
    stage
        .tell(None, "CREATE TABLE users (id int PRIMARY KEY)")
        .await;
    stage.begin(1, DROP).await;
    stage
        .database
        .superuser("UPDATE gapless.history SET phase = 'archived'");
    let error = stage.runner.contract("v1").await.unwrap_err().to_string();
    assert!(error.contains("phase `archived`"), "{error}");
    stage.sees(None, "SELECT count(*) FROM users", "0").await;
}

/// The server would cut them, and two could become one.
#[tokio::test]
async fn names_that_are_too_long_are_refused_with_their_place() {
    let Some(mut stage) = stage().await else {
        return;
    };
    stage
        .tell(None, "CREATE TABLE users (id int PRIMARY KEY, name text)")
        .await;
    let long = "n".repeat(64);
    for operation in [
        format!("rename_table: {{from: users, to: {long}}}"),
        format!("rename_column: {{table: users, from: name, to: {long}}}"),
        format!(
            "add_column: {{table: users, column: {{name: {long}, type: int, nullable: true}}}}"
        ),
        format!("create_table: {{name: {long}, columns: [{{name: id, type: int}}]}}"),
        format!("create_table: {{name: t, columns: [{{name: {long}, type: int}}]}}"),
        format!("create_index: {{table: users, name: {long}, columns: [{{column: name}}]}}"),
        format!(
            "create_constraint: {{table: users, name: {long}, type: check, check: 'id > 0', columns: [id], up: {{id: id}}, down: {{id: id}}}}"
        ),
        format!("rename_constraint: {{table: users, from: users_pkey, to: {long}}}"),
    ] {
        let text = format!("operations:\n  - {operation}\n");
        let planned = stage.runner.plan("public", ("v1.yaml", &text)).await;
        let Err(DatabaseError::Refused { shown, .. }) = planned else {
            panic!("{operation} was planned");
        };
        assert!(
            shown.contains("at most 63") && shown.contains("v1.yaml:2:"),
            "{shown}"
        );
    }
    let file = format!("{}.yaml", "v".repeat(60));
    let text = "operations: [{drop_table: {name: users}}]";
    let planned = stage.runner.plan("public", (&file, text)).await;
    let Err(DatabaseError::Refused { shown, .. }) = planned else {
        panic!("its schema's name has 67 bytes");
    };
    assert!(shown.contains("more than 63 bytes"), "{shown}");
}

/// What we make for a while has names of its own, also for the longest of theirs.
#[tokio::test]
async fn names_of_the_greatest_length_go_through_a_whole_change() {
    let Some(mut stage) = stage().await else {
        return;
    };
    let (table, column) = ("t".repeat(63), "c".repeat(63));
    let (first, second) = (format!("{}1", &column[1..]), format!("{}2", &column[1..]));
    let make = format!(
        "CREATE TABLE {table} (id serial PRIMARY KEY, {first} int NOT NULL, {second} int,
            CONSTRAINT {first} CHECK ({first} > 0), CONSTRAINT {second} UNIQUE ({second}));
         INSERT INTO {table} ({first}, {second}) VALUES (1, 2)"
    );
    stage.tell(None, &make).await;
    let before = stage.schema().await;
    let text = format!(
        "operations:
  - alter_column: {{table: {table}, column: {first}, type: bigint, up: {first}, down: {first}}}
  - alter_column: {{table: {table}, column: {second}, type: bigint, up: {second}, down: {second}}}
  - alter_column: {{table: {table}, column: id, type: bigint, up: id, down: id}}
"
    );
    stage.begin(1, &text).await;
    stage.abort().await;
    crate::plans::assert_same(&before, &stage.schema().await, "taken back");
    stage.begin(1, &text).await;
    let insert = format!("INSERT INTO {table} ({first}, {second}) VALUES (3, 4)");
    stage.tell(Some(1), &insert).await;
    stage.tell(None, &insert.replace("4)", "5)")).await;
    stage.contract().await;
    // A number may be passed over, never given twice.
    let sql = format!(
        "SELECT {first}, {second}, row_number() OVER (ORDER BY id) FROM {table} ORDER BY {second}"
    );
    stage.sees(Some(1), &sql, "1|2|1 3|4|2 3|5|3").await;
    crate::plans::assert_clean(&stage.schema().await, "contracted");
}

#[tokio::test]
async fn a_table_of_somebody_else_is_said_with_the_grants_that_are_enough() {
    let Some(database) = Database::new() else {
        return;
    };
    database.superuser("CREATE TABLE users (id int PRIMARY KEY, name text)");
    let opened = runner_with(&database, (settings(), Heard::default().observer())).await;
    let (mut runner, _wish) = opened.unwrap();
    let text = "operations: [{alter_column: {table: users, column: name, nullable: false, up: \"coalesce(name, '')\", down: name}}]";
    let change = runner.plan("public", ("v1.yaml", text)).await.unwrap();
    let error = runner.expand(&change).await.unwrap_err();
    let DatabaseError::Privileges { missing } = error else {
        panic!("{error}");
    };
    assert!(
        runner.history().await.unwrap().is_empty(),
        "nothing was begun"
    );
    // What is said is enough.
    for grant in &missing {
        let grant = grant.split(" (the owner").next().unwrap();
        database.superuser(grant);
    }
    runner.expand(&change).await.unwrap();
}
