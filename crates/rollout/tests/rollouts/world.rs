//! A small world that does what is asked of it, in virtual time, and checks after every step
//! what must hold in every rollout.

use std::collections::BTreeMap;
use std::time::Duration;

use model::{
    Argv, Audience, Count, JobKind, OnFail, OnNoData, Outcome, ReleaseId, Revision, RolloutId,
    RolloutKind, RolloutPolicy, Share, Strategy, Time, WaitingOn,
};
use rollout::{
    Comparison, Counts, Decision, Ended, JobState, Observation, Order, Plan, Refused, ShadowTarget,
    State, Target,
};
use verdict::{Figures, Sample};

pub(crate) const TICK: Duration = Duration::from_millis(500);

pub(crate) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) fn share(percent: u16) -> Share {
    Share::try_new(percent * 100).unwrap()
}

pub(crate) fn argv(words: &str) -> Argv {
    Argv(words.split(' ').map(str::to_owned).collect())
}

/// A deploy from `v1` to `v2` with three replicas of each, 60 s deadline and no checks or jobs.
pub(crate) fn plan(strategy: Strategy) -> Plan {
    Plan {
        rollout: RolloutId(7),
        kind: RolloutKind::Deploy,
        from: Some(ReleaseId(1)),
        to: ReleaseId(2),
        from_replicas: 3,
        from_ready: true,
        replicas: 3,
        traffic: true,
        policy: RolloutPolicy {
            strategy,
            min_ready: Duration::ZERO,
            deadline: secs(60),
            affinity: None,
            stick_to_instance: false,
            checks: Vec::new(),
            min_requests: 100,
            on_fail: OnFail::Rollback,
            on_no_data: OnNoData::Hold,
            before: None,
            after: None,
            job_timeout: secs(60),
        },
        drain: secs(5),
        schema: None,
        lockstep: std::collections::BTreeSet::new(),
    }
}

pub(crate) fn rolling(surge: u32, max_unavailable: u32, batch: Option<u32>) -> Strategy {
    Strategy::Rolling {
        surge: Count::Absolute(surge),
        max_unavailable: Count::Absolute(max_unavailable),
        batch: batch.map(Count::Absolute),
    }
}

#[derive(Debug, Clone, Copy)]
struct Instance {
    born: Time,
    /// When its drain ends, once it is drained.
    leaves: Option<Time>,
}

/// How a release's programs behave.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Program {
    pub(crate) boots_in: Duration,
    /// At most so many ever are ready at a time.
    pub(crate) ready_max: u32,
}

pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) state: State,
    pub(crate) now: Time,
    pub(crate) programs: [Program; 2],
    instances: [Vec<Instance>; 2],
    pub(crate) confirms_in: Duration,
    pub(crate) drains_in: Duration,
    table: (Share, Vec<Audience>, Option<ShadowTarget>),
    revision: u64,
    published: Time,
    begun: BTreeMap<JobKind, Time>,
    /// How the jobs end; those that are not named pass.
    pub(crate) jobs: BTreeMap<JobKind, String>,
    pub(crate) samples: Option<(Sample, Sample)>,
    /// What comparing answers has found.
    pub(crate) compared: Option<Figures>,
    pub(crate) trouble: [Option<String>; 2],
    pub(crate) peers: rollout::Peers,
    pub(crate) last: Decision,
    /// Every distinct target that was asked for: old, new, share in basis points.
    pub(crate) trace: Vec<(u32, u32, u16)>,
    pub(crate) notes: Vec<String>,
    pub(crate) least_ready: u32,
    pub(crate) most_running: u32,
    /// Whether the promises about capacity and share are checked (arbitrary faults break them).
    pub(crate) strict: bool,
}

impl World {
    pub(crate) fn new(plan: Plan) -> Self {
        let old = plan.from.map_or(0, |_| plan.from_replicas);
        let born = Instance {
            born: Time(0),
            leaves: None,
        };
        let now = Time(1_000_000);
        let state = rollout::begin(&plan, now);
        let program = Program {
            boots_in: secs(2),
            ready_max: u32::MAX,
        };
        let mut old_program = program;
        if !plan.from_ready {
            old_program.ready_max = 0;
        }
        let last = rollout::step(&plan, &state, &Observation::default(), now);
        Self {
            state,
            now,
            programs: [old_program, program],
            instances: [vec![born; old as usize], Vec::new()],
            confirms_in: TICK,
            drains_in: secs(3),
            table: (Share::NONE, Vec::new(), None),
            revision: 1,
            published: Time(0),
            begun: BTreeMap::new(),
            jobs: BTreeMap::new(),
            samples: None,
            compared: None,
            trouble: [None, None],
            peers: rollout::Peers::Free,
            last,
            trace: Vec::new(),
            notes: Vec::new(),
            least_ready: u32::MAX,
            most_running: 0,
            strict: true,
            plan,
        }
    }

    fn counts(&self, which: usize) -> Counts {
        let program = self.programs[which];
        let mut counts = Counts::default();
        for instance in &self.instances[which] {
            counts.running += 1;
            if let Some(leaves) = instance.leaves {
                counts.draining += 1;
                counts.open_requests += 1;
                counts.drain_left = Some(leaves.since(self.now));
                continue;
            }
            let age = self.now.since(instance.born);
            if age < program.boots_in || counts.ready >= program.ready_max {
                continue;
            }
            counts.ready += 1;
            let needs = program.boots_in + self.plan.policy.min_ready;
            if age >= needs {
                counts.available += 1;
            } else {
                let left = needs - age;
                counts.available_in = Some(counts.available_in.map_or(left, |l| l.min(left)));
            }
        }
        counts
    }

    pub(crate) fn seen(&self) -> Observation {
        let settled = self.now >= self.published.after(self.confirms_in);
        let jobs = self.begun.iter().map(|(job, begun)| {
            let state = match self.jobs.get(job) {
                _ if self.now < begun.after(secs(4)) => JobState::Running,
                Some(how) => JobState::Failed(how.clone()),
                None => JobState::Passed,
            };
            (*job, state)
        });
        let shadow = self.last.target.shadow.as_ref().map(|shadow| shadow.key);
        let compared = shadow.zip(self.compared.clone());
        let comparison = self.last.target.measure.zip(self.samples);
        Observation {
            old: self.counts(0),
            new: self.counts(1),
            share_confirmed: settled.then_some(self.table.0),
            confirm_overdue: false,
            revision: Revision(self.revision),
            comparison: comparison.map(|(since, (old, new))| Comparison {
                since,
                old,
                new,
                compared,
            }),
            jobs: jobs.collect(),
            trouble: self.trouble[1].clone(),
            old_trouble: self.trouble[0].clone(),
            exiting: Vec::new(),
            peers: self.peers.clone(),
        }
    }

    /// One step, from a state as it comes out of the journal, and one tick of the world.
    pub(crate) fn tick(&mut self) {
        for instances in &mut self.instances {
            instances.retain(|instance| instance.leaves.is_none_or(|leaves| leaves > self.now));
        }
        let seen = self.seen();
        let journaled = serde_json::to_string(&self.state).unwrap();
        let state: State = serde_json::from_str(&journaled).unwrap();
        let decision = rollout::step(&self.plan, &state, &seen, self.now);
        self.check(&seen, &decision);
        self.act(&decision.target);
        self.state = decision.state.clone();
        self.notes.extend(decision.notes.iter().cloned());
        self.last = decision;
        self.now = self.now.after(TICK);
    }

    fn check(&mut self, seen: &Observation, decision: &Decision) {
        let again = rollout::step(&self.plan, &decision.state, seen, self.now);
        assert_eq!(
            again.state, decision.state,
            "deciding again changes something"
        );
        assert_eq!(again.target, decision.target);
        assert_eq!(again.notes, Vec::<String>::new());
        assert_eq!(decision.waiting_on.is_empty(), decision.ended.is_some());
        assert!(decision.wake.is_none_or(|wake| wake > self.now));
        let before = self.last.target.share;
        let back = self.state.returning().is_some() || decision.state.returning().is_some();
        let back = back || decision.ended.is_some();
        assert!(back || decision.target.share >= before, "the share shrank");
        let ready = seen.old.ready + seen.new.ready;
        let running = seen.old.running + seen.new.running;
        self.least_ready = self.least_ready.min(ready);
        self.most_running = self.most_running.max(running);
        if !self.strict {
            return;
        }
        let preview = rollout::preview(&self.plan);
        let most = match back {
            true => preview.instances_max_returning + preview.instances_max,
            false => preview.instances_max,
        };
        assert!(
            running <= most,
            "{running} instances, at most {most} were foreseen"
        );
        if decision.target.share > before {
            assert!(
                seen.new.ready > 0,
                "traffic to a release without a ready instance"
            );
            let followed = seen.share_confirmed == Some(before);
            assert!(
                followed || !self.plan.traffic,
                "the next share before the last is followed"
            );
        }
    }

    fn act(&mut self, target: &Target) {
        let asked = (target.old, target.new, target.share.basis_points());
        if self.trace.last() != Some(&asked) {
            self.trace.push(asked);
        }
        let table = (
            target.share,
            target.audiences.clone(),
            target.shadow.clone(),
        );
        if self.table != table {
            self.table = table;
            self.revision += 1;
            self.published = self.now;
        }
        for (which, wanted) in [(0, target.old), (1, target.new)] {
            self.converge(which, wanted as usize);
        }
        for job in &target.jobs {
            self.begun.entry(*job).or_insert(self.now);
        }
    }

    fn converge(&mut self, which: usize, wanted: usize) {
        let (now, drains_in) = (self.now, self.drains_in);
        let instances = &mut self.instances[which];
        let mut stays = instances.iter().filter(|i| i.leaves.is_none()).count();
        while stays < wanted {
            let leaves = None;
            instances.push(Instance { born: now, leaves });
            stays += 1;
        }
        // The youngest go first: they are the ones that are not ready yet.
        let staying = instances.iter_mut().rev().filter(|i| i.leaves.is_none());
        for instance in staying.take(stays.saturating_sub(wanted)) {
            instance.leaves = Some(now.after(drains_in));
        }
    }

    pub(crate) fn run(&mut self, span: Duration) -> &mut Self {
        let end = self.now.after(span);
        while self.now < end && self.last.ended.is_none() {
            self.tick();
        }
        self
    }

    /// Runs until it waits for something that `wanted` accepts.
    pub(crate) fn run_until(&mut self, wanted: impl Fn(&WaitingOn) -> bool) -> &mut Self {
        for _ in 0..10_000 {
            if self.last.waiting_on.iter().any(&wanted) {
                return self;
            }
            assert!(self.last.ended.is_none(), "ended: {:?}", self.last.ended);
            self.tick();
        }
        panic!("waits for {:?}", self.last.waiting_on);
    }

    pub(crate) fn end(&mut self) -> Ended {
        self.run(secs(3_600));
        let waits = &self.last.waiting_on;
        self.last
            .ended
            .clone()
            .unwrap_or_else(|| panic!("waits for {waits:?}"))
    }

    pub(crate) fn outcome(&mut self) -> Outcome {
        self.end().outcome
    }

    pub(crate) fn order(&mut self, order: Order) -> Result<(), Refused> {
        self.state = rollout::order(&self.plan, &self.state, order, self.now)?;
        Ok(())
    }

    pub(crate) fn waits(&self) -> String {
        let waits: Vec<String> = self.last.waiting_on.iter().map(|w| w.to_string()).collect();
        waits.join(", ")
    }

    pub(crate) fn target(&self) -> (u32, u32, u16) {
        let target = &self.last.target;
        (target.old, target.new, target.share.basis_points())
    }
}

/// What a healthy release looks like.
pub(crate) fn good() -> Sample {
    Sample {
        requests: 1_000,
        failures: 0,
        latency: None,
    }
}

/// What a healthy release with so little traffic looks like.
pub(crate) fn few(requests: u64) -> Sample {
    Sample {
        requests,
        ..Sample::default()
    }
}

/// What a broken one looks like.
pub(crate) fn bad() -> Sample {
    Sample {
        failures: 90,
        ..good()
    }
}

pub(crate) fn error_rate() -> Vec<model::Check> {
    vec![model::Check {
        metric: model::Metric::ErrorRate,
        limits: vec![model::Limit::Max(100)],
    }]
}
