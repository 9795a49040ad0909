//! How a rollout is begun and how it can end.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a rollout was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RolloutKind {
    /// A deploy of a release.
    Deploy,
    /// A rollback to an earlier release: full size, one switch, no steps, gates or checks.
    Rollback,
}

/// How a rollout ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The new release is active.
    Completed,
    /// The engine returned to the old release.
    RolledBack,
    /// A person returned to the old release.
    Aborted,
    /// Another deploy took its place; the old release carries all traffic.
    Superseded,
    /// It stopped where it was; a person is needed.
    Failed,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Completed => "completed",
            Self::RolledBack => "rolled_back",
            Self::Aborted => "aborted",
            Self::Superseded => "superseded",
            Self::Failed => "failed",
        })
    }
}

/// Which one-off command of a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    /// Bring the database to the version that the new release needs, before everything else.
    Expand,
    /// Before the first new instance.
    Before,
    /// Against the new set of blue/green, before the switch.
    Smoke,
    /// After the new release has all traffic.
    After,
}

impl fmt::Display for JobKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expand => "expand",
            Self::Before => "before",
            Self::Smoke => "smoke",
            Self::After => "after",
        })
    }
}
