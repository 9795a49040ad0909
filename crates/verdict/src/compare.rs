//! The answers of both releases to the same request, compared without anybody having seen the
//! new one.
//!
//! A request is answered three times: by the old release, by the old one again, and by the new
//! one. What differs between the two old answers is noise, and differs for reasons of its own.
//! The same holds over many requests: where nothing has changed each of the three answers is as
//! likely to be the odd one out, so a field that is noise is seen to differ between the old ones
//! twice as often as it is seen to differ in the new one alone.

mod difference;
mod json;
mod tally;
mod template;

pub use difference::{Answer, Body, Found, Reply, compare};
pub use tally::{Figures, Tally};
pub use template::route;

use model::Compare;

use crate::{Verdict, figure};

/// Judges the new release by what the comparisons found so far.
///
/// It fails as soon as more requests differ than `at_most` allows of `samples`, or of those
/// compared if they are more; it can pass once `samples` were compared.
#[must_use]
pub fn judge_compared(rule: &Compare, figures: &Figures) -> Verdict {
    let base = figures.compared.max(rule.samples);
    let at_most = u64::from(rule.at_most.basis_points());
    let allowed = u128::from(at_most) * u128::from(base);
    if u128::from(figures.differing) * 10_000 > allowed {
        let mut reason = format!(
            "{} of {} compared requests differ, more than {}",
            figures.differing,
            figures.compared,
            figure::percent(at_most)
        );
        if let Some(worst) = &figures.worst {
            reason.push_str(": ");
            reason.push_str(worst);
        }
        return Verdict::Fail {
            reasons: vec![reason],
        };
    }
    if figures.compared < rule.samples {
        return Verdict::Inconclusive {
            requests: figures.compared,
            min_requests: rule.samples,
        };
    }
    Verdict::Pass
}

#[cfg(test)]
mod tests;
