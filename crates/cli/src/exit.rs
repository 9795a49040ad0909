//! Exit codes and errors as people see them.

use std::fmt;

/// What the process says to its caller; documented in the help text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exit {
    /// Done.
    Done = 0,
    /// Failed.
    Failed = 1,
    /// Wrong usage or configuration.
    Usage = 2,
    /// Rolled back: the old release serves.
    RolledBack = 3,
    /// Waits for an approval.
    Waits = 4,
    /// Lost contact: the rollout continues.
    LostContact = 5,
    /// Locked by another rollout.
    Locked = 6,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error with everything a tired person needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// The exit code.
    pub(crate) exit: Exit,
    /// What failed.
    pub(crate) what: String,
    /// Why.
    pub(crate) cause: Option<String>,
    /// Probe answers, log lines: what was seen, a line each.
    pub(crate) evidence: Vec<String>,
    /// Where traffic is now.
    pub(crate) traffic: Option<String>,
    /// The next command.
    pub(crate) hint: Option<String>,
}

impl Trouble {
    /// An error that is only named so far.
    pub(crate) fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self {
            exit,
            what: what.into(),
            cause: None,
            evidence: Vec::new(),
            traffic: None,
            hint: None,
        }
    }

    /// Adds why.
    #[must_use]
    pub(crate) fn cause(mut self, cause: impl fmt::Display) -> Self {
        self.cause = Some(cause.to_string());
        self
    }

    /// Adds the next command.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.what)?;
        if let Some(cause) = &self.cause {
            write!(f, "\ncause: {cause}")?;
        }
        for line in &self.evidence {
            write!(f, "\n     | {line}")?;
        }
        if let Some(traffic) = &self.traffic {
            write!(f, "\ntraffic: {traffic}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\nhint: {hint}")?;
        }
        Ok(())
    }
}
