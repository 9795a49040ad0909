//! The command line of `migrate`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{MigrateLint, Name, short_span, span};

/// What can be done with a database's schema.
#[derive(Debug, Subcommand)]
pub(crate) enum Migrate {
    /// Say what is dangerous about migration files, or about the SQL of any tool
    Lint(MigrateLint),
    /// Show what the next migration would do: every statement, its locks, and why it is safe
    Plan(MigrateFiles),
    /// Publish the pending migrations' versions beside the old one; again to carry on
    Expand(MigrateExpand),
    /// Remove what the version before needed; nobody may use that any more
    Contract(MigrateContract),
    /// Take a migration back that is not contracted, however far it is
    Abort(MigrateName),
    /// Show migrations in progress and pending ones
    Status(MigrateFiles),
    /// List what was done, oldest first
    History(MigrateDatabase),
    /// Compare the files with the history; exit code 1 where they do not agree
    Validate(MigrateFiles),
    /// Accept files that have changed since they were done
    Repair(MigrateFiles),
    /// Count everything up to a migration as done, on a database without a history
    Baseline(MigrateBaseline),
    /// Let another server look after a database: the next one that deploys with it does
    Disown(MigrateDatabase),
}

/// Which database.
#[derive(Debug, Args)]
pub(crate) struct MigrateDatabase {
    /// The environment variable that holds the database's URL
    #[arg(long, value_name = "NAME", default_value = "DATABASE_URL")]
    pub(crate) url_from_env: String,
    /// The schema of the tables
    #[arg(long, value_name = "NAME", default_value = "public")]
    pub(crate) schema: String,
}

/// Which database and which files.
#[derive(Debug, Args)]
pub(crate) struct MigrateFiles {
    #[command(flatten)]
    pub(crate) database: MigrateDatabase,
    /// The directory of the migrations: .yaml, .yml, .json and .sql, in the order of their names
    #[arg(long, value_name = "DIR", default_value = "migrations")]
    pub(crate) migrations: PathBuf,
    /// Accept a pending migration that comes before one that is done
    #[arg(long)]
    pub(crate) out_of_order: bool,
}

/// Options of `migrate expand`.
#[derive(Debug, Args)]
pub(crate) struct MigrateExpand {
    #[command(flatten)]
    pub(crate) files: MigrateFiles,
    /// Up to this migration; by default all that are pending
    pub(crate) name: Option<String>,
    /// Yes to what the plan asks about, such as triggers that would fire
    #[arg(long)]
    pub(crate) yes: bool,
    /// The longest that others may wait because of a step that waits itself
    #[arg(long, value_name = "TIME", value_parser = short_span, default_value = "250ms")]
    pub(crate) lock_timeout: std::time::Duration,
    /// The longest that a step is tried again because of others' locks
    #[arg(long, value_name = "TIME", value_parser = span, default_value = "10m")]
    pub(crate) patience: std::time::Duration,
}

/// What is contracted.
#[derive(Debug, Args)]
pub(crate) struct MigrateContract {
    #[command(flatten)]
    pub(crate) which: MigrateName,
    /// Approve the contract of a database of gapless.toml: the server carries it out once no
    /// instance of an older release is left and the time for a rollback is over
    #[arg(long, value_name = "NAME", conflicts_with_all = ["name", "url_from_env", "schema"])]
    pub(crate) database: Option<Name>,
    /// Do not wait until the time for a rollback is over
    #[arg(long, requires = "database")]
    pub(crate) now: bool,
}

/// One migration in progress.
#[derive(Debug, Args)]
pub(crate) struct MigrateName {
    #[command(flatten)]
    pub(crate) database: MigrateDatabase,
    /// Its name; by default the oldest in progress to contract, the newest to abort
    pub(crate) name: Option<String>,
}

/// Options of `migrate baseline`.
#[derive(Debug, Args)]
pub(crate) struct MigrateBaseline {
    #[command(flatten)]
    pub(crate) database: MigrateDatabase,
    /// The last migration that the database has already
    pub(crate) name: String,
}
