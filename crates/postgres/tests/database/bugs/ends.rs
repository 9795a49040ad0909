//! Reports about contract and abort.

use std::sync::Arc;

use postgres::{DatabaseError, Event};

use super::{CAPITALS, users};
use crate::plans::{assert_same, stage};
use crate::script::{runner, runner_until};
use crate::traffic::Traffic;

const OLD: [&str; 2] = [
    "UPDATE users SET name = 'old{n}', age = {n} WHERE id = 1 + {n} % 500",
    "INSERT INTO users (id, name) VALUES (nextval('numbers'), 'more')",
];
const NEW: [&str; 2] = [
    "UPDATE users SET name = 'NEW{n}' WHERE id = 1 + {n} % 500",
    "INSERT INTO users (id, name) VALUES (nextval('numbers'), 'MORE')",
];

/// A column that was dropped while a trigger still wrote it failed every write meanwhile.
#[tokio::test]
async fn pgroll_906_writes_go_on_while_a_change_is_contracted_or_taken_back() {
    let Some(mut stage) = users().await else {
        return;
    };
    let make = "CREATE SEQUENCE numbers START 10000";
    stage.tell(None, make).await;
    let mut old = Traffic::of(&stage.database, "public", &OLD).await;
    for _ in 0..3 {
        stage.begin(1, CAPITALS).await;
        stage.abort().await;
        old.more(5).await;
    }
    stage.begin(1, CAPITALS).await;
    let mut new = Traffic::of(&stage.database, "public_v1, public", &NEW).await;
    new.more(5).await;
    old.end().await;
    stage.contract().await;
    new.more(5).await;
    new.end().await;
    let sql = "SELECT count(*) FROM users WHERE name <> upper(name)";
    stage.sees(Some(1), sql, "0").await;
}

/// A version's schema was dropped by the migration after the next one, while it was in use.
#[tokio::test]
async fn pgroll_725_a_version_keeps_its_schema_until_its_own_end_comes() {
    let Some(mut stage) = users().await else {
        return;
    };
    let add = |name: &str| {
        format!(
            "operations: [{{add_column: {{table: users, column: {{name: {name}, type: text, nullable: true}}}}}}]"
        )
    };
    for (number, name) in [(1, "a"), (2, "b"), (3, "c")] {
        stage.begin(number, &add(name)).await;
    }
    let columns = "SELECT string_agg(attname, ',' ORDER BY attnum) FROM pg_attribute
        WHERE attrelid = 'users'::regclass AND attnum > 0";
    for left in [1, 2, 3] {
        for version in left..=3 {
            let all = ["id,name,age,a", "id,name,age,a,b", "id,name,age,a,b,c"];
            let expected = all[version - 1];
            let version = u32::try_from(version).unwrap();
            stage.sees(Some(version), columns, expected).await;
        }
        stage.contract().await;
    }
    stage.sees(Some(3), columns, "id,name,age,a,b,c").await;
    let schemas =
        "SELECT string_agg(nspname, ',') FROM pg_namespace WHERE nspname LIKE 'public_v%'";
    stage.sees(None, schemas, "public_v3").await;
}

/// What could not be completed could not be rolled back either.
#[tokio::test]
async fn pgroll_786_468_777_what_cannot_be_contracted_can_be_taken_back_or_mended() {
    let Some(mut stage) = users().await else {
        return;
    };
    stage.begin(1, CAPITALS).await;
    stage
        .tell(None, "CREATE VIEW names AS SELECT name FROM users")
        .await;
    let refused = stage.runner.contract("v1").await.unwrap_err();
    assert!(format!("{refused:?}").contains("names"), "{refused:?}");
    let sql = "SELECT name FROM users WHERE id = 7";
    stage.sees(None, sql, "u7").await;
    stage.sees(Some(1), sql, "U7").await;
    stage.abort().await;
    stage.sees(None, "SELECT count(*) FROM names", "3000").await;
    stage.tell(None, "DROP VIEW names").await;
    stage.begin(1, CAPITALS).await;
    stage.contract().await;
    stage.sees(Some(1), sql, "U7").await;
}

/// As before, where the database itself refuses the first statement of the end.
#[tokio::test]
async fn pgroll_786_468_777_an_end_that_did_nothing_yet_can_be_taken_back() {
    let Some(mut stage) = users().await else {
        return;
    };
    stage.begin(1, CAPITALS).await;
    stage.database.superuser(
        "CREATE FUNCTION no() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not on a Friday'; END $$;
        CREATE EVENT TRIGGER no ON sql_drop EXECUTE FUNCTION no()",
    );
    let refused = stage.runner.contract("v1").await.unwrap_err();
    assert!(refused.to_string().contains("Friday"), "{refused}");
    stage.database.superuser("DROP EVENT TRIGGER no");
    let sql = "SELECT name FROM users WHERE id = 7";
    stage.sees(None, sql, "u7").await;
    stage.sees(Some(1), sql, "U7").await;
    stage.abort().await;
    stage.sees(None, sql, "u7").await;
}

/// A view that could not be made left the migration half begun.
#[tokio::test]
async fn pgroll_966_a_publication_that_fails_leaves_nothing() {
    let Some(mut stage) = users().await else {
        return;
    };
    let before = stage.schema().await;
    stage.database.superuser(
        "CREATE FUNCTION no() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no views'; END $$;
        CREATE EVENT TRIGGER no ON ddl_command_end WHEN TAG IN ('CREATE VIEW') EXECUTE FUNCTION no()",
    );
    let change = stage.runner.plan("public", ("v1.yaml", CAPITALS)).await;
    let error = stage.runner.expand(&change.unwrap()).await.unwrap_err();
    assert!(matches!(error, DatabaseError::TakenBack { .. }), "{error}");
    assert!(error.to_string().contains("no views"), "{error}");
    stage
        .database
        .superuser("DROP EVENT TRIGGER no; DROP FUNCTION no()");
    assert_same(&before, &stage.schema().await, "after the failure");
    stage.begin(1, CAPITALS).await;
}

/// A schema of somebody else that has the version's name is neither used nor dropped.
#[tokio::test]
async fn pgroll_966_a_schema_of_that_name_is_refused_before_anything_is_begun() {
    let Some(mut stage) = users().await else {
        return;
    };
    let make = "CREATE SCHEMA public_v1; CREATE VIEW public_v1.mine AS SELECT 1 AS one";
    stage.tell(None, make).await;
    let change = stage.runner.plan("public", ("v1.yaml", CAPITALS)).await;
    let error = stage.runner.expand(&change.unwrap()).await.unwrap_err();
    let error = error.to_string();
    assert!(error.contains("`public_v1`"), "{error}");
    assert!(stage.runner.history().await.unwrap().is_empty());
    stage
        .sees(None, "SELECT one FROM public_v1.mine", "1")
        .await;
}

const TWO_TABLES: &str = "operations:
  - alter_column: {table: users, column: name, type: varchar(60), up: upper(name), down: lower(name)}
  - alter_column: {table: posts, column: title, type: varchar(60), up: upper(title), down: lower(title)}
  - drop_column: {table: tags, column: tag, down: \"'none'\"}
";

/// A crash after a completed action made the next run skip the actions that were left.
#[tokio::test]
async fn reshape_a_contract_that_was_cut_anywhere_leaves_out_no_step() {
    for number in 0.. {
        let Some(mut stage) = stage().await else {
            return;
        };
        let make = "CREATE TABLE users (id int PRIMARY KEY, name text);
            CREATE TABLE posts (id int PRIMARY KEY, title text);
            CREATE TABLE tags (id int PRIMARY KEY, tag text)";
        stage.tell(None, make).await;
        stage.begin(1, "operations: [{create_table: {name: empty, columns: [{name: id, type: int, pk: true}]}}]").await;
        stage.contract().await;
        stage.begin(2, TWO_TABLES).await;
        let database = stage.end();
        let mut cut = runner_until(&database, number).await;
        let done = cut.contract("v2").await;
        drop(cut);
        runner(&database).await.contract("v2").await.unwrap();
        let left = "SELECT string_agg(attname || ' ' || format_type(atttypid, NULL), ',' ORDER BY attrelid::regclass::text, attname)
            FROM pg_attribute WHERE attrelid IN ('users'::regclass, 'posts'::regclass, 'tags'::regclass)
            AND attnum > 0 AND NOT attisdropped";
        let expected =
            "id integer,title character varying,id integer,id integer,name character varying";
        assert_eq!(database.superuser(left), expected, "cut at {number}");
        let more = "SELECT count(*) FROM pg_trigger WHERE tgname LIKE '~gapless%'
            UNION ALL SELECT count(*) FROM pg_namespace WHERE nspname = 'public_v1'";
        assert_eq!(database.superuser(more), "0\n0", "cut at {number}");
        if done.is_ok() {
            assert!(number > 8, "there were statements to be cut at");
            return;
        }
    }
}

/// Validation came after the old version's schema was gone.
#[tokio::test]
async fn pgroll_everything_is_proved_before_the_first_thing_is_dropped() {
    let Some(mut stage) = users().await else {
        return;
    };
    let text = "operations:
  - alter_column: {table: users, column: age, nullable: false, up: 'coalesce(age, 0)', down: age, check: {name: grown, constraint: age >= 0}}
  - create_constraint: {table: users, name: short, type: check, check: 'length(name) < 70', columns: [name], up: {name: name}, down: {name: name}}
";
    let change = stage.runner.plan("public", ("v1.yaml", text)).await;
    let plan = change.unwrap().plan;
    let proves = |sql: &&String| sql.contains("VALIDATE") || sql.contains("CREATE UNIQUE INDEX");
    // What older programs may break until then is proved first of all at contract.
    let contract = plan.contract.iter().flat_map(|step| &step.statements);
    let contract: Vec<&String> = contract.collect();
    let proved = contract.iter().rposition(proves);
    let dropped = contract.iter().position(|sql| sql.contains("DROP "));
    assert!(proved.is_some() && proved < dropped, "{contract:?}");
    let publish = plan.publish.iter().flat_map(|step| &step.statements);
    assert!(publish.filter(proves).count() >= 3, "{:?}", plan.publish);

    stage.begin(1, text).await;
    let bad = "UPDATE users SET age = -1 WHERE id = 1";
    let mut session = stage.database.connect().await;
    let path = "SET search_path = public_v1, public";
    session.client().batch_execute(path).await.unwrap();
    session.client().batch_execute(bad).await.unwrap_err();
    stage.contract().await;
}

/// The last statements ran on a second session, without its timeout and its role.
#[tokio::test]
async fn pgroll_every_statement_runs_in_the_one_session_that_has_the_timeouts() {
    let Some(stage) = users().await else {
        return;
    };
    let database = stage.end();
    database.superuser(
        "CREATE TABLE seen (pid int, role text, waits text);
        GRANT INSERT ON seen TO PUBLIC;
        CREATE FUNCTION see() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
            INSERT INTO seen VALUES (pg_backend_pid(), current_user, current_setting('lock_timeout')); END $$;
        CREATE EVENT TRIGGER see ON ddl_command_end EXECUTE FUNCTION see()",
    );
    let statements = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = statements.clone();
    let observer: postgres::Observer = Arc::new(move |event| {
        if matches!(event, Event::Statement { .. }) {
            count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    });
    let opened = crate::script::runner_with(&database, (crate::script::settings(), observer)).await;
    let (mut runner, _wish) = opened.unwrap();
    let change = runner.plan("public", ("v1.yaml", CAPITALS)).await.unwrap();
    runner.expand(&change).await.unwrap();
    runner.contract("v1").await.unwrap();
    let sessions = database
        .superuser("SELECT count(DISTINCT pid) || ' ' || string_agg(DISTINCT role, ',') FROM seen");
    assert_eq!(sessions, format!("1 {}", database.name));
    let endless = database.superuser("SELECT count(*) FROM seen WHERE waits = '0'");
    assert_eq!(
        endless, "0",
        "every statement that changes the schema waits a bounded time"
    );
    assert!(statements.load(std::sync::atomic::Ordering::Relaxed) > 5);
}
