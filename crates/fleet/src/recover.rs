//! The supervisor's view: what it says that the fleet does not know, and when it is asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::{InstanceId, Time};

use crate::drain::{KILL_AGAIN, signal};
use crate::life::Instance;
use crate::{Action, Child, Fleet, InstanceState, Signal};

/// An answer that is so late is looked for in the supervisor's view, and so is one view later
/// than the other.
const OVERDUE: Duration = Duration::from_secs(5);

/// The view is looked at so often even when nothing seems to be missing: an exit may have been
/// lost on its way.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// The most unknown processes that are dealt with at a time; others wait for the next view.
const ORPHANS_MAX: usize = 1024;

/// What this worker's life knows of the supervisor's view.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Watch {
    /// Whether it was seen in this life; before, nothing is done.
    seen: bool,
    /// When it was asked for and not answered since.
    asked: Option<Time>,
    /// When it was last seen.
    viewed: Option<Time>,
    /// Something does not fit together: it is needed at once.
    pub(crate) doubt: bool,
    /// Processes of the service that the fleet does not know, and when each was last killed.
    pub(crate) orphans: BTreeMap<InstanceId, Option<Time>>,
    /// Ended ones, to be forgotten everywhere; emptied by the next convergence.
    pub(crate) forget: BTreeSet<InstanceId>,
    /// When the fleet last converged, if nothing happened since.
    pub(crate) settled: Option<Time>,
}

impl Watch {
    /// A life that begins without instances: there is nothing to be seen first.
    pub(crate) fn begun() -> Self {
        Self {
            seen: true,
            ..Self::default()
        }
    }

    /// Whether the fleet may act.
    pub(crate) fn is_seen(&self) -> bool {
        self.seen
    }

    /// Whether nothing is left to be forgotten.
    pub(crate) fn is_empty(&self) -> bool {
        self.orphans.is_empty() && self.forget.is_empty()
    }

    /// When each orphan is to be killed (again).
    pub(crate) fn kills(&self) -> impl Iterator<Item = Time> {
        let due = |at: &Option<Time>| at.map_or(Time(0), |at| at.after(KILL_AGAIN));
        self.orphans.values().map(due)
    }
}

impl Fleet {
    /// Takes in everything that the supervisor runs.
    ///
    /// The first view of a life is the truth. A later one may be older than what was heard
    /// since: what it lacks is gone only if it has been there for longer than a view can be
    /// late, and a view some time later lacks it too.
    pub(crate) fn children(&mut self, children: Vec<Child>, now: Time) {
        let first = !std::mem::replace(&mut self.watch.seen, true);
        if first {
            for instance in self.instances.values_mut() {
                instance.recovered(now);
            }
        }
        self.watch.asked = None;
        self.watch.viewed = Some(now);
        let own = children
            .into_iter()
            .filter(|c| c.instance.service == self.service);
        let own: Vec<Child> = own.collect();
        let listed: BTreeSet<InstanceId> = own.iter().map(|c| c.instance.clone()).collect();
        for child in own {
            self.child(child, now);
        }
        self.unlisted(&listed, first, now);
        let gone: Vec<InstanceId> = self.watch.orphans.keys().cloned().collect();
        for id in gone.iter().filter(|id| !listed.contains(id)) {
            self.acknowledge(id);
        }
    }

    /// The end of a process that the fleet does not know (any more).
    pub(crate) fn acknowledge(&mut self, id: &InstanceId) {
        if id.service == self.service {
            self.passed_by(id);
            self.watch.orphans.remove(id);
            self.watch.forget.insert(id.clone());
        }
    }

    /// A process that runs and that the fleet does not know: nobody routes to it or wants it.
    pub(crate) fn orphan(&mut self, id: &InstanceId) {
        if id.service == self.service && self.watch.orphans.len() < ORPHANS_MAX {
            self.passed_by(id);
            self.watch.orphans.entry(id.clone()).or_default();
        }
    }

    /// Kills what nobody knows.
    pub(crate) fn kill_orphans(&mut self, now: Time) -> Vec<Action> {
        let mut actions = Vec::new();
        for (id, killed) in &mut self.watch.orphans {
            if killed.is_none_or(|at| at.after(KILL_AGAIN) <= now) {
                *killed = Some(now);
                actions.push(signal(id, Signal::Kill));
            }
        }
        actions
    }

    /// Asks for the supervisor's view when it is due.
    pub(crate) fn observe(&mut self, now: Time) -> Option<Action> {
        self.observe_at().filter(|at| *at <= now)?;
        self.watch.doubt = false;
        self.watch.asked = Some(now);
        Some(Action::Observe)
    }

    /// When the supervisor's view is needed next.
    pub(crate) fn observe_at(&self) -> Option<Time> {
        let again = |at: Option<Time>| at.map_or(Time(0), |at| at.after(OVERDUE));
        let Watch { asked, viewed, .. } = self.watch;
        if !self.watch.seen || self.watch.doubt {
            return Some(again(asked));
        }
        let orphans = (!self.watch.orphans.is_empty()).then_some(Time(0));
        let overdue = self.instances.values().filter_map(overdue_at);
        let oldest = self.instances.values().map(|i| i.state.since()).min();
        let last = asked.max(viewed);
        let look = oldest.max(last).filter(|_| oldest.is_some());
        let look = look.map(|at| at.after(LOOK_AGAIN));
        let due = overdue.chain(orphans).map(|at| at.max(again(last)));
        due.chain(look).min()
    }

    fn child(&mut self, child: Child, now: Time) {
        let Child { instance: id, exit } = child;
        match (self.get(&id), exit) {
            (Some(_), Some(exit)) => self.ended(&id, Some(exit), now),
            (Some(instance), None) => {
                instance.pending.missing = None;
                instance.started(now);
            }
            (None, Some(_)) => self.acknowledge(&id),
            (None, None) => self.orphan(&id),
        }
    }

    /// Instances that should run and are not listed.
    fn unlisted(&mut self, listed: &BTreeSet<InstanceId>, first: bool, now: Time) {
        let ids: Vec<InstanceId> = self
            .instances
            .iter()
            .map(|(serial, instance)| self.id(instance.release, *serial))
            .filter(|id| !listed.contains(id))
            .collect();
        for id in ids {
            if self.get(&id).is_some_and(|i| i.is_gone(first, now)) {
                self.ended(&id, None, now);
            }
        }
    }

    /// A serial that was given in a life that could not write it down is not given again.
    fn passed_by(&mut self, id: &InstanceId) {
        self.next_serial = self.next_serial.max(id.serial.saturating_add(1));
    }
}

impl Instance {
    /// Another worker has taken over. Its first table is without the drained ones, and that is
    /// to be confirmed before anything is counted: the claim costs little, and a wrong one
    /// would cost requests. So would a limit that counts from a decision that nobody carried out.
    fn recovered(&mut self, now: Time) {
        self.pending.inherited = true;
        if let InstanceState::Draining { unrouted, since } = &mut self.state {
            *unrouted = false;
            *since = now;
        }
    }

    /// The supervisor's view lacks it. Returns whether its process is gone; one that was only
    /// ordered is ordered again.
    fn is_gone(&mut self, first: bool, now: Time) -> bool {
        if let InstanceState::Ordered { .. } = self.state {
            let overdue = |at: Time| at.after(OVERDUE) <= now;
            if self.pending.ordered.is_some_and(overdue) {
                self.pending.ordered = None;
                self.pending.again = true;
            }
            return false;
        }
        let missing = *self.pending.missing.get_or_insert(now);
        let newest = self.pending.known.max(self.pending.ordered);
        let outdated = newest.is_some_and(|at| at.after(LOOK_AGAIN) > now);
        (first && self.ran) || (!outdated && missing.after(OVERDUE) <= now)
    }
}

/// When the supervisor's view of this instance is needed.
fn overdue_at(instance: &Instance) -> Option<Time> {
    let since = match instance.state {
        InstanceState::Ordered { .. } => instance.pending.ordered,
        InstanceState::Stopping { since, .. } => Some(since),
        InstanceState::Starting { .. }
        | InstanceState::Ready { .. }
        | InstanceState::Unhealthy { .. }
        | InstanceState::Draining { .. } => instance.pending.missing,
    };
    Some(since?.after(OVERDUE))
}
