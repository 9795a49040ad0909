//! Databases, and the services that name them.

use std::collections::BTreeMap;

use model::{Database, DatabaseName, DatabasePolicy, ServiceName};

use crate::diagnostic::{Mistake, Mistakes, did_you_mean};
use crate::value::{Pair, Table};

/// The databases of the file by name.
pub(super) type Databases = BTreeMap<DatabaseName, Database>;

/// Builds those that have no mistake.
pub(super) fn build(project: &Table) -> Databases {
    let tables = project
        .get::<&[(ServiceName, Table)]>("database")
        .unwrap_or_default();
    let built = tables
        .iter()
        .filter_map(|(name, table)| Some((name.clone().into(), one(table)?)));
    built.collect()
}

fn one(table: &Table) -> Option<Database> {
    let contract: &Table = table.value("contract");
    Some(Database {
        url: table.get("url")?,
        migrations: table.get("migrations")?,
        schema: table.value("schema"),
        search_path: table.value("search_path"),
        policy: DatabasePolicy {
            contract_after: contract.value("after"),
            approve: contract.value("approve"),
            migrate_url: table.get("migrate_url"),
            lock_timeout: table.value("lock_timeout"),
            patience: table.value("patience"),
        },
    })
}

/// Refuses services that name a database which the file does not have, or that set the variable
/// which its URL comes in.
pub(super) fn check(
    project: &Table,
    services: &[(ServiceName, Table)],
    mistakes: &mut Mistakes<'_>,
) {
    let tables = project
        .get::<&[(ServiceName, Table)]>("database")
        .unwrap_or_default();
    for (_, service) in services {
        let Some(name) = service.get::<ServiceName>("database") else {
            continue;
        };
        match tables.iter().find(|(known, _)| *known == name) {
            Some((_, database)) => check_env(service, database, mistakes),
            // What is there but wrong is reported already.
            None if project.is_sound("database") => {
                mistakes.add(unknown(service, &name, tables));
            }
            None => {}
        }
    }
}

fn unknown(service: &Table, name: &ServiceName, tables: &[(ServiceName, Table)]) -> Mistake {
    let names: Vec<&str> = tables.iter().map(|(name, _)| name.as_str()).collect();
    let message = format!("there is no database `{name}`");
    let mistake = Mistake::missing(service.span("database"), message);
    match names.is_empty() {
        true => mistake.hint(format!("add a `[database.{name}]` table")),
        false => mistake
            .expected(format!("one of {}", names.join(", ")))
            .hint_if(did_you_mean(name.as_str(), names)),
    }
}

fn check_env(service: &Table, database: &Table, mistakes: &mut Mistakes<'_>) {
    let Some(url) = database.get::<String>("url") else {
        return;
    };
    let pairs = service.get::<&[Pair]>("env").unwrap_or_default();
    for pair in pairs.iter().filter(|pair| pair.key == url) {
        let message = format!("`{url}` in `env` is the secret that the database's URL comes in");
        let mistake = Mistake::new(pair.key_span.clone(), message);
        mistakes.add(mistake.related(database.span("url"), "named as the URL here"));
    }
}
