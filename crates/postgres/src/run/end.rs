//! The two ends of a change: contract and abort.

use migration::plan::{Plan, Run, Step};

use super::{Part, Runner, found, plan_of, unfinished};
use crate::change;
use crate::error::DatabaseError;
use crate::state::{self, Entry, Phase};
use crate::unconverted;

impl Runner {
    /// Removes what the version before `version` needed. Its steps begin with what may still
    /// refuse, so that a refusal leaves both versions served.
    ///
    /// # Errors
    ///
    /// When it is not published, an earlier change is not contracted yet, or another one is
    /// unfinished.
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
        let mut others = history
            .iter()
            .filter(|it| it.installed_rank != entry.installed_rank);
        if let Some(other) = others.clone().find(|other| !other.phase.is_settled()) {
            return Err(unfinished(other));
        }
        let earlier = others.find(|other| {
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
        let (rank, mut plan) = (entry.installed_rank, plan_of(entry)?);
        let of = (rank, entry.base.as_str());
        unconverted::refuse_contract(&self.connection.client, of, version).await?;
        if entry.phase == Phase::Published {
            let client = &mut self.connection.client;
            let steps = change::end(client, (&history, entry), migration::contract).await?;
            if let Some(steps) = steps {
                plan.contract = steps;
            }
            state::set_plan(&self.connection.client, (rank, Phase::Contract), &plan).await?;
        }
        self.steps(rank, Part::Contract, &plan).await?;
        unconverted::forget(&self.connection.client, rank).await?;
        let base = plan.version.base.as_str();
        self.remove_logins(base, |older| older < version).await?;
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
            Phase::Contract if self.is_untouched(entry).await? => {}
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
        let mut plan = plan_of(entry)?;
        if entry.phase != Phase::Abort {
            self.abort_as_things_are((&history, entry), &mut plan)
                .await?;
        }
        self.take_back((entry.installed_rank, version), &plan, reason)
            .await
    }

    /// Whether a contract that was begun has removed nothing: what is refused leaves nothing,
    /// but what runs alone may.
    async fn is_untouched(&self, entry: &Entry) -> Result<bool, DatabaseError> {
        let plan = plan_of(entry)?;
        let proofs = proofs(&plan.contract);
        let alone = |step: &Step| matches!(step.run, Run::Alone { .. });
        let done = self.done(entry.installed_rank, Part::Contract).await?;
        let proving = |position: &i32| usize::try_from(*position).is_ok_and(|it| it < proofs);
        Ok(done.iter().all(proving) && !plan.contract.get(done.len()).is_some_and(alone))
    }

    /// What stands below the change may have been contracted since it was planned.
    async fn abort_as_things_are(
        &mut self,
        (history, entry): (&[Entry], &Entry),
        plan: &mut Plan,
    ) -> Result<(), DatabaseError> {
        let client = &mut self.connection.client;
        match change::end(client, (history, entry), migration::abort).await {
            Ok(Some(steps)) => plan.abort = steps,
            // The first plan is still better than none.
            Ok(None) | Err(DatabaseError::Refused { .. }) => return Ok(()),
            Err(error) => return Err(error),
        }
        state::set_plan(
            &self.connection.client,
            (entry.installed_rank, entry.phase),
            plan,
        )
        .await
    }

    pub(super) async fn take_back(
        &mut self,
        (rank, version): (i32, &str),
        plan: &Plan,
        reason: &str,
    ) -> Result<(), DatabaseError> {
        state::set_phase(&self.connection.client, rank, Phase::Abort, Some(reason)).await?;
        self.steps(rank, Part::Abort, plan).await?;
        unconverted::forget(&self.connection.client, rank).await?;
        let base = plan.version.base.as_str();
        self.remove_logins(base, |its| its == version).await?;
        state::set_phase(&self.connection.client, rank, Phase::Aborted, None).await
    }
}

/// How many steps a contract begins with that only prove: constraints, each with its validation.
fn proofs(steps: &[Step]) -> usize {
    let pairs = steps.chunks(2);
    let proving = |pair: &&[Step]| pair.last().is_some_and(|it| it.run == Run::Validate);
    pairs.take_while(proving).map(<[Step]>::len).sum()
}
