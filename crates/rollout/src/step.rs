//! One decision: look, decide as long as something can be decided, say what is waited for.

use std::time::Duration;

use model::{OnFail, Outcome, RolloutKind, Share, Time, WaitingOn};
use verdict::Verdict;

use crate::clock::{millis, spell};
use crate::phase::{after, before, keep, retire, returning};
use crate::state::{Held, HeldBy, Phase, Promoted, State};
use crate::strategy;
use crate::view::{Turn, View};
use crate::{Counts, Decision, Observation, Peers, Plan, Target};

/// More decisions than one observation can lead to.
const TURNS_MAX: usize = 10_000;

/// Decides what should be true now.
///
/// Deciding again from the returned state, the same observation and the same time changes nothing.
/// Every decision only goes onward (towards the new release, or, once it returns, towards the old
/// one), so a rollout whose waits are not for a person, a partner or data ends in bounded time.
/// A hold stops what goes forward, never what protects: a failure still leads back when the policy
/// says so.
///
/// # Panics
///
/// Never by what is seen; only if the decisions from one observation would not end, our own fault.
#[must_use]
pub fn step(plan: &Plan, state: &State, seen: &Observation, now: Time) -> Decision {
    let view = View { plan, seen, now };
    let had_ended = state.ended().is_some();
    let mut state = state.clone();
    let mut notes = Vec::new();
    let waiting_on = loop {
        notice_progress(&view, &mut state);
        match turn(&view, &mut state) {
            Turn::Changed(note) => {
                notes.push(note);
                state.stall.watch.restart(now);
            }
            Turn::Waits(waits) => match overdue(&view, &mut state, &waits) {
                Some(note) => {
                    notes.push(note);
                    state.stall.watch.restart(now);
                }
                None => break waits,
            },
        }
        assert!(
            notes.len() < TURNS_MAX,
            "deciding goes on and on: {state:?}"
        );
    };
    if state.ended().is_some() && !had_ended {
        // The last one is the end, which `ended` tells.
        notes.pop();
    }
    let limit = patience(plan, &waiting_on);
    match limit {
        Some(_) => state.stall.watch.run(now),
        None => state.stall.watch.pause(now),
    }
    Decision {
        target: target(plan, &state),
        wake: wake(&view, &state, limit),
        ended: state.ended().cloned(),
        waiting_on,
        notes,
        state,
    }
}

/// What the place is asked for: without traffic there is no share to publish.
fn target(plan: &Plan, state: &State) -> Target {
    let mut target = state.target.clone();
    if !plan.traffic {
        target.share = Share::NONE;
        target.audiences = Vec::new();
    }
    target
}

fn turn(view: &View<'_>, state: &mut State) -> Turn {
    match &state.phase {
        Phase::Ended(_) => return Turn::Waits(Vec::new()),
        Phase::Return(way) => {
            let way = way.clone();
            return returning::advance(view, state, &way);
        }
        Phase::Retire => return retire::advance(view, state),
        Phase::Before | Phase::Forward(_) | Phase::After | Phase::Keep => {}
    }
    if retire::is_bound(view, state) {
        return retire::enter(view, state);
    }
    if let Some(note) = protect(view, state) {
        return Turn::Changed(note);
    }
    if let Some(held) = &state.held {
        let reason = held.reason.clone();
        return Turn::Waits(vec![WaitingOn::Held { reason }]);
    }
    match state.phase.clone() {
        Phase::Before => before::advance(view, state),
        Phase::Forward(forward) => strategy::advance(view, state, forward),
        Phase::After => after::advance(view, state),
        Phase::Keep => keep::advance(view, state),
        Phase::Retire | Phase::Return(_) | Phase::Ended(_) => Turn::Waits(Vec::new()),
    }
}

/// What leads back at any moment before the old release is let go.
fn protect(view: &View<'_>, state: &mut State) -> Option<String> {
    if let Peers::Failed(reason) = &view.seen.peers {
        let reason = format!("a service of the same deploy returns: {reason}");
        return Some(state.turn_back(view.plan, Outcome::RolledBack, reason));
    }
    let failed_already = matches!(&state.held, Some(held) if held.by == HeldBy::Failure);
    if failed_already {
        return None;
    }
    if let Some(trouble) = &view.seen.trouble {
        let reason = format!("{} cannot run: {trouble}", view.plan.to);
        return Some(fail(view, state, reason));
    }
    state.target.measure?;
    match view.verdict(state) {
        Verdict::Fail { reasons } => {
            let at = strategy::place(view.plan, state);
            Some(fail(view, state, format!("{at}{}", reasons.join("; "))))
        }
        Verdict::Pass | Verdict::Inconclusive { .. } => None,
    }
}

/// Follows the policy's word on failures.
fn fail(view: &View<'_>, state: &mut State, reason: String) -> String {
    let on_fail = match view.plan.kind {
        RolloutKind::Deploy => view.plan.policy.on_fail,
        RolloutKind::Rollback => OnFail::Rollback,
    };
    match on_fail {
        OnFail::Rollback => state.turn_back(view.plan, Outcome::RolledBack, reason),
        OnFail::Hold => {
            let note = format!("held: {reason}");
            state.dwell.pause(view.now);
            state.held = Some(Held {
                reason,
                by: HeldBy::Failure,
            });
            note
        }
    }
}

/// More serving instances of the release moved to, or fewer of the one moved from, are progress.
fn notice_progress(view: &View<'_>, state: &mut State) {
    let (coming, leaving) = match &state.phase {
        Phase::Return(_) => (view.seen.old.ready, view.seen.new.running),
        Phase::Before
        | Phase::Forward(_)
        | Phase::After
        | Phase::Keep
        | Phase::Retire
        | Phase::Ended(_) => (view.seen.new.available, view.seen.old.running),
    };
    let stall = &mut state.stall;
    if coming > stall.most || leaving < stall.fewest {
        stall.most = stall.most.max(coming);
        stall.fewest = stall.fewest.min(leaving);
        stall.watch.restart(view.now);
    }
}

/// Acts on a missed deadline.
fn overdue(view: &View<'_>, state: &mut State, waits: &[WaitingOn]) -> Option<String> {
    let limit = patience(view.plan, waits)?;
    if state.stall.watch.elapsed(view.now) < limit {
        return None;
    }
    let waits: Vec<String> = waits.iter().map(WaitingOn::to_string).collect();
    let reason = format!("no progress for {}: {}", spell(limit), waits.join(", "));
    match &state.phase {
        Phase::Return(way) => {
            let way = way.clone();
            Some(returning::give_up(view, state, &way, &reason))
        }
        Phase::Retire => Some(retire::give_up(view, state, &reason)),
        Phase::Before | Phase::Forward(_) | Phase::After | Phase::Keep => {
            Some(fail(view, state, reason))
        }
        Phase::Ended(_) => None,
    }
}

/// How long these waits may go without progress; `None` when none of them is bounded by it:
/// people, data, jobs and partners have their own bounds or none.
fn patience(plan: &Plan, waits: &[WaitingOn]) -> Option<Duration> {
    let deadline = plan.policy.deadline;
    let limits = waits.iter().filter_map(|wait| match wait {
        WaitingOn::Ready { .. } | WaitingOn::MinReady { .. } | WaitingOn::Confirmed { .. } => {
            Some(deadline)
        }
        WaitingOn::Drain { .. } | WaitingOn::Exit { .. } => {
            Some(deadline.saturating_add(plan.drain))
        }
        WaitingOn::Step { .. }
        | WaitingOn::Gate { .. }
        | WaitingOn::Verdict { .. }
        | WaitingOn::Keep { .. }
        | WaitingOn::Job { .. }
        | WaitingOn::Schema { .. }
        | WaitingOn::Held { .. }
        | WaitingOn::Services { .. }
        | WaitingOn::Journal { .. } => None,
    });
    limits.max()
}

/// The next time at which time alone changes the decision.
fn wake(view: &View<'_>, state: &State, limit: Option<Duration>) -> Option<Time> {
    let now = view.now;
    let next = |wait: Duration| now.after(Duration::from_millis(millis(wait).max(1)));
    let ripens = |counts: &Counts| counts.available_in.map(next);
    let deadline = limit.and_then(|limit| state.stall.watch.end_of(limit, now));
    let dwelling = match &state.phase {
        Phase::Ended(_) => return None,
        Phase::Keep => keep::span(view.plan),
        Phase::Forward(forward) => strategy::span(view.plan, forward),
        Phase::Before | Phase::After | Phase::Retire | Phase::Return(_) => None,
    };
    let dwelt = dwelling
        .filter(|_| state.promoted == Promoted::Nothing)
        .and_then(|span| state.dwell.end_of(span, now));
    [deadline, dwelt, ripens(&view.seen.new)]
        .into_iter()
        .flatten()
        .filter(|time| *time > now)
        .min()
}
