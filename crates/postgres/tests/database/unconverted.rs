//! A program of the old version is never refused because of the new one: what `up` cannot
//! convert is kept, noted, and stands in the way of publication or contract until it is right.

use std::sync::Arc;

use postgres::{DatabaseError, Event, Observer, Phase, Runner};

use crate::script::{runner, runner_with, settings};
use crate::stand::Database;

const USERS: &str = "CREATE TABLE users (id bigint PRIMARY KEY, age text NOT NULL, name text);
    INSERT INTO users SELECT n, n::text, 'u' || n FROM generate_series(1, 2000) n";

/// Ages become numbers.
const NUMBERS: &str = "
operations:
  - alter_column: {table: users, column: age, type: int, up: age::int, down: age::text}
";

async fn published(database: &Database, text: &str) -> Runner {
    let mut runner = runner(database).await;
    let change = runner.plan("public", ("02_change.yaml", text)).await;
    runner.expand(&change.unwrap()).await.unwrap();
    runner
}

async fn users(text: &str) -> Option<(Database, Runner)> {
    let database = Database::new()?;
    database.run(USERS).await;
    let runner = published(&database, text).await;
    Some((database, runner))
}

async fn as_new(database: &Database, sql: &str) -> Result<(), tokio_postgres::Error> {
    let sql = format!("SET search_path = public_02_change, public; {sql}");
    database.connect().await.client().batch_execute(&sql).await
}

/// What the new version reads, by id.
fn ages(database: &Database) -> String {
    let sql = "SELECT string_agg(id || ':' || coalesce(age::text, 'none'), ',' ORDER BY id)
        FROM public_02_change.users WHERE id IN (7, 8) OR id >= 9000";
    database.superuser(sql)
}

async fn noted(runner: &Runner) -> (i64, Vec<String>) {
    let entry = runner.history().await.unwrap().remove(0);
    let noted = entry.unconverted.into_iter().next();
    noted.map_or((0, Vec::new()), |it| (it.rows, it.keys))
}

#[tokio::test]
async fn an_old_write_that_cannot_be_converted_is_kept_and_stands_in_the_way_of_contract() {
    let Some((database, mut runner)) = users(NUMBERS).await else {
        return;
    };
    // A program that may do nothing but write the table.
    let program = format!("{}_program", database.name);
    database.superuser(&format!(
        "CREATE ROLE {program} LOGIN; GRANT SELECT, INSERT, UPDATE, DELETE ON users TO {program}; SET ROLE {program};
         UPDATE users SET age = 'old' WHERE id IN (7, 8);
         INSERT INTO users VALUES (9000, 'what'), (9001, '70')"
    ));
    assert_eq!(ages(&database), "7:7,8:8,9000:none,9001:70");
    let keys = ["id = 7", "id = 8", "id = 9000"].map(str::to_owned);
    assert_eq!(noted(&runner).await, (3, keys.to_vec()));
    let refused = runner.contract("02_change").await.unwrap_err();
    let said = refused.to_string();
    assert!(
        matches!(refused, DatabaseError::Unconverted { .. }),
        "{said}"
    );
    assert!(
        said.contains("3 rows of public.users") && said.contains("id = 9000"),
        "{said}"
    );
    assert!(said.contains("invalid input syntax"), "{said}");
    assert_eq!(runner.history().await.unwrap()[0].phase, Phase::Published);

    // Each way to make a row right: either version's write, and its removal.
    database
        .run("UPDATE users SET age = '70' WHERE id = 7; DELETE FROM users WHERE id = 8")
        .await;
    assert_eq!(noted(&runner).await, (1, vec!["id = 9000".to_owned()]));
    database
        .run("UPDATE users SET name = 'other' WHERE id = 9000")
        .await;
    assert_eq!(noted(&runner).await.0, 1, "its age is as wrong as before");
    as_new(&database, "UPDATE users SET age = 90 WHERE id = 9000")
        .await
        .unwrap();
    assert_eq!(noted(&runner).await.0, 0);
    assert_eq!(
        database.superuser("SELECT age FROM users WHERE id = 9000"),
        "90"
    );
    runner.contract("02_change").await.unwrap();
    assert_eq!(
        database.superuser(
            "SELECT string_agg(age::text, ',' ORDER BY id) FROM users WHERE id IN (7, 9000, 9001)"
        ),
        "70,90,70"
    );
    let left = "SELECT (SELECT count(*) FROM pg_attribute WHERE attname LIKE '\\_gapless%' AND NOT attisdropped)
        + (SELECT count(*) FROM pg_proc WHERE proname LIKE '\\_gapless%') + (SELECT count(*) FROM pg_constraint WHERE conname LIKE '\\_gapless%')
        + (SELECT count(*) FROM pg_trigger WHERE tgname LIKE '~gapless%')";
    assert_eq!(database.superuser(left), "0");
    let null = as_new(&database, "INSERT INTO users VALUES (9100, NULL)").await;
    assert!(null.is_err(), "the column is NOT NULL");
}

#[tokio::test]
async fn a_change_is_taken_back_when_a_write_cannot_be_converted_before_publication() {
    let Some(database) = Database::new() else {
        return;
    };
    database.run(USERS).await;
    // Behind the backfill's last batch, so that nothing but the note tells of it.
    let (cluster, name) = (database.cluster, database.name.clone());
    let observer: Observer = Arc::new(move |event| {
        if let Event::Step {
            part: "publish",
            number: 1,
            ..
        } = event
        {
            let sql = format!("SET ROLE {name}; INSERT INTO users VALUES (9000, 'what')");
            cluster.sql(&name, &sql).unwrap();
        }
    });
    let opened = runner_with(&database, (settings(), observer)).await;
    let (mut runner, _wish) = opened.unwrap();
    let change = runner.plan("public", ("02_change.yaml", NUMBERS)).await;
    let error = runner.expand(&change.unwrap()).await.unwrap_err();
    let said = error.to_string();
    assert!(matches!(error, DatabaseError::TakenBack { .. }), "{said}");
    assert!(
        said.contains("1 row of public.users cannot be filled in, such as id = 9000"),
        "{said}"
    );
    assert_eq!(
        database.superuser("SELECT age FROM users WHERE id = 9000"),
        "what"
    );
    assert_eq!(noted(&runner).await.0, 0, "nothing is left to be noted");
    let columns = "SELECT count(*) FROM pg_attribute WHERE attrelid = 'users'::regclass AND attnum > 0 AND NOT attisdropped";
    assert_eq!(database.superuser(columns), "3");
}

#[tokio::test]
async fn an_abort_forgets_what_was_not_converted() {
    let Some((database, mut runner)) = users(NUMBERS).await else {
        return;
    };
    database
        .run("UPDATE users SET age = 'old' WHERE id = 7")
        .await;
    runner.abort("02_change", "another idea").await.unwrap();
    assert_eq!(
        database.superuser("SELECT age FROM users WHERE id = 7"),
        "old"
    );
    assert_eq!(
        database.superuser("SELECT count(*) FROM gapless.unconverted"),
        "0"
    );
    drop(runner);
    let refused = users_again(&database).await;
    assert!(refused.contains("such as id = 7"), "{refused}");
}

async fn users_again(database: &Database) -> String {
    let mut runner = runner(database).await;
    let change = runner.plan("public", ("02_change.yaml", NUMBERS)).await;
    runner
        .expand(&change.unwrap())
        .await
        .unwrap_err()
        .to_string()
}

/// What the new version demands holds for its own programs at once, for the old one's at contract.
#[tokio::test]
async fn demands_of_the_new_version_refuse_its_own_programs_only() {
    let text = r#"
operations:
  - alter_column: {table: users, column: name, nullable: false, up: "nullif(name, '')", down: name}
  - add_column: {table: users, up: age::int, column: {name: years, type: int, nullable: true, check: {name: alive, constraint: years < 5000 AND id < 20000}}}
"#;
    let Some((database, mut runner)) = users(text).await else {
        return;
    };
    database
        .run(
            "UPDATE users SET name = '' WHERE id = 7; UPDATE users SET age = '7777' WHERE id = 8;
        INSERT INTO users VALUES (9000, '1', NULL), (9001, '6000', 'old')",
        )
        .await;
    let seen = "SELECT string_agg(concat_ws(':', id, name, years), ',' ORDER BY id) FROM public_02_change.users WHERE id IN (7, 8) OR id >= 9000";
    assert_eq!(database.superuser(seen), "7:u7:7,8:u8:8,9000:1,9001:old");
    assert_eq!(noted(&runner).await.0, 4);
    // A check may read what both versions share.
    database
        .run("UPDATE users SET id = 30000 WHERE id = 10")
        .await;
    assert_eq!(noted(&runner).await.0, 5);
    assert!(database.superuser(seen).ends_with(",30000:u10:10"));
    let code =
        |it: Result<(), tokio_postgres::Error>| it.unwrap_err().code().unwrap().code().to_owned();
    let null = as_new(&database, "INSERT INTO users VALUES (9002, '1', NULL, 1)").await;
    assert_eq!(code(null), "23514");
    let large = as_new(&database, "UPDATE users SET years = 6000 WHERE id = 9").await;
    assert_eq!(code(large), "23514");
    let said = runner.contract("02_change").await.unwrap_err().to_string();
    assert!(said.contains("5 rows of public.users"), "{said}");
    as_new(
        &database,
        "UPDATE users SET name = 'named' WHERE name IS NULL OR id = 7;
        UPDATE users SET years = 1 WHERE id IN (8, 9001); UPDATE users SET id = 10, years = 1 WHERE id = 30000",
    )
    .await
    .unwrap();
    runner.contract("02_change").await.unwrap();
    let full = "SELECT attnotnull FROM pg_attribute WHERE attrelid = 'users'::regclass AND attname = 'name'";
    assert_eq!(database.superuser(full), "t");
}

/// A new version's write that the old one could not read is refused: the way back stays exact.
#[tokio::test]
async fn a_new_write_that_cannot_be_converted_back_is_refused() {
    let text = "
operations:
  - alter_column: {table: users, column: age, type: int, up: age::int, down: (100 / age)::text}
";
    let Some((database, mut runner)) = users(text).await else {
        return;
    };
    let refused = as_new(&database, "UPDATE users SET age = 0 WHERE id = 7").await;
    assert_eq!(refused.unwrap_err().code().unwrap().code(), "22012");
    assert_eq!(
        database.superuser("SELECT age FROM users WHERE id = 7"),
        "7"
    );
    runner.contract("02_change").await.unwrap();
}

/// What says nothing of the row goes to the writer, who can try again.
#[tokio::test]
async fn errors_that_are_not_of_the_row_reach_the_writer() {
    let Some(database) = Database::new() else {
        return;
    };
    database.run(USERS).await;
    database
        .run(
            "CREATE FUNCTION busy(text) RETURNS int LANGUAGE plpgsql AS $$ BEGIN
        IF $1 = 'busy' THEN RAISE 'later' USING ERRCODE = '40001'; END IF; RETURN $1::int; END $$",
        )
        .await;
    let text = "
operations:
  - alter_column: {table: users, column: age, type: int, up: busy(age), down: age::text}
";
    let runner = published(&database, text).await;
    let mut connection = database.connect().await;
    let wrote = connection
        .client()
        .batch_execute("UPDATE users SET age = 'busy' WHERE id = 7")
        .await;
    assert_eq!(wrote.unwrap_err().code().unwrap().code(), "40001");
    assert_eq!(noted(&runner).await.0, 0);
}

/// Two changes at once, each with its own marks; the first contract leaves the second's in force.
#[tokio::test]
async fn marks_of_two_changes_are_told_apart() {
    let Some((database, mut runner)) = users(NUMBERS).await else {
        return;
    };
    let sizes = "
operations:
  - add_column: {table: users, up: name::int, column: {name: size, type: int, nullable: true}}
";
    database.run("UPDATE users SET name = id").await;
    let change = runner.plan("public", ("03_size.yaml", sizes)).await;
    runner.expand(&change.unwrap()).await.unwrap();
    database
        .run("UPDATE users SET age = 'x' WHERE id = 7; UPDATE users SET name = 'y' WHERE id = 8")
        .await;
    let rows = |entry: &postgres::Entry| {
        entry
            .unconverted
            .iter()
            .flat_map(|it| it.keys.clone())
            .collect::<Vec<_>>()
    };
    let history = runner.history().await.unwrap();
    assert_eq!(
        (rows(&history[0]), rows(&history[1])),
        (vec!["id = 7".to_owned()], vec!["id = 8".to_owned()])
    );
    database
        .run("UPDATE users SET age = '70' WHERE id = 7")
        .await;
    runner.contract("02_change").await.unwrap();
    as_new(
        &database,
        "UPDATE users SET name = 'z' WHERE id = 9; UPDATE users SET name = '80' WHERE id = 8",
    )
    .await
    .unwrap();
    let history = runner.history().await.unwrap();
    assert_eq!(rows(&history[1]), ["id = 9"]);
    database.run("DELETE FROM users WHERE id = 9").await;
    runner.contract("03_size").await.unwrap();
    assert_eq!(
        database.superuser("SELECT size FROM users WHERE id = 8"),
        "80"
    );
}

/// More rows than are noted by key, a table without a key, and one that was emptied at once.
#[tokio::test]
async fn rows_that_are_not_noted_by_key_are_counted_all_the_same() {
    let Some(database) = Database::new() else {
        return;
    };
    database
        .run("CREATE TABLE users (age text); INSERT INTO users VALUES ('1')")
        .await;
    let mut runner = published(&database, NUMBERS).await;
    database
        .run("INSERT INTO users SELECT 'x' FROM generate_series(1, 3000)")
        .await;
    assert!(noted(&runner).await.0 <= 1001);
    let said = runner.contract("02_change").await.unwrap_err().to_string();
    assert!(said.contains("3000 rows of public.users"), "{said}");
    database.run("TRUNCATE users").await;
    runner.contract("02_change").await.unwrap();
}

/// A change that an older Gapless began has no marks: its writers are refused as they were then,
/// and it ends as it would have.
#[tokio::test]
async fn a_change_from_before_there_were_marks_goes_on_without() {
    let Some((database, mut runner)) = users(NUMBERS).await else {
        return;
    };
    database
        .run(
            "DROP TRIGGER \"~gapless_note\" ON users; DROP TRIGGER \"~gapless_clear\" ON users;
            ALTER TABLE users DROP COLUMN _gapless_1_unconverted;
            ALTER TABLE users ADD CONSTRAINT _gapless_1_0_age_not_null CHECK (_gapless_1_0_age IS NOT NULL)",
        )
        .await;
    let more = "
operations:
  - add_column: {table: users, up: upper(name), column: {name: loud, type: text, nullable: true}}
";
    let change = runner.plan("public", ("03_loud.yaml", more)).await;
    runner.expand(&change.unwrap()).await.unwrap();
    database
        .run("UPDATE users SET age = '70', name = 'x' WHERE id = 7")
        .await;
    let mut connection = database.connect().await;
    let wrong = "UPDATE users SET age = 'old' WHERE id = 8";
    let refused = connection.client().batch_execute(wrong).await;
    assert_eq!(refused.unwrap_err().code().unwrap().code(), "22P02");
    runner.contract("02_change").await.unwrap();
    runner.contract("03_loud").await.unwrap();
    let row = "SELECT age || loud || pg_typeof(age) FROM users WHERE id = 7";
    assert_eq!(database.superuser(row), "70Xinteger");
}

/// What a contract demands of rows to prove it is demanded of nobody once it was refused.
#[tokio::test]
async fn a_refused_contract_leaves_programs_of_the_old_version_as_free_as_before() {
    let text = "
operations:
  - alter_column: {table: users, column: age, type: int, up: age::int, down: age::text, check: {name: grown, constraint: age > 0}}
";
    let Some((database, mut runner)) = users(text).await else {
        return;
    };
    database
        .run("INSERT INTO users VALUES (9000, '-5', 'old')")
        .await;
    // Somebody removed the note, so that only the proof finds the row.
    database.superuser("DELETE FROM gapless.unconverted");
    let constraints = "SELECT string_agg(conname, ',' ORDER BY conname) FROM pg_constraint WHERE conrelid = 'users'::regclass";
    let before = database.superuser(constraints);
    let error = runner.contract("02_change").await.unwrap_err();
    assert_eq!(
        error.sql_state().map(|it| it.code()),
        Some("23514"),
        "{error}"
    );
    assert_eq!(database.superuser(constraints), before);
    let history = runner.history().await.unwrap();
    assert_eq!(history[0].phase, postgres::Phase::Published);
    database
        .run("UPDATE users SET age = '-3' WHERE id = 9000; INSERT INTO users VALUES (9001, '-4', 'old')")
        .await;
    let ages = "SELECT string_agg(age, ',' ORDER BY id) FROM users WHERE id >= 9000";
    assert_eq!(database.superuser(ages), "-3,-4");
}
