//! Replacing the worker by one of another binary, while the old one serves.
//!
//! The new worker proves that it understands what the old one left, and only then is the old one
//! asked to give control back. Until the new one serves, every failure ends with the old one in
//! control again.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::process::Signal;

use crate::answer::Answer;
use crate::notify;
use crate::protocol::{Event, ExitStatus, Refusal, Reply, UpgradeOutcome};
use crate::server::{Phase, Supervisor};
use crate::worker::{Worker, worker_identity};

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
    /// The new worker looks whether it could take control.
    Starting,
    /// The old one was asked to give control back.
    Yielding,
    /// The new one was told to take it, and does not serve yet.
    Leading,
}

impl Step {
    /// What it had not done.
    fn missing(self) -> &'static str {
        match self {
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
        let new = self.generation + 1;
        let worker = Worker::start(&self.config, self.server, new, &program).map_err(|error| {
            let source = std::error::Error::source(&error);
            let errno = source.and_then(|source| source.downcast_ref::<std::io::Error>());
            Refusal::SpawnFailed {
                program: program.display().to_string(),
                errno: errno.and_then(std::io::Error::raw_os_error).unwrap_or(0),
            }
        })?;
        self.generation = new;
        self.workers.push(worker);
        notify::reloading();
        self.upgrade = Some(Upgrade {
            program,
            old,
            new,
            step: Step::Starting,
            due: Instant::now() + self.config.step_limit,
            unfit: None,
        });
        Ok((Reply::Upgrading { generation: new }, Vec::new()))
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

    /// The new worker serves: the old one may go.
    fn upgraded(&mut self) {
        let Some(upgrade) = self.upgrade.take() else {
            return;
        };
        if let Some(program) = upgrade.program.to_str() {
            program.clone_into(&mut self.config.worker_argv[0]);
        }
        for worker in &mut self.workers {
            if worker.generation != upgrade.new && !worker.retired {
                worker.retired = true;
                worker.tell(Event::Retire);
            }
        }
        notify::tell("READY=1");
        self.tell(upgrade.new, Event::Upgraded(UpgradeOutcome::Done));
    }

    /// A worker died in an upgrade.
    pub(crate) fn upgrade_bury(&mut self, generation: u64, status: ExitStatus) {
        let Some(upgrade) = &mut self.upgrade else {
            return;
        };
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

    /// Ends an upgrade that failed: the old worker has control, or gets it back.
    pub(crate) fn upgrade_failed(&mut self, reason: String) {
        let Some(upgrade) = self.upgrade.take() else {
            return;
        };
        let mut workers = self.workers.iter_mut();
        if let Some(new) = workers.find(|worker| worker.generation == upgrade.new) {
            new.retired = true;
            new.signal(Signal::KILL);
        }
        self.take_control_from(upgrade.new);
        if self.control.is_none() && upgrade.step == Step::Leading {
            self.tell(upgrade.old, Event::Lead);
        }
        notify::tell("READY=1");
        let outcome = UpgradeOutcome::Failed { reason };
        self.tell(upgrade.old, Event::Upgraded(outcome));
    }

    fn tell(&mut self, generation: u64, event: Event) {
        if let Some(worker) = self.worker(generation) {
            worker.tell(event);
        }
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
