//! Planted bugs: what the rules are tested with.
//!
//! Each plant changes what passes between the engine and the world: it lies to the engine, or
//! does something else than the engine said, as an engine with that bug would. The model hears
//! the truth. A rule that never catches a plant is worth nothing.

mod act;
mod hear;
mod order;

use std::collections::BTreeMap;
use std::sync::Arc;

use engine::{Effect, Event, Spawn};
use model::{InstanceId, RolloutId, ServiceName};
use traffic::Table;

macro_rules! plants {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        /// A bug.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Plant {
            $($(#[doc = $doc])* $name,)*
        }

        impl Plant {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];
        }
    };
}

plants! {
    /// Routes to an instance as soon as it is ordered.
    RoutesUnready,
    /// Takes a failed probe for a passed one.
    ProbesAlwaysPass,
    /// Asks for one pass where the release asks for more.
    RiseIgnored,
    /// Routes on to what it has told to stop.
    RoutesStopped,
    /// Never hears that a process has ended.
    DeafToExits,
    /// Routes to the port beside.
    WrongPort,
    /// Gives two endpoints one cell.
    OneCellForTwo,
    /// Publishes a new table under the old revision.
    RevisionStays,
    /// Lets revisions fall with a new worker.
    RevisionFalls,
    /// Publishes the split of another rollout.
    WrongRollout,
    /// Starts an instance on a port in use.
    PortInUse,
    /// Starts an instance with the figures of another.
    CellInUse,
    /// Drains one instance more than it may.
    DrainsTooMany,
    /// Drains everything before the new is there.
    DrainsAll,
    /// Counts new instances before `min_ready`.
    MinReadyIgnored,
    /// Takes all instances for dispensable.
    MaxUnavailableIgnored,
    /// Takes a table for confirmed when the first thread has it.
    ConfirmsEarly,
    /// Stops what a published table lacks, without waiting for its confirmation.
    StopsUnconfirmed,
    /// Takes open requests for none.
    CountsNothing,
    /// Stops without counting.
    StopsUncounted,
    /// Knows no drain limit but now.
    DrainIgnored,
    /// Cuts while it counts.
    CutsEarly,
    /// Sends SIGKILL for the stop signal.
    KillsAtOnce,
    /// Knows no grace.
    GraceIgnored,
    /// Forgets what it has told to stop and still runs.
    ForgetsLiving,
    /// Never acknowledges an exit.
    NeverForgets,
    /// Takes a part of the share back and gives it again.
    ShareWavers,
    /// Publishes a share that no step names.
    ShareUnplanned,
    /// Knows no gates.
    GatesIgnored,
    /// Approves by itself.
    ApprovesItself,
    /// Goes through steps without waiting.
    StepsIgnored,
    /// Promotes by itself.
    PromotesItself,
    /// Says yes to a hold and goes on.
    HoldIgnored,
    /// Says yes to a pause and holds nothing.
    PauseIgnored,
    /// Never lets go what a pause holds.
    PauseEndless,
    /// Holds for longer than was asked for.
    PauseTooLong,
    /// Says yes to maintenance and stays open.
    CloseIgnored,
    /// Opens what is closed with the next release.
    OpensItself,
    /// Resumes by itself.
    ResumesItself,
    /// Says yes to an abort and promotes.
    AbortIgnored,
    /// Refuses an abort because of the journal.
    AbortNeedsDisk,
    /// Begins a second rollout beside the first.
    DeploysBeside,
    /// Supersedes without being told to.
    SupersedesUnasked,
    /// Never says that a rollout begins.
    NeverOpens,
    /// Never says that a rollout ends.
    NeverCloses,
    /// Says another end than it came to.
    ClosesFalsely,
    /// Answers a command twice.
    AnswersTwice,
    /// Does not answer a command.
    NeverAnswers,
    /// Says that something is in the way which is not.
    RefusesFalsely,
    /// Knows no order among services.
    OrderIgnored,
    /// Removes what older versions of the database need once the first newer instance starts.
    ContractsEarly,
    /// Knows no lockstep.
    LockstepIgnored,
    /// Goes on before the job has ended.
    JobIgnored,
    /// Takes a failed job for a passed one.
    JobFailureIgnored,
    /// Takes bad figures for good ones.
    FiguresAlwaysGood,
    /// Knows no checks.
    ChecksIgnored,
    /// Takes few requests for enough.
    DataInvented,
    /// Goes on without data where it should hold.
    NoDataPromotes,
    /// Starts what nothing asks for.
    StartsStrangers,
    /// Writes after it has acted.
    JournalsLast,
    /// Acts without writing.
    JournalsNever,
    /// Does not write where instances are.
    PlacesUnwritten,
    /// Does not write which rollout runs.
    RolloutUnwritten,
    /// Does not write the instances.
    FleetUnwritten,
    /// Recovers from what was written long ago.
    RecoversOld,
    /// Goes forward without the journal.
    ForwardUnwritten,
    /// Writes under an old epoch.
    EpochStays,
    /// Ends before everything has stopped.
    EndsEarly,
    /// Never ends.
    EndsNever,
    /// Looks again and again at the same moment.
    NeverRests,
    /// Runs one instance less than asked for.
    OneTooFew,
    /// Says yes to a scaling and keeps the number.
    ScaleIgnored,
    /// Says yes to a restart and keeps the instances.
    RestartIgnored,
    /// Does not let a rollback move back.
    NeverReturns,
    /// Lets a shadow answer users.
    ShadowAnswers,
    /// Goes on sending copies when a shadow is over.
    ShadowStays,
    /// Takes differing answers for equal ones.
    DifferencesIgnored,
}

/// The planted bug of one life, and what it remembers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Planted {
    pub(crate) plant: Option<Plant>,
    pub(crate) services: Vec<ServiceName>,
    pub(crate) spawned: Vec<Spawn>,
    pub(crate) stopped: Vec<InstanceId>,
    pub(crate) table: Arc<Table>,
    pub(crate) rollouts: BTreeMap<ServiceName, RolloutId>,
    /// Rollouts whose share was taken back once.
    pub(crate) wavered: Vec<RolloutId>,
    /// The command that gets this answer whatever the engine says.
    pub(crate) answer: Option<(u64, crate::check::Answer)>,
    /// Whether the server says that it has ended.
    pub(crate) ends_now: bool,
    /// What happens next, without anybody having caused it.
    pub(crate) next: Option<Event>,
    pub(crate) ticks: u64,
    pub(crate) old_entries: Option<BTreeMap<String, String>>,
}

/// The number of commands that nobody gave.
pub(crate) const OWN: u64 = u64::MAX;

impl Planted {
    pub(crate) fn new(plant: Option<Plant>) -> Self {
        Self {
            plant,
            ..Self::default()
        }
    }

    pub(crate) fn is(&self, plant: Plant) -> bool {
        self.plant == Some(plant)
    }

    /// What the engine hears instead; `None`: nothing.
    pub(crate) fn event(&mut self, event: Event) -> Option<Event> {
        if self.plant.is_none() {
            return Some(event);
        }
        self.hear(event)
    }

    /// What is done instead of what the engine said.
    pub(crate) fn effects(&mut self, effects: Vec<Effect>) -> Vec<Effect> {
        if self.plant.is_none() {
            return effects;
        }
        self.act(effects)
    }

    /// What a new worker finds.
    pub(crate) fn entries(
        &mut self,
        entries: &BTreeMap<String, String>,
    ) -> BTreeMap<String, String> {
        if !self.is(Plant::RecoversOld) {
            return entries.clone();
        }
        let old = self.old_entries.replace(entries.clone());
        old.unwrap_or_else(|| entries.clone())
    }

    /// The epoch that a new worker takes for its own.
    pub(crate) fn epoch(&self, epoch: u64) -> u64 {
        if self.is(Plant::EpochStays) { 1 } else { epoch }
    }

    /// When the engine is to be told that time has passed.
    pub(crate) fn wake(&self, wake: Option<u64>, now: u64) -> Option<u64> {
        if self.is(Plant::NeverRests) {
            Some(now)
        } else {
            wake
        }
    }

    /// Whether a table counts as confirmed by all once one thread has it.
    pub(crate) fn confirms_early(&self) -> bool {
        self.is(Plant::ConfirmsEarly)
    }
}
