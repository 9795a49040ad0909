//! Whether requests are held, and services closed, as long as was asked for, and no longer.

use std::time::Duration;

use model::{PAUSE_MAX, ServiceName, Time};
use traffic::Table;

use super::{Model, Rule};

/// What is known of a service's pause.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pause {
    /// There is none.
    #[default]
    None,
    /// Until then.
    Until(u64),
    /// The server was told to end, or somebody to go on: there may be one.
    Unsure,
}

impl Model {
    /// A pause was granted.
    pub(super) fn paused(&mut self, service: &ServiceName, lasts: Duration) {
        if lasts > PAUSE_MAX {
            let seen = format!("{service} may be paused for {lasts:?}");
            self.violate(Rule::PauseEnds, seen);
        }
        let until = Time(self.now).after(lasts).0;
        if let Some(known) = self.services.get_mut(service) {
            known.pause = Pause::Until(until);
        }
    }

    /// A pause was ended.
    pub(super) fn unpaused(&mut self, service: &ServiceName) {
        if let Some(known) = self.services.get_mut(service) {
            known.pause = Pause::None;
        }
    }

    /// Somebody said that the service should go on: if it was paused that ended, else its
    /// rollout is no longer held.
    pub(super) fn resumed(&mut self, service: &ServiceName) {
        let now = self.now;
        let known = self.services.get_mut(service);
        let is_paused = |known: &&mut super::Service| known.pause != Pause::None;
        if let Some(known) = known.filter(is_paused) {
            known.pause = Pause::Unsure;
        }
        self.roll(service, |roll| {
            roll.held = None;
            roll.running_since = now;
        });
    }

    /// A service was closed for maintenance, or opened.
    pub(super) fn maintained(&mut self, service: &ServiceName, is_closed: bool) {
        if let Some(known) = self.services.get_mut(service) {
            known.is_closed = is_closed;
        }
    }

    /// Looks at what a table holds back, and at what it closes.
    pub(super) fn check_pauses(&mut self, table: &Table) {
        for service in &table.services {
            let Some(known) = self.services.get(&service.name) else {
                continue;
            };
            if known.unsure || self.ending {
                continue;
            }
            let held = service.paused.map(|paused| paused.until.0);
            let held = held.filter(|until| *until > self.now);
            let broken = match (known.pause, held) {
                (Pause::Until(until), None) if until > self.now => Some(Rule::PauseHolds),
                (Pause::Until(until), Some(held)) if held > until => Some(Rule::PauseEnds),
                (Pause::None, Some(_)) => Some(Rule::PauseEnds),
                (Pause::None | Pause::Until(_) | Pause::Unsure, _) => None,
            };
            let is_closed = service.closed.is_some();
            let is_wrong = is_closed != known.is_closed;
            if let Some(rule) = broken {
                let seen = format!("{}: {:?}, held until {held:?}", service.name, known.pause);
                self.violate(rule, seen);
            }
            if is_wrong {
                let seen = format!("{}: closed: {is_closed}", service.name);
                self.violate(Rule::ClosedAsAsked, seen);
            }
        }
    }
}
