//! When time alone changes something.

use model::Time;

use crate::backoff::{Record, STEADY};
use crate::life::Instance;
use crate::{Fleet, FleetPolicy, InstanceState, Policies};

impl Fleet {
    /// When [`Fleet::converge`] is to be called next if nothing happens before; at once if
    /// something happened since the last call.
    #[must_use]
    pub fn wake(&self, policies: &Policies, now: Time) -> Option<Time> {
        let Some(settled) = self.watch.settled else {
            return Some(now);
        };
        let mut times: Vec<Time> = self.observe_at().into_iter().collect();
        if self.watch.is_seen() {
            times.extend(self.watch.kills());
            times.extend(self.records.values().map(Record::retry_at));
            for instance in self.instances.values() {
                if let Some(policy) = policies.get(&instance.release) {
                    times.extend(self.instance_times(instance, policy));
                }
            }
        }
        // What was due at the last convergence was done there.
        let next = times.into_iter().filter(|at| *at > settled).min()?;
        Some(next.max(now))
    }

    /// The times that matter to one instance.
    fn instance_times(&self, instance: &Instance, policy: &FleetPolicy) -> Vec<Time> {
        let pending = &instance.pending;
        let probe = policy.health.as_ref().map(|h| pending.probes.due(h));
        let mut times = Vec::new();
        match instance.state {
            InstanceState::Ordered { .. } => {}
            InstanceState::Starting { .. } | InstanceState::Unhealthy { .. } => times.extend(probe),
            InstanceState::Ready { since } => {
                times.extend(probe);
                times.push(since.after(policy.min_ready));
                let failing = self
                    .records
                    .get(&instance.release)
                    .is_some_and(Record::is_failing);
                times.extend(failing.then(|| since.after(STEADY)));
            }
            InstanceState::Draining { since, unrouted } => {
                if unrouted {
                    times.push(pending.count.due());
                    times.push(since.after(policy.drain));
                }
            }
            InstanceState::Stopping { since, .. } => {
                times.push(pending.stopping.kill_due(since, policy));
            }
        }
        times
    }
}
