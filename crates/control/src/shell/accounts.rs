//! Accounts of running rollouts, and their receipts.

use metric::Window;
use model::{InstanceId, Outcome, RolloutId, RolloutKind, ServiceName, ShadowKey, Strategy, Time};
use rollout::{Ended, Plan};
use traffic::Cell;
use verdict::Figures;

use super::Shell;
use crate::account::{Account, Opening, Sources, latency_of};
use crate::clock::{monotonic_micros, wall_ms};

/// The window before a rollout.
const BEFORE_MS: u64 = 60_000;

/// The strategy as receipts name it.
pub(super) fn strategy_name(plan: &Plan) -> &'static str {
    match plan.kind {
        RolloutKind::Rollback => "rollback",
        RolloutKind::Deploy => strategy_word(&plan.policy.strategy),
    }
}

fn strategy_word(strategy: &Strategy) -> &'static str {
    match strategy {
        Strategy::Rolling { .. } => "rolling",
        Strategy::BlueGreen(_) => "blue_green",
        Strategy::Canary { .. } => "canary",
        Strategy::Recreate => "recreate",
    }
}

impl Shell {
    pub(super) fn open_account(&mut self, rollout: RolloutId, service: &ServiceName) {
        if self.accounts.contains_key(&rollout) {
            return;
        }
        let Some(plan) = self.engine.plan(rollout).cloned() else {
            return;
        };
        let opening = self.opening(&plan, service);
        let began = opening.began_wall_ms;
        let (cell, drops) = self.account_sources(service);
        let lives = |instance: &InstanceId| self.engine.place(instance).is_some();
        let owners = self.series.owners();
        let cells: Vec<(Cell, InstanceId)> = owners
            .filter(|(_, instance)| instance.service == *service && lives(instance))
            .map(|(cell, instance)| (cell, instance.clone()))
            .collect();
        let account = Account::open(opening, &cells, &sources(&self.ledger, (cell, &drops)));
        tracing::info!(%rollout, %service, began, "an account is opened");
        self.accounts.insert(rollout, account);
        self.write_noted_accounts();
    }

    fn opening(&mut self, plan: &Plan, service: &ServiceName) -> Opening {
        let now = self.clock.now();
        let ledger = &self.ledger;
        self.series.look(now, |cell| ledger.cell(cell));
        let window = Window {
            from: Time(now.0.saturating_sub(BEFORE_MS)),
            to: now,
        };
        let micros = monotonic_micros();
        let from = micros.saturating_sub(BEFORE_MS * 1_000);
        let gap = |cell| self.ledger.longest_gap(cell, from, micros);
        let release = self.engine.release(service, plan.to);
        Opening {
            rollout: plan.rollout,
            service: service.clone(),
            from: plan.from,
            from_ready: plan.from.is_some() && plan.from_ready,
            to: plan.to,
            label: release.and_then(|release| release.label.clone()),
            strategy: strategy_name(plan).to_owned(),
            began: self.polled,
            began_wall_ms: wall_ms(),
            before: latency_of(&self.series.latency(service, window)),
            gap_before_micros: self.service_cell(service).map(gap),
        }
    }

    pub(super) fn close_account(&mut self, rollout: RolloutId, ended: Ended) {
        let now = self.clock.now();
        self.open_if_never_begun(rollout);
        let Some(account) = self.accounts.get_mut(&rollout) else {
            return;
        };
        if account.closing.is_some() {
            return;
        }
        let evidence = match ended.outcome {
            Outcome::Completed | Outcome::Aborted | Outcome::Superseded => Vec::new(),
            Outcome::RolledBack | Outcome::Failed => account.failures(),
        };
        account.close(ended, now);
        let service = account.opening.service.to_string();
        self.write_account(rollout);
        self.note_evidence(rollout, &service, evidence);
    }

    /// A rollout that ended before it began has a receipt, too.
    fn open_if_never_begun(&mut self, rollout: RolloutId) {
        let known = self.store.rollout(rollout).is_ok_and(|row| row.is_some());
        if known || self.accounts.contains_key(&rollout) {
            return;
        }
        let status = self.engine.status(self.clock.now());
        let last = status.services.iter().find_map(|service| {
            let last = service
                .last
                .as_ref()
                .filter(|last| last.rollout == rollout)?;
            Some((service, last.to))
        });
        let Some((service, to)) = last else {
            return;
        };
        let opening = Opening {
            rollout,
            service: service.name.clone(),
            from: service.active,
            from_ready: false,
            to,
            label: None,
            strategy: strategy_word(&service.policy.rollout.strategy).to_owned(),
            began: self.polled,
            began_wall_ms: wall_ms(),
            before: None,
            gap_before_micros: None,
        };
        let none = sources(&self.ledger, (None, &[]));
        self.accounts
            .insert(rollout, Account::open(opening, &[], &none));
    }

    /// Writes down the accounts in which something was noted.
    pub(super) fn write_noted_accounts(&mut self) {
        let open = self.accounts.iter_mut();
        let noted: Vec<RolloutId> = open
            .filter_map(|(rollout, account)| account.take_unwritten().then_some(*rollout))
            .collect();
        for rollout in noted {
            self.write_account(rollout);
        }
    }

    /// Writes an account down, so that the next worker goes on from here.
    pub(super) fn write_account(&mut self, rollout: RolloutId) {
        let Some(account) = self.accounts.get(&rollout) else {
            return;
        };
        let opening = &account.opening;
        let text = serde_json::to_string(account).expect("an account has text keys only");
        let about = (&opening.service, opening.began_wall_ms);
        if let Err(error) = self.store.put_account(rollout, about, &text) {
            tracing::warn!(%rollout, error = error.chain(), "an account is not written");
        }
    }

    pub(super) fn look_at_accounts(&mut self) {
        let rollouts: Vec<RolloutId> = self.accounts.keys().copied().collect();
        for rollout in rollouts {
            self.look_at_account(rollout, Account::look);
        }
    }

    pub(super) fn look_at_account(
        &mut self,
        rollout: RolloutId,
        look: fn(&mut Account, &Sources<'_>),
    ) {
        let Some(service) = self
            .accounts
            .get(&rollout)
            .map(|a| a.opening.service.clone())
        else {
            return;
        };
        let (cell, drops) = self.account_sources(&service);
        let known = self.accounts.get(&rollout).map(Account::shadows);
        for key in known.into_iter().flatten() {
            self.compared(rollout, key);
        }
        if let Some(account) = self.accounts.get_mut(&rollout) {
            look(account, &sources(&self.ledger, (cell, &drops)));
        }
    }

    /// What comparing has found of a shadow, over all workers.
    pub(super) fn compared(&mut self, rollout: RolloutId, key: ShadowKey) -> Figures {
        let seen = self.publisher.compared(key);
        match self.accounts.get_mut(&rollout) {
            Some(account) => account.note_found(key, seen),
            None => seen.unwrap_or_default().figures(),
        }
    }

    /// Notes in every open account what its service is at.
    pub(super) fn note_status(&mut self) {
        if self.accounts.values().all(Account::is_receipted) {
            return;
        }
        let now = self.clock.now();
        let status = self.engine.status(now);
        for account in self.accounts.values_mut().filter(|a| !a.is_receipted()) {
            let own = |service: &&engine::ServiceStatus| service.name == account.opening.service;
            if let Some(service) = status.services.iter().find(own) {
                account.note_status(service, now);
            }
        }
    }

    /// The service's cell in the newest table.
    pub(super) fn service_cell(&self, service: &ServiceName) -> Option<Cell> {
        let services = self.table.services.iter();
        let own = services.into_iter().find(|own| own.name == *service);
        own.map(|own| own.cell)
    }

    fn account_sources(&self, service: &ServiceName) -> (Option<Cell>, Vec<(String, u64)>) {
        let index = self
            .table
            .services
            .iter()
            .position(|own| own.name == *service);
        let leads_here = |address: &std::net::SocketAddr| {
            self.table.listeners.iter().any(|listener| {
                let mut routes = listener.routes.iter();
                listener.address == *address && routes.any(|route| Some(route.service) == index)
            })
        };
        let drops = self.host.drops().into_iter();
        let drops = drops.filter(|(address, _)| leads_here(address));
        let drops = drops.map(|(address, count)| (address.to_string(), count));
        (self.service_cell(service), drops.collect())
    }
}

fn sources<'a>(
    ledger: &'a ledger::Ledger,
    (service, drops): (Option<Cell>, &'a [(String, u64)]),
) -> Sources<'a> {
    Sources {
        ledger,
        service,
        drops,
        micros: monotonic_micros(),
    }
}
