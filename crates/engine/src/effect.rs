//! What the engine wants done.

use std::collections::BTreeMap;
use std::time::Duration;

use fleet::Signal;
use model::{
    Audience, DatabaseName, Epoch, InstanceId, JobKind, Refusal, ReleaseId, Revision, RolloutId,
    ServiceName, ShadowKey, Time,
};
use rollout::Ended;
use traffic::{Cell, Table};

/// One thing to do. A batch is carried out in order; what follows a refused journal entry in
/// the same batch is dropped, unless that entry says otherwise. Every effect is idempotent by
/// its own key: doing it twice is doing it once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Write this durably before going on; answered by `Journaled` or `JournalFailed`.
    Journal {
        /// The number of this batch.
        batch: u64,
        /// Nothing is written when the stored epoch is greater.
        epoch: Epoch,
        /// The changed parts of the engine's state, by key; `None`: remove.
        entries: BTreeMap<String, Option<String>>,
        /// What to do when it cannot be written.
        if_refused: IfRefused,
    },
    /// Start a process; answered by `Spawned`.
    Spawn(Spawn),
    /// Ask for an instance's health; answered by `Probed`. A probe of the same instance that
    /// still runs is not begun twice.
    Probe {
        /// Which.
        instance: InstanceId,
    },
    /// Send a signal to an instance's whole group. Its cell is marked as told first.
    Signal {
        /// Which.
        instance: InstanceId,
        /// Which signal.
        signal: Signal,
    },
    /// End what is still open at an instance; counted as cut.
    Cut {
        /// Which.
        instance: InstanceId,
    },
    /// Forget an instance: acknowledge its exit, free its port.
    Forget {
        /// Which.
        instance: InstanceId,
    },
    /// Publish a table; answered by `Confirmed` once every thread of every living worker has it.
    Publish {
        /// The table, without its audiences.
        table: Table,
        /// Audiences to be filled in, secrets resolved, by the index of their service.
        audiences: BTreeMap<usize, Vec<Audience>>,
    },
    /// Count the open requests of drained instances; answered by `Open`.
    CountOpen {
        /// Which.
        instances: Vec<InstanceId>,
    },
    /// Compare the releases of a rollout; answered by `Measured`.
    Measure {
        /// The rollout.
        rollout: RolloutId,
        /// Its service.
        service: ServiceName,
        /// The old release, if any.
        old: Option<ReleaseId>,
        /// The new release.
        new: ReleaseId,
        /// The begin of the window.
        since: Time,
        /// Over which window the old release's figures are taken.
        old_window: OldWindow,
        /// Whose findings are wanted beside the figures.
        shadow: Option<ShadowKey>,
    },
    /// Run a job of a rollout in the new release's directory and environment; answered by
    /// `JobEnded`. Never run twice for one rollout: one that was begun and is not known to have
    /// ended is waited for, and one whose end was lost is reported as failed.
    RunJob {
        /// The rollout.
        rollout: RolloutId,
        /// Its service.
        service: ServiceName,
        /// The release whose directory and environment it gets.
        release: ReleaseId,
        /// Which job.
        job: JobKind,
        /// How long it may take.
        timeout: Duration,
    },
    /// Remove what only the versions of a database before this one needed; answered by
    /// `Contracted`. Asked for again while it has not ended; what is done already is not done
    /// twice.
    Contract {
        /// Which database.
        database: DatabaseName,
        /// The migration that makes the version.
        version: String,
        /// A service whose release knows where the database is.
        service: ServiceName,
        /// That release.
        release: ReleaseId,
    },
    /// Look at what the supervisor runs; answered by `Children`.
    Observe,
    /// Begin the account of a rollout.
    OpenReceipt {
        /// The rollout.
        rollout: RolloutId,
        /// Its service.
        service: ServiceName,
    },
    /// End the account of a rollout: nothing of it will be done after this.
    CloseReceipt {
        /// The rollout.
        rollout: RolloutId,
        /// How it ended and why.
        ended: Ended,
    },
    /// Answer a command.
    Reply {
        /// Its number.
        id: u64,
        /// The rollouts that it began or concerns, by service; empty: nothing to do.
        result: Result<BTreeMap<ServiceName, RolloutId>, Refusal>,
    },
    /// Something worth telling people: a transition, in one sentence.
    Note {
        /// The rollout it belongs to.
        rollout: Option<RolloutId>,
        /// The service.
        service: ServiceName,
        /// The sentence.
        text: String,
    },
    /// Everything is stopped (the answer to `Terminate`).
    Terminated,
}

/// Over which window a rollout's old release is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OldWindow {
    /// The same as the new one's: both have requests.
    Same,
    /// The window of equal length, but at least 60 s, that ended at `since`: the new release has
    /// everything since then, and the old one is only kept warm.
    Before,
}

/// What to do when a journal entry cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfRefused {
    /// Drop what follows in the batch.
    Stop,
    /// Go on: traffic must move back even with a full disk. It is journaled later.
    Continue,
}

/// Everything about a process to start that the engine decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spawn {
    /// The fresh instance; also its key.
    pub instance: InstanceId,
    /// Its port, if the service has one.
    pub port: Option<u16>,
    /// Its figures in the ledger, to be cleared before it starts.
    pub cell: Cell,
    /// The revision from which on its port and cell are its own.
    pub revision: Revision,
}
