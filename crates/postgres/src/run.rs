//! Runs plans: expand with its backfill and publication, contract, abort.
//!
//! Each can be stopped or killed anywhere and run again: what was done stands in the database.

mod preflight;
mod step;
mod wait;

use std::time::Instant;

use migration::plan::{Plan, Step};
use tokio::sync::watch;
use tokio_postgres::Client;

use crate::backfill;
use crate::connection::Connection;
use crate::error::{DatabaseError, Doing as _};
use crate::event::{Event, Observer};
use crate::lock;
use crate::settings::{Helm, Settings, Wish};
use crate::state::{self, Change, Entry, Phase};
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
}

impl Part {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Expand => "expand",
            Self::Publish => "publish",
            Self::Contract => "contract",
            Self::Abort => "abort",
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
    /// [`DatabaseError::Privileges`] with the `GRANT` that is needed.
    pub async fn open(
        url: &Url,
        settings: Settings,
        (observer, wish): (Observer, watch::Receiver<Wish>),
    ) -> Result<Self, DatabaseError> {
        let mut connection = Connection::open(url, "migrate").await?;
        lock::take(&connection.client, settings.wait_for_other).await?;
        state::prepare(&mut connection.client).await?;
        // Without it nobody is told who is in the way; nothing worse.
        let watcher = Connection::open(url, "migrate (watching)").await.ok();
        let helm = Helm { wish, observer };
        Ok(Self {
            connection,
            watcher,
            settings,
            helm,
        })
    }

    /// The runner's session, for reading the schema that a plan is made for.
    pub fn client(&mut self) -> &mut Client {
        &mut self.connection.client
    }

    /// Every change that the database remembers, oldest first.
    ///
    /// # Errors
    ///
    /// When the connection is lost.
    pub async fn history(&self) -> Result<Vec<Entry>, DatabaseError> {
        state::history(&self.connection.client).await
    }

    /// Makes `change` and publishes its version beside the old one; carries on where an earlier
    /// run of it ended, by that run's plan. Does nothing when it is published already.
    ///
    /// # Errors
    ///
    /// [`DatabaseError::TakenBack`] when the data or the database refuses it: then all of it was
    /// taken back. After any other error it can be run again.
    pub async fn expand(&mut self, change: &Change) -> Result<(), DatabaseError> {
        let history = self.history().await?;
        let known = live(&history, &change.plan.version.base, &change.version);
        let (rank, plan, phase) = match known {
            Some(entry) if entry.checksum != change.checksum => {
                return Err(DatabaseError::history(format!(
                    "`{}` has changed since it was begun: its checksum was {} and is {}",
                    change.version, entry.checksum, change.checksum
                )));
            }
            Some(entry) => match entry.phase {
                Phase::Expand | Phase::Backfill | Phase::Publish => {
                    (entry.installed_rank, plan_of(entry)?, entry.phase)
                }
                Phase::Abort => return Err(unfinished(entry)),
                Phase::Published | Phase::Contract | Phase::Contracted | Phase::Aborted => {
                    return Ok(());
                }
            },
            None => {
                if let Some(entry) = history.iter().find(|entry| !entry.phase.is_settled()) {
                    return Err(unfinished(entry));
                }
                preflight::check(&self.connection.client, &change.plan, &self.settings).await?;
                let rank = state::begin(&self.connection.client, change).await?;
                (rank, change.plan.clone(), Phase::Expand)
            }
        };
        match self.expand_from(rank, &plan, phase).await {
            Err(error) if error.is_for_good() => {
                let reason = error.to_string();
                self.helm.tell(Event::Aborting {
                    reason: reason.clone(),
                });
                let version = change.version.clone();
                match self.take_back(rank, &plan, &reason).await {
                    Ok(()) => Err(DatabaseError::TakenBack {
                        version,
                        source: Box::new(error),
                    }),
                    Err(source) => {
                        let source = Box::new(source);
                        Err(DatabaseError::NotTakenBack {
                            version,
                            reason,
                            source,
                        })
                    }
                }
            }
            done => done,
        }
    }

    async fn expand_from(
        &mut self,
        rank: i32,
        plan: &Plan,
        phase: Phase,
    ) -> Result<(), DatabaseError> {
        if phase == Phase::Expand {
            self.steps(rank, Part::Expand, &plan.expand).await?;
            state::set_phase(&self.connection.client, rank, Phase::Backfill, None).await?;
        }
        if phase != Phase::Publish {
            let begun = Instant::now();
            for (position, fill) in plan.backfill.iter().enumerate() {
                backfill::run(self, (rank, position), fill).await?;
            }
            self.add_time(rank, begun).await?;
            state::set_phase(&self.connection.client, rank, Phase::Publish, None).await?;
        }
        self.steps(rank, Part::Publish, &plan.publish).await?;
        state::set_phase(&self.connection.client, rank, Phase::Published, None).await
    }

    /// Removes what the version before `version` needed. Its steps begin with what may still
    /// refuse, so that a refusal leaves both versions served.
    ///
    /// # Errors
    ///
    /// When it is not published, or an earlier change is not contracted yet.
    pub async fn contract(&mut self, version: &str) -> Result<(), DatabaseError> {
        let history = self.history().await?;
        let entry = found(&history, version)?;
        match entry.phase {
            Phase::Contracted => return Ok(()),
            Phase::Published | Phase::Contract => {}
            Phase::Expand | Phase::Backfill | Phase::Publish | Phase::Abort | Phase::Aborted => {
                return Err(DatabaseError::history(format!(
                    "`{version}` is not published: it is in `{}`",
                    entry.phase.name()
                )));
            }
        }
        let earlier = history.iter().find(|other| {
            other.base == entry.base
                && other.installed_rank < entry.installed_rank
                && !matches!(other.phase, Phase::Contracted | Phase::Aborted)
        });
        if let Some(earlier) = earlier {
            return Err(DatabaseError::history(format!(
                "`{}` came before `{version}` and is not contracted yet",
                earlier.version
            )));
        }
        let (rank, plan) = (entry.installed_rank, plan_of(entry)?);
        state::set_phase(&self.connection.client, rank, Phase::Contract, None).await?;
        self.steps(rank, Part::Contract, &plan.contract).await?;
        state::set_phase(&self.connection.client, rank, Phase::Contracted, None).await
    }

    /// Takes `version` back, whatever of it was done; the data of the version before is exact.
    ///
    /// # Errors
    ///
    /// When it is contracted, or being contracted, or a later change stands on it.
    pub async fn abort(&mut self, version: &str, reason: &str) -> Result<(), DatabaseError> {
        let history = self.history().await?;
        let entry = found(&history, version)?;
        match entry.phase {
            Phase::Aborted => return Ok(()),
            Phase::Expand | Phase::Backfill | Phase::Publish | Phase::Published | Phase::Abort => {}
            Phase::Contract | Phase::Contracted => {
                return Err(DatabaseError::history(format!(
                    "`{version}` cannot be taken back: what the version before needed is being \
                     removed or is gone ({})",
                    entry.phase.name()
                )));
            }
        }
        let later = history.iter().find(|other| {
            other.base == entry.base
                && other.installed_rank > entry.installed_rank
                && other.phase != Phase::Aborted
        });
        if let Some(later) = later {
            return Err(DatabaseError::history(format!(
                "`{}` stands on `{version}`: abort it first",
                later.version
            )));
        }
        let (rank, plan) = (entry.installed_rank, plan_of(entry)?);
        self.take_back(rank, &plan, reason).await
    }

    async fn take_back(
        &mut self,
        rank: i32,
        plan: &Plan,
        reason: &str,
    ) -> Result<(), DatabaseError> {
        state::set_phase(&self.connection.client, rank, Phase::Abort, Some(reason)).await?;
        self.steps(rank, Part::Abort, &plan.abort).await?;
        state::set_phase(&self.connection.client, rank, Phase::Aborted, None).await
    }

    async fn steps(&mut self, rank: i32, part: Part, steps: &[Step]) -> Result<(), DatabaseError> {
        let begun = Instant::now();
        let sql = "SELECT position FROM gapless.step WHERE installed_rank = $1 AND part = $2";
        let rows = self
            .connection
            .client
            .query(sql, &[&rank, &part.name()])
            .await;
        let rows = rows.doing("see which steps are done")?;
        let done: Vec<i32> = rows.iter().map(|row| row.get(0)).collect();
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
            step::run(
                self,
                step::Place {
                    rank,
                    part,
                    position,
                },
                step,
            )
            .await?;
        }
        self.add_time(rank, begun).await
    }

    async fn add_time(&mut self, rank: i32, begun: Instant) -> Result<(), DatabaseError> {
        let millis = i64::try_from(begun.elapsed().as_millis()).unwrap_or(i64::MAX);
        state::add_time(&self.connection.client, rank, millis).await
    }
}

fn live<'a>(history: &'a [Entry], base: &str, version: &str) -> Option<&'a Entry> {
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
