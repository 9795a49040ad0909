//! What a deploy would do.

use std::collections::{BTreeMap, BTreeSet};

use engine::ServiceStatus;
use model::{
    Command, Limits, Port, Project, Release, ReleaseId, ReleaseSpec, RolloutId, RolloutKind,
    Service, ServiceName, Share,
};
use rollout::{Capabilities, Plan, SchemaNeed, check_plan, preview};
use runtime::Enforcement;

use super::Shell;
use super::accounts::strategy_name;
use super::doctor::LIMITS_FIX;
use crate::api::{
    DeployRequest, Failure, PlanStage, Planned, PlannedChange, PlannedService, VERSION,
};

/// What one machine and this proxy can do.
const ABLE: Capabilities = Capabilities {
    share_step: Share::NONE,
    affinity: true,
    confirmation: true,
    loss_counting: true,
};

impl Shell {
    pub(crate) fn plan(&self, request: &DeployRequest) -> Result<Planned, Failure> {
        let wanted = self.wanted(request)?;
        let refused = self.check_wanted(request, &wanted).err();
        let status = self.engine.status(self.clock.now());
        let mut services = Vec::new();
        for (name, service) in &request.project.services {
            let now = status.services.iter().find(|now| now.name == *name);
            let release = wanted.releases.get(name);
            let mut planned = self.planned((name, service), now, release);
            if let Some(error) = refused.as_ref().filter(|_| release.is_some()) {
                planned.obstacles.push(error.to_string());
                planned.obstacles.extend(error.evidence.clone());
            }
            if request.force && planned.change == PlannedChange::None {
                planned.change = PlannedChange::Known;
            }
            services.push(planned);
        }
        Ok(Planned {
            v: VERSION,
            services,
            gone: wanted.gone,
        })
    }

    fn planned(
        &self,
        (name, service): (&ServiceName, &Service),
        now: Option<&ServiceStatus>,
        release: Option<&Release>,
    ) -> PlannedService {
        let mut plan = plan_of(service, now, release);
        let from = plan.from;
        let known = |release: &Release| {
            let stored = self.store.release_by_digest(name, &release.digest);
            stored.is_ok_and(|stored| stored.is_some())
        };
        let change = match release {
            None => PlannedChange::PolicyOnly,
            Some(release) if from == Some(release.id) => PlannedChange::None,
            Some(_) if from.is_none() => PlannedChange::First,
            Some(release) if known(release) => PlannedChange::Known,
            Some(_) => PlannedChange::New,
        };
        let old = from.and_then(|from| self.engine.release(name, from));
        plan.schema = release.and_then(|release| SchemaNeed::between(old, release));
        let (stages, (peak, returning)) = match change {
            PlannedChange::None | PlannedChange::PolicyOnly => {
                (Vec::new(), (plan.from_replicas, plan.from_replicas))
            }
            PlannedChange::First | PlannedChange::New | PlannedChange::Known => staged(&plan),
        };
        let memory = release.and_then(|release| release.spec.limits.memory_bytes_max);
        PlannedService {
            service: name.clone(),
            change,
            from,
            to: release.map(|release| release.id),
            differs: match (old, release) {
                (Some(old), Some(new)) => differences(&old.spec, &new.spec),
                (None, _) | (_, None) => Vec::new(),
            },
            strategy: strategy_name(&plan).to_owned(),
            instances_peak: peak,
            instances_peak_returning: returning,
            memory_bytes_peak: memory
                .map(|bytes| bytes.saturating_mul(u64::from(peak.max(returning)))),
            stages,
            notes: self.notes(service, release),
            obstacles: now.into_iter().filter_map(busy).collect(),
        }
    }

    /// What is worth knowing beforehand.
    fn notes(&self, service: &Service, release: Option<&Release>) -> Vec<String> {
        let entrance = service.policy.tcp.map(|entrance| entrance.address);
        let new = entrance.filter(|address| !self.listening.contains(address));
        let mut notes = release.map_or_else(Vec::new, |it| self.loose_limits(&it.spec.limits));
        notes.extend(new.map(|address| format!("would listen on tcp://{address}")));
        notes
    }

    /// The limits that a release asks for and that nothing here would hold.
    fn loose_limits(&self, limits: &Limits) -> Vec<String> {
        let Some(enforced) = self.host.limits() else {
            return Vec::new();
        };
        let loose = [
            ("cpu", limits.cpu_millis_max.is_some(), enforced.cpu),
            ("processes", limits.processes_max.is_some(), enforced.pids),
        ];
        let loose = loose
            .into_iter()
            .filter(|(_, asked, by)| *asked && *by == Enforcement::Unavailable);
        loose
            .map(|(name, _, _)| format!("limits.{name} would not be enforced: {LIMITS_FIX}"))
            .collect()
    }

    /// What this place cannot do of what the policy asks for.
    pub(super) fn plan_problems(
        &self,
        project: &Project,
        name: &ServiceName,
        release: &Release,
    ) -> Vec<String> {
        let status = self.engine.status(self.clock.now());
        let now = status.services.iter().find(|now| now.name == *name);
        let Some(service) = project.services.get(name) else {
            return Vec::new();
        };
        let plan = plan_of(service, now, Some(release));
        let found = check_plan(&plan, &ABLE).err().unwrap_or_default();
        found
            .into_iter()
            .map(|why| format!("`{name}`: {why}"))
            .collect()
    }
}

fn plan_of(service: &Service, now: Option<&ServiceStatus>, release: Option<&Release>) -> Plan {
    let active = now.and_then(|now| now.active);
    let instances = now.map(|now| now.instances.as_slice()).unwrap_or_default();
    let is_ready = |seen: &engine::InstanceStatus| {
        Some(seen.instance.release) == active
            && matches!(seen.state, fleet::InstanceState::Ready { .. })
    };
    Plan {
        rollout: RolloutId(0),
        kind: RolloutKind::Deploy,
        from: active,
        to: release.map_or(ReleaseId(0), |release| release.id),
        from_replicas: now.map_or(0, |now| now.replicas),
        from_ready: instances.iter().any(is_ready),
        replicas: service.policy.replicas,
        traffic: service.template.port != Port::None,
        policy: service.policy.rollout.clone(),
        drain: service.template.drain,
        lockstep: BTreeSet::new(),
        schema: None,
    }
}

/// The stages, and the most instances on the way and on the way back.
fn staged(plan: &Plan) -> (Vec<PlanStage>, (u32, u32)) {
    let preview = preview(plan);
    let stage = |stage: rollout::Stage| PlanStage {
        what: stage.what,
        instances_peak: stage.instances_max,
        share: stage.share.basis_points(),
    };
    let peaks = (preview.instances_max, preview.instances_max_returning);
    (preview.stages.into_iter().map(stage).collect(), peaks)
}

fn busy(now: &ServiceStatus) -> Option<String> {
    let running = now.rollout.as_ref()?;
    Some(format!(
        "rollout {} of `{}` is active",
        running.rollout, now.name
    ))
}

/// The parts of two releases that differ.
fn differences(old: &ReleaseSpec, new: &ReleaseSpec) -> Vec<String> {
    let mut differs = Vec::new();
    let mut note = |part: &str, same: bool| {
        if !same {
            differs.push(part.to_owned());
        }
    };
    note("artifact", old.artifact == new.artifact);
    note("run", old.run == new.run);
    note("port", old.port == new.port);
    note("health", old.health == new.health);
    note("protocol", old.protocol == new.protocol);
    note("drain", old.drains() == new.drains());
    note("stop", old.stop == new.stop);
    note("user", old.user == new.user);
    note("limits", old.limits == new.limits);
    note("database", old.database == new.database);
    differs.extend(differing("env", &old.env, &new.env));
    differs.extend(differing("secrets", &old.secrets, &new.secrets));
    differs
}

fn differing<T: PartialEq>(
    part: &str,
    old: &BTreeMap<String, T>,
    new: &BTreeMap<String, T>,
) -> Vec<String> {
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let changed = names
        .into_iter()
        .filter(|name| old.get(*name) != new.get(*name));
    changed.map(|name| format!("{part}.{name}")).collect()
}

/// The words of a command, for the audit.
pub(super) fn spell(command: &Command) -> String {
    match command {
        Command::Deploy(_) => "deploy".to_owned(),
        Command::Promote { service, full } => {
            format!("promote {service}{}", if *full { " --full" } else { "" })
        }
        Command::Hold { service } => format!("hold {service}"),
        Command::Resume { service } => format!("resume {service}"),
        Command::Approve { service } => format!("approve {service}"),
        Command::Abort { service } => format!("abort {service}"),
        Command::Rollback { service, release } => match release {
            Some(release) => format!("rollback {service} {release}"),
            None => format!("rollback {service}"),
        },
        Command::Scale { service, replicas } => format!("scale {service} {replicas}"),
        Command::Restart { service } => format!("restart {service}"),
        Command::Drain { instance } => format!("drain {instance}"),
        Command::Stop { service } => format!("stop {service}"),
        Command::Contract { database, at_once } => {
            let now = if *at_once { " --now" } else { "" };
            format!("migrate contract --database {database}{now}")
        }
        Command::Pause { service, lasts } => {
            format!("pause {service} --for {}ms", lasts.as_millis())
        }
        Command::Close {
            service,
            maintenance,
        } => {
            let pass = maintenance.pass.as_ref();
            let allow = pass.map(|p| format!(" --allow {}=secret:{}", p.header, p.secret));
            format!(
                "maintenance {service} on --retry-after {}s{}",
                maintenance.retry_after_seconds,
                allow.unwrap_or_default()
            )
        }
        Command::Open { service } => format!("maintenance {service} off"),
        Command::PauseEnd { service } => format!("pause {service} --end"),
    }
}
