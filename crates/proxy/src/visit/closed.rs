//! A request to a service that is closed for maintenance.

use http1::RequestHead;
use model::{Maintenance, ReleaseId};
use traffic::{AudienceRule, ServiceTable};

use super::Visit;

impl Visit {
    /// Whether the service is closed to this request. One that was admitted before goes on, and
    /// so does one to a preview or with the pass.
    pub(super) fn is_closed(
        &mut self,
        (service, only): (&ServiceTable, Option<ReleaseId>),
        request: &RequestHead,
    ) -> bool {
        let Some(closed) = &service.closed else {
            return false;
        };
        let is_let_in = closed.pass.as_ref().is_some_and(|pass| {
            let (AudienceRule::Header(name, _) | AudienceRule::Cookie(name, _)) = pass;
            let value = request.fields().first(name);
            value.is_some_and(|value| pass.accepts(value, service.rollout))
        });
        if self.attempts > 0 || only.is_some() || is_let_in {
            return false;
        }
        self.closed = Some(Box::new(closed.maintenance.clone()));
        true
    }

    /// What a closed service has to say.
    pub(crate) fn maintenance(&self) -> Option<&Maintenance> {
        self.closed.as_deref()
    }
}
