//! How busy others keep the server.

use tokio_postgres::Client;

use crate::error::{DatabaseError, Doing as _};

/// Sessions that are in a transaction at this moment, and are not known to do nothing in it. Of
/// other roles' sessions nobody but `pg_read_all_stats` may know more than that.
const OTHERS: &str = "
SELECT count(*) FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'virtualxid' AND l.granted AND l.mode = 'ExclusiveLock' AND l.pid <> pg_backend_pid()
    AND coalesce(a.backend_type, 'client backend') = 'client backend'
    AND coalesce(a.state, 'active') = 'active'";

/// One whole session.
pub(super) const WHOLE: u32 = 1_000;

/// How many sessions of others are at work, on average of the last looks.
#[derive(Default)]
pub(super) struct Crowd {
    sessions: u32,
}

impl Crowd {
    /// Looks, and returns the average in thousandths of a session.
    pub(super) async fn look(&mut self, client: &Client) -> Result<u32, DatabaseError> {
        let looked = client.query_one(OTHERS, &[]).await;
        let seen: i64 = looked.doing("see who else is at work")?.get(0);
        self.saw(u32::try_from(seen).unwrap_or(u32::MAX));
        Ok(self.sessions)
    }

    /// The last four looks count for two thirds.
    fn saw(&mut self, sessions: u32) {
        let seen = sessions.min(100) * WHOLE;
        self.sessions = (self.sessions * 3 + seen) / 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_seen_now_and_then_counts_little() {
        let mut crowd = Crowd::default();
        for look in 0..40 {
            crowd.saw(u32::from(look % 10 == 0));
        }
        assert!(crowd.sessions < WHOLE / 10, "{}", crowd.sessions);
        for _ in 0..20 {
            crowd.saw(3);
        }
        assert!(crowd.sessions > 2 * WHOLE, "{}", crowd.sessions);
    }
}
