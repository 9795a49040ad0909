//! What a rollout waits for, as a value, so that nobody has to ask.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{DatabaseName, InstanceId, JobKind, ReleaseId, Revision, ServiceName};

/// One thing that a rollout waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "on", rename_all = "snake_case")]
pub enum WaitingOn {
    /// Instances to become ready.
    Ready {
        /// Of this release.
        release: ReleaseId,
        /// So many are.
        ready: u32,
        /// So many should be.
        wanted: u32,
    },
    /// Ready instances to have been so for `min_ready`.
    MinReady {
        /// Of this release.
        release: ReleaseId,
        /// What is left, in milliseconds.
        left_ms: u64,
    },
    /// Every proxy thread to confirm a table.
    Confirmed {
        /// The table.
        revision: Revision,
        /// Whether it has taken more than 5 s.
        overdue: bool,
    },
    /// Open requests of drained instances.
    Drain {
        /// So many are open.
        open_requests: u64,
        /// The drain limit comes in so many milliseconds.
        left_ms: u64,
    },
    /// Stopped instances to exit.
    Exit {
        /// Those that have not yet.
        instances: Vec<InstanceId>,
    },
    /// A step's time.
    Step {
        /// Its number, from 1.
        step: u32,
        /// Of so many.
        steps: u32,
        /// What is left, in milliseconds.
        left_ms: u64,
    },
    /// A person's approval.
    Gate {
        /// The step it ends, from 1; `None`: the switch of blue/green.
        step: Option<u32>,
    },
    /// Enough requests for a verdict.
    Verdict {
        /// Seen so far, by the side with fewer.
        requests: u64,
        /// Needed.
        min_requests: u64,
    },
    /// The time in which the old set is kept warm.
    Keep {
        /// What is left, in milliseconds.
        left_ms: u64,
    },
    /// A job to end.
    Job {
        /// Which.
        job: JobKind,
    },
    /// A database to reach the version that the new release needs.
    Schema {
        /// Which database.
        database: DatabaseName,
        /// The migration that makes the version.
        version: String,
    },
    /// A person to resume it.
    Held {
        /// Why it was frozen.
        reason: String,
    },
    /// Other services of the same deploy.
    Services {
        /// Their names.
        services: Vec<ServiceName>,
    },
    /// The journal to be writable again.
    Journal {
        /// What the write said.
        error: String,
    },
}

impl fmt::Display for WaitingOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready {
                release,
                ready,
                wanted,
            } => write!(f, "{ready} of {wanted} of {release} ready"),
            Self::MinReady { release, left_ms } => {
                write!(f, "{release} ready for {} more", Left(*left_ms))
            }
            Self::Confirmed {
                revision,
                overdue: false,
            } => write!(f, "table {revision} to be confirmed"),
            Self::Confirmed {
                revision,
                overdue: true,
            } => {
                write!(
                    f,
                    "table {revision} to be confirmed, overdue: a proxy thread hangs"
                )
            }
            Self::Drain {
                open_requests,
                left_ms,
            } => {
                write!(
                    f,
                    "drain: {open_requests} open requests, limit in {}",
                    Left(*left_ms)
                )
            }
            Self::Exit { instances } => {
                f.write_str("exit of ")?;
                list(f, instances)
            }
            Self::Step {
                step,
                steps,
                left_ms,
            } => write!(f, "step {step} of {steps}: {} left", Left(*left_ms)),
            Self::Gate { step: Some(step) } => write!(f, "gate: approve step {step}"),
            Self::Gate { step: None } => f.write_str("gate: approve the switch"),
            Self::Verdict {
                requests,
                min_requests,
            } => write!(f, "verdict: {requests} of {min_requests} requests"),
            Self::Keep { left_ms } => {
                write!(f, "old release kept warm for {} more", Left(*left_ms))
            }
            Self::Job { job } => write!(f, "job `{job}` to end"),
            Self::Schema { database, version } => {
                write!(f, "database `{database}` to reach `{version}`")
            }
            Self::Held { reason } => write!(f, "held: {reason}"),
            Self::Services { services } => {
                f.write_str("services ")?;
                list(f, services)
            }
            Self::Journal { error } => write!(f, "journal to be writable again: {error}"),
        }
    }
}

struct Left(u64);

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.div_ceil(1_000) {
            seconds @ 0..=119 => write!(f, "{seconds}s"),
            seconds => write!(f, "{}m{:02}s", seconds / 60, seconds % 60),
        }
    }
}

fn list<T: fmt::Display>(f: &mut fmt::Formatter<'_>, items: &[T]) -> fmt::Result {
    for (at, item) in items.iter().enumerate() {
        let comma = if at == 0 { "" } else { ", " };
        write!(f, "{comma}{item}")?;
    }
    Ok(())
}
