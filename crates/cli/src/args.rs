//! The command line as clap reads it; help texts, completions and man pages come from here.

mod lint;
mod migrate;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
pub(crate) use lint::{LintFormat, MigrateLint};
pub(crate) use migrate::{
    Migrate, MigrateBaseline, MigrateContract, MigrateDatabase, MigrateExpand, MigrateFiles,
    MigrateName,
};
use model::{InstanceId, ReleaseId, ServiceName};

/// Ships new versions of running software without a gap in service, and proves it.
#[derive(Debug, Parser)]
#[command(name = "gapless", version, max_term_width = 100, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed
  2  wrong usage or configuration
  3  rolled back: the old release serves
  4  waits for an approval
  5  lost contact: the rollout continues
  6  locked by another rollout";

const SERVER_NOTES: &str = "\
Under systemd use Type=notify and, so that nobody is refused while the unit restarts, \
FileDescriptorStoreMax=256: the listening sockets are kept and come back. Sockets of a .socket unit \
are used where their address is the one of `[server]` in gapless.toml. `gapless upgrade` replaces \
the running server in place: same process, same sockets, nobody notices.";

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub(crate) struct Common {
    /// The configuration; by default the nearest gapless.toml from here upwards
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The state directory; by default .gapless beside the configuration
    #[arg(long, global = true, value_name = "DIR", env = "GAPLESS_STATE")]
    pub(crate) state: Option<PathBuf>,
    /// Print JSON: one document, or one object a line
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// Everything that can be asked.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the whole story on this machine in about a minute: no root, no network
    Demo(Demo),
    /// Write a commented gapless.toml
    Init(Init),
    /// Find what is wrong and say the fix
    Doctor,
    /// Run the server; it ends on SIGTERM, after draining
    #[command(after_long_help = SERVER_NOTES)]
    Server(Server),
    /// Say what a deploy would do, and what it would need at its peak
    Plan(Services),
    /// Roll out new releases and watch
    Deploy(Deploy),
    /// Show services, releases, instances and running rollouts
    Status(Services),
    /// Watch the running rollouts; Ctrl-C only stops watching
    Watch(Services),
    /// Wait for the running rollouts to end; the exit code is theirs
    Wait(Services),
    /// End the present step's wait
    Promote(Promote),
    /// Freeze the running rollout
    Hold(Service),
    /// Go on after a hold, or after a pause
    Resume(Service),
    /// Pass the gate that the rollout waits at
    Approve(Service),
    /// End the running rollout and return to the release it began from
    Abort(Service),
    /// Start a new rollout to an earlier release
    Rollback(Rollback),
    /// List past rollouts, the newest first
    History(History),
    /// Print the account of a rollout
    Receipt(OneRollout),
    /// Say why a rollout did what it did, or what it waits for
    Why(OneRollout),
    /// Show what the instances wrote
    Logs(Logs),
    /// Change a database's schema while old and new programs use it
    #[command(subcommand)]
    Migrate(Migrate),
    /// Keep the values of secrets
    #[command(subcommand)]
    Secret(Secret),
    /// Replace one instance by a fresh one, without losing a request
    Drain(Instance),
    /// Override the number of replicas until that line of the file changes
    Scale(Scale),
    /// Replace every instance by a fresh one of the same release
    Restart(Service),
    /// Drain and stop all instances of a service
    Stop(Service),
    /// Hold a service's new requests for a while, at most 60s; open ones go on
    ///
    /// Each proxy thread holds at most 1024 requests of a service, of each about the first 16 KiB;
    /// more get 503 with Retry-After, and a client that leaves frees its place. A pause ends by
    /// itself, and goes on when the worker is replaced. A rollout's preview is not held. What was
    /// held is neither lost nor part of a latency or a gap; a receipt says how much it was.
    Pause(Pause),
    /// Replace the running server by another version of itself, without losing a request
    Upgrade(Upgrade),
    /// Close a service: new requests get 503 and a page; open ones go on
    ///
    /// It stays closed until it is opened again, through restarts and rollouts. A rollout's preview
    /// stays open.
    Maintenance(Maintenance),
    /// Work on the configuration
    #[command(subcommand)]
    Config(Config),
    /// Print the OpenAPI description of the admin API
    Api,
    /// Print completions for a shell
    Completion(Completion),
    /// Write man pages
    Man(Man),
    /// The process that does the work; started by the server
    #[command(hide = true)]
    Worker(Worker),
    /// The program of the demonstration
    #[command(hide = true)]
    DemoApp(crate::command::DemoApp),
}

/// Options of `demo`.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Leave the server running and say how to reach and end it
    #[arg(long)]
    pub(crate) keep: bool,
}

/// Options of `init`.
#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The project's name; by default the directory's
    pub(crate) name: Option<String>,
}

/// Options of `server`.
#[derive(Debug, Args)]
pub(crate) struct Server {
    /// Proxy threads; by default one per core, at most 8
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=8))]
    pub(crate) threads: Option<u16>,
    /// As root: the plain user that the worker, and instances without a user of their own, run as
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// Let instances run as uid 0
    #[arg(long)]
    pub(crate) allow_root_instances: bool,
}

/// Options of `upgrade`.
#[derive(Debug, Args)]
pub(crate) struct Upgrade {
    /// The new binary; by default what is at the path of the running one now
    #[arg(long, value_name = "PATH")]
    pub(crate) binary: Option<PathBuf>,
}

/// Options of the hidden `worker`.
#[derive(Debug, Args)]
pub(crate) struct Worker {
    /// Proxy threads
    #[arg(long)]
    pub(crate) threads: u16,
}

/// A choice of services.
#[derive(Debug, Args)]
pub(crate) struct Services {
    /// Only these services
    pub(crate) services: Vec<Name>,
}

/// Options of `deploy`.
#[derive(Debug, Args)]
pub(crate) struct Deploy {
    /// Only these services
    pub(crate) services: Vec<Name>,
    /// Return once the server has taken it; `gapless wait` picks it up
    #[arg(long)]
    pub(crate) detach: bool,
    /// A free label, for example a git commit
    #[arg(long)]
    pub(crate) label: Option<String>,
    /// Replace the instances of what is active already, too
    #[arg(long)]
    pub(crate) force: bool,
    /// Abort a running rollout in favour of this one
    #[arg(long)]
    pub(crate) supersede: bool,
    /// Stop and forget services that are gone from the file
    #[arg(long)]
    pub(crate) prune: bool,
}

/// One service.
#[derive(Debug, Args)]
pub(crate) struct Service {
    /// The service; may be left out when there is only one, or only one with a rollout
    pub(crate) service: Option<Name>,
}

/// Options of `promote`.
#[derive(Debug, Args)]
pub(crate) struct Promote {
    /// The service; may be left out when there is only one, or only one with a rollout
    pub(crate) service: Option<Name>,
    /// End all waits that follow, too; never a gate, a failed check or missing capacity
    #[arg(long)]
    pub(crate) full: bool,
}

/// Options of `pause`.
#[derive(Debug, Args)]
pub(crate) struct Pause {
    /// The service
    pub(crate) service: Name,
    /// How long from now, for example 10s or 500ms; at most 60s in all, however often it is asked for
    #[arg(long = "for", value_name = "TIME", value_parser = pause, default_value = "10s")]
    pub(crate) lasts: std::time::Duration,
    /// Let the requests go on now
    #[arg(long, conflicts_with = "lasts")]
    pub(crate) end: bool,
}

/// Options of `maintenance`.
#[derive(Debug, Args)]
pub(crate) struct Maintenance {
    /// The service
    pub(crate) service: Name,
    /// Close it, or open it again
    #[command(subcommand)]
    pub(crate) to: MaintenanceTo,
}

/// What becomes of a service.
#[derive(Debug, Subcommand)]
pub(crate) enum MaintenanceTo {
    /// Close it, or change what it says
    On(MaintenanceOn),
    /// Open it again
    Off,
}

/// What a closed service says.
#[derive(Debug, Args)]
pub(crate) struct MaintenanceOn {
    /// What is shown: a file of at most 64 KiB that ends in .html, .txt or .json
    #[arg(long, value_name = "FILE")]
    pub(crate) page: Option<PathBuf>,
    /// When clients are told to come back, at most 1d
    #[arg(long, value_name = "TIME", value_parser = span, default_value = "60s")]
    pub(crate) retry_after: std::time::Duration,
    /// Let in requests with this header, if it has the secret's value
    #[arg(long, value_name = "HEADER=secret:NAME", value_parser = allowed)]
    pub(crate) allow: Option<(String, String)>,
}

/// Options of `rollback`.
#[derive(Debug, Args)]
pub(crate) struct Rollback {
    /// The service; may be left out when there is only one
    pub(crate) service: Option<Name>,
    /// The release to go back to; by default the one that was active before
    pub(crate) release: Option<Number>,
    /// Return once the server has taken it
    #[arg(long)]
    pub(crate) detach: bool,
}

/// Options of `history`.
#[derive(Debug, Args)]
pub(crate) struct History {
    /// Only these services
    pub(crate) services: Vec<Name>,
    /// At most so many
    #[arg(long, default_value_t = 20)]
    pub(crate) limit: u32,
}

/// One rollout, or the newest.
#[derive(Debug, Args)]
pub(crate) struct OneRollout {
    /// Its number; by default the newest
    pub(crate) id: Option<u64>,
}

/// Options of `logs`.
#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// The service; by default all
    pub(crate) service: Option<Name>,
    /// What was asked of the service instead, and who ended each request in which phase
    #[arg(long)]
    pub(crate) access: bool,
    /// Only this release
    #[arg(long)]
    pub(crate) release: Option<Number>,
    /// Only since so long ago, for example 10m
    #[arg(long, value_parser = span)]
    pub(crate) since: Option<std::time::Duration>,
    /// Go on with what is written from now on
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// At most so many of the newest lines to begin with
    #[arg(short = 'n', long, default_value_t = 200)]
    pub(crate) lines: u32,
}

/// One instance.
#[derive(Debug, Args)]
pub(crate) struct Instance {
    /// Its name, for example web-v42-7
    pub(crate) instance: Copy,
}

/// Options of `scale`.
#[derive(Debug, Args)]
pub(crate) struct Scale {
    /// The service
    pub(crate) service: Name,
    /// So many instances
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) replicas: u32,
}

/// What can be done with secrets. Values come from standard input, never from arguments.
#[derive(Debug, Subcommand)]
pub(crate) enum Secret {
    /// Keep a new version of a secret; the value is read from standard input
    Set(SecretSet),
    /// List names, versions and times, never values
    List,
    /// Remove a secret
    Rm(SecretName),
}

/// Options of `secret set`.
#[derive(Debug, Args)]
pub(crate) struct SecretSet {
    /// Its name, as the program's environment has it
    #[arg(value_parser = secret_name)]
    pub(crate) name: String,
    /// Older versions are never used again: a rollback gets the new value
    #[arg(long)]
    pub(crate) retire: bool,
}

/// One secret.
#[derive(Debug, Args)]
pub(crate) struct SecretName {
    /// Its name
    #[arg(value_parser = secret_name)]
    pub(crate) name: String,
}

/// What can be done with the configuration.
#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Check the file and show every mistake at once
    Check,
    /// Show every value, where it comes from and what it means
    Explain(Explain),
    /// Print the JSON Schema of gapless.toml
    Schema,
}

/// Options of `config explain`.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// Only values below this path, for example service.web.drain
    pub(crate) path: Option<String>,
}

/// Options of `completion`.
#[derive(Debug, Args)]
pub(crate) struct Completion {
    /// Which shell
    pub(crate) shell: clap_complete::Shell,
}

/// Options of `man`.
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// The directory to write one page per command to; absent: the main page to standard output
    #[arg(long)]
    pub(crate) out: Option<PathBuf>,
    /// Print one Markdown document of all commands instead
    #[arg(long, conflicts_with = "out")]
    pub(crate) markdown: bool,
}

/// A service's name on the command line.
#[derive(Debug, Clone)]
pub(crate) struct Name(pub(crate) ServiceName);

impl std::str::FromStr for Name {
    type Err = model::NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        ServiceName::try_new(text).map(Self)
    }
}

/// A release on the command line.
pub(crate) type Number = ReleaseId;

/// An instance on the command line.
pub(crate) type Copy = InstanceId;

fn secret_name(text: &str) -> Result<String, String> {
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let fine = text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if begins && fine {
        return Ok(text.to_owned());
    }
    Err(format!(
        "`{text}` is no name: A-Z, a-z, 0-9 and _, not beginning with a digit"
    ))
}

fn allowed(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once("=secret:");
    let (header, name) = parts.filter(|(header, _)| !header.is_empty()).ok_or_else(|| {
        format!("`{text}` is not like X-Staff=secret:STAFF; the value is set with `gapless secret set`")
    })?;
    Ok((header.to_ascii_lowercase(), secret_name(name)?))
}

fn pause(text: &str) -> Result<std::time::Duration, String> {
    let millis = text
        .strip_suffix("ms")
        .and_then(|number| number.parse().ok());
    let lasts = match millis {
        Some(millis) => std::time::Duration::from_millis(millis),
        None => span(text)?,
    };
    if lasts.is_zero() || lasts > model::PAUSE_MAX {
        let most = model::PAUSE_MAX.as_secs();
        return Err(format!(
            "a pause lasts at most {most}s, and more than nothing"
        ));
    }
    Ok(lasts)
}

fn span(text: &str) -> Result<std::time::Duration, String> {
    let (number, unit) = text.split_at(
        text.find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len()),
    );
    let number: u64 = number
        .parse()
        .map_err(|_| format!("`{text}` is no duration such as 90s, 10m, 2h or 1d"))?;
    let seconds = match unit {
        "s" => Some(1),
        "m" => Some(60),
        "h" => Some(3_600),
        "d" => Some(86_400),
        _ => None,
    };
    let whole = seconds.and_then(|unit: u64| number.checked_mul(unit));
    whole
        .map(std::time::Duration::from_secs)
        .ok_or_else(|| format!("`{text}` is no duration such as 90s, 10m, 2h or 1d"))
}

/// Up to a minute; others wait for so long.
fn short_span(text: &str) -> Result<std::time::Duration, String> {
    let millis = text
        .strip_suffix("ms")
        .and_then(|number| number.parse().ok());
    let time = match millis {
        Some(millis) => std::time::Duration::from_millis(millis),
        None => span(text)?,
    };
    match time.as_millis() {
        1..=60_000 => Ok(time),
        _ => Err(format!("`{text}` is not between 1ms and 60s")),
    }
}
