//! Reports about columns: their names, types, values and what numbers them.

use super::{CAPITALS, users};
use crate::plans::stage;

const NICK: &str = "operations:
  - add_column: {table: users, up: upper(name), column: {name: nick, type: text, nullable: true}}
";

/// What the new version wrote was overwritten by the next backfill or old write.
#[tokio::test]
async fn pgroll_add_column_loses_no_write_of_the_new_version() {
    let Some(mut stage) = users().await else {
        return;
    };
    stage.begin(1, NICK).await;
    let own = "UPDATE users SET nick = 'own' WHERE id = 7;
        INSERT INTO users (id, name, nick) VALUES (9000, 'n', 'own'), (9001, 'n', NULL)";
    stage.tell(Some(1), own).await;
    stage
        .tell(None, "UPDATE users SET age = 1, name = name")
        .await;
    let sql = "SELECT id, nick FROM users WHERE id IN (6, 7, 9000, 9001) ORDER BY id";
    stage
        .sees(Some(1), sql, "6|U6 7|own 9000|own 9001|NULL")
        .await;
    // One more change on the same table fills in again, and not this column.
    let more =
        "operations: [{add_column: {table: users, up: '1', column: {name: more, type: int}}}]";
    stage.begin(2, more).await;
    stage
        .sees(Some(2), sql, "6|U6 7|own 9000|own 9001|NULL")
        .await;
}

/// The version was told by the whole text of `search_path`; any other spelling was the old one.
#[tokio::test]
async fn pgroll_829_reshape_33_the_version_is_known_however_search_path_is_written() {
    let Some(mut stage) = users().await else {
        return;
    };
    stage.begin(1, CAPITALS).await;
    let spellings = [
        "SET search_path = public_v1",
        "SET search_path = 'public_v1', public",
        "SET search_path TO \"public_v1\" , public",
        "SELECT set_config('search_path', 'public_v1,public', false)",
        "SET search_path = public; SET gapless.schema = 'public_v1'",
        "SET search_path = nowhere, public_v1",
    ];
    let mut session = stage.database.connect().await;
    for (spelling, id) in spellings.iter().zip(1..) {
        let update = format!(
            "RESET ALL; {spelling}; UPDATE public_v1.users SET name = 'NEW' WHERE id = {id}"
        );
        session.client().batch_execute(&update).await.unwrap();
    }
    let sql = "SELECT DISTINCT name FROM users WHERE id <= 6";
    stage.sees(None, sql, "new").await;
    stage.sees(Some(1), sql, "NEW").await;
}

/// A type that lies in the base schema could not be found by the version, nor by its trigger.
#[tokio::test]
async fn pgroll_829_enums_and_functions_of_the_base_are_found_by_every_version() {
    let Some(mut stage) = users().await else {
        return;
    };
    let make = "CREATE TYPE mood AS ENUM ('sad', 'happy');
        CREATE FUNCTION guess(text) RETURNS mood LANGUAGE sql IMMUTABLE AS
            $$ SELECT CASE WHEN $1 LIKE '%7' THEN 'happy'::public.mood ELSE 'sad' END $$";
    stage.tell(None, make).await;
    let text = "operations:
  - add_column: {table: users, up: \"CASE guess(name) WHEN 'happy'::mood THEN 'happy'::mood ELSE 'sad' END\", column: {name: mood, type: mood, default: \"'sad'\"}}
";
    stage.begin(1, text).await;
    let new = "INSERT INTO users (id, name, mood) VALUES (9000, 'x', 'happy'::mood)";
    stage.tell(Some(1), new).await;
    stage
        .tell(None, "INSERT INTO users (id, name) VALUES (9007, 'u7')")
        .await;
    // By a path that does not name the base at all.
    let mut session = stage.database.connect().await;
    let sql = "SET search_path = public_v1; UPDATE users SET name = 'u17' WHERE id = 9000";
    session.client().batch_execute(sql).await.unwrap();
    let sql = "SELECT id, mood FROM users WHERE mood = 'happy'::mood AND id >= 2990 ORDER BY id";
    stage
        .sees(Some(1), sql, "2997|happy 9000|happy 9007|happy")
        .await;
}

/// A column that got another name and another type in one migration kept the old name.
#[tokio::test]
async fn reshape_38_another_name_and_another_type_at_once() {
    for text in [
        "operations:
  - alter_column: {table: users, column: age, type: bigint, up: age, down: age}
  - rename_column: {table: users, from: age, to: years}
",
        "operations:
  - rename_column: {table: users, from: age, to: years}
  - alter_column: {table: users, column: years, type: bigint, up: years, down: years}
",
    ] {
        let Some(mut stage) = users().await else {
            return;
        };
        stage.begin(1, text).await;
        let sql = "UPDATE users SET years = 5000000000 / 1000000000 WHERE id = 1";
        stage.tell(Some(1), sql).await;
        stage
            .sees(None, "SELECT age FROM users WHERE id = 1", "5")
            .await;
        stage.contract().await;
        let schema = stage.schema().await;
        let users = &schema.tables["users"];
        assert_eq!(users.column("years").unwrap().data_type, "bigint");
        assert!(users.column("age").is_none());
        let sql = "SELECT years FROM users WHERE id IN (1, 2) ORDER BY id";
        stage.sees(Some(1), sql, "5 2").await;
    }
}

/// Two changes of one column lost the first, in one migration and in two.
#[tokio::test]
async fn pgroll_659_two_changes_of_one_column() {
    let first = "{table: users, column: name, type: varchar(80), up: \"'<' || name || '>'\", down: \"trim('<>' FROM name)\"}";
    let second = "{table: users, column: name, nullable: true, up: upper(name), down: \"coalesce(lower(name), '-')\"}";
    let together = format!("operations: [{{alter_column: {first}}}, {{alter_column: {second}}}]");
    let Some(mut stage) = users().await else {
        return;
    };
    stage.begin(1, &together).await;
    let sql = "SELECT name FROM users WHERE id = 7";
    stage.sees(Some(1), sql, "<U7>").await;
    let write = "UPDATE users SET name = '<NEW>' WHERE id = 7";
    stage.tell(Some(1), write).await;
    stage.sees(None, sql, "new").await;
    stage.abort().await;
    stage.sees(None, sql, "new").await;

    stage
        .begin(2, &format!("operations: [{{alter_column: {first}}}]"))
        .await;
    stage
        .begin(3, &format!("operations: [{{alter_column: {second}}}]"))
        .await;
    stage
        .tell(None, "UPDATE users SET name = 'old' WHERE id = 7")
        .await;
    stage.sees(Some(2), sql, "<old>").await;
    stage.sees(Some(3), sql, "<OLD>").await;
    stage
        .tell(Some(3), "UPDATE users SET name = NULL WHERE id = 7")
        .await;
    stage.sees(Some(2), sql, "-").await;
    stage.sees(None, sql, "-").await;
    stage.contract().await;
    stage.contract().await;
    stage.sees(Some(3), sql, "NULL").await;
}

/// A column could not go from one table to another without losing what was written meanwhile.
/// Rows of a table are kept in step by writes of that table only, and the plan says so.
#[tokio::test]
async fn pgroll_383_a_value_that_comes_from_another_table_is_asked_about() {
    let Some(mut stage) = users().await else {
        return;
    };
    let make =
        "CREATE TABLE profiles (id bigint PRIMARY KEY); INSERT INTO profiles SELECT id FROM users";
    stage.tell(None, make).await;
    let text = "operations:
  - add_column: {table: profiles, up: \"(SELECT u.name FROM users u WHERE u.id = profiles.id)\", column: {name: name, type: text, nullable: true}}
  - drop_column: {table: users, column: name, down: \"coalesce((SELECT p.name FROM profiles p WHERE p.id = users.id), '')\"}
";
    let change = stage.runner.plan("public", ("v1.yaml", text)).await;
    let notes = change.unwrap().plan.notes;
    let asked = notes.iter().filter(|note| {
        note.level == migration::plan::NoteLevel::Ask && note.text.contains("another table")
    });
    assert_eq!(asked.count(), 2, "{notes:?}");
    stage.begin(1, text).await;
    let sql = "SELECT name FROM profiles WHERE id = 7";
    stage.sees(Some(1), sql, "u7").await;
    let both = "INSERT INTO profiles VALUES (9000, 'new'); INSERT INTO users (id) VALUES (9000)";
    stage.tell(Some(1), both).await;
    stage
        .sees(None, "SELECT name FROM users WHERE id = 9000", "new")
        .await;
    stage.contract().await;
    stage.sees(Some(1), sql, "u7").await;
}

/// Names were replaced in SQL as if it were text.
#[tokio::test]
async fn pgroll_names_are_replaced_in_sql_only_where_they_are_names() {
    let Some(mut stage) = users().await else {
        return;
    };
    let make = "ALTER TABLE users ADD COLUMN surname text DEFAULT 'name', ADD COLUMN \"Name\" text DEFAULT 'x',
        ADD CONSTRAINT named CHECK (name <> 'name' AND surname <> '' AND \"Name\" <> 'users.name')";
    stage.tell(None, make).await;
    let text = "operations:
  - rename_column: {table: users, from: name, to: title}
  - alter_column: {table: users, column: title, type: varchar(90), up: \"'title: ' || users.title || surname || \\\"Name\\\" || $$title$$ /* title */\", down: \"substr(title, 8, 2)\"}
";
    stage.begin(1, text).await;
    let sql = "SELECT title FROM users WHERE id = 7";
    stage.sees(Some(1), sql, "title: u7namextitle").await;
    stage
        .tell(Some(1), "UPDATE users SET title = 'title: xy' WHERE id = 7")
        .await;
    stage
        .sees(None, "SELECT name FROM users WHERE id = 7", "xy")
        .await;
    stage.contract().await;
    let schema = stage.schema().await;
    let check = &schema.tables["users"].constraints["named"].definition;
    assert!(
        check.contains("'name'") && check.contains("title"),
        "{check}"
    );
    assert!(
        check.contains("'users.name'") && check.contains("surname"),
        "{check}"
    );
}

/// A sequence was set to the greatest number in use, and gave numbers a second time.
#[tokio::test]
async fn pg_easy_replicate_no_number_is_given_twice() {
    let Some(mut stage) = stage().await else {
        return;
    };
    let make = "CREATE TABLE ups (id int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, name text);
        CREATE SEQUENCE falling INCREMENT -1 START -1;
        CREATE TABLE downs (id int PRIMARY KEY DEFAULT nextval('falling'), name text);
        ALTER SEQUENCE falling OWNED BY downs.id;
        CREATE SEQUENCE alone START 500;
        INSERT INTO ups (name) SELECT 'x' FROM generate_series(1, 10); DELETE FROM ups WHERE id > 5;
        INSERT INTO downs (name) SELECT 'x' FROM generate_series(1, 10); DELETE FROM downs WHERE id < -5;
        SELECT nextval('alone')";
    stage.tell(None, make).await;
    let text = "operations:
  - alter_column: {table: ups, column: id, type: bigint, up: id, down: id}
  - alter_column: {table: downs, column: id, type: bigint, up: id, down: id}
";
    stage.begin(1, text).await;
    let insert = "INSERT INTO ups (name) VALUES ('y'); INSERT INTO downs (name) VALUES ('y')";
    stage.tell(None, insert).await;
    stage.tell(Some(1), insert).await;
    stage.contract().await;
    stage.tell(Some(1), insert).await;
    let sql = "SELECT id > 10, count(*) FROM ups WHERE name = 'y' GROUP BY 1";
    stage.sees(Some(1), sql, "t|3").await;
    let sql = "SELECT id < -10, count(*) FROM downs WHERE name = 'y' GROUP BY 1";
    stage.sees(Some(1), sql, "t|3").await;
    stage.sees(Some(1), "SELECT nextval('alone')", "501").await;
    let schema = stage.schema().await;
    let owner = schema.sequences["falling"].owned_by.as_ref().unwrap();
    assert_eq!(
        (owner.table.name.as_str(), owner.column.as_str()),
        ("downs", "id")
    );
    assert_eq!(schema.sequences["falling"].increment, -1);
}
