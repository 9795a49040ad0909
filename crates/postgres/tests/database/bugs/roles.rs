//! Reports about who may what, and what others hang on a table.

use super::{CAPITALS, users};
use crate::plans::{Stage, stage};
use crate::script::{Heard, runner_with, settings};

/// Only a superuser may make event triggers, and hosted databases have none.
#[tokio::test]
async fn pgroll_367_a_role_that_is_nothing_special_makes_every_part_of_a_change() {
    let Some(mut stage) = users().await else {
        return;
    };
    let may = "SELECT rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls
        FROM pg_roles WHERE rolname = current_user";
    stage.sees(None, may, "f|f|f|f|f").await;
    stage.begin(1, CAPITALS).await;
    stage.abort().await;
    stage.begin(1, CAPITALS).await;
    stage.contract().await;
    stage
        .sees(None, "SELECT count(*) FROM pg_event_trigger", "0")
        .await;
}

/// Only the first of several roles was thought of.
#[tokio::test]
async fn pg_easy_replicate_164_every_role_may_do_in_a_version_what_it_may_do_before() {
    let Some(mut stage) = users().await else {
        return;
    };
    let name = stage.database.name.clone();
    let roles = ["reads", "writes", "one_column", "nothing"].map(|role| format!("{name}_{role}"));
    let [reads, writes, one_column, nothing] = &roles;
    for role in &roles {
        stage.database.superuser(&format!("CREATE ROLE {role}"));
    }
    let grants = format!(
        "GRANT SELECT ON users TO {reads}; GRANT SELECT, INSERT, UPDATE ON users TO {writes};
         GRANT SELECT (id, name) ON users TO {one_column}; GRANT USAGE ON SCHEMA public TO PUBLIC"
    );
    stage.tell(None, &grants).await;
    stage.begin(1, CAPITALS).await;
    let may = |stage: &Stage, role: &str, sql: &str| {
        let sql = format!("SET search_path = public_v1, public; SET ROLE {role}; {sql}");
        stage.database.cluster.sql(&stage.database.name, &sql)
    };
    let (select, update) = (
        "SELECT age FROM users LIMIT 1",
        "UPDATE users SET name = 'BY ME' WHERE id = 1",
    );
    let named = "SELECT name FROM users LIMIT 1";
    for _ in ["beside the old version", "alone"] {
        for (role, sql) in [
            (reads, select),
            (writes, select),
            (writes, update),
            (one_column, named),
        ] {
            may(&stage, role, sql).unwrap();
        }
        for (role, sql) in [
            (reads, update),
            (one_column, select),
            (nothing, named),
            (nothing, update),
        ] {
            let error = may(&stage, role, sql).unwrap_err().to_string();
            assert!(error.contains("permission denied"), "{role}: {error}");
        }
        if !stage.open.is_empty() {
            stage.contract().await;
        }
    }
    stage
        .sees(Some(1), "SELECT name FROM users WHERE id = 1", "BY ME")
        .await;
}

/// A view of somebody stopped the migration in its middle.
#[tokio::test]
async fn pgroll_625_views_of_people_survive_or_are_named_before() {
    let Some(mut stage) = users().await else {
        return;
    };
    let make = "CREATE VIEW ages AS SELECT id, age FROM users WHERE age > 5;
        CREATE MATERIALIZED VIEW many AS SELECT count(*) AS n FROM ages";
    stage.tell(None, make).await;
    stage.begin(1, CAPITALS).await;
    stage.contract().await;
    stage.sees(None, "SELECT count(*) FROM ages", "2995").await;
    stage.sees(None, "SELECT n FROM many", "2995").await;
    let drop = "operations: [{drop_column: {table: users, column: age, down: '1'}}]";
    let refused = stage.runner.plan("public", ("v2.yaml", drop)).await;
    let refused = format!("{:?}", refused.map(|_| ()).unwrap_err());
    assert!(refused.contains("public.ages"), "{refused}");
}

/// Triggers of people were lost, or fired for rows that nobody wrote.
#[tokio::test]
async fn pgroll_352_triggers_of_people_survive_and_fire_for_programs_only() {
    let Some(mut stage) = users().await else {
        return;
    };
    let make = "ALTER TABLE users ADD COLUMN writes int NOT NULL DEFAULT 0;
        CREATE FUNCTION count_writes() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN NEW.writes := NEW.writes + 1; RETURN NEW; END $$;
        CREATE TRIGGER zz_count BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION count_writes()";
    stage.tell(None, make).await;
    let before = stage.schema().await;
    stage.begin(1, CAPITALS).await;
    stage.sees(None, "SELECT sum(writes) FROM users", "0").await;
    stage
        .tell(Some(1), "UPDATE users SET name = 'X' WHERE id = 1")
        .await;
    stage
        .tell(None, "UPDATE users SET name = 'x' WHERE id = 2")
        .await;
    stage.sees(None, "SELECT sum(writes) FROM users", "2").await;
    stage.contract().await;
    stage
        .tell(Some(1), "UPDATE users SET name = 'X' WHERE id = 3")
        .await;
    stage
        .sees(Some(1), "SELECT sum(writes) FROM users", "3")
        .await;
    let after = stage.schema().await;
    let triggers = |schema: &migration::schema::Schema| schema.tables["users"].triggers.clone();
    assert_eq!(triggers(&before), triggers(&after));
}

/// Foreign keys between schemas were lost.
#[tokio::test]
async fn pgroll_373_foreign_keys_between_schemas_survive_or_are_asked_about() {
    let Some(mut stage) = stage().await else {
        return;
    };
    let make = "CREATE SCHEMA other; CREATE TABLE other.teams (id int PRIMARY KEY);
        CREATE TABLE users (id int PRIMARY KEY, name text, team int);
        ALTER TABLE users ADD CONSTRAINT team FOREIGN KEY (team) REFERENCES other.teams ON DELETE CASCADE;
        CREATE TABLE other.badges (id int PRIMARY KEY, owner int CONSTRAINT badge REFERENCES users);
        INSERT INTO other.teams VALUES (1); INSERT INTO users VALUES (1, 'a', 1); INSERT INTO other.badges VALUES (1, 1)";
    stage.tell(None, make).await;
    let text = "operations:
  - alter_column: {table: users, column: team, type: bigint, up: team, down: team}
  - alter_column: {table: users, column: name, type: varchar(9), up: upper(name), down: lower(name)}
";
    stage.begin(1, text).await;
    stage.contract().await;
    let keys = "SELECT conname, conrelid::regclass, confrelid::regclass, confdeltype, convalidated
        FROM pg_constraint WHERE contype = 'f' AND connamespace <> 'gapless'::regnamespace ORDER BY conname";
    let both = "badge|other.badges|users|a|t team|users|other.teams|c|t";
    stage.sees(None, keys, both).await;

    let id =
        "operations: [{alter_column: {table: users, column: id, type: bigint, up: id, down: id}}]";
    let database = stage.end();
    let opened = runner_with(&database, (settings(), Heard::default().observer())).await;
    let (mut runner, _wish) = opened.unwrap();
    let change = runner.plan("public", ("v2.yaml", id)).await.unwrap();
    let asks = runner.expand(&change).await.unwrap_err().to_string();
    assert!(asks.contains("other.badges"), "{asks}");
}

/// What a version's views cannot do, and how a program of it does that all the same.
#[tokio::test]
async fn pgroll_what_views_refuse_is_done_to_the_table_as_the_version_before() {
    let Some(mut stage) = stage().await else {
        return;
    };
    let make = "CREATE TABLE users (id serial PRIMARY KEY, name text); INSERT INTO users (name) VALUES ('a')";
    stage.tell(None, make).await;
    stage.begin(1, CAPITALS).await;
    let mut session = stage.database.connect().await;
    let client = session.client();
    let path = "SET search_path = public_v1, public";
    client.batch_execute(path).await.unwrap();
    for refused in [
        "TRUNCATE users",
        "SELECT xmin FROM users",
        "COPY users (name) FROM STDIN",
    ] {
        client.batch_execute(refused).await.unwrap_err();
    }
    let next = "INSERT INTO users (id, name) VALUES (nextval('users_id_seq'), 'BARE'); INSERT INTO users (name) VALUES ('OWN')";
    client.batch_execute(next).await.unwrap();
    let serial = "SELECT pg_get_serial_sequence('public.users', 'id')";
    assert_eq!(
        client
            .query_one(serial, &[])
            .await
            .unwrap()
            .get::<_, String>(0),
        "public.users_id_seq"
    );
    // A whole table of rows, written as the version before writes them.
    let copy =
        "BEGIN; SET LOCAL search_path = public; INSERT INTO users (name) SELECT 'copied'; COMMIT";
    client.batch_execute(copy).await.unwrap();
    let sql = "SELECT string_agg(name, ',' ORDER BY id) FROM users";
    stage.sees(None, sql, "a,bare,own,copied").await;
    stage.sees(Some(1), sql, "A,BARE,OWN,COPIED").await;
    stage.tell(Some(1), "TRUNCATE public.users").await;
    stage.sees(Some(1), "SELECT count(*) FROM users", "0").await;
}
