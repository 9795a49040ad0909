//! Everything that CI runs, in the order in which a mistake shows soonest.

use crate::{database, fuzz, generate, run, tidy};

/// A small number of schedules for every run; `cargo xtask sim` runs more.
const SCHEDULES: &str = "20000";

/// Format, lints, tidy, generated files, tests, fuzz targets, simulation.
pub(crate) fn all() -> Result<(), String> {
    run::cargo(&["fmt", "--all", "--check"])?;
    tidy::check()?;
    run::cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ])?;
    database::install()?;
    // The end-to-end tests start the binary itself.
    run::cargo(&["build", "--workspace", "--bins"])?;
    generate::run(true)?;
    run::cargo(&["test", "--workspace", "--no-fail-fast"])?;
    fuzz::briefly()?;
    let args = ["--schedules", SCHEDULES].map(str::to_owned);
    run::sim(&args)
}
