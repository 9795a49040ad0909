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
        let seen = self.watch.is_seen().then(|| self.own_times(policies));
        let times = self
            .observe_at()
            .into_iter()
            .chain(seen.into_iter().flatten());
        // What was due at the last convergence was done there.
        let next = times.filter(|at| *at > settled).min()?;
        Some(next.max(now))
    }

    /// The times that matter to what is known to run or to have failed.
    fn own_times(&self, policies: &Policies) -> impl Iterator<Item = Time> {
        let retries = self.records.values().map(Record::retry_at);
        let instances = self.instances.values().filter_map(|instance| {
            let policy = policies.get(&instance.release)?;
            Some(self.instance_times(instance, policy))
        });
        let instances = instances.flatten().flatten();
        self.watch.kills().chain(retries).chain(instances)
    }

    /// The times that matter to one instance.
    fn instance_times(&self, instance: &Instance, policy: &FleetPolicy) -> [Option<Time>; 3] {
        let pending = &instance.pending;
        let probe = policy.health.as_ref().map(|h| pending.probes.due(h));
        match instance.state {
            InstanceState::Ordered { .. }
            | InstanceState::Draining {
                unrouted: false, ..
            } => [None; 3],
            InstanceState::Starting { .. } | InstanceState::Unhealthy { .. } => [probe, None, None],
            InstanceState::Ready { since } => {
                let record = self.records.get(&instance.release);
                let failing = record.is_some_and(Record::is_failing);
                let steady = failing.then(|| since.after(STEADY));
                [probe, Some(since.after(policy.min_ready)), steady]
            }
            InstanceState::Draining {
                since,
                unrouted: true,
            } => {
                let limit = since.after(policy.drain);
                [Some(pending.count.due()), Some(limit), None]
            }
            InstanceState::Stopping { since, .. } => {
                [Some(pending.stopping.kill_due(since, policy)), None, None]
            }
        }
    }
}
