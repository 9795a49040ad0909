//! Reads a schema into `migration::schema`.
//!
//! The server writes each object as one JSON document in the shape of its type, so that the
//! types say once what is read; an unknown or missing field is an error. All of it happens in
//! one repeatable-read transaction with an empty `search_path`.

mod query;

use std::collections::BTreeMap;

use migration::schema::{Role, Schema};
use serde::de::DeserializeOwned;
use tokio_postgres::{Client, Transaction};

use crate::error::{DatabaseError, Doing as _};

/// The catalogue is read as it is now, not as of the transaction's beginning, so an object
/// dropped meanwhile leaves a hole; then all is read again, so often.
const ATTEMPTS: u32 = 3;

/// The oldest server that is known.
const VERSION_MIN: u32 = 140_000;

/// Reads the schema called `name`.
///
/// # Errors
///
/// When there is none of that name, the server is too old, or the connection is lost.
pub async fn schema(client: &mut Client, name: &str) -> Result<Schema, DatabaseError> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        match once(client, name).await {
            Err(DatabaseError::Unreadable { .. }) if attempt < ATTEMPTS => {}
            done => return done,
        }
    }
}

async fn once(client: &mut Client, name: &str) -> Result<Schema, DatabaseError> {
    let begin = client
        .build_transaction()
        .isolation_level(tokio_postgres::IsolationLevel::RepeatableRead)
        .read_only(true);
    let transaction = begin.start().await.doing("begin to read the schema")?;
    let path = transaction
        .query_one(
            "SELECT reset_val FROM pg_settings WHERE name = 'search_path'",
            &[],
        )
        .await
        .doing("read search_path")?
        .get(0);
    let setup = "SET LOCAL search_path = ''; SET LOCAL quote_all_identifiers = off";
    transaction
        .batch_execute(setup)
        .await
        .doing("read the schema")?;
    let version = version(&transaction).await?;
    let query = query::Queries::new(version);
    let mut role: Role = one(&transaction, &query.role(), name)
        .await?
        .ok_or_else(|| DatabaseError::NoSchema {
            name: name.to_owned(),
        })?;
    role.search_path = path;
    let schema = Schema {
        name: name.to_owned(),
        server_version: version,
        role,
        tables: named(&transaction, &query.tables(), name).await?,
        views: named(&transaction, &query.views(), name).await?,
        sequences: named(&transaction, &query.sequences(), name).await?,
        types: named(&transaction, query.types(), name).await?,
        functions: named(&transaction, query.functions(), name).await?,
        others: one(&transaction, query.others(), name)
            .await?
            .unwrap_or_default(),
    };
    transaction.commit().await.doing("end reading the schema")?;
    Ok(schema)
}

async fn version(transaction: &Transaction<'_>) -> Result<u32, DatabaseError> {
    let row = transaction
        .query_one("SELECT current_setting('server_version_num')::int4", &[])
        .await
        .doing("ask for the server's version")?;
    let version = row.get::<_, i32>(0).unsigned_abs();
    if version < VERSION_MIN {
        return Err(DatabaseError::TooOld { version });
    }
    Ok(version)
}

async fn one<T: DeserializeOwned>(
    transaction: &Transaction<'_>,
    sql: &str,
    name: &str,
) -> Result<Option<T>, DatabaseError> {
    let row = transaction
        .query_opt(sql, &[&name])
        .await
        .doing("read the schema")?;
    row.map(|row| parse(name, row.get(0))).transpose()
}

async fn named<T: DeserializeOwned>(
    transaction: &Transaction<'_>,
    sql: &str,
    name: &str,
) -> Result<BTreeMap<String, T>, DatabaseError> {
    let rows = transaction
        .query(sql, &[&name])
        .await
        .doing("read the schema")?;
    let parsed = rows.iter().map(|row| {
        let object: String = row.get(0);
        let value = parse(&object, row.get(1))?;
        Ok((object, value))
    });
    parsed.collect()
}

fn parse<T: DeserializeOwned>(object: &str, text: &str) -> Result<T, DatabaseError> {
    serde_json::from_str(text).map_err(|source| DatabaseError::Unreadable {
        object: object.to_owned(),
        source,
    })
}
