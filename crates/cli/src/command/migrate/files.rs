//! The migration files of a directory, and what the history knows of them.

use std::fs;
use std::path::Path;

use migration::Migration;
use postgres::{Entry, Phase};

use crate::exit::{Exit, Trouble};

/// The most files of a directory.
const FILES_MAX: usize = 10_000;

/// In which order migrations may be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// That of their names.
    OfNames,
    /// Any.
    Any,
}

/// One migration file.
#[derive(Debug, Clone)]
pub(crate) struct File {
    /// Its name.
    pub(crate) script: String,
    /// Its content.
    pub(crate) text: String,
    /// What it says.
    pub(crate) migration: Migration,
}

/// The migration files of a directory, in the order of their names.
#[derive(Debug)]
pub(crate) struct Files(Vec<File>);

impl Files {
    /// Reads the files that end in `.yaml`, `.yml`, `.json` or `.sql`.
    pub(crate) fn read(directory: &Path) -> Result<Self, Trouble> {
        let failed = |error: std::io::Error| {
            Trouble::new(
                Exit::Usage,
                format!("{} cannot be read", directory.display()),
            )
            .cause(error)
            .hint("name the directory of the migrations with --migrations")
        };
        let mut names = Vec::new();
        for entry in fs::read_dir(directory).map_err(failed)? {
            let name = entry
                .map_err(failed)?
                .file_name()
                .to_string_lossy()
                .into_owned();
            if migration::is_file_name(&name) {
                names.push(name);
            }
        }
        if names.len() > FILES_MAX {
            let what = format!(
                "{} has more than {FILES_MAX} migrations",
                directory.display()
            );
            return Err(Trouble::new(Exit::Usage, what));
        }
        names.sort();
        let texts = names.into_iter().map(|script| {
            let text = fs::read_to_string(directory.join(&script)).map_err(failed)?;
            Ok((script, text))
        });
        Self::of(texts.collect::<Result<_, _>>()?)
    }

    /// Understands files, each a name and its content, in the order of their names.
    pub(crate) fn of(texts: Vec<(String, String)>) -> Result<Self, Trouble> {
        let files = texts.into_iter().map(|(script, text)| {
            let migration = migration::read(&script, &text).map_err(|report| {
                Trouble::new(Exit::Usage, format!("`{script}` is no migration"))
                    .cause(report.render(&script, &text).trim_end())
            })?;
            Ok(File {
                script,
                text,
                migration,
            })
        });
        files.collect::<Result<Vec<File>, Trouble>>().map(Self)
    }

    /// All of them.
    pub(crate) fn all(&self) -> &[File] {
        &self.0
    }

    /// Those that are still to be published, in order.
    pub(crate) fn pending(
        self,
        entries: &[Entry],
        (base, order): (&str, Order),
    ) -> Result<Vec<File>, Trouble> {
        let early = self.out_of_order(entries, base);
        if let (Some(name), Order::OfNames) = (early.first(), order) {
            let what = format!("`{name}` comes before migrations that are done, and is not done");
            return Err(Trouble::new(Exit::Usage, what)
                .hint("rename it, or accept the order with --out-of-order"));
        }
        let pending = self
            .0
            .into_iter()
            .filter(|file| is_pending(&file.migration.name, entries, base));
        Ok(pending.collect())
    }

    fn out_of_order(&self, entries: &[Entry], base: &str) -> Vec<&str> {
        let names = || self.0.iter().map(|file| file.migration.name.as_str());
        let last_done = names().rposition(|name| live(name, entries, base).is_some());
        let before = names().take(last_done.unwrap_or(0));
        before
            .filter(|name| is_pending(name, entries, base))
            .collect()
    }

    /// Where the files and the history do not agree, a sentence each.
    pub(crate) fn problems(&self, entries: &[Entry], base: &str) -> Vec<String> {
        let mut problems = Vec::new();
        for file in &self.0 {
            let name = &file.migration.name;
            match live(name, entries, base) {
                Some(entry) if entry.kind == "BASELINE" => {}
                Some(entry) if entry.checksum != file.migration.checksum() => {
                    problems.push(format!("`{name}` has changed since it was done; `gapless migrate repair` accepts it"));
                }
                Some(_) => {}
                None if is_pending(name, entries, base) => {
                    problems.push(format!("`{name}` is pending"));
                }
                None => {}
            }
        }
        for name in self.out_of_order(entries, base) {
            problems.push(format!("`{name}` comes before migrations that are done"));
        }
        for entry in entries
            .iter()
            .filter(|entry| entry.base == base && entry.kind != "BASELINE")
        {
            let there = self
                .0
                .iter()
                .any(|file| file.migration.name == entry.version);
            if !there && entry.phase != Phase::Aborted {
                problems.push(format!("`{}` is done, and its file is gone", entry.version));
            }
            if !entry.phase.is_settled() {
                problems.push(format!(
                    "`{}` is unfinished, in `{}`",
                    entry.version,
                    entry.phase.name()
                ));
            }
        }
        problems
    }
}

fn live<'a>(name: &str, entries: &'a [Entry], base: &str) -> Option<&'a Entry> {
    let mut entries = entries.iter();
    entries.find(|it| it.base == base && it.version == name && it.phase != Phase::Aborted)
}

/// Neither published nor below the baseline. One that was begun is still to be published.
fn is_pending(name: &str, entries: &[Entry], base: &str) -> bool {
    let below = entries.iter().any(|entry| {
        entry.base == base && entry.kind == "BASELINE" && name <= entry.version.as_str()
    });
    let done = live(name, entries, base).is_some_and(|entry| {
        matches!(
            entry.phase,
            Phase::Published | Phase::Contract | Phase::Contracted
        )
    });
    !below && !done
}
