//! Canary: traffic moves in steps, each watched by the checks.
//!
//! The instances of a step are available before its weight is published, its time counts from
//! the confirmed publication, and the old release keeps all its replicas until the new one has
//! all of its own and all traffic.

use model::{Audience, Share, Step, WaitingOn};
use serde::{Deserialize, Serialize};

use super::{Forward, finish, gets};
use crate::clock::{Stopwatch, millis};
use crate::phase::keep::without_data;
use crate::state::{Gate, Phase, Promoted, State};
use crate::view::{Turn, View};

/// What comes next in a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Stage {
    /// Its instances.
    Start,
    /// The confirmation of its weight.
    Publish,
    /// Its time, its verdict and its gate.
    Dwell,
}

/// The steps and the present one.
pub(crate) struct Place<'a> {
    pub(crate) steps: &'a [Step],
    /// From 0; the number of steps for the last move.
    pub(crate) step: usize,
}

impl Place<'_> {
    fn number(&self) -> u32 {
        u32::try_from(self.step)
            .unwrap_or(u32::MAX)
            .saturating_add(1)
    }

    fn of(&self) -> u32 {
        u32::try_from(self.steps.len()).unwrap_or(u32::MAX)
    }

    /// The audiences of the steps so far, each once.
    fn audiences(&self) -> Vec<Audience> {
        let mut audiences = Vec::new();
        for audience in self
            .steps
            .iter()
            .take(self.step + 1)
            .filter_map(|s| s.audience.as_ref())
        {
            if !audiences.contains(audience) {
                audiences.push(audience.clone());
            }
        }
        audiences
    }
}

/// The instances that a weight needs.
pub(crate) fn instances(weight: Share, replicas: u32) -> u32 {
    weight.of_count_up(replicas).max(1)
}

pub(crate) fn advance(view: &View<'_>, state: &mut State, at: &Place<'_>, stage: Stage) -> Turn {
    let Some(step) = at.steps.get(at.step) else {
        return last(view, state);
    };
    match stage {
        Stage::Start => start(view, state, at, step),
        Stage::Publish => publish(view, state, at),
        Stage::Dwell => dwell(view, state, at, step),
    }
}

fn enter(state: &mut State, step: usize, stage: Stage, note: String) -> Turn {
    state.phase = Phase::Forward(Forward::Canary { step, stage });
    Turn::Changed(note)
}

/// Asks for `wanted` instances; `None` once they are available.
fn raise(view: &View<'_>, state: &mut State, wanted: u32) -> Option<Turn> {
    if state.target.new < wanted {
        state.target.new = wanted;
        return Some(Turn::Changed(format!(
            "{wanted} of {} wanted",
            view.plan.to
        )));
    }
    (view.seen.new.available < wanted).then(|| view.until_new(wanted))
}

fn start(view: &View<'_>, state: &mut State, at: &Place<'_>, step: &Step) -> Turn {
    if let Some(turn) = raise(view, state, instances(step.weight, view.plan.replicas)) {
        return turn;
    }
    state.reach_for(step.weight.basis_points().into());
    if let Some(waits) = view.behind() {
        return waits;
    }
    state.ask_audiences(view, at.audiences());
    state.raise_share(step.weight);
    let note = format!(
        "step {} of {}: {}",
        at.number(),
        at.of(),
        gets(view, step.weight)
    );
    enter(state, at.step, Stage::Publish, note)
}

fn publish(view: &View<'_>, state: &mut State, at: &Place<'_>) -> Turn {
    if !view.settled(state) {
        return view.until_confirmed();
    }
    state.target.measure = view.has_checks().then_some(view.now);
    state.dwell = Stopwatch::default();
    let note = format!("step {} of {} begins", at.number(), at.of());
    enter(state, at.step, Stage::Dwell, note)
}

fn dwell(view: &View<'_>, state: &mut State, at: &Place<'_>, step: &Step) -> Turn {
    state.dwell.run(view.now);
    let pressed = state.promoted != Promoted::Nothing || view.hurried(state);
    let left = state.dwell.left(step.lasts, view.now);
    if !pressed && !left.is_zero() {
        return Turn::Waits(vec![WaitingOn::Step {
            step: at.number(),
            steps: at.of(),
            left_ms: millis(left),
        }]);
    }
    if step.approve && state.gate != Gate::Passed {
        if state.gate == Gate::Ahead {
            state.gate = Gate::Reached;
            return Turn::Changed(format!("step {} waits for approval", at.number()));
        }
        let number = Some(at.number());
        return Turn::Waits(vec![WaitingOn::Gate { step: number }]);
    }
    if !pressed && let Some(turn) = without_data(view, state) {
        return turn;
    }
    state.gate = Gate::Ahead;
    state.dwell = Stopwatch::default();
    if state.promoted == Promoted::Once {
        state.promoted = Promoted::Nothing;
    }
    let note = format!("step {} of {} is done", at.number(), at.of());
    enter(state, at.step + 1, Stage::Start, note)
}

fn last(view: &View<'_>, state: &mut State) -> Turn {
    if state.target.share < Share::ALL
        && let Some(turn) = raise(view, state, view.plan.replicas)
    {
        return turn;
    }
    finish(view, state)
}
