//! `gapless migrate`: a database's schema, changed beside running programs.

pub(crate) mod files;
mod lint;
mod live;
mod show;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use postgres::{
    Change, Connection, Consent, DatabaseError, Entry, Event, Phase, Runner, Settings, Url, Wish,
};
use tokio::sync::watch;

use control::api::{Accepted, ContractRequest};

use crate::api::Api;
use crate::args::{
    Common, Migrate, MigrateBaseline, MigrateContract, MigrateDatabase, MigrateExpand,
    MigrateFiles, MigrateName, Name,
};
use crate::exit::{Exit, Trouble};
use crate::output::Output;
use files::{File, Files, Order};

/// Carries out one of the subcommands.
pub(crate) fn run(common: &Common, args: &Migrate, output: Output) -> Result<Exit, Trouble> {
    if let Migrate::Contract(MigrateContract {
        database: Some(name),
        now,
        ..
    }) = args
    {
        let body = ContractRequest { at_once: *now };
        return approve(common, name, &body, output);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| Trouble::new(Exit::Failed, "no runtime").cause(error))?;
    runtime.block_on(async {
        match args {
            Migrate::Lint(args) => lint::run(args, output).await,
            Migrate::Plan(args) => plan(args, output).await,
            Migrate::Expand(args) => expand(args, output).await,
            Migrate::Contract(args) => contract(&args.which, output).await,
            Migrate::Abort(args) => abort(args, output).await,
            Migrate::Status(args) => status(args, output).await,
            Migrate::History(args) => history(args, output).await,
            Migrate::Validate(args) => validate(args, output).await,
            Migrate::Repair(args) => repair(args, output).await,
            Migrate::Baseline(args) => baseline(args, output).await,
            Migrate::Disown(args) => disown(args, output).await,
        }
    })
}

/// Tells the server that a database may be contracted once it can be.
fn approve(
    common: &Common,
    name: &Name,
    body: &ContractRequest,
    output: Output,
) -> Result<Exit, Trouble> {
    let api = Api::of(common)?;
    let path = format!("/v1/databases/{}/contract", name.0);
    let _accepted: Accepted = api.post(&path, body)?;
    output.text(format!(
        "the contract of `{}` is approved: the server begins it once nothing needs what was before",
        name.0
    ));
    output.note("`gapless status` says what it waits for");
    output.json_line(&serde_json::json!({ "v": 1, "type": "approved", "database": name.0 }));
    Ok(Exit::Done)
}

async fn plan(args: &MigrateFiles, output: Output) -> Result<Exit, Trouble> {
    let mut connection = connect(&args.database).await?;
    let base = &args.database.schema;
    let entries = postgres::history(connection.client())
        .await
        .map_err(trouble)?;
    let pending = Files::read(&args.migrations)?.pending(&entries, args.order())?;
    let Some(file) = pending.first() else {
        output.note("nothing is pending");
        return Ok(Exit::Done);
    };
    let schema = postgres::read::schema(connection.client(), base)
        .await
        .map_err(trouble)?;
    let change = postgres::plan(connection.client(), base, (&file.script, &file.text)).await;
    let change = change.map_err(trouble)?;
    output.text(show::plan(&change, &schema));
    output.json_line(&show::plan_json(&change));
    if pending.len() > 1 {
        let more = pending.len() - 1;
        output.note(format!(
            "{more} more pending; each is planned when those before it are expanded"
        ));
    }
    Ok(Exit::Done)
}

async fn expand(args: &MigrateExpand, output: Output) -> Result<Exit, Trouble> {
    let mut runner = open(&args.files.database, (args.settings(), output)).await?;
    let entries = runner.history().await.map_err(trouble)?;
    let mut files = Files::read(&args.files.migrations)?.pending(&entries, args.files.order())?;
    if let Some(name) = &args.name {
        let last = files.iter().position(|file| file.migration.name == *name);
        let last = last.ok_or_else(|| {
            Trouble::new(
                Exit::Usage,
                format!("no pending migration is called `{name}`"),
            )
            .hint("gapless migrate status")
        })?;
        files.truncate(last + 1);
    }
    if files.is_empty() {
        output.note("nothing is pending");
    }
    for file in files {
        let change = change(&mut runner, &args.files.database.schema, &file).await?;
        runner.expand(&change).await.map_err(trouble)?;
        let version = &change.plan.version.name;
        output.text(format!(
            "`{}` is published: programs of the new version use search_path `{version}`",
            change.version
        ));
        output.json_line(&serde_json::json!({
            "v": 1, "type": "expanded", "migration": change.version, "version_schema": version,
        }));
    }
    Ok(Exit::Done)
}

/// A change that was begun goes on by the plan that it began with.
async fn change(runner: &mut Runner, base: &str, file: &File) -> Result<Change, Trouble> {
    runner
        .plan(base, (&file.script, &file.text))
        .await
        .map_err(trouble)
}

async fn contract(args: &MigrateName, output: Output) -> Result<Exit, Trouble> {
    let mut runner = open(&args.database, (Settings::default(), output)).await?;
    let entries = runner.history().await.map_err(trouble)?;
    let name = chosen(&entries, args, |open| open.first().copied())?;
    runner.contract(&name).await.map_err(trouble)?;
    output.text(format!(
        "`{name}` is contracted: the version before is gone"
    ));
    output.json_line(&serde_json::json!({ "v": 1, "type": "contracted", "migration": name }));
    Ok(Exit::Done)
}

async fn abort(args: &MigrateName, output: Output) -> Result<Exit, Trouble> {
    let mut runner = open(&args.database, (Settings::default(), output)).await?;
    let entries = runner.history().await.map_err(trouble)?;
    let name = chosen(&entries, args, |open| open.last().copied())?;
    runner
        .abort(&name, "aborted by a person")
        .await
        .map_err(trouble)?;
    output.text(format!("`{name}` is taken back"));
    output.json_line(&serde_json::json!({ "v": 1, "type": "aborted", "migration": name }));
    Ok(Exit::Done)
}

/// The change that was named, else the one that `choose` takes of those in progress.
fn chosen<'a>(
    entries: &'a [Entry],
    args: &MigrateName,
    choose: impl FnOnce(&[&'a Entry]) -> Option<&'a Entry>,
) -> Result<String, Trouble> {
    if let Some(name) = &args.name {
        return Ok(name.clone());
    }
    let open: Vec<&Entry> = open_entries(entries, &args.database.schema);
    let entry = choose(&open);
    entry.map(|entry| entry.version.clone()).ok_or_else(|| {
        Trouble::new(Exit::Usage, "no migration is in progress").hint("gapless migrate history")
    })
}

fn open_entries<'a>(entries: &'a [Entry], base: &str) -> Vec<&'a Entry> {
    let open = entries.iter().filter(|entry| {
        entry.base == base && !matches!(entry.phase, Phase::Contracted | Phase::Aborted)
    });
    open.collect()
}

async fn status(args: &MigrateFiles, output: Output) -> Result<Exit, Trouble> {
    let mut connection = connect(&args.database).await?;
    let entries = postgres::history(connection.client())
        .await
        .map_err(trouble)?;
    let open = open_entries(&entries, &args.database.schema);
    let pending = Files::read(&args.migrations)?.pending(&entries, args.order())?;
    let pending: Vec<&str> = pending
        .iter()
        .map(|file| file.migration.name.as_str())
        .collect();
    output.text(show::status(&open, &pending));
    output.json_line(&serde_json::json!({ "v": 1, "in_progress": open, "pending": pending }));
    Ok(Exit::Done)
}

async fn history(args: &MigrateDatabase, output: Output) -> Result<Exit, Trouble> {
    let mut connection = connect(args).await?;
    let entries = postgres::history(connection.client())
        .await
        .map_err(trouble)?;
    output.text(show::history(&entries));
    for entry in &entries {
        output.json_line(entry);
    }
    Ok(Exit::Done)
}

async fn validate(args: &MigrateFiles, output: Output) -> Result<Exit, Trouble> {
    let mut connection = connect(&args.database).await?;
    let entries = postgres::history(connection.client())
        .await
        .map_err(trouble)?;
    let problems = Files::read(&args.migrations)?.problems(&entries, &args.database.schema);
    output.json_line(
        &serde_json::json!({ "v": 1, "valid": problems.is_empty(), "problems": problems }),
    );
    if problems.is_empty() {
        output.text("the files and the history agree");
        return Ok(Exit::Done);
    }
    output.text(problems.join("\n"));
    Ok(Exit::Failed)
}

async fn repair(args: &MigrateFiles, output: Output) -> Result<Exit, Trouble> {
    let files = Files::read(&args.migrations)?;
    let mut runner = open(&args.database, (Settings::default(), output)).await?;
    let mut repaired = Vec::new();
    for file in files.all() {
        let name = file.migration.name.as_str();
        let place = (args.database.schema.as_str(), name);
        if runner
            .repair(place, &file.migration.checksum())
            .await
            .map_err(trouble)?
        {
            output.text(format!(
                "`{name}`: the history has the checksum of the file as it is now"
            ));
            repaired.push(name);
        }
    }
    if repaired.is_empty() {
        output.note("there was nothing to repair");
    }
    output.json_line(&serde_json::json!({ "v": 1, "repaired": repaired }));
    Ok(Exit::Done)
}

async fn baseline(args: &MigrateBaseline, output: Output) -> Result<Exit, Trouble> {
    let mut runner = open(&args.database, (Settings::default(), output)).await?;
    runner
        .baseline(&args.database.schema, &args.name)
        .await
        .map_err(trouble)?;
    output.text(format!("everything up to `{}` counts as done", args.name));
    output.json_line(&serde_json::json!({ "v": 1, "type": "baseline", "migration": args.name }));
    Ok(Exit::Done)
}

async fn disown(args: &MigrateDatabase, output: Output) -> Result<Exit, Trouble> {
    let runner = open(args, (Settings::default(), output)).await?;
    let was = runner.disown(&args.schema).await.map_err(trouble)?;
    match &was {
        Some(was) => output.text(format!(
            "`{}` was looked after by {was}; the next server that deploys with it takes it over",
            args.schema
        )),
        None => output.note(format!("nobody looks after `{}`", args.schema)),
    }
    output.json_line(&serde_json::json!({
        "v": 1, "type": "disowned", "schema": args.schema, "was": was,
    }));
    Ok(Exit::Done)
}

fn url(args: &MigrateDatabase) -> Result<Url, Trouble> {
    let name = &args.url_from_env;
    let text = std::env::var(name).map_err(|_| {
        Trouble::new(Exit::Usage, format!("the environment has no `{name}`"))
            .hint("put the database's URL there, or name another with --url-from-env")
    })?;
    Url::parse(&text).map_err(|error| Trouble::new(Exit::Usage, error.to_string()))
}

async fn connect(args: &MigrateDatabase) -> Result<Connection, Trouble> {
    Connection::open(&url(args)?, "look").await.map_err(trouble)
}

/// A runner whose events are printed, and which stops at the next statement at an interrupt.
async fn open(
    args: &MigrateDatabase,
    (settings, output): (Settings, Output),
) -> Result<Runner, Trouble> {
    let (sender, receiver) = watch::channel(Wish::Go);
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            sender.send_replace(Wish::Stop);
        }
        // Kept, or the runner would believe that nobody steers.
        std::future::pending::<()>().await;
    });
    let shown = Mutex::new(None);
    let observer: postgres::Observer = Arc::new(move |event| {
        if is_due(event, &shown) {
            show::event(event, output);
        }
    });
    Runner::open(&url(args)?, settings, (observer, receiver))
        .await
        .map_err(trouble)
}

/// Batches follow each other quickly; a person is told of one a second.
fn is_due(event: &Event, shown: &Mutex<Option<Instant>>) -> bool {
    const EVERY: Duration = Duration::from_secs(1);
    let Event::Backfill(_) = event else {
        return true;
    };
    let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
    let due = shown.is_none_or(|last| last.elapsed() >= EVERY);
    if due {
        *shown = Some(Instant::now());
    }
    due
}

impl MigrateFiles {
    fn order(&self) -> (&str, Order) {
        let order = match self.out_of_order {
            true => Order::Any,
            false => Order::OfNames,
        };
        (&self.database.schema, order)
    }
}

impl MigrateExpand {
    fn settings(&self) -> Settings {
        let consent = match self.yes {
            true => Consent::Given,
            false => Consent::Ask,
        };
        Settings {
            consent,
            lock_timeout: self.lock_timeout,
            patience: self.patience,
            ..Settings::default()
        }
    }
}

/// What a person is told of an error of the database.
fn trouble(error: DatabaseError) -> Trouble {
    let what = error.to_string();
    match error {
        DatabaseError::Busy { .. } => Trouble::new(Exit::Locked, what),
        DatabaseError::Url { .. } => Trouble::new(Exit::Usage, what),
        DatabaseError::Refused { shown, .. } => {
            Trouble::new(Exit::Usage, what).cause(shown.trim_end())
        }
        DatabaseError::Asks { .. } => Trouble::new(Exit::Waits, what)
            .hint("look at `gapless migrate plan`, then run it again with --yes"),
        DatabaseError::TakenBack { .. } => Trouble::new(Exit::RolledBack, what)
            .hint("mend the migration or the rows, and run it again"),
        DatabaseError::NotTakenBack { .. } => {
            Trouble::new(Exit::Failed, what).hint("gapless migrate abort")
        }
        DatabaseError::Patience { .. } | DatabaseError::Stopped => Trouble::new(Exit::Failed, what)
            .hint("run it again to carry on, or `gapless migrate abort` to take it back"),
        _ => Trouble::new(Exit::Failed, what),
    }
}
