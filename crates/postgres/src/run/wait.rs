//! Who is in the way of a step.

use migration::plan::{LockLevel, TableLock};
use tokio_postgres::Client;

use crate::error::{DatabaseError, Doing as _};
use crate::event::Blocker;
use crate::name::qualified;

const BLOCKER: &str = "a.pid, coalesce(a.application_name, ''), coalesce(l.relation::regclass::text, ''),
    coalesce(l.mode, ''), coalesce(a.state, ''),
    greatest(0, extract(epoch FROM clock_timestamp() - coalesce(a.xact_start, a.backend_start, clock_timestamp())) * 1000)::int8";

/// The modes of others' locks that a lock of `level` waits for, as `pg_locks` calls them.
fn conflicting(level: LockLevel) -> &'static [&'static str] {
    const MODES: [&str; 8] = [
        "AccessExclusiveLock",
        "ExclusiveLock",
        "ShareRowExclusiveLock",
        "ShareLock",
        "ShareUpdateExclusiveLock",
        "RowExclusiveLock",
        "RowShareLock",
        "AccessShareLock",
    ];
    const SHARE: [&str; 5] = [MODES[0], MODES[1], MODES[2], MODES[4], MODES[5]];
    match level {
        LockLevel::AccessShare => &MODES[..1],
        LockLevel::RowShare => &MODES[..2],
        LockLevel::RowExclusive => &MODES[..4],
        LockLevel::ShareUpdateExclusive => &MODES[..5],
        LockLevel::Share => &SHARE,
        LockLevel::ShareRowExclusive => &MODES[..6],
        LockLevel::Exclusive => &MODES[..7],
        LockLevel::AccessExclusive => &MODES,
    }
}

/// The sessions whose locks stop `locks`, oldest first; few are enough to tell.
pub(super) async fn holders(
    client: &Client,
    locks: &[TableLock],
) -> Result<Vec<Blocker>, DatabaseError> {
    let sql = format!(
        "SELECT {BLOCKER} FROM pg_locks l JOIN pg_stat_activity a USING (pid)
         WHERE l.locktype = 'relation' AND l.granted AND l.pid <> pg_backend_pid()
         AND l.relation = to_regclass($1) AND l.mode = ANY ($2)
         ORDER BY a.xact_start NULLS LAST LIMIT 3"
    );
    let mut blockers = Vec::new();
    for lock in locks {
        let modes = conflicting(lock.level);
        let rows = client.query(&sql, &[&qualified(&lock.table), &modes]).await;
        blockers.extend(rows.doing("see who holds a lock")?.iter().map(blocker));
    }
    blockers.sort_by_key(|blocker| std::cmp::Reverse(blocker.since_ms));
    blockers.dedup_by_key(|blocker| blocker.pid);
    Ok(blockers)
}

/// The sessions that the session `pid` waits for at this moment.
pub(super) async fn blocking(client: &Client, pid: i32) -> Result<Vec<Blocker>, DatabaseError> {
    let sql = format!(
        "SELECT {BLOCKER} FROM unnest(pg_blocking_pids($1)) b(pid) JOIN pg_stat_activity a USING (pid)
         LEFT JOIN LATERAL (SELECT o.relation, o.mode FROM pg_locks w JOIN pg_locks o
            ON o.pid = a.pid AND o.granted AND o.relation = w.relation
            WHERE w.pid = $1 AND NOT w.granted LIMIT 1) l ON true
         ORDER BY a.xact_start NULLS LAST LIMIT 3"
    );
    let rows = client
        .query(&sql, &[&pid])
        .await
        .doing("see who holds a lock")?;
    Ok(rows.iter().map(blocker).collect())
}

fn blocker(row: &tokio_postgres::Row) -> Blocker {
    Blocker {
        pid: row.get(0),
        application: row.get(1),
        table: row.get(2),
        lock: row.get(3),
        state: row.get(4),
        since_ms: row.get::<_, i64>(5).unsigned_abs(),
    }
}
