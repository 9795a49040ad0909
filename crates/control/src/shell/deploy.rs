//! Taking in a deploy: everything is checked before anything is changed.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use model::{
    Command, DatabaseName, DatabasePolicy, Deploy, DeployService, Https, Port, Project, Release,
    ReleaseId, RolloutId, ServerConfig, Service, ServiceName, TcpEntrance,
};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use traffic::ListenerKind;

use super::Shell;
use super::answers::{Answer, store_failed};
use crate::api::{Code, DeployRequest, Deployed, Failure, VERSION};
use crate::clock::wall_ms;
use crate::digest;
use crate::store::Remembered;

/// What is kept of the newest accepted deploy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Accepted {
    pub(super) project: String,
    pub(super) http: SocketAddr,
    #[serde(default)]
    pub(super) https: Option<Https>,
    pub(super) keep_releases: u32,
    #[serde(default)]
    pub(super) ports: Option<(u16, u16)>,
}

const ACCEPTED: &str = "accepted";

/// One deploy that is being taken in.
pub(crate) struct Intake {
    pub(crate) request: DeployRequest,
    /// The key under which the same request may come again.
    pub(crate) key: Option<String>,
    pub(crate) actor: String,
    pub(crate) answer: oneshot::Sender<Result<Deployed, Failure>>,
}

/// What a deploy would roll out.
pub(super) struct Wanted {
    /// The releases of the services that were named.
    pub(super) releases: BTreeMap<ServiceName, Release>,
    /// Services that run but are gone from the file.
    pub(super) gone: Vec<ServiceName>,
}

impl Shell {
    pub(crate) fn deploy(&mut self, intake: Intake) {
        match self.known_answer(&intake) {
            Ok(Known::Answer(answer)) => {
                // Whoever asked may be gone.
                let _ = intake.answer.send(Ok(*answer));
            }
            Ok(Known::Begun(begun)) => self.begin_deploy(intake, begun),
            Err(error) => {
                self.audit(&intake.actor, &intake.spell(), &Err::<(), _>(error.clone()));
                let _ = intake.answer.send(Err(error));
            }
        }
    }

    /// What is known of the same request before.
    fn known_answer(&mut self, intake: &Intake) -> Result<Known, Failure> {
        let Some(key) = &intake.key else {
            return Ok(Known::Begun(Begun::Now));
        };
        if self.working_on.contains(key) {
            let text = "the same request is being worked on";
            return Err(Failure::new(Code::Refused, text).with_hint("ask again"));
        }
        let body = serde_json::to_vec(&intake.request);
        let body = body.map_err(|error| Failure::new(Code::Invalid, error.to_string()))?;
        let request = digest::of_bytes(&body);
        let remembered = self.store.remember(key, request.as_str(), wall_ms());
        match remembered.map_err(|error| store_failed(&error))? {
            Remembered::New => Ok(Known::Begun(Begun::Now)),
            Remembered::Same(None) => Ok(Known::Begun(Begun::Before)),
            Remembered::Same(Some(text)) => serde_json::from_str(&text)
                .map(|answer| Known::Answer(Box::new(answer)))
                .map_err(|error| Failure::new(Code::Internal, error.to_string())),
            Remembered::Other => Err(Failure::new(
                Code::Invalid,
                "another request came under this idempotency key",
            )),
        }
    }

    fn begin_deploy(&mut self, intake: Intake, begun: Begun) {
        self.taking_in += 1;
        let prepared = self.prepare_deploy(&intake.request);
        let finish = intake.finish(begun);
        match prepared {
            Err(error) => self.answer_deploy(finish, Err(error)),
            Ok((deploy, answer)) => {
                self.working_on.extend(finish.key.clone());
                let command = Command::Deploy(deploy);
                let then = move |shell: &mut Self, replied: Answer| {
                    shell.deploy_replied(finish, answer, replied);
                };
                self.command(command, Box::new(then));
            }
        }
    }

    /// Checks everything, then binds addresses and writes down releases.
    fn prepare_deploy(&mut self, request: &DeployRequest) -> Result<(Deploy, Deployed), Failure> {
        self.check_changeable()?;
        let wanted = self.wanted(request)?;
        self.check_wanted(request, &wanted)?;
        let project = &request.project;
        self.listen_for(&project.server)?;
        self.listen_for_tcp(project)?;
        let mut releases = wanted.releases;
        for release in releases.values_mut() {
            release.label = request.label.clone().or(release.label.take());
        }
        self.store
            .put_releases(&releases, wall_ms())
            .map_err(|error| store_failed(&error))?;
        let mut services = Vec::new();
        for (name, service) in &project.services {
            services.push(DeployService {
                service: name.clone(),
                policy: service.policy.clone(),
                internal: self.internal(name, service)?,
                release: releases.get(name).cloned(),
                force: request.force,
            });
        }
        let (gone, pruned) = match request.prune {
            true => (Vec::new(), wanted.gone),
            false => (wanted.gone, Vec::new()),
        };
        let deploy = Deploy {
            http: project.server.http,
            https: project.server.https.clone(),
            ports: project.server.ports,
            peers: project.server.peers.clone(),
            access_log: project.server.access_log,
            databases: policies(project),
            services,
            prune: pruned.clone(),
            supersede: request.supersede,
        };
        self.remember_accepted(project)?;
        let ids = releases
            .iter()
            .map(|(name, release)| (name.clone(), release.id));
        let answer = Deployed {
            v: VERSION,
            rollouts: BTreeMap::new(),
            releases: ids.collect::<BTreeMap<ServiceName, ReleaseId>>(),
            gone,
            pruned,
            started: self.stopped_on(&releases),
        };
        Ok((deploy, answer))
    }

    /// Services that a person stopped on just these releases.
    fn stopped_on(&self, releases: &BTreeMap<ServiceName, Release>) -> Vec<ServiceName> {
        let status = self.engine.status(self.clock.now());
        let stopped = status.services.into_iter().filter(|service| {
            let wanted = releases.get(&service.name).map(|release| release.id);
            service.stopped && wanted.is_some() && service.active == wanted
        });
        stopped.map(|service| service.name).collect()
    }

    /// Listens where the file says, before any table does.
    fn listen_for(&mut self, server: &ServerConfig) -> Result<(), Failure> {
        self.listen_as_told(server.http, ListenerKind::Http)
            .map_err(|error| not_bound(("[server]", "http"), server.http, &error))?;
        if let Some(https) = &server.https {
            self.listen_as_told(https.address, ListenerKind::Https)
                .map_err(|error| not_bound(("[server]", "https"), https.address, &error))?;
        }
        Ok(())
    }

    /// Listens where TCP services are to be reached.
    fn listen_for_tcp(&mut self, project: &Project) -> Result<(), Failure> {
        for (name, service) in &project.services {
            if let Some(TcpEntrance { address, .. }) = service.policy.tcp {
                let listened = self.listen_as_told(address, ListenerKind::Tcp);
                let table = format!("[service.{name}]");
                listened.map_err(|error| not_bound((&table, "tcp"), address, &error))?;
            }
        }
        Ok(())
    }

    fn internal(
        &mut self,
        name: &ServiceName,
        service: &Service,
    ) -> Result<Option<SocketAddr>, Failure> {
        if service.template.port == Port::None {
            return Ok(None);
        }
        let kind = match service.policy.tcp {
            Some(_) => ListenerKind::Tcp,
            None => ListenerKind::Internal,
        };
        let own = self.own_address(name, kind);
        own.map(Some).map_err(|error| {
            Failure::new(
                Code::Unavailable,
                format!("`{name}` gets no address of its own"),
            )
            .with_cause(error)
        })
    }

    /// The releases that the services named in the request would be on.
    pub(super) fn wanted(&self, request: &DeployRequest) -> Result<Wanted, Failure> {
        let versions = self.newest_versions()?;
        let mut releases = BTreeMap::new();
        for (name, artifact) in &request.artifacts {
            let Some(service) = request.project.services.get(name) else {
                let text = format!("the file has no service `{name}`");
                return Err(Failure::new(Code::Invalid, text));
            };
            let database = self.release_database(request, name)?;
            let content = (artifact.clone(), database);
            let release = self.release_for((name, &service.template), content, &versions);
            let release = release.map_err(|error| store_failed(&error))?;
            releases.insert(name.clone(), release);
        }
        let status = self.engine.status(self.clock.now());
        let running = status.services.into_iter().map(|service| service.name);
        let gone = running.filter(|name| !request.project.services.contains_key(name));
        Ok(Wanted {
            releases,
            gone: gone.collect(),
        })
    }

    fn remember_accepted(&mut self, project: &Project) -> Result<(), Failure> {
        let accepted = Accepted {
            project: project.name.clone(),
            http: project.server.http,
            https: project.server.https.clone(),
            keep_releases: project.server.keep_releases,
            ports: Some(project.server.ports),
        };
        let text = serde_json::to_string(&accepted).expect("an accepted deploy has text keys only");
        if self.store.meta(ACCEPTED).ok().flatten().as_ref() == Some(&text) {
            return Ok(());
        }
        let written = self.store.set_meta(ACCEPTED, &text);
        written.map_err(|error| store_failed(&error))
    }

    /// The newest deploy's project and server.
    pub(super) fn accepted(&self) -> Option<Accepted> {
        let text = self.store.meta(ACCEPTED).ok().flatten()?;
        serde_json::from_str(&text).ok()
    }

    fn deploy_replied(&mut self, finish: Finish, mut answer: Deployed, replied: Answer) {
        let replied = replied.or_else(|refusal| match finish.begun {
            Begun::Now => Err(refusal),
            Begun::Before => self.begun_before(&answer).ok_or(refusal),
        });
        let result = match replied {
            Ok(rollouts) => {
                answer.rollouts = rollouts;
                Ok(answer)
            }
            Err(refusal) => Err(self.refused(&refusal)),
        };
        self.answer_deploy(finish, result);
    }

    /// The rollouts that the same request began before its worker died, if they still run.
    fn begun_before(&self, answer: &Deployed) -> Option<BTreeMap<ServiceName, RolloutId>> {
        let status = self.engine.status(self.clock.now());
        let mut rollouts = BTreeMap::new();
        for (name, release) in &answer.releases {
            let service = status.services.iter().find(|own| own.name == *name)?;
            let running = service.rollout.as_ref().map(|on| (on.rollout, on.to));
            let queued = service.queued.as_ref().map(|on| (on.rollout, on.to));
            let own = [running, queued].into_iter().flatten();
            match own.into_iter().find(|(_, to)| to == release) {
                Some((rollout, _)) => {
                    rollouts.insert(name.clone(), rollout);
                }
                None if service.active == Some(*release) => {}
                None => return None,
            }
        }
        (!rollouts.is_empty()).then_some(rollouts)
    }

    fn answer_deploy(&mut self, finish: Finish, result: Result<Deployed, Failure>) {
        self.taking_in -= 1;
        if result.is_err() && self.taking_in == 0 && self.confirming.is_empty() {
            // Addresses that were bound for it alone.
            self.release_unused();
        }
        self.audit(&finish.actor, &finish.command, &result);
        if let Some(key) = &finish.key {
            self.working_on.remove(key);
            let text = result
                .as_ref()
                .ok()
                .map(|answer| serde_json::to_string(answer).expect("an answer has text keys only"));
            if let Err(error) = self.store.remember_answer(key, text.as_deref()) {
                tracing::warn!(error = error.chain(), "an answer is not remembered");
            }
        }
        // Whoever asked may be gone; the deploy is the server's.
        let _ = finish.answer.send(result);
    }
}

/// What is known of a request under its key.
enum Known {
    /// Its answer.
    Answer(Box<Deployed>),
    /// It is to be worked on.
    Begun(Begun),
}

/// Whether a worker that has died may have taken in the same request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Begun {
    Now,
    Before,
}

/// What is left of a deploy once its request was read.
struct Finish {
    begun: Begun,
    key: Option<String>,
    actor: String,
    command: String,
    answer: oneshot::Sender<Result<Deployed, Failure>>,
}

impl Intake {
    /// The words of the command, for the audit.
    fn spell(&self) -> String {
        let request = &self.request;
        let names: Vec<&str> = request.artifacts.keys().map(ServiceName::as_str).collect();
        let flags = [
            (request.force, " --force"),
            (request.supersede, " --supersede"),
            (request.prune, " --prune"),
        ];
        let flags = flags.iter().filter(|(on, _)| *on).map(|(_, flag)| *flag);
        format!("deploy {}{}", names.join(" "), flags.collect::<String>())
    }

    fn finish(self, begun: Begun) -> Finish {
        Finish {
            begun,
            command: self.spell(),
            key: self.key,
            actor: self.actor,
            answer: self.answer,
        }
    }
}

fn policies(project: &Project) -> BTreeMap<DatabaseName, DatabasePolicy> {
    let databases = project.databases.iter();
    databases
        .map(|(name, database)| (name.clone(), database.policy.clone()))
        .collect()
}

fn not_bound((table, key): (&str, &str), address: SocketAddr, error: &str) -> Failure {
    Failure::new(Code::Invalid, format!("cannot listen on {address}"))
        .with_cause(error)
        .with_hint(format!(
            "end what has the address, or set another `{key}` under {table}"
        ))
}
