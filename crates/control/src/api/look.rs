//! Secrets without values, log lines, the server's health, the audit.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The answer to a new version of a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SecretStored {
    /// The version of this form, 1.
    pub v: u32,
    /// Its name.
    pub name: String,
    /// The number of the new version.
    pub version: u32,
}

/// The secrets, without values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SecretList {
    /// The version of this form, 1.
    pub v: u32,
    /// In the order of their names.
    pub secrets: Vec<SecretView>,
}

/// One secret, without its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SecretView {
    /// Its name.
    pub name: String,
    /// Its versions that are not retired, the oldest first.
    pub versions: Vec<SecretVersion>,
}

/// One version of a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SecretVersion {
    /// Its number.
    pub version: u32,
    /// When it was set, as RFC 3339 in UTC.
    pub set: String,
}

/// One line that an instance or a job wrote. Logs are sent as one of these a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogLine {
    /// When it was read, as RFC 3339 in UTC with microseconds.
    pub at: String,
    /// The service.
    pub service: String,
    /// The release, `v42`.
    pub release: String,
    /// The instance, `web-v42-7`, or the job, `job-17-before`.
    pub instance: String,
    /// `stdout` or `stderr`.
    pub stream: String,
    /// The text without its line end.
    pub text: String,
    /// The line was not UTF-8: each other byte stands as `\xNN`.
    #[serde(default)]
    pub escaped: bool,
    /// The line was too long and goes on in the stream's next record.
    #[serde(default)]
    pub partial: bool,
    /// Instead of a line: so many bytes were dropped here while no worker read them.
    #[serde(default)]
    pub dropped_bytes: u64,
    /// Instead of a line: so many lines are missing here.
    #[serde(default)]
    pub dropped: u64,
}

impl From<&runtime::logs::LogLine> for LogLine {
    fn from(line: &runtime::logs::LogLine) -> Self {
        let stream = match line.stream {
            runtime::logs::Stream::Stdout => "stdout",
            runtime::logs::Stream::Stderr => "stderr",
        };
        Self {
            at: line.time.clone(),
            service: line.service.clone(),
            release: line.release.clone(),
            instance: line.instance.clone(),
            stream: stream.to_owned(),
            text: line.text.clone(),
            escaped: line.escaped,
            partial: line.partial,
            dropped_bytes: line.dropped_bytes,
            dropped: line.dropped,
        }
    }
}

/// What `doctor` asks the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DoctorFacts {
    /// The version of this form, 1.
    pub v: u32,
    /// What was looked at.
    pub facts: Vec<DoctorFact>,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DoctorFact {
    /// What.
    pub name: String,
    /// Whether it is well.
    pub level: FactLevel,
    /// What was seen.
    pub seen: String,
    /// What to do about it.
    pub fix: Option<String>,
}

/// Whether something is well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FactLevel {
    /// It is.
    Good,
    /// It works, and could be better.
    Warning,
    /// It is not.
    Bad,
}

/// The newest entries of the audit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditList {
    /// The version of this form, 1.
    pub v: u32,
    /// The newest first.
    pub entries: Vec<AuditLine>,
    /// The number of the first entry that does not follow from the one before, if any.
    pub broken_at: Option<i64>,
}

/// One command and its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditLine {
    /// When, as RFC 3339 in UTC.
    pub at: String,
    /// Who.
    pub actor: String,
    /// What was asked.
    pub command: String,
    /// `accepted`, or why it was refused.
    pub result: String,
}
