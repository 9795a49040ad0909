//! Who waits for us.

use tokio_postgres::Client;

use crate::error::{DatabaseError, Doing as _};

/// A session that waits for a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockedSession {
    /// The server's process.
    pub pid: i32,
    /// Since when, in microseconds of the server's clock.
    pub since_micros: i64,
    /// For how long, in milliseconds.
    pub waited_ms: u64,
}

/// The sessions that wait for a lock which the session `pid` holds, or waits for before them.
///
/// # Errors
///
/// When the connection is lost.
pub async fn blocked(client: &Client, pid: i32) -> Result<Vec<BlockedSession>, DatabaseError> {
    let sql = "SELECT l.pid, (extract(epoch FROM l.waitstart) * 1000000)::int8,
            greatest(0, extract(epoch FROM clock_timestamp() - l.waitstart) * 1000)::int8
         FROM pg_locks l
         WHERE NOT l.granted AND l.waitstart IS NOT NULL AND $1 = ANY (pg_blocking_pids(l.pid))";
    let rows = client.query(sql, &[&pid]).await;
    let rows = rows.doing("see who waits for a lock")?;
    let session = |row: &tokio_postgres::Row| BlockedSession {
        pid: row.get(0),
        since_micros: row.get(1),
        waited_ms: row.get::<_, i64>(2).unsigned_abs(),
    };
    Ok(rows.iter().map(session).collect())
}
