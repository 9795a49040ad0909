//! A small world around a fleet: processes, proxies, a journal, and mail that comes late,
//! twice or never. It knows the truth, and checks each action against it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fleet::{
    Action, Child, Exit, Fleet, Input, InstanceState, Policies, ProbeResult, Signal, SpawnError,
    Wanted,
};
use model::{InstanceId, ReleaseId, Time};

use crate::bench::service;

/// Whether the world misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weather {
    /// Mail is lost, late and doubled; starts fail; probes lie.
    Foul,
    /// All that is asked for happens, soon and once.
    Fair,
}

/// Where a worker dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Death {
    /// Before its decisions are written down.
    BeforeJournal,
    /// Before any of them is carried out.
    AfterJournal,
    /// When half of them are carried out.
    Halfway,
}

/// The truth about one process.
#[derive(Debug, Clone)]
struct Process {
    healthy_from: Time,
    obeys: bool,
    exit: Option<Exit>,
    ends_at: Option<Time>,
    open: u64,
    passed: u32,
}

pub(crate) struct World {
    pub(crate) fleet: Fleet,
    pub(crate) policies: Policies,
    pub(crate) wanted: Wanted,
    pub(crate) now: Time,
    pub(crate) weather: Weather,
    dice: u64,
    processes: BTreeMap<InstanceId, Process>,
    /// Every key that was ever started: a forgotten one must not be started again.
    started: BTreeSet<InstanceId>,
    /// Since when each instance is drained.
    drained: BTreeMap<InstanceId, Time>,
    mail: Vec<(Time, Input)>,
    sent: Vec<Input>,
    /// What every proxy thread has confirmed, and what some may have already.
    table: BTreeSet<InstanceId>,
    published: Option<BTreeSet<InstanceId>>,
    /// The fleet as it was last written down.
    journal: Fleet,
    /// What happened, if somebody wants to read it.
    pub(crate) log: Option<Vec<String>>,
}

impl World {
    pub(crate) fn new(policies: Policies, seed: u64) -> Self {
        let fleet = Fleet::new(service());
        Self {
            journal: fleet.clone(),
            fleet,
            policies,
            wanted: Wanted::default(),
            now: Time(1_000_000),
            weather: Weather::Foul,
            dice: seed,
            processes: BTreeMap::new(),
            started: BTreeSet::new(),
            drained: BTreeMap::new(),
            mail: Vec::new(),
            sent: Vec::new(),
            table: BTreeSet::new(),
            published: None,
            log: None,
        }
    }

    /// A number below `sides`.
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        // xorshift64*
        self.dice ^= self.dice >> 12;
        self.dice ^= self.dice << 25;
        self.dice ^= self.dice >> 27;
        self.dice.wrapping_mul(0x2545_f491_4f6c_dd1d) % sides
    }

    fn note(&mut self, what: impl FnOnce() -> String) {
        if let Some(log) = &mut self.log {
            log.push(format!("{} {}", self.now.0, what()));
        }
    }

    fn is_foul(&mut self, one_in: u64) -> bool {
        self.weather == Weather::Foul && self.roll(one_in) == 0
    }

    /// Sends an answer; in foul weather it may be lost, late or doubled.
    fn send(&mut self, input: Input) {
        if self.is_foul(12) {
            return;
        }
        let late = if self.is_foul(10) { 4_000 } else { 100 };
        let at = self.now.0 + 1 + self.roll(late);
        self.mail.push((Time(at), input.clone()));
        if self.is_foul(10) {
            let again = at + self.roll(9_000);
            self.mail.push((Time(again), input.clone()));
        }
        self.sent.push(input);
    }

    /// Delivers something once more that was sent long ago.
    pub(crate) fn repeat(&mut self, index: usize) {
        if let Some(index) = index.checked_rem(self.sent.len()) {
            let input = self.sent[index].clone();
            // A view is a picture of its moment: only the other answers keep.
            if !matches!(input, Input::Children(_)) {
                self.handle(input);
            }
        }
    }

    pub(crate) fn handle(&mut self, input: Input) {
        self.note(|| format!("heard {input:?}"));
        self.fleet.handle(input, &self.policies, self.now);
    }

    /// The next moment at which something happens by itself.
    pub(crate) fn next(&self) -> Option<Time> {
        let mail = self.mail.iter().map(|(at, _)| *at);
        let ends = self.processes.values().filter_map(|p| p.ends_at);
        let wake = self.fleet.wake(&self.policies, self.now);
        mail.chain(ends).chain(wake).min()
    }

    /// Moves on to `at`, delivers what is due, and lets the fleet act.
    pub(crate) fn step(&mut self, at: Time) {
        self.now = self.now.max(at);
        let over: Vec<InstanceId> = self
            .processes
            .iter()
            .filter(|(_, p)| p.ends_at.is_some_and(|at| at <= self.now))
            .map(|(id, _)| id.clone())
            .collect();
        for id in over {
            self.end(&id, Exit::Code(0));
        }
        let mail = std::mem::take(&mut self.mail);
        let (due, later): (Vec<_>, Vec<_>) = mail.into_iter().partition(|(at, _)| *at <= self.now);
        self.mail = later;
        for (_, input) in due {
            self.handle(input);
        }
        self.act();
    }

    fn act(&mut self) {
        let actions = self.decide();
        self.write_down();
        for action in actions {
            self.carry_out(action);
        }
        self.publish();
        if self.weather == Weather::Fair {
            self.confirm();
        }
    }

    fn write_down(&mut self) {
        self.journal = self.fleet.clone();
    }

    /// The worker dies while it decides; another takes over.
    pub(crate) fn die(&mut self, death: Death) {
        self.note(|| format!("the worker dies {death:?}"));
        let mut actions = self.decide();
        match death {
            Death::BeforeJournal => actions.clear(),
            Death::AfterJournal => {
                self.write_down();
                actions.clear();
            }
            Death::Halfway => {
                self.write_down();
                actions.truncate(actions.len() / 2);
            }
        }
        for action in actions {
            self.carry_out(action);
        }
        self.mail.clear();
        self.sent.clear();
        self.published = None;
        self.table.clear();
        if self.roll(2) == 0 {
            self.processes.values_mut().for_each(|p| p.open = 0);
        }
        let journal = serde_json::to_string(&self.journal).unwrap();
        self.fleet = serde_json::from_str(&journal).unwrap();
        self.handle(Input::Children(self.children()));
        self.act();
    }

    /// Converges and checks what can be seen of it from outside.
    fn decide(&mut self) -> Vec<Action> {
        let (before, first) = (self.ready(), self.fleet.next_serial());
        let actions = self.fleet.converge(&self.wanted, &self.policies, self.now);
        let again = self.fleet.converge(&self.wanted, &self.policies, self.now);
        assert_eq!(again, [], "converging again says something new");
        let wake = self.fleet.wake(&self.policies, self.now);
        assert!(wake.is_none_or(|at| at > self.now), "it wakes at once");
        let after = self.ready();
        for (release, ready) in before {
            let floor = ready.min(self.count(release));
            let left = after.get(&release).copied().unwrap_or(0);
            let exclusive = self.policies[&release].exclusive;
            assert!(
                exclusive || left >= floor,
                "{release}: {ready} ready, now {left}"
            );
        }
        for view in self.fleet.views() {
            if let InstanceState::Draining { since, .. } = view.state {
                self.drained.insert(view.instance, since);
            }
        }
        if !actions.is_empty() {
            self.note(|| format!("does {actions:?}"));
        }
        self.check_starts(&actions, first);
        actions
    }

    /// Never more than wanted, but by what replacing takes. What was ordered before `first`
    /// may be ordered again.
    fn check_starts(&self, actions: &[Action], first: u32) {
        let started = actions.iter().filter_map(|a| match a {
            Action::Start { instance } if instance.serial >= first => Some(instance.release),
            _ => None,
        });
        for release in started.collect::<BTreeSet<_>>() {
            let policy = &self.policies[&release];
            let surge = match policy.exclusive {
                true => 0,
                false => policy.max_unavailable.max(1) as usize,
            };
            let mut own = self.fleet.views();
            own.retain(|v| v.instance.release == release);
            let leaving = |state| {
                use InstanceState::{Draining, Stopping};
                matches!(state, Draining { .. } | Stopping { .. })
            };
            let up = own.iter().filter(|v| !leaving(v.state)).count();
            let wanted = self.count(release) as usize;
            let bounded = up <= wanted || own.len() <= wanted + surge;
            assert!(bounded, "{wanted} of {release} wanted: {own:?}");
        }
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Start { instance } => self.start(instance),
            Action::Probe { instance } => self.probe(instance),
            Action::CountOpen { instance } => {
                let requests = self.processes.get(&instance).map_or(0, |p| p.open);
                self.send(Input::Open { instance, requests });
            }
            Action::Cut { instance } => {
                self.check_told(&instance);
                if let Some(process) = self.processes.get_mut(&instance) {
                    process.open = 0;
                }
            }
            Action::Signal { instance, signal } => self.signal(&instance, signal),
            Action::Forget { instance } => {
                let process = self.processes.remove(&instance);
                assert!(
                    process.is_none_or(|p| p.exit.is_some()),
                    "{instance} still runs"
                );
            }
            Action::Observe => self.send(Input::Children(self.children())),
        }
    }

    fn start(&mut self, instance: InstanceId) {
        if self.is_foul(15) {
            return;
        }
        if !self.processes.contains_key(&instance) {
            if self.is_foul(6) {
                let result = Err(self.refusal());
                return self.send(Input::Started { instance, result });
            }
            if self.policies[&instance.release].exclusive {
                let other = self
                    .processes
                    .iter()
                    .find(|(id, p)| p.exit.is_none() && self.policies[&id.release].exclusive);
                assert!(other.is_none(), "{instance} overlaps {other:?}");
            }
            assert!(
                self.started.insert(instance.clone()),
                "{instance} is started twice"
            );
            let process = self.process();
            self.processes.insert(instance.clone(), process);
        }
        let result = Ok(());
        self.send(Input::Started { instance, result });
    }

    fn process(&mut self) -> Process {
        let foul = self.is_foul(5);
        let boots = if foul { 60_000 } else { self.roll(800) };
        let crashes = self.is_foul(6).then(|| Time(self.now.0 + 500));
        Process {
            healthy_from: Time(self.now.0 + boots),
            obeys: !self.is_foul(5),
            exit: None,
            ends_at: crashes,
            open: 0,
            passed: 0,
        }
    }

    fn refusal(&mut self) -> SpawnError {
        let reason = "foul weather".to_owned();
        match self.roll(6) {
            0 => SpawnError::Unusable { reason },
            1 | 2 => SpawnError::Unavailable { reason },
            _ => SpawnError::PortTaken { by: reason },
        }
    }

    fn probe(&mut self, instance: InstanceId) {
        let blip = self.is_foul(10);
        let Some(process) = self.processes.get_mut(&instance) else {
            let result = ProbeResult::Failed("refused".into());
            return self.send(Input::Probed { instance, result });
        };
        let healthy = process.exit.is_none() && process.healthy_from <= self.now && !blip;
        process.passed += u32::from(healthy);
        let result = match healthy {
            true => ProbeResult::Passed,
            false => ProbeResult::Failed("status 503".into()),
        };
        self.send(Input::Probed { instance, result });
    }

    fn signal(&mut self, instance: &InstanceId, signal: Signal) {
        self.check_told(instance);
        let pause = 1 + self.roll(1_000);
        let Some(process) = self.processes.get_mut(instance) else {
            return;
        };
        match signal {
            Signal::Stop if process.obeys => {
                process.ends_at.get_or_insert(Time(self.now.0 + pause));
            }
            Signal::Stop => {}
            Signal::Kill => self.end(instance, Exit::Signal(9)),
        }
    }

    /// No signal to what may still be routed to, or still has requests before its limit.
    fn check_told(&self, id: &InstanceId) {
        let Some(process) = self.processes.get(id).filter(|p| p.exit.is_none()) else {
            return;
        };
        let routed = self.table.contains(id) || self.is_published(id);
        assert!(!routed, "{id} is told to stop and may still be routed to");
        let limit = self.policies[&id.release].drain;
        let over = |since: &Time| since.after(limit) <= self.now;
        let allowed = process.open == 0 || self.drained.get(id).is_some_and(over);
        assert!(allowed, "{id} is told to stop with {} open", process.open);
    }

    fn is_published(&self, id: &InstanceId) -> bool {
        self.published.as_ref().is_some_and(|t| t.contains(id))
    }

    fn end(&mut self, id: &InstanceId, exit: Exit) {
        let Some(process) = self.processes.get_mut(id) else {
            return;
        };
        process.ends_at = None;
        process.open = 0;
        let exit = *process.exit.get_or_insert(exit);
        let instance = id.clone();
        self.send(Input::Exited { instance, exit });
    }

    fn children(&self) -> Vec<Child> {
        let child = |(id, process): (&InstanceId, &Process)| Child {
            instance: id.clone(),
            exit: process.exit,
        };
        self.processes.iter().map(child).collect()
    }

    /// Publishes a table when the newest one is out of date and no other is under way.
    fn publish(&mut self) {
        let views = self.fleet.views().into_iter();
        let routable = views.filter(|v| v.routable && self.policies[&v.instance.release].traffic);
        let table: BTreeSet<InstanceId> = routable.map(|v| v.instance).collect();
        for id in &table {
            let probed = self.policies[&id.release].health.is_some();
            let passed = self.processes.get(id).map_or(0, |p| p.passed);
            assert!(!probed || passed > 0, "{id} is routed to and never passed");
        }
        if self.published.is_none() {
            self.published = Some(table);
        }
    }

    /// Every thread confirms the newest table; drained instances without it are told.
    pub(crate) fn confirm(&mut self) {
        if let Some(table) = self.published.take() {
            self.table = table;
        }
        for view in self.fleet.views() {
            let draining = matches!(
                view.state,
                InstanceState::Draining {
                    unrouted: false,
                    ..
                }
            );
            if draining && !self.table.contains(&view.instance) {
                let instance = view.instance;
                self.handle(Input::Unrouted { instance });
            }
        }
    }

    /// Requests begin wherever a proxy may send them.
    pub(crate) fn request(&mut self, index: usize) {
        let mut routed = self.table.clone();
        routed.extend(self.published.clone().unwrap_or_default());
        let id = index
            .checked_rem(routed.len())
            .and_then(|n| routed.iter().nth(n));
        if let Some(process) = id.and_then(|id| self.processes.get_mut(id)) {
            process.open += u64::from(process.exit.is_none());
        }
    }

    /// Requests of one process end.
    pub(crate) fn answer(&mut self, index: usize) {
        if let Some(process) = self.nth(index) {
            process.open = 0;
        }
    }

    /// One process ends unasked.
    pub(crate) fn crash(&mut self, index: usize) {
        let now = self.now;
        if let Some(process) = self.nth(index) {
            process.ends_at = Some(now);
        }
    }

    /// One process fails its probes for a while.
    pub(crate) fn sicken(&mut self, index: usize, span: Duration) {
        let well = self.now.after(span);
        if let Some(process) = self.nth(index) {
            process.healthy_from = well;
        }
    }

    fn nth(&mut self, index: usize) -> Option<&mut Process> {
        let mut living = self.processes.values_mut().filter(|p| p.exit.is_none());
        let count = living.by_ref().count();
        let mut living = self.processes.values_mut().filter(|p| p.exit.is_none());
        living.nth(index.checked_rem(count)?)
    }

    /// From now on everything is well, and everything is wanted fresh.
    pub(crate) fn heal(&mut self) {
        self.note(|| "healed".into());
        self.weather = Weather::Fair;
        for (_, input) in std::mem::take(&mut self.mail) {
            self.handle(input);
        }
        self.wanted.fresh_from = self.fleet.next_serial();
        self.wanted.replace.clear();
        for process in self.processes.values_mut() {
            process.healthy_from = self.now;
            process.obeys = true;
        }
    }

    /// What keeps the world from being as wanted, if anything does.
    pub(crate) fn unsettled(&self) -> Option<String> {
        let running = self.processes.iter().filter(|(_, p)| p.exit.is_none());
        let running: Vec<InstanceId> = running.map(|(id, _)| id.clone()).collect();
        let views = self.fleet.views();
        let known: Vec<InstanceId> = views.iter().map(|v| v.instance.clone()).collect();
        let mut sorted = known.clone();
        sorted.sort();
        if running != sorted {
            return Some(format!("{running:?} run, {known:?} are known"));
        }
        for (release, policy) in &self.policies {
            let counts = self.fleet.counts(*release, policy, self.now);
            let wanted = self.count(*release);
            if (counts.running, counts.ready) != (wanted, wanted) {
                return Some(format!("{wanted} of {release} wanted: {counts:?}"));
            }
            if let Some(trouble) = self.fleet.trouble(*release) {
                return Some(trouble);
            }
        }
        let stale = views
            .iter()
            .find(|v| v.instance.serial < self.wanted.fresh_from);
        stale.map(|v| format!("{} is stale", v.instance))
    }

    fn count(&self, release: ReleaseId) -> u32 {
        self.wanted.counts.get(&release).copied().unwrap_or(0)
    }

    fn ready(&self) -> BTreeMap<ReleaseId, u32> {
        let mut ready = BTreeMap::new();
        for view in self.fleet.views() {
            if let InstanceState::Ready { .. } = view.state {
                *ready.entry(view.instance.release).or_default() += 1;
            }
        }
        ready
    }
}
