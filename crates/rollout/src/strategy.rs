//! How traffic moves to the new release: a closed set, one file each.

pub(crate) mod blue_green;
pub(crate) mod canary;
pub(crate) mod recreate;
pub(crate) mod rollback;
pub(crate) mod rolling;
pub(crate) mod steps;

use std::time::Duration;

use model::{Blue, RolloutKind, Strategy};
use serde::{Deserialize, Serialize};

use crate::Plan;
use crate::state::{Phase, State};
use crate::view::{Turn, View};

/// A strategy and how far it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "strategy", rename_all = "snake_case")]
pub(crate) enum Forward {
    /// Batches.
    Rolling,
    /// A second set and one switch.
    BlueGreen {
        /// What comes next.
        stage: blue_green::Stage,
    },
    /// Steps.
    Canary {
        /// The step, from 0; the number of steps for the last move.
        step: usize,
        /// What comes next in it.
        stage: steps::Stage,
    },
    /// Stop, then start.
    Recreate,
    /// Full size and one switch: a rollback, or a first deploy.
    Rollback,
}

impl Forward {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Rolling => "rolling",
            Self::BlueGreen { .. } => "blue/green",
            Self::Canary { .. } => "canary",
            Self::Recreate => "recreate",
            Self::Rollback => "full size and one switch",
        }
    }
}

/// The way this plan goes.
pub(crate) fn choose(plan: &Plan) -> Forward {
    let whole = plan.from.is_none() || plan.kind == RolloutKind::Rollback;
    match plan.policy.strategy {
        Strategy::Recreate => Forward::Recreate,
        Strategy::Rolling { .. } | Strategy::BlueGreen(_) | Strategy::Canary { .. } if whole => {
            Forward::Rollback
        }
        Strategy::Rolling { .. } => Forward::Rolling,
        Strategy::BlueGreen(_) => Forward::BlueGreen {
            stage: blue_green::Stage::Start,
        },
        Strategy::Canary { .. } => Forward::Canary {
            step: 0,
            stage: steps::Stage::Start,
        },
    }
}

pub(crate) fn advance(view: &View<'_>, state: &mut State, forward: Forward) -> Turn {
    match (forward, &view.plan.policy.strategy) {
        (
            Forward::Rolling,
            Strategy::Rolling {
                surge,
                max_unavailable,
                batch,
            },
        ) => {
            let bounds = rolling::Bounds::new(view.plan, *surge, *max_unavailable, *batch);
            rolling::advance(view, state, &bounds)
        }
        (Forward::BlueGreen { stage }, Strategy::BlueGreen(blue)) => {
            blue_green::advance(view, state, blue, stage)
        }
        (Forward::Canary { step, stage }, Strategy::Canary { steps }) => {
            let way = steps::Way::Canary;
            let at = steps::Place { way, steps, step };
            canary::advance(view, state, &at, stage)
        }
        (Forward::Recreate, _) => recreate::advance(view, state),
        // A plan's policy never changes; a journal that says otherwise is finished in the way
        // that every plan allows.
        (
            Forward::Rollback
            | Forward::Rolling
            | Forward::BlueGreen { .. }
            | Forward::Canary { .. },
            _,
        ) => rollback::advance(view, state),
    }
}

/// The time that the present stage lasts, if it lasts a time.
pub(crate) fn span(plan: &Plan, forward: &Forward) -> Option<Duration> {
    match (forward, &plan.policy.strategy) {
        (
            Forward::Canary {
                step,
                stage: steps::Stage::Dwell,
            },
            Strategy::Canary { steps },
        )
        | (
            Forward::BlueGreen {
                stage:
                    blue_green::Stage::Step {
                        step,
                        stage: steps::Stage::Dwell,
                    },
            },
            Strategy::BlueGreen(Blue { steps, .. }),
        ) => steps.get(*step).map(|step| step.lasts),
        (
            Forward::Rolling
            | Forward::BlueGreen { .. }
            | Forward::Canary { .. }
            | Forward::Recreate
            | Forward::Rollback,
            _,
        ) => None,
    }
}

/// Where a failure happened, to be put before its reason.
pub(crate) fn place(plan: &Plan, state: &State) -> String {
    match (&state.phase, &plan.policy.strategy) {
        (Phase::Forward(Forward::Canary { step, .. }), Strategy::Canary { steps })
        | (
            Phase::Forward(Forward::BlueGreen {
                stage: blue_green::Stage::Step { step, .. },
            }),
            Strategy::BlueGreen(Blue { steps, .. }),
        ) if *step < steps.len() => {
            format!("step {} of {}: ", step + 1, steps.len())
        }
        (
            Phase::Before
            | Phase::Forward(_)
            | Phase::After
            | Phase::Keep
            | Phase::Retire
            | Phase::Return(_)
            | Phase::Ended(_),
            _,
        ) => String::new(),
    }
}

/// Moves everything once `enough` of the new release is there, then hands over to what follows
/// when the new release has all traffic. Every strategy ends with this.
pub(crate) fn finish(view: &View<'_>, state: &mut State) -> Turn {
    use model::Share;

    if state.target.share < Share::ALL {
        state.reach_for(Share::ALL.basis_points().into());
        if let Some(waits) = view.behind() {
            return waits;
        }
        state.raise_share(Share::ALL);
        return Turn::Changed(gets(view, Share::ALL));
    }
    if !view.settled(state) {
        return view.until_confirmed();
    }
    state.phase = Phase::After;
    Turn::Changed(crate::phase::retire::completed(view.plan))
}

/// What moves, in words.
pub(crate) fn gets(view: &View<'_>, share: model::Share) -> String {
    let to = view.plan.to;
    if view.plan.traffic {
        format!("{share} of the traffic goes to {to}")
    } else {
        format!("{to} takes over {share} of the work")
    }
}
