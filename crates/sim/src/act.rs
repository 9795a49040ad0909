//! Carries out what the engine wants.

use std::sync::Arc;

use engine::{Effect, Event, IfRefused, OldWindow, Spawn};
use fleet::{Exit, ProbeResult, Signal, SpawnError};
use model::{DatabaseName, InstanceId, JobKind, ReleaseId, RolloutId, ServiceName, Time};
use rollout::Comparison;
use traffic::Table;
use verdict::{Figures, Sample};

use crate::check::Facts;
use crate::disk::Refused;
use crate::policy::Quality;
use crate::process::Process;
use crate::trace;
use crate::world::{Due, Job, World};

/// Requests of each release in a second.
const RATE: u64 = 400;

impl World<'_> {
    /// Does the effects of one batch in order; the worker may die between any two.
    pub(crate) fn carry_out(&mut self, effects: Vec<Effect>) {
        let effects = self.planted.effects(effects);
        self.model.check_batch(&effects, model::Epoch(self.epoch));
        let (epoch, mut unwritten) = (self.epoch, false);
        if !matches!(effects.first(), Some(Effect::Journal { .. })) {
            self.in_force(&effects);
        }
        for effect in &effects {
            self.tally.effects += 1;
            if self.dies(false) {
                return self.kill_worker();
            }
            self.say(|| format!("    {}", trace::effect(effect)));
            if let Effect::Journal { .. } = effect {
                match self.write(effect, &effects) {
                    Written::Yes => {}
                    Written::NoAndGoesOn => unwritten = true,
                    Written::No => break,
                }
            } else {
                self.act(effect);
                if let (Effect::Spawn(spawn), true) = (effect, unwritten) {
                    self.model.unwritten(&spawn.instance);
                }
            }
            if self.dies(true) {
                return self.kill_worker();
            }
            if epoch != self.epoch || self.engine.is_none() {
                return;
            }
        }
    }

    fn dies(&mut self, after: bool) -> bool {
        let Some((effects, at)) = &mut self.weather.kill_in else {
            return false;
        };
        if *at != after {
            return false;
        }
        if *effects == 0 {
            return true;
        }
        *effects -= 1;
        false
    }

    fn write(&mut self, effect: &Effect, batch: &[Effect]) -> Written {
        let Effect::Journal {
            batch: number,
            epoch,
            entries,
            if_refused,
        } = effect
        else {
            return Written::Yes;
        };
        let number = *number;
        match self.disk.write(self.now, *epoch, entries) {
            Ok(()) => {
                self.fresh = false;
                self.model.all_written();
                self.in_force(batch);
                self.inbox
                    .push_back((Event::Journaled { batch: number }, true));
                if self.rng.below(48) == 0 {
                    self.model.check_recovery(&self.disk, batch);
                }
                Written::Yes
            }
            Err(Refused::Fenced) => Written::No,
            Err(Refused::Full) => {
                self.tally.count("journal refused");
                let error = "no space left on device".to_owned();
                let failed = Event::JournalFailed {
                    batch: number,
                    error,
                };
                self.inbox.push_back((failed, true));
                match if_refused {
                    IfRefused::Stop => Written::No,
                    IfRefused::Continue => {
                        self.disk.owes = true;
                        self.in_force(batch);
                        Written::NoAndGoesOn
                    }
                }
            }
        }
    }

    fn act(&mut self, effect: &Effect) {
        match effect {
            Effect::Journal { .. } | Effect::Note { .. } => {}
            Effect::Spawn(spawn) => self.spawn(spawn),
            Effect::Probe { instance } => self.probe(instance),
            Effect::Signal { instance, signal } => self.signal(instance, *signal),
            Effect::Cut { instance } => {
                self.model.cut(instance);
                self.proxy.end_at(instance);
            }
            Effect::Forget { instance } => {
                let facts = self.facts(instance);
                self.model.forgotten(instance, &facts);
                self.processes.remove(instance);
            }
            Effect::Publish { table, .. } => self.publish(table),
            Effect::CountOpen { instances } => {
                let open = instances.iter().map(|id| (id.clone(), self.count(id)));
                let open = open.collect();
                self.send(2, Event::Open(open));
            }
            Effect::Measure { .. } => self.measure(effect),
            Effect::RunJob {
                rollout,
                service,
                release,
                job,
                ..
            } => self.run_job((*rollout, *job), service, *release),
            Effect::Contract {
                database, version, ..
            } => self.contract(database, version),
            Effect::Observe => {
                let children = self.processes.iter().map(|(id, p)| p.child(id)).collect();
                self.send(2, Event::Children(children));
            }
            Effect::OpenReceipt { rollout, .. } => self.model.opened(*rollout),
            Effect::CloseReceipt { rollout, ended } => {
                self.model.closed(*rollout, ended);
            }
            Effect::Reply { id, .. } => self.model.replied(*id),
            Effect::Terminated => {
                let stand = self.stand();
                self.model.terminated(&stand);
                self.tally.count("server ended");
                self.power_loss();
            }
        }
    }

    fn in_force(&mut self, effects: &[Effect]) {
        let journal = !self.disk.is_full(self.now) && !self.lately_full();
        self.model.in_force(effects, journal);
    }

    /// Whether the disk was full a moment ago: the engine tries again after a second.
    fn lately_full(&self) -> bool {
        self.disk.full_until + 2_000 > self.now && self.disk.full_until > 0
    }

    pub(crate) fn facts(&self, instance: &InstanceId) -> Facts {
        Facts {
            routed_by: self.proxy.routed_by(instance),
            open: self.proxy.open_at(instance, self.now),
            ended: self.processes.get(instance).is_none_or(|p| !p.lives()),
        }
    }

    fn spawn(&mut self, spawn: &Spawn) {
        let shared = self.sharing(spawn);
        let taken = spawn.port.is_some() && shared.is_some();
        self.model.spawned(spawn, shared);
        let instance = spawn.instance.clone();
        let wait = self.rng.within(1, 8);
        if self.processes.contains_key(&instance) {
            let result = Ok(());
            return self.send(wait, Event::Spawned { instance, result });
        }
        let key = (instance.service.clone(), instance.release);
        let quality = self
            .qualities
            .get(&key)
            .map_or(Quality::Good, |known| known.0);
        let error = if quality == Quality::Unusable {
            let reason = "no such file".to_owned();
            Some(SpawnError::Unusable { reason })
        } else if self.now < self.weather.no_starts_until {
            let reason = "too many processes".to_owned();
            Some(SpawnError::Unavailable { reason })
        } else if taken || (self.now < self.weather.strangers_until && spawn.port.is_some()) {
            let by = "1 (init)".to_owned();
            Some(SpawnError::PortTaken { by })
        } else {
            None
        };
        let result = match error {
            Some(error) => Err(error),
            None => {
                let at = (self.now, spawn.port, spawn.cell.0);
                let process = Process::start(quality, at, &mut self.rng);
                let crash = process.crashes_at;
                self.processes.insert(instance.clone(), process);
                if let Some(at) = crash {
                    self.ends_in(&instance, at - self.now, Exit::Code(1));
                }
                Ok(())
            }
        };
        self.send(wait, Event::Spawned { instance, result });
    }

    /// Who has the port or the figures of a fresh instance already.
    fn sharing(&self, spawn: &Spawn) -> Option<InstanceId> {
        let living = self.processes.iter().find(|(id, process)| {
            let port = spawn.port.is_some() && process.port == spawn.port;
            let same = port || process.cell == spawn.cell.0;
            process.lives() && same && **id != spawn.instance
        });
        let living = living.map(|(id, _)| id.clone());
        living.or_else(|| {
            self.proxy
                .user_of(&spawn.instance, spawn.port, spawn.cell.0)
        })
    }

    fn probe(&mut self, instance: &InstanceId) {
        self.model.asks(instance);
        let wait = self.rng.within(1, 4);
        let process = self.processes.get(instance);
        let hangs = process.is_some_and(|p| p.lives() && p.hangs_until > self.now);
        let answers = process.is_some_and(|p| p.answers(self.now));
        let (wait, result) = if hangs {
            (1_000, ProbeResult::Failed("timed out".to_owned()))
        } else if answers {
            (wait, ProbeResult::Passed)
        } else {
            (wait, ProbeResult::Failed("connection refused".to_owned()))
        };
        let instance = instance.clone();
        self.send(wait, Event::Probed { instance, result });
    }

    fn signal(&mut self, instance: &InstanceId, signal: Signal) {
        let facts = self.facts(instance);
        self.model.signalled(instance, signal, &facts);
        let Some(process) = self.processes.get(instance) else {
            return;
        };
        let stops_in = process.stops_in;
        match signal {
            Signal::Stop => {
                self.tally.count("signal stop");
                if let Some(wait) = stops_in {
                    self.ends_in(instance, wait, Exit::Code(0));
                }
            }
            Signal::Kill => {
                self.tally.count("signal kill");
                let wait = self.rng.within(1, 5);
                self.ends_in(instance, wait, Exit::Signal(9));
            }
        }
    }

    fn publish(&mut self, table: &Table) {
        let table = Arc::new(table.clone());
        self.model.published(&table);
        let workers: Vec<(u64, usize)> = self
            .proxy
            .workers
            .iter()
            .flat_map(|worker| (0..worker.threads.len()).map(|thread| (worker.id, thread)))
            .collect();
        for (worker, thread) in workers {
            let wait = self.rng.pick(&[1, 2, 5, 30]);
            let table = table.clone();
            self.later(
                wait,
                Due::Take {
                    worker,
                    thread,
                    table,
                },
            );
        }
    }

    /// Open requests as the ledger has them; while a thread still routes there they come and go.
    fn count(&mut self, instance: &InstanceId) -> u64 {
        let open = self.proxy.open_at(instance, self.now);
        let routed = self.proxy.routed_by(instance).is_some();
        open + if routed { self.rng.below(3) } else { 0 }
    }

    fn measure(&mut self, effect: &Effect) {
        let Effect::Measure {
            rollout,
            service,
            new,
            since,
            old_window,
            shadow,
            ..
        } = effect
        else {
            return;
        };
        self.model.measures(*rollout, since.0);
        if self.now < self.weather.no_figures_until {
            return;
        }
        let requests = (self.now.saturating_sub(since.0)) * RATE / 1_000;
        let quality = self.qualities.get(&(service.clone(), *new));
        let errors = quality.is_some_and(|known| known.0 == Quality::Errors);
        let differs = quality.is_some_and(|known| known.0 == Quality::Differs);
        let sample = |requests, failures| Sample {
            requests,
            failures,
            latency: None,
        };
        let before = match old_window {
            OldWindow::Same => requests,
            OldWindow::Before => 60 * RATE,
        };
        let comparison = Comparison {
            since: Time(since.0),
            old: sample(before, 0),
            new: sample(requests, if errors { requests / 3 } else { 0 }),
            compared: shadow.map(|key| {
                let differing = if differs { requests } else { 0 };
                let figures = Figures {
                    compared: requests,
                    differing,
                    worst: None,
                };
                (key, figures)
            }),
        };
        let rollout = *rollout;
        let wait = self.rng.within(2, 20);
        self.send(
            wait,
            Event::Measured {
                rollout,
                comparison,
            },
        );
    }

    fn contract(&mut self, database: &DatabaseName, version: &str) {
        self.tally.count("contract");
        let living: Vec<InstanceId> = self
            .processes
            .iter()
            .filter(|(_, process)| process.lives())
            .map(|(id, _)| id.clone())
            .collect();
        self.model.contract_ordered(version, &living);
        let result = match self.rng.pick(&[0, 0, 0, 0, 0, 0, 1, 2]) {
            0 => {
                self.model.contract_done(version);
                Ok(())
            }
            kind => Err(engine::NotContracted {
                reason: "others hold what it needs".to_owned(),
                removed: match kind {
                    1 => engine::Removed::Unknown,
                    _ => engine::Removed::Before(self.model.contract_withdrawn()),
                },
            }),
        };
        let event = Event::Contracted {
            database: database.clone(),
            version: version.to_owned(),
            result,
        };
        let wait = self.rng.pick(&[3, 200, 2_500]);
        self.send(wait, event);
    }

    fn run_job(&mut self, key: (RolloutId, JobKind), service: &ServiceName, release: ReleaseId) {
        let (rollout, job) = key;
        self.model.job_ordered(rollout, job);
        let ends = Due::JobEnds { rollout, job };
        match self.jobs.get(&key) {
            Some(Job::Running) => {}
            Some(Job::Ended(_)) => self.later(1, ends),
            // What a dead worker did to the database stands there: it is carried on.
            Some(Job::Lost) if job != JobKind::Expand => {
                let lost = Err("its end was lost".to_owned());
                self.jobs.insert(key, Job::Ended(lost));
                self.later(1, ends);
            }
            Some(Job::Lost) | None => {
                self.tally.count(format!("job {job}"));
                let known = self.qualities.get(&(service.clone(), release));
                let fails = known.is_some_and(|known| known.0 == Quality::JobFails);
                let result = if fails && matches!(job, JobKind::Before | JobKind::Expand) {
                    Err("exit code 1".to_owned())
                } else {
                    Ok(())
                };
                self.jobs.insert(key, Job::Ended(result));
                let wait = self.rng.pick(&[3, 200, 2_500]);
                self.later(wait, ends);
            }
        }
    }
}

/// What became of a journal entry.
enum Written {
    Yes,
    /// It could not be written, and the batch goes on.
    NoAndGoesOn,
    /// It could not be written, and the batch ends here.
    No,
}
