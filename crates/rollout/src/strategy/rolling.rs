//! Rolling: instances are replaced in batches.
//!
//! The old count shrinks only as new instances are available, in the same table that raises the
//! new share, so that every ready endpoint has its part at every moment. The last batch first
//! takes all traffic; the old instances that are left go only after that.

use model::{Count, Share};

use super::{finish, gets};
use crate::Plan;
use crate::state::State;
use crate::view::{Turn, View};

/// The counts within which a plan moves.
pub(crate) struct Bounds {
    /// Processes of both releases, the ones that drain included.
    pub(crate) running_max: u32,
    /// Instances that serve, of both releases.
    pub(crate) ready_min: u32,
    /// Replaced at a time.
    pub(crate) batch: u32,
}

impl Bounds {
    pub(crate) fn new(
        plan: &Plan,
        surge: Count,
        max_unavailable: Count,
        batch: Option<Count>,
    ) -> Self {
        let (fewer, more) = if plan.from_replicas < plan.replicas {
            (plan.from_replicas, plan.replicas)
        } else {
            (plan.replicas, plan.from_replicas)
        };
        let batch = batch.map_or(u32::MAX, |batch| batch.up(plan.replicas).max(1));
        let unavailable = max_unavailable.down(plan.replicas).min(batch);
        // Percentages can round to nothing on both sides, and something has to move.
        let surge = match surge.up(plan.replicas) {
            0 if unavailable == 0 => 1,
            surge => surge,
        };
        Self {
            running_max: more.saturating_add(surge),
            ready_min: fewer.saturating_sub(unavailable),
            batch,
        }
    }
}

pub(crate) fn advance(view: &View<'_>, state: &mut State, bounds: &Bounds) -> Turn {
    let (old, new) = (&view.seen.old, &view.seen.new);
    let room = bounds
        .running_max
        .saturating_sub(old.running.max(state.target.old));
    let batch = new.available.saturating_add(bounds.batch);
    let wanted = view.plan.replicas.min(room).min(batch);
    if wanted > state.target.new {
        state.target.new = wanted;
        let to = view.plan.to;
        return Turn::Changed(format!("{wanted} of {} of {to} wanted", view.plan.replicas));
    }
    watch(view, state);
    if new.available >= view.plan.replicas {
        return finish(view, state);
    }
    if let Some(turn) = replace(view, state, bounds) {
        return turn;
    }
    if new.available < state.target.new {
        view.until_new(state.target.new)
    } else if old.running > state.target.old {
        view.until_gone(old)
    } else {
        view.until_new(view.plan.replicas)
    }
}

/// Gives the available instances their part of the traffic and lets as many old ones go.
fn replace(view: &View<'_>, state: &mut State, bounds: &Bounds) -> Option<Turn> {
    let available = view.seen.new.available;
    let left = state
        .target
        .old
        .min(bounds.ready_min.saturating_sub(available));
    // All of an old release that served can be unhealthy for a moment; a share never shrinks
    // again, so that is no reason to give everything to the first new instance.
    let old = match view.seen.old.ready {
        0 if view.plan.from_ready => left,
        ready => ready.min(left),
    };
    let serving = available.saturating_add(old);
    let share = Share::of(available, serving).max(state.target.share);
    if share == state.target.share && left == state.target.old {
        return None;
    }
    if !view.settled(state) {
        return Some(view.until_confirmed());
    }
    if share > state.target.share {
        state.reach_for(share.basis_points().into());
        if let Some(waits) = view.behind() {
            return Some(waits);
        }
    }
    let goes = state.target.old - left;
    state.target.old = left;
    state.raise_share(share);
    Some(Turn::Changed(match goes {
        0 => gets(view, share),
        _ => format!("{}, {goes} old instances go", gets(view, share)),
    }))
}

/// Compares both releases from the first confirmed part of the traffic on.
fn watch(view: &View<'_>, state: &mut State) {
    let split = state.target.share > Share::NONE && state.target.share < Share::ALL;
    if split && state.target.measure.is_none() && view.has_checks(state) && view.settled(state) {
        state.target.measure = Some(view.now);
    }
}
