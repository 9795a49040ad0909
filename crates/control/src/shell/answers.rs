//! Commands of people: sent to the engine, answered once, and noted in the audit.

use std::collections::BTreeMap;

use engine::{Event, ServiceStatus};
use model::{Command, Refusal, RolloutId, ServiceName};
use runtime::process::ServerState;
use tokio::sync::oneshot;

use super::{Shell, spell};
use crate::api::{Accepted, Code, Failure, VERSION};
use crate::clock::wall_ms;
use crate::store::{AuditEntry, StoreError};

/// What the engine answered.
pub(super) type Answer = Result<BTreeMap<ServiceName, RolloutId>, Refusal>;

/// What becomes of the engine's answer.
pub(super) type Pending = Box<dyn FnOnce(&mut Shell, Answer) + Send>;

impl Shell {
    /// Sends a command to the engine; `then` gets its answer.
    pub(super) fn command(&mut self, command: Command, then: Pending) {
        let id = self.next_command;
        self.next_command += 1;
        self.pending.insert(id, then);
        self.queue.push_back(Event::Command { id, command });
    }

    /// Carries out a person's command and answers once.
    pub(crate) fn commanded(
        &mut self,
        command: Command,
        actor: String,
        told: oneshot::Sender<Result<Accepted, Failure>>,
    ) {
        let spelled = spell(&command);
        let checked = self
            .check_changeable()
            .and_then(|()| self.check_secret(&command));
        if let Err(error) = checked {
            let refused = Err(error);
            self.audit(&actor, &spelled, &refused);
            // Whoever asked may be gone.
            let _ = told.send(refused);
            return;
        }
        let then = move |shell: &mut Self, answer: Answer| {
            let result = match answer {
                Ok(rollouts) => Ok(Accepted {
                    v: VERSION,
                    rollouts,
                }),
                Err(refusal) => Err(shell.refused(&refusal)),
            };
            shell.audit(&actor, &spelled, &result);
            let _ = told.send(result);
        };
        self.command(command, Box::new(then));
    }

    /// Refuses a pass whose secret nobody has set: it would let nobody in.
    fn check_secret(&self, command: &Command) -> Result<(), Failure> {
        let Command::Close { maintenance, .. } = command else {
            return Ok(());
        };
        let Some(pass) = &maintenance.pass else {
            return Ok(());
        };
        match self.secrets.newest(&self.store, &pass.secret) {
            Ok(_) => Ok(()),
            Err(error) => Err(Failure::new(
                Code::Invalid,
                "nobody could be let in with this header",
            )
            .with_cause(crate::chain(&error))
            .with_hint(format!("set it with `gapless secret set {}`", pass.secret))),
        }
    }

    pub(super) fn reply(&mut self, id: u64, answer: Answer) {
        if let Some(then) = self.pending.remove(&id) {
            then(self, answer);
        }
    }

    /// Refuses while nothing can be changed.
    pub(super) fn check_changeable(&self) -> Result<(), Failure> {
        let unavailable = |text: &str| Failure::new(Code::Unavailable, text);
        match *self.server_state.borrow() {
            ServerState::Serving => Ok(()),
            ServerState::Terminating => Err(unavailable("the server is ending")
                .with_hint("start it again with `gapless server`")),
            ServerState::Yielding => {
                Err(Failure::new(Code::Moved, "another worker takes control")
                    .with_hint("ask again"))
            }
            ServerState::SupervisorLost => Err(unavailable("the supervisor is dead")
                .with_cause("what runs goes on, but nothing can be changed")
                .with_hint("run `gapless server`: it takes over while the old worker serves")),
        }
    }

    /// Notes a command and its answer.
    pub(crate) fn audit<T>(&mut self, actor: &str, command: &str, result: &Result<T, Failure>) {
        let result = match result {
            Ok(_) => "accepted".to_owned(),
            Err(error) => format!("refused: {error}"),
        };
        let entry = AuditEntry {
            at_ms: wall_ms(),
            actor: actor.to_owned(),
            command: command.to_owned(),
            result,
        };
        if let Err(error) = self.store.append_audit(&entry) {
            tracing::warn!(command, error = error.chain(), "the audit is not written");
        }
    }

    /// The engine's refusal as people see it.
    pub(super) fn refused(&self, refusal: &Refusal) -> Failure {
        let error = |code| Failure::new(code, refusal.to_string());
        match refusal {
            Refusal::Active { service, rollout } => {
                let mut locked = error(Code::Locked).with_hint(format!(
                    "watch it with `gapless watch {service}`, or deploy with --supersede"
                ));
                locked.rollout = Some(rollout.0);
                locked.traffic = self.traffic_of(service);
                locked
            }
            Refusal::NoRollout { service } => {
                let mut refused = error(Code::Refused);
                refused.traffic = self.traffic_of(service);
                refused.with_hint("see `gapless status`")
            }
            Refusal::NotNow { .. } => error(Code::Refused),
            Refusal::NoService { .. } => error(Code::NotFound).with_hint(self.service_names()),
            Refusal::NoInstance { .. } => error(Code::NotFound).with_hint("see `gapless status`"),
            Refusal::NoRelease { service, .. } => {
                error(Code::NotFound).with_hint(format!("see `gapless history {service}`"))
            }
            Refusal::NoEarlier { .. } => error(Code::Refused),
            Refusal::NoDatabase { .. } => error(Code::NotFound).with_hint("see `gapless status`"),
            Refusal::Contracted {
                service,
                contracted,
                ..
            } => {
                let mut refused = error(Code::Refused).with_hint(format!(
                    "deploy a release that was made for `{contracted}` or a later version"
                ));
                refused.traffic = self.traffic_of(service);
                refused
            }
            Refusal::Journal { error: cause } => {
                Failure::new(Code::Unavailable, "nothing new is begun")
                    .with_cause(format!("the journal cannot be written: {cause}"))
                    .with_hint("traffic goes on; make room on the disk of the state directory, or mend it if it is read-only")
            }
            Refusal::Fenced { .. } => error(Code::Unavailable).with_hint("ask again"),
        }
    }

    fn service_names(&self) -> String {
        let services = self.engine.status(self.clock.now()).services;
        let names: Vec<&str> = services.iter().map(|s| s.name.as_str()).collect();
        match names.as_slice() {
            [] => "there is no service yet: run `gapless deploy`".to_owned(),
            names => format!("there is {}; see `gapless status`", names.join(", ")),
        }
    }

    /// Where a service's traffic is, in one line.
    pub(super) fn traffic_of(&self, service: &ServiceName) -> Option<String> {
        let status = self.engine.status(self.clock.now());
        let own = status.services.iter().find(|own| own.name == *service);
        own.map(traffic)
    }
}

fn traffic(service: &ServiceStatus) -> String {
    match (&service.rollout, service.active) {
        (Some(rollout), _) => match rollout.from {
            Some(from) => format!(
                "{} on `{from}`, {} on `{}`",
                rollout.share.rest(),
                rollout.share,
                rollout.to
            ),
            None => format!("{} on `{}`", rollout.share, rollout.to),
        },
        (None, Some(active)) => format!("100% on `{active}`"),
        (None, None) => "no release has any".to_owned(),
    }
}

/// A failure of the database as people see it.
pub(crate) fn store_failed(error: &StoreError) -> Failure {
    let what =
        |code| Failure::new(code, "the state cannot be read or written").with_cause(error.chain());
    match error {
        StoreError::Full | StoreError::ReadOnly => what(Code::Unavailable)
            .with_hint("traffic goes on; make room on the disk of the state directory, or mend it if it is read-only"),
        StoreError::Fenced { .. } => what(Code::Unavailable).with_hint("ask again"),
        StoreError::Io { .. } | StoreError::Sqlite { .. } if error.is_full() => {
            what(Code::Unavailable)
                .with_hint("traffic goes on; make room on the disk of the state directory, or mend it if it is read-only")
        }
        StoreError::Corrupt { .. }
        | StoreError::Newer { .. }
        | StoreError::Malformed { .. }
        | StoreError::Sqlite { .. }
        | StoreError::Io { .. } => what(Code::Internal),
    }
}
