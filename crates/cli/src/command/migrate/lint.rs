//! `gapless migrate lint`: what is dangerous about files.

use std::path::{Path, PathBuf};

use ::lint::{File, Known, Severity};

use super::live::Live;
use crate::args::{LintFormat, MigrateLint};
use crate::exit::{Exit, Trouble};
use crate::output::Output;

/// The endings of files that may be migrations.
const ENDINGS: [&str; 4] = ["yaml", "yml", "json", "sql"];

/// Says what is dangerous about files; needs no server, and a database only to know more.
pub(super) async fn run(args: &MigrateLint, output: Output) -> Result<Exit, Trouble> {
    let mut texts = Vec::new();
    for path in &args.files {
        for path in migrations(path)? {
            let text = std::fs::read_to_string(&path).map_err(|error| unreadable(&path, error))?;
            texts.push((path.display().to_string(), text));
        }
    }
    let files = texts.iter().map(|(name, text)| File { name, text });
    let files: Vec<File<'_>> = files.collect();
    let linted = match args.database() {
        Some(database) => {
            let live = Live::read(&database).await?;
            live.with(|known| ::lint::lint(&files, known))
        }
        None => ::lint::lint(&files, Known::default()),
    };
    let format = if output.is_json() {
        LintFormat::Json
    } else {
        args.format
    };
    match format {
        LintFormat::Text => output.text(::lint::text(&files, &linted).trim_end()),
        LintFormat::Json => output.raw(::lint::json(&linted).to_string()),
        LintFormat::Sarif => {
            let log = ::lint::sarif(&files, &linted, env!("CARGO_PKG_VERSION"));
            output.raw(format!("{log:#}"));
        }
    }
    if !linted.unreadable.is_empty() {
        let count = linted.unreadable.len();
        return Err(Trouble::new(
            Exit::Usage,
            format!("{count} of {} files are no migrations", files.len()),
        ));
    }
    let matters = linted
        .findings
        .iter()
        .filter(|it| it.severity > Severity::Note)
        .count();
    output.note(format!(
        "{} files, {} findings, {matters} of them warnings or errors",
        files.len(),
        linted.findings.len()
    ));
    Ok(if matters == 0 {
        Exit::Done
    } else {
        Exit::Failed
    })
}

/// The file itself, or the migrations of a folder in the order of their names.
fn migrations(path: &Path) -> Result<Vec<PathBuf>, Trouble> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = std::fs::read_dir(path).map_err(|error| unreadable(path, error))?;
    let paths = entries.filter_map(Result::ok).map(|entry| entry.path());
    let fits = |path: &PathBuf| {
        let ending = path.extension().and_then(|ending| ending.to_str());
        ending.is_some_and(|ending| ENDINGS.contains(&ending))
    };
    let mut paths: Vec<PathBuf> = paths.filter(fits).collect();
    paths.sort();
    Ok(paths)
}

fn unreadable(path: &Path, error: std::io::Error) -> Trouble {
    Trouble::new(Exit::Usage, format!("{} cannot be read", path.display())).cause(error)
}
