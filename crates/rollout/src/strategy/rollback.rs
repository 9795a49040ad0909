//! A rollback, and a first deploy: full size, then one switch; no steps, gates or checks.

use super::finish;
use crate::state::State;
use crate::view::{Turn, View};

pub(crate) fn advance(view: &View<'_>, state: &mut State) -> Turn {
    let replicas = view.plan.replicas;
    if state.target.new < replicas {
        state.target.new = replicas;
        return Turn::Changed(format!("{replicas} of {} wanted", view.plan.to));
    }
    // Where nothing else serves, one instance is better than none.
    let available = view.seen.new.available;
    let switched = state.target.share == model::Share::ALL;
    let alone = view.seen.old.ready == 0 && available > 0 && !switched;
    if available < replicas && !alone {
        return view.until_new(replicas);
    }
    finish(view, state)
}
