//! `gapless server`: becomes the supervisor.

use std::path::Path;
use std::time::Duration;

use supervisor::{ExitReason, Identity, RootInstances, SupervisorConfig, SupervisorError};

use crate::args::{Common, Server};
use crate::exit::{Exit, Trouble};
use crate::place;

/// How long a worker may drain after SIGTERM before everything is stopped: the longest drain
/// limits end well before it.
const DRAIN_LIMIT: Duration = Duration::from_secs(600);

/// How long what is left may take between SIGTERM and SIGKILL.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// How long each step of an upgrade may take: a new worker reads the whole journal.
const STEP_LIMIT: Duration = Duration::from_secs(60);

/// Proxy threads by default: beyond this a single machine's kernel is the limit.
const THREADS_MAX: usize = 8;

/// Supervises until SIGTERM.
pub(crate) fn run(common: &Common, server: &Server) -> Result<Exit, Trouble> {
    if let Some(ended) = supervisor::handed_over(env!("CARGO_PKG_VERSION")) {
        return ended.map(exit).map_err(|error| explain(&error));
    }
    let state = place::state(common)?;
    let identity = identity(server)?;
    let threads = server.threads.map_or_else(threads, usize::from);
    prepare(&state, identity)?;
    let config = SupervisorConfig {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        worker_argv: worker_argv(&state, threads)?,
        worker_identity: identity,
        sockets_per_address: threads,
        ledger_bytes: ledger::SIZE,
        root_instances: match server.allow_root_instances {
            true => RootInstances::Allowed,
            false => RootInstances::Refused,
        },
        drain_limit: DRAIN_LIMIT,
        step_limit: STEP_LIMIT,
        stop_grace: STOP_GRACE,
        state,
    };
    supervisor::run(config)
        .map(exit)
        .map_err(|error| explain(&error))
}

fn exit(reason: ExitReason) -> Exit {
    match reason {
        ExitReason::Signalled | ExitReason::Stopped { code: 0 } => Exit::Done,
        ExitReason::Stopped { code: _ } => Exit::Failed,
    }
}

/// Whom the worker runs as. A server of root needs to be told, so that nothing that parses what
/// users send is root by accident.
fn identity(server: &Server) -> Result<Option<Identity>, Trouble> {
    let root = rustix::process::geteuid().is_root();
    match (&server.user, root, server.allow_root_instances) {
        (Some(name), true, _) => match runtime::user(name) {
            Ok(identity) => Ok(Some(identity)),
            Err(error) => Err(Trouble::new(Exit::Usage, format!("`{name}` cannot be the worker's user")).cause(error)),
        },
        (Some(name), false, _) => {
            Err(Trouble::new(Exit::Usage, format!("only root can run the worker as `{name}`"))
                .hint("leave out --user, or start the server as root"))
        }
        (None, true, false) => Err(Trouble::new(Exit::Usage, "as root the server needs to know whom to run as")
            .cause("neither the worker nor any instance should be root by accident")
            .hint("name a plain user with `gapless server --user NAME`, or accept it with --allow-root-instances")),
        (None, true, true) | (None, false, _) => Ok(None),
    }
}

/// Makes the state directory, owned by whoever writes to it.
fn prepare(state: &Path, identity: Option<Identity>) -> Result<(), Trouble> {
    let failed = |error: std::io::Error| {
        Trouble::new(
            Exit::Failed,
            format!("the state directory {} cannot be used", state.display()),
        )
        .cause(error)
        .hint("name another with --state DIR")
    };
    std::fs::create_dir_all(state).map_err(failed)?;
    if let Some(identity) = identity {
        std::os::unix::fs::chown(state, Some(identity.uid), Some(identity.gid)).map_err(failed)?;
    }
    Ok(())
}

fn threads() -> usize {
    std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(THREADS_MAX)
}

fn worker_argv(state: &Path, threads: usize) -> Result<Vec<String>, Trouble> {
    let binary = std::env::current_exe().map_err(|error| {
        Trouble::new(Exit::Failed, "this program cannot find itself").cause(error)
    })?;
    let text = |path: &Path| {
        path.to_str().map(str::to_owned).ok_or_else(|| {
            Trouble::new(Exit::Usage, format!("{} is not UTF-8", path.display()))
                .hint("use a path that is")
        })
    };
    Ok(vec![
        text(&binary)?,
        "worker".to_owned(),
        "--threads".to_owned(),
        threads.to_string(),
        "--state".to_owned(),
        text(state)?,
    ])
}

fn explain(error: &SupervisorError) -> Trouble {
    let trouble = Trouble::new(Exit::Failed, error.to_string());
    let trouble = match std::error::Error::source(error) {
        Some(source) => trouble.cause(source),
        None => trouble,
    };
    match error {
        SupervisorError::Locked { pid, .. } => Trouble {
            exit: Exit::Locked,
            ..trouble
        }
        .hint(format!("use that server, or end it with `kill {pid}`")),
        SupervisorError::Os { .. }
        | SupervisorError::Config(_)
        | SupervisorError::Worker { .. } => trouble,
    }
}
