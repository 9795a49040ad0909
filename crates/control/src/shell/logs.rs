//! What instances and jobs print.

use model::{InstanceId, ReleaseId};
use runtime::Key;
use runtime::logs::{LogSource, LogTask};

use super::Shell;
use super::jobs::rollout_of;

/// Ended instances whose last lines stay in memory.
const ENDED_MAX: usize = 20;

/// Lines of one instance that are told as evidence.
pub(super) const EVIDENCE_LINES: usize = 20;

impl Shell {
    /// Reads a child's output from now on, if nobody here does yet.
    pub(super) async fn follow_logs(&mut self, key: &Key) -> Option<LogTask> {
        if self.followed.contains(key) {
            return None;
        }
        match self.driver.take_logs(key).await {
            Ok(pipes) => {
                self.followed.insert(key.clone());
                let source = self.log_source(key);
                Some(self.logs.attach(&source, pipes))
            }
            Err(error) => {
                tracing::warn!(%key, error = crate::chain(&error), "output is not read");
                None
            }
        }
    }

    fn log_source(&self, key: &Key) -> LogSource {
        let instance = key.as_str().to_owned();
        if let Ok(id) = instance.parse::<InstanceId>() {
            return LogSource {
                service: id.service.to_string(),
                release: id.release.to_string(),
                instance,
            };
        }
        let (service, release) = self.owner_of_job(key).unwrap_or_else(|| {
            let jobs = "jobs".to_owned();
            (jobs, String::new())
        });
        LogSource {
            service,
            release,
            instance,
        }
    }

    fn owner_of_job(&self, key: &Key) -> Option<(String, String)> {
        let rollout = rollout_of(key)?;
        let status = self.engine.status(self.clock.now());
        let service = status.services.iter().find(|service| {
            let running = service.rollout.as_ref();
            running.is_some_and(|running| running.rollout == rollout)
        })?;
        let to = service
            .rollout
            .as_ref()
            .map_or(ReleaseId(0), |running| running.to);
        Some((service.name.to_string(), to.to_string()))
    }

    /// Keeps the last lines of an ended instance or job for a while.
    pub(super) fn forget_logs(&mut self, key: &Key) {
        if !self.followed.remove(key) {
            return;
        }
        self.ended.push_back(key.to_string());
        while self.ended.len() > ENDED_MAX {
            if let Some(oldest) = self.ended.pop_front() {
                self.logs.forget(&oldest);
            }
        }
    }

    /// The last lines that an instance or a job wrote, oldest first.
    pub(super) fn last_lines(&self, instance: &str, lines: usize) -> Vec<String> {
        let tail = self.logs.tail(instance);
        let from = tail.len().saturating_sub(lines);
        tail[from..].iter().map(|line| line.text.clone()).collect()
    }
}
