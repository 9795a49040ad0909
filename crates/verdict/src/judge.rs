//! The judgement itself: every bound of every check against both samples.

use model::{Check, Limit, Metric};

use crate::{Sample, Verdict, figure};

/// Judges the new release by `checks`, from both releases' figures over the same window.
///
/// A bound is looked at only once each side that it speaks of has had `min_requests`
/// (at least one): the new release for [`Limit::Max`], both for the comparisons. Until then, and
/// for a comparison without an old release, the check is inconclusive. One broken
/// bound fails whatever the others lack. Without checks the verdict is a pass.
///
/// A single failed request never breaks a ratio of error rates, and an old release
/// without failures is taken for one with a single failure: its sample shows no finer rate.
#[must_use]
pub fn judge(checks: &[Check], min_requests: u64, old: Option<&Sample>, new: &Sample) -> Verdict {
    let evidence = Evidence {
        min_requests: min_requests.max(1),
        old,
        new,
    };
    let mut reasons = Vec::new();
    let mut lacking: Option<u64> = None;
    for check in checks {
        for limit in &check.limits {
            match evidence.look(check.metric, *limit) {
                Finding::Holds => {}
                Finding::Broken(reason) => reasons.push(reason),
                Finding::Lacks(requests) => {
                    lacking = Some(lacking.map_or(requests, |least| least.min(requests)));
                }
            }
        }
    }
    match lacking {
        _ if !reasons.is_empty() => Verdict::Fail { reasons },
        Some(requests) => Verdict::Inconclusive {
            requests,
            min_requests: evidence.min_requests,
        },
        None => Verdict::Pass,
    }
}

/// What one bound says.
enum Finding {
    Holds,
    Broken(String),
    /// The side with fewer requests has so many.
    Lacks(u64),
}

impl Finding {
    fn of(broken: bool, reason: impl FnOnce() -> String) -> Self {
        if broken {
            Self::Broken(reason())
        } else {
            Self::Holds
        }
    }
}

struct Evidence<'a> {
    min_requests: u64,
    old: Option<&'a Sample>,
    new: &'a Sample,
}

/// A bound relative to the old release.
enum Against {
    Delta(u64),
    Ratio(u32),
}

impl Evidence<'_> {
    fn look(&self, metric: Metric, limit: Limit) -> Finding {
        match limit {
            Limit::Max(bound) => self.look_alone(metric, bound),
            Limit::MaxDelta(bound) => self.look_at_both(metric, &Against::Delta(bound)),
            Limit::MaxRatio(hundredths) => self.look_at_both(metric, &Against::Ratio(hundredths)),
        }
    }

    fn look_alone(&self, metric: Metric, bound: u64) -> Finding {
        let new = self.new;
        if new.requests < self.min_requests {
            return Finding::Lacks(new.requests);
        }
        let (broken, seen, bound) = if metric == Metric::ErrorRate {
            let broken = wide(new.failures) * 10_000 > wide(bound) * wide(new.requests);
            let seen = figure::rate_above(new, bound);
            (broken, seen, figure::percent(bound))
        } else {
            let Some(seen) = figure::latency(new, metric) else {
                return Finding::Lacks(0);
            };
            (seen > bound, figure::millis(seen), figure::millis(bound))
        };
        Finding::of(broken, || {
            let name = figure::name(metric);
            format!("{name} {seen} is above {bound} ({} requests)", new.requests)
        })
    }

    fn look_at_both(&self, metric: Metric, against: &Against) -> Finding {
        let Some(old) = self.old else {
            return Finding::Lacks(0);
        };
        let fewer = self.new.requests.min(old.requests);
        if fewer < self.min_requests {
            return Finding::Lacks(fewer);
        }
        let (broken, seen, before) = if metric == Metric::ErrorRate {
            let broken = self.rate_broken(old, against);
            (broken, figure::rate(self.new), figure::rate(old))
        } else {
            let both = figure::latency(self.new, metric).zip(figure::latency(old, metric));
            let Some((seen, before)) = both else {
                return Finding::Lacks(0);
            };
            let broken = latency_broken(seen, before, against);
            (broken, figure::millis(seen), figure::millis(before))
        };
        Finding::of(broken, || {
            let name = figure::name(metric);
            let by = match against {
                Against::Delta(bound) if metric == Metric::ErrorRate => {
                    format!("{} above", figure::percent(*bound))
                }
                Against::Delta(bound) => format!("{} above", figure::millis(*bound)),
                Against::Ratio(hundredths) => format!("{} times", figure::ratio(*hundredths)),
            };
            format!(
                "{name} {seen} is more than {by} the old release's {before} ({} and {} requests)",
                self.new.requests, old.requests
            )
        })
    }

    /// Compares over the product of both numbers of requests, so that nothing is rounded.
    fn rate_broken(&self, old: &Sample, against: &Against) -> bool {
        let new = self.new;
        let (mine, whole) = (wide(new.requests), wide(old.requests));
        match against {
            Against::Delta(bound) => {
                let seen = (wide(new.failures) * 10_000).saturating_mul(whole);
                let before = (wide(old.failures) * 10_000).saturating_mul(mine);
                let slack = (mine * whole).saturating_mul(wide(*bound));
                seen > before.saturating_add(slack)
            }
            Against::Ratio(hundredths) => {
                let seen = (wide(new.failures.saturating_sub(1)) * 100).saturating_mul(whole);
                let before = wide(old.failures.max(1)) * wide(u64::from(*hundredths));
                seen > before.saturating_mul(mine)
            }
        }
    }
}

fn latency_broken(seen: u64, before: u64, against: &Against) -> bool {
    match against {
        Against::Delta(bound) => seen > before.saturating_add(*bound),
        Against::Ratio(hundredths) => {
            wide(seen) * 100 > wide(before.max(1)) * wide(u64::from(*hundredths))
        }
    }
}

fn wide(figure: u64) -> u128 {
    u128::from(figure)
}

#[cfg(test)]
mod tests;
