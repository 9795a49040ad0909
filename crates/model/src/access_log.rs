//! The access log as configured.

use serde::{Deserialize, Serialize};

/// How much of the access log is kept, and what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessLog {
    /// A file this large is followed by the next.
    pub file_bytes_max: u64,
    /// Files kept, at least 2.
    pub files_max: u32,
    /// Whether queries are in it.
    pub query: QueryShown,
}

/// Whether a request's query is written down: secrets travel in queries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QueryShown {
    /// It is not.
    #[default]
    No,
    /// It is.
    Yes,
}
