//! When each instance was ordered, ran, was ready, was drained, was told to stop and was gone.

use std::collections::{BTreeMap, BTreeSet};

use engine::InstanceStatus;
use fleet::InstanceState;
use model::{InstanceId, InstanceTimes, Time};
use serde::{Deserialize, Serialize};

/// The times of the instances of one service, as far as they lie within a rollout.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lives(BTreeMap<String, Life>);

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Life {
    release: String,
    ordered: Option<Time>,
    running: Option<Time>,
    ready: Option<Time>,
    drained: Option<Time>,
    told: Option<Time>,
    gone: Option<Time>,
    /// The newest failed probe.
    #[serde(default)]
    failure: Option<String>,
}

/// Instances whose failures are told.
const FAILURES_MAX: usize = 3;

impl Lives {
    /// Notes where the instances are now; one that was there and is no longer listed is gone.
    pub(crate) fn note(&mut self, instances: &[InstanceStatus], began: Time, now: Time) {
        let mut listed = BTreeSet::new();
        for seen in instances {
            let name = seen.instance.to_string();
            listed.insert(name.clone());
            self.note_one(&seen.instance, seen.state, began);
            // A ready instance answers; what it failed while it started is no evidence any more.
            let answers = matches!(seen.state, InstanceState::Ready { .. });
            if let Some(life) = self.0.get_mut(&name) {
                match &seen.last_failure {
                    Some(failure) => life.failure = Some(failure.clone()),
                    None if answers => life.failure = None,
                    None => {}
                }
            }
        }
        for (name, life) in &mut self.0 {
            if !listed.contains(name) {
                life.gone.get_or_insert(now);
            }
        }
    }

    /// Notes why an instance was not started.
    pub(crate) fn not_started(&mut self, instance: &InstanceId, why: String) {
        let life = self.0.entry(instance.to_string()).or_default();
        life.release = instance.release.to_string();
        life.failure = Some(why);
    }

    fn note_one(&mut self, instance: &InstanceId, state: InstanceState, began: Time) {
        let life = self.0.entry(instance.to_string()).or_default();
        life.release = instance.release.to_string();
        let (place, since) = match state {
            InstanceState::Ordered { since } => (&mut life.ordered, since),
            InstanceState::Starting { since } => (&mut life.running, since),
            InstanceState::Ready { since } => (&mut life.ready, since),
            InstanceState::Unhealthy { .. } => return,
            InstanceState::Draining { since, .. } => (&mut life.drained, since),
            InstanceState::Stopping { since, .. } => (&mut life.told, since),
        };
        if since >= began {
            place.get_or_insert(since);
        }
    }

    /// Instances of a release that failed a probe or never got ready, with what was seen last.
    pub(crate) fn failures(&self, release: &str) -> Vec<(String, String)> {
        let own = self.0.iter().filter(|(_, life)| life.release == release);
        let failed = own.filter_map(|(name, life)| match &life.failure {
            Some(failure) => Some((name.clone(), failure.clone())),
            None if life.ready.is_none() && life.ordered.is_some() => {
                Some((name.clone(), "it never got ready".to_owned()))
            }
            None => None,
        });
        failed.take(FAILURES_MAX).collect()
    }

    /// The times of every instance that was started or stopped.
    pub(crate) fn times(&self) -> Vec<InstanceTimes> {
        let span = |from: Option<Time>, to: Option<Time>| {
            let span = to?.since(from?);
            u64::try_from(span.as_millis()).ok()
        };
        let moved = self.0.iter().filter(|(_, life)| {
            let first = [
                life.ordered,
                life.running,
                life.drained,
                life.told,
                life.gone,
            ];
            first.iter().any(Option::is_some)
        });
        moved
            .map(|(name, life)| InstanceTimes {
                instance: name.clone(),
                release: life.release.clone(),
                start_ms: span(life.ordered, life.running),
                ready_ms: span(life.running, life.ready),
                drain_ms: span(life.drained, life.told.or(life.gone)),
                stop_ms: span(life.told, life.gone),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{ReleaseId, ServiceName};

    fn status(serial: u32, state: InstanceState) -> InstanceStatus {
        InstanceStatus {
            instance: InstanceId {
                service: ServiceName::try_new("web").unwrap(),
                release: ReleaseId(serial),
                serial,
            },
            state,
            port: None,
            routed: false,
            open_requests: 0,
            weight: None,
            last_failure: None,
        }
    }

    #[test]
    fn spans_lie_between_the_states() {
        let mut lives = Lives::default();
        let at = Time;
        let old = |state| status(1, state);
        let new = |state| status(2, state);
        let ready = InstanceState::Ready { since: at(5) };
        lives.note(
            &[old(ready), new(InstanceState::Ordered { since: at(100) })],
            at(100),
            at(100),
        );
        let starting = InstanceState::Starting { since: at(103) };
        lives.note(&[old(ready), new(starting)], at(100), at(103));
        let new_ready = new(InstanceState::Ready { since: at(150) });
        let draining = InstanceState::Draining {
            since: at(160),
            unrouted: false,
        };
        lives.note(&[old(draining), new_ready.clone()], at(100), at(160));
        let stopping = InstanceState::Stopping {
            since: at(190),
            killed: false,
        };
        lives.note(&[old(stopping), new_ready.clone()], at(100), at(190));
        lives.note(&[new_ready], at(100), at(200));
        let times = lives.times();
        assert_eq!(times[0].instance, "web-v1-1");
        assert_eq!((times[0].drain_ms, times[0].stop_ms), (Some(30), Some(10)));
        assert_eq!((times[0].start_ms, times[0].ready_ms), (None, None));
        assert_eq!((times[1].start_ms, times[1].ready_ms), (Some(3), Some(47)));
    }

    #[test]
    fn evidence_is_why_it_was_not_started_and_what_a_ready_instance_failed_before_is_none() {
        let mut lives = Lives::default();
        let id = status(2, InstanceState::Ready { since: Time(5) }).instance;
        lives.not_started(&id, "port 80 is taken by nginx (pid 7)".to_owned());
        assert_eq!(
            lives.failures("v2")[0].1,
            "port 80 is taken by nginx (pid 7)"
        );
        let mut starting = status(3, InstanceState::Starting { since: Time(6) });
        starting.last_failure = Some("connection refused".to_owned());
        lives.note(std::slice::from_ref(&starting), Time(0), Time(7));
        assert_eq!(lives.failures("v3")[0].1, "connection refused");
        starting.state = InstanceState::Ready { since: Time(8) };
        starting.last_failure = None;
        lives.note(&[starting], Time(0), Time(8));
        assert_eq!(lives.failures("v3"), []);
    }

    #[test]
    fn instances_that_nothing_happened_to_are_left_out() {
        let mut lives = Lives::default();
        let ready = InstanceState::Ready { since: Time(5) };
        lives.note(&[status(1, ready)], Time(100), Time(100));
        assert!(lives.times().is_empty());
    }
}
