//! Replacing the server by another version of itself.

use supervisor::UpgradeOutcome;

use super::Shell;
use crate::api::{Code, Failure, UpgradeState, UpgradeView, VERSION, WorkerView};
use crate::store::EventRow;

/// The last upgrade, as it is kept in the database.
const KEY: &str = "upgrade";

/// The worker that was last in control, as it is kept in the database.
pub(super) const LEADER: &str = "leader";

impl Shell {
    /// Has a worker of another binary take this one's place.
    pub(crate) fn upgrade(
        &mut self,
        program: Option<&str>,
        actor: &str,
    ) -> Result<UpgradeView, Failure> {
        let command = format!("upgrade {}", program.unwrap_or("(the same path)"));
        let begun = self.begin_upgrade(program, actor);
        self.audit(actor, &command, &begun);
        if let Ok(view) = &begun {
            self.tell(format!(
                "upgrade begins: worker {} of {} starts",
                view.generation, view.program
            ));
        }
        begun
    }

    fn begin_upgrade(
        &mut self,
        program: Option<&str>,
        actor: &str,
    ) -> Result<UpgradeView, Failure> {
        self.check_changeable()?;
        let refused = |cause: String| {
            let mut failure = Failure::new(Code::Refused, "the upgrade does not begin")
                .with_cause(cause)
                .with_hint("see `gapless status`");
            failure.traffic = Some("this worker serves, as before".to_owned());
            failure
        };
        let generation = self.host.upgrade(program.unwrap_or_default().as_ref());
        let generation = generation.map_err(refused)?;
        let own = self
            .host
            .workers()
            .into_iter()
            .flat_map(|(_, workers)| workers);
        let same = own.filter(|one| one.generation == self.host.generation());
        let same = same.map(|one| one.program.display().to_string()).next();
        let view = UpgradeView {
            v: VERSION,
            generation,
            program: program.map(str::to_owned).or(same).unwrap_or_default(),
            actor: actor.to_owned(),
            from: env!("CARGO_PKG_VERSION").to_owned(),
            state: UpgradeState::Running,
            reason: None,
        };
        self.keep_upgrade(&view);
        Ok(view)
    }

    fn keep_upgrade(&mut self, view: &UpgradeView) {
        let text = serde_json::to_string(view).expect("a view has text keys only");
        if let Err(error) = self.store.set_meta(KEY, &text) {
            tracing::warn!(error = error.chain(), "an upgrade is not written down");
        }
    }

    /// The last upgrade.
    pub(super) fn last_upgrade(&self) -> Option<UpgradeView> {
        let text = self.store.meta(KEY).ok().flatten()?;
        serde_json::from_str(&text).ok()
    }

    /// Notes how an upgrade ended.
    pub(crate) fn upgraded(&mut self, outcome: UpgradeOutcome) {
        let Some(mut view) = self.last_upgrade() else {
            return;
        };
        let (state, reason, text) = match outcome {
            UpgradeOutcome::Done => {
                let text = format!(
                    "upgraded from {} to {}",
                    view.from,
                    env!("CARGO_PKG_VERSION")
                );
                (UpgradeState::Done, None, text)
            }
            UpgradeOutcome::Failed { reason } => {
                let text = format!("the upgrade failed, the old worker serves: {reason}");
                (UpgradeState::Failed, Some(reason), text)
            }
            UpgradeOutcome::WorkerOnly { reason } => {
                let text =
                    format!("the new worker serves, but the supervisor is the old one: {reason}");
                (UpgradeState::WorkerOnly, Some(reason), text)
            }
        };
        (view.state, view.reason) = (state, reason);
        self.keep_upgrade(&view);
        let result = match &view.reason {
            None => Ok(()),
            Some(reason) => Err(Failure::new(Code::Refused, reason.clone())),
        };
        self.audit(
            &view.actor,
            &format!("upgrade {} ends", view.program),
            &result,
        );
        self.tell(text);
    }

    /// Notes something that belongs to no service.
    fn tell(&mut self, text: String) {
        tracing::info!("{text}");
        self.notes.push(EventRow {
            seq: 0,
            at_ms: crate::clock::wall_ms(),
            rollout: None,
            service: String::new(),
            kind: "note".to_owned(),
            text,
        });
    }

    /// The supervisor's version, and all living workers.
    pub(super) fn worker_views(&self) -> (Option<String>, Vec<WorkerView>) {
        let Some((version, workers)) = self.host.workers() else {
            return (None, Vec::new());
        };
        let view = |one: supervisor::WorkerInfo| WorkerView {
            generation: one.generation,
            pid: one.pid,
            version: one.version,
            program: one.program.display().to_string(),
            draining: one.retired,
            connections: self.ledger.connections(one.generation),
        };
        (Some(version), workers.into_iter().map(view).collect())
    }

    /// Counts what a worker had open that died while it drained.
    pub(super) fn worker_gone(&mut self, generation: u64) {
        let dead = self.ledger.fold_dead(generation);
        let open: u32 = dead.open.iter().map(|(_, count)| count).sum();
        tracing::info!(generation, open, "another worker has ended");
        if open > 0 {
            for account in self.accounts.values_mut() {
                account.note_dead_worker();
            }
        }
        self.check_confirmed();
    }

    /// Whether more workers than this one have connections.
    pub(super) fn has_company(&self) -> bool {
        self.ledger.generations().len() > 1
    }

    /// Leaves everything so that the next worker goes on from here.
    pub(super) async fn hand_over(&mut self) {
        self.look_at_accounts();
        let rollouts: Vec<_> = self.accounts.keys().copied().collect();
        for rollout in rollouts {
            self.write_account(rollout);
        }
        self.flush_notes();
        self.logs.close().await;
        self.logs.flush();
    }
}
