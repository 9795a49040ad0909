//! Bugs in what the engine does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use engine::{Effect, IfRefused, Spawn};
use fleet::Signal;
use model::{InstanceId, Outcome, Refusal, ReleaseId, Revision, RolloutId, Share};
use traffic::{Cell, Endpoint, ServiceTable, Table};

use super::{OWN, Plant, Planted};
use crate::check::{Answer, endpoints};
use crate::policy;

impl Planted {
    /// What is done instead of what the engine said.
    pub(super) fn act(&mut self, effects: Vec<Effect>) -> Vec<Effect> {
        let mut done = Vec::with_capacity(effects.len());
        for effect in effects {
            self.remember(&effect);
            self.replace(effect, &mut done);
        }
        if self.is(Plant::JournalsLast)
            && let Some(Effect::Journal { .. }) = done.first()
        {
            done.rotate_left(1);
        }
        if std::mem::take(&mut self.ends_now) {
            done.push(Effect::Terminated);
        }
        if let Some((id, answer)) = self.answer.take() {
            done.retain(|effect| !matches!(effect, Effect::Reply { id: own, .. } if *own == id));
            done.push(Effect::Reply { id, result: answer });
        }
        done
    }

    fn remember(&mut self, effect: &Effect) {
        if let Effect::OpenReceipt { rollout, service } = effect {
            self.rollouts.insert(service.clone(), *rollout);
            if !self.services.contains(service) {
                self.services.push(service.clone());
            }
        } else if let Effect::CloseReceipt { rollout, .. } = effect {
            self.rollouts.retain(|_, open| open != rollout);
        }
    }

    fn replace(&mut self, effect: Effect, done: &mut Vec<Effect>) {
        match effect {
            Effect::Journal { .. } => self.journal(effect, done),
            Effect::Publish { table, audiences } => {
                let stops = self.lost(&table);
                let table = self.publish(table);
                self.table = Arc::new(table.clone());
                done.push(Effect::Publish { table, audiences });
                if self.is(Plant::StopsUnconfirmed) {
                    done.extend(stops.into_iter().map(stop));
                }
            }
            Effect::Spawn(spawn) if self.is(Plant::ContractsEarly) => {
                done.push(Effect::Contract {
                    database: policy::database(),
                    version: policy::version(spawn.instance.release),
                    service: spawn.instance.service.clone(),
                    release: spawn.instance.release,
                });
                done.push(Effect::Spawn(spawn));
            }
            Effect::Spawn(spawn) => self.spawn(spawn, done),
            Effect::Signal { instance, signal } => self.signal(instance, signal, done),
            Effect::CountOpen { instances } => {
                let each = instances.iter().cloned();
                match self.plant {
                    Some(Plant::StopsUncounted) => done.extend(each.map(stop)),
                    Some(Plant::CutsEarly) => {
                        done.extend(each.map(|instance| Effect::Cut { instance }));
                    }
                    Some(_) | None => {}
                }
                done.push(Effect::CountOpen { instances });
            }
            Effect::Forget { .. } if self.is(Plant::NeverForgets) => {}
            Effect::OpenReceipt { .. } if self.is(Plant::NeverOpens) => {}
            Effect::OpenReceipt { rollout, service } if self.is(Plant::DeploysBeside) => {
                let beside = RolloutId(rollout.0 + 1);
                for rollout in [rollout, beside] {
                    let service = service.clone();
                    done.push(Effect::OpenReceipt { rollout, service });
                }
            }
            Effect::CloseReceipt { .. } if self.is(Plant::NeverCloses) => {}
            Effect::CloseReceipt { rollout, mut ended } => {
                if self.is(Plant::ClosesFalsely) && ended.outcome != Outcome::Completed {
                    ended.outcome = Outcome::Completed;
                }
                done.push(Effect::CloseReceipt { rollout, ended });
            }
            Effect::RunJob { rollout, job, .. } if self.is(Plant::JobIgnored) => {
                self.pass_job(rollout, job);
                done.push(effect);
            }
            Effect::Reply { id, result } => self.reply((id, result), done),
            Effect::Terminated if self.is(Plant::EndsNever) => {}
            Effect::Probe { .. }
            | Effect::Cut { .. }
            | Effect::Forget { .. }
            | Effect::Measure { .. }
            | Effect::RunJob { .. }
            | Effect::Contract { .. }
            | Effect::Observe
            | Effect::OpenReceipt { .. }
            | Effect::Note { .. }
            | Effect::Terminated => done.push(effect),
        }
    }

    fn reply(&mut self, (id, answer): (u64, Answer), done: &mut Vec<Effect>) {
        if id == OWN || self.is(Plant::NeverAnswers) {
            return;
        }
        if self.is(Plant::AnswersTwice) {
            let result = answer.clone();
            done.push(Effect::Reply { id, result });
        }
        let result = match (self.plant, answer) {
            (Some(Plant::RefusesFalsely), Ok(rollouts)) if !rollouts.is_empty() => {
                let error = "no space left on device".to_owned();
                Err(Refusal::Journal { error })
            }
            (_, answer) => answer,
        };
        done.push(Effect::Reply { id, result });
    }

    fn journal(&mut self, effect: Effect, done: &mut Vec<Effect>) {
        let Effect::Journal {
            batch,
            epoch,
            mut entries,
            mut if_refused,
        } = effect
        else {
            return;
        };
        let unwritten: &[&str] = match self.plant {
            Some(Plant::JournalsNever) => return,
            Some(Plant::PlacesUnwritten) => &["place/"],
            Some(Plant::RolloutUnwritten) => &["plan/", "rollout/"],
            Some(Plant::FleetUnwritten) => &["fleet/"],
            Some(_) | None => &[],
        };
        entries.retain(|key, _| !unwritten.iter().any(|prefix| key.starts_with(prefix)));
        if self.is(Plant::ForwardUnwritten) {
            if_refused = IfRefused::Continue;
        }
        done.push(Effect::Journal {
            batch,
            epoch,
            entries,
            if_refused,
        });
    }

    fn spawn(&mut self, mut spawn: Spawn, done: &mut Vec<Effect>) {
        let other = self.spawned.iter().rev();
        let mut other = other.filter(|other| other.instance != spawn.instance);
        match (self.plant, other.next()) {
            (Some(Plant::PortInUse), Some(other)) => spawn.port = other.port,
            (Some(Plant::CellInUse), Some(other)) => spawn.cell = other.cell,
            (Some(_) | None, _) => {}
        }
        self.spawned.push(spawn.clone());
        if self.is(Plant::StartsStrangers) {
            let mut stranger = spawn.clone();
            stranger.instance.release = ReleaseId(77);
            stranger.instance.serial += 1_000;
            stranger.port = None;
            stranger.cell = Cell(stranger.cell.0 + 2_000);
            done.push(Effect::Spawn(stranger));
        }
        done.push(Effect::Spawn(spawn));
    }

    fn signal(&mut self, instance: InstanceId, signal: Signal, done: &mut Vec<Effect>) {
        let sent = match signal {
            Signal::Stop if self.is(Plant::KillsAtOnce) => Signal::Kill,
            Signal::Stop | Signal::Kill => signal,
        };
        self.stopped.push(instance.clone());
        done.push(Effect::Signal {
            instance: instance.clone(),
            signal: sent,
        });
        if self.is(Plant::ForgetsLiving) && signal == Signal::Stop {
            done.push(Effect::Forget { instance });
        }
    }

    /// Endpoints of the last table that this one lacks.
    fn lost(&self, table: &Table) -> Vec<InstanceId> {
        let kept = |id: &InstanceId| endpoints(table).any(|e| e.instance == *id);
        let old = endpoints(&self.table).map(|e| e.instance.clone());
        old.filter(|id| !kept(id)).collect()
    }

    fn publish(&mut self, mut table: Table) -> Table {
        match self.plant {
            Some(Plant::RevisionStays) if self.table.revision.0 > 0 => {
                table.revision = self.table.revision;
            }
            Some(Plant::RevisionFalls) => table.revision = Revision(table.revision.0 % 100_000_000),
            Some(_) | None => {}
        }
        let old = self.table.clone();
        for service in &mut table.services {
            let before = old.services.iter().find(|old| old.name == service.name);
            self.service(service, before);
        }
        table
    }

    fn service(&mut self, service: &mut ServiceTable, before: Option<&ServiceTable>) {
        let stable = &mut service.stable.endpoints;
        match self.plant {
            Some(Plant::WrongPort) => {
                for endpoint in stable.iter_mut() {
                    let port = endpoint.address.port() + 1;
                    endpoint.address = SocketAddr::new(endpoint.address.ip(), port);
                }
            }
            Some(Plant::OneCellForTwo) => {
                stable
                    .iter_mut()
                    .for_each(|endpoint| endpoint.cell = Cell(0));
            }
            Some(Plant::DrainsTooMany) if stable.len() > 1 => {
                stable.pop();
            }
            Some(Plant::DrainsAll) if service.candidate.is_none() => {
                let served = before.is_some_and(|before| !before.stable.endpoints.is_empty());
                if served {
                    stable.clear();
                }
            }
            Some(Plant::WrongRollout) => {
                service.rollout = service.rollout.map(|id| RolloutId(id.0 + 7));
            }
            Some(Plant::ShareUnplanned) if service.share < Share::ALL => {
                let points = service.share.basis_points();
                let more = Share::try_new(points.saturating_add(1)).unwrap_or(Share::ALL);
                if service.candidate.is_some() && points > 0 {
                    service.share = more;
                }
            }
            Some(Plant::NeverReturns) => {
                let kept = before.filter(|before| before.stable.release == service.stable.release);
                if let (Some(before), None) = (kept, &service.candidate) {
                    service.candidate.clone_from(&before.candidate);
                    service.share = before.share;
                    service.rollout = before.rollout;
                }
            }
            Some(Plant::ShadowAnswers) => {
                if let (Some(shadow), None) = (&service.shadow, &service.candidate) {
                    service.candidate = Some(shadow.target.clone());
                    service.rollout = Some(shadow.key.rollout);
                    service.share = Share::try_new(100).expect("below 10000");
                }
            }
            Some(Plant::ShadowStays) if service.shadow.is_none() => {
                service.shadow = before.and_then(|before| before.shadow.clone());
            }
            Some(Plant::PauseEndless) => {
                let held = before.and_then(|before| before.paused);
                service.paused = service.paused.or(held);
            }
            Some(Plant::OpensItself) if service.candidate.is_some() => service.closed = None,
            Some(Plant::PauseTooLong) => {
                if let Some(paused) = &mut service.paused {
                    paused.until = paused.until.after(Duration::from_secs(1));
                }
            }
            Some(Plant::ShareWavers) => self.waver(service),
            Some(Plant::RoutesUnready) => self.add(service, &self.spawned.clone()),
            Some(Plant::RoutesStopped) => {
                let stopped = self.stopped();
                self.add(service, &stopped);
            }
            Some(_) | None => {}
        }
    }

    /// Takes back what a rollout was given, once.
    fn waver(&mut self, service: &mut ServiceTable) {
        let Some(rollout) = service.rollout else {
            return;
        };
        let given = service.share > Share::NONE && service.share < Share::ALL;
        let before = self
            .table
            .services
            .iter()
            .find(|old| old.name == service.name);
        let had = before.is_some_and(|old| old.share > Share::NONE && old.rollout == Some(rollout));
        if given && had && !self.wavered.contains(&rollout) {
            self.wavered.push(rollout);
            service.share = Share::NONE;
        }
    }

    /// Stopped instances whose port and cell nobody has by now: that would be another bug.
    fn stopped(&self) -> Vec<Spawn> {
        let is_last = |spawn: &&Spawn| {
            let same = |other: &&Spawn| other.port == spawn.port || other.cell == spawn.cell;
            let mut spawned = self.spawned.iter();
            let newest = spawned.rfind(same);
            newest.is_some_and(|newest| newest.instance == spawn.instance)
        };
        let stopped = self.spawned.iter();
        let stopped = stopped.filter(|spawn| self.stopped.contains(&spawn.instance));
        stopped.filter(is_last).cloned().collect()
    }

    /// Adds endpoints of these instances to the side of their release.
    fn add(&self, service: &mut ServiceTable, spawned: &[Spawn]) {
        let sides = [Some(&mut service.stable), service.candidate.as_mut()];
        for side in sides.into_iter().flatten() {
            for spawn in spawned {
                let id = &spawn.instance;
                let theirs = id.service == service.name && id.release == side.release;
                let known = side.endpoints.iter().any(|e| e.instance == *id);
                let Some(port) = spawn.port.filter(|_| theirs && !known) else {
                    continue;
                };
                side.endpoints.push(Endpoint {
                    instance: id.clone(),
                    address: SocketAddr::from(([127, 0, 0, 1], port)),
                    protocol: model::Protocol::Http1,
                    cell: spawn.cell,
                    weight: None,
                });
            }
        }
    }
}

fn stop(instance: InstanceId) -> Effect {
    Effect::Signal {
        instance,
        signal: Signal::Stop,
    }
}
