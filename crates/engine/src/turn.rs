//! Whose turn it is: rollouts are begun, ended and handed on here.

use std::sync::Arc;

use model::{Outcome, Port, ReleaseId, RolloutId, RolloutKind, ServiceName, Share, Time};
use rollout::{Ended, Peers, Plan, SchemaNeed};

use crate::batch::Batch;
use crate::state::{Closing, Left, Queued, Running, Service, State};
use crate::{Effect, schema};

/// Begins every queued rollout whose turn has come; closes those whose turn never will.
pub(crate) fn begin_queued(state: &mut State, now: Time, batch: &mut Batch) {
    let names: Vec<ServiceName> = state
        .services
        .iter()
        .filter(|(_, service)| service.core.queued.is_some() && service.running.is_none())
        // What it follows must be accounted for first: its turn comes with the next event.
        .filter(|(name, _)| !state.server.closing.iter().any(|c| c.service == **name))
        .map(|(name, _)| name.clone())
        .collect();
    for name in names {
        let Some(service) = state.services.get_mut(&name) else {
            continue;
        };
        let Some(queued) = service.core.queued.take() else {
            continue;
        };
        if let Some(reason) = queued.failed {
            let ended = Ended {
                outcome: Outcome::Failed,
                reason: format!("not begun: {reason}"),
            };
            let closing = Closing {
                rollout: queued.rollout,
                service: name,
                to: queued.to,
                ended,
            };
            close(state, closing, batch);
        } else if queued.waits.is_empty() {
            begin(state, &name, queued, (now, batch));
        } else {
            service.core.queued = Some(queued);
        }
    }
}

fn begin(state: &mut State, name: &ServiceName, queued: Queued, at: (Time, &mut Batch)) {
    let (now, batch) = at;
    let to = state.services.get(name);
    let to = to.and_then(|service| service.releases.get(&queued.to));
    let gone = to.filter(|to| schema::is_gone(state, to)).cloned();
    let Some(service) = state.services.get_mut(name) else {
        return;
    };
    batch.forward = true;
    batch.begins.push(Effect::OpenReceipt {
        rollout: queued.rollout,
        service: name.clone(),
    });
    let from = service.serving();
    if from == Some(queued.to) {
        service.core.left = None;
        service.activate(queued.to);
        if queued.force {
            service.core.fresh_from = service.fleet.next_serial();
        }
        let ended = Ended {
            outcome: Outcome::Completed,
            reason: format!("{} serves already", queued.to),
        };
        let closing = Closing {
            rollout: queued.rollout,
            service: name.clone(),
            to: queued.to,
            ended,
        };
        close(state, closing, batch);
        return;
    }
    let mut plan = service.plan(&queued, from, now);
    if let Some(to) = gone {
        plan.schema = SchemaNeed::between(None, &to);
    }
    if let (Some(from), Some(_)) = (from, &service.core.left) {
        // What a failed rollout left serving is what this one can return to.
        service.activate(from);
    }
    let from = from.map_or_else(String::new, |from| format!(" from {from}"));
    let text = format!("rollout {} begins{from} to {}", plan.rollout, plan.to);
    batch.note(Some(plan.rollout), name, text);
    let begun = rollout::begin(&plan, now);
    let mut running = Running::new(plan, begun);
    running.partners = queued.partners;
    service.core.left = None;
    service.running = Some(running);
    service.refresh_policies();
}

impl Service {
    /// The release that has (most of) the traffic.
    pub(crate) fn serving(&self) -> Option<ReleaseId> {
        match &self.core.left {
            Some(left) if left.from.is_none() => Some(left.to),
            Some(left) if left.target.share > left.target.share.rest() => Some(left.to),
            Some(left) => left.from,
            None => self.core.active,
        }
    }

    fn plan(&self, queued: &Queued, from: Option<ReleaseId>, now: Time) -> Plan {
        let count = |release| {
            let policy = self.policies.get(&release)?;
            Some(self.fleet.counts(release, policy, now))
        };
        let spec = |id| self.releases.get(&id).map(|release| &release.spec);
        let drain = |id| spec(id).map(|spec| spec.drain);
        let from_replicas = match (from, &self.core.left) {
            (None, _) => 0,
            (Some(_), _) if self.core.stopped => 0,
            (Some(from), Some(left)) if from == left.to => left.target.new,
            (Some(_), Some(left)) => left.target.old,
            (Some(_), None) => queued.from_replicas,
        };
        Plan {
            rollout: queued.rollout,
            kind: queued.kind,
            from,
            to: queued.to,
            from_replicas,
            from_ready: from.and_then(count).is_some_and(|counts| counts.ready > 0),
            replicas: self.replicas(),
            traffic: spec(queued.to).is_some_and(|spec| spec.port != Port::None),
            policy: self.policy.rollout.clone(),
            drain: from
                .and_then(drain)
                .max(drain(queued.to))
                .unwrap_or_default(),
            lockstep: queued.partners.keys().cloned().collect(),
            schema: self.schema_need(queued, from),
        }
    }

    /// What a deploy needs of its database. A rollback needs nothing: what its release needs is
    /// there, or it was refused.
    fn schema_need(&self, queued: &Queued, from: Option<ReleaseId>) -> Option<SchemaNeed> {
        if queued.kind == RolloutKind::Rollback {
            return None;
        }
        let of = |id| self.releases.get(&id).map(AsRef::as_ref);
        SchemaNeed::between(from.and_then(of), of(queued.to)?)
    }

    /// Makes a release the one that the service is on.
    fn activate(&mut self, to: ReleaseId) {
        self.core.stopped = false;
        if self.core.active != Some(to) {
            self.core.previous = self.core.active;
        }
        self.core.active = Some(to);
    }

    /// Applies the end of the running rollout.
    pub(crate) fn finish(&mut self, outcome: Outcome) {
        let Some(running) = self.running.take() else {
            return;
        };
        let Plan { from, to, .. } = *running.plan;
        match outcome {
            Outcome::Completed => self.activate(to),
            Outcome::RolledBack | Outcome::Aborted | Outcome::Superseded => {}
            Outcome::Failed => {
                let serves = running.target.new > 0 || running.target.share > Share::NONE;
                if serves {
                    self.core.left = Some(Left {
                        rollout: running.plan.rollout,
                        from,
                        to,
                        target: running.target,
                    });
                }
                if let Some(queued) = &mut self.core.queued {
                    let rollout = running.plan.rollout;
                    queued.failed = Some(format!(
                        "rollout {rollout}, whose place it was to take, failed to return"
                    ));
                }
            }
        }
        self.refresh_policies();
    }
}

/// Accounts for the end of a rollout and tells those that waited for it.
pub(crate) fn close(state: &mut State, closing: Closing, batch: &mut Batch) {
    batch.forward |= closing.ended.outcome == Outcome::Completed;
    batch.closes.push(Effect::CloseReceipt {
        rollout: closing.rollout,
        ended: closing.ended.clone(),
    });
    let Ended { outcome, reason } = &closing.ended;
    let text = format!("rollout {} ended: {outcome}: {reason}", closing.rollout);
    batch.note(Some(closing.rollout), &closing.service, text);
    for service in state.services.values_mut() {
        service.hear(&closing);
    }
    if let Some(service) = state.services.get_mut(&closing.service) {
        service.core.last = Some(closing.clone());
    }
    state.server.closing.push(closing);
}

impl Service {
    /// Takes in the end of a rollout of the same deploy.
    fn hear(&mut self, closing: &Closing) {
        let Closing {
            rollout,
            service,
            ended,
            ..
        } = closing;
        let why = || format!("rollout {rollout} of `{service}` ended: {}", ended.outcome);
        let completed = ended.outcome == Outcome::Completed;
        if let Some(queued) = &mut self.core.queued {
            let waited = queued.waits.get(service) == Some(rollout);
            let partner = queued.partners.get(service) == Some(rollout);
            if waited && completed {
                queued.waits.remove(service);
            }
            if partner && completed {
                queued.partners.remove(service);
            }
            if (waited || partner) && !completed {
                queued.failed.get_or_insert_with(why);
            }
        }
        if let Some(running) = &mut self.running
            && running.partners.get(service) == Some(rollout)
        {
            running.partners.remove(service);
            if !completed {
                running.partner_failed.get_or_insert_with(why);
            }
        }
    }
}

/// How far the lockstep partners of a service's rollout are.
pub(crate) fn peers(state: &State, service: &Service) -> Peers {
    let Some(running) = &service.running else {
        return Peers::Free;
    };
    if let Some(reason) = &running.partner_failed {
        return Peers::Failed(reason.clone());
    }
    let mut behind = Vec::new();
    for (name, rollout) in &running.partners {
        match partner(state, name, *rollout) {
            Some(partner) => {
                if let Some(reason) = partner.returning() {
                    return Peers::Failed(format!(
                        "rollout {rollout} of `{name}` returns: {reason}"
                    ));
                }
                if partner.reach() < running.state.reach() {
                    behind.push(name.clone());
                }
            }
            None => behind.push(name.clone()),
        }
    }
    if behind.is_empty() {
        Peers::Free
    } else {
        Peers::Behind(behind)
    }
}

/// The partner's state; `None` while it waits to begin.
fn partner<'a>(
    state: &'a State,
    name: &ServiceName,
    rollout: RolloutId,
) -> Option<&'a rollout::State> {
    let running = state.services.get(name)?.running.as_ref()?;
    (running.plan.rollout == rollout).then_some(&running.state)
}

/// Ends every rollout, because the server itself ends.
pub(crate) fn end_all(state: &mut State, reason: &str, batch: &mut Batch) {
    let names: Vec<ServiceName> = state.services.keys().cloned().collect();
    for name in names {
        end(state, &name, (Outcome::Aborted, reason), batch);
    }
}

/// Ends whatever a service has under way, and leaves it on its active release.
pub(crate) fn end(state: &mut State, name: &ServiceName, how: (Outcome, &str), batch: &mut Batch) {
    let Some(service) = state.services.get_mut(name) else {
        return;
    };
    let mut closings = Vec::new();
    let ended = Ended {
        outcome: how.0,
        reason: how.1.to_owned(),
    };
    if let Some(running) = service.running.take() {
        closings.push((running.plan.rollout, running.plan.to));
        service.refresh_policies();
    }
    if let Some(queued) = service.core.queued.take() {
        closings.push((queued.rollout, queued.to));
    }
    for (rollout, to) in closings {
        let closing = Closing {
            rollout,
            service: name.clone(),
            to,
            ended: ended.clone(),
        };
        close(state, closing, batch);
    }
}

/// Whether only the new release of the running rollout serves: there was no old one, or it did
/// not serve when it began, and does not now. To return to it would end all service.
pub(crate) fn serves_alone(state: &State, name: &ServiceName, now: Time) -> bool {
    let Some(service) = state.services.get(name) else {
        return false;
    };
    let Some(running) = &service.running else {
        return false;
    };
    let ready = |release| {
        let policy = service.policies.get(&release);
        policy.is_some_and(|policy| service.fleet.counts(release, policy, now).ready > 0)
    };
    let Plan { from, to, .. } = *running.plan;
    let serves = running.target.share > Share::NONE && ready(to);
    serves && !running.plan.from_ready && from.is_none_or(|from| !ready(from))
}

/// Ends the running rollout where it is, for another to begin from what serves: there is
/// nothing to return to.
pub(crate) fn hand_over(state: &mut State, name: &ServiceName, by: RolloutId, batch: &mut Batch) {
    let Some(service) = state.services.get_mut(name) else {
        return;
    };
    let Some(running) = service.running.take() else {
        return;
    };
    let Plan { rollout, to, .. } = *running.plan;
    service.activate(to);
    service.refresh_policies();
    let reason = format!("rollout {by} takes its place and begins from {to}, which serves alone");
    let ended = Ended {
        outcome: Outcome::Superseded,
        reason,
    };
    let closing = Closing {
        rollout,
        service: name.clone(),
        to,
        ended,
    };
    close(state, closing, batch);
}

/// Hands over what returns to a release that has died meanwhile, where another waits for it:
/// the release that is being left is the only one that serves.
pub(crate) fn give_way(state: &mut State, now: Time, batch: &mut Batch) {
    let waiting = state.services.iter().filter_map(|(name, service)| {
        let queued = service.core.queued.as_ref()?;
        Some((name.clone(), queued.rollout))
    });
    let waiting: Vec<(ServiceName, RolloutId)> = waiting.collect();
    for (name, by) in waiting {
        if serves_alone(state, &name, now) {
            hand_over(state, &name, by, batch);
        }
    }
}

/// Cancels the rollout that waits to begin.
pub(crate) fn cancel_queued(
    state: &mut State,
    name: &ServiceName,
    how: (Outcome, &str),
    batch: &mut Batch,
) {
    let queued = state
        .services
        .get_mut(name)
        .and_then(|s| s.core.queued.take());
    if let Some(queued) = queued {
        let ended = Ended {
            outcome: how.0,
            reason: how.1.to_owned(),
        };
        let closing = Closing {
            rollout: queued.rollout,
            service: name.clone(),
            to: queued.to,
            ended,
        };
        close(state, closing, batch);
    }
}

/// A release under the number that its content already has.
pub(crate) fn keep_release(service: &mut Service, release: &model::Release) -> ReleaseId {
    let known = service
        .releases
        .values()
        .find(|known| known.digest == release.digest)
        .map(|known| known.id);
    match known {
        Some(id) => {
            if let Some(kept) = service.releases.get_mut(&id)
                && release.label.is_some()
                && kept.label != release.label
            {
                Arc::make_mut(kept).label.clone_from(&release.label);
            }
            id
        }
        None => {
            service
                .releases
                .insert(release.id, Arc::new(release.clone()));
            release.id
        }
    }
}
