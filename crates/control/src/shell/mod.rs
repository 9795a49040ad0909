//! The actor that owns the engine: takes in events, carries out effects, in order.
//!
//! What takes time runs beside it and comes back through its inbox. One thread, no locks.

mod accounts;
mod answers;
mod certificates;
mod contract;
mod databases;
mod deploy;
mod doctor;
mod effects;
mod environment;
mod expand;
mod jobs;
mod listeners;
mod logs;
mod plan;
mod preflight;
mod probes;
mod publish;
mod queries;
mod receipts;
mod releases;
mod secrets;
mod spawn;
mod standing;
mod start;
mod tool;
mod upgrade;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use engine::{Engine, Event};
use ledger::Ledger;
use metric::LedgerSource;
use model::{JobKind, Revision, RolloutId, Time};
use runtime::process::ServerState;
use runtime::{Driver, DriverEvent};
use tokio::sync::{broadcast, mpsc, watch};
use tokio::time::Instant;
use traffic::Table;

use crate::account::Account;
use crate::clock::Clock;
use crate::host::Host;
use crate::publisher::Publisher;
use crate::secret::Secrets;
use crate::store::{EventRow, Store};
use crate::table::TableWriter;

use answers::Pending;
pub(crate) use deploy::Intake;
use plan::spell;
pub use queries::note;
pub use start::{ACCESS_LOG, Parts, StartError, prove, serve_last_table};

/// How often figures are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often it is looked what others did to the services' databases.
const DATABASES_EVERY: Duration = Duration::from_secs(10);

/// How long the supervisor waits at least until it stops everything itself.
const ENDING_MIN: Duration = Duration::from_secs(10 * 60);

/// How much longer than the longest drain and stop it waits.
const ENDING_MARGIN: Duration = Duration::from_secs(60);

/// How often the database is copied.
const BACK_UP_EVERY: Duration = Duration::from_secs(10 * 60);

/// Something for the actor to do.
pub(crate) enum Message {
    /// An event of the engine.
    Event(Box<Event>),
    /// A question or command of the API.
    Task(Task),
    /// A job that nothing stands in the way of.
    RunJob(tool::Job),
    /// A job ended, or its time is over.
    JobEnded(RolloutId, JobKind, Result<(), String>),
}

/// Work on the actor's state.
pub(crate) type Task = Box<dyn FnOnce(&mut Shell) + Send>;

/// Why the actor ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Everything is stopped, as was asked.
    Terminated,
    /// Another worker has taken control.
    Fenced,
    /// Another worker is ready to take control: it is to be given back.
    Yielded,
}

/// Everything that control has in hand.
pub(crate) struct Shell {
    state: PathBuf,
    driver: Arc<dyn Driver>,
    working: expand::Working,
    host: Box<dyn Host>,
    publisher: Box<dyn Publisher>,
    ledger: Ledger,
    artifacts: Arc<runtime::artifact::Store>,
    /// Held while artefacts arrive, so that none is collected before it is known here.
    uploads: Arc<tokio::sync::RwLock<()>>,
    logs: runtime::logs::Logs,
    server_state: watch::Receiver<ServerState>,
    store: Store,
    /// Held while the database is copied.
    copying: Arc<tokio::sync::Mutex<()>>,
    secrets: Secrets,
    clock: Clock,
    engine: Engine,
    /// The time that the engine decided at last.
    polled: Time,
    inbox: mpsc::UnboundedSender<Message>,
    queue: VecDeque<Event>,
    pending: BTreeMap<u64, Pending>,
    next_command: u64,
    working_on: BTreeSet<String>,
    /// Deploys whose addresses are bound and whose table is not yet published.
    taking_in: u32,
    series: LedgerSource,
    accounts: BTreeMap<RolloutId, Account>,
    notes: Vec<EventRow>,
    news: broadcast::Sender<EventRow>,
    changed: watch::Sender<u64>,
    table: Arc<Table>,
    tables: TableWriter,
    tls: certificates::TlsFiles,
    listening: BTreeSet<std::net::SocketAddr>,
    confirming: BTreeSet<Revision>,
    published_at: Instant,
    probing: BTreeSet<model::InstanceId>,
    followed: BTreeSet<runtime::Key>,
    /// Ended instances whose last lines are still in memory, the newest last.
    ended: VecDeque<String>,
    /// Artefacts that were stored or asked about lately, with the time: a deploy may follow.
    fresh_artifacts: BTreeMap<model::Digest, Instant>,
    jobs: BTreeSet<(RolloutId, JobKind)>,
    end: Option<End>,
}

/// Control, ready to run.
pub struct Control {
    shell: Shell,
    inbox: mpsc::UnboundedReceiver<Message>,
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control")
            .field("epoch", &self.shell.store.epoch())
            .finish_non_exhaustive()
    }
}

impl Control {
    /// Runs until everything is stopped, or another worker has taken control.
    ///
    /// Must run on a runtime whose tasks may be spawned from here.
    pub async fn run(mut self) -> End {
        let shell = &mut self.shell;
        shell.begin().await;
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut databases = tokio::time::interval(DATABASES_EVERY);
        databases.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut backups = tokio::time::interval_at(Instant::now() + BACK_UP_EVERY, BACK_UP_EVERY);
        let driver = Arc::clone(&shell.driver);
        let mut server = shell.server_state.clone();
        while shell.end.is_none() {
            let wake = shell.wake();
            tokio::select! {
                message = self.inbox.recv() => match message {
                    Some(message) => shell.take(message).await,
                    None => break,
                },
                event = driver.event() => shell.driver_event(event).await,
                changed = server.changed() => match changed {
                    Ok(()) => shell.server_changed().await,
                    Err(_) => break,
                },
                () = tokio::time::sleep_until(wake) => shell.tick().await,
                _ = looks.tick() => shell.look().await,
                _ = databases.tick() => shell.look_at_databases(),
                _ = backups.tick() => shell.back_up(),
            }
        }
        shell.stop_working();
        if shell.end == Some(End::Yielded) {
            shell.hand_over().await;
        }
        shell.end.clone().unwrap_or(End::Terminated)
    }
}

impl Shell {
    async fn begin(&mut self) {
        self.observe().await;
        if *self.server_state.borrow() == ServerState::Terminating {
            self.terminate();
        }
        self.settle().await;
        self.queue.push_back(Event::Tick);
        self.settle().await;
    }

    async fn take(&mut self, message: Message) {
        match message {
            Message::Event(event) => {
                if let Event::Probed { instance, .. } = &*event {
                    self.probing.remove(instance);
                }
                self.queue.push_back(*event);
            }
            Message::Task(task) => task(self),
            Message::RunJob(job) => self.begin_job(job).await,
            Message::JobEnded(rollout, job, result) => self.job_ended(rollout, job, result).await,
        }
        self.settle().await;
    }

    async fn driver_event(&mut self, event: DriverEvent) {
        match event {
            DriverEvent::Exited { key, status } => self.exited(&key, status),
            DriverEvent::Resync => self.observe().await,
            DriverEvent::WorkerGone { generation } => self.worker_gone(generation),
            DriverEvent::Upgraded(outcome) => self.upgraded(outcome),
            DriverEvent::Lost => tracing::error!("the supervisor is gone: nothing can be changed"),
        }
        self.settle().await;
    }

    async fn server_changed(&mut self) {
        let state = *self.server_state.borrow();
        if state == ServerState::Terminating {
            self.terminate();
        }
        self.settle().await;
        if state == ServerState::Yielding && self.end.is_none() {
            self.end = Some(End::Yielded);
        }
    }

    /// The server ends. The supervisor waits for as long as the longest drain and stop may take.
    fn terminate(&mut self) {
        let within = self.engine.ending_within() + ENDING_MARGIN;
        self.host.ending(within.max(ENDING_MIN));
        self.queue.push_back(Event::Terminate);
    }

    async fn tick(&mut self) {
        self.check_confirmed();
        let now = self.clock.now();
        if self.engine.wake().is_some_and(|wake| wake <= now) {
            self.queue.push_back(Event::Tick);
        }
        self.close_due_accounts();
        self.settle().await;
    }

    /// When something is due by time alone.
    fn wake(&self) -> Instant {
        let now = self.clock.now();
        let due = self.accounts.values().filter_map(Account::due);
        let times = due.chain(self.engine.wake());
        let pauses = times.map(|time| time.since(now));
        let pauses = pauses.chain(self.confirm_pause());
        let pause = pauses.min().unwrap_or(Duration::from_secs(60));
        // The clock counts whole milliseconds: a little later is surely not too early.
        Instant::now() + pause + Duration::from_micros(500)
    }

    /// Gives the engine every event, and carries out what it wants, until nothing is left.
    async fn settle(&mut self) {
        let mut changed = !self.notes.is_empty();
        while let Some(event) = self.queue.pop_front() {
            if self.end.is_some() {
                return;
            }
            self.polled = self.clock.now();
            let effects = self.engine.poll(event, self.polled);
            self.carry_out(effects).await;
            self.note_status();
            changed = true;
        }
        self.write_noted_accounts();
        self.flush_notes();
        // A question changes nothing: who asks again at each change would ask for ever.
        if changed {
            self.changed.send_modify(|version| *version += 1);
        }
    }

    async fn look(&mut self) {
        let now = self.clock.now();
        let ledger = &self.ledger;
        self.series.look(now, |cell| ledger.cell(cell));
        self.look_at_accounts();
        self.store.refill_reserve();
        self.changed.send_modify(|version| *version += 1);
    }

    /// Copies the database in a thread of its own, unless one is at it.
    fn back_up(&self) {
        let Ok(alone) = Arc::clone(&self.copying).try_lock_owned() else {
            return;
        };
        let copying = self.store.copying();
        tokio::task::spawn_blocking(move || {
            if let Err(error) = copying.run() {
                tracing::warn!(error = error.chain(), "the database was not copied");
            }
            drop(alone);
        });
    }

    /// Looks at what the supervisor runs.
    async fn observe(&mut self) {
        match self.driver.list().await {
            Ok(instances) => self.listed(instances).await,
            Err(error) => tracing::warn!(error = crate::chain(&error), "children are not listed"),
        }
    }
}
