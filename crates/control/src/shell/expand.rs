//! Bringing databases to the versions that rollouts need: once, however many wait for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use model::{
    DatabaseName, Digest, JobKind, ReleaseDatabase, ReleaseId, RolloutId, SchemaAccount,
    ServiceName,
};
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Message, Shell};
use crate::api::UnconvertedRows;
use crate::database::{Again, DatabaseFailed, Databases, Expansion, Followed, MigrationFile, Site};

/// The pause before something is tried again that others were in the way of.
const AGAIN: Duration = Duration::from_secs(1);

/// Work on databases; one piece at a time on each.
pub(super) struct Working {
    pub(super) databases: Arc<dyn Databases>,
    on: BTreeMap<DatabaseName, Work>,
    /// How much work was begun or ended: what was seen before that may be wrong by now.
    pub(super) turns: u64,
    /// The databases whose history is being looked at.
    pub(super) looking: BTreeSet<DatabaseName>,
    /// What was noted in their histories when they were looked at last.
    pub(super) unconverted: BTreeMap<DatabaseName, Vec<UnconvertedRows>>,
}

impl Working {
    pub(super) fn new(databases: Arc<dyn Databases>) -> Self {
        Self {
            databases,
            on: BTreeMap::new(),
            turns: 0,
            looking: BTreeSet::new(),
            unconverted: BTreeMap::new(),
        }
    }

    pub(super) fn is_busy(&self, database: &DatabaseName) -> bool {
        self.on.contains_key(database)
    }

    /// Notes that something other than bringing it to a version is done to a database; `None`
    /// when somebody is at work there. It is to stop once what is returned turns true.
    pub(super) fn begin(&mut self, database: &DatabaseName) -> Option<watch::Receiver<bool>> {
        if self.on.contains_key(database) {
            return None;
        }
        let (stop, stopped) = watch::channel(false);
        let work = Work {
            migrations: None,
            waiting: BTreeMap::new(),
            stop,
        };
        self.on.insert(database.clone(), work);
        self.turns += 1;
        Some(stopped)
    }

    pub(super) fn end(&mut self, database: &DatabaseName) {
        self.on.remove(database);
        self.turns += 1;
    }
}

/// Work on a database.
struct Work {
    /// The migrations that it is brought to; `None`: something else is done.
    migrations: Option<Digest>,
    /// The rollouts that wait for it, with their services.
    waiting: BTreeMap<RolloutId, ServiceName>,
    stop: watch::Sender<bool>,
}

impl Shell {
    /// Brings the database of a release to the version that it needs. Asked for again and again;
    /// what is under way is joined, and what stands in the way is waited for.
    pub(super) fn expand(
        &mut self,
        rollout: RolloutId,
        (service, release): (&ServiceName, ReleaseId),
    ) {
        let release = self.engine.release(service, release);
        let Some(needed) = release.and_then(|release| release.spec.database.clone()) else {
            self.expanded_for(rollout, Ok(()));
            return;
        };
        if let Some(work) = self.working.on.get_mut(&needed.name) {
            let same = work.migrations.as_ref() == Some(&needed.migrations);
            if same && !*work.stop.borrow() {
                work.waiting.insert(rollout, service.clone());
            }
            return;
        }
        let secret = release.and_then(|release| release.spec.secrets.get(&needed.url).copied());
        let prepared = self.site(&needed, secret.map(|secret| secret.version));
        let files = self.migration_files(&needed.name, &needed.migrations);
        match (prepared, files.map_err(|failure| failure.to_string())) {
            (Ok(site), Ok(files)) => {
                let (stop, stopped) = watch::channel(false);
                let work = Work {
                    migrations: Some(needed.migrations.clone()),
                    waiting: BTreeMap::from([(rollout, service.clone())]),
                    stop,
                };
                self.working.on.insert(needed.name.clone(), work);
                self.working.turns += 1;
                self.begin_expand(needed, (Arc::new(site), files.into()), stopped);
            }
            (Err(reason), _) | (_, Err(reason)) => self.expanded_for(rollout, Err(reason)),
        }
    }

    /// Where the database of a release is.
    pub(super) fn site(
        &self,
        needed: &ReleaseDatabase,
        version: Option<u32>,
    ) -> Result<Site, String> {
        let told = |error| crate::chain(&error);
        let newest = |name: &str| self.secrets.newest(&self.store, name).map_err(told);
        let program_url = match version {
            Some(version) => self
                .secrets
                .value(&self.store, &needed.url, version)
                .map_err(told),
            None => newest(&needed.url),
        }?;
        let policy = self.engine.database_policy(&needed.name).cloned();
        let policy = policy.ok_or_else(|| format!("there is no database `{}`", needed.name))?;
        let url = match &policy.migrate_url {
            Some(name) => newest(name)?,
            None => program_url.clone(),
        };
        let server = self.store.server_id();
        let server = server.map_err(|error| crate::chain(&error))?;
        Ok(Site {
            name: needed.name.clone(),
            url,
            program_url,
            search_path: needed.search_path,
            schema: needed.schema.clone(),
            server: (server, self.place()),
            policy,
        })
    }

    /// Where the state of this server is.
    fn place(&self) -> String {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        format!("{} on {}", self.state.display(), host.trim())
    }

    fn begin_expand(
        &self,
        needed: ReleaseDatabase,
        (site, files): (Arc<Site>, Arc<[MigrationFile]>),
        stop: watch::Receiver<bool>,
    ) {
        let (inbox, databases) = (self.inbox.clone(), Arc::clone(&self.working.databases));
        let followed = Followed {
            hear: self.hear(&needed.name),
            stop,
        };
        tokio::spawn(async move {
            let expansion = patiently(&*databases, (site, files), followed).await;
            let done = move |shell: &mut Self| shell.expanded(&needed, expansion);
            // Nobody listens once control has ended; the next worker asks again.
            let _ = inbox.send(Message::Task(Box::new(done)));
        });
    }

    /// Tells people of what goes on in a database, with every rollout that waits for it.
    pub(super) fn hear(&self, database: &DatabaseName) -> crate::database::Hear {
        let (inbox, database) = (self.inbox.clone(), database.clone());
        Arc::new(move |text: String| {
            let database = database.clone();
            let tell = move |shell: &mut Self| shell.tell_of(&database, &text);
            let _ = inbox.send(Message::Task(Box::new(tell)));
        })
    }

    fn tell_of(&mut self, database: &DatabaseName, text: &str) {
        let waiting = self
            .working
            .on
            .get(database)
            .map(|work| work.waiting.clone());
        for (rollout, service) in waiting.unwrap_or_default() {
            self.note(
                Some(rollout),
                &service,
                format!("database `{database}`: {text}"),
            );
        }
    }

    fn expanded(&mut self, needed: &ReleaseDatabase, expansion: Expansion) {
        let Some(work) = self.working.on.remove(&needed.name) else {
            return;
        };
        self.working.turns += 1;
        let Expansion { account, ended } = expansion;
        let written = ended.map_err(|failed| failed.reason).and_then(|own| {
            let key = own_path_key(&needed.name);
            self.store
                .set_meta(&key, &own)
                .map_err(|error| error.chain())
        });
        for rollout in work.waiting.into_keys() {
            self.note_schema(rollout, &account);
            self.expanded_for(rollout, written.clone());
        }
    }

    fn note_schema(&mut self, rollout: RolloutId, account: &SchemaAccount) {
        if let Some(open) = self.accounts.get_mut(&rollout) {
            open.note_schema(account.clone());
        }
    }

    fn expanded_for(&mut self, rollout: RolloutId, result: Result<(), String>) {
        let job = JobKind::Expand;
        self.queue.push_back(engine::Event::JobEnded {
            rollout,
            job,
            result,
        });
    }

    /// A rollout is over: what only it waited for is stopped. What was done of it stays, which
    /// the old release does not mind.
    pub(super) fn stop_waiting(&mut self, rollout: RolloutId) {
        for work in self.working.on.values_mut() {
            let waited = work.waiting.remove(&rollout).is_some();
            if waited && work.waiting.is_empty() {
                work.stop.send_replace(true);
            }
        }
    }

    /// Stops all work on databases: another worker carries it on.
    pub(super) fn stop_working(&self) {
        for work in self.working.on.values() {
            work.stop.send_replace(true);
        }
    }

    /// Where connections to a database look by themselves.
    pub(super) fn own_path(&self, database: &DatabaseName) -> Option<String> {
        self.store.meta(&own_path_key(database)).ok().flatten()
    }
}

fn own_path_key(database: &DatabaseName) -> String {
    format!("search_path/{database}")
}

/// Tries again, as long as the policy says, what others were in the way of.
async fn patiently(
    databases: &dyn Databases,
    (site, files): (Arc<Site>, Arc<[MigrationFile]>),
    followed: Followed,
) -> Expansion {
    let until = Instant::now() + site.policy.patience;
    let mut stop = followed.stop.clone();
    loop {
        let (site, files) = (Arc::clone(&site), Arc::clone(&files));
        let expansion = databases.expand(site, files, followed.clone()).await;
        let reason = match &expansion.ended {
            Err(DatabaseFailed {
                reason,
                again: Again::Later,
            }) if Instant::now() < until && !*stop.borrow() => reason.clone(),
            Ok(_) | Err(_) => return expansion,
        };
        (followed.hear)(format!("{reason}; it is tried again"));
        // A closed channel is the end of control.
        tokio::select! {
            () = tokio::time::sleep(AGAIN) => {}
            _ = stop.changed() => return expansion,
        }
    }
}
