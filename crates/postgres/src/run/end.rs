//! The two ends of a change: contract and abort.

use migration::plan::{Cost, Plan, Run, Step};

use super::{Part, Runner, found, plan_of, step, unfinished};
use crate::change;
use crate::error::DatabaseError;
use crate::state::{self, Entry, Phase};
use crate::unconverted;

impl Runner {
    /// Removes what the version before `version` needed. Its steps begin with what may still
    /// refuse: a refusal leaves both versions served, and the change published as before.
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
        if let Err(error) = self.steps(rank, Part::Contract, &plan).await {
            self.withdraw((rank, version), &plan, &error).await;
            return Err(error);
        }
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
        self.has_only_proved(entry.installed_rank, &plan_of(entry)?)
            .await
    }

    async fn has_only_proved(&self, rank: i32, plan: &Plan) -> Result<bool, DatabaseError> {
        let proofs = proofs(&plan.contract);
        let alone = |step: &Step| matches!(step.run, Run::Alone { .. });
        let done = self.done(rank, Part::Contract).await?;
        let proving = |position: &i32| usize::try_from(*position).is_ok_and(|it| it < proofs);
        Ok(done.iter().all(proving) && !plan.contract.get(done.len()).is_some_and(alone))
    }

    /// After a contract that was refused before anything went: what it demanded for its proofs
    /// is demanded no longer, and the way back stays open. Where that cannot be done either, the
    /// contract stands as begun; it can be run again, or the change be taken back.
    async fn withdraw(&mut self, (rank, version): (i32, &str), plan: &Plan, error: &DatabaseError) {
        let refused = error.is_for_good() || matches!(error, DatabaseError::Patience { .. });
        if !refused || !matches!(self.has_only_proved(rank, plan).await, Ok(true)) {
            return;
        }
        let place = step::Place {
            rank,
            part: Part::Withdraw,
            position: 0,
        };
        let _ = step::run(self, place, &withdrawal((rank, version), plan)).await;
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

/// The step that takes back what a contract begins with.
fn withdrawal((rank, version): (i32, &str), plan: &Plan) -> Step {
    let proving = &plan.contract[..proofs(&plan.contract)];
    let validated = proving.iter().filter(|step| step.run == Run::Validate);
    let dropped = validated
        .flat_map(|step| &step.statements)
        .map(|sql| sql.replacen(" VALIDATE CONSTRAINT ", " DROP CONSTRAINT IF EXISTS ", 1));
    let mut statements: Vec<String> = dropped.collect();
    statements.push(format!(
        "DELETE FROM gapless.step WHERE installed_rank = {rank} AND part IN ('{}', '{}')",
        Part::Contract.name(),
        Part::Withdraw.name()
    ));
    statements.push(format!(
        "UPDATE gapless.history SET phase = '{}' WHERE installed_rank = {rank}",
        Phase::Published.name()
    ));
    Step {
        title: format!("leave `{version}` published"),
        statements,
        run: Run::Together,
        locks: proving.iter().flat_map(|step| step.locks.clone()).collect(),
        cost: Cost::Instant,
        why: "drops constraints that were added a moment ago".to_owned(),
    }
}

/// How many steps a contract begins with that only prove: constraints, each with its validation.
fn proofs(steps: &[Step]) -> usize {
    let pairs = steps.chunks(2);
    let proving = |pair: &&[Step]| pair.last().is_some_and(|it| it.run == Run::Validate);
    pairs.take_while(proving).map(<[Step]>::len).sum()
}
