//! What people said and what they were answered.

use std::collections::BTreeMap;

use engine::Effect;
use model::{
    Command, Deploy, DeployService, Refusal, ReleaseId, RolloutId, RolloutKind, ServiceName,
};

use traffic::{ServiceTable, Table};

use super::{Model, Roll, Rule};

/// An answer to a command.
pub(crate) type Answer = Result<BTreeMap<ServiceName, RolloutId>, Refusal>;

impl Model {
    /// A command is on its way.
    pub(crate) fn asked(&mut self, id: u64, command: &Command) {
        self.asked.insert(id, command.clone());
    }

    /// A batch is in force: it was written down, or needs not be.
    pub(crate) fn in_force(&mut self, effects: &[Effect], journal: bool) {
        for effect in effects {
            if let Effect::Reply { id, result } = effect {
                self.decide(*id, result, journal);
            }
        }
        let table = effects.iter().find_map(|effect| {
            if let Effect::Publish { table, .. } = effect {
                Some(table)
            } else {
                None
            }
        });
        for effect in effects {
            self.note_written(effect, table);
        }
        for effect in effects {
            if let Effect::OpenReceipt { rollout, service } = effect {
                self.begun(*rollout, service, table);
            }
        }
    }

    /// What is decided may be done by a later worker.
    fn note_written(&mut self, effect: &Effect, table: Option<&Table>) {
        match effect {
            Effect::Spawn(spawn) => {
                self.written.insert(spawn.instance.clone());
            }
            Effect::CloseReceipt { rollout, ended } => {
                let newest = self.newest.clone();
                let table = table.unwrap_or(&newest);
                if let Some(roll) = self.rollouts.get_mut(rollout)
                    && roll.end_written.is_none()
                {
                    roll.end_written = Some(ended.outcome);
                    roll.alone = serves_alone(table, &roll.service, roll.to);
                }
            }
            Effect::RunJob { rollout, job, .. } => {
                if let Some(roll) = self.rollouts.get_mut(rollout) {
                    roll.jobs.entry(*job).or_insert(None);
                }
            }
            Effect::Journal { .. }
            | Effect::Probe { .. }
            | Effect::Signal { .. }
            | Effect::Cut { .. }
            | Effect::Forget { .. }
            | Effect::Publish { .. }
            | Effect::CountOpen { .. }
            | Effect::Measure { .. }
            | Effect::Contract { .. }
            | Effect::Observe
            | Effect::OpenReceipt { .. }
            | Effect::Reply { .. }
            | Effect::Note { .. }
            | Effect::Terminated => {}
        }
    }

    fn decide(&mut self, id: u64, answer: &Answer, journal: bool) {
        let Some(command) = self.asked.remove(&id) else {
            let seen = format!("command {id} is answered and was not asked, or was answered");
            return self.violate(Rule::AnswersOnce, seen);
        };
        self.decided.insert(id);
        match answer {
            Ok(rollouts) => self.accepted(&command, rollouts),
            Err(refusal) => self.refused(&command, refusal, journal),
        }
    }

    /// A command is answered.
    pub(crate) fn replied(&mut self, id: u64) {
        if !self.decided.remove(&id) {
            let seen = format!("command {id} is answered twice");
            self.violate(Rule::AnswersOnce, seen);
        }
    }

    /// The worker lives and has dealt with the command.
    pub(crate) fn settled(&mut self, id: u64) {
        if self.asked.remove(&id).is_some() || self.decided.remove(&id) {
            self.violate(Rule::AnswersOnce, format!("command {id} was not answered"));
        }
    }

    fn accepted(&mut self, command: &Command, rollouts: &BTreeMap<ServiceName, RolloutId>) {
        match command {
            Command::Deploy(deploy) => self.deployed(deploy, rollouts),
            Command::Rollback { service, release } => {
                self.rolled_back(service, *release, rollouts);
            }
            Command::Promote { service, .. } => self.roll(service, |roll| roll.promoted = true),
            Command::Hold { service } => {
                let now = self.now;
                self.roll(service, |roll| roll.held = Some((now, roll.share)));
            }
            Command::Resume { service } => self.resumed(service),
            Command::Pause { service, lasts } => self.paused(service, *lasts),
            Command::PauseEnd { service } => self.unpaused(service),
            Command::Close { service, .. } => self.maintained(service, true),
            Command::Open { service } => self.maintained(service, false),
            Command::Approve { service } => self.roll(service, |roll| roll.approvals += 1),
            Command::Abort { service } => self.roll(service, |roll| {
                roll.held = None;
                roll.aborted.get_or_insert(roll.share);
            }),
            Command::Scale { service, replicas } => {
                self.change(service);
                if let Some(known) = self.services.get_mut(service) {
                    known.scaled = Some(*replicas);
                }
            }
            Command::Restart { service } => {
                let now = self.now;
                self.change(service);
                if let Some(known) = self.services.get_mut(service) {
                    known.stopped = false;
                    known.restarted = Some(now);
                }
            }
            Command::Stop { service } => {
                self.change(service);
                if let Some(known) = self.services.get_mut(service) {
                    known.stopped = true;
                    known.left = None;
                }
            }
            Command::Drain { instance } => self.change(&instance.service),
            Command::Contract { .. } => {}
        }
    }

    fn change(&mut self, service: &ServiceName) {
        let now = self.now;
        if let Some(known) = self.services.get_mut(service) {
            known.wanted_changed = now;
        }
    }

    pub(super) fn roll(&mut self, service: &ServiceName, change: impl FnOnce(&mut Roll)) {
        let open = self.services.get(service).and_then(|known| known.open);
        if let Some(roll) = open.and_then(|id| self.rollouts.get_mut(&id)) {
            change(roll);
        }
    }

    fn deployed(&mut self, deploy: &Deploy, rollouts: &BTreeMap<ServiceName, RolloutId>) {
        for asked in &deploy.services {
            let id = rollouts.get(&asked.service);
            if id.is_some() && !deploy.supersede && self.is_busy(&asked.service) {
                let seen = format!("{} is deployed beside another rollout", asked.service);
                self.violate(Rule::OneRollout, seen);
            }
            let drafted = id.and_then(|_| self.draft(asked));
            self.apply(asked, deploy.supersede && id.is_some());
            let (Some(id), Some(mut roll)) = (id, drafted) else {
                continue;
            };
            let after = asked.policy.after.iter();
            roll.after = after
                .filter_map(|name| rollouts.get(name))
                .copied()
                .collect();
            let lockstep = deploy.services.iter().filter(|other| {
                other.policy.lockstep && asked.policy.lockstep && other.service != asked.service
            });
            let partners = lockstep.filter_map(|other| rollouts.get(&other.service));
            roll.partners = partners.copied().collect();
            self.enter(*id, roll);
        }
        let asked = |name: &ServiceName| deploy.services.iter().any(|a| a.service == *name);
        if let Some((name, id)) = rollouts.iter().find(|(name, _)| !asked(name)) {
            let seen = format!("rollout {id} of {name}, which was not deployed");
            self.violate(Rule::AnswersOnce, seen);
        }
        for name in &deploy.prune {
            if let Some(known) = self.services.get_mut(name) {
                known.stopped = true;
            }
        }
    }

    /// Whether a rollout of the service runs or waits to begin.
    fn is_busy(&self, service: &ServiceName) -> bool {
        let sure = self
            .services
            .get(service)
            .is_some_and(|known| !known.unsure);
        let mut rolls = self.rollouts.values();
        sure && rolls.any(|r| r.service == *service && r.end_written.is_none() && !r.amnesty)
    }

    /// The policy is in force at once.
    fn apply(&mut self, asked: &DeployService, superseded: bool) {
        let now = self.now;
        let known = self.services.entry(asked.service.clone()).or_default();
        let changed = known
            .policy
            .as_ref()
            .is_none_or(|policy| policy.replicas != asked.policy.replicas);
        if changed {
            known.scaled = None;
        }
        known.policy = Some(asked.policy.clone());
        known.wanted_changed = now;
        let digest = asked.release.as_ref().map(|release| &release.digest);
        let active = known.active.and_then(|id| known.releases.get(&id));
        if active.is_some() && active.map(|facts| &facts.digest) == digest {
            known.stopped = false;
            if asked.force {
                known.restarted = Some(now);
            }
        }
        if superseded {
            self.roll(&asked.service, |roll| roll.superseded = true);
        }
    }

    /// A rollout as its deploy asked for it.
    fn draft(&self, asked: &DeployService) -> Option<Roll> {
        let release = asked.release.as_ref()?;
        let known = self.services.get(&asked.service)?;
        let same = |facts: &super::ReleaseFacts| facts.digest == release.digest;
        let to = known.releases.iter().find(|(_, facts)| same(facts));
        let to = to.map_or(release.id, |(id, _)| *id);
        let mut roll = Roll::new(asked.service.clone(), to, asked.policy.clone());
        roll.from_replicas = self.resting(&asked.service);
        Some(roll)
    }

    /// Instances that the active release has while no rollout runs.
    pub(super) fn resting(&self, service: &ServiceName) -> u32 {
        let waits = self.rollouts.values().rev();
        let mut waits = waits.filter(|roll| {
            !roll.begin_written && roll.closed.is_none() && roll.end_written.is_none()
        });
        if let Some(roll) = waits.find(|roll| roll.service == *service) {
            return roll.from_replicas;
        }
        let known = self.services.get(service);
        let policy = known.and_then(|known| known.policy.as_ref());
        let scaled = known.and_then(|known| known.scaled);
        scaled.or(policy.map(|policy| policy.replicas)).unwrap_or(0)
    }

    fn rolled_back(
        &mut self,
        service: &ServiceName,
        release: Option<ReleaseId>,
        rollouts: &BTreeMap<ServiceName, RolloutId>,
    ) {
        let Some(id) = rollouts.get(service) else {
            let seen = format!("a rollback of {service} began nothing");
            return self.violate(Rule::AnswersOnce, seen);
        };
        if let Some(roll) = self.back(service, release) {
            self.enter(*id, roll);
        }
    }

    fn enter(&mut self, id: RolloutId, roll: Roll) {
        if self.rollouts.insert(id, roll).is_some() {
            let seen = format!("rollout {id} was begun before");
            self.violate(Rule::ReceiptFrames, seen);
        }
    }

    /// A rollback as it was asked for.
    fn back(&self, service: &ServiceName, release: Option<ReleaseId>) -> Option<Roll> {
        let known = self.services.get(service)?;
        let left = known.left.and_then(|id| self.rollouts.get(&id));
        let left = left.filter(|roll| roll.from.is_none() || roll.share > roll.share.rest());
        let earlier = match left {
            Some(roll) => roll.from,
            None => known.previous,
        };
        let to = release.or(earlier)?;
        let mut roll = Roll::new(service.clone(), to, known.policy.clone()?);
        roll.kind = RolloutKind::Rollback;
        roll.from_replicas = self.resting(service);
        Some(roll)
    }

    fn refused(&mut self, command: &Command, refusal: &Refusal, journal: bool) {
        let service = |name: &ServiceName| self.services.get(name);
        let wrong = match refusal {
            Refusal::Active { service: name, .. } => {
                // One that waits to begin is as good as one that runs.
                let waits = self.rollouts.values();
                let mut waits = waits.filter(|roll| roll.service == *name);
                let sure = service(name).is_some_and(|known| !known.unsure);
                sure && waits.all(|roll| roll.closed.is_some())
            }
            Refusal::NoRollout { service: name } => {
                service(name).is_some_and(|known| known.open.is_some() && !known.unsure)
            }
            Refusal::Journal { .. } => journal,
            Refusal::NotNow { .. }
            | Refusal::NoService { .. }
            | Refusal::NoRelease { .. }
            | Refusal::NoDatabase { .. }
            | Refusal::Contracted { .. }
            | Refusal::NoEarlier { .. }
            | Refusal::NoInstance { .. }
            | Refusal::Fenced { .. } => false,
        };
        if wrong {
            let seen = format!("{command:?} was refused: {refusal}");
            self.violate(Rule::RefusesRightly, seen);
        }
        self.check_abort(command, refusal);
    }

    /// An abort succeeds as long as there is a way back.
    fn check_abort(&mut self, command: &Command, refusal: &Refusal) {
        let Command::Abort { service } = command else {
            return;
        };
        if let Refusal::Journal { .. } = refusal {
            let seen = format!("abort of {service}: {refusal}");
            self.violate(Rule::AbortWins, seen);
        }
    }
}

impl Roll {
    pub(super) fn new(service: ServiceName, to: ReleaseId, policy: model::Policy) -> Self {
        Self {
            service,
            kind: RolloutKind::Deploy,
            to,
            from: None,
            replicas: policy.replicas,
            from_replicas: 0,
            policy,
            from_ready: false,
            has_port: false,
            opened: None,
            closed: None,
            announced: false,
            begin_written: false,
            begun_in: 0,
            end_written: None,
            return_failed: false,
            alone: false,
            asked_at: 0,
            after: Default::default(),
            partners: Default::default(),
            share: model::Share::NONE,
            shares: Vec::new(),
            shadows: BTreeMap::new(),
            shrunk: false,
            aborted: None,
            superseded: false,
            must_return: false,
            held: None,
            running_since: 0,
            promoted: false,
            approvals: 0,
            jobs: BTreeMap::new(),
            window: 0,
            measured: false,
            bad: false,
            amnesty: false,
        }
    }
}

/// Whether a table has only this release, and not the one that its rollout began from.
fn serves_alone(table: &Table, service: &ServiceName, to: ReleaseId) -> bool {
    let routed = table.services.iter().find(|s| s.name == *service);
    let alone = |s: &ServiceTable| {
        s.stable.release == to && s.candidate.is_none() && !s.stable.endpoints.is_empty()
    };
    routed.is_some_and(alone)
}
