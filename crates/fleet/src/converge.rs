//! Compares the instances with what is wanted and says what to do.

use std::collections::BTreeSet;

use model::{InstanceId, ReleaseId, Time};

use crate::backoff::STEADY;
use crate::choose::{Census, Member, Phase, Stale};
use crate::life::Instance;
use crate::{Action, Fleet, FleetPolicy, InstanceState, Policies, Wanted};

/// The most starts that are under way at a time; others wait for their answers.
const ORDERED_MAX: usize = 64;

impl Fleet {
    /// Compares with what is wanted and returns what to do, in order.
    ///
    /// Called again at the same time with the same arguments it returns nothing new.
    pub fn converge(&mut self, wanted: &Wanted, policies: &Policies, now: Time) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.watch.is_seen() {
            let forget = std::mem::take(&mut self.watch.forget);
            actions.extend(
                forget
                    .into_iter()
                    .map(|instance| Action::Forget { instance }),
            );
            self.next_serial = self.next_serial.max(wanted.fresh_from);
            self.settle(wanted, policies, now);
            // What is ordered may make room for what is replaced to go.
            loop {
                self.let_go(wanted, policies, now);
                if self.order(wanted, policies, now) == 0 {
                    break;
                }
            }
            actions.extend(self.advance(policies, now));
            actions.extend(self.kill_orphans(now));
        }
        actions.extend(self.observe(now));
        self.watch.settled = Some(now);
        actions
    }

    /// Notes what is wanted and forgives what has proven itself.
    fn settle(&mut self, wanted: &Wanted, policies: &Policies, now: Time) {
        for instance in self.instances.values_mut() {
            if let Some(policy) = policies.get(&instance.release) {
                instance.settle(policy, now);
            }
        }
        self.records
            .retain(|id, _| wanted.counts.get(id).is_some_and(|n| *n > 0));
        for (release, count) in wanted.counts.iter().filter(|(_, count)| **count > 0) {
            let record = self.records.entry(*release).or_default();
            record.wanted(*count, wanted.fresh_from);
            let mut up = self
                .instances
                .values()
                .filter(|i| i.release == *release && !i.is_leaving());
            let enough = up.clone().count() >= *count as usize;
            let steady = |i: &Instance| i.ready_since().is_some_and(|t| t.after(STEADY) <= now);
            if record.is_failing() && enough && up.all(steady) {
                record.forgive();
            }
        }
    }

    /// The releases that are wanted or have instances; most that are kept are neither.
    fn concerned<'a>(
        &self,
        wanted: &Wanted,
        policies: &'a Policies,
    ) -> Vec<(&'a ReleaseId, &'a FleetPolicy)> {
        let runs = |release| self.instances.values().any(|i| i.release == release);
        let concerned =
            |(release, _): &(&ReleaseId, _)| wanted.counts.contains_key(release) || runs(**release);
        policies.iter().filter(concerned).collect()
    }

    /// Sends surplus instances on their way out.
    fn let_go(&mut self, wanted: &Wanted, policies: &Policies, now: Time) {
        for (release, policy) in self.concerned(wanted, policies) {
            while let Some(serial) = self.census(*release, wanted, (policy, now)).surplus() {
                if let Some(instance) = self.instances.get_mut(&serial) {
                    instance.leave(policy, now);
                }
            }
        }
    }

    /// Orders missing instances; returns how many.
    fn order(&mut self, wanted: &Wanted, policies: &Policies, now: Time) -> usize {
        let first = self.next_serial;
        for (release, policy) in self.concerned(wanted, policies) {
            let may_start = self.records.get(release).is_some_and(|r| r.may_start(now));
            let mut missing = self.census(*release, wanted, (policy, now)).missing();
            if policy.exclusive {
                missing = missing.min(usize::from(!self.is_port_held(policies)));
            }
            let ordered = |i: &&Instance| matches!(i.state, InstanceState::Ordered { .. });
            let ordered = self.instances.values().filter(ordered).count();
            missing = missing.min(ORDERED_MAX.saturating_sub(ordered));
            if !may_start {
                continue;
            }
            for _ in 0..missing {
                // A serial is never given twice: the last one ends the service's life.
                let Some(next) = self.next_serial.checked_add(1) else {
                    break;
                };
                let instance = Instance::ordered(*release, now);
                self.instances.insert(self.next_serial, instance);
                self.next_serial = next;
            }
        }
        (self.next_serial - first) as usize
    }

    /// Whether a process lives that may hold the fixed port.
    fn is_port_held(&self, policies: &Policies) -> bool {
        let holds = |i: &Instance| policies.get(&i.release).is_none_or(|p| p.exclusive);
        !self.watch.orphans.is_empty() || self.instances.values().any(holds)
    }

    /// Asks of each instance what is due.
    fn advance(&mut self, policies: &Policies, now: Time) -> Vec<Action> {
        let mut actions = Vec::new();
        for (serial, instance) in &mut self.instances {
            let Some(policy) = policies.get(&instance.release) else {
                continue;
            };
            let id = InstanceId {
                service: self.service.clone(),
                release: instance.release,
                serial: *serial,
            };
            actions.extend(instance.begin(&id, policy, now));
            actions.extend(instance.drain(&id, policy, now));
            actions.extend(instance.stop(&id, policy, now));
        }
        actions
    }

    /// The instances of a release beside what is wanted.
    fn census(&self, release: ReleaseId, wanted: &Wanted, at: (&FleetPolicy, Time)) -> Census {
        let (policy, now) = at;
        let replaced = wanted.replace.iter();
        let replaced = replaced.filter(|id| id.service == self.service && id.release == release);
        let serials: BTreeSet<u32> = replaced.map(|id| id.serial).collect();
        let stale = Stale {
            fresh_from: wanted.fresh_from,
            serials: &serials,
        };
        let own = || self.instances.iter().filter(|(_, i)| i.release == release);
        let member = |(serial, instance): (&u32, &Instance)| Member {
            serial: *serial,
            phase: phase(instance, policy, now),
            stale: stale.holds(*serial),
        };
        Census {
            wanted: wanted.counts.get(&release).map_or(0, |n| *n as usize),
            members: own().filter(|(_, i)| !i.is_leaving()).map(member).collect(),
            leaving: own().filter(|(_, i)| i.is_leaving()).count(),
            exclusive: policy.exclusive,
            replaced_max: policy.max_unavailable.max(1) as usize,
        }
    }
}

impl Instance {
    /// Starts it if that was not ordered yet, and asks for its health when that is due.
    fn begin(&mut self, id: &InstanceId, policy: &FleetPolicy, now: Time) -> Option<Action> {
        let instance = id.clone();
        match self.state {
            InstanceState::Ordered { .. } => {
                if self.pending.ordered.is_some() {
                    return None;
                }
                self.pending.ordered = Some(now);
                Some(Action::Start { instance })
            }
            InstanceState::Starting { .. }
            | InstanceState::Ready { .. }
            | InstanceState::Unhealthy { .. } => {
                let due = self.pending.probes.due(policy.health.as_ref()?);
                (due <= now).then(|| {
                    self.pending.probes.ask(now);
                    Action::Probe { instance }
                })
            }
            InstanceState::Draining { .. } | InstanceState::Stopping { .. } => None,
        }
    }
}

/// How far an instance that is not on its way out is.
fn phase(instance: &Instance, policy: &FleetPolicy, now: Time) -> Phase {
    match instance.state {
        InstanceState::Ordered { .. } => Phase::Ordered,
        InstanceState::Ready { since } if since.after(policy.min_ready) <= now => Phase::Available,
        InstanceState::Ready { .. } => Phase::Ready,
        InstanceState::Unhealthy { .. } => Phase::Unhealthy,
        InstanceState::Starting { .. }
        | InstanceState::Draining { .. }
        | InstanceState::Stopping { .. } => Phase::Starting,
    }
}
