//! Blue/green: a whole second set beside the old one, then one switch.

use model::{Blue, JobKind, Outcome, Share, WaitingOn};
use serde::{Deserialize, Serialize};

use super::steps::{self, Place, Way};
use super::{Forward, finish};
use crate::Plan;
use crate::phase::{Job, job};
use crate::state::{Gate, Phase, State};
use crate::view::{Turn, View};

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Stage {
    /// The second set.
    Start,
    /// Its preview and the command against it.
    Smoke,
    /// The steps before the switch.
    Step {
        /// From 0; the number of steps once all are done.
        step: usize,
        /// What comes next in it.
        stage: steps::Stage,
    },
    /// A person.
    Gate,
    /// The switch.
    Switch,
}

/// The size of the second set: that of the old one, so that it can take over at once.
pub(crate) fn size(plan: &Plan) -> u32 {
    match plan.from_replicas {
        0 => plan.replicas,
        replicas => replicas,
    }
}

pub(crate) fn advance(view: &View<'_>, state: &mut State, blue: &Blue, stage: Stage) -> Turn {
    match stage {
        Stage::Start => start(view, state, blue),
        Stage::Smoke => smoke(view, state, blue),
        Stage::Step { step, stage } => {
            let at = Place {
                way: Way::BlueGreen(blue.preview.as_ref()),
                steps: &blue.steps,
                step,
            };
            let turn = steps::advance(view, state, &at, stage);
            turn.unwrap_or_else(|| enter(state, Stage::Gate, "all steps are done"))
        }
        Stage::Gate => gate(state, blue),
        Stage::Switch => switch(view, state),
    }
}

fn enter(state: &mut State, stage: Stage, note: &str) -> Turn {
    state.phase = Phase::Forward(Forward::BlueGreen { stage });
    Turn::Changed(note.to_owned())
}

fn start(view: &View<'_>, state: &mut State, blue: &Blue) -> Turn {
    let size = size(view.plan);
    if state.target.new < size {
        state.target.new = size;
        return Turn::Changed(format!("{size} of {} wanted", view.plan.to));
    }
    if view.seen.new.available < size {
        return view.until_new(size);
    }
    state.ask_audiences(view, blue.preview.iter().cloned().collect());
    enter(state, Stage::Smoke, "the second set is ready")
}

fn smoke(view: &View<'_>, state: &mut State, blue: &Blue) -> Turn {
    if !view.settled(state) {
        return view.until_confirmed();
    }
    match job(view, state, JobKind::Smoke, blue.smoke.as_ref()) {
        Job::Waits(turn) => turn,
        Job::Failed(reason) => {
            Turn::Changed(state.turn_back(view.plan, Outcome::RolledBack, reason))
        }
        Job::Done => {
            let next = match blue.steps.is_empty() {
                true => Stage::Gate,
                false => Stage::Step {
                    step: 0,
                    stage: steps::Stage::Start,
                },
            };
            enter(state, next, "the second set is proven")
        }
    }
}

fn gate(state: &mut State, blue: &Blue) -> Turn {
    match (blue.approve, state.gate) {
        (true, Gate::Ahead) => {
            state.gate = Gate::Reached;
            Turn::Changed("the switch waits for approval".to_owned())
        }
        (true, Gate::Reached) => Turn::Waits(vec![WaitingOn::Gate { step: None }]),
        (true, Gate::Passed) | (false, _) => {
            state.gate = Gate::Ahead;
            enter(state, Stage::Switch, "the switch is due")
        }
    }
}

fn switch(view: &View<'_>, state: &mut State) -> Turn {
    // Time may have passed at the gate: the set must still be whole at the moment of the switch.
    let size = size(view.plan);
    if state.target.share < Share::ALL && view.seen.new.available < size {
        return view.until_new(size);
    }
    let turn = finish(view, state);
    if state.phase == Phase::After {
        state.target.new = view.plan.replicas;
        state.target.measure = view.has_checks(state).then_some(view.now);
    }
    turn
}
