//! Two runners never work on one database at the same time.

use std::time::{Duration, Instant};

use tokio_postgres::Client;

use crate::error::{DatabaseError, Doing as _};

/// The key of the session's advisory lock, in two halves.
const LOCK: (i32, i32) = (0x6761_706c, 2);

const AGAIN: Duration = Duration::from_millis(200);

/// Takes the lock for as long as the session lives, waiting up to `patience`: the server may not
/// have seen yet that a killed runner is gone.
///
/// # Errors
///
/// [`DatabaseError::Busy`], which names the holder.
pub(crate) async fn take(client: &Client, patience: Duration) -> Result<(), DatabaseError> {
    let until = Instant::now() + patience;
    loop {
        let taken = client
            .query_one("SELECT pg_try_advisory_lock($1, $2)", &[&LOCK.0, &LOCK.1])
            .await
            .doing("take the lock of schema changes")?;
        if taken.get(0) {
            return Ok(());
        }
        if Instant::now() >= until {
            return Err(DatabaseError::Busy {
                holder: holder(client).await?,
            });
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn holder(client: &Client) -> Result<String, DatabaseError> {
    let row = client
        .query_opt(
            "SELECT l.pid, coalesce(a.application_name, ''), coalesce(a.usename::text, ''),
                coalesce(to_char(a.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), '')
             FROM pg_locks l LEFT JOIN pg_stat_activity a USING (pid)
             WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2
             AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
             AND l.classid = $1::int8::oid AND l.objid = $2::int8::oid",
            &[&i64::from(LOCK.0), &i64::from(LOCK.1)],
        )
        .await
        .doing("ask who holds the lock of schema changes")?;
    let Some(row) = row else {
        return Ok("somebody who just let go; try again".to_owned());
    };
    let (pid, application, role, since): (i32, String, String, String) =
        (row.get(0), row.get(1), row.get(2), row.get(3));
    Ok(format!(
        "pid {pid} (`{application}`, role `{role}`) since {since}"
    ))
}
