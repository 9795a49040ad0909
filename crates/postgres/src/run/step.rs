//! One step, until it is done.

use std::time::{Duration, Instant};

use migration::plan::{Cost, Run, Step, TableLock};
use tokio_postgres::{Client, Transaction};

use super::{Part, Runner, wait};
use crate::error::{DatabaseError, Doing as _};
use crate::event::{Event, millis};
use crate::name::qualified;
use crate::settings::{Settings, backoff};

/// Tries of what runs alone: each leaves nothing behind, but may take hours.
const ALONE_TRIES: u32 = 5;

/// How often somebody looks what a statement without a lock timeout waits for.
const LOOK: Duration = Duration::from_secs(1);

/// A step's place in the history.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) rank: i32,
    pub(super) part: Part,
    pub(super) position: i32,
}

const RECORD: &str =
    "INSERT INTO gapless.step (installed_rank, part, position) VALUES ($1, $2, $3)";

/// Runs `step` and records it.
pub(super) async fn run(
    runner: &mut Runner,
    place: Place,
    step: &Step,
) -> Result<(), DatabaseError> {
    match &step.run {
        Run::Together | Run::Validate => together(runner, place, step).await,
        Run::Alone { done, clear } => alone(runner, (place, step), (done, clear)).await,
    }
}

/// In one transaction, again while others hold what it needs.
async fn together(runner: &mut Runner, place: Place, step: &Step) -> Result<(), DatabaseError> {
    let begun = Instant::now();
    let mut attempts = 0;
    loop {
        attempts += 1;
        runner.helm.go_on().await?;
        match once(runner, place, step).await {
            Ok(held) => {
                done(runner, step, (begun, attempts, held));
                return Ok(());
            }
            Err(error) if error.is_contention() => {
                let waited = begun.elapsed();
                let blockers = wait::holders(&runner.connection.client, &step.locks).await?;
                if waited >= runner.settings.patience {
                    let blockers = blockers.iter().map(ToString::to_string).collect();
                    let title = step.title.clone();
                    return Err(DatabaseError::Patience {
                        title,
                        seconds: waited.as_secs(),
                        blockers,
                    });
                }
                let waited_ms = millis(waited);
                runner.helm.tell(Event::Waiting {
                    title: step.title.clone(),
                    waited_ms,
                    blockers,
                });
                runner.helm.wait(backoff(attempts)).await?;
            }
            Err(error) => return Err(error),
        }
    }
}

/// One try. Returns the time from the first lock to the commit.
async fn once(runner: &mut Runner, place: Place, step: &Step) -> Result<Duration, DatabaseError> {
    let Runner {
        connection,
        settings,
        helm,
        ..
    } = runner;
    let transaction = connection.client.transaction().await.doing(&step.title)?;
    let limit = work_limit(settings, step);
    let set = format!("SET LOCAL statement_timeout = {}", limit.as_millis());
    transaction.batch_execute(&set).await.doing(&step.title)?;
    let begun = Instant::now();
    let until = begun + settings.lock_timeout;
    for lock in &step.locks {
        take(&transaction, lock, until).await?;
    }
    shorten(&transaction, until).await?;
    for sql in &step.statements {
        // A pause waits for the commit: others wait for our locks.
        helm.not_stopped()?;
        helm.tell(Event::Statement { sql: sql.clone() });
        transaction.batch_execute(sql).await.doing(&step.title)?;
    }
    record(transaction.client(), place).await?;
    transaction.commit().await.doing(&step.title)?;
    Ok(begun.elapsed())
}

/// Statements that only change the catalogue are done at once; whatever takes longer under a
/// lock that stops others is not what the plan says.
fn work_limit(settings: &Settings, step: &Step) -> Duration {
    match (&step.run, step.cost) {
        (Run::Together, Cost::Instant) => settings.work_limit,
        (Run::Together, Cost::Scan | Cost::Rewrite | Cost::Unknown) => Duration::ZERO,
        (Run::Validate | Run::Alone { .. }, _) => Duration::ZERO,
    }
}

/// Takes a lock that the step needs, with what is left of the time for all of them together:
/// whoever waits behind us waits no longer than that, however many tables there are.
async fn take(
    transaction: &Transaction<'_>,
    lock: &TableLock,
    until: Instant,
) -> Result<(), DatabaseError> {
    let doing = || format!("lock {}", lock.table);
    let table = qualified(&lock.table);
    let may = transaction
        .query_opt(
            "SELECT FROM pg_class c WHERE c.oid = to_regclass($1) AND c.relkind IN ('r', 'p')
             AND (pg_has_role(c.relowner, 'USAGE') OR has_table_privilege(c.oid, 'UPDATE, DELETE, TRUNCATE'))",
            &[&table],
        )
        .await
        .doing(&doing())?;
    if may.is_none() {
        // It is not made yet, or the statement itself may lock what we may not.
        return Ok(());
    }
    shorten(transaction, until).await?;
    let sql = format!("LOCK TABLE ONLY {table} IN {} MODE", lock.level.name());
    transaction.batch_execute(&sql).await.doing(&doing())
}

async fn shorten(transaction: &Transaction<'_>, until: Instant) -> Result<(), DatabaseError> {
    let left = until
        .saturating_duration_since(Instant::now())
        .as_millis()
        .max(1);
    let sql = format!("SET LOCAL lock_timeout = {left}");
    transaction
        .batch_execute(&sql)
        .await
        .doing("limit the wait for locks")
}

/// Outside of any transaction; until its own query says that it is done.
async fn alone(
    runner: &mut Runner,
    (place, step): (Place, &Step),
    (done_query, clear): (&str, &[String]),
) -> Result<(), DatabaseError> {
    let begun = Instant::now();
    let mut attempts = 0;
    while !is_done(&runner.connection.client, step, done_query).await? {
        attempts += 1;
        if attempts > ALONE_TRIES {
            return Err(DatabaseError::NeverDone {
                title: step.title.clone(),
                tries: ALONE_TRIES,
            });
        }
        for sql in clear.iter().chain(&step.statements) {
            match watched(runner, step, sql).await {
                Err(error) if error.is_contention() => {
                    let (title, reason) = (step.title.clone(), error.to_string());
                    runner.helm.tell(Event::Again { title, reason });
                    runner.helm.wait(backoff(attempts)).await?;
                    break;
                }
                done => done?,
            }
        }
    }
    record(&runner.connection.client, place).await?;
    done(runner, step, (begun, attempts, Duration::ZERO));
    Ok(())
}

async fn is_done(client: &Client, step: &Step, query: &str) -> Result<bool, DatabaseError> {
    let row = client.query_opt(query, &[]).await.doing(&step.title)?;
    Ok(row.is_some_and(|row| row.get::<_, Option<bool>>(0).unwrap_or(false)))
}

/// Runs a statement that may take long, telling what it waits for; a wish to stop cancels it.
async fn watched(runner: &mut Runner, step: &Step, sql: &str) -> Result<(), DatabaseError> {
    runner.helm.go_on().await?;
    runner.helm.tell(Event::Statement {
        sql: sql.to_owned(),
    });
    let Runner {
        connection,
        watcher,
        helm,
        ..
    } = runner;
    let begun = Instant::now();
    let statement = connection.client.batch_execute(sql);
    tokio::pin!(statement);
    loop {
        let looked = tokio::select! {
            done = &mut statement => return done.doing(&step.title),
            looked = helm.wait(LOOK) => looked,
        };
        if let Err(stopped) = looked {
            connection.cancel_statement().await;
            // The server ends it within moments; what it leaves is cleared by the next run.
            let _ = statement.await;
            return Err(stopped);
        }
        let Some(watcher) = watcher.as_ref() else {
            continue;
        };
        let blockers = wait::blocking(&watcher.client, connection.pid())
            .await
            .unwrap_or_default();
        if !blockers.is_empty() {
            let (title, waited_ms) = (step.title.clone(), millis(begun.elapsed()));
            helm.tell(Event::Waiting {
                title,
                waited_ms,
                blockers,
            });
        }
    }
}

async fn record(client: &Client, place: Place) -> Result<(), DatabaseError> {
    let part = place.part.name();
    let recorded = client
        .execute(RECORD, &[&place.rank, &part, &place.position])
        .await;
    recorded.doing("record a step")?;
    Ok(())
}

fn done(runner: &Runner, step: &Step, (begun, attempts, held): (Instant, u32, Duration)) {
    runner.helm.tell(Event::Done {
        title: step.title.clone(),
        took_ms: millis(begun.elapsed()),
        attempts,
        held_ms: millis(held),
    });
}
