//! What is written down, and what was.
//!
//! The state is a set of entries, each a JSON text under a key. Only entries that differ from
//! what was written are written again. What only this life of the worker knows (probes asked
//! for, figures, waits) is in none of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fleet::Fleet;
use model::{
    Command, InstanceId, JobKind, Policy, Release, ReleaseId, RolloutId, ServiceName, Time,
};
use rollout::{JobState, Plan, Target};
use serde::{Deserialize, Serialize};

use crate::Effect;
use crate::batch::Replies;
use crate::state::{Core, Placed, Running, Server, Service, State};

/// A failed write is tried again after this time.
const RETRY: std::time::Duration = std::time::Duration::from_secs(1);

/// The key of what concerns no single service.
pub(crate) const SERVER: &str = "server";

/// Entries by key; `None`: remove.
pub(crate) type Entries = BTreeMap<String, Option<String>>;

/// What was written, and what is being written.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    pub(crate) batch: u64,
    pub(crate) durable: BTreeMap<String, String>,
    pub(crate) in_flight: Option<InFlight>,
    pub(crate) failing: Option<Failing>,
    seen: Seen,
}

/// A batch whose answer is the next event.
#[derive(Debug)]
pub(crate) struct InFlight {
    pub(crate) batch: u64,
    pub(crate) entries: Entries,
    /// Where to go back to when it is refused; `None`: it goes on all the same.
    pub(crate) undo: Option<Box<State>>,
    /// What it holds that depends on no entry: it is done whatever becomes of the journal.
    pub(crate) free: Vec<Effect>,
    /// What was answered in the same batch.
    pub(crate) replies: Replies,
    /// An abort in it: that is carried out all the same, without the rest.
    pub(crate) abort: Option<(u64, Command)>,
}

/// The last write failed.
#[derive(Debug)]
pub(crate) struct Failing {
    pub(crate) error: String,
    pub(crate) retry_at: Time,
    /// What could not be written: the same is not tried again before its time.
    pub(crate) entries: Entries,
}

/// The parts that the last look found, so that only changed ones are turned into text.
#[derive(Debug, Default)]
struct Seen {
    server: Option<Server>,
    services: BTreeMap<ServiceName, SeenService>,
}

#[derive(Debug, Clone)]
struct SeenService {
    core: Core,
    policy: Arc<Policy>,
    releases: BTreeMap<ReleaseId, Arc<Release>>,
    rollout: Option<(Arc<Plan>, RolloutEntry)>,
    fleet: Fleet,
    places: Vec<PlaceEntry>,
}

/// What changes of a rollout, as it is journaled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RolloutEntry {
    pub(crate) state: rollout::State,
    pub(crate) target: Target,
    pub(crate) jobs: BTreeMap<JobKind, JobState>,
    pub(crate) partners: BTreeMap<ServiceName, RolloutId>,
    pub(crate) partner_failed: Option<String>,
}

/// Where an instance is, as it is journaled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PlaceEntry {
    pub(crate) release: ReleaseId,
    pub(crate) serial: u32,
    pub(crate) port: Option<u16>,
    pub(crate) cell: u32,
}

impl Journal {
    /// The entries that differ from what was written.
    pub(crate) fn changes(&mut self, state: &State) -> Entries {
        let mut out = Changes {
            durable: &self.durable,
            entries: Entries::new(),
        };
        if self.seen.server.as_ref() != Some(&state.server) {
            out.put(SERVER.to_owned(), &state.server);
            self.seen.server = Some(state.server.clone());
        }
        for (name, service) in &state.services {
            let seen = self.seen.services.get(name);
            if let Some(seen) = out.service(name, service, seen) {
                self.seen.services.insert(name.clone(), seen);
            }
        }
        let gone = self.seen.services.len() != state.services.len();
        if gone || self.seen.services.is_empty() {
            out.remove_services(state);
            let services = &mut self.seen.services;
            services.retain(|name, _| state.services.contains_key(name));
        }
        out.entries
    }

    /// A batch was written.
    pub(crate) fn written(&mut self, batch: u64) {
        let Some(in_flight) = self.in_flight.take_if(|flight| flight.batch == batch) else {
            return;
        };
        self.failing = None;
        for (key, text) in in_flight.entries {
            match text {
                Some(text) => self.durable.insert(key, text),
                None => self.durable.remove(&key),
            };
        }
    }

    /// A batch could not be written. Returns it, for what depended on it to be undone.
    pub(crate) fn refused(&mut self, batch: u64, error: String, now: Time) -> Option<InFlight> {
        let mut in_flight = self.in_flight.take_if(|flight| flight.batch == batch)?;
        self.failing = Some(Failing {
            error,
            retry_at: now.after(RETRY),
            entries: std::mem::take(&mut in_flight.entries),
        });
        self.seen = Seen::default();
        Some(in_flight)
    }

    /// Everything is written: once it is time to try again, it is taken to be possible. What
    /// waited for that is looked at again with the next event.
    pub(crate) fn nothing_owed(&mut self, now: Time) {
        self.failing.take_if(|failing| failing.retry_at <= now);
    }

    /// Why nothing may be begun now.
    pub(crate) fn withheld(&self, now: Time) -> Option<&str> {
        let failing = self.failing.as_ref().filter(|f| now < f.retry_at)?;
        Some(&failing.error)
    }

    /// Whether these are the entries that just failed, and it is too early to try again.
    pub(crate) fn is_too_early(&self, entries: &Entries, now: Time) -> bool {
        let failing = self.failing.as_ref();
        failing.is_some_and(|failing| now < failing.retry_at && failing.entries == *entries)
    }

    /// The next text is compared with what was written, whatever was seen before.
    pub(crate) fn look_afresh(&mut self) {
        self.seen = Seen::default();
    }
}

/// Collects what differs.
struct Changes<'a> {
    durable: &'a BTreeMap<String, String>,
    entries: Entries,
}

impl Changes<'_> {
    fn put(&mut self, key: String, part: &impl Serialize) {
        let text = serde_json::to_string(part).expect("every part of the state has a JSON form");
        if self.durable.get(&key) != Some(&text) {
            self.entries.insert(key, Some(text));
        }
    }

    /// What is there as long as a rollout runs.
    fn put_if(&mut self, key: String, part: Option<&impl Serialize>) {
        match part {
            Some(part) => self.put(key, part),
            None => self.remove(key),
        }
    }

    fn remove(&mut self, key: String) {
        if self.durable.contains_key(&key) {
            self.entries.insert(key, None);
        }
    }

    /// Writes what differs of one service; returns its parts when any was looked at afresh.
    fn service(
        &mut self,
        name: &ServiceName,
        service: &Service,
        seen: Option<&SeenService>,
    ) -> Option<SeenService> {
        let places = places(service);
        let rollout = service.running.as_ref().map(entry);
        let before = seen.and_then(|seen| seen.rollout.as_ref());
        let plan = service.running.as_ref().map(|r| &r.plan);
        let same_plan = match (before, plan) {
            (Some((before, _)), Some(plan)) => Arc::ptr_eq(before, plan),
            (None, None) => seen.is_some(),
            (Some(_), None) | (None, Some(_)) => false,
        };
        let same_rollout = same_plan && before.map(|(_, entry)| entry) == rollout.as_ref();
        let core = seen.is_some_and(|seen| seen.core == service.core);
        let policy = seen.is_some_and(|seen| Arc::ptr_eq(&seen.policy, &service.policy));
        let releases = seen.is_some_and(|seen| same_releases(&seen.releases, &service.releases));
        let fleet = seen.is_some_and(|seen| seen.fleet == service.fleet);
        let place = seen.is_some_and(|seen| seen.places == places);
        if core && policy && releases && fleet && place && same_rollout {
            return None;
        }
        if !core {
            self.put(format!("service/{name}"), &service.core);
        }
        if !policy {
            self.put(format!("policy/{name}"), &*service.policy);
        }
        if !releases {
            self.releases(name, service);
        }
        if !fleet {
            self.put(format!("fleet/{name}"), &service.fleet);
        }
        if !place {
            self.put(format!("place/{name}"), &places);
        }
        if !same_plan {
            self.put_if(format!("plan/{name}"), plan.map(AsRef::as_ref));
        }
        if !same_rollout {
            self.put_if(format!("rollout/{name}"), rollout.as_ref());
        }
        let plan = plan.cloned();
        Some(SeenService {
            core: service.core.clone(),
            policy: service.policy.clone(),
            releases: service.releases.clone(),
            rollout: plan.zip(rollout),
            fleet: service.fleet.clone(),
            places,
        })
    }

    fn releases(&mut self, name: &ServiceName, service: &Service) {
        for (id, release) in &service.releases {
            self.put(format!("release/{name}/{id}"), &**release);
        }
        let prefix = format!("release/{name}/");
        let written = self.durable.range(prefix.clone()..);
        let written = written.take_while(|(key, _)| key.starts_with(&prefix));
        let kept: BTreeSet<String> = service.releases.keys().map(ReleaseId::to_string).collect();
        let gone = written.filter(|(key, _)| !kept.contains(&key[prefix.len()..]));
        let gone: Vec<String> = gone.map(|(key, _)| key.clone()).collect();
        gone.into_iter().for_each(|key| self.remove(key));
    }

    /// Removes every entry of services that are no more.
    fn remove_services(&mut self, state: &State) {
        let of_service = |key: &str| {
            let (_, rest) = key.split_once('/')?;
            Some(
                rest.split_once('/')
                    .map_or(rest, |(name, _)| name)
                    .to_owned(),
            )
        };
        let known: BTreeSet<&str> = state.services.keys().map(ServiceName::as_str).collect();
        let gone = self
            .durable
            .keys()
            .filter(|key| of_service(key).is_some_and(|name| !known.contains(name.as_str())));
        let gone: Vec<String> = gone.cloned().collect();
        gone.into_iter().for_each(|key| self.remove(key));
    }
}

fn same_releases(
    a: &BTreeMap<ReleaseId, Arc<Release>>,
    b: &BTreeMap<ReleaseId, Arc<Release>>,
) -> bool {
    a.len() == b.len() && a.values().zip(b.values()).all(|(a, b)| Arc::ptr_eq(a, b))
}

fn entry(running: &Running) -> RolloutEntry {
    RolloutEntry {
        state: running.state.clone(),
        target: running.target.clone(),
        jobs: running.jobs.clone(),
        partners: running.partners.clone(),
        partner_failed: running.partner_failed.clone(),
    }
}

fn places(service: &Service) -> Vec<PlaceEntry> {
    let settled = service
        .places
        .iter()
        .filter(|(_, place)| !place.waits_for_port);
    let one = |(instance, place): (&InstanceId, &Placed)| PlaceEntry {
        release: instance.release,
        serial: instance.serial,
        port: place.port,
        cell: place.cell.0,
    };
    settled.map(one).collect()
}
