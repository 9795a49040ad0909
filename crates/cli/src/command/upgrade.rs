//! `gapless upgrade`: replaces the running server, and says how it went.

use std::path::Path;
use std::time::{Duration, Instant};

use control::api::{StatusAnswer, UpgradeRequest, UpgradeState, UpgradeView};

use crate::api::Api;
use crate::args::{Common, Upgrade};
use crate::exit::{Exit, Trouble};
use crate::output::Output;

/// How often the server is asked how far it is.
const EVERY: Duration = Duration::from_millis(50);

/// The server gives up on its own well before.
const LIMIT: Duration = Duration::from_secs(300);

/// Begins an upgrade and waits for its end. Leaving changes nothing: the server goes on.
pub(crate) fn run(common: &Common, args: &Upgrade, output: Output) -> Result<Exit, Trouble> {
    let api = Api::of(common)?;
    let begin = Instant::now();
    let program = args.binary.as_deref().map(absolute).transpose()?;
    let begun: UpgradeView = api.post("/v1/upgrade", &UpgradeRequest { program })?;
    output.note(format!(
        "worker {} of {} starts; the old one serves until it is ready",
        begun.generation, begun.program
    ));
    loop {
        let status = api.status()?;
        let own = status.server.upgrade.clone();
        let own = own.filter(|upgrade| upgrade.generation == begun.generation);
        match own {
            Some(upgrade) if upgrade.state != UpgradeState::Running => {
                return ended(&status, upgrade, begin.elapsed(), output);
            }
            Some(_) | None if begin.elapsed() > LIMIT => {
                return Err(Trouble::new(Exit::LostContact, "the upgrade does not end")
                    .hint("see `gapless status`"));
            }
            Some(_) | None => std::thread::sleep(EVERY),
        }
    }
}

fn absolute(path: &Path) -> Result<String, Trouble> {
    let real = std::fs::canonicalize(path).map_err(|error| {
        Trouble::new(Exit::Usage, format!("{} cannot be run", path.display())).cause(error)
    })?;
    let text = real.to_str().map(str::to_owned);
    text.ok_or_else(|| {
        Trouble::new(Exit::Usage, format!("{} is not UTF-8", real.display()))
            .hint("use a path that is")
    })
}

fn ended(
    status: &StatusAnswer,
    upgrade: UpgradeView,
    took: Duration,
    output: Output,
) -> Result<Exit, Trouble> {
    let server = &status.server;
    output.json_line(&serde_json::json!({
        "type": "upgrade", "v": 1, "outcome": upgrade.state, "reason": upgrade.reason,
        "program": upgrade.program, "from": upgrade.from, "version": server.version,
        "supervisor_version": server.supervisor_version, "generation": server.generation,
        "workers": server.workers, "seconds": took.as_secs_f64(),
    }));
    let failed = |what: &str, traffic: String| {
        let mut trouble = Trouble::new(Exit::Failed, what).hint("mend that and upgrade again");
        trouble.cause = upgrade.reason.clone();
        trouble.traffic = Some(traffic);
        Err(trouble)
    };
    let serving = format!("worker {} ({}) serves", server.generation, server.version);
    match upgrade.state {
        UpgradeState::Done => {
            output.text(format!(
                "upgraded from {} to {} in {:.1} s: {serving}",
                upgrade.from,
                server.version,
                took.as_secs_f64()
            ));
            Ok(Exit::Done)
        }
        UpgradeState::WorkerOnly => failed("the supervisor is still the old one", serving),
        UpgradeState::Failed | UpgradeState::Running => {
            failed("the upgrade failed", format!("{serving}, as before"))
        }
    }
}
