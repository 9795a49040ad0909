//! Taking control.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine::{Engine, RecoverError};
use ledger::Ledger;
use metric::LedgerSource;
use runtime::Driver;
use runtime::process::ServerState;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::time::Instant;
use traffic::Table;

use super::expand::Working;
use super::upgrade::LEADER;
use super::{Control, Shell};
use crate::account::Account;
use crate::clock::Clock;
use crate::database::Databases;
use crate::handle::Handle;
use crate::host::Host;
use crate::publisher::Publisher;
use crate::secret::{SecretError, Secrets};
use crate::store::{Store, StoreError};
use crate::table::{LastTable, TableWriter};

/// Where the access log is, in the state directory.
pub const ACCESS_LOG: &str = "access";

/// Events that a listener may be behind before it reads them from the database.
const NEWS_MAX: usize = 1_024;

/// Everything that control works with.
pub struct Parts {
    /// The state directory.
    pub state: PathBuf,
    /// Runs instances.
    pub driver: Arc<dyn Driver>,
    /// Runs migrations.
    pub databases: Arc<dyn Databases>,
    /// How the server stands.
    pub server_state: watch::Receiver<ServerState>,
    /// The supervisor.
    pub host: Box<dyn Host>,
    /// The data plane.
    pub publisher: Box<dyn Publisher>,
    /// The proxy's counters.
    pub ledger: Ledger,
    /// Stored artefacts.
    pub artifacts: Arc<runtime::artifact::Store>,
    /// What instances print.
    pub logs: runtime::logs::Logs,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts")
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

/// Why control could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another living worker holds control.
    #[error("another worker holds control")]
    Held,
    /// The supervisor failed.
    #[error("control cannot be asked for: {0}")]
    Host(String),
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Secrets cannot be used.
    #[error(transparent)]
    Secrets(#[from] SecretError),
    /// A thread cannot be started.
    #[error("no thread can be started")]
    Thread(#[source] std::io::Error),
    /// The journal cannot be understood.
    #[error("the journal's entry `{key}` cannot be read: {reason}")]
    Journal {
        /// The entry.
        key: String,
        /// Why.
        reason: String,
    },
}

impl From<RecoverError> for StartError {
    fn from(error: RecoverError) -> Self {
        Self::Journal {
            key: error.key,
            reason: error.reason,
        }
    }
}

impl Control {
    /// Takes control: reads the journal, counts what dead workers had open as cut, and goes on
    /// where the last one stopped once it is run.
    ///
    /// # Errors
    ///
    /// [`StartError::Held`] while another worker lives that has it; else what cannot be used.
    pub fn start(parts: Parts) -> Result<(Self, Handle), StartError> {
        if !parts.host.acquire_control().map_err(StartError::Host)? {
            return Err(StartError::Held);
        }
        let mut store = Store::open(&parts.state)?;
        let clock = Clock::resume(store.meta("clock")?.as_deref());
        let secrets = Secrets::open(&parts.state, &store)?;
        let epoch = store.take_control()?;
        let engine = match store.journal()? {
            journal if journal.is_empty() => Engine::new(epoch),
            journal => Engine::recover(&journal, epoch, clock.now())?,
        };
        let is_leader_alive = take_over(&parts, &mut store)?;
        let (inbox, received) = mpsc::unbounded_channel();
        let (news, _) = broadcast::channel(NEWS_MAX);
        let (changed, _) = watch::channel(0);
        let uploads = Arc::default();
        let handle = Handle::new(
            (inbox.clone(), news.clone(), changed.subscribe()),
            (Arc::clone(&parts.artifacts), Arc::clone(&uploads)),
            (parts.logs.clone(), parts.state.join(ACCESS_LOG).into()),
        );
        let last = LastTable::read(&parts.state);
        let table = last.map(|last| last.table).unwrap_or_default();
        let tables = TableWriter::start(parts.state.clone()).map_err(StartError::Thread)?;
        let now = clock.now();
        let mut shell = Shell {
            state: parts.state,
            driver: parts.driver,
            working: Working::new(parts.databases),
            host: parts.host,
            publisher: parts.publisher,
            ledger: parts.ledger,
            artifacts: parts.artifacts,
            uploads,
            logs: parts.logs,
            server_state: parts.server_state,
            store,
            copying: Arc::default(),
            secrets,
            clock,
            engine,
            polled: now,
            inbox,
            queue: VecDeque::new(),
            pending: BTreeMap::new(),
            next_command: 1,
            working_on: BTreeSet::new(),
            taking_in: 0,
            series: LedgerSource::new(now),
            accounts: BTreeMap::new(),
            notes: Vec::new(),
            news,
            changed,
            table: Arc::new(table),
            tables,
            tls: Default::default(),
            listening: BTreeSet::new(),
            confirming: BTreeSet::new(),
            published_at: Instant::now(),
            probing: BTreeSet::new(),
            followed: BTreeSet::new(),
            ended: VecDeque::new(),
            fresh_artifacts: BTreeMap::new(),
            jobs: BTreeSet::new(),
            end: None,
        };
        shell.resume_accounts(is_leader_alive);
        let inbox = received;
        Ok((Self { shell, inbox }, handle))
    }
}

impl Shell {
    /// Goes on with the accounts that an earlier worker left open, and finds out which cell is
    /// whose.
    fn resume_accounts(&mut self, is_leader_alive: bool) {
        for text in self.store.open_accounts().unwrap_or_default() {
            match serde_json::from_str::<Account>(&text) {
                Ok(mut account) => {
                    if !is_leader_alive {
                        account.note_dead_worker();
                    }
                    account.begin_worker();
                    self.accounts.insert(account.opening.rollout, account);
                }
                Err(error) => tracing::error!(%error, "an account cannot be read: it ends here"),
            }
        }
        let status = self.engine.status(self.clock.now());
        let instances = status
            .services
            .into_iter()
            .flat_map(|service| service.instances);
        for seen in instances {
            if let Some(place) = self.engine.place(&seen.instance) {
                let totals = self.ledger.cell(place.cell);
                self.series.own(place.cell, &seen.instance, totals);
            }
        }
    }
}

/// Notes that this worker leads, and counts what dead ones had open. Returns whether the worker
/// that led before lives.
fn take_over(parts: &Parts, store: &mut Store) -> Result<bool, StartError> {
    let own = parts.host.generation();
    let workers = parts.host.workers().into_iter();
    let workers = workers.flat_map(|(_, workers)| workers);
    let mut living: Vec<u64> = workers.map(|one| one.generation).collect();
    living.push(own);
    let leader = store.meta(LEADER)?.and_then(|text| text.parse().ok());
    store.set_meta(LEADER, &own.to_string())?;
    fold_dead(&parts.ledger, &living);
    Ok(leader.is_some_and(|leader| living.contains(&leader)))
}

/// Counts what dead workers had open as killed; without this their threads would be waited for.
fn fold_dead(ledger: &Ledger, living: &[u64]) {
    for generation in ledger.generations() {
        if !living.contains(&generation) {
            let dead = ledger.fold_dead(generation);
            let open: u32 = dead.open.iter().map(|(_, count)| count).sum();
            tracing::warn!(
                generation,
                open,
                "a dead worker's open requests are counted as cut"
            );
        }
    }
}

/// Finds out whether this binary understands everything that another one left in the state
/// directory, without taking control of it.
///
/// # Errors
///
/// What [`Control::start`] would fail with.
pub fn prove(state: &Path) -> Result<(), StartError> {
    let store = Store::open(state)?;
    let clock = Clock::resume(store.meta("clock")?.as_deref());
    Secrets::open(state, &store)?;
    let journal = store.journal()?;
    if !journal.is_empty() {
        Engine::recover(&journal, store.epoch(), clock.now())?;
    }
    for text in store.open_accounts()? {
        let read = serde_json::from_str::<Account>(&text);
        read.map_err(|error| StartError::Journal {
            key: "account".to_owned(),
            reason: error.to_string(),
        })?;
    }
    Ok(())
}

/// Listens and publishes as the last worker did, without control: for when the database cannot
/// be used. Instances that run keep serving; nothing can be changed.
pub fn serve_last_table(state: &Path, host: &dyn Host, publisher: &mut dyn Publisher) {
    let Some(last) = LastTable::read(state) else {
        return;
    };
    let table: Table = last.table;
    for listener in &table.listeners {
        match host.bind(listener.address) {
            Ok(sockets) => publisher.bind(listener.address, listener.kind, sockets),
            Err(error) => {
                tracing::error!(address = %listener.address, error, "an address is not listened on");
            }
        }
    }
    publisher.publish(Arc::new(table));
}
