//! The client's own count, held against the receipts of an act.

use load::{Failure, Tally};
use model::Receipt;

/// Whom an act may hurt, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Allowed {
    /// Nobody.
    Nothing,
    /// The share of users that a bad canary got.
    FailedByRelease,
    /// Those who had a request open in a worker when it was killed.
    Cut,
}

/// Every breach of the promise in one act, as sentences; empty: it was kept.
pub(super) fn breaches(allowed: Allowed, receipts: &[Receipt], tally: &Tally) -> Vec<String> {
    let mut breaches = Vec::new();
    let sum =
        |figure: fn(&Receipt) -> Option<u64>| receipts.iter().map(figure).sum::<Option<u64>>();
    let figures = (
        sum(|r| r.lost),
        sum(|r| r.failed_by_release),
        sum(|r| r.cut),
        sum(|r| r.requests),
    );
    let (Some(lost), Some(failed), Some(cut), Some(requests)) = figures else {
        return vec!["a figure of the receipt was not measured".to_owned()];
    };
    if lost > 0 {
        breaches.push(format!("{lost} requests were lost"));
    }
    if requests == 0 || requests > tally.sent {
        breaches.push(format!(
            "the receipts count {requests} requests, the client sent {}",
            tally.sent
        ));
    }
    let refused =
        tally.count(Failure::Refused) + receipts.iter().filter_map(|r| r.refused).sum::<u64>();
    if refused > 0 {
        breaches.push(format!("{refused} connections were refused"));
    }
    if allowed != Allowed::FailedByRelease && failed > 0 {
        breaches.push(format!(
            "{failed} requests failed outside a bad canary's share"
        ));
    }
    if allowed != Allowed::Cut && cut > 0 {
        breaches.push(format!(
            "{cut} requests were cut though no worker was killed"
        ));
    }
    breaches.extend(compare(allowed, (lost + failed, cut), tally));
    breaches
}

/// The client and the receipts must have seen the same failures.
///
/// A killed worker leaves two kinds of them: requests that it had read are closed in order by the
/// kernel, and are in the ledger; requests that still lay unread in the kernel are reset. The
/// ledger marks a connection before it reads, so the cut ones are all of the first kind and at most
/// all of both, and the answers that were just given.
fn compare(allowed: Allowed, (failed, cut): (u64, u64), tally: &Tally) -> Option<String> {
    let answered_badly: u64 = tally.errors.values().sum();
    let unread = tally.count(Failure::Reset);
    let seen = tally.failed() + answered_badly;
    let explained = failed + cut;
    let fine = match allowed {
        Allowed::Cut => seen - unread <= explained && explained <= seen + u64::from(stage::THREADS),
        Allowed::Nothing | Allowed::FailedByRelease => seen == explained,
    };
    (!fine).then(|| {
        format!(
            "the client saw {seen} failures ({unread} unread), the receipts tell of {explained}"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_that_no_receipt_tells_of_is_a_breach() {
        let mut tally = Tally {
            sent: 10,
            ..Tally::default()
        };
        assert_eq!(compare(Allowed::Nothing, (0, 0), &tally), None);
        tally.failures.insert(Failure::Truncated, 1);
        assert!(compare(Allowed::Nothing, (0, 0), &tally).is_some());
        assert_eq!(compare(Allowed::Nothing, (1, 0), &tally), None);
    }

    #[test]
    fn what_a_killed_worker_had_read_is_counted_and_what_it_had_not_or_just_answered_may_be() {
        let mut tally = Tally {
            sent: 10,
            ..Tally::default()
        };
        tally.failures.insert(Failure::Closed, 3);
        tally.failures.insert(Failure::Reset, 2);
        let fine: Vec<u64> = (1..10)
            .filter(|cut| compare(Allowed::Cut, (0, *cut), &tally).is_none())
            .collect();
        assert_eq!(fine, [3, 4, 5, 6, 7]);
        // Nothing of what it had not read need be counted.
        tally.failures.remove(&Failure::Closed);
        assert_eq!(compare(Allowed::Cut, (0, 0), &tally), None);
        assert!(compare(Allowed::Nothing, (0, 0), &tally).is_some());
    }
}
