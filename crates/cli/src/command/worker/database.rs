//! Migrations of a deploy, run on PostgreSQL.

mod reach;
mod record;

use std::sync::Arc;

use control::api::UnconvertedRows;
use control::{
    Again, ContractFailed, DatabaseFailed, Databases, Expansion, Followed, MigrationFile, Removed,
    Site, Standing,
};
use model::SchemaVersion;
use postgres::{
    Connection, DatabaseError, Entry, Observer, Owner, Phase, Runner, Settings, Url, Wish, phases,
    unconverted,
};
use runtime::Pending;
use tokio::sync::watch;

use crate::command::migrate::files::{File, Files, Order};
use crate::exit::Trouble;

use record::Record;

/// A worker that died is noticed by the server within seconds; one that works is waited for.
const WAIT_FOR_OTHER: std::time::Duration = std::time::Duration::from_secs(10);

/// Runs migrations on PostgreSQL.
pub(super) struct Postgres;

impl Databases for Postgres {
    fn expand(
        &self,
        site: Arc<Site>,
        files: Arc<[MigrationFile]>,
        followed: Followed,
    ) -> Pending<'static, Expansion> {
        Box::pin(async move {
            let record = Record::new(&site);
            let ended = expand(&site, &files, (&followed, &record)).await;
            Expansion {
                account: record.account(),
                ended,
            }
        })
    }

    fn contract(
        &self,
        site: Arc<Site>,
        migration: String,
        followed: Followed,
    ) -> Pending<'static, Result<(), ContractFailed>> {
        Box::pin(async move {
            let record = Record::new(&site);
            contract(&site, &migration, (&followed, &record)).await
        })
    }

    fn look(&self, site: Arc<Site>) -> Pending<'static, Result<Standing, DatabaseFailed>> {
        Box::pin(async move { standing(&site).await.map_err(failed) })
    }
}

/// What stands in the history, whoever wrote it.
async fn standing(site: &Site) -> Result<Standing, DatabaseError> {
    let url = Url::parse(site.url.expose())?;
    let mut connection = Connection::open(&url, "look").await?;
    let mut standing = Standing::default();
    for (version, phase) in phases(connection.client(), &site.schema).await? {
        if matches!(phase, Phase::Contract | Phase::Contracted) {
            standing.contracted = standing.contracted.max(Some(version.clone()));
        }
        if phase != Phase::Contracted {
            standing.open.push(version.clone());
        }
        if matches!(
            phase,
            Phase::Published | Phase::Contract | Phase::Contracted
        ) {
            standing.served.insert(version);
        }
    }
    for (migration, it) in unconverted(connection.client(), &site.schema).await? {
        standing.unconverted.push(UnconvertedRows {
            migration,
            table: it.table,
            rows: it.rows.unsigned_abs(),
            keys: it.keys,
            reason: it.reason,
        });
    }
    Ok(standing)
}

/// Publishes what is pending. Returns the `search_path` that the role has by itself.
async fn expand(
    site: &Site,
    files: &[MigrationFile],
    (followed, record): (&Followed, &Arc<Record>),
) -> Result<String, DatabaseFailed> {
    let files = files
        .iter()
        .map(|file| (file.name.clone(), file.text.clone()));
    let files = Files::of(files.collect()).map_err(|trouble| never(&trouble))?;
    let last = files.all().last().map(|file| file.migration.name.clone());
    let version = files.all().last().map(|file| SchemaVersion {
        migration: file.migration.name.clone(),
        schema: file.migration.version(&site.schema),
    });
    record.needs(last.as_deref());
    let mut runner = open(site, (followed, record)).await.map_err(failed)?;
    let _watching = record::watch(site, runner.pid(), Arc::clone(record));
    let own = reach::own_path(site, &runner).await?;
    let entries = runner.history().await.map_err(failed)?;
    if let Some(last) = &last {
        check_served(&entries, (&site.schema, last))?;
    }
    let pending = files.pending(&entries, (&site.schema, Order::OfNames));
    for file in pending.map_err(|trouble| never(&trouble))? {
        publish(&mut runner, site, &file).await.map_err(failed)?;
        record.published(&file.migration.name);
        (followed.hear)(format!("`{}` is published", file.migration.name));
    }
    if let Some(version) = version {
        reach::make(site, (&mut runner, &own), &version).await?;
    }
    Ok(own)
}

async fn publish(runner: &mut Runner, site: &Site, file: &File) -> Result<(), DatabaseError> {
    let change = runner
        .plan(&site.schema, (&file.script, &file.text))
        .await?;
    runner.expand(&change).await
}

/// Refuses a version that a later one's contract has removed.
fn check_served(entries: &[Entry], (base, last): (&str, &str)) -> Result<(), DatabaseFailed> {
    let later = entries.iter().find(|entry| {
        entry.base == base
            && entry.version.as_str() > last
            && matches!(entry.phase, Phase::Contract | Phase::Contracted)
    });
    match later {
        None => Ok(()),
        Some(later) => Err(DatabaseFailed {
            reason: format!(
                "what it needs was removed when `{}` was contracted; a release that was made for \
                 `{}` or a later migration can be deployed",
                later.version, later.version
            ),
            again: Again::Never,
        }),
    }
}

/// Contracts every change up to `migration`, oldest first.
async fn contract(
    site: &Site,
    migration: &str,
    followed: (&Followed, &Arc<Record>),
) -> Result<(), ContractFailed> {
    let unknown = |error| ContractFailed {
        failed: failed(error),
        removed: Removed::Unknown,
    };
    let mut runner = open(site, followed).await.map_err(unknown)?;
    let Err(error) = contract_all(&mut runner, (site, migration), followed.0).await else {
        return Ok(());
    };
    // Nobody else is at work there while the runner lives.
    let removed = match runner.history().await {
        Ok(entries) => Removed::Before(removed(&entries, &site.schema)),
        Err(_) => Removed::Unknown,
    };
    Err(ContractFailed {
        failed: failed(error),
        removed,
    })
}

/// The newest version whose contract has removed something, or may have.
fn removed(entries: &[Entry], base: &str) -> Option<String> {
    let begun = entries.iter().filter(|entry| {
        entry.base == base && matches!(entry.phase, Phase::Contract | Phase::Contracted)
    });
    begun.map(|entry| entry.version.clone()).max()
}

async fn contract_all(
    runner: &mut Runner,
    (site, migration): (&Site, &str),
    followed: &Followed,
) -> Result<(), DatabaseError> {
    let entries = runner.history().await?;
    let due = entries.iter().filter(|entry| {
        entry.base == site.schema
            && entry.version.as_str() <= migration
            && matches!(entry.phase, Phase::Published | Phase::Contract)
    });
    for entry in due {
        runner.contract(&entry.version).await?;
        (followed.hear)(format!("`{}` is contracted", entry.version));
    }
    Ok(())
}

async fn open(
    site: &Site,
    (followed, record): (&Followed, &Arc<Record>),
) -> Result<Runner, DatabaseError> {
    let url = Url::parse(site.url.expose())?;
    let settings = Settings {
        lock_timeout: site.policy.lock_timeout,
        patience: site.policy.patience,
        wait_for_other: WAIT_FOR_OTHER,
        ..Settings::default()
    };
    let (record, hear) = (Arc::clone(record), Arc::clone(&followed.hear));
    let observer: Observer = Arc::new(move |event| record.take(event, &*hear));
    let wish = wish(followed.stop.clone());
    let runner = Runner::open(&url, settings, (observer, wish)).await?;
    let (server, place) = site.server.clone();
    let owner = Owner {
        server,
        database: site.name.to_string(),
        place,
    };
    runner.claim(&site.schema, &owner).await?;
    Ok(runner)
}

/// What the runner is to do: stop once that is wished, or once nobody can wish any more.
fn wish(mut stop: watch::Receiver<bool>) -> watch::Receiver<Wish> {
    let (sender, receiver) = watch::channel(Wish::Go);
    tokio::spawn(async move {
        let stopped = async {
            while !*stop.borrow_and_update() {
                if stop.changed().await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = stopped => {
                sender.send_replace(Wish::Stop);
                sender.closed().await;
            }
            () = sender.closed() => {}
        }
    });
    receiver
}

fn never(trouble: &Trouble) -> DatabaseFailed {
    let cause = trouble.cause.as_ref().map(|cause| format!(": {cause}"));
    DatabaseFailed {
        reason: format!("{}{}", trouble.what, cause.unwrap_or_default()),
        again: Again::Never,
    }
}

/// What people are told, and whether it may pass.
fn failed(error: DatabaseError) -> DatabaseFailed {
    let again = match error.may_pass() {
        true => Again::Later,
        false => Again::Never,
    };
    let hint = match &error {
        DatabaseError::Refused { shown, .. } => format!(": {}", shown.trim_end()),
        DatabaseError::Asks { .. } => "; look at `gapless migrate plan`, then say yes with \
            `gapless migrate expand --yes` and deploy again"
            .to_owned(),
        DatabaseError::TakenBack { .. } => {
            "; mend the migration or the rows, and deploy again".to_owned()
        }
        DatabaseError::NotTakenBack { .. } => "; take it back with `gapless migrate abort`".into(),
        DatabaseError::Patience { .. } | DatabaseError::Stopped => {
            "; deploy again to carry on, or take it back with `gapless migrate abort`".to_owned()
        }
        DatabaseError::Privileges { .. } => "; nothing was begun".to_owned(),
        DatabaseError::Owned { .. } => {
            "; nothing was begun: one schema has one server and one name; if that is over, \
            `gapless migrate disown` with its URL lets the next deploy take it over"
                .to_owned()
        }
        _ => String::new(),
    };
    DatabaseFailed {
        reason: format!("{error}{hint}"),
        again,
    }
}
