//! The command line of `gapless migrate lint`, with its exit codes.

use std::path::PathBuf;

use clap::Args;

use super::MigrateDatabase;

/// Options of `migrate lint`.
#[derive(Debug, Args)]
#[command(after_help = LINT_EXIT_CODES)]
pub(crate) struct MigrateLint {
    /// Files in the order in which they run, or folders of them
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// How to print: `sarif` is what code hosts show at the line; --json is `json`
    #[arg(long, value_enum, default_value_t = LintFormat::Text)]
    pub(crate) format: LintFormat,
    /// The environment variable that holds the URL of the database that they are for: sizes of
    /// tables, columns in use and migrations in progress are then known, and what is done there
    /// is passed over
    #[arg(long, value_name = "NAME")]
    pub(crate) url_from_env: Option<String>,
    /// The schema of the tables
    #[arg(
        long,
        value_name = "NAME",
        default_value = "public",
        requires = "url_from_env"
    )]
    pub(crate) schema: String,
}

impl MigrateLint {
    /// The database, if one is to be looked at.
    pub(crate) fn database(&self) -> Option<MigrateDatabase> {
        let url_from_env = self.url_from_env.clone()?;
        Some(MigrateDatabase {
            url_from_env,
            schema: self.schema.clone(),
        })
    }
}

const LINT_EXIT_CODES: &str = "\
Exit codes:
  0  nothing dangerous; there may be notes
  1  there are warnings or errors
  2  a file cannot be read, or is no migration";

/// How findings are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LintFormat {
    /// For people, with the source lines
    Text,
    /// For programs
    Json,
    /// SARIF 2.1.0
    Sarif,
}
