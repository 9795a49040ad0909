//! Steps: each has its instances, its weight or shadow, its time, its verdict and its gate.
//!
//! The instances of a step are available before its weight is published, and its time counts
//! from the confirmed publication. A shadow gets copies from the publication on, and none any
//! more once the step is done.

use model::{Audience, Share, Step, WaitingOn};
use serde::{Deserialize, Serialize};

use super::{Forward, blue_green, gets};
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
    /// The confirmation of its weight and shadow.
    Publish,
    /// Its time, its verdict and its gate.
    Dwell,
}

/// Whose steps they are.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Way<'a> {
    /// The canary's own.
    Canary,
    /// Those before the switch, while these users see the new set already.
    BlueGreen(Option<&'a Audience>),
}

/// The steps and the present one.
pub(crate) struct Place<'a> {
    pub(crate) way: Way<'a>,
    pub(crate) steps: &'a [Step],
    /// From 0; the number of steps for what follows them.
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

    /// The audiences so far, each once.
    fn audiences(&self) -> Vec<Audience> {
        let mut audiences = Vec::new();
        let shown = match self.way {
            Way::Canary => None,
            Way::BlueGreen(preview) => preview,
        };
        let steps = self.steps.iter().take(self.step + 1);
        let added = steps.filter_map(|step| step.audience.as_ref());
        for audience in shown.into_iter().chain(added) {
            if !audiences.contains(audience) {
                audiences.push(audience.clone());
            }
        }
        audiences
    }

    fn enter(&self, state: &mut State, (step, stage): (usize, Stage), note: String) -> Turn {
        state.phase = Phase::Forward(match self.way {
            Way::Canary => Forward::Canary { step, stage },
            Way::BlueGreen(_) => Forward::BlueGreen {
                stage: blue_green::Stage::Step { step, stage },
            },
        });
        Turn::Changed(note)
    }
}

/// The instances that a weight needs.
pub(crate) fn instances(weight: Share, replicas: u32) -> u32 {
    weight.of_count_up(replicas).max(1)
}

/// Goes on with the present step; `None` when all are done.
pub(crate) fn advance(
    view: &View<'_>,
    state: &mut State,
    at: &Place<'_>,
    stage: Stage,
) -> Option<Turn> {
    let step = at.steps.get(at.step)?;
    Some(match stage {
        Stage::Start => start(view, state, at, step),
        Stage::Publish => publish(view, state, at),
        Stage::Dwell => dwell(view, state, at, step),
    })
}

/// Asks for `wanted` instances; `None` once they are available.
pub(crate) fn raise(view: &View<'_>, state: &mut State, wanted: u32) -> Option<Turn> {
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
    state.ask_shadow(view, at.number(), step.shadow.as_ref());
    state.raise_share(step.weight);
    let mut note = format!("step {} of {}", at.number(), at.of());
    if step.weight > Share::NONE || step.shadow.is_none() {
        note += &format!(": {}", gets(view, step.weight));
    }
    if let Some(shadow) = &step.shadow {
        note += &format!(": {} gets copies of {}", view.plan.to, shadow.share);
    }
    at.enter(state, (at.step, Stage::Publish), note)
}

fn publish(view: &View<'_>, state: &mut State, at: &Place<'_>) -> Turn {
    if !view.settled(state) {
        return view.until_confirmed();
    }
    state.target.measure = view.watches(state).then_some(view.now);
    state.dwell = Stopwatch::default();
    let note = format!("step {} of {} begins", at.number(), at.of());
    at.enter(state, (at.step, Stage::Dwell), note)
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
    if state.target.shadow.take().is_some() && !view.has_checks(state) {
        state.target.measure = None;
    }
    if state.promoted == Promoted::Once {
        state.promoted = Promoted::Nothing;
    }
    let note = format!("step {} of {} is done", at.number(), at.of());
    at.enter(state, (at.step + 1, Stage::Start), note)
}
