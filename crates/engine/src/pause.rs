//! Holding the new requests of a service, for a while.
//!
//! What is written down is when a pause ends, on the engine's clock: a worker that takes over
//! goes on with what is left of it. It ends by itself, in the engine and in the proxy alike.

use std::collections::BTreeMap;
use std::time::Duration;

use model::{PAUSE_MAX, ServiceName, Time};

use crate::PauseStatus;
use crate::batch::Batch;
use crate::command::{Answer, find, not_now};
use crate::state::{Pause, Service, State};

impl Pause {
    /// As people see it.
    pub(crate) fn status(self, now: Time) -> PauseStatus {
        let left = self.until.since(now).as_millis();
        PauseStatus {
            since: self.since,
            until: self.until,
            left_ms: u64::try_from(left).unwrap_or(u64::MAX),
        }
    }
}

/// Holds new requests for so long from now, at most [`PAUSE_MAX`] after the pause began.
pub(crate) fn begin(
    state: &mut State,
    name: &ServiceName,
    (lasts, now): (Duration, Time),
    batch: &mut Batch,
) -> Answer {
    let service = find(state, name)?;
    if !service.has_traffic() {
        return Err(not_now(format!(
            "`{name}` has no port: it has no requests to hold"
        )));
    }
    let since = service.core.pause.map_or(now, |pause| pause.since);
    let until = now.after(lasts);
    if lasts.is_zero() || until > since.after(PAUSE_MAX) {
        let most = PAUSE_MAX.as_secs();
        return Err(not_now(format!(
            "a pause lasts at most {most} s in all, and more than nothing: this one would end {} after it began",
            seconds(until.since(since))
        )));
    }
    service.core.pause = Some(Pause { since, until });
    let text = format!("new requests are held for {}", seconds(lasts));
    note(service, text, batch);
    Ok(concerned(service))
}

/// Ends a pause before its time.
pub(crate) fn end(state: &mut State, name: &ServiceName, now: Time, batch: &mut Batch) -> Answer {
    let service = find(state, name)?;
    let Some(pause) = service.core.pause.take() else {
        return Err(not_now(format!("`{name}` is not paused")));
    };
    let text = format!(
        "the pause was ended after {}: requests go on",
        seconds(now.since(pause.since))
    );
    note(service, text, batch);
    Ok(concerned(service))
}

/// Ends what is over; when the server ends, all of it.
pub(crate) fn settle(state: &mut State, (now, ending): (Time, bool), batch: &mut Batch) {
    for service in state.services.values_mut() {
        let gone = ending || service.core.pruned;
        let over = |pause: &mut Pause| gone || pause.until <= now;
        if let Some(pause) = service.core.pause.take_if(over) {
            let text = format!(
                "the pause is over after {}: requests go on",
                seconds(now.since(pause.since))
            );
            note(service, text, batch);
        }
    }
}

pub(crate) fn note(service: &Service, text: String, batch: &mut Batch) {
    let rollout = service.running.as_ref().map(|running| running.plan.rollout);
    batch.note(rollout, &service.name, text);
}

pub(crate) fn concerned(service: &Service) -> BTreeMap<ServiceName, model::RolloutId> {
    let running = service.running.as_ref();
    let rollout = running.map(|running| (service.name.clone(), running.plan.rollout));
    rollout.into_iter().collect()
}

pub(crate) fn seconds(span: Duration) -> String {
    let millis = span.as_millis();
    format!("{}.{} s", millis / 1_000, millis % 1_000 / 100)
}
