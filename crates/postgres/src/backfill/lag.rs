//! How far replicas are behind.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tokio_postgres::Client;

use crate::error::{DatabaseError, Doing as _};
use crate::event::Event;
use crate::run::Runner;

/// How often the replicas are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// How often while one is too far behind.
const AGAIN: Duration = Duration::from_millis(250);

/// How many looks are remembered.
const LOOKS_MAX: usize = 1_000;

/// What the server had written at moments before, oldest first.
///
/// The server's own `replay_lag` stands still while a replica replays nothing; so it is asked
/// instead whether a replica has replayed what was written so long ago.
#[derive(Default)]
pub(super) struct Lag {
    written: VecDeque<(Instant, i64)>,
}

impl Lag {
    /// Waits while a replica has not replayed what was written before `lag_max`. Looks at most
    /// once a second.
    pub(super) async fn wait(&mut self, runner: &mut Runner) -> Result<(), DatabaseError> {
        let last = self.written.back();
        if last.is_some_and(|(at, _)| at.elapsed() < LOOK) {
            return Ok(());
        }
        loop {
            let limit = runner.settings.lag_max;
            let Some(replayed) = self.look(&runner.connection.client).await? else {
                return Ok(());
            };
            let Some(behind) = self.behind(replayed, limit) else {
                return Ok(());
            };
            runner.helm.tell(Event::Held {
                reason: format!(
                    "a replica lags by more than {} ms, {} KiB",
                    limit.as_millis(),
                    behind >> 10
                ),
            });
            runner.helm.wait(AGAIN).await?;
        }
    }

    /// Remembers what is written now, and returns what every replica has replayed; `None` where
    /// there is none. Those that this role may not see are none, and neither is what never
    /// replays, such as an archive of the log; one that has said nothing yet has replayed nothing.
    async fn look(&mut self, client: &Client) -> Result<Option<i64>, DatabaseError> {
        let row = client
            .query_one(
                "SELECT (pg_current_wal_lsn() - '0/0')::int8,
                   (SELECT min(CASE WHEN write_lsn IS NULL THEN 0 ELSE replay_lsn - '0/0' END)::int8
                    FROM pg_stat_replication WHERE state IN ('startup', 'streaming', 'catchup'))",
                &[],
            )
            .await
            .doing("look at the replicas")?;
        if self.written.len() >= LOOKS_MAX {
            self.written.pop_front();
        }
        self.written.push_back((Instant::now(), row.get(0)));
        Ok(row.get(1))
    }

    /// How many bytes are missing of what was written `limit` ago.
    fn behind(&mut self, replayed: i64, limit: Duration) -> Option<i64> {
        let mut old = self.written.iter().filter(|(at, _)| at.elapsed() >= limit);
        let (_, written) = old.next_back()?;
        let missing = written - replayed;
        // What is replayed need not be asked for again.
        self.written.retain(|(_, written)| *written > replayed);
        (missing > 0).then_some(missing)
    }
}

/// How many replicas this role may not see the lag of.
pub(crate) async fn hidden(client: &Client) -> Result<i64, DatabaseError> {
    let sql = "SELECT count(*) FROM pg_stat_replication WHERE state IS NULL";
    let row = client.query_one(sql, &[]).await;
    Ok(row.doing("look at the replicas")?.get(0))
}
