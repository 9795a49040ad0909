//! The database, then the job before everything else: nothing was started yet.

use model::{JobKind, Outcome};

use super::{Job, expand, job};
use crate::state::{Phase, State};
use crate::strategy;
use crate::view::{Turn, View};

pub(crate) fn advance(view: &View<'_>, state: &mut State) -> Turn {
    let before = match expand(view, state) {
        Job::Done => job(
            view,
            state,
            JobKind::Before,
            view.plan.policy.before.as_ref(),
        ),
        unready @ (Job::Waits(_) | Job::Failed(_)) => unready,
    };
    match before {
        Job::Waits(turn) => turn,
        Job::Failed(reason) => {
            Turn::Changed(state.turn_back(view.plan, Outcome::RolledBack, reason))
        }
        Job::Done => {
            let forward = strategy::choose(view.plan);
            let note = format!("begins: {}", forward.name());
            state.phase = Phase::Forward(forward);
            Turn::Changed(note)
        }
    }
}
