//! What others did to databases: somebody may contract or abort a change by hand.

use std::sync::Arc;

use model::DatabaseName;

use super::{Message, Shell};
use crate::database::{DatabaseFailed, Standing};

impl Shell {
    /// Looks at the history of each database that nobody here is at work on.
    pub(super) fn look_at_databases(&mut self) {
        for (database, (service, release)) in self.engine.databases() {
            if self.working.is_busy(&database) || self.working.looking.contains(&database) {
                continue;
            }
            let release = self.engine.release(&service, release);
            let needed = release.and_then(|release| release.spec.database.clone());
            // A secret that is gone is told by whoever needs it.
            let Some(Ok(site)) = needed.map(|needed| self.site(&needed, None)) else {
                continue;
            };
            self.working.looking.insert(database.clone());
            let looked = self.working.databases.look(Arc::new(site));
            let (inbox, turns) = (self.inbox.clone(), self.working.turns);
            tokio::spawn(async move {
                let seen = looked.await;
                let done = move |shell: &mut Self| shell.looked(database, turns, seen);
                // Nobody listens once control has ended.
                let _ = inbox.send(Message::Task(Box::new(done)));
            });
        }
    }

    fn looked(
        &mut self,
        database: DatabaseName,
        turns: u64,
        seen: Result<Standing, DatabaseFailed>,
    ) {
        self.working.looking.remove(&database);
        if let Ok(standing) = &seen {
            let unconverted = standing.unconverted.clone();
            self.working
                .unconverted
                .insert(database.clone(), unconverted);
        }
        match seen {
            // What was begun or done here meanwhile is known better.
            Ok(_) if turns != self.working.turns => {}
            Ok(Standing {
                contracted, served, ..
            }) => {
                self.queue.push_back(engine::Event::SchemaSeen {
                    database,
                    contracted,
                    served,
                });
            }
            Err(failed) => tracing::debug!(%database, failed.reason, "the history is not seen"),
        }
    }
}
