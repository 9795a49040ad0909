//! The state of a rollout between two steps.

use std::collections::BTreeSet;

use model::{Audience, Outcome, Revision, RolloutKind, Shadow, ShadowKey, Share, Time};
use serde::{Deserialize, Serialize};

use crate::clock::Stopwatch;
use crate::strategy::Forward;
use crate::view::View;
use crate::{Ended, Plan, ShadowTarget, Target};

/// The state of a rollout between two steps; journaled as it is.
///
/// It holds what was asked for last and where the rollout is, never what was seen:
/// after a crash the next step looks again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// When the rollout began.
    pub began: Time,
    pub(crate) phase: Phase,
    /// What was asked for last. Its share is kept without traffic, too: it is then the part of
    /// the work that the new release has taken over.
    pub(crate) target: Target,
    /// The newest table when audiences or shadow last changed: a confirmation must be of a newer one.
    pub(crate) asked: Option<Revision>,
    pub(crate) gate: Gate,
    pub(crate) promoted: Promoted,
    pub(crate) held: Option<Held>,
    pub(crate) reach: u32,
    /// The time spent in the present step, or in the keep of blue/green.
    pub(crate) dwell: Stopwatch,
    pub(crate) stall: Stall,
}

/// Where a rollout is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Phase {
    /// The job before everything else.
    Before,
    /// The strategy moves the traffic.
    Forward(Forward),
    /// The new release has all traffic; the job after that.
    After,
    /// The old set is kept warm.
    Keep,
    /// The old instances were told to go: there is no way back any more.
    Retire,
    /// Back to the old release.
    Return(Return),
    /// Nothing is left to do.
    Ended(Ended),
}

/// A way back to the old release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Return {
    /// How it ends if the old release takes over again.
    pub(crate) outcome: Outcome,
    pub(crate) reason: String,
    /// Whether the old release still was wanted at its full size.
    pub(crate) untouched: bool,
    /// Whether another deploy waits: it ends once the old release has all traffic.
    pub(crate) early: bool,
    /// Whether what is ready of the old release takes everything: no more of it will come.
    pub(crate) at_once: bool,
    /// Whether the old release was seen without trouble on the way: trouble seen from then on is
    /// of this return, not of an earlier life.
    pub(crate) clean: bool,
}

/// A wait for a person's approval.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Gate {
    /// Not reached.
    #[default]
    Ahead,
    /// Waits.
    Reached,
    /// Approved.
    Passed,
}

/// Which waits a person has ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Promoted {
    #[default]
    Nothing,
    /// The present one.
    Once,
    /// This and all that follow.
    Full,
}

/// Why nothing goes forward.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Held {
    pub(crate) reason: String,
    pub(crate) by: HeldBy,
}

/// Who froze it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum HeldBy {
    Person,
    Failure,
}

/// The time without progress, and what counts as more of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stall {
    pub(crate) watch: Stopwatch,
    /// The most instances of the release moved to that were seen to serve.
    pub(crate) most: u32,
    /// The fewest instances of the release moved from that were seen.
    pub(crate) fewest: u32,
}

impl Stall {
    fn new() -> Self {
        Self {
            watch: Stopwatch::default(),
            most: 0,
            fewest: u32::MAX,
        }
    }
}

/// Reached by a rollout that is ready to let the old release go: more than any share.
pub(crate) const REACH_RETIRE: u32 = 10_001;

/// Begins a rollout.
#[must_use]
pub fn begin(plan: &Plan, now: Time) -> State {
    State {
        began: now,
        phase: Phase::Before,
        target: Target {
            old: plan.from.map_or(0, |_| plan.from_replicas),
            new: 0,
            share: Share::NONE,
            audiences: Vec::new(),
            shadow: None,
            jobs: BTreeSet::new(),
            measure: None,
        },
        asked: None,
        gate: Gate::Ahead,
        promoted: Promoted::Nothing,
        held: None,
        reach: 0,
        dwell: Stopwatch::default(),
        stall: Stall::new(),
    }
}

impl State {
    /// How far it has gone or is ready to go, comparable among the lockstep partners of a deploy:
    /// a partner with a smaller reach is behind. Basis points of traffic, and one more when it is
    /// ready to let the old release go.
    #[must_use]
    pub fn reach(&self) -> u32 {
        self.reach
    }

    /// Whether it is frozen until somebody resumes it.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// Why it returns to the old release; `None` while it does not, and when it has ended.
    #[must_use]
    pub fn returning(&self) -> Option<&str> {
        match &self.phase {
            Phase::Return(way) => Some(&way.reason),
            Phase::Before
            | Phase::Forward(_)
            | Phase::After
            | Phase::Keep
            | Phase::Retire
            | Phase::Ended(_) => None,
        }
    }

    /// How it ended, if it has.
    #[must_use]
    pub fn ended(&self) -> Option<&Ended> {
        match &self.phase {
            Phase::Ended(ended) => Some(ended),
            Phase::Before
            | Phase::Forward(_)
            | Phase::After
            | Phase::Keep
            | Phase::Retire
            | Phase::Return(_) => None,
        }
    }

    pub(crate) fn end(&mut self, outcome: Outcome, reason: String) -> String {
        let note = format!("{outcome}: {reason}");
        self.target.measure = None;
        self.target.shadow = None;
        self.phase = Phase::Ended(Ended { outcome, reason });
        note
    }

    /// Turns back to the old release. Where there is none, or where this is a way back already,
    /// the engine's own decision is a failure; a person's is what the person said.
    pub(crate) fn turn_back(&mut self, plan: &Plan, outcome: Outcome, reason: String) -> String {
        let no_way = plan.from.is_none() || plan.kind == RolloutKind::Rollback;
        let outcome = match outcome {
            Outcome::RolledBack if no_way => Outcome::Failed,
            Outcome::RolledBack
            | Outcome::Completed
            | Outcome::Aborted
            | Outcome::Superseded
            | Outcome::Failed => outcome,
        };
        let note = match plan.from {
            Some(from) => format!("returns to {from}: {reason}"),
            None => format!("stops {}: {reason}", plan.to),
        };
        self.held = None;
        self.gate = Gate::Ahead;
        self.asked = None;
        self.target.measure = None;
        self.target.audiences = Vec::new();
        self.target.shadow = None;
        self.stall = Stall::new();
        self.phase = Phase::Return(Return {
            outcome,
            reason,
            untouched: self.target.old >= plan.from_replicas,
            early: outcome == Outcome::Superseded,
            at_once: false,
            clean: false,
        });
        note
    }

    /// Asks for a share; it never shrinks on the way forward. A share of everything needs no
    /// audiences beside it.
    pub(crate) fn raise_share(&mut self, share: Share) {
        self.target.share = self.target.share.max(share);
        if self.target.share == Share::ALL {
            self.target.audiences = Vec::new();
            self.target.shadow = None;
            self.asked = None;
        }
    }

    /// Asks for audiences beside the share.
    pub(crate) fn ask_audiences(&mut self, view: &View<'_>, audiences: Vec<Audience>) {
        if self.target.audiences != audiences {
            self.target.audiences = audiences;
            self.asked = Some(view.seen.revision);
        }
    }

    /// Asks for the shadow of a step, from 1, or for none.
    pub(crate) fn ask_shadow(&mut self, view: &View<'_>, step: u32, shadow: Option<&Shadow>) {
        let rollout = view.plan.rollout;
        let shadow = shadow.map(|policy| ShadowTarget {
            key: ShadowKey {
                rollout,
                step,
                round: 0,
            },
            policy: policy.clone(),
        });
        if self.target.shadow != shadow {
            self.target.shadow = shadow;
            self.asked = Some(view.seen.revision);
        }
    }

    /// Throws away what was measured so far: a person says that it goes on all the same.
    pub(crate) fn measure_afresh(&mut self, now: Time) {
        self.target.measure = self.target.measure.map(|_| now);
        if let Some(shadow) = &mut self.target.shadow {
            shadow.key.round += 1;
        }
    }

    /// Says that it is ready for `reach`, and whether the lockstep partners are, too.
    pub(crate) fn reach_for(&mut self, reach: u32) {
        self.reach = self.reach.max(reach);
    }
}
