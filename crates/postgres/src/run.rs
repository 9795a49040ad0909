//! Runs plans: expand with its backfill and publication, contract, abort.
//!
//! Each can be stopped or killed anywhere and run again: what was done stands in the database.

mod amend;
mod blocked;
mod end;
mod expand;
mod preflight;
mod step;
mod wait;

pub use blocked::{BlockedSession, blocked};

use std::time::Instant;

use migration::plan::{Plan, Step};
use tokio::sync::watch;
use tokio_postgres::Client;

use crate::connection::Connection;
use crate::error::{DatabaseError, Doing as _};
use crate::event::{Event, Observer};
use crate::lock;
use crate::owner::{self, Owner};
use crate::pool;
use crate::settings::{Helm, Settings, Wish};
use crate::state::{self, Change, Entry, Phase};
use crate::unconverted;
use crate::url::Url;

/// The only one that changes the schema of its database, for as long as it lives.
pub struct Runner {
    pub(crate) connection: Connection,
    /// A second session, which looks at what the first one waits for.
    pub(crate) watcher: Option<Connection>,
    pub(crate) settings: Settings,
    pub(crate) helm: Helm,
}

/// A part of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Expand,
    Publish,
    Contract,
    Abort,
    /// What a contract that was refused has added goes again.
    Withdraw,
}

impl Part {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Expand => "expand",
            Self::Publish => "publish",
            Self::Contract => "contract",
            Self::Abort => "abort",
            Self::Withdraw => "withdraw",
        }
    }

    fn of(self, plan: &Plan) -> &[Step] {
        match self {
            Self::Expand => &plan.expand,
            Self::Publish => &plan.publish,
            Self::Contract => &plan.contract,
            Self::Abort => &plan.abort,
            Self::Withdraw => &[],
        }
    }
}

impl Runner {
    /// Connects, makes the tables of the history where they are not, and locks out other
    /// runners. What happens is told to `observer`; `wish` steers.
    ///
    /// # Errors
    ///
    /// [`DatabaseError::Busy`] when another runner is at work, with who it is;
    /// [`DatabaseError::Privileges`] with the `GRANT` that is needed;
    /// [`DatabaseError::Pooled`] when a pool lends its sessions by the transaction.
    pub async fn open(
        url: &Url,
        settings: Settings,
        (observer, wish): (Observer, watch::Receiver<Wish>),
    ) -> Result<Self, DatabaseError> {
        let mut connection = Connection::open(url, "migrate").await?;
        // Without it nobody is told who is in the way; nothing worse.
        let watcher = Connection::open(url, "migrate (watching)").await.ok();
        if let Some(watcher) = &watcher {
            pool::refuse(&url.place(), (&connection, watcher)).await?;
        }
        lock::take(&connection.client, settings.wait_for_other).await?;
        state::prepare(&mut connection.client).await?;
        let helm = Helm { wish, observer };
        Ok(Self {
            connection,
            watcher,
            settings,
            helm,
        })
    }

    /// Makes sure that no other server looks after `base`, from now on either.
    ///
    /// # Errors
    ///
    /// [`DatabaseError::Owned`] with who does.
    pub async fn claim(&self, base: &str, owner: &Owner) -> Result<(), DatabaseError> {
        owner::claim(&self.connection.client, base, owner).await
    }

    /// Lets the next server that comes look after `base`. Returns who did until now.
    ///
    /// # Errors
    ///
    /// When the connection is lost.
    pub async fn disown(&self, base: &str) -> Result<Option<String>, DatabaseError> {
        owner::disown(&self.connection.client, base).await
    }

    /// The server's process for the session that changes the schema.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.connection.pid()
    }

    /// The runner's session, for reading the schema that a plan is made for.
    pub fn client(&mut self) -> &mut Client {
        &mut self.connection.client
    }

    /// Where a connection with this URL looks by itself.
    ///
    /// # Errors
    ///
    /// When the connection is lost.
    pub async fn own_search_path(&self) -> Result<String, DatabaseError> {
        let sql = "SELECT reset_val FROM pg_settings WHERE name = 'search_path'";
        let row = self.connection.client.query_one(sql, &[]).await;
        Ok(row.doing("read the search_path")?.get(0))
    }

    /// Every change that the database remembers, oldest first.
    ///
    /// # Errors
    ///
    /// When the connection is lost.
    pub async fn history(&self) -> Result<Vec<Entry>, DatabaseError> {
        state::history(&self.connection.client).await
    }

    /// Plans a file (its name and its content) for the tables of `base`; see [`crate::plan`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn plan(&mut self, base: &str, file: (&str, &str)) -> Result<Change, DatabaseError> {
        crate::change::plan(&mut self.connection.client, base, file).await
    }

    /// Runs the steps of a part of `plan` that are not done yet.
    async fn steps(&mut self, rank: i32, part: Part, plan: &Plan) -> Result<(), DatabaseError> {
        let begun = Instant::now();
        let steps = part.of(plan);
        self.search(&plan.version.base).await?;
        let done = self.done(rank, part).await?;
        for (index, step) in steps.iter().enumerate() {
            let position = i32::try_from(index).expect("a plan has few steps");
            if done.contains(&position) {
                continue;
            }
            self.helm.tell(Event::Step {
                part: part.name(),
                number: index + 1,
                of: steps.len(),
                title: step.title.clone(),
            });
            if part == Part::Publish && index + 1 == steps.len() {
                let of = (rank, plan.version.base.as_str());
                unconverted::refuse_publication(&self.connection.client, of).await?;
            }
            let place = step::Place {
                rank,
                part,
                position,
            };
            step::run(self, place, step).await?;
        }
        self.add_time(rank, begun).await
    }

    /// The positions of the steps that are done.
    async fn done(&self, rank: i32, part: Part) -> Result<Vec<i32>, DatabaseError> {
        let sql = "SELECT position FROM gapless.step WHERE installed_rank = $1 AND part = $2";
        let client = &self.connection.client;
        let rows = client.query(sql, &[&rank, &part.name()]).await;
        let rows = rows.doing("see which steps are done")?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// Statements find names in the base schema, then where the role looks by itself.
    async fn search(&mut self, base: &str) -> Result<(), DatabaseError> {
        let sql = "SELECT set_config('search_path', quote_ident($1) || coalesce(', ' || nullif(reset_val, ''), ''), false)
            FROM pg_settings WHERE name = 'search_path'";
        self.connection
            .client
            .execute(sql, &[&base])
            .await
            .doing("set search_path")?;
        Ok(())
    }

    async fn add_time(&mut self, rank: i32, begun: Instant) -> Result<(), DatabaseError> {
        let millis = i64::try_from(begun.elapsed().as_millis()).unwrap_or(i64::MAX);
        state::add_time(&self.connection.client, rank, millis).await
    }
}

/// The entry of that name that was not taken back.
pub(crate) fn live<'a>(history: &'a [Entry], base: &str, version: &str) -> Option<&'a Entry> {
    let mut entries = history.iter();
    entries.find(|it| it.base == base && it.version == version && it.phase != Phase::Aborted)
}

/// The newest entry of that name.
fn found<'a>(history: &'a [Entry], version: &str) -> Result<&'a Entry, DatabaseError> {
    let entry = history.iter().rev().find(|entry| entry.version == version);
    entry.ok_or_else(|| DatabaseError::history(format!("the database knows no change `{version}`")))
}

fn plan_of(entry: &Entry) -> Result<Plan, DatabaseError> {
    entry.plan.clone().ok_or_else(|| {
        DatabaseError::history(format!(
            "`{}` is a baseline: there is nothing to do or undo",
            entry.version
        ))
    })
}

fn unfinished(entry: &Entry) -> DatabaseError {
    DatabaseError::history(format!(
        "`{}` is unfinished, in `{}`: finish or abort it first",
        entry.version,
        entry.phase.name()
    ))
}
