//! A fleet on a bench: short words for what happens to it.

use std::collections::BTreeMap;
use std::time::Duration;

use fleet::{
    Action, Counts, Exit, Fleet, FleetPolicy, Input, InstanceState, InstanceView, Policies,
    ProbeResult, Signal, SpawnError, Wanted,
};
use model::{Health, InstanceId, Probe, ReleaseId, ServiceName, Stop, Time};

pub(crate) const V1: ReleaseId = ReleaseId(1);
pub(crate) const V2: ReleaseId = ReleaseId(2);

/// A web release: `rise` 2, `fall` 3, drain 30 s, grace 10 s, two may not be lost.
pub(crate) fn policy() -> FleetPolicy {
    FleetPolicy {
        health: Some(Health {
            probe: Probe::Tcp,
            every: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            rise: 2,
            fall: 3,
        }),
        drain: Duration::from_secs(30),
        stop: Stop {
            signal: 15,
            grace: Duration::from_secs(10),
        },
        traffic: true,
        exclusive: false,
        min_ready: Duration::ZERO,
        max_unavailable: 0,
    }
}

pub(crate) fn service() -> ServiceName {
    ServiceName::try_new("web").unwrap()
}

pub(crate) struct Bench {
    pub(crate) fleet: Fleet,
    pub(crate) policies: Policies,
    pub(crate) wanted: Wanted,
    pub(crate) now: Time,
}

impl Bench {
    /// A fleet that wants `count` of v1 and has none.
    pub(crate) fn wanting(count: u32, policy: FleetPolicy) -> Self {
        let wanted = Wanted {
            counts: BTreeMap::from([(V1, count)]),
            ..Wanted::default()
        };
        Self {
            fleet: Fleet::new(service()),
            policies: BTreeMap::from([(V1, policy.clone()), (V2, policy)]),
            wanted,
            now: Time(1_000_000),
        }
    }

    /// A fleet with `count` ready instances of v1: serials 1 to `count`.
    pub(crate) fn ready(count: u32, policy: FleetPolicy) -> Self {
        let mut bench = Self::wanting(count, policy);
        bench.converge();
        for serial in 1..=count {
            bench.make_ready(V1, serial);
        }
        bench.converge();
        bench
    }

    /// Converges, twice, to see that the second time says nothing.
    pub(crate) fn converge(&mut self) -> Vec<String> {
        let actions = self.fleet.converge(&self.wanted, &self.policies, self.now);
        let again = self.fleet.converge(&self.wanted, &self.policies, self.now);
        assert_eq!(again, [], "converging again says something new");
        actions.iter().map(said).collect()
    }

    /// Converges and leaves the probes out.
    pub(crate) fn acts(&mut self) -> Vec<String> {
        let mut actions = self.converge();
        actions.retain(|a| !a.starts_with("probe"));
        actions
    }

    /// What is done in the next `span`, waking when the fleet asks for it.
    pub(crate) fn acts_within(&mut self, span: Duration) -> Vec<(u64, String)> {
        let (begin, end) = (self.now, self.now.after(span));
        let mut all = Vec::new();
        for turn in 0.. {
            assert!(turn < 10_000, "it wakes without end");
            let wake = self.fleet.wake(&self.policies, self.now);
            let Some(wake) = wake.filter(|wake| *wake <= end) else {
                break;
            };
            self.now = wake;
            let after = wake.0 - begin.0;
            all.extend(self.converge().into_iter().map(|a| (after, a)));
        }
        self.now = end;
        all
    }

    pub(crate) fn pass_time(&mut self, span: Duration) {
        self.now = self.now.after(span);
    }

    pub(crate) fn handle(&mut self, input: Input) {
        self.fleet.handle(input, &self.policies, self.now);
    }

    pub(crate) fn started(&mut self, release: ReleaseId, serial: u32) {
        let instance = self.fleet.id(release, serial);
        let result = Ok(());
        self.handle(Input::Started { instance, result });
    }

    pub(crate) fn not_started(&mut self, serial: u32, error: SpawnError) {
        let instance = self.fleet.id(V1, serial);
        let result = Err(error);
        self.handle(Input::Started { instance, result });
    }

    pub(crate) fn exits(&mut self, serial: u32, code: i32) {
        let exit = Exit::Code(code);
        let instance = self.fleet.id(V1, serial);
        self.handle(Input::Exited { instance, exit });
    }

    pub(crate) fn unrouted(&mut self, serial: u32) {
        let instance = self.fleet.id(V1, serial);
        self.handle(Input::Unrouted { instance });
    }

    pub(crate) fn open(&mut self, serial: u32, requests: u64) {
        let instance = self.fleet.id(V1, serial);
        self.handle(Input::Open { instance, requests });
    }

    /// Waits for the next probe of an instance, answers it, and carries on.
    pub(crate) fn probe(&mut self, id: &InstanceId, result: &ProbeResult) {
        for turn in 0.. {
            assert!(turn < 100, "{id} is not probed");
            let actions = self.fleet.converge(&self.wanted, &self.policies, self.now);
            let instance = id.clone();
            if actions.contains(&Action::Probe { instance }) {
                break;
            }
            self.now = self.fleet.wake(&self.policies, self.now).unwrap();
        }
        let (instance, result) = (id.clone(), result.clone());
        self.handle(Input::Probed { instance, result });
    }

    pub(crate) fn passes(&mut self, serial: u32) {
        self.probe(&self.fleet.id(V1, serial), &ProbeResult::Passed);
    }

    pub(crate) fn fails(&mut self, serial: u32) {
        let failed = ProbeResult::Failed("status 503".into());
        self.probe(&self.fleet.id(V1, serial), &failed);
    }

    /// Makes an ordered instance start and pass its probes, now.
    pub(crate) fn make_ready(&mut self, release: ReleaseId, serial: u32) {
        self.started(release, serial);
        let id = self.fleet.id(release, serial);
        while !matches!(self.state(serial), InstanceState::Ready { .. }) {
            self.probe(&id, &ProbeResult::Passed);
        }
    }

    /// Makes a ready instance fail its probes.
    pub(crate) fn make_unhealthy(&mut self, serial: u32) {
        while !matches!(self.state(serial), InstanceState::Unhealthy { .. }) {
            self.fails(serial);
        }
    }

    pub(crate) fn view(&self, serial: u32) -> Option<InstanceView> {
        let mut views = self.fleet.views().into_iter();
        views.find(|v| v.instance.serial == serial)
    }

    pub(crate) fn state(&self, serial: u32) -> InstanceState {
        self.view(serial).expect("it lives").state
    }

    /// `1 starting, 2 ready*`: every instance, `*` if it is routable.
    pub(crate) fn seen(&self) -> String {
        let one = |v: &InstanceView| {
            let star = if v.routable { "*" } else { "" };
            format!("{} {}{star}", v.instance.serial, named(v.state))
        };
        let all: Vec<String> = self.fleet.views().iter().map(one).collect();
        all.join(", ")
    }

    pub(crate) fn counts(&self) -> Counts {
        self.fleet.counts(V1, &self.policies[&V1], self.now)
    }

    /// The worker dies and another reads what was journaled.
    pub(crate) fn crash(&mut self) {
        let journal = serde_json::to_string(&self.fleet).unwrap();
        self.fleet = serde_json::from_str(&journal).unwrap();
    }
}

/// An action in few words.
pub(crate) fn said(action: &Action) -> String {
    match action {
        Action::Start { instance } => format!("start {}", short(instance)),
        Action::Probe { instance } => format!("probe {}", short(instance)),
        Action::CountOpen { instance } => format!("count {}", short(instance)),
        Action::Cut { instance } => format!("cut {}", short(instance)),
        Action::Forget { instance } => format!("forget {}", short(instance)),
        Action::Observe => "observe".into(),
        Action::Signal { instance, signal } => match signal {
            Signal::Stop => format!("stop {}", short(instance)),
            Signal::Kill => format!("kill {}", short(instance)),
        },
    }
}

fn short(id: &InstanceId) -> String {
    format!("{}-{}", id.release, id.serial)
}

fn named(state: InstanceState) -> &'static str {
    match state {
        InstanceState::Ordered { .. } => "ordered",
        InstanceState::Starting { .. } => "starting",
        InstanceState::Ready { .. } => "ready",
        InstanceState::Unhealthy { .. } => "unhealthy",
        InstanceState::Draining { .. } => "draining",
        InstanceState::Stopping { .. } => "stopping",
    }
}
