//! Replacing the worker by one of another binary, while the old one serves.
//!
//! A child of the new binary proves that it can read what this supervisor would hand over. The new
//! worker proves that it understands what the old one left, and only then is the old one asked to
//! give control back. Until the new one serves, every failure ends with the old one in control
//! again. Last, and after one more proof, this process becomes the new binary.

use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use rustix::process::{Pid, Signal};

use crate::answer::Answer;
use crate::channel;
use crate::identity::HANDOVER_VARIABLE;
use crate::notify::{self, NOTIFY_VARIABLE};
use crate::protocol::{Event, ExitStatus, Refusal, Reply, UpgradeOutcome};
use crate::server::{Phase, Supervisor};
use crate::sys::{self, BeforeExec};
use crate::worker::{Worker, worker_identity};

/// What another binary is to do with a handover.
pub(crate) const PROVE: &str = "prove";
pub(crate) const RESUME: &str = "resume";

/// The part of a program's header that names its machine.
const ELF_BYTES: u64 = 20;

/// An upgrade under way.
#[derive(Debug)]
pub(crate) struct Upgrade {
    program: PathBuf,
    /// The worker that asked, and that goes on if this fails.
    old: u64,
    /// The worker that is to take its place.
    new: u64,
    step: Step,
    pub(crate) due: Instant,
    /// Why the new worker says that it cannot.
    unfit: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// A child of the new binary reads what would be handed over.
    Proving(Pid),
    /// The new worker looks whether it could take control.
    Starting,
    /// The old one was asked to give control back.
    Yielding,
    /// The new one was told to take it, and does not serve yet.
    Leading,
    /// The new worker serves; a child reads what is to be handed over.
    ProvingAgain(Pid),
    /// This process is to become the new binary once no message waits to be sent.
    Replacing,
}

impl Step {
    /// What it had not done.
    fn missing(self) -> &'static str {
        match self {
            Self::Proving(_) | Self::ProvingAgain(_) => "did not read the server's state",
            Self::Replacing => "took its place, but messages to workers waited",
            Self::Starting => "was not ready to take control",
            Self::Yielding => "was not given control",
            Self::Leading => "did not serve",
        }
    }
}

impl Supervisor {
    /// Begins an upgrade to `program`; an empty path is the present one.
    pub(crate) fn upgrade(&mut self, old: u64, program: PathBuf) -> Answer {
        match self.phase {
            Phase::Serving if self.upgrade.is_some() => return Err(Refusal::Busy),
            Phase::Serving => {}
            Phase::Draining { .. } | Phase::Stopping { .. } | Phase::Killing { .. } => {
                return Err(Refusal::Terminating);
            }
        }
        let program = if program.as_os_str().is_empty() {
            PathBuf::from(&self.config.worker_argv[0])
        } else {
            program
        };
        self.trusted(&program)?;
        let prover = self
            .prove(&program)
            .map_err(|error| spawn_failed(&program, &error))?;
        self.generation += 1;
        notify::reloading();
        self.upgrade = Some(Upgrade {
            program,
            old,
            new: self.generation,
            step: Step::Proving(prover),
            due: Instant::now() + self.config.step_limit,
            unfit: None,
        });
        let generation = self.generation;
        Ok((Reply::Upgrading { generation }, Vec::new()))
    }

    /// Has a child of another binary read what would be handed over now.
    fn prove(&self, program: &Path) -> std::io::Result<Pid> {
        let memory = channel::sealed(&self.handover().to_bytes())?;
        let mut command = Command::new(program);
        command
            .args(std::env::args_os().skip(1))
            .env(HANDOVER_VARIABLE, format!("{PROVE}:{}", memory.as_raw_fd()))
            .env_remove(NOTIFY_VARIABLE)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let before = BeforeExec {
            keep: vec![memory],
            ..BeforeExec::default()
        };
        sys::set_before_exec(&mut command, before);
        let pid = i32::try_from(command.spawn()?.id())
            .ok()
            .and_then(Pid::from_raw);
        Ok(pid.expect("the kernel gives out positive pids"))
    }

    /// Takes note of a child that ended, if it was to prove something.
    pub(crate) fn proved(&mut self, pid: Pid, status: ExitStatus) -> bool {
        let due = Instant::now() + self.config.step_limit;
        let Some(upgrade) = self.upgrade.as_mut() else {
            return false;
        };
        let next = match upgrade.step {
            Step::Proving(prover) if prover == pid => Step::Starting,
            Step::ProvingAgain(prover) if prover == pid => Step::Replacing,
            Step::Proving(_)
            | Step::ProvingAgain(_)
            | Step::Starting
            | Step::Yielding
            | Step::Leading
            | Step::Replacing => return false,
        };
        // It is reaped: whatever has its pid from now on is not to be killed.
        let before = std::mem::replace(&mut upgrade.step, next);
        upgrade.due = due;
        if status != (ExitStatus::Code { code: 0 }) {
            let reason = format!("the new binary cannot read this server's state: {status}");
            upgrade.step = match before {
                Step::Proving(_) => Step::Starting,
                _ => Step::Replacing,
            };
            self.upgrade_failed(reason);
        } else if next == Step::Starting {
            self.start_new();
        }
        true
    }

    fn start_new(&mut self) {
        let Some(upgrade) = &self.upgrade else {
            return;
        };
        match Worker::start(&self.config, self.server, upgrade.new, &upgrade.program) {
            Ok(worker) => self.workers.push(worker),
            Err(error) => self.upgrade_failed(error.to_string()),
        }
    }

    /// Becomes the new binary, if that is all that is left to do.
    pub(crate) fn replace_if_proved(&mut self) {
        let Some(upgrade) = self
            .upgrade
            .as_ref()
            .filter(|one| one.step == Step::Replacing)
        else {
            return;
        };
        let is_quiet = |worker: &Worker| !worker.reply_waits() && !worker.events_wait();
        if self.restart.due.is_some() || !self.workers.iter().all(is_quiet) {
            return;
        }
        let handover = self.handover();
        let failed = match channel::sealed(&handover.to_bytes()) {
            Ok(memory) => {
                let mut keep = handover.descriptors();
                keep.push(memory.as_raw_fd());
                let order = format!("{RESUME}:{}", memory.as_raw_fd());
                sys::become_program(&upgrade.program, (HANDOVER_VARIABLE, &order), &keep)
            }
            Err(error) => error,
        };
        self.upgrade_failed(failed.to_string());
    }

    /// This process has become the new binary.
    pub(crate) fn replaced(&mut self) {
        self.reap();
        notify::tell("READY=1");
        self.outcome = Some(UpgradeOutcome::Done);
        self.tell_outcome();
    }

    /// Tells the worker in control how the upgrade ended, once there is one.
    pub(crate) fn tell_outcome(&mut self) {
        if let Some(generation) = self.control
            && let Some(outcome) = self.outcome.take()
        {
            self.tell(generation, Event::Upgraded(outcome));
        }
    }

    /// Refuses a program that the worker's user could have changed: it will run as we do.
    fn trusted(&self, program: &Path) -> Result<(), Refusal> {
        let refused = |reason: String| Refusal::Program {
            program: program.to_owned(),
            reason,
        };
        if !program.is_absolute() {
            return Err(refused("its path is not absolute".to_owned()));
        }
        let real = std::fs::canonicalize(program).map_err(|error| refused(error.to_string()))?;
        let found = begin(&real).map_err(|error| refused(error.to_string()))?;
        let own = begin(Path::new("/proc/self/exe")).unwrap_or_default();
        // What the kernel cannot execute would be given to a shell.
        if !found.starts_with(b"#!") && !is_of_this_machine(&found, &own) {
            return Err(refused("it is no program for this machine".to_owned()));
        }
        let same_user = worker_identity(&self.config)
            .is_none_or(|who| who.uid == rustix::process::geteuid().as_raw());
        if same_user {
            return Ok(());
        }
        for path in real.ancestors().chain(program.ancestors().skip(1)) {
            let found = std::fs::metadata(path).map_err(|error| refused(error.to_string()))?;
            let sticky = found.is_dir() && found.mode() & 0o1000 != 0;
            if found.uid() != 0 || (found.mode() & 0o022 != 0 && !sticky) {
                let path = path.display();
                return Err(refused(format!("others than root may change {path}")));
            }
        }
        Ok(())
    }

    /// The new worker says why it cannot take control; it ends by itself.
    pub(crate) fn unfit(&mut self, generation: u64, reason: String) {
        if let Some(upgrade) = self.upgrade.as_mut().filter(|one| one.new == generation) {
            upgrade.unfit = Some(reason);
        }
    }

    /// A worker is ready: the new one to take control or, once it has it, to serve alone.
    pub(crate) fn upgrade_ready(&mut self, generation: u64) {
        let (holder, due) = (self.control, Instant::now() + self.config.step_limit);
        let Some(upgrade) = self.upgrade.as_mut().filter(|one| one.new == generation) else {
            return;
        };
        if let Step::ProvingAgain(_) | Step::Replacing = upgrade.step {
            return;
        }
        if holder == Some(generation) {
            return self.upgraded();
        }
        let old = upgrade.old;
        upgrade.due = due;
        match holder {
            Some(_) => {
                upgrade.step = Step::Yielding;
                self.tell(old, Event::Yield);
            }
            None => {
                upgrade.step = Step::Leading;
                self.tell(generation, Event::Lead);
            }
        }
    }

    /// A worker gave control back: whoever is to have it is told.
    pub(crate) fn yielded(&mut self, generation: u64) {
        let due = Instant::now() + self.config.step_limit;
        match self.upgrade.as_mut() {
            Some(upgrade) if upgrade.old == generation && upgrade.step == Step::Yielding => {
                upgrade.step = Step::Leading;
                upgrade.due = due;
                let new = upgrade.new;
                self.tell(new, Event::Lead);
            }
            // Asked to by an upgrade that failed meanwhile.
            Some(_) | None => self.tell(generation, Event::Lead),
        }
    }

    /// The new worker serves: the old one may go, and this process may become the new binary.
    fn upgraded(&mut self) {
        let due = Instant::now() + self.config.step_limit;
        let Some(upgrade) = self.upgrade.as_mut() else {
            return;
        };
        upgrade.due = due;
        upgrade.step = Step::Replacing;
        let (program, new) = (upgrade.program.clone(), upgrade.new);
        if let Some(program) = program.to_str() {
            program.clone_into(&mut self.config.worker_argv[0]);
        }
        for worker in &mut self.workers {
            if worker.generation != new && !worker.retired {
                worker.retired = true;
                worker.tell(Event::Retire);
            }
        }
        match (self.prove(&program), self.upgrade.as_mut()) {
            (Ok(prover), Some(upgrade)) => upgrade.step = Step::ProvingAgain(prover),
            (Ok(_), None) => {}
            (Err(error), _) => self.upgrade_failed(error.to_string()),
        }
    }

    /// A worker died in an upgrade.
    pub(crate) fn upgrade_bury(&mut self, generation: u64, status: ExitStatus) {
        let Some(upgrade) = &mut self.upgrade else {
            return;
        };
        if let Step::ProvingAgain(_) | Step::Replacing = upgrade.step {
            return;
        }
        if upgrade.new == generation {
            let said = upgrade.unfit.take();
            let missing = upgrade.step.missing();
            let how = format!("the new worker {missing}: it ended with {status}");
            self.upgrade_failed(said.unwrap_or(how));
        } else if upgrade.old == generation && upgrade.step == Step::Yielding {
            upgrade.step = Step::Leading;
            let new = upgrade.new;
            self.tell(new, Event::Lead);
        }
    }

    /// Gives up on a step that takes too long.
    pub(crate) fn upgrade_overdue(&mut self, now: Instant) {
        if let Some(upgrade) = self.upgrade.as_ref().filter(|one| one.due <= now) {
            let (missing, limit) = (upgrade.step.missing(), self.config.step_limit.as_secs());
            self.upgrade_failed(format!("the new worker {missing} within {limit} s"));
        }
    }

    /// Ends an upgrade that failed: the old worker has control, or gets it back. One that was
    /// only to replace this process leaves the new worker as it is.
    pub(crate) fn upgrade_failed(&mut self, reason: String) {
        let Some(upgrade) = self.upgrade.take() else {
            return;
        };
        notify::tell("READY=1");
        if let Step::Proving(prover) | Step::ProvingAgain(prover) = upgrade.step {
            let _ended_meanwhile = rustix::process::kill_process(prover, Signal::KILL);
        }
        if let Step::ProvingAgain(_) | Step::Replacing = upgrade.step {
            self.outcome = Some(UpgradeOutcome::WorkerOnly { reason });
            return self.tell_outcome();
        }
        let mut workers = self.workers.iter_mut();
        if let Some(new) = workers.find(|worker| worker.generation == upgrade.new) {
            new.retired = true;
            new.signal(Signal::KILL);
        }
        self.take_control_from(upgrade.new);
        if self.control.is_none() && upgrade.step == Step::Leading {
            self.tell(upgrade.old, Event::Lead);
        }
        let outcome = UpgradeOutcome::Failed { reason };
        self.tell(upgrade.old, Event::Upgraded(outcome));
    }

    fn tell(&mut self, generation: u64, event: Event) {
        if let Some(worker) = self.worker(generation) {
            worker.tell(event);
        }
    }
}

fn spawn_failed(program: &Path, error: &std::io::Error) -> Refusal {
    Refusal::SpawnFailed {
        program: program.display().to_string(),
        errno: error.raw_os_error().unwrap_or(0),
    }
}

/// The begin of a file: as much as tells what kind of program it is.
fn begin(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut found = Vec::new();
    std::fs::File::open(path)?
        .take(ELF_BYTES)
        .read_to_end(&mut found)?;
    Ok(found)
}

/// Whether a program begins as this one does: with the same format, word size and machine.
fn is_of_this_machine(found: &[u8], own: &[u8]) -> bool {
    let kind = |begin: &[u8]| Some((begin.get(..6)?.to_vec(), begin.get(18..20)?.to_vec()));
    kind(found).is_some() && kind(found) == kind(own)
}
