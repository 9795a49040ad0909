//! Reports about keys, checks and indexes.

use migration::schema::{ConstraintKind, ForeignKeyAction, IndexKey};

use super::users;
use crate::plans::stage;

/// A column that foreign keys point at could not be changed.
#[tokio::test]
async fn pgroll_375_935_a_column_that_foreign_keys_point_at_is_changed() {
    let Some(mut stage) = stage().await else {
        return;
    };
    let make = "CREATE TABLE users (id int PRIMARY KEY, boss int REFERENCES users ON DELETE SET NULL ON UPDATE CASCADE);
        CREATE TABLE posts (id int PRIMARY KEY, author int NOT NULL,
            CONSTRAINT author FOREIGN KEY (author) REFERENCES users ON DELETE CASCADE ON UPDATE CASCADE);
        INSERT INTO users VALUES (1, NULL), (2, 1); INSERT INTO posts VALUES (1, 1), (2, 2)";
    stage.tell(None, make).await;
    let text =
        "operations: [{alter_column: {table: users, column: id, type: bigint, up: id, down: id}}]";
    stage.begin(1, text).await;
    let mut session = stage.database.connect().await;
    for path in ["public", "public_v1, public"] {
        let sql = format!("SET search_path = {path}; INSERT INTO posts VALUES (9, 99)");
        let error = session.client().batch_execute(&sql).await.unwrap_err();
        assert_eq!(error.code().unwrap().code(), "23503", "through {path}");
    }
    stage.tell(Some(1), "INSERT INTO users VALUES (3, 2)").await;
    stage.tell(None, "INSERT INTO posts VALUES (3, 3)").await;
    stage.contract().await;
    stage
        .tell(
            Some(1),
            "DELETE FROM users WHERE id = 1; UPDATE users SET id = 20 WHERE id = 2",
        )
        .await;
    let sql = "SELECT u.id, u.boss, p.id FROM users u JOIN posts p ON p.author = u.id ORDER BY 1";
    stage.sees(Some(1), sql, "3|20|3 20|NULL|2").await;
    let schema = stage.schema().await;
    let author = &schema.tables["posts"].constraints["author"];
    assert_eq!(
        author.foreign_key.as_ref().unwrap().on_delete,
        ForeignKeyAction::Cascade
    );
    assert!(author.validated);
}

/// The triggers of a constraint over several columns computed one from the other's new value.
#[tokio::test]
async fn pgroll_830_values_of_several_columns_are_all_computed_from_the_row_as_it_was() {
    let Some(mut stage) = stage().await else {
        return;
    };
    let make = "CREATE TABLE pairs (id int PRIMARY KEY, a int, b int); INSERT INTO pairs VALUES (1, 10, 20), (2, 5, NULL)";
    stage.tell(None, make).await;
    let text = "operations:
  - create_constraint: {table: pairs, name: ordered, type: check, check: a >= b, columns: [a, b],
      up: {a: 'coalesce(b, a)', b: 'coalesce(a, b)'}, down: {a: b, b: a}}
";
    stage.begin(1, text).await;
    let sql = "SELECT a, b FROM pairs ORDER BY id";
    stage.sees(Some(1), sql, "20|10 5|5").await;
    stage
        .tell(
            None,
            "UPDATE pairs SET a = 1, b = 2 WHERE id = 1; INSERT INTO pairs VALUES (3, 6, 7)",
        )
        .await;
    stage.sees(Some(1), sql, "2|1 5|5 7|6").await;
    stage
        .tell(Some(1), "UPDATE pairs SET a = 9, b = 8 WHERE id = 3")
        .await;
    stage.sees(None, sql, "1|2 5|NULL 8|9").await;
}

/// Duplicated foreign keys were proved under a lock that stops writers.
#[tokio::test]
async fn pgroll_duplicated_foreign_keys_are_not_valid_first() {
    let Some(mut stage) = users().await else {
        return;
    };
    let make = "CREATE TABLE posts (id int PRIMARY KEY, author bigint REFERENCES users)";
    stage.tell(None, make).await;
    for text in [
        "operations: [{alter_column: {table: posts, column: author, nullable: false, up: 'coalesce(author, 1)', down: author}}]",
        "operations: [{alter_column: {table: users, column: id, type: numeric, up: id, down: id}}]",
    ] {
        let change = stage.runner.plan("public", ("v1.yaml", text)).await;
        let plan = change.unwrap().plan;
        let parts = [&plan.expand, &plan.publish, &plan.contract];
        let all = parts
            .into_iter()
            .flatten()
            .flat_map(|step| &step.statements);
        let keys: Vec<&String> = all.filter(|sql| sql.contains("FOREIGN KEY")).collect();
        assert!(!keys.is_empty(), "{text}");
        for sql in keys {
            assert!(sql.ends_with("NOT VALID"), "{sql}");
        }
    }
}

const SHAPES: &str = "CREATE TABLE users (b int, a int, email varchar(80) NOT NULL, score int, PRIMARY KEY (b, a));
    CREATE UNIQUE INDEX lower_email ON users (lower(email));
    CREATE INDEX by_score ON users (score DESC NULLS LAST, email COLLATE \"C\" text_pattern_ops) INCLUDE (a)
        WITH (fillfactor = 70) WHERE score > 0;
    CREATE TABLE notes (q int, p int, n int GENERATED ALWAYS AS IDENTITY,
        CONSTRAINT note_user FOREIGN KEY (p, q) REFERENCES users (b, a));
    INSERT INTO users VALUES (1, 2, 'A@x', 3); INSERT INTO notes VALUES (2, 1)";

/// Expression indexes went with their column; order, opclass, collation and INCLUDE were lost;
/// the columns of keys were paired by their place in the table; identities were forgotten.
#[tokio::test]
async fn pgroll_indexes_keys_and_identities_come_along_whole() {
    let Some(mut stage) = stage().await else {
        return;
    };
    stage.tell(None, SHAPES).await;
    let before = stage.schema().await;
    let text = "operations:
  - alter_column: {table: users, column: email, type: text, up: email, down: email}
  - alter_column: {table: users, column: score, type: bigint, up: score, down: score}
  - alter_column: {table: users, column: a, type: bigint, up: a, down: a}
  - alter_column: {table: notes, column: n, type: bigint, up: n, down: n}
";
    stage.begin(1, text).await;
    stage.contract().await;
    let after = stage.schema().await;
    let (old, new) = (&before.tables["users"], &after.tables["users"]);
    for index in ["lower_email", "by_score", "users_pkey"] {
        let definition = |it: &str| it.replace("(email)::text", "email");
        assert_eq!(
            definition(&old.indexes[index].definition),
            definition(&new.indexes[index].definition)
        );
    }
    assert!(matches!(
        &new.indexes["lower_email"].parts[0].key,
        IndexKey::Expression(_)
    ));
    assert_eq!(new.primary_key().unwrap().1.columns, ["b", "a"]);
    let key = &after.tables["notes"].constraints["note_user"];
    assert_eq!(key.columns, ["p", "q"]);
    assert_eq!(key.foreign_key.as_ref().unwrap().columns, ["b", "a"]);
    let numbered = |schema: &migration::schema::Schema| {
        let column = schema.tables["notes"].column("n").unwrap();
        (column.identity, column.sequence.clone())
    };
    assert_eq!(numbered(&before), numbered(&after));
    let duplicate = "INSERT INTO users (b, a, email) VALUES (7, 7, 'a@X')";
    let mut session = stage.database.connect().await;
    let error = session.client().batch_execute(duplicate).await.unwrap_err();
    assert!(
        error.to_string().len() > 1 && error.code().unwrap().code() == "23505",
        "{error:?}"
    );
    assert!(
        new.constraints
            .values()
            .all(|it| it.kind != ConstraintKind::NotNull || it.validated)
    );
}
