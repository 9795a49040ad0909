//! When what only older releases needed of a database may go, and who can no longer be returned to.
//!
//! A migration's contract removes what the versions before it needed. It is begun only when no
//! instance, rollout or active release of any service needs an older version, the time for a
//! rollback is over, and somebody said yes where that is asked for.

mod need;
mod seen;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::{DatabaseName, DatabasePolicy, Refusal, ReleaseId, RolloutId, ServiceName, Time};
use serde::{Deserialize, Serialize};

use crate::Effect;
use crate::batch::Batch;
use crate::command::{Answer, not_now};
use crate::event::{NotContracted, Removed};
use crate::state::State;
use crate::status::{ContractStatus, DatabaseStatus, VersionStatus};

pub(crate) use need::check;
use need::{Needed, Users, oldest};
pub(crate) use seen::{is_gone, seen};

/// A contract that has not ended is asked about again so often.
const AGAIN: Duration = Duration::from_secs(10);
/// A contract that failed is tried again after this time.
const RETRY: Duration = Duration::from_secs(10 * 60);

/// What is known of a database that services name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Database {
    pub(crate) policy: DatabasePolicy,
    /// The version that each service is on.
    #[serde(default)]
    pub(crate) settled: BTreeMap<ServiceName, Option<String>>,
    /// The versions that services came to and that are not contracted.
    #[serde(default)]
    pub(crate) versions: BTreeMap<String, Reached>,
    /// Releases that need an older version than this cannot run any more.
    #[serde(default)]
    pub(crate) floor: Option<String>,
    /// The newest release that each service had when that was decided: those up to it that were
    /// made for no version cannot run any more either.
    #[serde(default)]
    pub(crate) barred: BTreeMap<ServiceName, ReleaseId>,
    #[serde(default)]
    pub(crate) contract: Option<Contract>,
    /// The last contract, if it was refused before it removed anything: the way back is open.
    #[serde(default)]
    pub(crate) refused: Option<Refused>,
    /// Versions that services came to and that somebody took back by hand.
    #[serde(default)]
    pub(crate) gone: BTreeSet<String>,
}

/// A version that a service came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reached {
    /// When the last service came to it or past it.
    pub(crate) at: Time,
    pub(crate) approved: bool,
    /// Whether a person said that the time for a rollback is over.
    pub(crate) at_once: bool,
}

/// A contract that was begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Contract {
    pub(crate) version: String,
    /// When it failed last, and why.
    pub(crate) failed: Option<(Time, String)>,
    /// What was true before; `None` where an older Gapless began it.
    #[serde(default)]
    pub(crate) before: Option<Before>,
}

/// What a begun contract changes, as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Before {
    floor: Option<String>,
    versions: BTreeMap<String, Reached>,
    barred: BTreeMap<ServiceName, ReleaseId>,
}

/// A contract that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Refused {
    version: String,
    why: String,
    /// When it is tried again.
    again: Time,
}

impl Database {
    pub(crate) fn new(policy: DatabasePolicy) -> Self {
        Self {
            policy,
            settled: BTreeMap::new(),
            versions: BTreeMap::new(),
            floor: None,
            barred: BTreeMap::new(),
            contract: None,
            refused: None,
            gone: BTreeSet::new(),
        }
    }

    /// When the time for a rollback past `reached` is over.
    fn window_ends(&self, reached: Reached) -> Time {
        match reached.at_once {
            true => reached.at,
            false => reached.at.after(self.policy.contract_after),
        }
    }

    fn contract_status(&self) -> Option<ContractStatus> {
        let begun = self.contract.as_ref().map(|contract| ContractStatus {
            version: contract.version.clone(),
            failed: contract.failed.as_ref().map(|(_, why)| why.clone()),
        });
        let refused = self.refused.as_ref().map(|refused| ContractStatus {
            version: refused.version.clone(),
            failed: Some(refused.why.clone()),
        });
        begun.or(refused)
    }

    fn is_approved(&self, reached: Reached) -> bool {
        reached.approved || !self.policy.approve
    }

    /// A service is on a version now: what it came past may be contracted once nobody needs
    /// what was before.
    fn settle(&mut self, service: &ServiceName, version: Option<&str>, now: Time) {
        let before = self
            .settled
            .insert(service.clone(), version.map(str::to_owned));
        let before = before.flatten();
        let Some(version) = version.filter(|version| before.as_deref() < Some(*version)) else {
            return;
        };
        if self.floor.as_deref() >= Some(version) {
            return;
        }
        let reached = Reached {
            at: now,
            approved: false,
            at_once: false,
        };
        self.versions.entry(version.to_owned()).or_insert(reached);
        let passed = |known: &str| before.as_deref() < Some(known) && known <= version;
        for (_, known) in self.versions.iter_mut().filter(|(known, _)| passed(known)) {
            *known = reached;
        }
    }

    /// The newest version up to which everything may be contracted now: what a contract removes
    /// is what all versions before it needed.
    fn due(&self, oldest: &Needed, now: Time) -> Option<&String> {
        if self.refused.as_ref().is_some_and(|it| it.again > now) {
            return None;
        }
        let due = self.versions.iter().take_while(|(version, reached)| {
            oldest.allows(version)
                && self.is_approved(**reached)
                && self.window_ends(**reached) <= now
        });
        due.map(|(version, _)| version).last()
    }

    /// Takes in that the contract failed. Returns whether the way back is open again: it is where
    /// nothing was removed that was not gone before.
    fn withdraw(&mut self, (reason, removed): (&str, &Removed), now: Time) -> bool {
        let Some(contract) = &mut self.contract else {
            return false;
        };
        contract.failed = Some((now, reason.to_owned()));
        let Removed::Before(floor) = removed else {
            return false;
        };
        let Some(before) = contract.before.clone() else {
            return false;
        };
        if *floor >= Some(contract.version.clone()) {
            return false;
        }
        self.refused = Some(Refused {
            version: contract.version.clone(),
            why: reason.to_owned(),
            again: now.after(RETRY),
        });
        self.contract = None;
        let partly = *floor > before.floor;
        self.floor = before.floor.max(floor.clone());
        // What services came to meanwhile is known better than before.
        for (version, reached) in before.versions {
            if Some(&version) > self.floor.as_ref() {
                self.versions.entry(version).or_insert(reached);
            }
        }
        if !partly {
            self.barred = before.barred;
        }
        !partly
    }

    /// When the contract that was begun is to be asked for (again), if nothing needs what it
    /// removes; `None` when there is none.
    fn asks_at(&self, oldest: &Needed, asked: Option<Time>) -> Option<Time> {
        let contract = self.contract.as_ref()?;
        if !oldest.allows(&contract.version) {
            return None;
        }
        Some(match (&contract.failed, asked) {
            (Some((at, _)), _) => at.after(RETRY),
            (None, Some(asked)) => asked.after(AGAIN),
            (None, None) => Time(0),
        })
    }
}

/// When an approved contract begins, once nobody needs what was before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// When the time for a rollback is over.
    WindowOver,
    /// Without waiting for that.
    Now,
}

/// Approves the contract that waits.
pub(crate) fn approve(state: &mut State, name: &DatabaseName, when: When) -> Answer {
    let oldest = oldest(state, name);
    let Some(database) = state.server.databases.get_mut(name) else {
        return Err(Refusal::NoDatabase {
            database: name.clone(),
        });
    };
    if let Some(refused) = &mut database.refused {
        refused.again = Time(0);
    }
    if let Some(contract) = &mut database.contract {
        // What failed is tried again at once.
        contract.failed = contract.failed.take().map(|(_, why)| (Time(0), why));
        return Ok(BTreeMap::new());
    }
    if database.versions.is_empty() {
        return Err(not_now(format!(
            "nothing of database `{name}` waits for its contract"
        )));
    }
    let versions = database.versions.iter_mut();
    let mut allowed = versions
        .filter(|(version, _)| oldest.allows(version))
        .peekable();
    if allowed.peek().is_none() {
        return Err(not_now(oldest.sentence(name)));
    }
    for (_, reached) in allowed {
        reached.approved = true;
        reached.at_once |= when == When::Now;
    }
    Ok(BTreeMap::<ServiceName, RolloutId>::new())
}

/// Notes which versions services are on, and begins the contracts whose time has come.
pub(crate) fn settle(state: &mut State, now: Time, batch: &mut Batch) {
    let names: Vec<DatabaseName> = state.server.databases.keys().cloned().collect();
    for name in names {
        let users = Users::of(state, &name);
        note_settled(state, &users, now);
        let Some((service, release)) = users.address(state) else {
            continue;
        };
        let newest = users.newest_releases(state);
        let oldest = oldest(state, &name);
        let asked = state.contract_asked.get(&name).copied();
        let Some(database) = state.server.databases.get_mut(&name) else {
            continue;
        };
        let decided = database.contract.is_none();
        let Some(version) = begin(database, (&oldest, asked), now) else {
            continue;
        };
        if decided {
            database.barred.extend(newest);
            database.refused = None;
            batch.forward = true;
        }
        batch.acts.push(Effect::Contract {
            database: name.clone(),
            version,
            service,
            release,
        });
        state.contract_asked.insert(name, now);
    }
}

/// The version whose contract is to be asked for (again) now.
fn begin(
    database: &mut Database,
    (oldest, asked): (&Needed, Option<Time>),
    now: Time,
) -> Option<String> {
    if database.contract.is_none() {
        let version = database.due(oldest, now)?.clone();
        let before = Before {
            floor: database.floor.clone(),
            versions: database.versions.clone(),
            barred: database.barred.clone(),
        };
        // From here on nobody returns to before: this is written before anything is removed.
        database.floor = Some(version.clone());
        database.versions.retain(|known, _| *known > version);
        database.contract = Some(Contract {
            version,
            failed: None,
            before: Some(before),
        });
    }
    let due = database.asks_at(oldest, asked)? <= now;
    let contract = database.contract.as_mut().filter(|_| due)?;
    contract.failed = None;
    Some(contract.version.clone())
}

fn note_settled(state: &mut State, users: &Users, now: Time) {
    let Some(database) = state.server.databases.get_mut(users.database()) else {
        return;
    };
    for service in state.services.values() {
        let at_rest = service.running.is_none() && service.core.left.is_none();
        let active = service.core.active.and_then(|id| service.releases.get(&id));
        if let Some(active) = active.filter(|_| at_rest && users.has(service)) {
            let version = users.version(active);
            let known = database.settled.get(&service.name);
            if known.map(Option::as_deref) != Some(version) {
                database.settle(&service.name, version, now);
            }
        }
    }
}

/// A contract ended.
pub(crate) fn contracted(
    state: &mut State,
    (name, version): (&DatabaseName, &str),
    result: Result<(), NotContracted>,
    (now, batch): (Time, &mut Batch),
) {
    state.contract_asked.remove(name);
    let user = Users::of(state, name).address(state);
    let Some(database) = state.server.databases.get_mut(name) else {
        return;
    };
    if database
        .contract
        .as_ref()
        .is_none_or(|contract| contract.version != version)
    {
        return;
    }
    let text = match result {
        Ok(()) => {
            database.contract = None;
            format!(
                "database `{name}` is contracted up to `{version}`: releases made for less cannot be rolled back to"
            )
        }
        Err(NotContracted { reason, removed }) => {
            let back = match database.withdraw((&reason, &removed), now) {
                true => {
                    "; nothing that an older release needs was removed, so a rollback is possible"
                }
                false => "",
            };
            format!(
                "database `{name}` was not contracted up to `{version}`: {reason}{back}; it is tried again later, or now with `gapless migrate contract --database {name}`"
            )
        }
    };
    if let Some((service, _)) = user {
        batch.note(None, &service, text);
    }
}

/// When time alone changes something.
pub(crate) fn wakes(state: &State, now: Time) -> Vec<Time> {
    let mut times = Vec::new();
    for (name, database) in &state.server.databases {
        if Users::of(state, name).address(state).is_none() {
            continue;
        }
        let asked = state.contract_asked.get(name).copied();
        match database.contract {
            Some(_) => times.extend(database.asks_at(&oldest(state, name), asked)),
            None => {
                let versions = database.versions.values();
                let ends = versions.map(|reached| database.window_ends(*reached));
                let again = database.refused.iter().map(|refused| refused.again);
                times.extend(ends.chain(again).filter(|end| *end > now));
            }
        }
    }
    times
}

/// A release for each database that knows where it is.
pub(crate) fn addresses(state: &State) -> Vec<(DatabaseName, (ServiceName, ReleaseId))> {
    let names = state.server.databases.keys();
    let known =
        names.filter_map(|name| Some((name.clone(), Users::of(state, name).address(state)?)));
    known.collect()
}

/// The databases as people see them.
pub(crate) fn status(state: &State, now: Time) -> Vec<DatabaseStatus> {
    let one = |(name, database): (&DatabaseName, &Database)| {
        let oldest = oldest(state, name);
        let version = |(version, reached): (&String, &Reached)| VersionStatus {
            version: version.clone(),
            window_left_ms: millis(database.window_ends(*reached).since(now)),
            approved: database.is_approved(*reached),
            needed_before: (!oldest.allows(version)).then(|| oldest.sentence(name)),
        };
        DatabaseStatus {
            name: name.clone(),
            services: database.settled.clone(),
            contracted: database.floor.clone(),
            gone: database.gone.clone(),
            waiting: database.versions.iter().map(version).collect(),
            contract: database.contract_status(),
        }
    };
    state.server.databases.iter().map(one).collect()
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
