//! What hangs on a column is there again on the one that takes its place, and holds.

use migration::schema::{ConstraintKind, RowSecurity, Schema};

use crate::plans::{Stage, assert_clean, assert_same, stage};

const ROOMS: &str = "CREATE TABLE bookings (id int GENERATED ALWAYS AS IDENTITY (START 100 INCREMENT 10 MINVALUE 100 MAXVALUE 900) PRIMARY KEY,
        room int NOT NULL, during int4range NOT NULL, guest text COLLATE \"C\" DEFAULT 'nobody',
        CONSTRAINT apart EXCLUDE USING gist (room WITH =, during WITH &&) WHERE (room > 0),
        CONSTRAINT one_guest UNIQUE (guest, room));
    CREATE INDEX by_guest ON bookings (guest);
    COMMENT ON TABLE bookings IS 'who sleeps where';
    COMMENT ON COLUMN bookings.room IS 'its number';
    COMMENT ON COLUMN bookings.guest IS 'a name';
    COMMENT ON CONSTRAINT apart ON bookings IS 'one at a time';
    COMMENT ON CONSTRAINT one_guest ON bookings IS 'once a room';
    COMMENT ON INDEX by_guest IS 'for the porter';
    INSERT INTO bookings (room, during, guest) VALUES (1, '[1,5)', 'ann'), (2, '[1,5)', 'bob')";

const CHANGE: &str = "operations:
  - alter_column: {table: bookings, column: room, type: bigint, up: room, down: room}
  - alter_column: {table: bookings, column: guest, type: varchar(50), up: guest, down: guest}
  - alter_column: {table: bookings, column: id, type: bigint, up: id, down: id}
";

async fn rooms() -> Option<Stage> {
    let mut stage = stage().await?;
    stage.database.superuser("CREATE EXTENSION btree_gist");
    stage.tell(None, ROOMS).await;
    Some(stage)
}

/// The code of the error that a version's statement ends with.
async fn refused(stage: &Stage, path: &str, sql: &str) -> String {
    let mut session = stage.database.connect().await;
    let sql = format!("SET search_path = {path}; {sql}");
    let error = session.client().batch_execute(&sql).await.unwrap_err();
    error.code().unwrap().code().to_owned()
}

#[tokio::test]
async fn exclusion_and_unique_constraints_hold_for_both_versions_and_after() {
    let Some(mut stage) = rooms().await else {
        return;
    };
    let before = stage.schema().await;
    stage.begin(1, CHANGE).await;
    stage.abort().await;
    assert_same(&before, &stage.schema().await, "taken back");
    stage.begin(1, CHANGE).await;
    let twice = "INSERT INTO bookings (room, during, guest) VALUES (1, '[4,6)', 'eve')";
    let again = "INSERT INTO bookings (room, during, guest) VALUES (1, '[7,8)', 'ann')";
    for path in ["public", "public_v1, public"] {
        assert_eq!(refused(&stage, path, twice).await, "23P01", "{path}");
        assert_eq!(refused(&stage, path, again).await, "23505", "{path}");
    }
    stage.contract().await;
    let path = "public_v1, public";
    assert_eq!(refused(&stage, path, twice).await, "23P01");
    assert_eq!(refused(&stage, path, again).await, "23505");
    let after = stage.schema().await;
    let kinds = |schema: &Schema| {
        let all = schema.tables["bookings"].constraints.iter();
        let all = all.filter(|(_, it)| it.kind != ConstraintKind::NotNull);
        all.map(|(name, it)| (name.clone(), it.kind, it.comment.clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(kinds(&before), kinds(&after));
    assert_clean(&after, "contracted");
}

#[tokio::test]
async fn comments_survive_on_columns_constraints_and_indexes() {
    let Some(mut stage) = rooms().await else {
        return;
    };
    let comments = |schema: &Schema| {
        let table = &schema.tables["bookings"];
        let columns = ["room", "guest"].map(|name| table.column(name).unwrap().comment.clone());
        (
            table.comment.clone(),
            columns,
            table.indexes["by_guest"].comment.clone(),
        )
    };
    let before = stage.schema().await;
    stage.begin(1, CHANGE).await;
    stage.contract().await;
    assert_eq!(comments(&before), comments(&stage.schema().await));
}

/// A sequence goes on where it stands, as it was made, and whoever might use it may.
#[tokio::test]
async fn an_identity_keeps_its_bounds_steps_and_privileges() {
    let Some(mut stage) = rooms().await else {
        return;
    };
    let role = format!("{}_reader", stage.database.name);
    stage.database.superuser(&format!(
        "CREATE ROLE {role}; GRANT USAGE, SELECT ON SEQUENCE bookings_id_seq TO {role}"
    ));
    stage
        .tell(None, "COMMENT ON SEQUENCE bookings_id_seq IS 'numbers'")
        .await;
    let sequence = |schema: &Schema| {
        let it = &schema.sequences["bookings_id_seq"];
        (
            it.start,
            it.increment,
            it.min,
            it.max,
            it.cache,
            it.cycle,
            it.privileges.clone(),
            it.comment.clone(),
        )
    };
    let before = stage.schema().await;
    stage.begin(1, CHANGE).await;
    stage.contract().await;
    let after = stage.schema().await;
    assert_eq!(sequence(&before), sequence(&after));
    let insert = "INSERT INTO bookings (room, during) VALUES (9, '[1,2)')";
    stage.tell(Some(1), insert).await;
    let sql = "SELECT id > 110 AND id % 10 = 0 AND guest = 'nobody' FROM bookings WHERE room = 9";
    stage.sees(Some(1), sql, "t").await;
}

#[tokio::test]
async fn policies_and_privileges_hold_through_every_version_for_every_command() {
    let Some(mut stage) = stage().await else {
        return;
    };
    let role = format!("{}_tenant", stage.database.name);
    stage.database.superuser(&format!("CREATE ROLE {role}"));
    let make = format!(
        "CREATE TABLE notes (id int PRIMARY KEY, owner text NOT NULL DEFAULT current_user, body text NOT NULL);
         ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
         CREATE POLICY own ON notes USING (owner = current_user) WITH CHECK (owner = current_user);
         GRANT SELECT, INSERT, UPDATE, DELETE ON notes TO {role}; GRANT USAGE ON SCHEMA public TO {role};
         INSERT INTO notes VALUES (1, 'somebody', 'secret'), (2, '{role}', 'mine')"
    );
    stage.tell(None, &make).await;
    let before = stage.schema().await;
    let text = "operations: [{alter_column: {table: notes, column: body, type: varchar(80), up: upper(body), down: lower(body)}}]";
    stage.begin(1, text).await;
    for _ in ["beside the old version", "alone"] {
        let as_role = |sql: &str| {
            let sql = format!("SET search_path = public_v1, public; SET ROLE {role}; {sql}");
            stage.database.cluster.sql(&stage.database.name, &sql)
        };
        assert_eq!(as_role("SELECT body FROM notes").unwrap(), "MINE");
        assert_eq!(
            as_role("UPDATE notes SET body = 'MINE' RETURNING id").unwrap(),
            "2"
        );
        assert_eq!(
            as_role("DELETE FROM notes WHERE id = 1 RETURNING id").unwrap(),
            ""
        );
        let forged = as_role("INSERT INTO notes VALUES (3, 'somebody', 'X')").unwrap_err();
        assert!(
            forged.to_string().contains("row-level security"),
            "{forged}"
        );
        assert!(as_role("TRUNCATE public.notes").is_err());
        if !stage.open.is_empty() {
            stage.contract().await;
        }
    }
    let after = stage.schema().await;
    let (old, new) = (&before.tables["notes"], &after.tables["notes"]);
    assert_eq!(new.row_security, RowSecurity::On);
    assert_eq!(
        (&old.policies, &old.privileges),
        (&new.policies, &new.privileges)
    );
}
