//! One-off commands of a rollout: run once, as children of the supervisor.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use engine::Event;
use model::{Argv, JobKind, ReleaseId, RolloutId, ServiceName, Strategy};
use runtime::{Driver, DriverError, ExitStatus, Instance, Key};

use super::environment::{Role, Search};
use super::tool::Job;
use super::{Message, Shell};

/// The most lines of a failed job's output that are told with it.
const LINES_TOLD: usize = 20;

/// How long a job's output is waited for once it has ended.
const OUTPUT_TIMEOUT: Duration = Duration::from_millis(500);

fn job_key(rollout: RolloutId, job: JobKind) -> Key {
    Key::try_new(format!("job-{rollout}-{job}")).expect("a number and a word are a key")
}

impl Shell {
    pub(super) async fn run_job(
        &mut self,
        (rollout, job): (RolloutId, JobKind),
        (service, release): (ServiceName, ReleaseId),
        timeout: Duration,
    ) {
        if job == JobKind::Expand {
            return self.expand(rollout, (&service, release));
        }
        if !self.jobs.insert((rollout, job)) {
            return;
        }
        let asked = Job {
            rollout,
            job,
            service,
            release,
            timeout,
        };
        match self.changed_otherwise(&asked) {
            // One that an earlier worker began goes on.
            Some(changed) if matches!(self.store.job_is_known(rollout, job), Ok(false)) => {
                self.run_unless_open(asked, changed);
            }
            Some(_) | None => self.begin_job(asked).await,
        }
    }

    pub(super) async fn begin_job(&mut self, asked: Job) {
        let Job {
            rollout,
            job,
            service,
            release,
            timeout,
        } = asked;
        let begun = match self.store.begin_job(rollout, job) {
            Ok(true) => self.start_job((rollout, job), (&service, release)).await,
            Ok(false) => match self.store.job_result(rollout, job) {
                Ok(Some(result)) => Err(Ended::Known(result)),
                Ok(None) => Ok(()),
                Err(error) => Err(Ended::Fresh(error.chain())),
            },
            Err(error) => {
                // Nothing was run: it may be asked for again.
                self.jobs.remove(&(rollout, job));
                tracing::warn!(%rollout, %job, error = error.chain(), "a job is not begun");
                return;
            }
        };
        match begun {
            Ok(()) => self.wait_for_job((rollout, job), timeout).await,
            Err(Ended::Fresh(reason)) => self.job_ended(rollout, job, Err(reason)).await,
            Err(Ended::Known(result)) => self.tell_job(rollout, job, result),
        }
    }

    async fn start_job(
        &mut self,
        (rollout, job): (RolloutId, JobKind),
        (service, release): (&ServiceName, ReleaseId),
    ) -> Result<(), Ended> {
        let key = job_key(rollout, job);
        let argv = self.job_argv(rollout, job);
        let argv = argv.ok_or_else(|| Ended::Fresh("there is no such job".to_owned()))?;
        let extra = self.job_environment(service, release, job);
        let release = self.engine.release(service, release).cloned();
        let release = release.ok_or_else(|| Ended::Fresh("there is no such release".to_owned()))?;
        let role = Role {
            service,
            release: &release,
            name: key.as_str(),
            port: None,
            search: Search::Own,
            extra,
        };
        let start = self.start_of(&argv, &role).map_err(|error| match error {
            fleet::SpawnError::PortTaken { by } => Ended::Fresh(by),
            fleet::SpawnError::Unusable { reason } | fleet::SpawnError::Unavailable { reason } => {
                Ended::Fresh(reason)
            }
        })?;
        let started = self.driver.start(&key, &start.0).await;
        started
            .map(drop)
            .map_err(|error| Ended::Fresh(crate::chain(&error)))
    }

    pub(super) fn job_argv(&self, rollout: RolloutId, job: JobKind) -> Option<Argv> {
        let policy = &self.engine.plan(rollout)?.policy;
        match job {
            JobKind::Expand => None,
            JobKind::Before => policy.before.clone(),
            JobKind::After => policy.after.clone(),
            JobKind::Smoke => match &policy.strategy {
                Strategy::BlueGreen(blue) => blue.smoke.clone(),
                Strategy::Rolling { .. } | Strategy::Canary { .. } | Strategy::Recreate => None,
            },
        }
    }

    /// A smoke job learns where the new set can be reached.
    fn job_environment(
        &self,
        service: &ServiceName,
        release: ReleaseId,
        job: JobKind,
    ) -> BTreeMap<String, String> {
        if job != JobKind::Smoke {
            return BTreeMap::new();
        }
        let status = self.engine.status(self.clock.now());
        let own = status.services.into_iter().find(|own| own.name == *service);
        let instances = own.map(|own| own.instances).unwrap_or_default();
        let ready = instances.iter().find(|seen| {
            seen.instance.release == release
                && matches!(seen.state, fleet::InstanceState::Ready { .. })
        });
        let port = ready.and_then(|seen| seen.port);
        let scheme = self.scheme(service);
        let url = port.map(|port| format!("{scheme}://127.0.0.1:{port}"));
        let name = "GAPLESS_PREVIEW_URL".to_owned();
        url.map(|url| (name, url)).into_iter().collect()
    }

    async fn wait_for_job(&mut self, (rollout, job): (RolloutId, JobKind), timeout: Duration) {
        let key = job_key(rollout, job);
        let output = self.follow_logs(&key).await;
        let (driver, inbox) = (Arc::clone(&self.driver), self.inbox.clone());
        tokio::spawn(async move {
            let result = wait(&*driver, &key, timeout).await;
            if let Some(output) = output {
                // What it left behind may hold its output open.
                let _ = tokio::time::timeout(OUTPUT_TIMEOUT, output.ended()).await;
            }
            // Nobody listens once control has ended; the exit status is kept.
            let _ = inbox.send(Message::JobEnded(rollout, job, result));
        });
    }

    /// Remembers how a job ended, then forgets its process, then tells the engine.
    pub(super) async fn job_ended(
        &mut self,
        rollout: RolloutId,
        job: JobKind,
        result: Result<(), String>,
    ) {
        let key = job_key(rollout, job);
        let result = result.map_err(|reason| self.with_output(&key, reason));
        match self.store.end_job(rollout, job, &result) {
            Ok(()) => {
                // A job that was never started has nothing to forget.
                let _ = self.driver.acknowledge(&key).await;
                self.forget_logs(&key);
            }
            Err(error) => {
                tracing::warn!(%rollout, %job, error = error.chain(), "a job's end is not written");
            }
        }
        self.tell_job(rollout, job, result);
    }

    pub(super) fn tell_job(
        &mut self,
        rollout: RolloutId,
        job: JobKind,
        result: Result<(), String>,
    ) {
        self.jobs.remove(&(rollout, job));
        self.queue.push_back(Event::JobEnded {
            rollout,
            job,
            result,
        });
    }

    fn with_output(&self, key: &Key, reason: String) -> String {
        let lines = self.last_lines(key.as_str(), LINES_TOLD);
        if lines.is_empty() {
            return reason;
        }
        format!("{reason}; its last output: {}", lines.join(" | "))
    }

    /// A job that an earlier worker began goes on; its end is fetched when the engine asks
    /// again. One of a rollout that is over is ended.
    pub(super) fn job_listed(&self, child: &Instance) {
        let Some(rollout) = rollout_of(&child.key) else {
            return;
        };
        let begun_here = self.jobs.iter().any(|(own, _)| *own == rollout);
        if begun_here || self.engine.plan(rollout).is_some() {
            return;
        }
        let (driver, key) = (Arc::clone(&self.driver), child.key.clone());
        tokio::spawn(async move {
            let killed = driver.kill(&key).await;
            let waited = driver.wait(&key).await.map(drop);
            if let Err(error) = killed.and(waited).and(driver.acknowledge(&key).await) {
                tracing::warn!(%key, error = crate::chain(&error), "a job is left behind");
            }
        });
    }
}

/// The rollout that a job's key names.
pub(super) fn rollout_of(key: &Key) -> Option<RolloutId> {
    let (rollout, _) = key.as_str().strip_prefix("job-")?.split_once('-')?;
    rollout.parse().ok().map(RolloutId)
}

enum Ended {
    /// Just now: it is to be remembered.
    Fresh(String),
    /// Before, and remembered.
    Known(Result<(), String>),
}

async fn wait(driver: &dyn Driver, key: &Key, timeout: Duration) -> Result<(), String> {
    let told = |error: DriverError| match error {
        DriverError::UnknownKey => "the server stopped while it ran".to_owned(),
        error @ (DriverError::Start { .. }
        | DriverError::Refused(_)
        | DriverError::Lost
        | DriverError::Failed { .. }) => crate::chain(&error),
    };
    match tokio::time::timeout(timeout, driver.wait(key)).await {
        Ok(Ok(ExitStatus::Code { code: 0 })) => {
            // What it left running would outlive it.
            driver.kill(key).await.map_err(told)
        }
        Ok(Ok(status)) => Err(format!("it ended with {status}")),
        Ok(Err(error)) => Err(told(error)),
        Err(_) => {
            driver.kill(key).await.map_err(told)?;
            driver.wait(key).await.map_err(told)?;
            Err(format!("it did not end within {timeout:?} and was killed"))
        }
    }
}
