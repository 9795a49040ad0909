//! What happens to the server.

use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use model::Receipt;
use rustix::process::Signal;

use super::account::{Fault, FaultKind};
use crate::server::signal;
use crate::{Said, Stage, StageError};

/// Instances at a time: some are left when one is killed.
const REPLICAS: u64 = 3;
/// How long a killed process may take to be gone on a busy machine.
const DEATH: Duration = Duration::from_secs(2);
/// How long the server may take to be as it should be.
const PATIENCE: Duration = Duration::from_secs(60);

/// Strategies as the file says them.
const STRATEGIES: [&str; 3] = [
    "strategy = \"rolling\"",
    "strategy = \"blue_green\"\nkeep = \"500ms\"",
    "strategy = \"canary\"\naffinity = \"client\"\n\
     steps = [{ weight = \"20%\", for = \"300ms\" }, { weight = \"60%\", for = \"300ms\" }]",
];

/// Something that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Deploy,
    Rollback,
    Upgrade,
    WorkerKilled,
    InstanceKilled,
    WorkerKilledInDeploy,
    InstanceKilledInDeploy,
    UpgradeInDeploy,
}

/// Each as often as it stands here.
const ACTS: [Act; 10] = [
    Act::Deploy,
    Act::Deploy,
    Act::Deploy,
    Act::Rollback,
    Act::Upgrade,
    Act::WorkerKilled,
    Act::InstanceKilled,
    Act::WorkerKilledInDeploy,
    Act::InstanceKilledInDeploy,
    Act::UpgradeInDeploy,
];

impl Act {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Deploy => "deploy",
            Self::Rollback => "rollback",
            Self::Upgrade => "upgrade",
            Self::WorkerKilled => "worker killed",
            Self::InstanceKilled => "instance killed",
            Self::WorkerKilledInDeploy => "worker killed in a deploy",
            Self::InstanceKilledInDeploy => "instance killed in a deploy",
            Self::UpgradeInDeploy => "upgrade in a deploy",
        }
    }
}

/// Plays acts on a stage, and notes what each may have cost.
pub(super) struct Player {
    stage: Stage,
    address: SocketAddr,
    state: u64,
    version: u32,
    pub(super) faults: Vec<Fault>,
    pub(super) breaches: Vec<String>,
}

impl Player {
    pub(super) fn new(stage: Stage, address: SocketAddr, seed: u64) -> Self {
        Self {
            stage,
            address,
            state: seed,
            version: 0,
            faults: Vec::new(),
            breaches: Vec::new(),
        }
    }

    /// A number below `bound`, by the seed.
    fn below(&mut self, bound: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        let at = self.below(from.len() as u64) as usize;
        from[at]
    }

    pub(super) fn draw(&mut self) -> Act {
        self.pick(&ACTS)
    }

    /// The first deploy.
    pub(super) fn begin(&mut self) -> Result<(), StageError> {
        let said = self.deploy(&[])?;
        self.expect("the first deploy", &said, &[0]);
        Ok(())
    }

    pub(super) fn play(&mut self, act: Act) -> Result<(), StageError> {
        match act {
            Act::Deploy => {
                let said = self.deploy(&[])?;
                self.expect(act.name(), &said, &[0]);
            }
            Act::Rollback => {
                let said = self.stage.gapless(&["rollback", "web"])?;
                // There may be no earlier release yet.
                let codes: &[i32] = if self.version > 1 { &[0] } else { &[0, 1, 2] };
                self.expect(act.name(), &said, codes);
            }
            Act::Upgrade => {
                let said = self.stage.gapless(&["upgrade"])?;
                self.expect(act.name(), &said, &[0]);
            }
            Act::WorkerKilled => self.kill_worker()?,
            Act::InstanceKilled => self.kill_instance()?,
            Act::WorkerKilledInDeploy => self.within_deploy(Self::kill_worker, &[0])?,
            // A release that crashes while it is rolled out may be rolled back.
            Act::InstanceKilledInDeploy => self.within_deploy(Self::kill_instance, &[0, 3])?,
            Act::UpgradeInDeploy => self.within_deploy(
                |player| {
                    let said = player.stage.gapless(&["upgrade"])?;
                    player.expect("upgrade", &said, &[0]);
                    Ok(())
                },
                &[0],
            )?,
        }
        self.until_whole()
    }

    /// Does something at a moment of a deploy that the seed draws.
    fn within_deploy(
        &mut self,
        what: impl FnOnce(&mut Self) -> Result<(), StageError>,
        codes: &[i32],
    ) -> Result<(), StageError> {
        let said = self.deploy(&["--detach"])?;
        self.expect("deploy --detach", &said, &[0]);
        std::thread::sleep(Duration::from_millis(self.below(1_500)));
        what(self)?;
        let said = self.stage.gapless(&["wait"])?;
        self.expect("wait", &said, codes);
        Ok(())
    }

    fn deploy(&mut self, args: &[&str]) -> Result<Said, StageError> {
        self.version += 1;
        let strategy = self.pick(&STRATEGIES);
        self.stage.write(&format!(
            r#"version = 1
project = "soak"

[server]
http = "{}"

[service.web]
artifact = "app"
run = "./app demo-app"
replicas = {REPLICAS}
drain = "20s"
stop = {{ signal = "SIGTERM", grace = "2s" }}
health = {{ http = "/healthz", every = "500ms", timeout = "5s" }}
env = {{ VERSION = "{}" }}

[service.web.rollout]
{strategy}
"#,
            self.address, self.version
        ))?;
        let all: Vec<&str> = ["deploy"].into_iter().chain(args.iter().copied()).collect();
        self.stage.gapless(&all)
    }

    fn kill_worker(&mut self) -> Result<(), StageError> {
        let from = Instant::now();
        let killed = self.stage.kill_worker()?;
        self.struck(FaultKind::WorkerKilled, from);
        self.until("another worker serves", |player| {
            Ok(player.stage.worker_pid().is_ok_and(|pid| pid != killed))
        })
    }

    fn kill_instance(&mut self) -> Result<(), StageError> {
        let instances = self.instances();
        if instances.is_empty() {
            self.breaches.push("there is no instance".to_owned());
            return Ok(());
        }
        let pid = self.pick(&instances);
        let from = Instant::now();
        // One that a deploy has just stopped is gone already.
        let _ = signal(pid, Signal::KILL);
        self.struck(FaultKind::InstanceKilled, from);
        Ok(())
    }

    fn struck(&mut self, kind: FaultKind, from: Instant) {
        self.faults.push(Fault {
            kind,
            from,
            to: Instant::now() + DEATH,
        });
    }

    /// The supervisor's children that are instances, in order.
    fn instances(&self) -> Vec<u32> {
        let Some(supervisor) = self.stage.server_pid() else {
            return Vec::new();
        };
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let is_instance = |pid: &u32| {
            let read = |name| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
            let stat = read("stat");
            // After the name, which may hold anything: the state and the parent.
            let parent = stat.rsplit(") ").next().and_then(|it| it.split(' ').nth(1));
            parent == Some(&supervisor.to_string()) && read("cmdline").contains("demo-app")
        };
        let mut instances: Vec<u32> = pids.filter(is_instance).collect();
        instances.sort_unstable();
        instances
    }

    fn expect(&mut self, what: &str, said: &Said, codes: &[i32]) {
        if !codes.contains(&said.code) {
            self.breaches
                .push(format!("{what} ended with {}: {}", said.code, said.errors));
        }
    }

    /// Waits until every replica is ready and no rollout runs.
    fn until_whole(&mut self) -> Result<(), StageError> {
        self.until("the service is whole", |player| {
            let status = player.stage.gapless(&["status"])?.first();
            let web = &status["engine"]["services"][0];
            let ready = web["instances"].as_array().map_or(0, |instances| {
                let is_ready = |one: &&serde_json::Value| one["state"]["state"] == "ready";
                instances.iter().filter(is_ready).count() as u64
            });
            Ok(web["rollout"].is_null() && ready >= REPLICAS)
        })
    }

    /// The end: nothing more happens.
    pub(super) fn settle(&mut self) -> Result<(), StageError> {
        self.until_whole()
    }

    /// Requests that the server counts, once they are those that were sent or no more come.
    pub(super) fn counted(&self, sent: u64) -> Result<u64, StageError> {
        let mut counted = 0;
        let begun = Instant::now();
        while counted < sent && begun.elapsed() < DEATH {
            let status = self.stage.gapless(&["status"])?.first();
            counted = status["traffic"]["web"]["requests"].as_u64().unwrap_or(0);
        }
        Ok(counted)
    }

    /// Every receipt of its history.
    pub(super) fn receipts(&self) -> Result<Vec<Receipt>, StageError> {
        let history = self.stage.gapless(&["history"])?.first();
        let rollouts = history["rollouts"].as_array().cloned().unwrap_or_default();
        let receipts = rollouts.into_iter().map(|mut one| one["receipt"].take());
        Ok(receipts
            .filter_map(|receipt| serde_json::from_value(receipt).ok())
            .collect())
    }

    fn until(
        &mut self,
        what: &str,
        holds: impl Fn(&Self) -> Result<bool, StageError>,
    ) -> Result<(), StageError> {
        let begun = Instant::now();
        while !holds(self)? {
            if begun.elapsed() > PATIENCE {
                let status = self.stage.gapless(&["status"])?.first();
                self.breaches.push(format!("never: {what}; {status}"));
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}
