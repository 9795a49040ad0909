//! The way back to the old release.
//!
//! Traffic moves as fast as the old release's ready instances return and does not wait for all
//! of them to begin; the new instances go away as the old ones take over. It never turns round
//! again: what cannot be reached within the deadline is either taken as it is or given up, with
//! everything that serves left serving.

use model::{JobKind, Outcome, Share, WaitingOn};

use super::overlaps;
use crate::JobState;
use crate::state::{Phase, Return, State};
use crate::view::{Turn, View, until_available};

pub(crate) fn advance(view: &View<'_>, state: &mut State, way: &Return) -> Turn {
    state
        .target
        .jobs
        .retain(|job| view.seen.jobs.contains_key(job));
    if let Some(note) = converge(view, state, way) {
        return Turn::Changed(note);
    }
    let waits = waits(view, state, way);
    if waits.is_empty() {
        let reason = way.reason.clone();
        return Turn::Changed(state.end(way.outcome, reason));
    }
    if view.seen.old_trouble.is_none() && !way.clean {
        let clean = true;
        state.phase = Phase::Return(Return {
            clean,
            ..way.clone()
        });
    }
    match &view.seen.old_trouble {
        Some(trouble) if way.clean && view.seen.old.ready == 0 && needs_old(view, state, way) => {
            let reason = trouble.clone();
            Turn::Changed(give_up(view, state, way, &reason))
        }
        Some(_) | None => Turn::Waits(waits),
    }
}

/// Nothing more will come of the old release. With any of it ready that takes everything;
/// else whatever serves now is left serving, for a person to decide.
pub(crate) fn give_up(view: &View<'_>, state: &mut State, way: &Return, why: &str) -> String {
    let share = state.target.share;
    if share != Share::NONE && view.seen.old.ready > 0 && !way.at_once {
        let note = format!("the old release takes everything as it is: {why}");
        state.phase = Phase::Return(Return {
            at_once: true,
            ..way.clone()
        });
        return note;
    }
    let returned = share == Share::NONE && view.settled(state) && !needs_old(view, state, way);
    if returned {
        return state.end(way.outcome, format!("{}; {why}", way.reason));
    }
    let reason = format!("{}; the return failed, too: {why}", way.reason);
    state.end(Outcome::Failed, reason)
}

/// Moves instances and share as far as the facts allow.
fn converge(view: &View<'_>, state: &mut State, way: &Return) -> Option<String> {
    let before = state.target.clone();
    let size = view.plan.from_replicas.max(view.plan.replicas);
    state.target.share = share(view, state, way);
    if overlaps(view.plan) {
        if let Some(confirmed) = view.confirmed(state) {
            let needed = state.target.share.max(confirmed).of_count_up(size);
            state.target.new = state.target.new.min(needed);
        }
    } else {
        state.target.new = 0;
    }
    if overlaps(view.plan) || view.seen.new.running == 0 {
        state.target.old = view.plan.from.map_or(0, |_| view.plan.from_replicas);
    }
    let after = &state.target;
    if after.share != before.share {
        return Some(match (view.plan.from, view.plan.traffic) {
            (Some(from), true) => format!("{from} takes back {}", after.share.rest()),
            (Some(from), false) => format!("{from} takes over again"),
            (None, _) => "nothing serves any more".to_owned(),
        });
    }
    if after.new != before.new {
        return Some(format!("{} is reduced to {}", view.plan.to, after.new));
    }
    (after.old != before.old).then(|| format!("the old release is wanted at {}", after.old))
}

/// The share that the new release keeps for now: never more than before.
fn share(view: &View<'_>, state: &State, way: &Return) -> Share {
    let (plan, seen, now) = (view.plan, view.seen, state.target.share);
    if plan.from.is_none() || plan.from_replicas == 0 || abandons(view, way) {
        return Share::NONE;
    }
    if seen.old.ready == 0 {
        return now;
    }
    if seen.new.ready == 0 || way.at_once {
        return Share::NONE;
    }
    // An old release that the rollout took nothing from already carries what it carries; if some
    // of it is sick for reasons of its own, up to twice the usual load is better than leaving
    // users on a release that is being given up.
    let carries = if way.untouched {
        seen.old.ready.saturating_mul(2)
    } else {
        seen.old.ready
    };
    Share::of(carries, plan.from_replicas).rest().min(now)
}

/// Whether the old release is not waited for: it did not serve when the rollout began and does
/// not now, and nothing else serves that could be kept, or another deploy waits.
fn abandons(view: &View<'_>, way: &Return) -> bool {
    let dead = !view.plan.from_ready && view.seen.old.ready == 0;
    dead && (view.seen.new.ready == 0 || way.early)
}

/// Whether it cannot end before an instance of the old release is ready.
fn needs_old(view: &View<'_>, state: &State, way: &Return) -> bool {
    let lacking = view.plan.from.is_some()
        && view.plan.from_replicas > 0
        && (view.seen.old.ready == 0 || state.target.share != Share::NONE);
    let idle = !view.plan.from_ready && state.target.share == Share::NONE;
    lacking && !idle && !abandons(view, way)
}

fn waits(view: &View<'_>, state: &State, way: &Return) -> Vec<WaitingOn> {
    let mut waits = Vec::new();
    let running = |job: &&JobKind| view.seen.jobs.get(job) == Some(&JobState::Running);
    let jobs = state.target.jobs.iter().filter(running);
    waits.extend(jobs.map(|job| WaitingOn::Job { job: *job }));
    if let (Some(from), true) = (view.plan.from, needs_old(view, state, way)) {
        let wanted = view.plan.from_replicas;
        waits.push(until_available(from, &view.seen.old, wanted));
    }
    if !view.settled(state) {
        waits.extend(list(view.until_confirmed()));
    }
    let goes_on = way.early && overlaps(view.plan);
    if view.seen.new.running > state.target.new && !goes_on {
        waits.extend(list(view.until_gone(&view.seen.new)));
    }
    waits
}

fn list(turn: Turn) -> Vec<WaitingOn> {
    match turn {
        Turn::Waits(waits) => waits,
        Turn::Changed(_) => Vec::new(),
    }
}
