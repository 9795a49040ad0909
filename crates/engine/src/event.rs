//! What the engine is told.

use std::collections::{BTreeMap, BTreeSet};

use fleet::{Child, Exit, ProbeResult, SpawnError};
use model::{
    Command, DatabaseName, InstanceId, JobKind, ReleaseId, Revision, RolloutId, ServiceName,
};
use rollout::Comparison;

/// Something that happened. Any of them may come late, twice, or (but for `Command`) never:
/// what is overdue is asked for again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Everything the supervisor runs: the first event after a start, and the answer to
    /// [`crate::Effect::Observe`].
    Children(Vec<Child>),
    /// The time asked for by [`crate::Engine::wake`] has come.
    Tick,
    /// A person's command; answered by exactly one [`crate::Effect::Reply`] with this number.
    Command {
        /// The number to answer under.
        id: u64,
        /// What is asked.
        command: Command,
    },
    /// The journal of this batch was written. Comes before any other event.
    Journaled {
        /// The batch.
        batch: u64,
    },
    /// The journal of this batch could not be written; what depended on it was not done.
    /// Comes before any other event.
    JournalFailed {
        /// The batch.
        batch: u64,
        /// What the write said.
        error: String,
    },
    /// A spawn was carried out, or could not be.
    Spawned {
        /// Which.
        instance: InstanceId,
        /// The error says why.
        result: Result<(), SpawnError>,
    },
    /// A process ended.
    Exited {
        /// Which.
        instance: InstanceId,
        /// How.
        exit: Exit,
    },
    /// A probe ended.
    Probed {
        /// Which.
        instance: InstanceId,
        /// How.
        result: ProbeResult,
    },
    /// Every proxy thread of every living worker has this table or a newer one.
    Confirmed {
        /// The table.
        revision: Revision,
    },
    /// Open requests of drained instances, over all workers.
    Open(BTreeMap<InstanceId, u64>),
    /// Both releases of a rollout over the window asked for.
    Measured {
        /// The rollout.
        rollout: RolloutId,
        /// The figures.
        comparison: Comparison,
    },
    /// A job ended.
    JobEnded {
        /// The rollout.
        rollout: RolloutId,
        /// Which of its jobs.
        job: JobKind,
        /// The error says how it failed.
        result: Result<(), String>,
    },
    /// A contract ended.
    Contracted {
        /// Of which database.
        database: DatabaseName,
        /// Up to which version.
        version: String,
        /// The error says how it failed; the versions before may still be served.
        result: Result<(), NotContracted>,
    },
    /// What stands in the history of a database, whoever wrote it.
    SchemaSeen {
        /// Of which database.
        database: DatabaseName,
        /// The newest version up to which it is contracted, or is being contracted.
        contracted: Option<String>,
        /// The versions that were published and not taken back.
        served: BTreeSet<String>,
    },
    /// Old releases were removed from the store: they can no longer be rolled out.
    /// Those that [`crate::Engine::in_use`] names are kept all the same.
    Pruned {
        /// The service.
        service: ServiceName,
        /// Its releases that are gone.
        releases: Vec<ReleaseId>,
    },
    /// The server is told to end: drain and stop everything.
    Terminate,
}

/// Why a contract ended without being done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotContracted {
    /// For a person.
    pub reason: String,
    /// What is gone all the same.
    pub removed: Removed,
}

/// What a contract that failed has removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    /// Nobody knows: the database was not reached, or somebody is at work there.
    Unknown,
    /// What the versions before this one needed, and nothing more; `None`: nothing at all.
    Before(Option<String>),
}
