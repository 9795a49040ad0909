//! The state as people see it.

use model::{Share, Strategy, Time, WaitingOn};

use crate::Engine;
use crate::advance::Context;
use crate::place::Patience;
use crate::schema;
use crate::state::{Running, Service};
use crate::status::{
    EndedStatus, InstanceStatus, QueuedStatus, ReleaseStatus, RolloutStatus, ServiceStatus, Status,
};

impl Engine {
    /// The state as people see it.
    #[must_use]
    pub fn status(&self, now: Time) -> Status {
        let published = &self.state.published;
        let context = Context {
            now,
            ending: self.ending.is_some(),
            patience: Patience::Confirmed,
            published,
            withheld: None,
        };
        let failing = self.journal.failing.as_ref();
        let services = self.state.services.values();
        Status {
            epoch: self.epoch(),
            revision: published.revision(),
            confirmed: published.confirmed,
            confirm_overdue: context.confirm_overdue(),
            journal_error: failing.map(|failing| failing.error.clone()),
            terminating: self.ending.is_some(),
            services: services.map(|service| self.service(service, now)).collect(),
            databases: schema::status(&self.state, now),
        }
    }

    fn service(&self, service: &Service, now: Time) -> ServiceStatus {
        let release = |release: &std::sync::Arc<model::Release>| ReleaseStatus {
            id: release.id,
            digest: release.digest.clone(),
            label: release.label.clone(),
        };
        let running = service.running.as_ref();
        let active = service.core.active;
        ServiceStatus {
            name: service.name.clone(),
            active,
            previous: service.core.previous,
            releases: service.releases.values().map(release).collect(),
            policy: (*service.policy).clone(),
            replicas: service.replicas(),
            stopped: service.core.stopped,
            closed: service
                .core
                .closed
                .as_ref()
                .map(crate::state::Closed::status),
            pause: service.core.pause.map(|pause| pause.status(now)),
            trouble: active.and_then(|active| service.fleet.trouble(active)),
            instances: self.instances(service),
            rollout: running.map(|running| self.rollout(service, running, now)),
            queued: queued(service),
            last: service.core.last.as_ref().map(|last| EndedStatus {
                rollout: last.rollout,
                to: last.to,
                ended: last.ended.clone(),
            }),
        }
    }

    fn instances(&self, service: &Service) -> Vec<InstanceStatus> {
        let views = service.fleet.views().into_iter();
        let instance = |view: fleet::InstanceView| {
            let place = service.places.get(&view.instance);
            let newest = self.state.published.revision();
            InstanceStatus {
                state: view.state,
                port: place.and_then(|place| place.port),
                routed: view.routable && place.is_some_and(|place| place.routed == newest),
                open_requests: view.open_requests,
                weight: view.weight,
                last_failure: view.last_failure,
                instance: view.instance,
            }
        };
        views.map(instance).collect()
    }

    fn rollout(&self, service: &Service, running: &Running, now: Time) -> RolloutStatus {
        let plan = &running.plan;
        let held = running.waiting_on.iter().find_map(held);
        let counts = service.policies.get(&plan.to);
        let counts = counts.map(|policy| service.fleet.counts(plan.to, policy, now));
        let routed = running.routed.as_ref();
        RolloutStatus {
            rollout: plan.rollout,
            kind: plan.kind,
            strategy: strategy(running).to_owned(),
            from: plan.from,
            to: plan.to,
            began: running.state.began,
            since_ms: u64::try_from(now.since(running.state.began).as_millis()).unwrap_or(u64::MAX),
            target: running.target.clone(),
            share: routed.map_or(Share::NONE, |split| split.share),
            share_confirmed: service.share_confirmed(running, &self.state.published),
            returning: running.state.returning().is_some(),
            held,
            ready: counts.map_or(0, |counts| counts.ready),
            replicas: plan.replicas,
            waiting_on: running.waiting_on.clone(),
        }
    }
}

fn queued(service: &Service) -> Option<QueuedStatus> {
    let queued = service.core.queued.as_ref()?;
    let mut services: Vec<_> = queued.waits.keys().cloned().collect();
    if service.running.is_some() {
        services.insert(0, service.name.clone());
    }
    Some(QueuedStatus {
        rollout: queued.rollout,
        to: queued.to,
        waiting_on: vec![WaitingOn::Services { services }],
    })
}

fn held(waiting: &WaitingOn) -> Option<String> {
    match waiting {
        WaitingOn::Held { reason } => Some(reason.clone()),
        WaitingOn::Ready { .. }
        | WaitingOn::MinReady { .. }
        | WaitingOn::Confirmed { .. }
        | WaitingOn::Drain { .. }
        | WaitingOn::Exit { .. }
        | WaitingOn::Step { .. }
        | WaitingOn::Gate { .. }
        | WaitingOn::Verdict { .. }
        | WaitingOn::Keep { .. }
        | WaitingOn::Job { .. }
        | WaitingOn::Services { .. }
        | WaitingOn::Schema { .. }
        | WaitingOn::Journal { .. } => None,
    }
}

fn strategy(running: &Running) -> &'static str {
    match (running.plan.kind, &running.plan.policy.strategy) {
        (model::RolloutKind::Rollback, _) => "rollback",
        (model::RolloutKind::Deploy, Strategy::Rolling { .. }) => "rolling",
        (model::RolloutKind::Deploy, Strategy::BlueGreen(_)) => "blue_green",
        (model::RolloutKind::Deploy, Strategy::Canary { .. }) => "canary",
        (model::RolloutKind::Deploy, Strategy::Recreate) => "recreate",
    }
}
