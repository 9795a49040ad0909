//! What people tell the engine: checked as a whole first, then carried out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{
    Command, Deploy, DeployService, InstanceId, Outcome, Refusal, ReleaseId, RolloutId,
    RolloutKind, ServiceName, Time,
};
use rollout::Order;

use crate::batch::Batch;
use crate::schema::{self, Database, When};
use crate::state::{Queued, Service, State};
use crate::{maintenance, pause, place, turn};

/// The rollouts that a command began or concerns, or why it was refused.
pub(crate) type Answer = Result<BTreeMap<ServiceName, RolloutId>, Refusal>;

/// Carries out a command. Nothing is changed when it is refused.
pub(crate) fn run(state: &mut State, command: Command, now: Time, batch: &mut Batch) -> Answer {
    match command {
        Command::Deploy(deploy) => run_deploy(state, &deploy, now, batch),
        Command::Promote { service, full } => order(state, &service, Order::Promote { full }, now),
        Command::Hold { service } => order(state, &service, Order::Hold, now),
        Command::Resume { service } => resume(state, &service, now, batch),
        Command::Pause { service, lasts } => pause::begin(state, &service, (lasts, now), batch),
        Command::PauseEnd { service } => pause::end(state, &service, now, batch),
        Command::Close {
            service,
            maintenance,
        } => maintenance::close(state, &service, (maintenance, now), batch),
        Command::Open { service } => maintenance::open(state, &service, now, batch),
        Command::Approve { service } => order(state, &service, Order::Approve, now),
        Command::Abort { service } => abort(state, &service, now, batch),
        Command::Rollback { service, release } => rollback(state, &service, release),
        Command::Scale { service, replicas } => scale(state, &service, replicas),
        Command::Restart { service } => restart(state, &service),
        Command::Drain { instance } => drain(state, instance),
        Command::Stop { service } => stop(state, &service),
        Command::Contract {
            database,
            at_once: false,
        } => schema::approve(state, &database, When::WindowOver),
        Command::Contract {
            database,
            at_once: true,
        } => schema::approve(state, &database, When::Now),
    }
}

pub(crate) fn find<'a>(
    state: &'a mut State,
    name: &ServiceName,
) -> Result<&'a mut Service, Refusal> {
    let service = state.services.get_mut(name).filter(|s| !s.core.pruned);
    service.ok_or_else(|| Refusal::NoService {
        service: name.clone(),
    })
}

fn idle(service: &Service) -> Result<(), Refusal> {
    match service.busy() {
        Some(rollout) => Err(Refusal::Active {
            service: service.name.clone(),
            rollout,
        }),
        None => Ok(()),
    }
}

pub(crate) fn not_now(reason: impl Into<String>) -> Refusal {
    Refusal::NotNow {
        reason: reason.into(),
    }
}

fn order(state: &mut State, name: &ServiceName, order: Order, now: Time) -> Answer {
    let service = find(state, name)?;
    let queued = service.core.queued.as_ref().map(|queued| queued.rollout);
    let Some(running) = &mut service.running else {
        return Err(match queued {
            Some(rollout) => not_now(format!("rollout {rollout} has not begun yet")),
            None => Refusal::NoRollout {
                service: name.clone(),
            },
        });
    };
    let refused = |refused: rollout::Refused| not_now(refused.0);
    running.state = rollout::order(&running.plan, &running.state, order, now).map_err(refused)?;
    Ok(BTreeMap::from([(name.clone(), running.plan.rollout)]))
}

/// Goes on with what a person stopped: the rollout, or the service's requests.
fn resume(state: &mut State, name: &ServiceName, now: Time, batch: &mut Batch) -> Answer {
    let service = find(state, name)?;
    let is_held = service
        .running
        .as_ref()
        .is_some_and(|running| running.state.is_held());
    match (service.core.pause, is_held) {
        (None, _) => order(state, name, Order::Resume, now),
        (Some(_), false) => pause::end(state, name, now, batch),
        (Some(_), true) => Err(not_now(format!(
            "`{name}` is paused and its rollout is held: end the pause first with `gapless pause {name} --end`"
        ))),
    }
}

fn abort(state: &mut State, name: &ServiceName, now: Time, batch: &mut Batch) -> Answer {
    let service = find(state, name)?;
    let Some(newest) = service.busy() else {
        return Err(Refusal::NoRollout {
            service: name.clone(),
        });
    };
    let queued = service.core.queued.is_some();
    let aborted = match &service.running {
        Some(_) => order(state, name, Order::Abort, now),
        None => Ok(BTreeMap::from([(name.clone(), newest)])),
    };
    if !queued {
        return aborted;
    }
    let how = (Outcome::Aborted, "aborted before it began");
    turn::cancel_queued(state, name, how, batch);
    Ok(aborted.unwrap_or_else(|_| BTreeMap::from([(name.clone(), newest)])))
}

fn rollback(state: &mut State, name: &ServiceName, release: Option<ReleaseId>) -> Answer {
    let rollout = RolloutId(state.server.next_rollout.max(1));
    let service = find(state, name)?;
    if let Some(rollout) = service.busy() {
        return Err(not_now(format!(
            "rollout {rollout} of `{name}` is active: `abort` ends it and returns to the release it began from"
        )));
    }
    // After a failed rollout the way back leads to the release it began from.
    let earlier = match &service.core.left {
        Some(left) if service.serving() == Some(left.to) => left.from,
        Some(_) | None => service.core.previous,
    };
    let to = release.or(earlier).ok_or_else(|| Refusal::NoEarlier {
        service: name.clone(),
    })?;
    let Some(release) = service.releases.get(&to).cloned() else {
        return Err(Refusal::NoRelease {
            service: name.clone(),
            release: to,
        });
    };
    if service.serving() == Some(to) && service.core.left.is_none() {
        return Err(not_now(format!("`{name}` is on {to} already")));
    }
    schema::check(state, (name, &release))?;
    let service = find(state, name)?;
    service.core.queued = Some(Queued {
        rollout,
        kind: RolloutKind::Rollback,
        to,
        from_replicas: service.replicas(),
        force: false,
        waits: BTreeMap::new(),
        partners: BTreeMap::new(),
        failed: None,
    });
    state.server.next_rollout = rollout.0 + 1;
    Ok(BTreeMap::from([(name.clone(), rollout)]))
}

fn scale(state: &mut State, name: &ServiceName, replicas: u32) -> Answer {
    let service = find(state, name)?;
    if replicas == 0 {
        return Err(not_now(format!(
            "0 replicas would end all service: `stop {name}` does that"
        )));
    }
    service.core.scaled = Some(replicas).filter(|count| *count != service.policy.replicas);
    service.refresh_policies();
    let running = service.running.as_ref().map(|running| running.plan.rollout);
    Ok(running
        .map(|rollout| (name.clone(), rollout))
        .into_iter()
        .collect())
}

fn restart(state: &mut State, name: &ServiceName) -> Answer {
    let service = find(state, name)?;
    idle(service)?;
    service.core.stopped = false;
    service.core.fresh_from = service.fleet.next_serial();
    Ok(BTreeMap::new())
}

fn drain(state: &mut State, instance: InstanceId) -> Answer {
    let service = match find(state, &instance.service) {
        Ok(service) => service,
        Err(_) => return Err(Refusal::NoInstance { instance }),
    };
    let known = service.fleet.views();
    if !known.iter().any(|view| view.instance == instance) {
        return Err(Refusal::NoInstance { instance });
    }
    service.core.replace.insert(instance);
    Ok(BTreeMap::new())
}

fn stop(state: &mut State, name: &ServiceName) -> Answer {
    let service = find(state, name)?;
    idle(service)?;
    service.core.active = service.serving();
    service.core.left = None;
    service.core.stopped = true;
    Ok(BTreeMap::new())
}

/// What a deploy does to one service.
fn rolls_out(service: Option<&Service>, asked: &DeployService) -> bool {
    let Some(release) = &asked.release else {
        return false;
    };
    let Some(service) = service else {
        return true;
    };
    let active = service.core.active.and_then(|id| service.releases.get(&id));
    let same = active.is_some_and(|active| active.digest == release.digest);
    !same || service.busy().is_some() || service.core.left.is_some()
}

fn check_deploy(state: &State, deploy: &Deploy) -> Result<BTreeSet<ServiceName>, Refusal> {
    let mut rolled = BTreeSet::new();
    for asked in &deploy.services {
        let service = state.services.get(&asked.service);
        if rolls_out(service, asked) {
            if let Some(service) = service.filter(|_| !deploy.supersede) {
                idle(service)?;
            }
            rolled.insert(asked.service.clone());
            if let Some(release) = &asked.release {
                schema::check(state, (&asked.service, release))?;
            }
        }
    }
    for name in &deploy.prune {
        if let Some(service) = state.services.get(name).filter(|_| !deploy.supersede) {
            idle(service)?;
        }
    }
    check_order(deploy, &rolled)?;
    let fresh = deploy.services.iter();
    let fresh = fresh.filter(|asked| !state.services.contains_key(&asked.service));
    if state.services.len() + fresh.count() > place::SERVICES as usize {
        let most = place::SERVICES;
        return Err(not_now(format!("there can be at most {most} services")));
    }
    Ok(rolled)
}

/// Refuses services that wait for each other in a circle: none would ever begin.
fn check_order(deploy: &Deploy, rolled: &BTreeSet<ServiceName>) -> Result<(), Refusal> {
    let mut left: Vec<&DeployService> = deploy
        .services
        .iter()
        .filter(|asked| rolled.contains(&asked.service))
        .collect();
    let mut done: BTreeSet<&ServiceName> = BTreeSet::new();
    while !left.is_empty() {
        let waits = |asked: &&DeployService| {
            let mut after = asked.policy.after.iter();
            after.any(|name| rolled.contains(name) && !done.contains(name))
        };
        let (blocked, ready): (Vec<_>, Vec<_>) = left.into_iter().partition(waits);
        if ready.is_empty() {
            let names: Vec<&str> = blocked.iter().map(|b| b.service.as_str()).collect();
            let names = names.join(", ");
            return Err(not_now(format!("{names} wait for each other: see `after`")));
        }
        done.extend(ready.into_iter().map(|asked| &asked.service));
        left = blocked;
    }
    Ok(())
}

fn run_deploy(state: &mut State, deploy: &Deploy, now: Time, batch: &mut Batch) -> Answer {
    let rolled = check_deploy(state, deploy)?;
    state.server.http = Some(deploy.http);
    state.server.https = deploy.https.clone();
    state.server.ports = deploy.ports;
    state.server.peers = deploy.peers.clone();
    state.server.access_log = deploy.access_log;
    for (name, policy) in &deploy.databases {
        let fresh = || Database::new(policy.clone());
        let known = state.server.databases.entry(name.clone());
        known.or_insert_with(fresh).policy = policy.clone();
    }
    let mut ids = BTreeMap::new();
    for name in &rolled {
        let id = state.server.next_rollout.max(1);
        state.server.next_rollout = id + 1;
        ids.insert(name.clone(), RolloutId(id));
    }
    let lockstep: BTreeMap<ServiceName, RolloutId> = deploy
        .services
        .iter()
        .filter(|asked| asked.policy.lockstep)
        .filter_map(|asked| Some((asked.service.clone(), *ids.get(&asked.service)?)))
        .collect();
    for asked in &deploy.services {
        let resting = state
            .services
            .get(&asked.service)
            .map_or(0, Service::resting);
        apply_policy(state, asked);
        match ids.get(&asked.service) {
            Some(id) => {
                let rolled = Rolled {
                    rollout: *id,
                    from_replicas: resting,
                    all: &ids,
                    lockstep: &lockstep,
                };
                enqueue(state, asked, &rolled, (now, batch));
            }
            None => refresh(state, asked),
        }
    }
    for name in &deploy.prune {
        prune(state, name, batch);
    }
    Ok(ids)
}

/// Puts the policy in force and makes the service known.
fn apply_policy(state: &mut State, asked: &DeployService) {
    let name = &asked.service;
    if !state.services.contains_key(name) {
        let Some(cell) = place::service_cell(state) else {
            return;
        };
        let policy = Arc::new(asked.policy.clone());
        state
            .services
            .insert(name.clone(), Service::new(name, cell, policy));
    }
    let Some(service) = state.services.get_mut(name) else {
        return;
    };
    if service.policy.replicas != asked.policy.replicas {
        service.core.scaled = None;
    }
    if *service.policy != asked.policy {
        service.policy = Arc::new(asked.policy.clone());
    }
    service.core.internal = asked.internal;
    service.core.pruned = false;
    service.refresh_policies();
}

/// The release is active already: a stopped service runs again, and `force` replaces its instances.
fn refresh(state: &mut State, asked: &DeployService) {
    let Some(service) = state.services.get_mut(&asked.service) else {
        return;
    };
    if let Some(release) = &asked.release {
        turn::keep_release(service, release);
        service.core.stopped = false;
        if asked.force {
            service.core.fresh_from = service.fleet.next_serial();
        }
    }
}

/// A rollout among those of its deploy.
struct Rolled<'a> {
    rollout: RolloutId,
    from_replicas: u32,
    all: &'a BTreeMap<ServiceName, RolloutId>,
    lockstep: &'a BTreeMap<ServiceName, RolloutId>,
}

/// Queues a rollout; it begins at once when nothing is in its way.
fn enqueue(
    state: &mut State,
    asked: &DeployService,
    rolled: &Rolled<'_>,
    (now, batch): (Time, &mut Batch),
) {
    let Rolled {
        rollout,
        from_replicas,
        all,
        lockstep,
    } = *rolled;
    let name = &asked.service;
    supersede(state, name, rollout, (now, batch));
    let (Some(service), Some(release)) = (state.services.get_mut(name), &asked.release) else {
        return;
    };
    let to = turn::keep_release(service, release);
    service.refresh_policies();
    let after = asked.policy.after.iter();
    let waits = after.filter_map(|name| Some((name.clone(), *all.get(name)?)));
    let mut partners = BTreeMap::new();
    if asked.policy.lockstep {
        partners.clone_from(lockstep);
        partners.remove(name);
    }
    service.core.queued = Some(Queued {
        rollout,
        kind: RolloutKind::Deploy,
        to,
        from_replicas,
        force: asked.force,
        waits: waits.collect(),
        partners,
        failed: None,
    });
}

/// Sends the running rollout back, and drops the one that waits, in favour of another.
fn supersede(
    state: &mut State,
    name: &ServiceName,
    by: RolloutId,
    (now, batch): (Time, &mut Batch),
) {
    let reason = format!("superseded by rollout {by} before it began");
    turn::cancel_queued(state, name, (Outcome::Superseded, &reason), batch);
    if turn::serves_alone(state, name, now) {
        turn::hand_over(state, name, by, batch);
    } else {
        // One that already returns is as good: the other begins at its end.
        order(state, name, Order::Supersede, now).ok();
    }
}

fn prune(state: &mut State, name: &ServiceName, batch: &mut Batch) {
    if !state.services.contains_key(name) {
        return;
    }
    let how = (Outcome::Superseded, "the service was pruned");
    turn::end(state, name, how, batch);
    let Some(service) = state.services.get_mut(name) else {
        return;
    };
    service.core.left = None;
    service.core.pruned = true;
    batch.note(
        None,
        name,
        "gone from the file: stopped and forgotten".to_owned(),
    );
}
