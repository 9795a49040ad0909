//! How an instance leaves: its open requests fall to zero or are cut, then it is stopped.

use std::time::Duration;

use model::{InstanceId, Time};

use crate::life::Instance;
use crate::{Action, FleetPolicy, InstanceState, Signal};

/// The interval at which the counting of open requests begins.
const COUNT_FIRST: Duration = Duration::from_millis(20);

/// The interval to which it slows down.
const COUNT_LAST: Duration = Duration::from_millis(100);

/// A count that is so late is asked for again.
const COUNT_LATE: Duration = Duration::from_secs(1);

/// The time between two SIGKILLs while the end is not known.
pub(crate) const KILL_AGAIN: Duration = Duration::from_secs(3);

/// The counting of one instance's open requests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Count {
    /// When the one that is under way was asked for.
    asked: Option<Time>,
    next: Time,
    interval: Duration,
    /// The newest answer. Only what was asked for after the last table with this instance was
    /// replaced is an answer: what was counted before may have grown since.
    open: Option<u64>,
}

/// What an instance was told since it is stopped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Stopping {
    /// When this worker sent it its stop signal: the grace counts from there, since the worker
    /// before may have died before it sent its own.
    told: Option<Time>,
    killed: Option<Time>,
}

impl Count {
    /// When the next count is to be asked for.
    pub(crate) fn due(&self) -> Time {
        match self.asked {
            Some(asked) => asked.after(COUNT_LATE),
            None => self.next,
        }
    }

    /// Takes in an answer.
    pub(crate) fn answer(&mut self, requests: u64, now: Time) {
        if self.asked.take().is_some() {
            self.open = Some(requests);
            self.interval = (self.interval * 3 / 2).clamp(COUNT_FIRST, COUNT_LAST);
            self.next = now.after(self.interval);
        }
    }

    /// Open requests as last counted.
    pub(crate) fn open(&self) -> Option<u64> {
        self.open
    }
}

impl Stopping {
    /// When SIGKILL is to be sent (again).
    pub(crate) fn kill_due(&self, since: Time, policy: &FleetPolicy) -> Time {
        match self.killed {
            Some(at) => at.after(KILL_AGAIN),
            None => self.told.unwrap_or(since).after(policy.stop.grace),
        }
    }
}

impl Instance {
    /// Asks for what is due of a drained instance and stops it when it may be stopped.
    pub(crate) fn drain(
        &mut self,
        id: &InstanceId,
        policy: &FleetPolicy,
        now: Time,
    ) -> Vec<Action> {
        let InstanceState::Draining { since, unrouted } = self.state else {
            return Vec::new();
        };
        // Until no table has it any more, new requests may come: nothing is counted or stopped.
        if !unrouted {
            return Vec::new();
        }
        let idle = self.pending.count.open() == Some(0);
        if idle || since.after(policy.drain) <= now {
            self.cut = !idle;
            self.state = InstanceState::Stopping {
                since: now,
                killed: false,
            };
            Vec::new()
        } else if self.pending.count.due() <= now {
            self.pending.count.asked = Some(now);
            let instance = id.clone();
            vec![Action::CountOpen { instance }]
        } else {
            Vec::new()
        }
    }

    /// Tells a stopped instance what it has not been told yet.
    pub(crate) fn stop(&mut self, id: &InstanceId, policy: &FleetPolicy, now: Time) -> Vec<Action> {
        let InstanceState::Stopping { since, killed } = &mut self.state else {
            return Vec::new();
        };
        let stopping = &mut self.pending.stopping;
        let mut actions = Vec::new();
        if stopping.told.is_none() && !*killed {
            if self.cut {
                let instance = id.clone();
                actions.push(Action::Cut { instance });
            }
            actions.push(signal(id, Signal::Stop));
            stopping.told = Some(now);
        }
        if stopping.kill_due(*since, policy) <= now {
            *killed = true;
            stopping.killed = Some(now);
            actions.push(signal(id, Signal::Kill));
        }
        actions
    }
}

/// The action of sending `signal`.
pub(crate) fn signal(id: &InstanceId, signal: Signal) -> Action {
    Action::Signal {
        instance: id.clone(),
        signal,
    }
}
