//! What a migration did, for the receipt.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use control::Site;
use model::{BlockedQueries, LockWaits, SchemaAccount};
use postgres::{BlockedSession, Connection, Event, Url, blocked};

/// The most statements that are kept, and the most characters of each.
const STATEMENTS_MAX: usize = 100;
const STATEMENT_CHARS_MAX: usize = 300;

/// People are told of what repeats itself so often.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// It is looked so often who waits for us.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What a migration did so far.
pub(super) struct Record(Mutex<Inner>);

struct Inner {
    account: SchemaAccount,
    begun: Instant,
    told: Option<Instant>,
    /// How long the present step has waited.
    waiting_ms: u64,
    /// Rows by table.
    rows: BTreeMap<String, u64>,
    /// How long each wait for us was seen to last.
    blocked: BTreeMap<(i32, i64), u64>,
    looked: bool,
}

impl Record {
    pub(super) fn new(site: &Site) -> Arc<Self> {
        let account = SchemaAccount {
            database: site.name.clone(),
            version: None,
            migrations: Vec::new(),
            statements: Vec::new(),
            statements_total: 0,
            rows: 0,
            locks: LockWaits::default(),
            blocked: None,
            ms: 0,
        };
        Arc::new(Self(Mutex::new(Inner {
            account,
            begun: Instant::now(),
            told: None,
            waiting_ms: 0,
            rows: BTreeMap::new(),
            blocked: BTreeMap::new(),
            looked: false,
        })))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which migration makes the version that is needed.
    pub(super) fn needs(&self, version: Option<&str>) {
        self.inner().account.version = version.map(str::to_owned);
    }

    pub(super) fn published(&self, migration: &str) {
        self.inner().account.migrations.push(migration.to_owned());
    }

    /// The account as it stands.
    pub(super) fn account(&self) -> SchemaAccount {
        let inner = self.inner();
        let mut account = inner.account.clone();
        account.rows = inner.rows.values().sum();
        account.ms = millis(inner.begun.elapsed());
        account.blocked = inner.looked.then(|| BlockedQueries {
            queries: u64::try_from(inner.blocked.len()).unwrap_or(u64::MAX),
            longest_ms: inner.blocked.values().copied().max().unwrap_or(0),
        });
        account
    }

    /// Takes an event in, and says what people should know.
    pub(super) fn take(&self, event: &Event, hear: &dyn Fn(String)) {
        let told = self.inner().take(event);
        if let Some(text) = told {
            hear(text);
        }
    }

    fn saw(&self, sessions: &[BlockedSession]) {
        let mut inner = self.inner();
        inner.looked = true;
        for session in sessions {
            let key = (session.pid, session.since_micros);
            let longest = inner.blocked.entry(key).or_default();
            *longest = session.waited_ms.max(*longest);
        }
    }
}

impl Inner {
    fn take(&mut self, event: &Event) -> Option<String> {
        match event {
            Event::Step {
                title,
                number,
                of,
                part,
            } => {
                self.waiting_ms = 0;
                Some(format!("{part} {number} of {of}: {title}"))
            }
            Event::Statement { sql } => {
                self.account.statements_total += 1;
                if self.account.statements.len() < STATEMENTS_MAX {
                    let short = sql.chars().take(STATEMENT_CHARS_MAX).collect();
                    self.account.statements.push(short);
                }
                None
            }
            Event::Done { held_ms, .. } => {
                let locks = &mut self.account.locks;
                locks.held_longest_ms = locks.held_longest_ms.max(*held_ms);
                None
            }
            Event::Waiting {
                title,
                waited_ms,
                blockers,
            } => {
                self.waited(*waited_ms);
                let by: Vec<String> = blockers.iter().map(ToString::to_string).collect();
                self.seldom(|| {
                    let by = by.join("; ");
                    format!(
                        "{title} waits for {} s; in the way: {by}",
                        waited_ms / 1_000
                    )
                })
            }
            Event::Again { title, reason } => Some(format!("{title} is tried again: {reason}")),
            Event::Backfill(progress) => {
                self.rows.insert(progress.table.clone(), progress.rows);
                self.seldom(|| {
                    let total = progress.rows_total.map(|total| format!(" of {total}"));
                    let total = total.unwrap_or_default();
                    format!(
                        "{} rows{total} of {} filled in",
                        progress.rows, progress.table
                    )
                })
            }
            Event::Held { reason } => self.seldom(|| format!("the backfill waits: {reason}")),
            Event::Aborting { reason } => Some(format!("it is taken back: {reason}")),
        }
    }

    fn waited(&mut self, waited_ms: u64) {
        let locks = &mut self.account.locks;
        if self.waiting_ms == 0 {
            locks.waits += 1;
        }
        locks.total_ms += waited_ms.saturating_sub(self.waiting_ms);
        locks.longest_ms = locks.longest_ms.max(waited_ms);
        self.waiting_ms = waited_ms.max(1);
    }

    fn seldom(&mut self, text: impl FnOnce() -> String) -> Option<String> {
        let due = self.told.is_none_or(|at| at.elapsed() >= TELL_EVERY);
        due.then(|| {
            self.told = Some(Instant::now());
            text()
        })
    }
}

/// Looks, until it is dropped, who waits for the session `pid`.
pub(super) fn watch(site: &Site, pid: i32, record: Arc<Record>) -> Watching {
    let url = Url::parse(site.url.expose());
    Watching(tokio::spawn(async move {
        let Ok(url) = url else { return };
        // Without it the receipt says that it was not looked at; nothing worse.
        let Ok(mut connection) = Connection::open(&url, "migrate (counting)").await else {
            return;
        };
        while let Ok(sessions) = blocked(connection.client(), pid).await {
            record.saw(&sessions);
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }))
}

/// Ends the look when dropped.
pub(super) struct Watching(tokio::task::JoinHandle<()>);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
