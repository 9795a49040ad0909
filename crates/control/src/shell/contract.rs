//! Removing what only older versions of a database needed.

use std::sync::Arc;

use engine::{NotContracted, Removed};
use model::{DatabaseName, ReleaseId, ServiceName};

use super::{Message, Shell};
use crate::database::{Again, ContractFailed, Followed};

impl Shell {
    /// Removes what only older versions of a database needed. Asked for again and again; what is
    /// under way is waited for.
    pub(super) fn contract(
        &mut self,
        (database, version): (DatabaseName, String),
        (service, release): (&ServiceName, ReleaseId),
    ) {
        // What a dead server began is in no state of the engine, and may be of any release.
        match self.host.leftovers() {
            Ok(0) => {}
            Ok(count) => {
                tracing::warn!(%database, processes = count, "not contracted yet: a dead server left processes running");
                return;
            }
            Err(error) => {
                tracing::warn!(%database, error, "not contracted yet: what a dead server left is not known");
                return;
            }
        }
        let release = self.engine.release(service, release);
        let needed = release.and_then(|release| release.spec.database.clone());
        let Some(needed) = needed.filter(|needed| needed.name == database) else {
            return;
        };
        let site = match self.site(&needed, None) {
            Ok(site) => Arc::new(site),
            Err(reason) => {
                let removed = Removed::Unknown;
                let failed = NotContracted { reason, removed };
                return self.contracted((database, version), Err(failed));
            }
        };
        let Some(stop) = self.working.begin(&database) else {
            return;
        };
        let hear = self.hear(&database);
        let followed = Followed { hear, stop };
        let (inbox, databases) = (self.inbox.clone(), Arc::clone(&self.working.databases));
        tokio::spawn(async move {
            let ended = databases.contract(site, version.clone(), followed).await;
            let done = move |shell: &mut Self| shell.contract_ended((database, version), ended);
            // Nobody listens once control has ended; the next worker asks again.
            let _ = inbox.send(Message::Task(Box::new(done)));
        });
    }

    fn contract_ended(
        &mut self,
        (database, version): (DatabaseName, String),
        ended: Result<(), ContractFailed>,
    ) {
        self.working.end(&database);
        match ended {
            Ok(()) => self.contracted((database, version), Ok(())),
            Err(ContractFailed { failed, removed }) => match failed.again {
                Again::Never => {
                    let reason = failed.reason;
                    let failed = NotContracted { reason, removed };
                    self.contracted((database, version), Err(failed));
                }
                // It is asked for again.
                Again::Later => tracing::warn!(%database, failed.reason, "not contracted yet"),
            },
        }
    }

    fn contracted(
        &mut self,
        (database, version): (DatabaseName, String),
        result: Result<(), NotContracted>,
    ) {
        self.queue.push_back(engine::Event::Contracted {
            database,
            version,
            result,
        });
    }
}
