//! The hidden `worker`: proxy, control and admin API in one process that may be killed at any moment.

mod leave;
mod succession;

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use control::{Control, End, Handle, Host, Parts, Publisher};
use ledger::Ledger;
use proxy::{Proxy, Settings, ThreadSetup};
use runtime::artifact::{ArtifactBounds, Store};
use runtime::logs::{LogBounds, Logs};
use runtime::process::ProcessDriver;
use supervisor::client::Client;
use traffic::{Cell, Table};

use crate::args::{Common, Worker};
use crate::exit::{Exit, Trouble};
use crate::place;

use leave::Own;

/// How long answers that are under way may take once everything is stopped.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// Serves until the server ends or another worker takes its place.
pub(crate) fn run(common: &Common, args: &Worker) -> Result<Exit, Trouble> {
    tell();
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
    let proxy = Proxy::start(setups, Settings::default())
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
    let failed = |what: &'static str, error: &dyn std::error::Error| {
        Trouble::new(Exit::Failed, what).cause(control::chain(error))
    };
    let driver = ProcessDriver::new(Arc::clone(client))
        .map_err(|error| failed("the supervisor cannot be heard", &error))?;
    let server_state = driver.server_state();
    let artifacts = Store::open(state.join("artifacts"), ArtifactBounds::default());
    let artifacts = artifacts.map_err(|error| failed("the artefacts cannot be used", &error))?;
    let logs = Logs::open(state.join("logs"), LogBounds::default());
    let parts = Parts {
        state: state.to_owned(),
        driver: Arc::new(driver),
        server_state,
        host: Box::new(Arc::clone(client)),
        publisher: Box::new(Publishing(Arc::clone(proxy))),
        ledger: ledger.clone(),
        artifacts: Arc::new(artifacts),
        logs: logs.map_err(|error| failed("the logs cannot be used", &error))?,
    };
    let own = Own {
        state,
        client,
        ledger: &ledger,
        proxy,
    };
    match Control::start(parts) {
        Ok((control, handle)) => in_control(&own, client, (control, handle)).await,
        Err(error) => {
            tracing::error!(
                error = control::chain(&error),
                "nothing can be changed; traffic goes on as the last table says"
            );
            let host = client as &dyn Host;
            control::serve_last_table(state, host, &mut Publishing(Arc::clone(proxy)));
            leave::told_to_go(&own).await;
            Ok(Exit::Failed)
        }
    }
}

async fn in_control(
    own: &Own<'_>,
    client: &Arc<Client>,
    (control, handle): (Control, Handle),
) -> Result<Exit, Trouble> {
    let api = server::bind(own.state).map_err(|error| {
        Trouble::new(Exit::Failed, "the admin socket cannot be made").cause(error)
    })?;
    let succeeding = handle.clone();
    let api = tokio::spawn(server::serve(api, handle));
    if let Err(error) = client.ready() {
        tracing::error!(
            error = control::chain(&error),
            "the supervisor cannot be told that this worker is ready"
        );
    }
    let succession = tokio::spawn(succession::succeed(Arc::clone(client), succeeding));
    // One wait for all: who is told to go while control still runs is not told again.
    let gone = leave::told_to_go(own);
    tokio::pin!(gone);
    tokio::select! {
        end = control.run() => {
            tracing::info!(?end, "control has ended");
            match end {
                // Without the socket a client knows that nobody is there, and need not try again.
                End::Terminated => drop(std::fs::remove_file(own.state.join(server::SOCKET))),
                // The successor says when its own instances are ready; until then this one serves.
                End::Fenced => gone.await,
            }
        }
        () = &mut gone => tracing::info!("this worker was told to go and has drained"),
    }
    succession.abort();
    api.abort();
    Ok(Exit::Done)
}

/// The proxy as control sees it.
struct Publishing(Arc<Proxy>);

impl Publisher for Publishing {
    fn bind(&mut self, address: SocketAddr, listeners: Vec<OwnedFd>) {
        for (thread, socket) in listeners.into_iter().enumerate() {
            self.0.listen(thread, address, socket);
        }
    }

    fn release(&mut self, address: SocketAddr) {
        self.0.unlisten(address);
    }

    fn publish(&mut self, table: Arc<Table>) {
        self.0.publish(&table);
    }

    fn part(&mut self, cell: Cell, left: Duration) {
        self.0.part(cell, left);
    }

    fn cut(&mut self, cell: Cell) {
        self.0.cut(cell);
    }
}
