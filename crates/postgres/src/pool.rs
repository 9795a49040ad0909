//! Whether a session is the same one in its next transaction.

use tokio_postgres::SimpleQueryMessage;

use crate::connection::Connection;
use crate::error::{DatabaseError, Doing as _};

/// Finds out whether between us and the server a pool hands out sessions by the transaction, as
/// `PgBouncer` does in that mode: then locks would be left to strangers, and settings to chance.
///
/// Two sessions of ours tell: while one is in a transaction, the other must still have the
/// server's process that it had.
///
/// # Errors
///
/// [`DatabaseError::Pooled`]; what the sessions had set is taken back.
pub(crate) async fn refuse(
    place: &str,
    (first, second): (&Connection, &Connection),
) -> Result<(), DatabaseError> {
    let looking = "look for a pool";
    let begin = second.client.batch_execute("BEGIN").await;
    begin.doing(looking)?;
    let lent = process(second).await? == first.pid() || process(first).await? != first.pid();
    let end = second.client.batch_execute("ROLLBACK").await;
    end.doing(looking)?;
    if !lent {
        return Ok(());
    }
    for session in [first, second] {
        // Whoever is lent them next should have the server's own settings.
        let _ = session.client.batch_execute("RESET ALL").await;
    }
    Err(DatabaseError::Pooled {
        place: place.to_owned(),
    })
}

/// The server's process of a session at this moment; asked for in the one way that leaves no
/// prepared statement behind in somebody else's session.
pub(crate) async fn process(session: &Connection) -> Result<i32, DatabaseError> {
    let sql = "SELECT pg_backend_pid()";
    let messages = session.client.simple_query(sql).await;
    let messages = messages.doing("ask for the session's number")?;
    let number = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0)?.parse().ok(),
        _ => None,
    });
    Ok(number.unwrap_or_default())
}
