//! Control as the API sees it.

mod artifacts;
mod secrets;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use model::{Command, Receipt, RolloutId, ServiceName};
use tokio::sync::{RwLock, broadcast, mpsc, oneshot, watch};

use crate::api::{
    Accepted, AuditList, Code, DeployRequest, Deployed, DoctorFacts, Explained, Failure, History,
    Planned, ReleaseList, StatusAnswer, UpgradeView,
};
use crate::shell::{Intake, Message, Shell};
use crate::store::EventRow;

/// How long control may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Asks control; clones ask the same one. Its calls may come from any thread.
#[derive(Clone)]
pub struct Handle {
    inbox: mpsc::UnboundedSender<Message>,
    news: broadcast::Sender<EventRow>,
    changed: watch::Receiver<u64>,
    artifacts: Arc<runtime::artifact::Store>,
    uploads: Arc<RwLock<()>>,
    logs: runtime::logs::Logs,
    access_log: Arc<Path>,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}

type Channels = (
    mpsc::UnboundedSender<Message>,
    broadcast::Sender<EventRow>,
    watch::Receiver<u64>,
);

impl Handle {
    pub(crate) fn new(
        (inbox, news, changed): Channels,
        (artifacts, uploads): (Arc<runtime::artifact::Store>, Arc<RwLock<()>>),
        (logs, access_log): (runtime::logs::Logs, Arc<Path>),
    ) -> Self {
        Self {
            inbox,
            news,
            changed,
            artifacts,
            uploads,
            logs,
            access_log,
        }
    }

    async fn answered<T>(answer: oneshot::Receiver<T>) -> Result<T, Failure> {
        match tokio::time::timeout(ANSWER_TIMEOUT, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(gone()),
            Err(_) => Err(Failure::new(
                Code::Unavailable,
                "the server did not answer in time",
            )),
        }
    }

    async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Shell) -> T + Send + 'static,
    ) -> Result<T, Failure> {
        let (told, answer) = oneshot::channel();
        let task = move |shell: &mut Shell| {
            // Whoever asked may be gone.
            let _ = told.send(work(shell));
        };
        let sent = self.inbox.send(Message::Task(Box::new(task)));
        sent.map_err(|_| gone())?;
        Self::answered(answer).await
    }

    /// The state as people see it.
    ///
    /// # Errors
    ///
    /// When control has ended, as with every question.
    pub async fn status(&self) -> Result<StatusAnswer, Failure> {
        self.ask(|shell| shell.status()).await
    }

    /// The newest `limit` rollouts of these services, or of all if none is named, newest first.
    ///
    /// # Errors
    ///
    /// When the database cannot be read.
    pub async fn history(
        &self,
        services: Vec<ServiceName>,
        limit: u32,
    ) -> Result<History, Failure> {
        self.ask(move |shell| shell.history(&services, limit))
            .await?
    }

    /// The receipt of a rollout.
    ///
    /// # Errors
    ///
    /// [`Code::NotFound`], or [`Code::Refused`] while it has not ended.
    pub async fn receipt(&self, rollout: RolloutId) -> Result<Receipt, Failure> {
        self.ask(move |shell| shell.receipt(rollout)).await?
    }

    /// Everything that is known of a rollout; `None`: of the newest.
    ///
    /// # Errors
    ///
    /// [`Code::NotFound`].
    pub async fn explain(&self, rollout: Option<RolloutId>) -> Result<Explained, Failure> {
        self.ask(move |shell| match rollout {
            Some(rollout) => shell.explain(rollout),
            None => shell
                .newest_rollout()
                .and_then(|newest| shell.explain(newest)),
        })
        .await?
    }

    /// The releases of a service.
    ///
    /// # Errors
    ///
    /// [`Code::NotFound`].
    pub async fn releases(&self, service: ServiceName) -> Result<ReleaseList, Failure> {
        self.ask(move |shell| shell.release_list(&service)).await?
    }

    /// What a deploy would do.
    ///
    /// # Errors
    ///
    /// [`Code::Invalid`] when the request names what the file does not have.
    pub async fn plan(&self, request: DeployRequest) -> Result<Planned, Failure> {
        self.ask(move |shell| shell.plan(&request)).await?
    }

    /// Takes in a deploy. The same `key` with the same request deploys once.
    ///
    /// # Errors
    ///
    /// Everything that a deploy can be refused for; nothing was rolled out then.
    pub async fn deploy(
        &self,
        request: DeployRequest,
        key: Option<String>,
        actor: String,
    ) -> Result<Deployed, Failure> {
        let (answer, answered) = oneshot::channel();
        let intake = Intake {
            request,
            key,
            actor,
            answer,
        };
        let task = move |shell: &mut Shell| shell.deploy(intake);
        let sent = self.inbox.send(Message::Task(Box::new(task)));
        sent.map_err(|_| gone())?;
        Self::answered(answered).await?
    }

    /// Carries out a person's command.
    ///
    /// # Errors
    ///
    /// Everything that the engine refuses it for.
    pub async fn command(&self, command: Command, actor: String) -> Result<Accepted, Failure> {
        let (told, answer) = oneshot::channel();
        let task = move |shell: &mut Shell| shell.commanded(command, actor, told);
        let sent = self.inbox.send(Message::Task(Box::new(task)));
        sent.map_err(|_| gone())?;
        Self::answered(answer).await?
    }

    /// Replaces the server by another binary, or by the one that is at the same path now.
    ///
    /// # Errors
    ///
    /// [`Code::Refused`] when it does not begin.
    pub async fn upgrade(
        &self,
        program: Option<String>,
        actor: String,
    ) -> Result<UpgradeView, Failure> {
        self.ask(move |shell| shell.upgrade(program.as_deref(), &actor))
            .await?
    }

    /// Notes how an upgrade ended that was told while nobody had control.
    ///
    /// # Errors
    ///
    /// When control has ended.
    pub async fn upgraded(&self, outcome: supervisor::UpgradeOutcome) -> Result<(), Failure> {
        self.ask(move |shell| shell.upgraded(outcome)).await
    }

    /// What is well with the server.
    ///
    /// # Errors
    ///
    /// When control has ended.
    pub async fn doctor(&self) -> Result<DoctorFacts, Failure> {
        self.ask(|shell| shell.doctor()).await
    }

    /// The newest entries of the audit.
    ///
    /// # Errors
    ///
    /// When the database cannot be read.
    pub async fn audit(&self, limit: u32) -> Result<AuditList, Failure> {
        self.ask(move |shell| shell.audit_list(limit)).await?
    }

    /// Notes a command that was refused before it reached control.
    pub async fn note_refused(&self, actor: String, command: String, error: Failure) {
        let noted = self.ask(move |shell| {
            let refused: Result<(), Failure> = Err(error);
            shell.audit(&actor, &command, &refused);
        });
        if noted.await.is_err() {
            tracing::warn!("a refused command is not in the audit");
        }
    }

    /// At most `limit` events after number `after`, oldest first.
    ///
    /// # Errors
    ///
    /// When the database cannot be read.
    pub async fn events_after(&self, after: i64, limit: u32) -> Result<Vec<EventRow>, Failure> {
        self.ask(move |shell| shell.events_after(after, limit))
            .await?
    }

    /// The number of the newest event.
    ///
    /// # Errors
    ///
    /// When the database cannot be read.
    pub async fn newest_event(&self) -> Result<i64, Failure> {
        self.ask(|shell| shell.newest_event()).await?
    }

    /// Events from now on.
    #[must_use]
    pub fn news(&self) -> broadcast::Receiver<EventRow> {
        self.news.subscribe()
    }

    /// Changes whenever the state may have.
    #[must_use]
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.changed.clone()
    }

    /// What instances print.
    #[must_use]
    pub fn logs(&self) -> &runtime::logs::Logs {
        &self.logs
    }

    /// The directory of the access log; it need not be there.
    #[must_use]
    pub fn access_log(&self) -> &Path {
        &self.access_log
    }

    /// The services that are known, for logs of all of them.
    ///
    /// # Errors
    ///
    /// When control has ended.
    pub async fn services(&self) -> Result<Vec<ServiceName>, Failure> {
        let status = self.status().await?;
        let services = status.engine.services.into_iter();
        Ok(services.map(|service| service.name).collect())
    }
}

fn gone() -> Failure {
    Failure::new(Code::Moved, "this worker no longer holds control").with_hint("ask again")
}
