//! Publishing tables, and hearing that every thread has them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use engine::Event;
use model::{Audience, AudienceValue, Revision};
use tokio::time::Instant;
use traffic::{AudienceRule, ServiceTable, Table, Wanted};

use super::Shell;
use crate::clock::monotonic_micros;
use crate::table::LastTable;

/// While a table is young, threads confirm it within this.
const CONFIRM_SOON: Duration = Duration::from_millis(1);
/// Afterwards it is looked less often.
const CONFIRM_LATER: Duration = Duration::from_millis(20);

impl Shell {
    pub(super) fn publish(&mut self, mut table: Table, audiences: BTreeMap<usize, Vec<Audience>>) {
        self.time_pauses(&mut table);
        let last = LastTable { table, audiences };
        for listener in &last.table.listeners {
            if let Err(error) = self.listen(listener.address, listener.kind) {
                tracing::error!(address = %listener.address, error, "an address is not listened on");
            }
        }
        let table = Arc::new(self.with_audiences(&last));
        let before = std::mem::replace(&mut self.table, Arc::clone(&table));
        self.note_table(&before);
        self.publisher.publish(Arc::clone(&table));
        if self.has_company() {
            self.host.publish(&table);
        }
        self.confirming.insert(table.revision);
        self.published_at = Instant::now();
        self.check_confirmed();
        self.tables.write(last);
    }

    /// Says when pauses end on the clock that the proxy has.
    fn time_pauses(&self, table: &mut Table) {
        let (now, micros) = (self.clock.now(), monotonic_micros());
        let paused = table.services.iter_mut().filter_map(|s| s.paused.as_mut());
        for paused in paused {
            let left = u64::try_from(paused.until.since(now).as_micros()).unwrap_or(u64::MAX);
            paused.until_micros = micros.saturating_add(left);
        }
    }

    fn with_audiences(&self, last: &LastTable) -> Table {
        let mut table = last.table.clone();
        for (service, audiences) in &last.audiences {
            let rules = audiences.iter().filter_map(|audience| self.rule(audience));
            if let Some(service) = table.services.get_mut(*service) {
                service.audiences = rules.collect();
            }
        }
        for closed in table.services.iter_mut().filter_map(|s| s.closed.as_mut()) {
            closed.pass = closed.maintenance.pass.as_ref().and_then(|pass| {
                let name = pass.header.clone();
                let value = AudienceValue::Secret(pass.secret.clone());
                self.rule(&Audience::Header { name, value })
            });
        }
        table
    }

    /// An audience with its secret's value; without one nobody belongs to it.
    fn rule(&self, audience: &Audience) -> Option<AudienceRule> {
        let wanted = |value: &AudienceValue| match value {
            AudienceValue::Plain(text) => Some(Wanted::Exactly(text.clone())),
            AudienceValue::Part(share) => Some(Wanted::Part(*share)),
            AudienceValue::Secret(name) => match self.secrets.newest(&self.store, name) {
                Ok(secret) => Some(Wanted::Exactly(secret.expose().to_owned())),
                Err(error) => {
                    tracing::error!(
                        name,
                        error = crate::chain(&error),
                        "an audience is left out"
                    );
                    None
                }
            },
        };
        match audience {
            Audience::Header { name, value } => {
                Some(AudienceRule::Header(name.clone(), wanted(value)?))
            }
            Audience::Cookie { name, value } => {
                Some(AudienceRule::Cookie(name.clone(), wanted(value)?))
            }
            Audience::Host(_) => None,
        }
    }

    /// Notes which rollouts' traffic a table changes.
    fn note_table(&mut self, before: &Table) {
        let (now, table) = (self.clock.now(), Arc::clone(&self.table));
        let changed: Vec<&ServiceTable> = table
            .services
            .iter()
            .filter(|service| !before.services.iter().any(|was| was.routes_like(service)))
            .collect();
        for service in changed {
            let was = before.services.iter().find(|was| was.name == service.name);
            if was.is_none() && !before.services.iter().any(|was| was.cell == service.cell) {
                self.ledger.reset_service(service.cell);
            }
            for account in self.accounts.values_mut() {
                if account.opening.service == service.name && account.closing.is_none() {
                    account.note_table(service, now);
                }
            }
        }
        self.look_at_accounts();
    }

    /// How long until it is worth looking whether every thread has the newest table.
    pub(super) fn confirm_pause(&self) -> Option<Duration> {
        let young = self.published_at.elapsed() < Duration::from_millis(100);
        let pause = if young { CONFIRM_SOON } else { CONFIRM_LATER };
        (!self.confirming.is_empty()).then_some(pause)
    }

    /// Tells the engine which tables every thread of every worker has.
    pub(super) fn check_confirmed(&mut self) {
        let confirmed: Vec<Revision> = self
            .confirming
            .iter()
            .copied()
            .filter(|revision| self.ledger.confirmed(*revision))
            .collect();
        for revision in confirmed {
            self.confirming.remove(&revision);
            self.queue.push_back(Event::Confirmed { revision });
            if revision == self.table.revision && self.taking_in == 0 {
                self.release_unused();
            }
        }
    }
}
