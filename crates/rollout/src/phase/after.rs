//! The new release has all traffic; the old one is still there until the job has passed.

use model::{JobKind, Outcome};

use super::{Job, job, keep, retire};
use crate::clock::Stopwatch;
use crate::state::{Phase, State};
use crate::view::{Turn, View};

pub(crate) fn advance(view: &View<'_>, state: &mut State) -> Turn {
    match job(view, state, JobKind::After, view.plan.policy.after.as_ref()) {
        Job::Waits(turn) => turn,
        Job::Failed(reason) => {
            Turn::Changed(state.turn_back(view.plan, Outcome::RolledBack, reason))
        }
        Job::Done => match keep::span(view.plan) {
            Some(span) => {
                state.phase = Phase::Keep;
                state.dwell = Stopwatch::default();
                Turn::Changed(format!(
                    "the old instances are kept warm for {} s: `gapless promote` ends that, `gapless abort` goes back",
                    span.as_secs()
                ))
            }
            None => retire::enter(view, state),
        },
    }
}
