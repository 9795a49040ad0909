//! Migrations written for others run as they are: each goes forth, back, forth and to its end.

use std::path::PathBuf;

use migration::schema::Schema;
use postgres::{Consent, DatabaseError, Runner, Settings};

use crate::plans::{assert_clean, assert_same};
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
    let files = files(&directory);
    assert!(!files.is_empty(), "{directory} has no examples");
    for path in files {
        let script = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        if let Err(error) = goes(&mut runner, (&script, &text)).await {
            failed.push(format!("{script}: {error}"));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// Forth and back, which leaves the database as it was, then forth and to the end, which leaves
/// nothing of ours in it.
async fn goes(runner: &mut Runner, file: (&str, &str)) -> Result<(), DatabaseError> {
    let before = schema(runner).await?;
    if !ONE_WAY.contains(&file.0) {
        let change = runner.plan("public", file).await?;
        runner.expand(&change).await?;
        runner.abort(&change.version, "the first round").await?;
        assert_same(&before, &schema(runner).await?, file.0);
    }
    let change = runner.plan("public", file).await?;
    runner.expand(&change).await?;
    runner.contract(&change.version).await?;
    assert_clean(&schema(runner).await?, file.0);
    Ok(())
}

async fn schema(runner: &mut Runner) -> Result<Schema, DatabaseError> {
    let schema = postgres::read::schema(runner.client(), "public").await?;
    Ok(schema.without_estimates())
}
