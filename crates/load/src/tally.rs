//! The client's own account, to be held against the receipt.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::Failure;

/// How every request that was sent ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Requests begun; each has exactly one of the ends below.
    pub sent: u64,
    /// Whole responses, by status.
    pub responses: BTreeMap<u16, u64>,
    /// Whole responses with a status below 500, and connections to a TCP service that got back
    /// what they said, by the release that answered.
    pub by_release: BTreeMap<String, u64>,
    /// Whole responses with a status of 500 or above, by who made it: a release, or `proxy:REASON`.
    pub errors: BTreeMap<String, u64>,
    /// Requests without a whole response, by what was seen.
    pub failures: BTreeMap<Failure, u64>,
    /// The longest time between a request's begin and its response, in milliseconds.
    pub longest_ms: u64,
}

impl Tally {
    /// Requests that got no whole response.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    /// Whole responses made by the proxy itself with a status of 500 or above.
    #[must_use]
    pub fn proxy_errors(&self) -> u64 {
        self.errors
            .iter()
            .filter(|(who, _)| who.starts_with("proxy:"))
            .map(|(_, count)| count)
            .sum()
    }

    /// Requests that ended so.
    #[must_use]
    pub fn count(&self, failure: Failure) -> u64 {
        self.failures.get(&failure).copied().unwrap_or(0)
    }

    /// What was added since `earlier`, an older state of the same account.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            sent: self.sent - earlier.sent,
            responses: difference(&self.responses, &earlier.responses),
            by_release: difference(&self.by_release, &earlier.by_release),
            errors: difference(&self.errors, &earlier.errors),
            failures: difference(&self.failures, &earlier.failures),
            longest_ms: self.longest_ms,
        }
    }
}

fn difference<K: Ord + Clone>(now: &BTreeMap<K, u64>, then: &BTreeMap<K, u64>) -> BTreeMap<K, u64> {
    let grown = now
        .iter()
        .map(|(key, count)| (key.clone(), count - then.get(key).copied().unwrap_or(0)));
    grown.filter(|(_, count)| *count > 0).collect()
}
