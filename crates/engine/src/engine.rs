//! The loop: take in what happened, decide, write it down, act.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use fleet::InstanceState;
use model::{
    Command, DatabaseName, DatabasePolicy, Drain, Epoch, InstanceId, Policy, Refusal, Release,
    ReleaseId, Revision, RolloutId, ServiceName, Time,
};
use rollout::Plan;
use traffic::{Cell, Table};

use crate::advance::{CONFIRM_OVERDUE, Context};
use crate::batch::Batch;
use crate::journal::{InFlight, Journal};
use crate::place::Patience;
use crate::recover::RecoverError;
use crate::state::{Closing, Published, State};
use crate::{Effect, Event, IfRefused, command, pause, place, recover, schema, table, turn};

/// How often everything is looked at in one poll; a cascade longer than that goes on in the next.
const ROUNDS: u32 = 16;
/// A table that is not confirmed is published again so often.
const PUBLISH_AGAIN: std::time::Duration = CONFIRM_OVERDUE;
/// Before the supervisor's view has come it is asked for so often.
const OBSERVE_AGAIN: std::time::Duration = std::time::Duration::from_secs(1);
/// While everything is being stopped it is looked at so often.
const ENDING_LOOK: std::time::Duration = std::time::Duration::from_secs(1);
/// So many tables can each epoch publish: revisions begin at the epoch's own range, so that they
/// grow from worker to worker whatever could be written down.
const REVISIONS: u64 = 100_000_000;

/// All services of one server: their releases, rollouts, instances and routing.
#[derive(Debug)]
pub struct Engine {
    epoch: Epoch,
    pub(crate) state: State,
    pub(crate) journal: Journal,
    /// Whether the supervisor's view has come: nothing is decided before.
    pub(crate) observed: bool,
    /// When the view was asked for before it came.
    asked: Option<Time>,
    /// Since when everything is being stopped.
    pub(crate) ending: Option<Time>,
    ended: bool,
    pub(crate) now: Time,
    wake: Option<Time>,
}

/// Where an instance is: what only the engine gives out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Its port; `None` when it has none.
    pub port: Option<u16>,
    /// Its figures in the ledger.
    pub cell: Cell,
}

impl Engine {
    /// An engine without any state, for an empty journal.
    ///
    /// It decides nothing before the first [`Event::Children`].
    #[must_use]
    pub fn new(epoch: Epoch) -> Self {
        let mut state = State::default();
        state.published.table = Arc::new(Table {
            revision: Revision(epoch.0.saturating_mul(REVISIONS)),
            ..Table::default()
        });
        Self {
            epoch,
            state,
            journal: Journal::default(),
            observed: false,
            asked: None,
            ending: None,
            ended: false,
            now: Time::default(),
            wake: Some(Time::default()),
        }
    }

    /// Takes over what an earlier engine journaled.
    ///
    /// `epoch` must be greater than that of every earlier engine. Before the first
    /// [`Event::Children`] it does nothing but publish the routing again, on whatever event
    /// comes first. After a start of the supervisor itself the old routing leads nowhere:
    /// then its view must be the very first event.
    ///
    /// # Errors
    ///
    /// [`RecoverError`] when an entry is missing or cannot be read.
    pub fn recover(
        entries: &BTreeMap<String, String>,
        epoch: Epoch,
        now: Time,
    ) -> Result<Self, RecoverError> {
        let mut engine = Self::new(epoch);
        let floor = engine.state.published.revision();
        engine.state = recover::state(entries, floor, now)?;
        engine.journal.durable = entries.clone();
        engine.now = now;
        engine.wake = Some(now);
        Ok(engine)
    }

    /// Takes in one event and returns what to do, in order.
    ///
    /// `now` must never be smaller than in an earlier call, those to earlier engines of the same
    /// journal included.
    pub fn poll(&mut self, event: Event, now: Time) -> Vec<Effect> {
        self.now = self.now.max(now);
        let mut batch = Batch::default();
        if self.observed {
            // Its batch was carried out: another event has come.
            self.state.server.closing.clear();
        }
        let command = self.take_in(event, &mut batch);
        batch.settle_facts();
        if !self.observed {
            return self.start(command, batch);
        }
        let undo = self.state.clone();
        if let Some((id, command)) = command {
            let again = Some((id, command.clone()));
            // An abort only moves traffic back: it does not wait for the journal.
            let abort = matches!(command, Command::Abort { .. });
            let answer = self.command(command, abort, &mut batch);
            batch.forward |= answer.is_ok() && !abort;
            batch.abort = again.filter(|_| abort);
            batch.replies.push((id, answer));
        }
        self.decide(&mut batch);
        let failing = self.journal.failing.is_some();
        let effects = self.commit(batch, undo);
        self.wake = self.next_wake();
        if failing && self.journal.failing.is_none() {
            // What waited for the journal need not wait any more.
            self.wake = Some(Time(self.now.0 + 1));
        }
        effects
    }

    /// The next time at which time alone changes something: [`Event::Tick`] is due then.
    #[must_use]
    pub fn wake(&self) -> Option<Time> {
        self.wake
    }

    /// Where an instance is, until it is forgotten.
    #[must_use]
    pub fn place(&self, instance: &InstanceId) -> Option<Place> {
        let service = self.state.services.get(&instance.service)?;
        let place = service.places.get(instance)?;
        (!place.waits_for_port).then_some(Place {
            port: place.port,
            cell: place.cell,
        })
    }

    /// How long a drained instance has until what is open at it is cut, by what it is; `None` if
    /// it is not drained.
    #[must_use]
    pub fn drain_left(&self, instance: &InstanceId, now: Time) -> Option<Drain> {
        let service = self.state.services.get(&instance.service)?;
        let release = service.releases.get(&instance.release)?;
        let views = service.fleet.views();
        let view = views.iter().find(|view| view.instance == *instance)?;
        let InstanceState::Draining { since, .. } = view.state else {
            return None;
        };
        Some(release.spec.drains().after(now.since(since)))
    }

    /// How long draining and stopping everything that runs may take, were the server to end now.
    #[must_use]
    pub fn ending_within(&self) -> Duration {
        let one = |service: &crate::state::Service| {
            let running = service.fleet.releases();
            let policies = running.iter().filter_map(|id| service.policies.get(id));
            let spans = policies.map(|policy| policy.drain.saturating_add(policy.stop.grace));
            spans.max().unwrap_or_default()
        };
        let longest = self.state.services.values().map(one).max();
        longest.unwrap_or_default().saturating_add(CONFIRM_OVERDUE)
    }

    /// A release that is kept.
    #[must_use]
    pub fn release(&self, service: &ServiceName, release: ReleaseId) -> Option<&Release> {
        let service = self.state.services.get(service)?;
        service.releases.get(&release).map(AsRef::as_ref)
    }

    /// The policy in force.
    #[must_use]
    pub fn policy(&self, service: &ServiceName) -> Option<&Policy> {
        self.state.services.get(service).map(|s| &*s.policy)
    }

    /// How a database's migrations are run.
    #[must_use]
    pub fn database_policy(&self, database: &DatabaseName) -> Option<&DatabasePolicy> {
        let known = self.state.server.databases.get(database);
        known.map(|known| &known.policy)
    }

    /// The databases that services name, each with a release that knows where it is.
    #[must_use]
    pub fn databases(&self) -> Vec<(DatabaseName, (ServiceName, ReleaseId))> {
        schema::addresses(&self.state)
    }

    /// The plan of a rollout that runs.
    #[must_use]
    pub fn plan(&self, rollout: RolloutId) -> Option<&Plan> {
        let mut running = self
            .state
            .services
            .values()
            .filter_map(|s| s.running.as_ref());
        running
            .find(|running| running.plan.rollout == rollout)
            .map(|running| &*running.plan)
    }

    /// Releases that may not be removed from the store: the active and the previous one, those
    /// of a rollout, and those that still run.
    #[must_use]
    pub fn in_use(&self, service: &ServiceName) -> BTreeSet<ReleaseId> {
        let service = self.state.services.get(service);
        service.map(|service| service.in_use()).unwrap_or_default()
    }

    /// Before the supervisor's view is known: only the routing of before is published again.
    fn start(&mut self, command: Option<(u64, Command)>, mut batch: Batch) -> Vec<Effect> {
        if let Some((id, _)) = command {
            let reason = "the server is starting; try again in a moment".to_owned();
            batch.replies.push((id, Err(Refusal::NotNow { reason })));
        }
        let again = |at: Time| at.after(OBSERVE_AGAIN);
        if self.asked.is_none_or(|at| again(at) <= self.now) {
            batch.observe = true;
            if self.asked.is_none() && !self.state.services.is_empty() {
                self.route(&mut batch);
            }
            self.asked = Some(self.now);
        }
        self.wake = self.asked.map(again);
        batch.into_effects(None)
    }

    fn command(&mut self, command: Command, abort: bool, batch: &mut Batch) -> command::Answer {
        if self.ending.is_some() {
            let reason = "the server is ending".to_owned();
            return Err(Refusal::NotNow { reason });
        }
        if let Some(error) = self.journal.withheld(self.now)
            && !abort
        {
            let error = error.to_owned();
            return Err(Refusal::Journal { error });
        }
        command::run(&mut self.state, command, self.now, batch)
    }

    fn decide(&mut self, batch: &mut Batch) {
        if self.ending.is_some() {
            let reason = "the server was told to end";
            turn::end_all(&mut self.state, reason, batch);
        } else if self.journal.withheld(self.now).is_none() {
            turn::give_way(&mut self.state, self.now, batch);
            turn::begin_queued(&mut self.state, self.now, batch);
        }
        pause::settle(&mut self.state, (self.now, self.ending.is_some()), batch);
        for _ in 0..ROUNDS {
            if !self.round(batch) {
                break;
            }
        }
        for service in self.state.services.values_mut() {
            if self.ending.is_none() {
                service.ask(self.now, batch);
            }
            service.alert(batch);
        }
        if self.ending.is_none() && self.journal.withheld(self.now).is_none() {
            schema::settle(&mut self.state, self.now, batch);
        }
        let patience = self.patience();
        place::settle(&mut self.state, patience, batch);
        let forgotten =
            |s: &crate::state::Service| s.core.pruned && s.fleet.is_empty() && s.places.is_empty();
        self.state.services.retain(|_, service| !forgotten(service));
        self.route(batch);
        let mut all = self.state.services.values();
        let stopped = all.all(|s| s.fleet.is_empty() && s.places.is_empty());
        if self.ending.is_some() && stopped && !self.ended {
            self.ended = true;
            batch.terminated = true;
        }
    }

    /// How long what is on its way out is waited for: when the server ends, not much longer
    /// than the drain limit. It counts from the table that takes it out, which may come long
    /// after the server was told: nothing is taken out before what runs is known.
    fn patience(&self) -> Patience {
        let releases = self
            .state
            .services
            .values()
            .flat_map(|s| s.releases.values());
        let drain = releases.map(|release| release.spec.drain).max();
        let bound = drain.unwrap_or_default() + CONFIRM_OVERDUE;
        let since = self.ending.map(|told| told.max(self.state.published.since));
        if since.is_some_and(|at| at.after(bound) <= self.now) {
            Patience::None
        } else if self.journal.failing.is_some() {
            Patience::Written
        } else {
            Patience::Confirmed
        }
    }

    /// Lets every rollout and every fleet act once. Returns whether anything changed.
    fn round(&mut self, batch: &mut Batch) -> bool {
        let published = self.state.published.clone();
        let withheld = self.journal.withheld(self.now).map(str::to_owned);
        let context = Context {
            now: self.now,
            ending: self.ending.is_some(),
            patience: self.patience(),
            published: &published,
            withheld: withheld.as_deref(),
        };
        let mut changed = false;
        let mut ends: Vec<Closing> = Vec::new();
        let names: Vec<ServiceName> = self.state.services.keys().cloned().collect();
        for name in &names {
            let Some(service) = self.state.services.get(name) else {
                continue;
            };
            let peers = turn::peers(&self.state, service);
            let Some(service) = self.state.services.get_mut(name) else {
                continue;
            };
            let (moved, end) = service.step(peers, &context, batch);
            changed |= moved;
            if let Some(end) = end {
                service.finish(end.ended.outcome);
                ends.push(end);
            }
            changed |= service.converge(&context, batch);
        }
        for end in ends {
            turn::close(&mut self.state, end, batch);
        }
        changed
    }

    /// Publishes a table when what should be routed has changed, or again when nobody confirms.
    fn route(&mut self, batch: &mut Batch) {
        let draft = table::draft(&self.state);
        let published = &self.state.published;
        let same = draft.table == *published.table && draft.audiences == *published.audiences;
        let nothing = !published.any && self.state.server.http.is_none();
        if nothing || (same && published.any) {
            table::note_splits(&mut self.state);
            return self.publish_again(batch);
        }
        let next = Revision(published.revision().0 + 1);
        table::adopt(&mut self.state, draft, next);
        table::note_splits(&mut self.state);
        let published = &mut self.state.published;
        published.any = true;
        published.since = self.now;
        publish(published, self.now, batch);
    }

    fn publish_again(&mut self, batch: &mut Batch) {
        let published = &mut self.state.published;
        let due = published.at.after(PUBLISH_AGAIN) <= self.now;
        if published.any && !published.is_confirmed() && due {
            publish(published, self.now, batch);
        }
    }

    /// Puts the journal entry before everything that depends on it.
    fn commit(&mut self, batch: Batch, undo: State) -> Vec<Effect> {
        let entries = self.journal.changes(&self.state);
        if entries.is_empty() {
            self.journal.nothing_owed(self.now);
            return batch.into_effects(None);
        }
        if self.journal.is_too_early(&entries, self.now) {
            self.journal.look_afresh();
            return batch.into_effects(None);
        }
        let if_refused = if batch.forward {
            IfRefused::Stop
        } else {
            IfRefused::Continue
        };
        self.journal.batch += 1;
        let number = self.journal.batch;
        self.journal.in_flight = Some(InFlight {
            batch: number,
            entries: entries.clone(),
            undo: batch.forward.then(|| Box::new(undo)),
            replies: batch.replies.clone(),
            free: batch.free.clone(),
            abort: batch.abort.clone(),
        });
        batch.into_effects(Some(Effect::Journal {
            batch: number,
            epoch: self.epoch,
            entries,
            if_refused,
        }))
    }

    fn next_wake(&self) -> Option<Time> {
        let mut times: Vec<Time> = Vec::new();
        for service in self.state.services.values() {
            times.extend(service.fleet.wake(&service.policies, self.now));
            times.extend(service.core.pause.map(|pause| pause.until));
            if let Some(running) = service.running.as_ref().filter(|_| self.ending.is_none()) {
                times.extend(running.wake);
                times.extend(service.ask_at());
            }
        }
        if self.ending.is_none() && self.journal.withheld(self.now).is_none() {
            times.extend(schema::wakes(&self.state, self.now));
        }
        let published = &self.state.published;
        if published.any && !published.is_confirmed() {
            times.push(published.at.after(PUBLISH_AGAIN));
        }
        times.extend(
            self.journal
                .failing
                .as_ref()
                .map(|failing| failing.retry_at),
        );
        times.extend(
            self.ending
                .filter(|_| !self.ended)
                .map(|_| self.now.after(ENDING_LOOK)),
        );
        let begins_now = |s: &crate::state::Service| {
            let queued = s.core.queued.as_ref();
            let turn = queued.is_some_and(|q| q.waits.is_empty() || q.failed.is_some());
            turn && s.running.is_none()
        };
        if self.journal.failing.is_none() && self.state.services.values().any(begins_now) {
            times.push(self.now);
        }
        let next = Time(self.now.0 + 1);
        times.into_iter().min().map(|at| at.max(next))
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }
}

fn publish(published: &mut Published, now: Time, batch: &mut Batch) {
    published.at = now;
    batch.publish = Some(Effect::Publish {
        table: (*published.table).clone(),
        audiences: (*published.audiences).clone(),
    });
}
