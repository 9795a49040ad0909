//! What others lose while a schema changes is kept here: one test for each way to lose it.

use crate::script::runner;
use crate::stand::Database;

/// Users with a name, and a change that shows it in capitals.
const USERS: &str = "CREATE TABLE users (id bigint PRIMARY KEY, name text NOT NULL, age int, touched int NOT NULL DEFAULT 0);
    INSERT INTO users SELECT n, 'u' || n, n FROM generate_series(1, 3000) n";

const CAPITALS: &str = r#"
operations:
  - alter_column: {table: users, column: name, type: varchar(60), up: upper(name), down: lower(name)}
"#;

const NICK: &str = r#"
operations:
  - add_column: {table: users, up: upper(name), column: {name: nick, type: text, nullable: true}}
"#;

/// The change, published.
async fn published(database: &Database, text: &str) -> postgres::Runner {
    let mut runner = runner(database).await;
    let change = runner
        .plan("public", ("02_change.yaml", text))
        .await
        .unwrap();
    runner.expand(&change).await.unwrap();
    runner
}

async fn database(more: &str) -> Option<Database> {
    let database = Database::new()?;
    database.run(USERS).await;
    database.run(more).await;
    Some(database)
}

/// Runs statements as the owner, as a program of the new version would.
async fn as_new(database: &Database, sql: &str) {
    database
        .run(&format!(
            "SET search_path = public_02_change, public; {sql}"
        ))
        .await;
}

#[tokio::test]
async fn an_old_programs_write_does_not_compute_the_new_column_anew() {
    let Some(database) = database("").await else {
        return;
    };
    let _runner = published(&database, NICK).await;
    as_new(&database, "UPDATE users SET nick = 'chosen' WHERE id = 7").await;
    as_new(
        &database,
        "INSERT INTO users (id, name, nick) VALUES (9000, 'new', 'own')",
    )
    .await;
    database.run("UPDATE users SET age = age + 1").await;
    let nicks = "SELECT string_agg(nick, ',' ORDER BY id) FROM users WHERE id IN (6, 7, 9000)";
    let nicks = nicks.replace("FROM users", "FROM public_02_change.users");
    assert_eq!(database.superuser(&nicks), "U6,chosen,own");
    database
        .run("INSERT INTO users (id, name) VALUES (9001, 'old')")
        .await;
    let nick = "SELECT nick FROM public_02_change.users WHERE id = 9001";
    assert_eq!(database.superuser(nick), "OLD");
}

#[tokio::test]
async fn the_writers_version_is_the_first_schema_of_its_path_however_it_is_written() {
    let Some(database) = database("").await else {
        return;
    };
    let _runner = published(&database, CAPITALS).await;
    for (path, id) in [
        ("public_02_change", 1),
        ("\"public_02_change\", public", 2),
        ("'public_02_change', 'public'", 3),
    ] {
        let sql = format!(
            "SET search_path = {path}; UPDATE public_02_change.users SET name = 'NEW' WHERE id = {id}"
        );
        database.run(&sql).await;
    }
    database.run("SET search_path = public, public_02_change; UPDATE users SET name = 'old' WHERE id = 4").await;
    let names = "SELECT string_agg(name, ',' ORDER BY id) FROM users WHERE id < 5";
    assert_eq!(database.superuser(names), "new,new,new,old");
    let names = "SELECT string_agg(name, ',' ORDER BY id) FROM public_02_change.users WHERE id < 5";
    assert_eq!(database.superuser(names), "NEW,NEW,NEW,OLD");
}

#[tokio::test]
async fn a_backfill_touches_nothing_but_its_column() {
    let touching = "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.touched := NEW.touched + 1; RETURN NEW; END $$;
        CREATE TRIGGER ztouch BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION touch();
        ALTER TABLE users ENABLE ALWAYS TRIGGER ztouch";
    let Some(database) = database(touching).await else {
        return;
    };
    let mut runner = published(&database, CAPITALS).await;
    assert_eq!(database.superuser("SELECT sum(touched) FROM users"), "0");
    database.run("UPDATE users SET age = 1 WHERE id = 5").await;
    assert_eq!(
        database.superuser("SELECT touched FROM users WHERE id = 5"),
        "1",
        "theirs still works"
    );
    runner.contract("02_change").await.unwrap();
    database.run("UPDATE users SET age = 1 WHERE id = 5").await;
    assert_eq!(
        database.superuser("SELECT touched || name FROM users WHERE id = 5"),
        "2U5"
    );
}

#[tokio::test]
async fn replicated_rows_are_written_for_both_versions() {
    let Some(database) = database("").await else {
        return;
    };
    let _runner = published(&database, CAPITALS).await;
    database.superuser(
        "SET session_replication_role = replica; INSERT INTO users VALUES (9000, 'replicated', 1);
        UPDATE users SET name = 'changed' WHERE id = 8",
    );
    let names = "SELECT string_agg(name, ',' ORDER BY id) FROM public_02_change.users WHERE id IN (8, 9000)";
    assert_eq!(database.superuser(names), "CHANGED,REPLICATED");
}

#[tokio::test]
async fn policies_hold_through_the_new_version() {
    let Some(database) = database(
        "ALTER TABLE users ENABLE ROW LEVEL SECURITY; CREATE POLICY few ON users USING (id <= 10)",
    )
    .await
    else {
        return;
    };
    let reader = format!("{}_reader", database.name);
    database.superuser(&format!(
        "CREATE ROLE {reader} LOGIN; GRANT SELECT ON users TO {reader}"
    ));
    let mut runner = published(&database, CAPITALS).await;
    let seen = format!("SET ROLE {reader}; SELECT count(*) FROM public_02_change.users");
    assert_eq!(database.superuser(&seen), "10");
    runner.contract("02_change").await.unwrap();
    assert_eq!(database.superuser(&seen), "10");
    assert_eq!(database.superuser("SELECT count(*) FROM users"), "3000");
}

#[tokio::test]
async fn rows_that_forced_policies_hide_are_not_passed_over() {
    let forced =
        "ALTER TABLE users ENABLE ROW LEVEL SECURITY; ALTER TABLE users FORCE ROW LEVEL SECURITY;
        CREATE POLICY few ON users USING (id <= 10)";
    let Some(database) = database(forced).await else {
        return;
    };
    let mut runner = runner(&database).await;
    let change = runner.plan("public", ("02_change.yaml", CAPITALS)).await;
    let refused = match change {
        Ok(change) => runner.expand(&change).await.unwrap_err().to_string(),
        Err(error) => format!("{error:?}"),
    };
    assert!(refused.contains("BYPASSRLS"), "{refused}");
}

#[tokio::test]
async fn identities_and_sequences_survive_a_change_of_their_columns_type() {
    let Some(database) = Database::new() else {
        return;
    };
    database
        .run(
            "CREATE TABLE users (id int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, name text);
        INSERT INTO users (name) SELECT 'u' || n FROM generate_series(1, 2000) n",
        )
        .await;
    let text = "operations:
  - alter_column: {table: users, column: id, type: bigint, up: id, down: id}";
    let mut runner = published(&database, text).await;
    as_new(&database, "INSERT INTO users (name) VALUES ('new')").await;
    database
        .run("INSERT INTO users (name) VALUES ('old')")
        .await;
    // A number may be passed over, never given twice.
    let given =
        "SELECT count(DISTINCT id) FROM users WHERE name IN ('old', 'new', 'late') AND id > 2000";
    assert_eq!(database.superuser(given), "2");
    runner.contract("02_change").await.unwrap();
    database
        .run("INSERT INTO users (name) VALUES ('late')")
        .await;
    assert_eq!(database.superuser(given), "3");
    let id =
        "SELECT pg_typeof(id) FROM users WHERE name = 'late' AND id = (SELECT max(id) FROM users)";
    assert_eq!(database.superuser(id), "bigint");
}

#[tokio::test]
async fn what_hangs_on_a_column_survives_its_change() {
    let hanging = "CREATE UNIQUE INDEX lower_name ON users (lower(name) DESC) INCLUDE (age) WHERE age > 0;
        CREATE TABLE posts (id int PRIMARY KEY, author text);
        ALTER TABLE users ADD CONSTRAINT named UNIQUE (name), ADD CONSTRAINT long CHECK (length(name) > 1);
        ALTER TABLE posts ADD CONSTRAINT author FOREIGN KEY (author) REFERENCES users (name) ON DELETE CASCADE;
        COMMENT ON COLUMN users.name IS 'what they are called';
        ALTER TABLE users ALTER COLUMN name SET DEFAULT 'nobody';
        INSERT INTO posts VALUES (1, 'u1')";
    let Some(database) = database(hanging).await else {
        return;
    };
    let text = "operations:
  - alter_column: {table: users, column: age, type: bigint, up: age, down: age}";
    let mut runner = published(&database, text).await;
    runner.contract("02_change").await.unwrap();
    let mut connection = database.connect().await;
    let schema = postgres::read::schema(connection.client(), "public")
        .await
        .unwrap();
    let users = &schema.tables["users"];
    let index = &users.indexes["lower_name"];
    assert!(
        index.unique && index.parts[0].descending && index.predicate.is_some(),
        "{index:?}"
    );
    assert_eq!(index.include, ["age"]);
    let name = users.column("name").unwrap();
    assert_eq!(
        (name.comment.as_deref(), name.default.as_deref()),
        (Some("what they are called"), Some("'nobody'::text"))
    );
    assert!(users.constraints.contains_key("long") && users.constraints.contains_key("named"));
    assert_eq!(
        schema.tables["posts"].constraints["author"]
            .foreign_key
            .as_ref()
            .unwrap()
            .columns,
        ["name"]
    );
    assert_eq!(users.column("age").unwrap().data_type, "bigint");
}

#[tokio::test]
async fn a_column_that_a_generated_one_reads_is_refused_with_its_place() {
    let generated =
        "ALTER TABLE users ADD COLUMN loud text GENERATED ALWAYS AS (upper(name)) STORED";
    let Some(database) = database(generated).await else {
        return;
    };
    let mut runner = runner(&database).await;
    let refused = runner.plan("public", ("02_change.yaml", CAPITALS)).await;
    let refused = format!("{:?}", refused.map(|_| ()).unwrap_err());
    assert!(
        refused.contains("02_change.yaml") && refused.contains("loud"),
        "{refused}"
    );
}
