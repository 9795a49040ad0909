//! A request that may get a second attempt beside a first one that is slow.

use std::time::Duration;

use http1::RequestHead;
use model::{Hedge, ReleaseId};
use traffic::Cell;

use super::{Admission, Visit};
use crate::claim::Claim;
use crate::client::Client;
use crate::clock::now_micros;
use crate::stream::Stream;
use crate::thread::Thread;

/// Whether a request may get a second attempt, and since when it waits for its first answer.
#[derive(Debug, Default)]
pub(crate) struct Slowness {
    /// What its service says.
    pub(super) hedge: Option<Hedge>,
    /// When its first attempt began; `None`: it gets no second one.
    began_micros: Option<u64>,
}

/// What is noted of an attempt, so that it can be noted again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Noted {
    instance: Option<(ReleaseId, u32)>,
    claimed_micros: (u64, u64),
}

impl Visit {
    /// Notes that the first attempt begins. Returns after what time another one is worth it;
    /// `None`: never.
    pub(crate) fn begin_hedging(
        &mut self,
        thread: &Thread,
        request: &RequestHead,
    ) -> Option<Duration> {
        let hedge = self.slowness.hedge?;
        let is_plain = self.method.is_idempotent() && request.upgrade().is_none();
        let service = self.service.filter(|_| is_plain && self.attempts == 1)?;
        self.slowness.began_micros = Some(now_micros());
        let mut hedgings = thread.hedgings.borrow_mut();
        let hedging = hedgings.entry(service).or_default();
        hedging.request(&hedge, thread.watches.coarse_micros())
    }

    /// Notes that a response begins.
    pub(crate) fn note_answered(&mut self, thread: &Thread, now: u64) {
        let began = self.slowness.began_micros.take();
        if let (Some(began), Some(hedge), Some(service)) =
            (began, self.slowness.hedge, self.service)
        {
            let mut hedgings = thread.hedgings.borrow_mut();
            let hedging = hedgings.entry(service).or_default();
            hedging.answered(&hedge, now.saturating_sub(began));
        }
    }

    /// Claims another endpoint of the same release for a second attempt, if one may be made.
    pub(crate) fn second<S: Stream>(
        &mut self,
        client: &Client<S>,
        request: &RequestHead,
        first: Cell,
    ) -> Option<Claim> {
        let (hedge, service) = (self.slowness.hedge?, self.service?);
        self.failed.push(first);
        (self.only, self.at) = (self.kept, Some(first));
        let admission = self.admit(client, request);
        (self.only, self.at) = (None, None);
        self.failed.pop();
        let Admission::Claimed(claim) = admission else {
            return None;
        };
        let mut hedgings = client.thread.hedgings.borrow_mut();
        let now = client.thread.watches.coarse_micros();
        if hedgings.entry(service).or_default().take(&hedge, now) {
            return Some(claim);
        }
        claim.undo();
        None
    }

    /// What is noted of the present attempt.
    pub(crate) fn noted(&self) -> Noted {
        Noted {
            instance: self.account.instance,
            claimed_micros: (self.account.claimed_micros, self.claimed_micros),
        }
    }

    /// Notes it again.
    pub(crate) fn note_again(&mut self, noted: Noted) {
        self.account.instance = noted.instance;
        (self.account.claimed_micros, self.claimed_micros) = noted.claimed_micros;
    }
}
