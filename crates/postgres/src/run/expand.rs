//! Expand, backfill, publish.

use std::time::Instant;

use migration::plan::Plan;

use super::{Part, Runner, live, plan_of, preflight, unfinished};
use crate::backfill;
use crate::change;
use crate::error::DatabaseError;
use crate::event::Event;
use crate::state::{self, Change, Entry, Phase};

impl Runner {
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
            Some(entry) => match carried_on(entry, change)? {
                Some(from) => from,
                None => return Ok(()),
            },
            None => (
                self.begin(&history, change).await?,
                change.plan.clone(),
                Phase::Expand,
            ),
        };
        let file = change
            .source
            .as_deref()
            .map(|text| (change.script.as_str(), text));
        match self.expand_from((rank, phase), plan.clone(), file).await {
            Err(error) if error.is_for_good() => self.refused(rank, (change, &plan), error).await,
            done => done,
        }
    }

    async fn begin(&mut self, history: &[Entry], change: &Change) -> Result<i32, DatabaseError> {
        if let Some(entry) = history.iter().find(|entry| !entry.phase.is_settled()) {
            return Err(unfinished(entry));
        }
        let client = &self.connection.client;
        preflight::check(client, &change.plan, &self.settings).await?;
        let rank = state::next_rank(history);
        state::begin(client, rank, change).await?;
        Ok(rank)
    }

    async fn refused(
        &mut self,
        rank: i32,
        (change, plan): (&Change, &Plan),
        error: DatabaseError,
    ) -> Result<(), DatabaseError> {
        let (version, reason) = (change.version.clone(), error.to_string());
        self.helm.tell(Event::Aborting {
            reason: reason.clone(),
        });
        match self.take_back((rank, &version), plan, &reason).await {
            Ok(()) => Err(DatabaseError::TakenBack {
                version,
                source: Box::new(error),
            }),
            Err(source) => Err(DatabaseError::NotTakenBack {
                version,
                reason,
                source: Box::new(source),
            }),
        }
    }

    async fn expand_from(
        &mut self,
        (rank, phase): (i32, Phase),
        mut plan: Plan,
        file: Option<(&str, &str)>,
    ) -> Result<(), DatabaseError> {
        if phase == Phase::Expand {
            self.steps(rank, Part::Expand, &plan).await?;
            if let (true, Some(file)) = (plan.reread, file) {
                // Nobody could foresee what a person's own SQL did.
                let base = plan.version.base.clone();
                let again = change::plan(&mut self.connection.client, &base, file).await?;
                plan = Plan {
                    expand: plan.expand,
                    ..again.plan
                };
            }
            state::set_plan(&self.connection.client, (rank, Phase::Backfill), &plan).await?;
        }
        if phase != Phase::Publish {
            let begun = Instant::now();
            for (position, fill) in plan.backfill.iter().enumerate() {
                backfill::run(self, (rank, position), fill).await?;
            }
            self.add_time(rank, begun).await?;
            state::set_phase(&self.connection.client, rank, Phase::Publish, None).await?;
        }
        self.steps(rank, Part::Publish, &plan).await?;
        state::set_phase(&self.connection.client, rank, Phase::Published, None).await
    }
}

/// Where to carry on with a change that was begun; `None` when it is published.
fn carried_on(entry: &Entry, change: &Change) -> Result<Option<(i32, Plan, Phase)>, DatabaseError> {
    if entry.checksum != change.checksum {
        return Err(DatabaseError::history(format!(
            "`{}` has changed since it was begun: its checksum was {} and is {}",
            change.version, entry.checksum, change.checksum
        )));
    }
    match entry.phase {
        Phase::Expand | Phase::Backfill | Phase::Publish => {
            Ok(Some((entry.installed_rank, plan_of(entry)?, entry.phase)))
        }
        Phase::Abort => Err(unfinished(entry)),
        Phase::Published | Phase::Contract | Phase::Contracted | Phase::Aborted => Ok(None),
    }
}
