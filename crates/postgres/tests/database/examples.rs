//! Migrations written for others run as they are: each goes forth, back, forth and to its end.

use std::path::PathBuf;

use postgres::{Consent, DatabaseError, Runner, Settings};

use crate::script::{Heard, runner_with, settings};
use crate::stand::Database;

/// SQL that says nothing of how it is taken back cannot be begun twice.
const ONE_WAY: [&str; 1] = ["40_create_enum_type.yaml"];

/// The directory of example migrations, in the order of their names.
const EXAMPLES: &str = "GAPLESS_PGROLL_EXAMPLES";

fn files(directory: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let ending = |path: &PathBuf| {
        path.extension()
            .is_some_and(|it| it == "yaml" || it == "json")
    };
    let mut files: Vec<PathBuf> = entries.filter(ending).collect();
    files.sort();
    files
}

#[tokio::test]
async fn every_example_starts_rolls_back_and_completes() {
    let Ok(directory) = std::env::var(EXAMPLES) else {
        eprintln!("skipped: {EXAMPLES} names no directory of example migrations");
        return;
    };
    let Some(database) = Database::new() else {
        return;
    };
    let heard = Heard::default();
    let yes = Settings {
        consent: Consent::Given,
        ..settings()
    };
    let (mut runner, _wish) = runner_with(&database, (yes, heard.observer()))
        .await
        .unwrap();
    let mut failed = Vec::new();
    for path in files(&directory) {
        let script = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let rounds = if ONE_WAY.contains(&script.as_str()) {
            1..2
        } else {
            0..2
        };
        for round in rounds {
            if let Err(error) = goes(&mut runner, (&script, &text), round).await {
                failed.push(format!("{script}, round {round}: {error}"));
                break;
            }
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// Forth, and in round 0 back, in round 1 to the end.
async fn goes(runner: &mut Runner, file: (&str, &str), round: u8) -> Result<(), DatabaseError> {
    let change = runner.plan("public", file).await?;
    runner.expand(&change).await?;
    match round {
        0 => runner.abort(&change.version, "the first round").await,
        _ => runner.contract(&change.version).await,
    }
}
