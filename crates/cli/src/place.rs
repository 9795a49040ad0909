//! Where the configuration and the state are.

use std::path::{Path, PathBuf};

use crate::args::Common;
use crate::exit::{Exit, Trouble};

/// The file that a project is described in.
pub(crate) const FILE: &str = "gapless.toml";

/// The configuration: the one named, else the nearest from here upwards.
pub(crate) fn config(common: &Common) -> Result<PathBuf, Trouble> {
    if let Some(file) = &common.config {
        return Ok(file.clone());
    }
    let here = here()?;
    let found = here
        .ancestors()
        .map(|folder| folder.join(FILE))
        .find(|file| file.is_file());
    found.ok_or_else(|| {
        Trouble::new(
            Exit::Usage,
            format!("no {FILE} in {} or above it", here.display()),
        )
        .hint("run `gapless init` to write one, or name one with --config FILE")
    })
}

/// The state directory: the one named, else `.gapless` beside the configuration.
pub(crate) fn state(common: &Common) -> Result<PathBuf, Trouble> {
    let state = match &common.state {
        Some(state) => state.clone(),
        None => config(common)?
            .parent()
            .unwrap_or(Path::new(""))
            .join(".gapless"),
    };
    std::path::absolute(&state).map_err(|error| {
        Trouble::new(
            Exit::Failed,
            format!(
                "the state directory {} has no absolute path",
                state.display()
            ),
        )
        .cause(error)
    })
}

/// The working directory.
pub(crate) fn here() -> Result<PathBuf, Trouble> {
    std::env::current_dir().map_err(|error| {
        Trouble::new(Exit::Failed, "the working directory cannot be told").cause(error)
    })
}
