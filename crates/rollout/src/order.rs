//! What a person can tell a running rollout.

use model::{Outcome, Time};

use crate::phase::retire;
use crate::state::{Gate, Held, HeldBy, Phase, Promoted, State};
use crate::strategy::{Forward, blue_green, steps};
use crate::{Order, Plan, Refused};

/// Carries out a person's order; decide afterwards with [`crate::step`].
///
/// The state knows what the rollout waits for, so that nothing needs to be observed.
/// Giving an order twice is giving it once, except that the second may be refused.
///
/// # Errors
///
/// [`Refused`] with the reason and what to do instead; nothing was changed.
pub fn order(plan: &Plan, state: &State, order: Order, now: Time) -> Result<State, Refused> {
    if let Some(ended) = state.ended() {
        return refuse(format!("the rollout has ended: {}", ended.outcome));
    }
    let mut next = state.clone();
    match order {
        Order::Promote { full } => promote(&mut next, full)?,
        Order::Hold => hold(&mut next, now)?,
        Order::Resume => resume(&mut next, now)?,
        Order::Approve => approve(&mut next)?,
        Order::Abort => abort(plan, &mut next)?,
        Order::Supersede => supersede(plan, &mut next),
    }
    Ok(next)
}

fn refuse<T>(why: impl Into<String>) -> Result<T, Refused> {
    Err(Refused(why.into()))
}

/// Whether it still goes forward; says why not.
fn forward(state: &State) -> Result<(), Refused> {
    match &state.phase {
        Phase::Before | Phase::Forward(_) | Phase::After | Phase::Keep => Ok(()),
        Phase::Retire => refuse("the new release has all traffic and the old one is going already"),
        Phase::Return(way) => refuse(format!("it returns to the old release: {}", way.reason)),
        Phase::Ended(ended) => refuse(format!("the rollout has ended: {}", ended.outcome)),
    }
}

fn promote(state: &mut State, full: bool) -> Result<(), Refused> {
    forward(state)?;
    if let Some(held) = &state.held {
        return refuse(format!("it is held: {}; resume it first", held.reason));
    }
    if full {
        state.promoted = Promoted::Full;
        return Ok(());
    }
    if state.gate == Gate::Reached {
        return refuse("it waits for approval; approve it");
    }
    match &state.phase {
        Phase::Keep
        | Phase::Forward(
            Forward::Canary {
                stage: steps::Stage::Dwell,
                ..
            }
            | Forward::BlueGreen {
                stage:
                    blue_green::Stage::Step {
                        stage: steps::Stage::Dwell,
                        ..
                    },
            },
        ) => {
            if state.promoted == Promoted::Nothing {
                state.promoted = Promoted::Once;
            }
            Ok(())
        }
        Phase::Before
        | Phase::Forward(_)
        | Phase::After
        | Phase::Retire
        | Phase::Return(_)
        | Phase::Ended(_) => refuse(
            "it waits for neither time nor data, so there is nothing that promoting could end",
        ),
    }
}

fn hold(state: &mut State, now: Time) -> Result<(), Refused> {
    forward(state)?;
    if let Some(held) = &state.held {
        return refuse(format!("it is held already: {}", held.reason));
    }
    state.dwell.pause(now);
    state.stall.watch.pause(now);
    state.held = Some(Held {
        reason: "by a person".to_owned(),
        by: HeldBy::Person,
    });
    Ok(())
}

/// Goes on. After a failure the evidence is gathered afresh and the deadline begins anew.
fn resume(state: &mut State, now: Time) -> Result<(), Refused> {
    forward(state)?;
    let Some(held) = state.held.take() else {
        return refuse("it is not held");
    };
    match held.by {
        HeldBy::Person => {}
        HeldBy::Failure => {
            state.stall.watch.restart(now);
            state.measure_afresh(now);
        }
    }
    Ok(())
}

fn approve(state: &mut State) -> Result<(), Refused> {
    forward(state)?;
    match state.gate {
        Gate::Reached => {
            state.gate = Gate::Passed;
            Ok(())
        }
        Gate::Ahead | Gate::Passed => refuse("it waits at no gate"),
    }
}

fn abort(plan: &Plan, state: &mut State) -> Result<(), Refused> {
    match &state.phase {
        Phase::Before | Phase::Forward(_) | Phase::After | Phase::Keep => {
            state.turn_back(plan, Outcome::Aborted, "aborted by a person".to_owned());
            Ok(())
        }
        Phase::Return(_) => Ok(()),
        Phase::Retire => refuse(match plan.from {
            Some(from) => format!(
                "{} has all traffic and the instances of {from} were told to stop; \
                 use `gapless rollback` to go back to {from}",
                plan.to
            ),
            None => format!("{} has all traffic and nothing was before it", plan.to),
        }),
        Phase::Ended(ended) => refuse(format!("the rollout has ended: {}", ended.outcome)),
    }
}

/// Another deploy takes its place. One that has passed the point of no return is done.
fn supersede(plan: &Plan, state: &mut State) {
    match &mut state.phase {
        Phase::Before | Phase::Forward(_) | Phase::After | Phase::Keep => {
            let reason = "another deploy takes its place".to_owned();
            state.turn_back(plan, Outcome::Superseded, reason);
        }
        Phase::Return(way) => way.early = true,
        Phase::Retire => {
            let reason = retire::completed(plan);
            state.end(Outcome::Completed, reason);
        }
        Phase::Ended(_) => {}
    }
}
