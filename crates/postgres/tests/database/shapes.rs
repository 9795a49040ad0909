//! Tables of unusual shape, and what others hang on them, through a change and back.

use crate::plans::{Stage, assert_clean, assert_same, stage};

impl Stage {
    /// Starts a migration, takes it back, and starts it again; what was there must be the same
    /// in between.
    async fn twice(&mut self, yaml: &str) {
        let before = self.schema().await;
        self.begin(1, yaml).await;
        self.abort().await;
        let after = self.schema().await;
        assert_same(&before, &after, yaml);
        self.begin(1, yaml).await;
    }
}

#[tokio::test]
async fn names_need_no_care() {
    let Some(mut stage) = stage().await else {
        return;
    };
    let make = "CREATE TABLE \"Select\" (\"new\" int PRIMARY KEY, \"old\" json, \"ta\"\"ble\" text DEFAULT 'x');
        INSERT INTO \"Select\" VALUES (1, '{\"a\": 1}')";
    stage.tell(None, make).await;
    let long = "ä".repeat(31);
    let change = format!(
        "operations:
  - alter_column: {{table: Select, column: old, type: jsonb, up: '\"Select\".old::jsonb', down: 'old::json'}}
  - alter_column: {{table: Select, column: 'ta\"ble', nullable: false, up: 'coalesce(\"ta\"\"ble\", new::text)', down: '\"ta\"\"ble\"'}}
  - rename_table: {{from: Select, to: {long}}}
"
    );
    stage.twice(&change).await;
    let sql = "UPDATE \"Select\" SET old = '{\"b\": 2}' WHERE new = 1";
    stage.tell(None, sql).await;
    stage
        .tell(None, "INSERT INTO \"Select\" VALUES (2, '[]', NULL)")
        .await;
    let sql = format!("SELECT * FROM \"{long}\" ORDER BY \"new\"");
    stage.sees(Some(1), &sql, "1|{\"b\": 2}|x 2|[]|2").await;
    let sql = format!("UPDATE \"{long}\" SET old = '3' WHERE \"new\" = 2");
    stage.tell(Some(1), &sql).await;
    let sql = "SELECT old FROM \"Select\" WHERE \"new\" = 2";
    stage.sees(None, sql, "3").await;
    stage.contract().await;
    let sql = format!("SELECT * FROM \"{long}\" ORDER BY \"new\"");
    stage.sees(Some(1), &sql, "1|{\"b\": 2}|x 2|3|2").await;
}

#[tokio::test]
async fn triggers_of_people_change_nothing_in_a_backfill_and_everything_after_it() {
    let Some(mut stage) = stage().await else {
        return;
    };
    let make = "CREATE TABLE notes (id int PRIMARY KEY, body text, touched int DEFAULT 0);
        CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN NEW.touched := OLD.touched + 1; NEW.body := trim(NEW.body); RETURN NEW; END $$;
        CREATE TRIGGER touch BEFORE UPDATE ON notes FOR EACH ROW EXECUTE FUNCTION touch();
        INSERT INTO notes VALUES (1, ' a ')";
    stage.tell(None, make).await;
    let change = "operations: [{add_column: {table: notes, up: upper(body), column: {name: loud, type: text, nullable: true}}}]";
    stage.twice(change).await;
    let sql = "SELECT body, touched FROM notes";
    stage.sees(None, sql, " a |0").await;
    // What their trigger makes of a write reaches the new column too.
    stage
        .tell(None, "UPDATE notes SET body = ' b ' WHERE id = 1")
        .await;
    let sql = "SELECT body, touched, loud FROM notes";
    stage.sees(Some(1), sql, "b|1|B").await;
}

#[tokio::test]
async fn subqueries_are_resolved_by_the_version_they_were_written_for() {
    let Some(mut stage) = stage().await else {
        return;
    };
    let make = "CREATE TABLE users (id int PRIMARY KEY, name text);
        CREATE TABLE posts (id int PRIMARY KEY, author text, title text);
        INSERT INTO users VALUES (7, 'ann'); INSERT INTO posts VALUES (1, 'ann', 'users')";
    stage.tell(None, make).await;
    let rename = "operations: [{rename_table: {from: users, to: people}}, {rename_column: {table: people, from: name, to: title}}]";
    stage.begin(1, rename).await;
    let change = "operations:
  - add_column:
      table: posts
      up: (SELECT p.id FROM people p WHERE p.title = author)
      column: {name: author_id, type: int, nullable: true}
";
    stage.begin(2, change).await;
    stage
        .tell(None, "INSERT INTO posts VALUES (2, 'ann', 't')")
        .await;
    stage
        .tell(Some(1), "INSERT INTO posts VALUES (3, 'bob', 't')")
        .await;
    let sql = "SELECT id, author_id FROM posts ORDER BY id";
    stage.sees(Some(2), sql, "1|7 2|7 3|NULL").await;
    stage.contract().await;
    stage
        .tell(Some(1), "INSERT INTO posts VALUES (4, 'ann', 't')")
        .await;
    let sql = "SELECT author_id FROM posts WHERE id = 4";
    stage.sees(Some(2), sql, "7").await;
}

#[tokio::test]
async fn a_partitioned_table_gets_its_index_part_by_part() {
    let Some(mut stage) = stage().await else {
        return;
    };
    let make = "CREATE TABLE events (at int NOT NULL, kind text) PARTITION BY RANGE (at);
        CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (0) TO (10);
        CREATE TABLE events_2 PARTITION OF events FOR VALUES FROM (10) TO (20);
        INSERT INTO events VALUES (1, 'a'), (11, 'b')";
    stage.tell(None, make).await;
    let change = "operations:
  - create_index: {name: by_kind, table: events, columns: [{column: kind}]}
  - add_column: {table: events, up: upper(kind), column: {name: loud, type: text}}
";
    stage.twice(change).await;
    stage
        .tell(None, "INSERT INTO events VALUES (12, 'c')")
        .await;
    let sql = "SELECT loud FROM events ORDER BY at";
    stage.sees(Some(1), sql, "A B C").await;
    stage.contract().await;
    let schema = stage.schema().await;
    assert!(schema.tables["events"].indexes["by_kind"].valid);
    assert_clean(&schema, "contracted");
}

#[tokio::test]
async fn a_new_identity_numbers_old_and_new_rows() {
    let Some(mut stage) = stage().await else {
        return;
    };
    let make = "CREATE TABLE logs (line text); INSERT INTO logs VALUES ('a'), ('b')";
    stage.tell(None, make).await;
    let change = "operations:
  - add_column: {table: logs, column: {name: id, type: bigint, generated: {identity: {user_specified_values: ALWAYS}}}}
  - create_constraint: {table: logs, name: logs_pkey, type: primary_key, columns: [id], up: {id: id}, down: {id: id}}
";
    stage.twice(change).await;
    stage.tell(None, "INSERT INTO logs VALUES ('c')").await;
    stage
        .tell(Some(1), "INSERT INTO logs (line) VALUES ('d')")
        .await;
    stage.contract().await;
    stage
        .tell(Some(1), "INSERT INTO logs (line) VALUES ('e')")
        .await;
    let sql = "SELECT count(DISTINCT id), max(id) FROM logs";
    stage.sees(Some(1), sql, "5|5").await;
    let schema = stage.schema().await;
    assert!(schema.tables["logs"].primary_key().is_some());
    assert_clean(&schema, "contracted");
}
