//! The acts: each deploys something in its own way, under load, and is audited.

use std::time::{Duration, Instant};

use load::Tally;
use model::{Outcome, Receipt};

use super::audit::{Allowed, breaches};
use stage::Said;

use super::stage::Stage;
use crate::exit::{Exit, Trouble};
use crate::output::Output;

/// One act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    First,
    Rolling,
    BlueGreen,
    Canary,
    BadLatency,
    BadErrors,
    BadCrash,
    BadHang,
    WorkerKilled,
}

/// What came of an act.
pub(super) struct Played {
    pub(super) act: Act,
    pub(super) receipts: Vec<Receipt>,
    pub(super) tally: Tally,
    pub(super) breaches: Vec<String>,
}

const ROLLING: &str = "strategy = \"rolling\"";
const SLOW_ROLLING: &str = "strategy = \"rolling\"\nmin_ready = \"1s\"";
const BLUE_GREEN: &str = "strategy = \"blue_green\"\nkeep = \"30s\"";
const CANARY: &str = r#"strategy = "canary"
steps = [{ weight = "20%", for = "2s" }, { weight = "50%", for = "2s" }]
checks = [{ metric = "error_rate", max = "5%" }, { metric = "latency_p99", max = "250ms" }]
min_requests = 30"#;

impl Act {
    /// All of them, in order.
    pub(super) const ALL: [Self; 9] = [
        Self::First,
        Self::Rolling,
        Self::BlueGreen,
        Self::Canary,
        Self::BadLatency,
        Self::BadErrors,
        Self::BadCrash,
        Self::BadHang,
        Self::WorkerKilled,
    ];

    /// Its name for machines.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Rolling => "rolling",
            Self::BlueGreen => "blue_green",
            Self::Canary => "canary",
            Self::BadLatency => "canary_latency",
            Self::BadErrors => "canary_errors",
            Self::BadCrash => "canary_crash",
            Self::BadHang => "canary_hang",
            Self::WorkerKilled => "worker_killed",
        }
    }

    /// Its name for people.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::First => "the first deploy",
            Self::Rolling => "a rolling update",
            Self::BlueGreen => "blue/green, and back while the old set is warm",
            Self::Canary => "a canary, promoted by its checks",
            Self::BadLatency => "a canary that is slow, rolled back by itself",
            Self::BadErrors => "a canary that answers with errors, rolled back by itself",
            Self::BadCrash => "a canary that crashes, rolled back by itself",
            Self::BadHang => "a canary that hangs, rolled back by itself",
            Self::WorkerKilled => "a rolling update whose worker is killed with -9",
        }
    }

    fn fault(self) -> &'static str {
        match self {
            Self::First | Self::Rolling | Self::BlueGreen | Self::Canary | Self::WorkerKilled => {
                "none"
            }
            Self::BadLatency => "latency",
            Self::BadErrors => "errors",
            Self::BadCrash => "crash",
            Self::BadHang => "hang",
        }
    }

    fn rollout(self) -> &'static str {
        match self {
            Self::First | Self::Rolling => ROLLING,
            Self::BlueGreen => BLUE_GREEN,
            Self::Canary | Self::BadLatency | Self::BadErrors | Self::BadCrash | Self::BadHang => {
                CANARY
            }
            Self::WorkerKilled => SLOW_ROLLING,
        }
    }

    fn expected(self) -> Outcome {
        match self {
            Self::First | Self::Rolling | Self::Canary | Self::WorkerKilled => Outcome::Completed,
            Self::BlueGreen => Outcome::Aborted,
            Self::BadLatency | Self::BadErrors | Self::BadCrash | Self::BadHang => {
                Outcome::RolledBack
            }
        }
    }

    fn allowed(self) -> Allowed {
        match self {
            Self::First | Self::Rolling | Self::BlueGreen | Self::Canary => Allowed::Nothing,
            Self::BadLatency | Self::BadErrors | Self::BadCrash | Self::BadHang => {
                Allowed::FailedByRelease
            }
            Self::WorkerKilled => Allowed::Cut,
        }
    }
}

/// Plays one act and audits it.
pub(super) fn play(act: Act, stage: &mut Stage, output: Output) -> Result<Played, Trouble> {
    let before = settled(stage)?;
    stage.write(act.fault(), act.rollout())?;
    let said = match act {
        Act::First
        | Act::Rolling
        | Act::Canary
        | Act::BadLatency
        | Act::BadErrors
        | Act::BadCrash
        | Act::BadHang => stage.gapless(&["deploy"], output)?,
        Act::BlueGreen => there_and_back(stage, output)?,
        Act::WorkerKilled => with_killed_worker(stage, output)?,
    };
    let receipts = said.receipts();
    if receipts.is_empty() {
        return Err(Trouble::new(
            Exit::Failed,
            format!("act `{}` ended without a receipt", act.name()),
        )
        .cause(said.errors));
    }
    if stage.client.is_none() {
        stage.open_doors()?;
    }
    let tally = settled(stage)?.since(&before);
    let mut breaches = if act == Act::First {
        Vec::new()
    } else {
        breaches(act.allowed(), &receipts, &tally)
    };
    let unexpected = receipts
        .iter()
        .filter(|receipt| receipt.outcome != act.expected());
    breaches.extend(
        unexpected
            .map(|receipt| format!("it ended as {}, not {}", receipt.outcome, act.expected())),
    );
    Ok(Played {
        act,
        receipts,
        tally,
        breaches,
    })
}

fn settled(stage: &Stage) -> Result<Tally, Trouble> {
    let Some(client) = &stage.client else {
        return Ok(Tally::default());
    };
    client
        .settled()
        .ok_or_else(|| Trouble::new(Exit::Failed, "the client has stopped"))
}

fn there_and_back(stage: &Stage, output: Output) -> Result<Said, Trouble> {
    begin(stage, output)?;
    until_waiting(stage, "keep")?;
    output.note("  all users are on the new release; now back: gapless abort");
    stage.gapless(&["abort"], output)?;
    stage.gapless(&["wait"], output)
}

fn with_killed_worker(stage: &Stage, output: Output) -> Result<Said, Trouble> {
    begin(stage, output)?;
    until_waiting(stage, "min_ready")?;
    stage.kill_worker(output)?;
    stage.gapless(&["wait"], output)
}

fn begin(stage: &Stage, output: Output) -> Result<(), Trouble> {
    let said = stage.gapless(&["deploy", "--detach"], output)?;
    if said.code == 0 {
        return Ok(());
    }
    Err(Trouble::new(Exit::Failed, "the deploy was not taken").cause(said.errors))
}

/// Waits until the rollout waits for this, as `status` says.
fn until_waiting(stage: &Stage, on: &str) -> Result<(), Trouble> {
    let begin = Instant::now();
    let quiet = Output::silent();
    while begin.elapsed() < Duration::from_secs(30) {
        let status = stage.gapless(&["status"], quiet)?;
        let waits = status.lines.first().is_some_and(|line| {
            let services = line["engine"]["services"].as_array().into_iter().flatten();
            let waiting = services.flat_map(|service| {
                service["rollout"]["waiting_on"]
                    .as_array()
                    .into_iter()
                    .flatten()
            });
            waiting.into_iter().any(|one| one["on"] == on)
        });
        if waits {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Err(Trouble::new(
        Exit::Failed,
        format!("the rollout never came to wait for `{on}`"),
    ))
}
