//! In what order an instance may be let go.

use fleet::Signal;
use model::InstanceId;

use super::{Model, Rule};

/// What the world knows of an instance at the moment of an effect on it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    /// A living thread whose table has it.
    pub(crate) routed_by: Option<String>,
    /// Requests that are open at it.
    pub(crate) open: u64,
    /// Whether its process has ended.
    pub(crate) ended: bool,
}

impl Model {
    /// A signal is sent.
    pub(crate) fn signalled(&mut self, id: &InstanceId, signal: Signal, facts: &Facts) {
        let (drain, grace) = self
            .facts(&id.service, id.release)
            .map_or((0, 0), |facts| (facts.drain, facts.grace));
        let now = self.now;
        let Some(known) = self.instances.get_mut(id) else {
            return;
        };
        let told = known.told;
        let limit = known.drained.is_some_and(|at| at + drain <= now);
        let serves = known.routed && !facts.ended && !known.unwritten && !known.orphan;
        if !facts.ended {
            known.told.get_or_insert(now);
        }
        known.healthy = None;
        match (&facts.routed_by, told, signal) {
            _ if !serves => {}
            (Some(who), _, _) if !self.ending => {
                let seen = format!("{id} is told to stop while {who} routes to it");
                self.violate(Rule::SignalAfterUnrouted, seen);
            }
            (_, None, _) if facts.open > 0 && !limit => {
                let seen = format!("{id} is told to stop with {} open requests", facts.open);
                self.violate(Rule::SignalAfterDrain, seen);
            }
            (_, told, Signal::Kill) if told.is_none_or(|at| at + grace > now) => {
                let seen = format!("{id} is killed {grace} ms of grace too early");
                self.violate(Rule::KillAfterGrace, seen);
            }
            (_, _, Signal::Stop | Signal::Kill) => {}
        }
    }

    /// What is open is ended.
    pub(crate) fn cut(&mut self, id: &InstanceId) {
        let drain = self.facts(&id.service, id.release).map_or(0, |f| f.drain);
        let known = self.instances.get(id);
        let drained = known.and_then(|known| known.drained);
        let served = known.is_some_and(|known| known.routed && !known.unwritten);
        if served && drained.is_none_or(|at| at + drain > self.now) {
            let seen = format!("{id} is cut before its drain limit of {drain} ms");
            self.violate(Rule::CutAtLimit, seen);
        }
    }

    /// An instance is forgotten everywhere.
    pub(crate) fn forgotten(&mut self, id: &InstanceId, facts: &Facts) {
        if !facts.ended {
            let seen = format!("{id} is forgotten and runs");
            self.violate(Rule::ForgetsOnlyEnded, seen);
        }
        let exempt = self.ending || self.is_unwritten(id);
        if let (Some(who), false) = (&facts.routed_by, exempt) {
            let seen = format!("{id} is forgotten while {who} routes to it");
            self.violate(Rule::ForgetsOnlyEnded, seen);
        }
        self.instances.remove(id);
    }
}
