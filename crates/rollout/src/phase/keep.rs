//! Blue/green keeps the old set warm: the way back is one publication.

use std::time::Duration;

use model::{OnNoData, Outcome, RolloutKind, Strategy, WaitingOn};
use verdict::Verdict;

use super::retire;
use crate::Plan;
use crate::clock::millis;
use crate::state::{Promoted, State};
use crate::view::{Turn, View};

/// How long the old set is kept; `None` when there is nothing to keep.
pub(crate) fn span(plan: &Plan) -> Option<Duration> {
    plan.from?;
    match (&plan.policy.strategy, plan.kind) {
        (Strategy::BlueGreen(blue), RolloutKind::Deploy) => Some(blue.keep),
        (
            Strategy::BlueGreen(_)
            | Strategy::Rolling { .. }
            | Strategy::Canary { .. }
            | Strategy::Recreate,
            RolloutKind::Deploy | RolloutKind::Rollback,
        ) => None,
    }
}

pub(crate) fn advance(view: &View<'_>, state: &mut State) -> Turn {
    state.dwell.run(view.now);
    let pressed = state.promoted != Promoted::Nothing || view.hurried(state);
    let left = state
        .dwell
        .left(span(view.plan).unwrap_or_default(), view.now);
    if !pressed && !left.is_zero() {
        let left_ms = millis(left);
        return Turn::Waits(vec![WaitingOn::Keep { left_ms }]);
    }
    if !pressed && let Some(turn) = without_data(view, state) {
        return turn;
    }
    if view.seen.new.available < view.plan.replicas {
        return view.until_new(view.plan.replicas);
    }
    retire::enter(view, state)
}

/// What follows when a time of watching ends without enough data; `None`: go on.
///
/// The policy's word is for figures that are too few; without any the place has not measured
/// yet, and that is waited for.
pub(crate) fn without_data(view: &View<'_>, state: &mut State) -> Option<Turn> {
    if !view.watches(state) {
        return None;
    }
    let (requests, min_requests) = match view.verdict(state) {
        Verdict::Pass | Verdict::Fail { .. } => return None,
        Verdict::Inconclusive {
            requests,
            min_requests,
        } => (requests, min_requests),
    };
    let wait = WaitingOn::Verdict {
        requests,
        min_requests,
    };
    match (view.plan.policy.on_no_data, view.measured(state)) {
        (OnNoData::Promote, Some(_)) => None,
        (OnNoData::Hold, _) | (OnNoData::Promote | OnNoData::Rollback, None) => {
            Some(Turn::Waits(vec![wait]))
        }
        (OnNoData::Rollback, Some(_)) => {
            let reason = format!("no verdict: {requests} of {min_requests} requests");
            let note = state.turn_back(view.plan, Outcome::RolledBack, reason);
            Some(Turn::Changed(note))
        }
    }
}
