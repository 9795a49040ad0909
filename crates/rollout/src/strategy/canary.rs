//! Canary: traffic moves in steps, each watched by the checks.
//!
//! The old release keeps all its replicas until the new one has all of its own and all traffic.

use model::Share;

use super::finish;
use super::steps::{self, Place, Stage, raise};
use crate::state::State;
use crate::view::{Turn, View};

pub(crate) fn advance(view: &View<'_>, state: &mut State, at: &Place<'_>, stage: Stage) -> Turn {
    match steps::advance(view, state, at, stage) {
        Some(turn) => turn,
        None => last(view, state),
    }
}

fn last(view: &View<'_>, state: &mut State) -> Turn {
    if state.target.share < Share::ALL
        && let Some(turn) = raise(view, state, view.plan.replicas)
    {
        return turn;
    }
    finish(view, state)
}
