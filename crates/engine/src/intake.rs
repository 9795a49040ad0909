//! What happened, taken in: never undone, whatever becomes of what is decided from it.

use std::collections::BTreeSet;

use fleet::{Child, Input, InstanceState, Signal};
use model::{Command, InstanceId, JobKind, Outcome, Refusal, ReleaseId, RolloutId, ServiceName};
use rollout::JobState;

use crate::batch::Batch;
use crate::engine::Engine;
use crate::journal::InFlight;
use crate::state::{Running, State};
use crate::{Effect, Event, schema, turn};

impl Engine {
    /// Takes in what happened; what was asked for is handed back.
    pub(crate) fn take_in(&mut self, event: Event, batch: &mut Batch) -> Option<(u64, Command)> {
        match event {
            Event::Tick => {}
            Event::Children(children) => self.children(children, batch),
            Event::Command { id, command } => return Some((id, command)),
            Event::Journaled { batch } => self.journal.written(batch),
            Event::JournalFailed { batch: id, error } => return self.refused(id, error, batch),
            Event::Spawned { instance, result } => {
                let of = instance.clone();
                self.feed(&of, Input::Started { instance, result });
            }
            Event::Exited { instance, exit } => {
                let of = instance.clone();
                if self.state.services.contains_key(&of.service) {
                    self.feed(&of, Input::Exited { instance, exit });
                } else {
                    batch.free.push(Effect::Forget { instance });
                }
            }
            Event::Probed { instance, result } => {
                let of = instance.clone();
                self.feed(&of, Input::Probed { instance, result });
            }
            Event::Confirmed { revision } => {
                let published = &mut self.state.published;
                if revision <= published.revision() {
                    published.confirmed = published.confirmed.max(revision);
                }
            }
            Event::Open(counts) => {
                for (instance, requests) in counts {
                    let of = instance.clone();
                    self.feed(&of, Input::Open { instance, requests });
                }
            }
            Event::Measured {
                rollout,
                comparison,
            } => {
                if let Some(running) = self.state.running_mut(rollout) {
                    running.comparison = Some(comparison);
                }
            }
            Event::JobEnded {
                rollout,
                job,
                result,
            } => self.job_ended(rollout, job, result),
            Event::Contracted {
                database,
                version,
                result,
            } => {
                let of = (&database, version.as_str());
                schema::contracted(&mut self.state, of, result, (self.now, batch));
            }
            Event::SchemaSeen {
                database,
                contracted,
                served,
            } => schema::seen(&mut self.state, &database, (contracted, &served), batch),
            Event::Pruned { service, releases } => self.pruned(&service, &releases),
            Event::Terminate => {
                self.ending.get_or_insert(self.now);
            }
        }
        None
    }

    fn feed(&mut self, instance: &InstanceId, input: Input) {
        if let Some(service) = self.state.services.get_mut(&instance.service) {
            service.fleet.handle(input, &service.policies, self.now);
        }
    }

    fn job_ended(&mut self, rollout: RolloutId, job: JobKind, result: Result<(), String>) {
        let Some(running) = self.state.running_mut(rollout) else {
            return;
        };
        if let Some(state @ JobState::Running) = running.jobs.get_mut(&job) {
            *state = match result {
                Ok(()) => JobState::Passed,
                Err(how) => JobState::Failed(how),
            };
        }
    }

    fn pruned(&mut self, service: &ServiceName, releases: &[ReleaseId]) {
        if let Some(service) = self.state.services.get_mut(service) {
            let used = service.in_use();
            let gone = |id: &ReleaseId| releases.contains(id) && !used.contains(id);
            service.releases.retain(|id, _| !gone(id));
            service.refresh_policies();
        }
    }

    /// Everything that the supervisor runs.
    fn children(&mut self, children: Vec<Child>, batch: &mut Batch) {
        let first = !std::mem::replace(&mut self.observed, true);
        if first {
            self.say_again(batch);
        }
        for child in &children {
            if !self.state.services.contains_key(&child.instance.service) {
                let instance = child.instance.clone();
                batch.free.push(match child.exit {
                    Some(_) => Effect::Forget { instance },
                    None => Effect::Signal {
                        instance,
                        signal: Signal::Kill,
                    },
                });
            }
        }
        let mut abandoned = Vec::new();
        for (name, service) in &mut self.state.services {
            let own = children.iter().filter(|c| c.instance.service == *name);
            let own: Vec<Child> = own.cloned().collect();
            if first && own.is_empty() && service.running.is_some() && has_run(&service.fleet) {
                abandoned.push(name.clone());
            }
            let input = Input::Children(own);
            service.fleet.handle(input, &service.policies, self.now);
            if first {
                let living = service.fleet.views().into_iter().map(|view| view.instance);
                let living: BTreeSet<InstanceId> = living.collect();
                for (instance, place) in &mut service.places {
                    place.done |= !living.contains(instance);
                }
            }
        }
        let how = (
            Outcome::Failed,
            "everything that it had started is gone: the server was stopped",
        );
        for name in abandoned {
            turn::end(&mut self.state, &name, how, batch);
        }
    }

    /// A journal entry could not be written: what depended on it was not done. Returns what is
    /// carried out all the same.
    fn refused(&mut self, id: u64, error: String, batch: &mut Batch) -> Option<(u64, Command)> {
        let refused = self.journal.refused(id, error.clone(), self.now)?;
        let InFlight {
            undo,
            replies,
            free,
            abort,
            ..
        } = refused;
        self.state = *undo?;
        batch.free.extend(free);
        let again = abort.as_ref().map(|(id, _)| *id);
        for (id, answer) in replies.into_iter().filter(|(id, _)| Some(*id) != again) {
            let error = error.clone();
            let answer = answer.and(Err(Refusal::Journal { error }));
            batch.replies.push((id, answer));
        }
        abort
    }

    /// Says again what an earlier worker may have died before saying; that it was said is noted
    /// with the next event, since this worker may die before it says so, too.
    fn say_again(&mut self, batch: &mut Batch) {
        let last = self
            .state
            .services
            .values()
            .filter_map(|s| s.core.last.as_ref());
        let mut said = BTreeSet::new();
        for last in last.chain(&self.state.server.closing) {
            if said.insert(last.rollout) {
                batch.free.push(Effect::CloseReceipt {
                    rollout: last.rollout,
                    ended: last.ended.clone(),
                });
            }
        }
        for (name, service) in &self.state.services {
            if let Some(running) = &service.running {
                batch.free.push(Effect::OpenReceipt {
                    rollout: running.plan.rollout,
                    service: name.clone(),
                });
            }
        }
    }
}

impl State {
    fn running_mut(&mut self, rollout: RolloutId) -> Option<&mut Running> {
        let mut running = self
            .services
            .values_mut()
            .filter_map(|s| s.running.as_mut());
        running.find(|running| running.plan.rollout == rollout)
    }
}

/// Whether any process of it is known to have run.
fn has_run(fleet: &fleet::Fleet) -> bool {
    let views = fleet.views();
    views.iter().any(|view| match view.state {
        InstanceState::Ordered { .. } => false,
        InstanceState::Starting { .. }
        | InstanceState::Ready { .. }
        | InstanceState::Unhealthy { .. }
        | InstanceState::Draining { .. }
        | InstanceState::Stopping { .. } => true,
    })
}
