//! What a runner tells while it works.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

/// Who hears what happens. Called between statements, so it must return soon.
pub type Observer = Arc<dyn Fn(&Event) + Send + Sync>;

/// Something that happened.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A step begins.
    Step {
        /// Which part of the plan.
        part: &'static str,
        /// Its place in the part, from 1.
        number: usize,
        /// How many steps the part has.
        of: usize,
        /// What it does.
        title: String,
    },
    /// A statement is about to be sent.
    Statement {
        /// The statement.
        sql: String,
    },
    /// A step is done.
    Done {
        /// What it does.
        title: String,
        /// Milliseconds from its begin, with its waits.
        took_ms: u64,
        /// How often it was tried.
        attempts: u32,
        /// The longest that it could keep another statement waiting, in milliseconds: from its
        /// first lock to its commit, in the try that succeeded.
        held_ms: u64,
    },
    /// Somebody holds what a step needs; it is tried again.
    Waiting {
        /// What the step does.
        title: String,
        /// Milliseconds since its first try.
        waited_ms: u64,
        /// Who holds it.
        blockers: Vec<Blocker>,
    },
    /// A try failed for a reason that may pass.
    Again {
        /// What the step does.
        title: String,
        /// Why.
        reason: String,
    },
    /// A batch of a backfill is done.
    Backfill(Progress),
    /// A backfill waits for something other than rows.
    Held {
        /// For what: `replica lag 2300 ms`, `paused`.
        reason: String,
    },
    /// A part of the plan failed for good, and all of it is taken back.
    Aborting {
        /// Why.
        reason: String,
    },
}

/// A session in the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Blocker {
    /// The server's process.
    pub pid: i32,
    /// What the session calls itself.
    pub application: String,
    /// What it has locked.
    pub table: String,
    /// How.
    pub lock: String,
    /// `active`, `idle in transaction`.
    pub state: String,
    /// Milliseconds since its transaction began.
    pub since_ms: u64,
}

impl std::fmt::Display for Blocker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let since = Duration::from_millis(self.since_ms).as_secs();
        write!(
            f,
            "pid {}'s lock on {} since {since} s",
            self.pid, self.table
        )?;
        match (self.application.is_empty(), self.state.is_empty()) {
            (false, false) => write!(f, " ({}, {})", self.application, self.state),
            (false, true) => write!(f, " ({})", self.application),
            (true, false) => write!(f, " ({})", self.state),
            (true, true) => Ok(()),
        }
    }
}

/// How far a backfill is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// The table.
    pub table: String,
    /// Rows filled in, also by runners before this one.
    pub rows: u64,
    /// Rows that there seem to be, if anybody knows.
    pub rows_total: Option<u64>,
    /// Rows of the last batch.
    pub batch_rows: u64,
    /// Milliseconds of the last batch.
    pub batch_ms: u64,
    /// Seconds that the rest may take at this run's speed.
    pub remaining_s: Option<u64>,
}

pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
