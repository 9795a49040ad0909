//! What people say, and how they deal with what waits for them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use model::{
    Command, Deploy, DeployService, Maintenance, Peers, Port, Release, ReleaseId, ServiceName,
    WaitingOn,
};

use crate::check::ReleaseFacts;
use crate::policy::{self, Draft, Quality, ServiceSetup};
use crate::schedule::{Ask, DeployAsk};
use crate::world::World;

impl World<'_> {
    pub(crate) fn ask(&mut self, ask: &Ask) {
        let command = match ask {
            Ask::Deploy(deploy) => Command::Deploy(self.deploy(deploy)),
            Ask::Promote { service, full } => Command::Promote {
                service: self.name(*service),
                full: *full,
            },
            Ask::Hold { service } => Command::Hold {
                service: self.name(*service),
            },
            Ask::Resume { service } => Command::Resume {
                service: self.name(*service),
            },
            Ask::Approve { service } => Command::Approve {
                service: self.name(*service),
            },
            Ask::Abort { service } => Command::Abort {
                service: self.name(*service),
            },
            Ask::Rollback { service, back } => Command::Rollback {
                service: self.name(*service),
                release: back.map(ReleaseId),
            },
            Ask::Scale { service, replicas } => {
                let fixed = matches!(self.schedule.setup.services[*service].port, Port::Fixed(_));
                Command::Scale {
                    service: self.name(*service),
                    replicas: if fixed { 1 } else { *replicas },
                }
            }
            Ask::Restart { service } => Command::Restart {
                service: self.name(*service),
            },
            Ask::Drain { service, nth } => {
                let name = self.name(*service);
                let living = self.processes.iter();
                let living = living.filter(|(id, p)| id.service == name && p.lives());
                let living: Vec<_> = living.map(|(id, _)| id.clone()).collect();
                if living.is_empty() {
                    return;
                }
                Command::Drain {
                    instance: living[nth % living.len()].clone(),
                }
            }
            Ask::Pause { service, lasts } => Command::Pause {
                service: self.name(*service),
                lasts: Duration::from_millis(*lasts),
            },
            Ask::PauseEnd { service } => Command::PauseEnd {
                service: self.name(*service),
            },
            Ask::Close { service } => Command::Close {
                service: self.name(*service),
                maintenance: Maintenance {
                    retry_after_seconds: 30,
                    page: None,
                    pass: None,
                },
            },
            Ask::Open { service } => Command::Open {
                service: self.name(*service),
            },
            Ask::Stop { service } => Command::Stop {
                service: self.name(*service),
            },
        };
        self.order(command);
    }

    fn name(&self, service: usize) -> ServiceName {
        self.schedule.setup.services[service].name.clone()
    }

    fn deploy(&mut self, ask: &DeployAsk) -> Deploy {
        let services = ask.services.iter();
        let services = services.map(|(index, draft)| self.deploy_service(*index, draft));
        let services = services.collect();
        Deploy {
            http: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8_080),
            https: None,
            ports: (20_000, 20_039),
            peers: Peers::default(),
            access_log: None,
            databases: BTreeMap::from([(policy::database(), policy::migrations())]),
            services,
            prune: Vec::new(),
            supersede: ask.supersede,
        }
    }

    fn deploy_service(&mut self, index: usize, draft: &Draft) -> DeployService {
        let setup = &self.schedule.setup.services[index];
        let release = self.release(setup, draft);
        DeployService {
            service: setup.name.clone(),
            policy: draft.policy.clone(),
            internal: None,
            release: Some(release),
            force: draft.force,
        }
    }

    /// A release of this quality: a new one, or the newest once more.
    fn release(&mut self, setup: &ServiceSetup, draft: &Draft) -> Release {
        let own = self
            .qualities
            .iter()
            .filter(|((name, _), _)| *name == setup.name);
        let newest = own.map(|((_, id), (_, flavour))| (*id, *flavour)).max();
        if let (true, Some((id, flavour))) = (draft.same, newest) {
            return policy::release(setup, id, flavour);
        }
        let id = ReleaseId(newest.map_or(1, |(id, _)| id.0 + 1));
        let flavour = u64::from(id.0);
        let release = policy::release(setup, id, flavour);
        let key = (setup.name.clone(), id);
        self.qualities.insert(key, (draft.quality, flavour));
        let health = setup.health.as_ref();
        let hopeless = match draft.quality {
            Quality::Never => health.is_some(),
            Quality::Unusable => true,
            Quality::Good
            | Quality::Slow(_)
            | Quality::Crashes(_)
            | Quality::Errors
            | Quality::Differs
            | Quality::JobFails => false,
        };
        let facts = ReleaseFacts {
            digest: release.digest.clone(),
            has_port: setup.port != Port::None,
            fixed_port: matches!(setup.port, Port::Fixed(_)),
            rise: health.map_or(0, |health| health.rise),
            fall: health.map_or(u32::MAX, |health| health.fall),
            drain: setup.drain.as_millis() as u64,
            grace: setup.stop.grace.as_millis() as u64,
            hopeless,
            version: setup.tied.then(|| policy::version(id)),
        };
        self.model.release(&setup.name, id, facts);
        release
    }

    /// People deal with what waits for them: gates are approved, what is frozen goes on or is
    /// given up.
    pub(crate) fn help(&mut self) {
        let Some(engine) = &self.engine else {
            return;
        };
        let status = engine.status(model::Time(self.now));
        for service in status.services {
            let Some(rollout) = service.rollout else {
                continue;
            };
            let service = service.name;
            for wait in rollout.waiting_on {
                match wait {
                    WaitingOn::Gate { .. } => {
                        let service = service.clone();
                        self.order(Command::Approve { service });
                    }
                    WaitingOn::Held { .. } => {
                        self.resumes += 1;
                        let service = service.clone();
                        self.order(if self.resumes.is_multiple_of(3) {
                            Command::Abort { service }
                        } else {
                            Command::Resume { service }
                        });
                    }
                    WaitingOn::Ready { .. }
                    | WaitingOn::MinReady { .. }
                    | WaitingOn::Confirmed { .. }
                    | WaitingOn::Drain { .. }
                    | WaitingOn::Exit { .. }
                    | WaitingOn::Step { .. }
                    | WaitingOn::Verdict { .. }
                    | WaitingOn::Keep { .. }
                    | WaitingOn::Job { .. }
                    | WaitingOn::Services { .. }
                    | WaitingOn::Schema { .. }
                    | WaitingOn::Journal { .. } => {}
                }
            }
        }
    }
}
