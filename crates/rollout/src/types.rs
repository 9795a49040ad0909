//! What goes into a step and what comes out of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::{
    Audience, DatabaseName, InstanceId, JobKind, Outcome, Release, ReleaseId, Revision, RolloutId,
    RolloutKind, RolloutPolicy, SearchPath, ServiceName, Shadow, ShadowKey, Share, Time, WaitingOn,
};
use serde::{Deserialize, Serialize};
use verdict::{Figures, Sample};

use crate::State;

/// What the place that runs the instances can do; what it cannot is refused when planning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// The smallest step of a share.
    pub share_step: Share,
    /// Whether users can be kept on a release.
    pub affinity: bool,
    /// Whether a published share is confirmed.
    pub confirmation: bool,
    /// Whether lost requests are counted.
    pub loss_counting: bool,
}

/// Everything about a rollout that is fixed when it begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Its number.
    pub rollout: RolloutId,
    /// Why it was begun.
    pub kind: RolloutKind,
    /// The release it moves from; `None` on a first deploy.
    pub from: Option<ReleaseId>,
    /// The release it moves to.
    pub to: ReleaseId,
    /// Replicas that the old release is wanted to have when it begins.
    pub from_replicas: u32,
    /// Whether the old release had a ready instance when it begins; if not, nothing waits for it.
    pub from_ready: bool,
    /// Replicas that the new release shall have at the end.
    pub replicas: u32,
    /// Whether the service has a port, so that there is traffic to move.
    pub traffic: bool,
    /// The policy of the deploy that began it.
    pub policy: RolloutPolicy,
    /// The longer drain limit of the two releases, for the bound on its end.
    pub drain: Duration,
    /// The other services of a lockstep deploy.
    pub lockstep: BTreeSet<ServiceName>,
    /// What must be true of the database before anything is started; `None`: nothing that is not
    /// known to be.
    #[serde(default)]
    pub schema: Option<SchemaNeed>,
}

/// The version of a database's schema that a release needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaNeed {
    /// Which database.
    pub database: DatabaseName,
    /// The migration that makes the version.
    pub version: String,
}

impl SchemaNeed {
    /// What a release needs of its database; nothing where the release before it needed the same.
    #[must_use]
    pub fn between(from: Option<&Release>, to: &Release) -> Option<Self> {
        let needed = to.spec.database.as_ref()?;
        // A role of the version's own takes its password from the URL's.
        let login = |release: &Release| match needed.search_path {
            SearchPath::Role => release.spec.secrets.get(&needed.url).copied(),
            SearchPath::Url | SearchPath::Pgoptions | SearchPath::Alias => None,
        };
        let same = |from: &Release| {
            from.spec.database.as_ref() == Some(needed) && login(from) == login(to)
        };
        if from.is_some_and(same) {
            return None;
        }
        Some(Self {
            database: needed.name.clone(),
            version: needed.version.as_ref()?.migration.clone(),
        })
    }
}

/// Instances of one release, as counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Processes that are not known to have ended, whatever their state.
    pub running: u32,
    /// Ready now.
    pub ready: u32,
    /// Ready and so for at least `min_ready`.
    pub available: u32,
    /// The shortest time that a ready but not yet available one still needs.
    pub available_in: Option<Duration>,
    /// Drained or being stopped.
    pub draining: u32,
    /// Open requests of the drained ones.
    pub open_requests: u64,
    /// What is left of the longest drain limit.
    pub drain_left: Option<Duration>,
}

/// What is seen at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observation {
    /// The old release's instances.
    pub old: Counts,
    /// The new release's instances.
    pub new: Counts,
    /// The new release's share in the table that every proxy thread has confirmed;
    /// `None` while the newest table is not confirmed by all.
    pub share_confirmed: Option<Share>,
    /// Whether confirming takes more than 5 s already.
    pub confirm_overdue: bool,
    /// The revision that is being confirmed.
    pub revision: Revision,
    /// The newest figures that were asked for by [`Target::measure`].
    pub comparison: Option<Comparison>,
    /// The jobs that were asked for.
    pub jobs: BTreeMap<JobKind, JobState>,
    /// The new release cannot be run: a crash loop, a missing program, a stranger on the port; says why.
    pub trouble: Option<String>,
    /// The same of the old release; it matters only while returning to it.
    pub old_trouble: Option<String>,
    /// Instances of either release that were told to stop and have not yet exited, for people to see.
    pub exiting: Vec<InstanceId>,
    /// The lockstep partners; `Free` without any.
    pub peers: Peers,
}

/// Both releases over the same window.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    /// When the window began.
    pub since: Time,
    /// The old release.
    pub old: Sample,
    /// The new release.
    pub new: Sample,
    /// What comparing the answers to copies has found, and for which shadow.
    pub compared: Option<(ShadowKey, Figures)>,
}

/// How far a job is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Asked for and not yet ended.
    Running,
    /// Ended with 0.
    Passed,
    /// Ended otherwise, or ran out of time; says how.
    Failed(String),
}

/// What the lockstep partners of a deploy are at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Peers {
    /// No partners, or all are as far as this one (see [`State::reach`]), or completed: go on.
    #[default]
    Free,
    /// The reach of these is smaller: wait before the next promotion.
    Behind(Vec<ServiceName>),
    /// One returns (see [`State::returning`]) or has ended otherwise than completed: return
    /// too; says why.
    Failed(String),
}

/// A person's order to a running rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case")]
pub enum Order {
    /// End the present wait; `full`: all waits.
    Promote {
        /// All waits that follow, too.
        full: bool,
    },
    /// Freeze.
    Hold,
    /// Go on.
    Resume,
    /// Pass the present gate.
    Approve,
    /// Return to the old release.
    Abort,
    /// Return to the old release because another deploy takes its place.
    Supersede,
}

/// An order that cannot be carried out now; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

/// What should be true; whoever runs the instances converges to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Replicas of the old release.
    pub old: u32,
    /// Replicas of the new release.
    pub new: u32,
    /// The new release's share of the traffic.
    pub share: Share,
    /// Users of the new release beside its share: those of the steps so far, or a preview.
    pub audiences: Vec<Audience>,
    /// Copies of the old release's requests that the new one gets, answering nobody.
    #[serde(default)]
    pub shadow: Option<ShadowTarget>,
    /// Jobs that must have been started; each runs once per rollout.
    pub jobs: BTreeSet<JobKind>,
    /// The begin of the window in which both releases are compared; `None`: nothing to compare.
    ///
    /// Once the new release has a share of everything (the old set of blue/green is kept warm, the
    /// last step of a canary is done) the old one gets no requests: its figures are then those of the window of equal length,
    /// but at least 60 s, that *ended* at this time.
    pub measure: Option<Time>,
}

/// A shadow that is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShadowTarget {
    /// Which one.
    pub key: ShadowKey,
    /// Which requests are copied, and what becomes of the answers.
    pub policy: Shadow,
}

/// How a rollout ended and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// How.
    pub outcome: Outcome,
    /// Why, in one sentence with its evidence.
    pub reason: String,
}

/// What one step decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The state to journal and to give to the next step.
    pub state: State,
    /// What should be true now.
    pub target: Target,
    /// Why it is not at its end yet; empty only when it has ended.
    pub waiting_on: Vec<WaitingOn>,
    /// The next time at which time alone changes the decision.
    pub wake: Option<Time>,
    /// Set once it has ended.
    pub ended: Option<Ended>,
    /// What changed in this step, in sentences for the log.
    pub notes: Vec<String>,
}
