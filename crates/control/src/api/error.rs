//! Errors as they are sent.

use std::fmt;
use std::ops::{Deref, DerefMut};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::VERSION;

/// What kind of failure it is; each has one HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// 400: the request cannot be understood or is impossible.
    Invalid,
    /// 403: the caller may not do that.
    Forbidden,
    /// 404: there is no such thing.
    NotFound,
    /// 409: another rollout of the service is active.
    Locked,
    /// 409: it cannot be done now, or not in this state.
    Refused,
    /// 413: the body is too large.
    TooLarge,
    /// 503: the server cannot change anything now (disk full, ending, supervisor dead).
    Unavailable,
    /// 503: another worker answers now; nothing was done, ask again.
    Moved,
    /// 500: something failed that should not have.
    Internal,
}

impl Code {
    /// The HTTP status.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Invalid => 400,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::Locked | Self::Refused => 409,
            Self::TooLarge => 413,
            Self::Internal => 500,
            Self::Unavailable | Self::Moved => 503,
        }
    }
}

/// An error with everything that a person needs; reads and prints as its [`ApiError`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(transparent)]
#[error("{0}")]
pub struct Failure(Box<ApiError>);

/// The body of every answer that is no success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ApiError {
    /// The version of this form, 1.
    pub v: u32,
    /// What kind of failure it is.
    pub code: Code,
    /// What failed.
    pub error: String,
    /// Why.
    pub cause: Option<String>,
    /// What was seen, a line each: probe answers, log lines.
    pub evidence: Vec<String>,
    /// Where traffic is now.
    pub traffic: Option<String>,
    /// The next command.
    pub hint: Option<String>,
    /// The rollout that is in the way, or that it is about.
    pub rollout: Option<u64>,
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.error)?;
        match &self.cause {
            Some(cause) => write!(f, ": {cause}"),
            None => Ok(()),
        }
    }
}

impl Deref for Failure {
    type Target = ApiError;

    fn deref(&self) -> &ApiError {
        &self.0
    }
}

impl DerefMut for Failure {
    fn deref_mut(&mut self) -> &mut ApiError {
        &mut self.0
    }
}

impl Failure {
    /// An error that is only named so far.
    #[must_use]
    pub fn new(code: Code, error: impl Into<String>) -> Self {
        Self(Box::new(ApiError {
            v: VERSION,
            code,
            error: error.into(),
            cause: None,
            evidence: Vec::new(),
            traffic: None,
            hint: None,
            rollout: None,
        }))
    }

    /// Adds why.
    #[must_use]
    pub fn with_cause(mut self, cause: impl Into<String>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// Adds the next command.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds what was seen.
    #[must_use]
    pub fn with_evidence(mut self, lines: impl IntoIterator<Item = String>) -> Self {
        self.evidence.extend(lines);
        self
    }
}
