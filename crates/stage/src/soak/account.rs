//! Holds what the client saw against what was done and what the server says.

use std::collections::BTreeMap;
use std::time::Instant;

use load::{Failure, Loss, Lost, Tally};
use model::Receipt;

/// What was done to the server that may be felt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FaultKind {
    WorkerKilled,
    InstanceKilled,
}

impl FaultKind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::WorkerKilled => "worker killed",
            Self::InstanceKilled => "instance killed",
        }
    }

    /// True if this is what a client may see of it. A killed worker makes no answer; a killed
    /// instance leaves that to the proxy.
    fn explains(self, seen: &Lost) -> bool {
        match (self, seen) {
            (
                Self::WorkerKilled,
                Lost::Failed(Failure::Closed | Failure::Reset | Failure::Truncated),
            )
            | (Self::InstanceKilled, Lost::Failed(Failure::Truncated)) => true,
            (Self::InstanceKilled, Lost::Error(who)) => {
                who == "proxy:no_response" || who == "proxy:connect"
            }
            (Self::WorkerKilled, Lost::Error(_)) | (_, Lost::Failed(_)) => false,
        }
    }
}

/// A fault and when it can have struck.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fault {
    pub(super) kind: FaultKind,
    pub(super) from: Instant,
    pub(super) to: Instant,
}

/// Everything that is known at the end.
pub(super) struct Account<'a> {
    pub(super) tally: &'a Tally,
    pub(super) losses: &'a [Loss],
    pub(super) faults: &'a [Fault],
    /// Requests that the server counts.
    pub(super) counted: u64,
    pub(super) receipts: &'a [Receipt],
}

impl Account<'_> {
    /// The fault that struck while the request was open.
    fn cause(&self, loss: &Loss) -> Option<FaultKind> {
        let mut faults = self.faults.iter();
        let found = faults.find(|fault| {
            loss.begin <= fault.to && fault.from <= loss.end && fault.kind.explains(&loss.seen)
        });
        found.map(|fault| fault.kind)
    }

    /// Losses by what explains them.
    pub(super) fn explained(&self) -> BTreeMap<&'static str, u64> {
        let mut explained = BTreeMap::new();
        for kind in self.losses.iter().filter_map(|loss| self.cause(loss)) {
            *explained.entry(kind.name()).or_default() += 1;
        }
        explained
    }

    /// Everything that does not add up.
    pub(super) fn breaches(&self) -> Vec<String> {
        let unexplained = self.losses.iter().filter(|loss| self.cause(loss).is_none());
        let unexplained = unexplained.map(|loss| format!("no fault explains {loss:?}"));
        let mut breaches: Vec<String> = unexplained.take(20).collect();
        let tally = self.tally;
        let answered: u64 = tally.responses.values().sum();
        if answered + tally.failed() != tally.sent {
            breaches.push(format!("requests without one end: {tally:?}"));
        }
        let lost = tally.failed() + tally.errors.values().sum::<u64>();
        if lost != self.losses.len() as u64 {
            let known = self.losses.len();
            breaches.push(format!(
                "{lost} losses, of which {known} are known one by one"
            ));
        }
        // Those that a killed worker left in the kernel, or had read and not yet counted.
        let unread = tally.count(Failure::Reset) + tally.count(Failure::Closed);
        if self.counted > tally.sent || tally.sent - self.counted > unread {
            breaches.push(format!(
                "the server counts {} requests of {} sent, of which {unread} may be unknown to it",
                self.counted, tally.sent
            ));
        }
        breaches.extend(self.receipts.iter().flat_map(receipt_breaches));
        breaches
    }
}

/// What is wrong with one receipt.
fn receipt_breaches(receipt: &Receipt) -> Vec<String> {
    let mut breaches = Vec::new();
    if receipt.lost != Some(0) {
        breaches.push(format!("a rollout lost requests: {receipt:?}"));
    }
    if receipt.refused.is_some_and(|refused| refused > 0) {
        breaches.push(format!("connections were refused: {receipt:?}"));
    }
    if let (Some(balance), Some(requests)) = (&receipt.balance, receipt.requests) {
        let by_release = receipt.by_release.values();
        let by_release: u64 = by_release.map(|own| own.requests).sum();
        let ends = by_release + balance.without_release + balance.open_at_end;
        if requests + balance.open_at_begin != ends {
            breaches.push(format!("a receipt does not add up: {receipt:?}"));
        }
    }
    breaches
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn judged(kind: FaultKind, (from, to): (u64, u64), seen: Lost) -> Vec<String> {
        let zero = Instant::now();
        let at = |seconds| zero + Duration::from_secs(seconds);
        let fault = Fault {
            kind,
            from: at(10),
            to: at(12),
        };
        let mut tally = Tally {
            sent: 1,
            ..Tally::default()
        };
        match &seen {
            Lost::Failed(failure) => {
                tally.failures.insert(*failure, 1);
            }
            Lost::Error(who) => {
                tally.responses.insert(502, 1);
                tally.errors.insert(who.clone(), 1);
            }
        }
        let losses = [Loss {
            begin: at(from),
            end: at(to),
            seen,
        }];
        let account = Account {
            tally: &tally,
            losses: &losses,
            faults: &[fault],
            counted: 1,
            receipts: &[],
        };
        account.breaches()
    }

    #[test]
    fn a_loss_is_explained_by_a_fault_that_struck_while_it_was_open_and_looks_like_it() {
        let none: [String; 0] = [];
        let closed = || Lost::Failed(Failure::Closed);
        let broken = || Lost::Error("proxy:no_response".to_owned());
        let (worker, instance) = (FaultKind::WorkerKilled, FaultKind::InstanceKilled);
        assert_eq!(judged(worker, (9, 11), closed()), none);
        assert_eq!(judged(instance, (11, 20), broken()), none);
        for (kind, open, seen) in [
            (worker, (1, 9), closed()),
            (worker, (13, 14), closed()),
            (worker, (9, 11), broken()),
            (instance, (9, 11), closed()),
            (worker, (9, 11), Lost::Failed(Failure::Refused)),
            (worker, (9, 11), Lost::Failed(Failure::Timeout)),
            (
                instance,
                (9, 11),
                Lost::Error("proxy:no_endpoint".to_owned()),
            ),
        ] {
            assert_eq!(judged(kind, open, seen).len(), 1, "{kind:?} {open:?}");
        }
    }

    #[test]
    fn the_server_knows_every_request_but_those_that_it_never_read() {
        let mut tally = Tally {
            sent: 10,
            ..Tally::default()
        };
        tally.responses.insert(200, 10);
        let breaches = |tally: &Tally, counted| {
            let account = Account {
                tally,
                losses: &[],
                faults: &[],
                counted,
                receipts: &[],
            };
            account.breaches().len()
        };
        assert_eq!(breaches(&tally, 10), 0);
        assert_eq!(breaches(&tally, 9), 1);
        assert_eq!(breaches(&tally, 11), 1);
    }
}
