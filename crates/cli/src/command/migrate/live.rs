//! What a database says about files that are to be run on it.

use std::collections::{BTreeMap, BTreeSet};

use ::lint::{History, Known};
use migration::schema::Schema;
use migration::{Migration, Open};
use postgres::{Entry, Phase};

use super::{connect, open_entries, trouble};
use crate::args::MigrateDatabase;
use crate::exit::{Exit, Trouble};

/// A schema as it is, and what was done to it.
pub(super) struct Live {
    schema: Schema,
    used: BTreeMap<String, BTreeSet<String>>,
    open: Vec<(u32, Migration)>,
    published: Option<String>,
    done: BTreeSet<String>,
    baseline: Option<String>,
}

impl Live {
    /// Reads it; nothing is written.
    pub(super) async fn read(database: &MigrateDatabase) -> Result<Self, Trouble> {
        let mut connection = connect(database).await?;
        let entries = postgres::history(connection.client()).await;
        let mut entries = entries.map_err(trouble)?;
        let schema = postgres::read::schema(connection.client(), &database.schema).await;
        let schema = schema.map_err(trouble)?;
        entries.retain(|it| it.base == database.schema && it.phase != Phase::Aborted);
        let last = entries
            .iter()
            .rev()
            .find(|it| it.phase == Phase::Contracted && it.plan.is_some());
        let baseline = entries.iter().rev().find(|it| it.kind == "BASELINE");
        Ok(Self {
            used: used(&schema, &entries, last),
            open: in_progress(&entries, &database.schema)?,
            published: last.and_then(version),
            baseline: baseline.map(|it| it.version.clone()),
            done: entries.iter().map(|it| it.version.clone()).collect(),
            schema,
        })
    }

    /// Calls `look` with it.
    pub(super) fn with<T>(&self, look: impl FnOnce(Known<'_>) -> T) -> T {
        let open = self.open.iter().map(|(serial, migration)| Open {
            serial: *serial,
            migration,
        });
        let open: Vec<Open<'_>> = open.collect();
        look(Known {
            schema: Some(&self.schema),
            used: Some(&self.used),
            history: Some(History {
                open: &open,
                published: self.published.as_deref(),
                done: &self.done,
                baseline: self.baseline.as_deref(),
            }),
        })
    }
}

fn version(entry: &Entry) -> Option<String> {
    entry.plan.as_ref().map(|plan| plan.version.name.clone())
}

/// The columns that the versions which are published show to programs.
fn used(
    schema: &Schema,
    entries: &[Entry],
    last: Option<&Entry>,
) -> BTreeMap<String, BTreeSet<String>> {
    let served = entries
        .iter()
        .filter(|it| matches!(it.phase, Phase::Published | Phase::Contract));
    let versions: BTreeSet<String> = served.chain(last).filter_map(version).collect();
    let mut used: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, table) in &schema.tables {
        for view in &table.dependents {
            if versions.contains(&view.name.schema) {
                let columns = used.entry(name.clone()).or_default();
                columns.extend(view.columns.iter().cloned());
            }
        }
    }
    used
}

fn in_progress(entries: &[Entry], base: &str) -> Result<Vec<(u32, Migration)>, Trouble> {
    let open = open_entries(entries, base).into_iter();
    let read = open.filter_map(|entry| {
        let text = entry.source.as_ref()?;
        let migration = migration::read(&entry.script, text).map_err(|report| {
            let what = format!("`{}` is in progress and cannot be read", entry.script);
            Trouble::new(Exit::Failed, what).cause(report.render(&entry.script, text).trim_end())
        });
        Some(migration.map(|it| (entry.installed_rank.unsigned_abs(), it)))
    });
    read.collect()
}
