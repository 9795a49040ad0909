//! Closing a service for maintenance, and opening it again.

use model::{Maintenance, ServiceName, Time};

use crate::ClosedStatus;
use crate::batch::Batch;
use crate::command::{Answer, find, not_now};
use crate::pause::{concerned, note, seconds};
use crate::state::{Closed, State};

impl Closed {
    /// As people see it.
    pub(crate) fn status(&self) -> ClosedStatus {
        let Maintenance {
            retry_after_seconds,
            page,
            pass,
        } = &self.maintenance;
        ClosedStatus {
            since: self.since,
            retry_after_seconds: *retry_after_seconds,
            page_bytes: page.as_ref().map_or(0, |page| page.body.len() as u64),
            allow_header: pass.as_ref().map(|pass| pass.header.clone()),
        }
    }
}

/// Closes a service, or changes what it says.
pub(crate) fn close(
    state: &mut State,
    name: &ServiceName,
    (maintenance, now): (Maintenance, Time),
    batch: &mut Batch,
) -> Answer {
    let service = find(state, name)?;
    if !service.has_traffic() {
        return Err(not_now(format!(
            "`{name}` has no port: it has no requests to answer"
        )));
    }
    if let Err(error) = maintenance.check() {
        return Err(not_now(error.to_string()));
    }
    let since = service
        .core
        .closed
        .as_ref()
        .map_or(now, |closed| closed.since);
    service.core.closed = Some(Closed { since, maintenance });
    let text = "closed for maintenance: new requests get 503".to_owned();
    note(service, text, batch);
    Ok(concerned(service))
}

/// Opens a closed service.
pub(crate) fn open(state: &mut State, name: &ServiceName, now: Time, batch: &mut Batch) -> Answer {
    let service = find(state, name)?;
    let Some(closed) = service.core.closed.take() else {
        return Err(not_now(format!("`{name}` is not closed for maintenance")));
    };
    let text = format!("open again after {}", seconds(now.since(closed.since)));
    note(service, text, batch);
    Ok(concerned(service))
}
