//! Databases as control sees them: what is asked of whoever runs migrations.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use engine::Removed;
use model::{DatabaseName, DatabasePolicy, SchemaAccount, SearchPath};
use runtime::Pending;
use tokio::sync::watch;

use crate::api::UnconvertedRows;
use crate::secret::SecretValue;

/// Where a database is, and how it is treated.
pub struct Site {
    /// Its name in the configuration.
    pub name: DatabaseName,
    /// The URL that migrations go to.
    pub url: SecretValue,
    /// The URL that programs get.
    pub program_url: SecretValue,
    /// How programs find the version that they were made for.
    pub search_path: SearchPath,
    /// The schema of its tables.
    pub schema: String,
    /// Which server this is: what no other one has, and where it is, for a person.
    pub server: (String, String),
    /// How its migrations are run.
    pub policy: DatabasePolicy,
}

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Site")
            .field("name", &self.name)
            .field("schema", &self.schema)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

/// A migration as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrationFile {
    /// Its file's name.
    pub name: String,
    /// Its content.
    pub text: String,
}

/// Whoever hears how it goes on, in sentences, a few a minute.
pub type Hear = Arc<dyn Fn(String) + Send + Sync>;

/// How work on a database is followed.
#[derive(Clone)]
pub struct Followed {
    /// Hears what happens.
    pub hear: Hear,
    /// Turns true when it is to stop at the next statement; what was done stays done.
    pub stop: watch::Receiver<bool>,
}

impl fmt::Debug for Followed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Followed")
            .field("stop", &*self.stop.borrow())
            .finish_non_exhaustive()
    }
}

/// What came of bringing a database to a version.
#[derive(Debug)]
pub struct Expansion {
    /// What was done, also when it failed.
    pub account: SchemaAccount,
    /// Where connections look by themselves: the `search_path` of one that is opened with the
    /// URL as it is.
    pub ended: Result<String, DatabaseFailed>,
}

/// Why something was not done in a database. The version before is served as ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseFailed {
    /// Which statement, why, and what to do.
    pub reason: String,
    /// Whether the same may succeed later.
    pub again: Again,
}

/// Why a contract was not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContractFailed {
    /// Why.
    pub failed: DatabaseFailed,
    /// What is gone all the same.
    pub removed: Removed,
}

/// Whether a failure may pass by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// Others were in the way, or the database was not reached.
    Later,
    /// Somebody must change something.
    Never,
}

/// What stands in a database's history, whoever wrote it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// The newest version up to which it is contracted, or is being contracted.
    pub contracted: Option<String>,
    /// The versions that were published and not taken back.
    pub served: BTreeSet<String>,
    /// The changes that were begun and are neither contracted nor taken back, oldest first.
    pub open: Vec<String>,
    /// What programs of older versions wrote and the open changes could not convert.
    pub unconverted: Vec<UnconvertedRows>,
}

/// Runs migrations. Everything can be stopped or killed anywhere and asked for again: it is
/// carried on where it ended, and what is done already is not done twice.
pub trait Databases: Send + Sync {
    /// Publishes every migration of `files` that is not yet, in their order.
    fn expand(
        &self,
        site: Arc<Site>,
        files: Arc<[MigrationFile]>,
        followed: Followed,
    ) -> Pending<'static, Expansion>;

    /// Removes what only the versions before that of `migration` needed, oldest first.
    fn contract(
        &self,
        site: Arc<Site>,
        migration: String,
        followed: Followed,
    ) -> Pending<'static, Result<(), ContractFailed>>;

    /// Looks what stands in the history. Nothing is changed.
    fn look(&self, site: Arc<Site>) -> Pending<'static, Result<Standing, DatabaseFailed>>;
}
