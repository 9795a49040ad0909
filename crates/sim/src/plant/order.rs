//! Bugs in what the engine makes of commands.

use std::collections::BTreeMap;
use std::time::Duration;

use engine::Event;
use model::{Command, Count, Deploy, OnNoData, Refusal, ServiceName, Strategy};

use super::{Plant, Planted};

impl Planted {
    /// The command that the engine hears instead.
    pub(super) fn order(&mut self, id: u64, command: Command) -> Option<Event> {
        let command = match command {
            Command::Deploy(deploy) => Command::Deploy(self.deploy(deploy)),
            Command::Abort { service } if self.is(Plant::AbortIgnored) => {
                self.yes(id, &service);
                Command::Promote {
                    service,
                    full: true,
                }
            }
            Command::Abort { .. } if self.is(Plant::AbortNeedsDisk) => {
                let error = "no space left on device".to_owned();
                self.answer = Some((id, Err(Refusal::Journal { error })));
                return Some(Event::Tick);
            }
            Command::Hold { service } if self.is(Plant::HoldIgnored) => {
                self.yes(id, &service);
                return Some(Event::Tick);
            }
            Command::Scale { .. } if self.is(Plant::ScaleIgnored) => {
                self.answer = Some((id, Ok(BTreeMap::new())));
                return Some(Event::Tick);
            }
            Command::Restart { .. } if self.is(Plant::RestartIgnored) => {
                self.answer = Some((id, Ok(BTreeMap::new())));
                return Some(Event::Tick);
            }
            Command::Close { .. } if self.is(Plant::CloseIgnored) => {
                self.answer = Some((id, Ok(BTreeMap::new())));
                return Some(Event::Tick);
            }
            Command::Pause { .. } if self.is(Plant::PauseIgnored) => {
                self.answer = Some((id, Ok(BTreeMap::new())));
                return Some(Event::Tick);
            }
            other @ (Command::Promote { .. }
            | Command::Hold { .. }
            | Command::Resume { .. }
            | Command::Approve { .. }
            | Command::Abort { .. }
            | Command::Rollback { .. }
            | Command::Scale { .. }
            | Command::Restart { .. }
            | Command::Pause { .. }
            | Command::PauseEnd { .. }
            | Command::Close { .. }
            | Command::Open { .. }
            | Command::Drain { .. }
            | Command::Contract { .. }
            | Command::Stop { .. }) => other,
        };
        Some(Event::Command { id, command })
    }

    /// Whatever comes of it, the answer is yes, if there is a rollout at all.
    fn yes(&mut self, id: u64, service: &ServiceName) {
        if let Some(rollout) = self.rollouts.get(service) {
            let rollouts = BTreeMap::from([(service.clone(), *rollout)]);
            self.answer = Some((id, Ok(rollouts)));
        } else {
            let service = service.clone();
            self.answer = Some((id, Err(Refusal::NoRollout { service })));
        }
    }

    /// A deploy with parts of it misread.
    fn deploy(&mut self, mut deploy: Deploy) -> Deploy {
        if self.is(Plant::SupersedesUnasked) {
            deploy.supersede = true;
        }
        for asked in &mut deploy.services {
            let policy = &mut asked.policy;
            let rollout = &mut policy.rollout;
            match self.plant {
                Some(Plant::MinReadyIgnored) => rollout.min_ready = Duration::ZERO,
                Some(Plant::OrderIgnored) => policy.after.clear(),
                Some(Plant::LockstepIgnored) => policy.lockstep = false,
                Some(Plant::ChecksIgnored) => rollout.checks.clear(),
                Some(Plant::NoDataPromotes) => rollout.on_no_data = OnNoData::Promote,
                Some(Plant::OneTooFew) => policy.replicas = policy.replicas.max(2) - 1,
                Some(_) | None => {}
            }
            match (self.plant, &mut rollout.strategy) {
                (
                    Some(Plant::MaxUnavailableIgnored),
                    Strategy::Rolling {
                        max_unavailable,
                        batch,
                        ..
                    },
                ) => {
                    *max_unavailable = Count::Absolute(policy.replicas);
                    *batch = None;
                }
                (Some(Plant::GatesIgnored), Strategy::BlueGreen(blue)) => blue.approve = false,
                (Some(Plant::GatesIgnored), Strategy::Canary { steps }) => {
                    steps.iter_mut().for_each(|step| step.approve = false);
                }
                (Some(Plant::StepsIgnored), Strategy::Canary { steps }) => {
                    steps
                        .iter_mut()
                        .for_each(|step| step.lasts = Duration::ZERO);
                }
                (
                    Some(_) | None,
                    Strategy::Rolling { .. }
                    | Strategy::BlueGreen(_)
                    | Strategy::Canary { .. }
                    | Strategy::Recreate,
                ) => {}
            }
            if let Some(release) = &mut asked.release {
                let spec = &mut release.spec;
                match self.plant {
                    Some(Plant::GraceIgnored) => spec.stop.grace = Duration::ZERO,
                    Some(Plant::DrainIgnored) => spec.drain = Duration::ZERO,
                    Some(Plant::RiseIgnored) => {
                        spec.health.iter_mut().for_each(|health| health.rise = 1);
                    }
                    Some(_) | None => {}
                }
            }
        }
        deploy
    }
}
