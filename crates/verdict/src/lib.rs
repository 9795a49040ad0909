//! What the evidence says about a release: pass, fail or inconclusive.
//!
//! First form: fixed bounds and comparisons with the old release over the same
//! window. No data is inconclusive, never pass and never fail.

mod compare;
mod figure;
mod judge;

pub use compare::{Answer, Body, Figures, Found, Reply, Tally, compare, judge_compared, route};
pub use judge::judge;

use serde::{Deserialize, Serialize};

/// Figures of one release over one window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Requests that ended in the window, failed attempts included.
    pub requests: u64,
    /// Those that failed: 5xx, truncated, or no answer.
    pub failures: u64,
    /// Latency percentiles of whole responses in microseconds; `None`: none measured.
    pub latency: Option<Percentiles>,
}

/// Latency percentiles in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Percentiles {
    /// The median.
    pub p50: u64,
    /// The 90th.
    pub p90: u64,
    /// The 95th.
    pub p95: u64,
    /// The 99th.
    pub p99: u64,
}

impl Verdict {
    /// The verdict of two looks: it fails if either fails, and passes only if both pass.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Fail { mut reasons }, Self::Fail { reasons: more }) => {
                reasons.extend(more);
                Self::Fail { reasons }
            }
            (fail @ Self::Fail { .. }, _) | (_, fail @ Self::Fail { .. }) => fail,
            (open @ Self::Inconclusive { .. }, _) | (_, open) => open,
        }
    }
}

/// What the evidence says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// Every check has its data and holds.
    Pass,
    /// At least one check is broken.
    Fail {
        /// One sentence per broken bound, with the figures seen, the bound and the requests.
        reasons: Vec<String>,
    },
    /// Nothing is broken for sure, and a check lacks data.
    Inconclusive {
        /// Requests of the side with fewer.
        requests: u64,
        /// Requests needed on each side.
        min_requests: u64,
    },
}
