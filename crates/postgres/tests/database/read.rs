//! Reading a schema: complete, and the same from a database restored from its dump.

use std::process::Command;

use migration::schema::{
    ConstraintKind, ForeignKeyAction, Identity, IndexKey, ReplicaIdentity, RowSecurity, Schema,
    TriggerEvent, TriggerFiring,
};

use crate::stand::Database;

/// One of everything.
const EVERYTHING: &str = include_str!("everything.sql");

async fn read(database: &Database, name: &str) -> Schema {
    let mut connection = database.connect().await;
    let schema = postgres::read::schema(connection.client(), name).await;
    schema.unwrap()
}

#[tokio::test]
async fn a_database_restored_from_its_dump_reads_the_same() {
    let (Some(from), Some(to)) = (Database::new(), Database::new()) else {
        return;
    };
    from.superuser(&format!("CREATE ROLE {}_reader", from.name));
    from.superuser(&EVERYTHING.replace("$reader", &format!("{}_reader", from.name)));
    let read_from = read(&from, "public").await;
    let dump = Command::new(from.cluster.program("pg_dump"))
        .arg(from.cluster.url(&from.name, "postgres"))
        .output()
        .unwrap();
    assert!(
        dump.status.success(),
        "{}",
        String::from_utf8_lossy(&dump.stderr)
    );
    to.superuser("DROP SCHEMA public CASCADE; CREATE SCHEMA public");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &dump.stdout).unwrap();
    let restore = Command::new(to.cluster.program("psql"))
        .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f"])
        .arg(file.path())
        .arg(to.cluster.url(&to.name, "postgres"))
        .output()
        .unwrap();
    assert!(
        restore.status.success(),
        "{}",
        String::from_utf8_lossy(&restore.stderr)
    );
    let read_to = read(&to, "public").await;
    for (name, table) in &read_from.without_estimates().tables {
        assert_eq!(
            Some(table),
            read_to.without_estimates().tables.get(name),
            "{name}"
        );
    }
    assert_eq!(read_from.without_estimates(), read_to.without_estimates());
    assert!(read_from.tables.len() >= 8, "the whole schema was read");
    let text = serde_json::to_string(&read_from).unwrap();
    assert_eq!(read_from, serde_json::from_str(&text).unwrap());
}

async fn everything() -> Option<Schema> {
    let database = Database::new()?;
    database.superuser(&format!("CREATE ROLE {}_reader", database.name));
    database.superuser(&EVERYTHING.replace("$reader", &format!("{}_reader", database.name)));
    Some(read(&database, "public").await)
}

fn names<'a>(names: impl IntoIterator<Item = &'a String>) -> Vec<&'a str> {
    names.into_iter().map(String::as_str).collect()
}

#[tokio::test]
async fn columns_of_keys_are_read_in_the_order_of_the_key() {
    let Some(schema) = everything().await else {
        return;
    };
    let key = &schema.tables["child"].constraints["child_parent"];
    let foreign = key.foreign_key.as_ref().unwrap();
    assert_eq!(names(&key.columns), ["p", "q"]);
    assert_eq!(names(&foreign.columns), ["b", "a"]);
    assert_eq!(foreign.on_delete, ForeignKeyAction::SetNull);
    assert_eq!(foreign.on_delete_columns, ["p"]);
    let parent = &schema.tables["parent"];
    assert_eq!(parent.primary_key().unwrap().1.columns, ["b", "a"]);
    assert_eq!(parent.referenced_by.first().unwrap().columns, ["b", "a"]);
    assert_eq!(parent.estimate.rows, None, "never analysed");
}

#[tokio::test]
async fn indexes_are_read_complete() {
    let Some(schema) = everything().await else {
        return;
    };
    let users = &schema.tables["users"];
    let lower = &users.indexes["users_email"];
    assert!(lower.unique && lower.valid);
    assert!(
        matches!(&lower.parts[0].key, IndexKey::Expression(text) if text.contains("lower(email)"))
    );
    assert_eq!(names(&lower.expression_columns), ["email"]);
    let made = &users.indexes["users_made"];
    assert!(made.parts[0].descending && !made.parts[0].nulls_first);
    assert_eq!(made.include, ["email"]);
    assert!(made.predicate.as_ref().unwrap().contains("made"));
    let parts = &users.indexes["users_name"].parts;
    assert_eq!(
        parts[0].opclass.as_deref(),
        Some("pg_catalog.text_pattern_ops")
    );
    assert_eq!(parts[1].collation.as_ref().unwrap().name, "C");
    assert!(users.indexes["users_worth"].nulls_not_distinct);
}

#[tokio::test]
async fn what_hangs_on_a_table_is_read() {
    let Some(schema) = everything().await else {
        return;
    };
    let users = &schema.tables["users"];
    assert_eq!(users.column("id").unwrap().identity, Some(Identity::Always));
    let generated = users.column("full_name").unwrap().generated.as_ref();
    assert_eq!(names(&generated.unwrap().columns), ["email", "name"]);
    assert_eq!(users.row_security, RowSecurity::Forced);
    assert_eq!(names(&users.policies["own"].needs), ["name", "number"]);
    let touch = &users.triggers["touch"];
    assert_eq!(touch.firing, TriggerFiring::Always);
    assert!(touch.events.contains(&TriggerEvent::Update));
    assert_eq!(names(&touch.needs), ["email", "name"]);
    let view = users.dependents.iter().find(|it| it.name.name == "emails");
    assert!(view.unwrap().columns.contains("email"));
    assert_eq!(
        users.replica_identity,
        ReplicaIdentity::Index("users_number".to_owned())
    );
    let positive = &users.constraints["positive"];
    assert!(positive.kind == ConstraintKind::Check && !positive.validated);
    assert_eq!(schema.tables["events"].children.len(), 2);
    let role = &schema.role;
    assert!(!role.superuser && role.may_create_here && !role.may_silence_triggers);
    assert_eq!(role.search_path, "\"$user\", public");
}

#[tokio::test]
async fn a_schema_that_is_not_there_is_named() {
    let Some(database) = Database::new() else {
        return;
    };
    let mut connection = database.connect().await;
    let read = postgres::read::schema(connection.client(), "shop").await;
    assert_eq!(
        read.unwrap_err().to_string(),
        "the database has no schema `shop`"
    );
}
