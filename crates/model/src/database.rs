//! Databases: where one is, what a release needs of it, and when its old versions may go.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Digest, NameError, ServiceName};

/// The name of a database of the project; the rule is that of services' names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DatabaseName(ServiceName);

impl DatabaseName {
    /// Checks and wraps `name`.
    ///
    /// # Errors
    ///
    /// [`NameError`] when the text breaks the rule of services' names.
    pub fn try_new(name: &str) -> Result<Self, NameError> {
        ServiceName::try_new(name).map(Self)
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl From<ServiceName> for DatabaseName {
    fn from(name: ServiceName) -> Self {
        Self(name)
    }
}

impl fmt::Display for DatabaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A database as configured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Database {
    /// The secret that holds its URL.
    pub url: String,
    /// The directory of its migrations as written, relative to the configuration file.
    pub migrations: String,
    /// The schema of its tables.
    pub schema: String,
    /// How a release learns where its version is.
    pub search_path: SearchPath,
    /// Everything that is in force at once.
    pub policy: DatabasePolicy,
}

/// How an instance's connections learn which version of the schema is theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SearchPath {
    /// `options` is added to the URL that it gets.
    Url,
    /// The variable `PGOPTIONS`, which libpq reads.
    Pgoptions,
    /// The URL names another database, which a pool leads to the version.
    Alias,
    /// The URL names another user and password: a role of the version's own.
    Role,
}

/// How a database's migrations are run, and when they end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabasePolicy {
    /// How long a rollback must stay possible after the last rollout that needed a migration.
    #[serde(default = "a_day")]
    pub contract_after: Duration,
    /// Whether a person must approve the contract.
    #[serde(default = "yes")]
    pub approve: bool,
    /// The secret that holds the URL which migrations go to, where it is not the programs'.
    #[serde(default)]
    pub migrate_url: Option<String>,
    /// The longest that a step keeps others waiting while it waits for a lock.
    pub lock_timeout: Duration,
    /// The longest that a step is tried again because of others' locks.
    pub patience: Duration,
}

// What journals of before say nothing of.
fn a_day() -> Duration {
    Duration::from_secs(24 * 60 * 60)
}

fn yes() -> bool {
    true
}

/// The database that a release works with, and what it needs of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseDatabase {
    /// Its name in the configuration.
    pub name: DatabaseName,
    /// The secret that holds its URL, which is one of the release's.
    pub url: String,
    /// The schema of its tables.
    pub schema: String,
    /// The stored directory of its migrations.
    pub migrations: Digest,
    /// The last of its migrations, by name; `None`: there is none.
    pub version: Option<SchemaVersion>,
    /// How the release learns where its version is.
    pub search_path: SearchPath,
}

/// A version of a database's schema. Versions are in the order of their migrations' names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SchemaVersion {
    /// The migration that makes it.
    pub migration: String,
    /// The schema whose views show it.
    pub schema: String,
}

impl fmt::Display for SchemaVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.migration)
    }
}
