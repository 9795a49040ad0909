//! Processes as the supervisor has them.

use fleet::{Child, Exit};
use model::InstanceId;

use crate::policy::Quality;
use crate::rng::Rng;

/// One process, until its end is acknowledged.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    pub(crate) port: Option<u16>,
    pub(crate) cell: u32,
    pub(crate) started: u64,
    /// When its probes begin to pass, if they ever do.
    pub(crate) ready_at: Option<u64>,
    /// Answers no probe until then.
    pub(crate) hangs_until: u64,
    pub(crate) exit: Option<Exit>,
    /// When it ends by itself.
    pub(crate) crashes_at: Option<u64>,
    /// How long after the stop signal it ends; `None`: it ignores it.
    pub(crate) stops_in: Option<u64>,
    /// The newest end that was arranged for it; older ones do not come about.
    pub(crate) end: u64,
}

impl Process {
    /// A process of such a release, started now.
    pub(crate) fn start(quality: Quality, at: (u64, Option<u16>, u32), rng: &mut Rng) -> Self {
        let (now, port, cell) = at;
        let boot = rng.pick(&[5, 15, 15, 40, 120]);
        let (ready_at, crashes_at) = match quality {
            Quality::Slow(boot) => (Some(now + boot), None),
            Quality::Never | Quality::Unusable => (None, None),
            Quality::Crashes(after) => (Some(now + boot), Some(now + after + rng.below(20))),
            Quality::Good | Quality::Errors | Quality::Differs | Quality::JobFails => {
                (Some(now + boot), None)
            }
        };
        Self {
            port,
            cell,
            started: now,
            ready_at,
            hangs_until: 0,
            exit: None,
            crashes_at,
            stops_in: match rng.below(10) {
                0 => None,
                1 => Some(rng.within(200, 3_000)),
                _ => Some(rng.within(1, 40)),
            },
            end: 0,
        }
    }

    pub(crate) fn lives(&self) -> bool {
        self.exit.is_none()
    }

    /// Whether a probe passes.
    pub(crate) fn answers(&self, now: u64) -> bool {
        let ready = self.ready_at.is_some_and(|at| at <= now);
        self.lives() && ready && self.hangs_until <= now
    }

    pub(crate) fn child(&self, instance: &InstanceId) -> Child {
        Child {
            instance: instance.clone(),
            exit: self.exit,
        }
    }
}
