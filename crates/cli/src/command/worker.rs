//! The hidden `worker`: proxy, control and admin API in one process that may be killed at any moment.

mod change;
mod database;
mod leave;
mod succession;

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use control::{Control, End, Handle, Host, Parts, Publisher, StartError};
use engine::ServiceStatus;
use fleet::InstanceState;
use ledger::Ledger;
use model::{Drain, ShadowKey};
use proxy::{AccessPlace, Proxy, Settings, ThreadSetup};
use runtime::artifact::{ArtifactBounds, Store};
use runtime::logs::{LogBounds, Logs};
use runtime::process::ProcessDriver;
use rustix::process::DumpableBehavior;
use supervisor::UpgradeOutcome;
use supervisor::client::Client;
use tls::Tickets;
use tokio::task::JoinHandle;
use traffic::{Cell, ListenerKind, Table};

use crate::args::{Common, Worker};
use crate::exit::{Exit, Trouble};
use crate::place;

use change::Turn;
use leave::Own;

/// How long answers that are under way may take once everything is stopped.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// How often it is looked whether the proxy has the table.
const READY_EVERY: Duration = Duration::from_millis(5);

/// Serves until the server ends or another worker takes its place.
pub(crate) fn run(common: &Common, args: &Worker) -> Result<Exit, Trouble> {
    tell();
    if is_of_root() {
        // No core file, and no look at our memory for instances of the same user.
        let _stays = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
    }
    let state = place::state(common)?;
    let failed = |what: &'static str| {
        move |error: &dyn std::error::Error| {
            Trouble::new(Exit::Failed, what).cause(control::chain(error))
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| failed("no runtime can be made")(&error))?;
    let client =
        Client::from_env().map_err(|error| failed("only a server can start a worker")(&error))?;
    let client = Arc::new(client);
    let ledger = ledger(&client).map_err(|error| failed("the ledger cannot be used")(&*error))?;
    let setups = setups(&ledger, &client, args.threads)
        .map_err(|error| failed("the ledger has no room")(&error))?;
    let shadow = ledger
        .shadow_writer(client.generation())
        .map_err(|error| failed("the ledger has no room")(&error))?;
    let settings = Settings {
        access: Some(AccessPlace {
            directory: state.join(control::ACCESS_LOG),
            generation: client.generation(),
        }),
        ..Settings::default()
    };
    let tickets = Tickets::open(&state.join("tickets"))
        .map_err(|error| failed("the kernel gives no random bytes")(&error))?;
    let proxy = Proxy::start(setups, shadow, settings, tickets)
        .map_err(|error| failed("the proxy cannot start")(&error))?;
    let proxy = Arc::new(proxy);
    let served = runtime.block_on(serve(&state, &client, ledger, &proxy));
    // Tasks hold the other references.
    drop(runtime);
    match Arc::try_unwrap(proxy) {
        Ok(proxy) => proxy.stop(LAST_ANSWERS),
        Err(_) => tracing::error!("the proxy is still in use"),
    }
    served
}

/// Whether the supervisor is root's. Only then the next one could still look at this process and
/// find out what a dead supervisor left.
fn is_of_root() -> bool {
    let parent = rustix::process::getppid().map(|parent| format!("/proc/{}", parent.as_raw_pid()));
    let parent = parent.and_then(|path| std::fs::metadata(path).ok());
    parent.is_some_and(|parent| parent.uid() == 0)
}

/// Messages go to standard error, which the server's is; `GAPLESS_LOG` chooses what.
fn tell() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("GAPLESS_LOG");
    let filter = filter.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
}

fn ledger(client: &Client) -> Result<Ledger, Box<dyn std::error::Error>> {
    let (memory, _) = client.ledger()?;
    Ok(Ledger::map(memory)?)
}

fn setups(
    ledger: &Ledger,
    client: &Client,
    threads: u16,
) -> Result<Vec<ThreadSetup>, ledger::WriterError> {
    let one = |thread| {
        Ok(ThreadSetup {
            listeners: Vec::new(),
            writer: ledger.writer(client.generation(), thread)?,
        })
    };
    (0..u32::from(threads)).map(one).collect()
}

async fn serve(
    state: &Path,
    client: &Arc<Client>,
    ledger: Ledger,
    proxy: &Arc<Proxy>,
) -> Result<Exit, Trouble> {
    let own = Own {
        state,
        client,
        ledger: &ledger,
        proxy,
    };
    if let Err(error) = client.introduce(env!("CARGO_PKG_VERSION")) {
        tracing::debug!(
            error = control::chain(&error),
            "the supervisor is of an older version"
        );
    }
    let mut stood_by = false;
    let mut news = None;
    loop {
        let is_free = Client::acquire_control(client);
        if !is_free.map_err(|error| failed("control cannot be asked for", &error))? {
            stood_by = true;
            match change::stand_by(&own).await? {
                Turn::Lead(outcome) => news = outcome,
                Turn::Over => return Ok(Exit::Failed),
            }
            continue;
        }
        match Control::start(parts(&own)?) {
            Ok(started) => match in_control(&own, started, news.take()).await? {
                Left::Ended => return Ok(Exit::Done),
                Left::Yielded(api) => match change::make_way(&own).await? {
                    Turn::Lead(outcome) => {
                        api.abort();
                        news = outcome;
                    }
                    Turn::Over => return Ok(Exit::Done),
                },
            },
            Err(error) if stood_by => return Err(change::unfit(&own, &error)),
            Err(error) => {
                without_control(&own, &error).await;
                return Ok(Exit::Failed);
            }
        }
    }
}

fn failed(what: &'static str, error: &dyn std::error::Error) -> Trouble {
    Trouble::new(Exit::Failed, what).cause(control::chain(error))
}

fn parts(own: &Own<'_>) -> Result<Parts, Trouble> {
    let driver = ProcessDriver::new(Arc::clone(own.client))
        .map_err(|error| failed("the supervisor cannot be heard", &error))?;
    let artifacts = Store::open(own.state.join("artifacts"), ArtifactBounds::default());
    let logs = Logs::open(own.state.join("logs"), LogBounds::default());
    Ok(Parts {
        state: own.state.to_owned(),
        server_state: driver.server_state(),
        driver: Arc::new(driver),
        databases: Arc::new(database::Postgres),
        host: Box::new(Arc::clone(own.client)),
        publisher: Box::new(Publishing(Arc::clone(own.proxy))),
        ledger: own.ledger.clone(),
        artifacts: Arc::new(
            artifacts.map_err(|error| failed("the artefacts cannot be used", &error))?,
        ),
        logs: logs.map_err(|error| failed("the logs cannot be used", &error))?,
    })
}

/// The database cannot be used: traffic goes on as the last table says, and nothing can be
/// changed until somebody repairs it.
async fn without_control(own: &Own<'_>, error: &StartError) {
    tracing::error!(
        error = control::chain(error),
        "nothing can be changed; traffic goes on as the last table says"
    );
    let mut publishing = Publishing(Arc::clone(own.proxy));
    control::serve_last_table(own.state, own.client as &dyn Host, &mut publishing);
    tokio::select! {
        () = leave::told_to_go(own) => {}
        // Nothing else ends here: the supervisor stops the instances once this worker has gone.
        () = change::server_ends(own) => leave::drained(own).await,
    }
}

/// How control was left.
enum Left {
    /// The worker is to end.
    Ended,
    /// Another worker is to have it. The API answers until then, if only that.
    Yielded(JoinHandle<std::io::Result<()>>),
}

async fn in_control(
    own: &Own<'_>,
    (control, handle): (Control, Handle),
    news: Option<UpgradeOutcome>,
) -> Result<Left, Trouble> {
    let api = server::bind(own.state)
        .map_err(|error| failed("the admin socket cannot be made", &error))?;
    let api = tokio::spawn(server::serve(api, handle.clone()));
    let succession = succession::succeed(
        Arc::clone(own.client),
        handle.clone(),
        leave::limit(own.state),
    );
    let succession = tokio::spawn(succession);
    let (client, ledger) = (Arc::clone(own.client), own.ledger.clone());
    let ready = tokio::spawn(ready(client, ledger, (handle, news)));
    // One wait for all: who is told to go while control still runs is not told again.
    let gone = leave::told_to_go(own);
    tokio::pin!(gone);
    let end = tokio::select! {
        end = control.run() => Some(end),
        () = &mut gone => None,
    };
    tracing::info!(?end, "control has ended");
    succession.abort();
    ready.abort();
    match end {
        Some(End::Yielded) => return Ok(Left::Yielded(api)),
        // Without the socket a client knows that nobody is there, and need not try again.
        Some(End::Terminated) => drop(std::fs::remove_file(own.state.join(server::SOCKET))),
        // The successor says when its own instances are ready; until then this one serves.
        Some(End::Fenced) => gone.await,
        None => {}
    }
    api.abort();
    Ok(Left::Ended)
}

/// Tells the supervisor that this worker serves, once each of its threads has the table.
async fn ready(
    client: Arc<Client>,
    ledger: Ledger,
    (handle, news): (Handle, Option<UpgradeOutcome>),
) {
    if let Some(outcome) = news
        && handle.upgraded(outcome).await.is_err()
    {
        return;
    }
    loop {
        let Ok(status) = handle.status().await else {
            return;
        };
        let overdue = ledger.overdue(status.engine.revision);
        let has_table = overdue
            .iter()
            .all(|one| one.generation != client.generation());
        // Where nothing gets traffic there may never be a table to wait for.
        if has_table || !status.engine.services.iter().any(gets_traffic) {
            break;
        }
        tokio::time::sleep(READY_EVERY).await;
    }
    if let Err(error) = client.ready() {
        tracing::error!(
            error = control::chain(&error),
            "the supervisor cannot be told that this worker is ready"
        );
    }
}

/// Whether a service has an instance for which a table is published.
fn gets_traffic(service: &ServiceStatus) -> bool {
    let mut instances = service.instances.iter();
    instances.any(|one| one.port.is_some() && matches!(one.state, InstanceState::Ready { .. }))
}

/// The proxy as control sees it.
struct Publishing(Arc<Proxy>);

impl Publisher for Publishing {
    fn bind(&mut self, address: SocketAddr, kind: ListenerKind, listeners: Vec<OwnedFd>) {
        for (thread, socket) in listeners.into_iter().enumerate() {
            // A service manager may have made more sockets than there are threads.
            let thread = thread % self.0.threads();
            self.0.listen(thread, (address, kind), socket);
        }
    }

    fn release(&mut self, address: SocketAddr) {
        self.0.unlisten(address);
    }

    fn publish(&mut self, table: Arc<Table>) {
        self.0.publish(&table);
    }

    fn part(&mut self, cell: Cell, left: Drain) {
        self.0.part(cell, left);
    }

    fn compared(&mut self, key: ShadowKey) -> Option<verdict::Tally> {
        self.0.compared(key)
    }

    fn cut(&mut self, cell: Cell) {
        self.0.cut(cell);
    }
}
