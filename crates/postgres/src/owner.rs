//! Who looks after the changes of a schema: one server, by one name of its configuration.
//!
//! Two that do not know of each other would each remove what the other's programs still use. A
//! person who works by hand is none of them: what that one does is seen.

use tokio_postgres::Client;

use crate::error::{DatabaseError, Doing as _};

/// Added to the tables later, and so made where it is not.
const TABLE: &str = "
CREATE TABLE IF NOT EXISTS gapless.owner (
    base text PRIMARY KEY,
    server text NOT NULL,
    database text NOT NULL,
    place text NOT NULL,
    since timestamptz NOT NULL DEFAULT clock_timestamp()
)";

const DOING: &str = "see who looks after the database";

/// A server, and what it calls the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// What no other server has.
    pub server: String,
    /// The database in its configuration.
    pub database: String,
    /// Where the server is, for a person.
    pub place: String,
}

/// Notes that `owner` looks after `base`, if nobody does.
///
/// # Errors
///
/// [`DatabaseError::Owned`] where somebody else does.
pub(crate) async fn claim(client: &Client, base: &str, owner: &Owner) -> Result<(), DatabaseError> {
    client.batch_execute(TABLE).await.doing(DOING)?;
    // Whoever moved stays who it is.
    let row = client
        .query_one(
            "INSERT INTO gapless.owner (base, server, database, place) VALUES ($1, $2, $3, $4)
             ON CONFLICT (base) DO UPDATE SET place = CASE
                WHEN owner.server = excluded.server AND owner.database = excluded.database THEN excluded.place
                ELSE owner.place END
             RETURNING server, database, place, to_char(since AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')",
            &[&base, &owner.server, &owner.database, &owner.place],
        )
        .await
        .doing(DOING)?;
    let (server, database): (String, String) = (row.get(0), row.get(1));
    if (&server, &database) == (&owner.server, &owner.database) {
        return Ok(());
    }
    let by = match server == owner.server {
        true => format!("this server as `{database}`"),
        false => format!("another server ({}) as `{database}`", row.get::<_, &str>(2)),
    };
    Err(DatabaseError::Owned {
        base: base.to_owned(),
        by,
        since: row.get(3),
    })
}

/// Forgets who looks after `base`. Returns who it was, for a person.
pub(crate) async fn disown(client: &Client, base: &str) -> Result<Option<String>, DatabaseError> {
    client.batch_execute(TABLE).await.doing(DOING)?;
    let sql = "DELETE FROM gapless.owner WHERE base = $1 RETURNING database, place";
    let row = client.query_opt(sql, &[&base]).await.doing(DOING)?;
    Ok(row.map(|row| {
        let (database, place): (String, String) = (row.get(0), row.get(1));
        format!("{place} as `{database}`")
    }))
}
