//! What must hold at every moment, judged by effects and by the world alone.
//!
//! Nothing here looks into the engine. The model keeps its own account of what people said, what
//! instances have proven, what is routed and which rollouts there are, and compares.

mod capacity;
mod command;
mod drain;
mod end;
mod journal;
mod pause;
mod receipt;
mod route;
mod shadow;
mod share;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use model::{
    Command, InstanceId, JobKind, Outcome, Policy, ReleaseId, RolloutId, RolloutKind, ServiceName,
    Share,
};
use traffic::Table;

pub(crate) use command::Answer;
pub(crate) use drain::Facts;
pub(crate) use end::Stand;
pub(crate) use route::endpoints;

/// A rule that the engine must never break.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// Traffic only to an instance that passed its probes in its present life.
    RoutesOnlyProven,
    /// Traffic only to the instance's own port and figures.
    RoutesOwnPort,
    /// No traffic to what was told to stop or is known to have ended.
    RoutesOnlyLiving,
    /// One revision is one table; a newer table has a greater one.
    RevisionNamesOneTable,
    /// A rollout's table carries its split and its name.
    RoutesWhatRuns,
    /// Ports and figures are given out again only when nobody uses them.
    PortsAreNotShared,
    /// Capacity that serves is not taken below the floor of the strategy.
    FloorHolds,
    /// What serves is never taken away altogether.
    SomethingServes,
    /// No signal before every thread has let go.
    SignalAfterUnrouted,
    /// No signal to an instance with open requests before its drain limit.
    SignalAfterDrain,
    /// Nothing is cut before its drain limit.
    CutAtLimit,
    /// SIGKILL only after the stop signal and its grace.
    KillAfterGrace,
    /// Only what has ended, and is in no table, is forgotten.
    ForgetsOnlyEnded,
    /// The new share only grows, but for a way back, which never turns again.
    ShareOnlyGrows,
    /// What has returned leaves no traffic on the new release.
    ReturnsWholly,
    /// A canary's share is one that its plan names.
    ShareIsPlanned,
    /// No gate is passed without approval.
    GateHolds,
    /// A step lasts its time.
    StepLasts,
    /// A release that gets copies only answers nobody.
    ShadowAnswersNobody,
    /// A frozen rollout does not move on.
    HoldHolds,
    /// A pause holds new requests while it lasts.
    PauseHolds,
    /// A pause ends.
    PauseEnds,
    /// A service is closed for maintenance when and as long as somebody wants it to be.
    ClosedAsAsked,
    /// An abort wins.
    AbortWins,
    /// One active rollout per service.
    OneRollout,
    /// Each rollout is accounted for once, from before its first action to its end.
    ReceiptFrames,
    /// A command is answered exactly once.
    AnswersOnce,
    /// A command is refused for a reason that holds.
    RefusesRightly,
    /// A deploy that takes another's place begins when the old release has all traffic.
    SupersedesInOrder,
    /// Services of a deploy begin in the order asked for.
    BeginsInOrder,
    /// Lockstep services end alike.
    EndsTogether,
    /// A job runs once, at its place.
    JobsRunOnce,
    /// Nothing is removed from a database that an instance still needs, or may get to need.
    ContractsUnneeded,
    /// A release that cannot serve is never completed.
    BadNeverCompletes,
    /// No data is no pass.
    NoDataNoPass,
    /// Held time does not count against the deadline.
    HeldTimeIsFree,
    /// Only instances of releases that have a reason to run are started.
    StartsWithReason,
    /// What is done was journaled first.
    JournalsFirst,
    /// Nothing goes forward without the journal.
    ForwardNeedsJournal,
    /// The journal is written by the newest worker alone.
    EpochFences,
    /// What is journaled leads back to the same state.
    RecoversSame,
    /// Deciding never panics.
    NeverPanics,
    /// One seed is one life.
    Replays,
    /// No orphan instance, port or exit is left.
    NothingOrphaned,
    /// Everything ends in bounded time once faults stop.
    EndsInTime,
    /// In the end the service has what was asked for.
    EndsAsAsked,
    /// Deciding comes to rest.
    ComesToRest,
    /// The server ends only when nothing runs.
    TerminatesClean,
}

/// A broken rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub rule: Rule,
    /// When, in milliseconds of the life.
    pub at: u64,
    /// What was seen.
    pub seen: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {} ms: {}", self.rule, self.at, self.seen)
    }
}

/// The independent account of one life.
#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) now: u64,
    pub(crate) violation: Option<Violation>,
    instances: BTreeMap<InstanceId, Known>,
    services: BTreeMap<ServiceName, Service>,
    rollouts: BTreeMap<RolloutId, Roll>,
    newest: Arc<Table>,
    /// Starts and ends of rollouts that were decided, and starts of instances.
    written: BTreeSet<InstanceId>,
    /// Commands that nothing was decided about.
    asked: BTreeMap<u64, Command>,
    /// Commands that were decided about and whose answer is still to be said.
    decided: BTreeSet<u64>,
    /// Whether the server was told to end.
    ending: bool,
    /// So many workers have lived.
    lives: u64,
    /// What versions of the database before this needed was removed, or may be.
    contracted: Option<String>,
    /// What versions of the database before this needed was removed.
    removed: Option<String>,
}

/// What is known of an instance.
#[derive(Debug, Default)]
struct Known {
    port: Option<u16>,
    cell: u32,
    /// An answer to a probe is awaited.
    probed: bool,
    /// Passes in a row that were delivered in this worker's life.
    passes: u32,
    failures: u32,
    /// Since when it has proven itself in its life.
    proven: Option<u64>,
    /// Ready, as far as the answers that were delivered say.
    healthy: Option<u64>,
    exit_heard: bool,
    /// What an earlier worker heard of it may be lost.
    doubt: bool,
    told: Option<u64>,
    /// Whether any table had it.
    routed: bool,
    /// When the first table without it was published.
    drained: Option<u64>,
    /// Its start is in no journal.
    unwritten: bool,
    /// And the worker that started it is gone.
    orphan: bool,
}

/// What is known of a service.
#[derive(Debug, Default)]
struct Service {
    policy: Option<Policy>,
    scaled: Option<u32>,
    active: Option<ReleaseId>,
    previous: Option<ReleaseId>,
    releases: BTreeMap<ReleaseId, ReleaseFacts>,
    /// The rollout whose receipt is open.
    open: Option<RolloutId>,
    stopped: bool,
    pause: pause::Pause,
    /// For maintenance.
    is_closed: bool,
    /// A failed rollout left it as it was.
    left: Option<RolloutId>,
    /// Instances with smaller serials were to be replaced.
    restarted: Option<u64>,
    /// Something about it is not known for sure.
    unsure: bool,
    /// When what people want of it changed last.
    wanted_changed: u64,
}

/// What the world knows of a release.
#[derive(Debug, Clone)]
pub(crate) struct ReleaseFacts {
    pub(crate) digest: model::Digest,
    pub(crate) has_port: bool,
    pub(crate) fixed_port: bool,
    pub(crate) rise: u32,
    pub(crate) fall: u32,
    pub(crate) drain: u64,
    pub(crate) grace: u64,
    /// It can never become ready.
    pub(crate) hopeless: bool,
    /// The version of the database that it was made for.
    pub(crate) version: Option<String>,
}

/// What is known of a rollout.
#[derive(Debug)]
struct Roll {
    service: ServiceName,
    kind: RolloutKind,
    to: ReleaseId,
    from: Option<ReleaseId>,
    policy: Policy,
    replicas: u32,
    from_replicas: u32,
    from_ready: bool,
    has_port: bool,
    opened: Option<u64>,
    closed: Option<Outcome>,
    /// Its begin was said.
    announced: bool,
    /// Its begin was decided.
    begin_written: bool,
    /// In the life of which worker.
    begun_in: u64,
    /// How it was decided to end.
    end_written: Option<Outcome>,
    /// Whether it ended where its return was stuck.
    return_failed: bool,
    /// It ended as the only one that serves.
    alone: bool,
    /// When figures were last asked for.
    asked_at: u64,
    after: BTreeSet<RolloutId>,
    partners: BTreeSet<RolloutId>,
    /// The greatest share so far.
    share: Share,
    /// When each share was first published.
    shares: Vec<(Share, u64)>,
    /// When the shadow of each step was first published, and whether enough was compared in it.
    shadows: BTreeMap<u32, (u64, bool)>,
    shrunk: bool,
    aborted: Option<Share>,
    superseded: bool,
    /// A partner has turned back while it could still do so itself.
    must_return: bool,
    held: Option<(u64, Share)>,
    /// When it was last resumed, or begun.
    running_since: u64,
    promoted: bool,
    approvals: usize,
    jobs: BTreeMap<JobKind, Option<bool>>,
    /// The window asked for last, and whether enough good or bad figures of it were delivered.
    window: u64,
    measured: bool,
    bad: bool,
    /// Something was lost with a worker that could have changed its course.
    amnesty: bool,
}

impl Model {
    pub(crate) fn violate(&mut self, rule: Rule, seen: String) {
        if self.violation.is_none() {
            self.violation = Some(Violation {
                rule,
                at: self.now,
                seen,
            });
        }
    }

    /// A release exists from now on.
    pub(crate) fn release(&mut self, service: &ServiceName, id: ReleaseId, facts: ReleaseFacts) {
        let service = self.services.entry(service.clone()).or_default();
        service.releases.insert(id, facts);
    }

    fn facts(&self, service: &ServiceName, release: ReleaseId) -> Option<&ReleaseFacts> {
        self.services.get(service)?.releases.get(&release)
    }

    fn open_roll(&self, service: &ServiceName) -> Option<(RolloutId, &Roll)> {
        let id = self.services.get(service)?.open?;
        Some((id, self.rollouts.get(&id)?))
    }

    /// A new worker has taken over: answers in a row are counted anew. What was decided and
    /// could not be written is forgotten by the engine, too.
    pub(crate) fn new_worker(&mut self, unwritten: bool) {
        for known in self.instances.values_mut() {
            known.probed = false;
            known.passes = 0;
            known.failures = 0;
            // That it fails or has ended may not have been written down.
            known.doubt = known.proven.is_some() && (known.exit_heard || known.healthy.is_none());
            known.exit_heard = false;
            known.orphan |= known.unwritten;
        }
        self.lives += 1;
        // What was not written down with a worker's last words is not in force.
        self.asked.clear();
        self.decided.clear();
        if unwritten {
            for known in self.instances.values_mut().filter(|known| !known.routed) {
                // Told without having served, and without its being written down.
                known.told = None;
            }
            for roll in self.rollouts.values_mut() {
                roll.amnesty = true;
                if roll.closed.is_none() {
                    roll.end_written = None;
                }
            }
            for service in self.services.values_mut() {
                service.unsure = true;
            }
        }
    }

    /// Power failed: nothing that ran runs any more.
    pub(crate) fn power_lost(&mut self) {
        self.instances.clear();
        self.newest = Arc::new(Table {
            revision: self.newest.revision,
            ..Table::default()
        });
        self.ending = false;
    }

    pub(crate) fn terminating(&mut self) {
        self.ending = true;
        for service in self.services.values_mut() {
            service.pause = pause::Pause::Unsure;
        }
    }
}
