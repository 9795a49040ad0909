//! Asking instances for their health.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use engine::Event;
use fleet::ProbeResult;
use model::{InstanceId, Probe, Protocol};
use runtime::probe::{self, ProbeFailure, ProbeOutcome, ProbeTarget};
use runtime::{Limits, StartSpec};
use tls::Trust;

use super::effects::key;
use super::environment::{Role, Search, Start};
use super::{Message, Shell};

impl Shell {
    /// Begins a probe, unless one of the same instance still runs.
    pub(super) fn probe(&mut self, instance: InstanceId) {
        if self.probing.contains(&instance) {
            return;
        }
        match self.prepare(&instance) {
            Ok(None) => {}
            Ok(Some(question)) => {
                self.probing.insert(instance.clone());
                let (driver, inbox) = (Arc::clone(&self.driver), self.inbox.clone());
                tokio::spawn(async move {
                    let result = question.ask(&*driver, &instance).await;
                    let event = Event::Probed { instance, result };
                    // Nobody listens once control has ended.
                    let _ = inbox.send(Message::Event(Box::new(event)));
                });
            }
            Err(reason) => self.queue.push_back(Event::Probed {
                instance,
                result: ProbeResult::Failed(reason),
            }),
        }
    }

    /// What is to be asked; `None` when the instance is not there any more.
    fn prepare(&mut self, instance: &InstanceId) -> Result<Option<Question>, String> {
        let release = self.engine.release(&instance.service, instance.release);
        let (Some(release), Some(place)) = (release, self.engine.place(instance)) else {
            return Ok(None);
        };
        let Some(health) = release.spec.health.clone() else {
            return Ok(None);
        };
        let tls = release.spec.program_tls.as_ref();
        let trust = tls.map(|tls| self.tls.trusts.read(tls)).transpose();
        let trust = trust.map_err(|error| crate::chain(&error))?;
        let start = match &health.probe {
            Probe::Http { .. } | Probe::Grpc { .. } | Probe::Tcp => Start(nowhere()),
            Probe::Exec(argv) => {
                let name = instance.to_string();
                let role = Role {
                    service: &instance.service,
                    release,
                    name: &name,
                    port: place.port,
                    search: Search::Version,
                    extra: BTreeMap::new(),
                };
                self.start_of(argv, &role).map_err(|error| match error {
                    fleet::SpawnError::PortTaken { by } => by,
                    fleet::SpawnError::Unusable { reason }
                    | fleet::SpawnError::Unavailable { reason } => reason,
                })?
            }
        };
        Ok(Some(Question {
            health,
            port: place.port,
            protocol: release.spec.protocol,
            trust,
            start,
        }))
    }
}

struct Question {
    health: model::Health,
    port: Option<u16>,
    protocol: Protocol,
    trust: Option<Arc<Trust>>,
    start: Start,
}

impl Question {
    async fn ask(&self, driver: &dyn runtime::Driver, instance: &InstanceId) -> ProbeResult {
        let key = key(instance);
        let target = ProbeTarget {
            key: &key,
            port: self.port,
            protocol: self.protocol,
            trust: self.trust.as_ref(),
            spec: &self.start.0,
        };
        let argv = match &self.health.probe {
            // Its variables were replaced when the start was made.
            Probe::Exec(_) => Probe::Exec(model::Argv(self.start.0.argv.clone())),
            probe @ (Probe::Http { .. } | Probe::Grpc { .. } | Probe::Tcp) => probe.clone(),
        };
        match probe::run(driver, &argv, target, self.health.timeout).await {
            ProbeOutcome::Fail(failure) => ProbeResult::Failed(told(&failure)),
            ProbeOutcome::Pass { weight, .. } => {
                let passed = weight.map_or(ProbeResult::Passed, ProbeResult::Weighed);
                match self.port {
                    None => passed,
                    Some(port) => match probe::check_port(driver, &key, port).await {
                        ProbeOutcome::Pass { .. } => passed,
                        ProbeOutcome::Fail(failure) => ProbeResult::Failed(told(&failure)),
                    },
                }
            }
        }
    }
}

fn told(failure: &ProbeFailure) -> String {
    match &failure.body_excerpt {
        Some(body) => format!("{}: {}", failure.reason, body.trim_end()),
        None => failure.reason.clone(),
    }
}

/// A probe over the network needs no place to run in.
fn nowhere() -> StartSpec {
    StartSpec {
        argv: Vec::new(),
        env: Vec::new(),
        cwd: PathBuf::new(),
        identity: None,
        rlimits: Vec::new(),
        limits: Limits::default(),
    }
}
