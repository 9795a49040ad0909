//! The old instances are told to go; from here there is no way back but a new rollout.

use model::{Outcome, Share};

use crate::state::{Phase, REACH_RETIRE, State};
use crate::view::{Turn, View};
use crate::{Peers, Plan};

/// Whether its lockstep partners may already have let their old releases go because this one was
/// ready to: then it has no way back either, whatever it sees now.
pub(crate) fn is_bound(view: &View<'_>, state: &State) -> bool {
    let agreed = state.reach() == REACH_RETIRE && view.seen.peers == Peers::Free;
    agreed && state.held.is_none()
}

/// Lets the old release go, once the lockstep partners are as far.
pub(crate) fn enter(view: &View<'_>, state: &mut State) -> Turn {
    state.reach_for(REACH_RETIRE);
    if let Some(waits) = view.behind() {
        return waits;
    }
    state.phase = Phase::Retire;
    state.target.old = 0;
    state.target.measure = None;
    Turn::Changed(match view.plan.from {
        Some(from) => format!("{from} is drained and stopped"),
        None => format!("{} serves", view.plan.to),
    })
}

pub(crate) fn advance(view: &View<'_>, state: &mut State) -> Turn {
    debug_assert_eq!(
        state.target.share,
        Share::ALL,
        "the old release still has traffic"
    );
    if view.seen.old.running > 0 {
        return view.until_gone(&view.seen.old);
    }
    let reason = completed(view.plan);
    Turn::Changed(state.end(Outcome::Completed, reason))
}

/// The old instances do not go away. The new release has all traffic, so it is done all the same.
pub(crate) fn give_up(view: &View<'_>, state: &mut State, why: &str) -> String {
    let reason = format!("{}, but {why}", completed(view.plan));
    state.end(Outcome::Completed, reason)
}

pub(crate) fn completed(plan: &Plan) -> String {
    if plan.traffic {
        format!("{} has all traffic", plan.to)
    } else {
        format!("{} has all the work", plan.to)
    }
}
