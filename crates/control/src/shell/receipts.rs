//! From accounts that are closed to receipts, and the evidence beside them.

use model::{Receipt, RolloutId, Time};

use super::Shell;
use super::logs::EVIDENCE_LINES;
use crate::account::Account;
use crate::clock::wall_ms;
use crate::store::EventRow;

impl Shell {
    /// Makes the receipts that are due, and completes those whose time afterwards is over.
    pub(super) fn close_due_accounts(&mut self) {
        let now = self.clock.now();
        let due = |account: &Account| account.due().is_some_and(|due| due <= now);
        let rollouts: Vec<RolloutId> = self
            .accounts
            .iter()
            .filter(|(_, account)| due(account))
            .map(|(rollout, _)| *rollout)
            .collect();
        for rollout in rollouts {
            self.look_at_account(rollout, Account::look_exactly);
            match self.accounts.get(&rollout).map(Account::is_receipted) {
                Some(false) => self.make_receipt(rollout, now),
                Some(true) => self.complete_receipt(rollout),
                None => {}
            }
        }
    }

    /// Makes every receipt that is not yet made: nothing can come any more.
    pub(super) fn close_all_accounts(&mut self) {
        self.look_at_accounts();
        let closing = |account: &Account| account.closing.is_some() && !account.is_receipted();
        let all = self.accounts.iter().filter(|(_, account)| closing(account));
        let rollouts: Vec<RolloutId> = all.map(|(rollout, _)| *rollout).collect();
        let now = self.clock.now();
        for rollout in rollouts {
            self.make_receipt(rollout, now);
        }
    }

    fn make_receipt(&mut self, rollout: RolloutId, now: Time) {
        let Some(account) = self.accounts.get_mut(&rollout) else {
            return;
        };
        let receipt = account.receipt(now);
        let text = serde_json::to_string(account).expect("an account has text keys only");
        if let Err(error) = self.store.put_receipt(&receipt, Some(&text)) {
            tracing::warn!(%rollout, error = error.chain(), "a receipt is not written");
        }
        self.tell_receipt(&receipt);
        if let Some(accepted) = self.accepted() {
            self.prune(accepted.keep_releases);
        }
        self.back_up();
    }

    fn complete_receipt(&mut self, rollout: RolloutId) {
        let Some(account) = self.accounts.remove(&rollout) else {
            return;
        };
        let stored = self.store.rollout(rollout);
        let completed = stored.and_then(|row| {
            let Some(mut receipt) = row.and_then(|row| row.receipt) else {
                return Ok(());
            };
            receipt.latency_ms.after = account.after();
            self.store.put_receipt(&receipt, None)
        });
        if let Err(error) = completed {
            tracing::warn!(%rollout, error = error.chain(), "a receipt is not completed");
        }
    }

    fn tell_receipt(&mut self, receipt: &Receipt) {
        let text = serde_json::to_string(receipt).expect("a receipt has text keys only");
        self.notes.push(EventRow {
            seq: 0,
            at_ms: wall_ms(),
            rollout: Some(receipt.rollout),
            service: receipt.service.to_string(),
            kind: "receipt".to_owned(),
            text,
        });
    }

    /// Keeps failed probes, and the last lines of their instances, with the rollout.
    pub(super) fn note_evidence(
        &mut self,
        rollout: RolloutId,
        service: &str,
        failures: Vec<(String, String)>,
    ) {
        let mut lines = Vec::new();
        for (instance, failure) in failures {
            lines.push(format!("{instance}: {failure}"));
            let last = self.last_lines(&instance, EVIDENCE_LINES);
            lines.extend(last.into_iter().map(|line| format!("{instance} | {line}")));
        }
        for text in lines {
            self.notes.push(EventRow {
                seq: 0,
                at_ms: wall_ms(),
                rollout: Some(rollout),
                service: service.to_owned(),
                kind: "evidence".to_owned(),
                text,
            });
        }
    }
}
