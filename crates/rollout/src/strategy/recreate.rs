//! Recreate: for what may not overlap. The old instances go, then the new ones start; requests
//! wait at the proxy meanwhile, and the gap is on the receipt.

use model::Share;

use super::finish;
use crate::state::State;
use crate::view::{Turn, View};

pub(crate) fn advance(view: &View<'_>, state: &mut State) -> Turn {
    if state.target.old > 0 {
        state.reach_for(Share::ALL.basis_points().into());
        if let Some(waits) = view.behind() {
            return waits;
        }
        state.target.old = 0;
        return Turn::Changed("the old instances are drained and stopped first".to_owned());
    }
    let replicas = view.plan.replicas;
    if state.target.new < replicas {
        if view.seen.old.running > 0 {
            return view.until_gone(&view.seen.old);
        }
        state.target.new = replicas;
        return Turn::Changed(format!("{replicas} of {} wanted", view.plan.to));
    }
    // Nothing else serves: the first ready instance gets what waits.
    let switched = state.target.share == Share::ALL;
    let first = view.seen.new.ready > 0 && !switched;
    if view.seen.new.available < replicas && !first {
        return view.until_new(replicas);
    }
    finish(view, state)
}
