//! One service's next step: what its rollout sees and decides, and what its fleet does.

use std::collections::btree_map::Entry;

use std::time::Duration;

use fleet::{Action, Input, InstanceState};
use model::{JobKind, Outcome, ReleaseId, ServiceName, Share, Time, WaitingOn};
use rollout::{Counts, JobState, Observation, Peers};
use traffic::Cell;

use crate::batch::Batch;
use crate::place::{self, Patience};
use crate::state::{Closing, Published, Running, Service, Split};
use crate::{Effect, OldWindow, Spawn};

/// Confirming a table should not take longer.
pub(crate) const CONFIRM_OVERDUE: Duration = Duration::from_secs(5);
/// How often figures are asked for.
const MEASURE_EVERY: Duration = Duration::from_secs(1);
/// A job that has not ended is asked about again so often.
const JOB_AGAIN: Duration = Duration::from_secs(10);

/// What all services of one poll share.
pub(crate) struct Context<'a> {
    pub(crate) now: Time,
    pub(crate) ending: bool,
    pub(crate) patience: Patience,
    pub(crate) published: &'a Published,
    /// Why nothing may move towards a new release: the journal cannot be written.
    pub(crate) withheld: Option<&'a str>,
}

impl Context<'_> {
    pub(crate) fn confirm_overdue(&self) -> bool {
        self.published.any
            && !self.published.is_confirmed()
            && self.published.since.after(CONFIRM_OVERDUE) <= self.now
    }
}

impl Service {
    /// Lets the rollout decide once. Returns its end, if it has come.
    ///
    /// `moved` is set when anything changed, so that all is looked at again.
    pub(crate) fn step(
        &mut self,
        peers: Peers,
        context: &Context<'_>,
        batch: &mut Batch,
    ) -> (bool, Option<Closing>) {
        let Some(running) = &self.running else {
            return (false, None);
        };
        let seen = self.observe(running, peers, context);
        let decision = rollout::step(&running.plan, &running.state, &seen, context.now);
        let Some(running) = &mut self.running else {
            return (false, None);
        };
        running.wake = decision.wake;
        let moved = decision.state != running.state
            || decision.target != running.target
            || decision.ended.is_some();
        let returned = |ended: &rollout::Ended| ended.outcome != Outcome::Completed;
        let back =
            decision.state.returning().is_some() || decision.ended.as_ref().is_some_and(returned);
        if moved && !back {
            if let Some(error) = context.withheld {
                let error = error.to_owned();
                running.waiting_on = vec![WaitingOn::Journal { error }];
                return (false, None);
            }
            batch.forward = true;
        }
        running.waiting_on = decision.waiting_on;
        if !moved {
            return (false, None);
        }
        running.state = decision.state;
        running.target = decision.target;
        let (rollout, service) = (running.plan.rollout, self.name().clone());
        for text in decision.notes {
            batch.note(Some(rollout), &service, text);
        }
        self.begin_jobs(context.now, batch);
        let to = self.running.as_ref().map(|running| running.plan.to);
        let closing = decision.ended.zip(to).map(|(ended, to)| Closing {
            rollout,
            service,
            to,
            ended,
        });
        (true, closing)
    }

    /// What the rollout sees.
    fn observe(&self, running: &Running, peers: Peers, context: &Context<'_>) -> Observation {
        let plan = &running.plan;
        let counts = |release: Option<ReleaseId>| {
            let release = release?;
            let policy = self.policies.get(&release)?;
            let mut seen = counts(self.fleet.counts(release, policy, context.now));
            // What is about to be replaced is not there to stay.
            let replaced = self.replaced(release, policy.min_ready, context.now);
            seen.available = seen.available.saturating_sub(replaced);
            Some(seen)
        };
        let exiting = self.fleet.views().into_iter().filter(|view| {
            matches!(view.state, InstanceState::Stopping { .. })
                && [plan.from, Some(plan.to)].contains(&Some(view.instance.release))
        });
        Observation {
            old: counts(plan.from).unwrap_or_default(),
            new: counts(Some(plan.to)).unwrap_or_default(),
            share_confirmed: self.share_confirmed(running, context.published),
            confirm_overdue: context.confirm_overdue(),
            revision: context.published.revision(),
            comparison: running.comparison.clone(),
            jobs: running.jobs.clone(),
            trouble: self.fleet.trouble(plan.to),
            old_trouble: plan.from.and_then(|from| self.fleet.trouble(from)),
            exiting: exiting.map(|view| view.instance).collect(),
            peers,
        }
    }

    /// Available instances of a release that a person wants to be replaced.
    fn replaced(&self, release: ReleaseId, min_ready: Duration, now: Time) -> u32 {
        if self.core.replace.is_empty() && self.core.fresh_from == 0 {
            return 0;
        }
        let stale = |view: &fleet::InstanceView| {
            let id = &view.instance;
            let available = match view.state {
                InstanceState::Ready { since } => since.after(min_ready) <= now,
                InstanceState::Ordered { .. }
                | InstanceState::Starting { .. }
                | InstanceState::Unhealthy { .. }
                | InstanceState::Draining { .. }
                | InstanceState::Stopping { .. } => false,
            };
            let asked = id.serial < self.core.fresh_from || self.core.replace.contains(id);
            available && asked && id.release == release
        };
        let stale = self.fleet.views().into_iter().filter(stale).count();
        u32::try_from(stale).unwrap_or(u32::MAX)
    }

    /// The share that every proxy thread follows; `None` while one may not.
    pub(crate) fn share_confirmed(
        &self,
        running: &Running,
        published: &Published,
    ) -> Option<Share> {
        let wanted = running.target.share;
        if !running.plan.traffic {
            return Some(wanted);
        }
        let routed = running.routed.as_ref()?;
        let followed =
            *routed == Split::of(&running.target) && published.confirmed >= self.routed_since;
        followed.then_some(wanted)
    }

    fn begin_jobs(&mut self, now: Time, batch: &mut Batch) {
        let name = self.name().clone();
        let Some(running) = &mut self.running else {
            return;
        };
        let wanted: Vec<JobKind> = running.target.jobs.iter().copied().collect();
        for job in wanted {
            if let Entry::Vacant(fresh) = running.jobs.entry(job) {
                fresh.insert(JobState::Running);
                batch.acts.push(run_job(running, &name, job));
                running.jobs_asked = Some(now);
            }
        }
    }

    /// Asks (again) for figures and for jobs that have not ended.
    pub(crate) fn ask(&mut self, now: Time, batch: &mut Batch) {
        let name = self.name().clone();
        let Some(running) = &mut self.running else {
            return;
        };
        if let Some(since) = running.target.measure {
            let due = running
                .measured
                .is_none_or(|at| at.after(MEASURE_EVERY) <= now);
            if due {
                running.measured = Some(now);
                batch.acts.push(Effect::Measure {
                    rollout: running.plan.rollout,
                    service: name.clone(),
                    old: running.plan.from,
                    new: running.plan.to,
                    since,
                    old_window: match running.target.share {
                        Share::ALL => OldWindow::Before,
                        _ => OldWindow::Same,
                    },
                    shadow: running.target.shadow.as_ref().map(|shadow| shadow.key),
                });
            }
        }
        let open = running.open_jobs();
        let due = running
            .jobs_asked
            .is_none_or(|at| at.after(JOB_AGAIN) <= now);
        if !open.is_empty() && due {
            running.jobs_asked = Some(now);
            for job in open {
                batch.acts.push(run_job(running, &name, job));
            }
        }
    }

    /// When figures or jobs are to be asked for again.
    pub(crate) fn ask_at(&self) -> Option<Time> {
        let running = self.running.as_ref()?;
        let asked = running.measured.unwrap_or_default();
        let measure = running.target.measure.map(|_| asked.after(MEASURE_EVERY));
        let asked = running.jobs_asked.unwrap_or_default();
        let jobs = (!running.open_jobs().is_empty()).then(|| asked.after(JOB_AGAIN));
        [measure, jobs].into_iter().flatten().min()
    }

    /// Lets the fleet do what is to be done for what is wanted. Returns whether it did anything
    /// that can change what the rollout sees.
    pub(crate) fn converge(&mut self, context: &Context<'_>, batch: &mut Batch) -> bool {
        for instance in place::unrouted(self, context.published, context.patience) {
            let input = Input::Unrouted { instance };
            self.fleet.handle(input, &self.policies, context.now);
        }
        let wanted = self.wanted(context.ending);
        let actions = self.fleet.converge(&wanted, &self.policies, context.now);
        let acted = !actions.is_empty();
        for action in actions {
            self.act(action, batch);
        }
        self.forget_replaced();
        acted
    }

    fn act(&mut self, action: Action, batch: &mut Batch) {
        match action {
            Action::Start { instance } => batch.acts.push(Effect::Spawn(Spawn {
                instance,
                port: None,
                cell: Cell(0),
                revision: model::Revision::default(),
            })),
            Action::Probe { instance } => batch.acts.push(Effect::Probe { instance }),
            Action::CountOpen { instance } => batch.count_open.push(instance),
            Action::Cut { instance } => batch.acts.push(Effect::Cut { instance }),
            Action::Signal { instance, signal } => {
                batch.acts.push(Effect::Signal { instance, signal });
            }
            Action::Forget { instance } => match self.places.get_mut(&instance) {
                Some(place) => place.done = true,
                None => batch.acts.push(Effect::Forget { instance }),
            },
            Action::Observe => batch.observe = true,
        }
    }

    /// Instances that are gone need no replacing any more.
    fn forget_replaced(&mut self) {
        if !self.core.replace.is_empty() {
            let living = self.fleet.views().into_iter().map(|view| view.instance);
            let living: std::collections::BTreeSet<_> = living.collect();
            self.core.replace.retain(|id| living.contains(id));
        }
    }

    /// Tells people, once, that the active release cannot be run.
    pub(crate) fn alert(&mut self, batch: &mut Batch) {
        let active = self.core.active.filter(|_| self.running.is_none());
        let trouble = active.and_then(|active| self.fleet.trouble(active));
        if trouble != self.trouble {
            let name = self.name().clone();
            match (&trouble, active) {
                (Some(text), Some(active)) => {
                    batch.note(None, &name, format!("{active}: {text}"));
                }
                (None, Some(active)) => batch.note(None, &name, format!("{active} runs again")),
                (_, None) => {}
            }
            self.trouble = trouble;
        }
    }

    pub(crate) fn name(&self) -> &ServiceName {
        &self.name
    }
}

impl Running {
    fn open_jobs(&self) -> Vec<JobKind> {
        let open = self.jobs.iter().filter(|(_, state)| match state {
            JobState::Running => true,
            JobState::Passed | JobState::Failed(_) => false,
        });
        open.map(|(job, _)| *job).collect()
    }
}

fn run_job(running: &Running, service: &ServiceName, job: JobKind) -> Effect {
    Effect::RunJob {
        rollout: running.plan.rollout,
        service: service.clone(),
        release: running.plan.to,
        job,
        timeout: running.plan.policy.job_timeout,
    }
}

fn counts(seen: fleet::Counts) -> Counts {
    Counts {
        running: seen.running,
        ready: seen.ready,
        available: seen.available,
        available_in: seen.available_in,
        draining: seen.draining,
        open_requests: seen.open_requests,
        drain_left: seen.drain_left,
    }
}
