//! From a migration file and a database as it is now to a change that can be run.

use migration::plan::Step;
use migration::schema::Schema;
use migration::{Database, Migration, Open};
use model::diagnostic::Report;
use tokio_postgres::Client;

use crate::error::DatabaseError;
use crate::read;
use crate::state::{self, Change, Entry, Kind, Phase};

/// Plans `file` (its name and its content) for the tables of the schema `base`, beside the
/// changes that are in progress there. Nothing is written.
///
/// # Errors
///
/// [`DatabaseError::Refused`] with every mistake that the file makes against the schema.
pub async fn plan(
    client: &mut Client,
    base: &str,
    file: (&str, &str),
) -> Result<Change, DatabaseError> {
    let history = state::history(client).await?;
    let schema = read::schema(client, base).await?;
    let (script, text) = file;
    let migration = parse(script, text)?;
    let known = crate::run::live(&history, base, &migration.name);
    if let Some(done) = known.filter(|entry| entry.phase == Phase::Contracted) {
        return Err(DatabaseError::history(format!(
            "`{}` is contracted: there is nothing left to plan",
            done.version
        )));
    }
    let rank = known.map_or_else(|| state::next_rank(&history), |entry| entry.installed_rank);
    let mut open = opened(&history, base)?;
    open.retain(|(serial, _)| *serial < rank);
    open.push((rank, migration));
    let plan = with(&schema, (&history, base), &open, |database| {
        migration::plan(database)
    })
    .map_err(|report| refused((script, text), &report))?;
    let migration = open.pop().expect("it was just put there").1;
    let kind = match script.ends_with(".sql") {
        true => Kind::Sql,
        false => Kind::Change,
    };
    Ok(Change {
        description: migration.name.replace('_', " "),
        checksum: migration.checksum(),
        version: migration.name,
        kind,
        script: script.to_owned(),
        source: Some(text.to_owned()),
        plan,
    })
}

/// Plans the one end of `entry` or the other as things are now; `None` for a change that has no
/// file to be planned from.
pub(crate) async fn end(
    client: &mut Client,
    (history, entry): (&[Entry], &Entry),
    planned: fn(&Database<'_>) -> Result<Vec<Step>, Report>,
) -> Result<Option<Vec<Step>>, DatabaseError> {
    if entry.source.is_none() {
        return Ok(None);
    }
    let schema = read::schema(client, &entry.base).await?;
    let open = opened(history, &entry.base)?;
    let steps = with(&schema, (history, &entry.base), &open, planned);
    steps
        .map(Some)
        .map_err(|report| refused(source(entry), &report))
}

fn source(entry: &Entry) -> (&str, &str) {
    (&entry.script, entry.source.as_deref().unwrap_or_default())
}

fn parse(script: &str, text: &str) -> Result<Migration, DatabaseError> {
    migration::read(script, text).map_err(|report| refused((script, text), &report))
}

fn refused((script, text): (&str, &str), report: &Report) -> DatabaseError {
    DatabaseError::Refused {
        script: script.to_owned(),
        shown: report.render(script, text),
    }
}

/// The changes of `base` that are neither contracted nor taken back, oldest first.
fn opened(history: &[Entry], base: &str) -> Result<Vec<(i32, Migration)>, DatabaseError> {
    let open = history.iter().filter(|entry| {
        entry.base == base && !matches!(entry.phase, Phase::Contracted | Phase::Aborted)
    });
    let parsed = open.filter(|entry| entry.source.is_some()).map(|entry| {
        let (script, text) = source(entry);
        Ok((entry.installed_rank, parse(script, text)?))
    });
    parsed.collect()
}

fn with<T>(
    schema: &Schema,
    (history, base): (&[Entry], &str),
    open: &[(i32, Migration)],
    planned: impl FnOnce(&Database<'_>) -> Result<T, Report>,
) -> Result<T, Report> {
    let contracted = history.iter().rev().find(|entry| {
        entry.base == base && entry.phase == Phase::Contracted && entry.plan.is_some()
    });
    let published = contracted.and_then(|entry| entry.plan.as_ref());
    let open: Vec<Open<'_>> = open
        .iter()
        .map(|(rank, migration)| Open {
            serial: rank.unsigned_abs(),
            migration,
        })
        .collect();
    planned(&Database {
        schema,
        published: published.map(|plan| plan.version.name.as_str()),
        open: &open,
    })
}
