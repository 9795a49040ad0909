//! What a decision is made from, and the questions asked of it.

use std::time::Duration;

use model::{ReleaseId, Share, Strategy, Time, WaitingOn};
use verdict::{Figures, Verdict};

use crate::clock::millis;
use crate::state::{Promoted, State};
use crate::{Comparison, Counts, Observation, Peers, Plan, ShadowTarget};

/// The facts of one step.
pub(crate) struct View<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) seen: &'a Observation,
    pub(crate) now: Time,
}

/// What a look at the facts comes to.
#[derive(Debug)]
pub(crate) enum Turn {
    /// Something was decided, in a sentence for the log. Look again.
    Changed(String),
    /// Nothing can be decided until one of these changes; never empty.
    Waits(Vec<WaitingOn>),
}

impl View<'_> {
    /// Whether every proxy thread has what was asked for. Without traffic there is nothing to confirm.
    pub(crate) fn settled(&self, state: &State) -> bool {
        let newer = state.asked.is_none_or(|asked| self.seen.revision > asked);
        !self.plan.traffic || (newer && self.seen.share_confirmed == Some(state.target.share))
    }

    /// The share that requests may still be split by.
    pub(crate) fn confirmed(&self, state: &State) -> Option<Share> {
        if self.plan.traffic {
            self.seen.share_confirmed
        } else {
            Some(state.target.share)
        }
    }

    /// Whether waits of time and data are to be passed over: a person said so, or the old
    /// release serves nobody and did not when this began, so that waiting only hurts.
    pub(crate) fn hurried(&self, state: &State) -> bool {
        let nobody_served = !self.plan.from_ready && self.seen.old.ready == 0;
        state.promoted == Promoted::Full || nobody_served
    }

    /// What the evidence since the begin of the present window says. Figures of an older
    /// window say nothing.
    pub(crate) fn verdict(&self, state: &State) -> Verdict {
        let policy = &self.plan.policy;
        let figures = self.measured(state).cloned().unwrap_or_default();
        let old = self.plan.from.map(|_| &figures.old);
        let checks = match self.has_checks(state) {
            true => &policy.checks[..],
            false => &[],
        };
        let judged = verdict::judge(checks, policy.min_requests, old, &figures.new);
        match &state.target.shadow {
            Some(shadow) => judged.and(compared(shadow, &figures)),
            None => judged,
        }
    }

    /// The figures of the present window, once there are any.
    pub(crate) fn measured(&self, state: &State) -> Option<&Comparison> {
        let since = state.target.measure?;
        let figures = self.seen.comparison.as_ref();
        figures.filter(|figures| figures.since >= since)
    }

    /// Whether anything is to be measured.
    pub(crate) fn watches(&self, state: &State) -> bool {
        let shadow = state.target.shadow.as_ref();
        let compares = shadow.is_some_and(|shadow| shadow.policy.compare.is_some());
        compares || self.has_checks(state)
    }

    /// Whether the checks can say anything: some users are, or will be, on the new release.
    pub(crate) fn has_checks(&self, state: &State) -> bool {
        let checks = &self.plan.policy.checks;
        let exposed = match self.plan.policy.strategy {
            Strategy::Canary { .. } => {
                state.target.share > Share::NONE || !state.target.audiences.is_empty()
            }
            Strategy::Rolling { .. } | Strategy::BlueGreen(_) | Strategy::Recreate => {
                state.target.share > Share::NONE
            }
        };
        exposed && self.plan.traffic && self.plan.from.is_some() && !checks.is_empty()
    }

    /// The lockstep partners to wait for, if any.
    pub(crate) fn behind(&self) -> Option<Turn> {
        match &self.seen.peers {
            Peers::Behind(services) if !services.is_empty() => {
                let services = services.clone();
                Some(Turn::Waits(vec![WaitingOn::Services { services }]))
            }
            Peers::Behind(_) | Peers::Free | Peers::Failed(_) => None,
        }
    }

    /// The new release still lacks some of `wanted`.
    pub(crate) fn until_new(&self, wanted: u32) -> Turn {
        Turn::Waits(vec![until_available(self.plan.to, &self.seen.new, wanted)])
    }

    pub(crate) fn until_confirmed(&self) -> Turn {
        Turn::Waits(vec![WaitingOn::Confirmed {
            revision: self.seen.revision,
            overdue: self.seen.confirm_overdue,
        }])
    }

    /// Instances of a release that is not wanted any more are still there.
    pub(crate) fn until_gone(&self, counts: &Counts) -> Turn {
        let drains = counts.open_requests > 0 || self.seen.exiting.is_empty();
        Turn::Waits(vec![if drains {
            WaitingOn::Drain {
                open_requests: counts.open_requests,
                left_ms: millis(counts.drain_left.unwrap_or(Duration::ZERO)),
            }
        } else {
            WaitingOn::Exit {
                instances: self.seen.exiting.clone(),
            }
        }])
    }
}

/// What comparing answers says; figures of another shadow say nothing.
fn compared(shadow: &ShadowTarget, figures: &Comparison) -> Verdict {
    let Some(rule) = &shadow.policy.compare else {
        return Verdict::Pass;
    };
    match &figures.compared {
        Some((key, figures)) if *key == shadow.key => verdict::judge_compared(rule, figures),
        Some(_) | None => verdict::judge_compared(rule, &Figures::default()),
    }
}

/// The release still lacks available instances.
pub(crate) fn until_available(release: ReleaseId, counts: &Counts, wanted: u32) -> WaitingOn {
    match counts.available_in {
        Some(left) if counts.ready >= wanted && counts.available < wanted => WaitingOn::MinReady {
            release,
            left_ms: millis(left),
        },
        Some(_) | None => WaitingOn::Ready {
            release,
            ready: counts.ready.min(wanted),
            wanted,
        },
    }
}
