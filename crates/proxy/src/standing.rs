//! What a thread notes about its endpoints, and what follows from it.

use traffic::{Cell, Outcome, Sign};

use crate::claim::Connection;
use crate::thread::Thread;

impl Thread {
    /// Notes how an attempt at an endpoint ended, and ejects the endpoint if it fails too often.
    pub(crate) fn note_end(&self, cell: Cell, outcome: Outcome, connection: Connection) {
        let is_stale = connection == Connection::Reused && outcome == Outcome::NoResponseRepeated;
        let Some(sign) = Sign::of(outcome).filter(|_| !is_stale) else {
            return;
        };
        let failures = self.standings.borrow_mut().note(cell, sign);
        if sign == Sign::Bad {
            self.judge(cell, failures);
        }
    }

    fn judge(&self, cell: Cell, failures: u32) {
        self.with_routing(|routing| {
            for service in &routing.table.services {
                let Some(ejection) = &service.delivery.ejection else {
                    continue;
                };
                let sides = std::iter::once(&service.stable).chain(&service.candidate);
                for endpoints in sides.map(|side| &side.endpoints) {
                    let Some(endpoint) = endpoints.iter().find(|one| one.cell == cell) else {
                        continue;
                    };
                    let now = self.watches.coarse_micros();
                    let mut standings = self.standings.borrow_mut();
                    if failures >= ejection.failures
                        && standings.eject(cell, (endpoints, ejection), now)
                    {
                        let instance = &endpoint.instance;
                        tracing::warn!(%instance, failures, "an endpoint that fails is left out for a while");
                    }
                    return;
                }
            }
        });
    }

    /// Counts a request of a service for its retry budget.
    pub(crate) fn note_request(&self, service: Cell) {
        let now = self.watches.coarse_micros();
        let mut budgets = self.budgets.borrow_mut();
        budgets.entry(service).or_default().request(now);
    }

    /// True if the service's retry budget pays for another attempt.
    pub(crate) fn may_spend(&self, service: Cell, share: model::Share) -> bool {
        let now = self.watches.coarse_micros();
        let mut budgets = self.budgets.borrow_mut();
        budgets.entry(service).or_default().take(share, now)
    }
}
