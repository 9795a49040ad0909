//! The world around the engine: virtual time, the supervisor, the proxy, people, faults.

mod succession;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::sync::Arc;

use engine::{Engine, Event};
use fleet::Exit;
use model::{Command, InstanceId, JobKind, ReleaseId, RolloutId, ServiceName, Time};
use traffic::Table;

use crate::check::{Model, Rule, Stand};
use crate::disk::Disk;
use crate::plant::Planted;
use crate::policy::Quality;
use crate::process::Process;
use crate::rng::{Rng, mixed};
use crate::schedule::{Fault, Schedule, What};
use crate::tally::Tally;
use crate::trace;
use crate::worker::Proxy;

/// Everything must have come to its end so long after the last fault.
const BOUND: u64 = 600_000;
/// More events at one moment than any cascade needs.
const AT_ONCE: u32 = 400;
/// More events than any life needs.
const EVENTS: u64 = 60_000;

/// Something that will happen.
#[derive(Debug)]
pub(crate) enum Due {
    /// An item of the schedule.
    Item(usize),
    /// The engine of this epoch hears something; `first` when it is no repetition.
    Tell {
        epoch: u64,
        event: Box<Event>,
        first: bool,
    },
    /// A process ends, if nothing else was arranged since.
    Exit {
        instance: InstanceId,
        exit: Exit,
        end: u64,
    },
    /// A thread takes a table.
    Take {
        worker: u64,
        thread: usize,
        table: Arc<Table>,
    },
    StartWorker,
    /// A draining worker has finished.
    Leave {
        worker: u64,
    },
    JobEnds {
        rollout: RolloutId,
        job: JobKind,
    },
    /// All faults end.
    Heal,
    /// Somebody looks whether all is well.
    Look,
}

/// How far a job is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Job {
    Running,
    Ended(Result<(), String>),
    Lost,
}

/// Windows in which things go wrong.
#[derive(Debug, Default)]
pub(crate) struct Weather {
    pub(crate) lossy_until: u64,
    pub(crate) no_starts_until: u64,
    pub(crate) strangers_until: u64,
    pub(crate) no_figures_until: u64,
    pub(crate) thread_hangs_until: [u64; 4],
    /// The worker dies at its so many-th effect from now.
    pub(crate) kill_in: Option<(u64, bool)>,
}

/// One life.
pub(crate) struct World<'s> {
    pub(crate) schedule: &'s Schedule,
    pub(crate) rng: Rng,
    pub(crate) now: u64,
    due: BinaryHeap<Reverse<Entry>>,
    sequence: u64,
    pub(crate) engine: Option<Engine>,
    pub(crate) epoch: u64,
    tick: Option<u64>,
    pub(crate) inbox: VecDeque<(Event, bool)>,
    pub(crate) disk: Disk,
    pub(crate) processes: BTreeMap<InstanceId, Process>,
    pub(crate) proxy: Proxy,
    pub(crate) jobs: BTreeMap<(RolloutId, JobKind), Job>,
    pub(crate) qualities: BTreeMap<(ServiceName, ReleaseId), (Quality, u64)>,
    pub(crate) weather: Weather,
    pub(crate) terminating: bool,
    /// The supervisor is new, too, and nothing was written down since.
    pub(crate) fresh: bool,
    pub(crate) healed: Option<u64>,
    pub(crate) resumes: u32,
    pub(crate) command: u64,
    pub(crate) model: Model,
    pub(crate) tally: Tally,
    pub(crate) trace: Option<Vec<String>>,
    pub(crate) hash: u64,
    pub(crate) planted: Planted,
    at_once: u32,
    done: bool,
}

#[derive(Debug)]
struct Entry {
    at: u64,
    sequence: u64,
    due: Due,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.sequence) == (other.at, other.sequence)
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

impl<'s> World<'s> {
    pub(crate) fn new(schedule: &'s Schedule, planted: Planted, traced: bool) -> Self {
        let mut world = Self {
            schedule,
            rng: Rng::new(schedule.seed).fork(1),
            now: 0,
            due: BinaryHeap::new(),
            sequence: 0,
            engine: None,
            epoch: 0,
            tick: None,
            inbox: VecDeque::new(),
            disk: Disk::default(),
            processes: BTreeMap::new(),
            proxy: Proxy::default(),
            jobs: BTreeMap::new(),
            qualities: BTreeMap::new(),
            weather: Weather::default(),
            terminating: false,
            fresh: true,
            healed: None,
            resumes: 0,
            command: 0,
            model: Model::default(),
            tally: Tally::default(),
            trace: traced.then(Vec::new),
            hash: schedule.seed,
            planted,
            at_once: 0,
            done: false,
        };
        world.start_worker();
        for (index, item) in schedule.items.iter().enumerate() {
            world.at(item.at + 20, Due::Item(index));
        }
        let heal = schedule.end() + 20 + world.rng.pick(&[300, 2_000, 6_000]);
        world.at(heal, Due::Heal);
        world
    }

    /// Arranges something for a time.
    pub(crate) fn at(&mut self, at: u64, due: Due) {
        self.sequence += 1;
        let sequence = self.sequence;
        self.due.push(Reverse(Entry { at, sequence, due }));
    }

    /// Arranges something for later.
    pub(crate) fn later(&mut self, wait: u64, due: Due) {
        self.at(self.now + wait, due);
    }

    /// Lives until the end or the first broken rule.
    pub(crate) fn run(&mut self) {
        while !self.done && self.model.violation.is_none() {
            self.step();
        }
        self.tally.schedules += 1;
        for (strategy, outcome) in self.model.outcomes() {
            self.tally.count(format!("rollout {strategy}: {outcome}"));
        }
    }

    fn step(&mut self) {
        let next = self.due.peek().map(|Reverse(entry)| entry.at);
        let (at, tick) = match (next, self.tick.filter(|_| self.engine.is_some())) {
            (Some(due), Some(tick)) if tick < due => (tick, true),
            (None, Some(tick)) => (tick, true),
            (Some(due), _) => (due, false),
            (None, None) => {
                self.done = true;
                return;
            }
        };
        self.at_once = if at > self.now { 0 } else { self.at_once + 1 };
        self.now = self.now.max(at);
        self.model.now = self.now;
        if self.at_once > AT_ONCE || self.tally.events > EVENTS {
            let seen = format!("{} events, {} at once", self.tally.events, self.at_once);
            self.model.violate(Rule::ComesToRest, seen);
        } else if tick {
            self.tick = None;
            self.tell(Event::Tick, true);
        } else if let Some(Reverse(entry)) = self.due.pop() {
            self.happen(entry.due);
        }
    }

    fn happen(&mut self, due: Due) {
        match due {
            Due::Item(index) => match &self.schedule.items[index].what {
                What::Ask(ask) => self.ask(ask),
                What::Fault(fault) => self.fault(*fault),
            },
            Due::Tell {
                epoch,
                event,
                first,
            } => {
                if epoch == self.epoch && self.engine.is_some() {
                    self.tell(*event, first);
                }
            }
            Due::Exit {
                instance,
                exit,
                end,
            } => self.process_ends(&instance, exit, end),
            Due::Take {
                worker,
                thread,
                table,
            } => self.thread_takes(worker, thread, table),
            Due::StartWorker => {
                if self.engine.is_none() {
                    self.start_worker();
                }
            }
            Due::Leave { worker } => {
                self.proxy.leave(worker);
                self.confirm();
            }
            Due::JobEnds { rollout, job } => self.job_ends(rollout, job),
            Due::Heal => self.heal(),
            Due::Look => self.look(),
        }
    }

    /// The engine hears something, and what it wants is done.
    pub(crate) fn tell(&mut self, event: Event, first: bool) {
        self.inbox.push_back((event, first));
        if self.inbox.len() > 1 {
            return;
        }
        while let Some((event, first)) = self.inbox.front().cloned() {
            self.say(|| format!("> {}", trace::event(&event)));
            if first || matches!(&event, Event::Probed { .. }) {
                self.note_heard(&event);
            }
            let asked = if let Event::Command { id, .. } = &event {
                Some(*id)
            } else {
                None
            };
            if let Some(event) = self.planted.event(event) {
                self.poll(event, asked);
            }
            self.inbox.pop_front();
            if self.engine.is_none() {
                self.inbox.clear();
            }
        }
        if let Some(engine) = &self.engine {
            let wake = engine.wake().map(|at| at.0);
            self.tick = self.planted.wake(wake, self.now);
        }
    }

    /// Lets the engine decide; `asked` is the command that it has to answer.
    fn poll(&mut self, event: Event, asked: Option<u64>) {
        self.tally.events += 1;
        let now = Time(self.now);
        let Some(engine) = &mut self.engine else {
            return;
        };
        let effects = engine.poll(event, now);
        let epoch = self.epoch;
        self.carry_out(effects);
        if let (Some(id), true) = (asked, epoch == self.epoch && self.engine.is_some()) {
            let failed = self
                .inbox
                .iter()
                .any(|(event, _)| matches!(event, Event::JournalFailed { .. }));
            if !failed {
                self.model.settled(id);
            }
        }
    }

    /// What the engine now knows, the model knows, too.
    fn note_heard(&mut self, event: &Event) {
        match event {
            Event::Children(children) => self.model.children_seen(children),
            Event::Exited { instance, .. } => self.model.exit_heard(instance),
            Event::Probed { instance, result } => self.model.probed(instance, result),
            Event::Spawned {
                instance,
                result: Ok(()),
            } => self.model.running(instance),
            Event::Measured {
                rollout,
                comparison,
            } => self.model.measured(*rollout, comparison),
            Event::JobEnded {
                rollout,
                job,
                result,
            } => self.model.job_ended(*rollout, *job, result.is_ok()),
            Event::Terminate => self.model.terminating(),
            Event::Spawned { result: Err(_), .. }
            | Event::Tick
            | Event::Command { .. }
            | Event::Journaled { .. }
            | Event::JournalFailed { .. }
            | Event::Confirmed { .. }
            | Event::Open(_)
            | Event::Contracted { .. }
            | Event::SchemaSeen { .. }
            | Event::Pruned { .. } => {}
        }
    }

    /// Lets the engine hear something after `wait`, unless it gets lost on the way.
    pub(crate) fn send(&mut self, wait: u64, event: Event) {
        let epoch = self.epoch;
        let event = Box::new(event);
        let tell = |event, first| Due::Tell {
            epoch,
            event,
            first,
        };
        if self.now >= self.weather.lossy_until {
            return self.later(wait, tell(event, true));
        }
        match self.rng.below(100) {
            0..=19 => self.tally.count("answer lost"),
            20..=34 => {
                self.tally.count("answer doubled");
                let again = wait + self.rng.within(0, 3_000);
                self.later(wait, tell(event.clone(), true));
                self.later(again, tell(event, false));
            }
            35..=49 => {
                self.tally.count("answer late");
                let late = wait + self.rng.within(100, 8_000);
                self.later(late, tell(event, true));
            }
            _ => self.later(wait, tell(event, true)),
        }
    }

    fn thread_takes(&mut self, worker: u64, thread: usize, table: Arc<Table>) {
        let hangs = self.weather.thread_hangs_until[thread % 4];
        if hangs > self.now {
            return self.at(
                hangs,
                Due::Take {
                    worker,
                    thread,
                    table,
                },
            );
        }
        let at = (self.now, &mut self.rng);
        self.proxy.take((worker, thread), &table, at);
        if self.planted.confirms_early() {
            let revision = table.revision;
            self.send(1, Event::Confirmed { revision });
        } else if self.proxy.confirmed() >= table.revision {
            self.confirm();
        }
    }

    fn confirm(&mut self) {
        let revision = self.proxy.confirmed();
        if self.engine.is_some() && revision.0 > 0 {
            self.send(1, Event::Confirmed { revision });
        }
    }

    fn process_ends(&mut self, instance: &InstanceId, exit: Exit, end: u64) {
        let Some(process) = self.processes.get_mut(instance) else {
            return;
        };
        if process.end != end || !process.lives() {
            return;
        }
        process.exit = Some(exit);
        self.proxy.end_at(instance);
        self.say(|| format!("{instance} ends: {exit:?}"));
        if self.engine.is_some() {
            let instance = instance.clone();
            self.send(1, Event::Exited { instance, exit });
        }
    }

    fn job_ends(&mut self, rollout: RolloutId, job: JobKind) {
        if let Some(Job::Ended(result)) = self.jobs.get(&(rollout, job)) {
            let result = result.clone();
            self.send(
                1,
                Event::JobEnded {
                    rollout,
                    job,
                    result,
                },
            );
        }
    }

    /// A command of a person.
    pub(crate) fn order(&mut self, command: Command) {
        if self.engine.is_none() {
            return;
        }
        self.command += 1;
        let id = self.command;
        self.model.asked(id, &command);
        self.tell(Event::Command { id, command }, true);
    }

    pub(crate) fn stand(&self) -> Stand {
        let mut stand = Stand::default();
        for (id, process) in &self.processes {
            if process.lives() {
                stand.living.insert(id.clone(), process.started);
            } else {
                stand.ended.push(id.clone());
            }
        }
        stand
    }

    /// All faults end; releases that are active are good from now on.
    fn heal(&mut self) {
        self.say(|| "everything heals".to_owned());
        self.weather = Weather::default();
        self.disk.full_until = 0;
        self.healed = Some(self.now);
        self.later(1_000, Due::Look);
    }

    /// Releases that serve are good from now on, and people deal with what waits for them.
    fn look(&mut self) {
        for (service, release) in self.model.actives() {
            self.mend(&service, release);
        }
        let healed = self.healed.unwrap_or(self.now);
        let unsettled = if self.terminating || self.engine.is_none() {
            Some((Rule::EndsInTime, "the server has not ended".to_owned()))
        } else {
            self.model.unsettled(&self.stand())
        };
        match unsettled {
            None => self.done = true,
            Some((rule, seen)) if self.now > healed + BOUND => self.model.violate(rule, seen),
            Some(_) => {
                if !self.model.is_quiet() {
                    self.help();
                }
                let passed = self.now - healed;
                self.later(if passed < 30_000 { 1_000 } else { 10_000 }, Due::Look);
            }
        }
    }

    fn mend(&mut self, service: &ServiceName, release: ReleaseId) {
        if let Some((quality, _)) = self.qualities.get_mut(&(service.clone(), release)) {
            *quality = Quality::Good;
        }
        let now = self.now;
        for (id, process) in &mut self.processes {
            if id.service == *service && id.release == release && process.lives() {
                process.crashes_at = None;
                process.hangs_until = 0;
                process.ready_at.get_or_insert(now);
            }
        }
    }

    /// Adds a line to the trace and to the hash of everything that happened.
    pub(crate) fn say(&mut self, line: impl FnOnce() -> String) {
        self.hash = mixed(self.hash ^ self.now);
        if let Some(trace) = &mut self.trace {
            let line = line();
            trace.push(format!("{:>8} {line}", self.now));
        }
    }

    pub(crate) fn fault(&mut self, fault: Fault) {
        self.say(|| format!("fault: {fault:?}"));
        let until = |lasts: u64| self.now + lasts;
        match fault {
            Fault::KillWorker { effects, after } => self.weather.kill_in = Some((effects, after)),
            Fault::Upgrade => self.upgrade(),
            Fault::DiskFull { lasts } => self.disk.full_until = until(lasts),
            Fault::ThreadHangs { thread, lasts } => {
                self.weather.thread_hangs_until[thread % 4] = until(lasts);
            }
            Fault::Lossy { lasts } => self.weather.lossy_until = until(lasts),
            Fault::Crash { nth } => self.crash(nth),
            Fault::Hang { nth, lasts } => {
                let until = until(lasts);
                if let Some(id) = self.nth_living(nth)
                    && let Some(process) = self.processes.get_mut(&id)
                {
                    process.hangs_until = until;
                }
            }
            Fault::NoStarts { lasts } => self.weather.no_starts_until = until(lasts),
            Fault::Strangers { lasts } => self.weather.strangers_until = until(lasts),
            Fault::NoFigures { lasts } => self.weather.no_figures_until = until(lasts),
            Fault::ClockJumps { by } => self.now += by,
            Fault::PowerLoss => self.power_loss(),
            Fault::Terminate => {
                if self.engine.is_some() {
                    self.terminating = true;
                    self.tell(Event::Terminate, true);
                }
            }
        }
        self.tally.count(format!("fault {}", fault.name()));
    }

    fn crash(&mut self, nth: usize) {
        if let Some(instance) = self.nth_living(nth) {
            self.ends_in(&instance, 0, Exit::Code(1));
        }
    }

    /// Arranges the end of a process; whatever was arranged before does not come about.
    pub(crate) fn ends_in(&mut self, instance: &InstanceId, wait: u64, exit: Exit) {
        let Some(process) = self.processes.get_mut(instance) else {
            return;
        };
        process.end += 1;
        let end = process.end;
        let instance = instance.clone();
        self.later(
            wait,
            Due::Exit {
                instance,
                exit,
                end,
            },
        );
    }

    pub(crate) fn nth_living(&self, nth: usize) -> Option<InstanceId> {
        let living: Vec<&InstanceId> = self
            .processes
            .iter()
            .filter(|(_, process)| process.lives())
            .map(|(id, _)| id)
            .collect();
        living
            .get(nth % living.len().max(1))
            .map(|id| (*id).clone())
    }
}
