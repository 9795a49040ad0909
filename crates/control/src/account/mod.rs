//! The account of a rollout while it runs, and the receipt that it becomes.
//!
//! An account is written down when it is opened and whenever something is noted in it, so that
//! the next worker goes on from there: totals in the ledger only grow, and what a dead worker
//! had open is counted there as killed.

mod figures;
mod lives;
mod receipt;
mod shadow;
mod tally;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use engine::ServiceStatus;
use ledger::{CellTotals, Ledger};
use model::{
    InstanceId, Latency, ReleaseId, RolloutId, SchemaAccount, ServiceName, Time, WaitingOn,
};
use rollout::Ended;
use serde::{Deserialize, Serialize};
use traffic::{Cell, ServiceTable};

use figures::ServiceFigures;
use lives::Lives;
use shadow::Shadows;
use tally::Tally;

pub(crate) use receipt::latency_of;

/// How long after its last action an account stays open.
pub(crate) const CLOSES_AFTER_MS: u64 = 1_000;

/// How often the ledger is read in search of a moment in which nothing changes.
const READS_MAX: u32 = 64;

/// How long after an account's end latency is measured.
pub(crate) const AFTER_MS: u64 = 30_000;

/// What is known of a rollout when its account is opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Opening {
    pub(crate) rollout: RolloutId,
    pub(crate) service: ServiceName,
    pub(crate) from: Option<ReleaseId>,
    /// Whether the old release had a ready instance.
    pub(crate) from_ready: bool,
    pub(crate) to: ReleaseId,
    pub(crate) label: Option<String>,
    pub(crate) strategy: String,
    pub(crate) began: Time,
    pub(crate) began_wall_ms: i64,
    pub(crate) before: Option<Latency>,
    pub(crate) gap_before_micros: Option<u64>,
}

/// The account of one rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Account {
    pub(crate) opening: Opening,
    tally: Tally,
    /// What came of copies, which is part of no other figure.
    #[serde(default)]
    shadows: Shadows,
    service: Watched<ServiceFigures>,
    /// Requests that had arrived and not ended, at the begin and at the last look.
    #[serde(default)]
    in_flight: InFlight,
    /// Whether a worker died meanwhile.
    #[serde(default)]
    worker_died: bool,
    killed_reading: Watched<u64>,
    refused: BTreeMap<String, Watched<u64>>,
    gap_micros: u64,
    gap_looked_micros: u64,
    first_cutover: Option<Time>,
    last_cutover: Option<Time>,
    waited_ms: BTreeMap<String, u64>,
    /// For how long the service was paused.
    #[serde(default)]
    paused_ms: u64,
    #[serde(default)]
    is_paused: bool,
    waiting_on: Vec<String>,
    waiting_since: Time,
    lives: Lives,
    /// What was done to the database.
    #[serde(default)]
    schema: Option<SchemaAccount>,
    pub(crate) closing: Option<Closing>,
    /// Whether something was noted that is not yet written down.
    #[serde(skip)]
    is_unwritten: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct InFlight {
    begin: u64,
    now: u64,
}

/// A total that only grows, and what came of it since the account was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Watched<T> {
    seen: Option<T>,
    sum: T,
}

/// How and when the rollout ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Closing {
    pub(crate) at: Time,
    pub(crate) ended: Ended,
    /// Set once the receipt is made: latency afterwards is counted from here.
    after: Option<After>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct After {
    since: Time,
    during: BTreeMap<usize, u32>,
}

impl Watched<u64> {
    fn look(&mut self, now: u64) {
        let seen = self.seen.replace(now).unwrap_or(now);
        // A smaller total is that of a new server's ledger.
        self.sum += now.checked_sub(seen).unwrap_or(now);
    }
}

impl Watched<ServiceFigures> {
    fn look(&mut self, now: ServiceFigures) {
        if let Some(seen) = &self.seen {
            self.sum.add(&now.since(seen));
        }
        self.seen = Some(now);
    }
}

/// Where an account looks.
pub(crate) struct Sources<'a> {
    pub(crate) ledger: &'a Ledger,
    /// The service's cell in the newest table, if it is in it.
    pub(crate) service: Option<Cell>,
    /// The kernel's drops at each address that leads to the service.
    pub(crate) drops: &'a [(String, u64)],
    /// Microseconds of the monotonic clock.
    pub(crate) micros: u64,
}

impl Account {
    /// Opens an account; `cells` are those of the service's instances.
    ///
    /// Requests come and go while the ledger is read. It is read again until none did; where they
    /// always do, the order of reading here and in [`Self::look`] sees to it that none of them
    /// looks as if nobody knew what became of it.
    pub(crate) fn open(
        opening: Opening,
        cells: &[(Cell, InstanceId)],
        sources: &Sources<'_>,
    ) -> Self {
        let moment = || moment(sources, cells.iter().map(|(cell, _)| *cell));
        for _ in 1..READS_MAX {
            let before = moment();
            let account = Self::open_once(opening.clone(), cells, sources);
            if moment() == before {
                return account;
            }
        }
        Self::open_once(opening, cells, sources)
    }

    fn open_once(opening: Opening, cells: &[(Cell, InstanceId)], sources: &Sources<'_>) -> Self {
        let began = opening.began;
        let mut account = Self {
            opening,
            tally: Tally::default(),
            shadows: Shadows::default(),
            service: Watched::default(),
            in_flight: InFlight::default(),
            worker_died: false,
            killed_reading: Watched::default(),
            refused: BTreeMap::new(),
            gap_micros: 0,
            gap_looked_micros: sources.micros,
            first_cutover: None,
            last_cutover: None,
            waited_ms: BTreeMap::new(),
            paused_ms: 0,
            is_paused: false,
            waiting_on: Vec::new(),
            waiting_since: began,
            lives: Lives::default(),
            schema: None,
            closing: None,
            is_unwritten: true,
        };
        for (cell, instance) in cells {
            let totals = (sources.ledger.cell(*cell), sources.ledger.copies(*cell));
            account.own(*cell, instance, (&totals.0, &totals.1));
        }
        let open: u64 = account
            .tally
            .cells()
            .map(|cell| sources.ledger.open_requests(cell))
            .sum();
        let waiting = sources
            .service
            .map_or(0, |cell| sources.ledger.waiting(cell));
        account.in_flight.begin = (open + waiting).saturating_sub(doubled(sources));
        account.look(sources);
        account
    }

    /// Gives a cell to an instance of the service; the totals are those of requests and of
    /// copies there.
    pub(crate) fn own(
        &mut self,
        cell: Cell,
        instance: &InstanceId,
        (totals, copies): (&CellTotals, &CellTotals),
    ) {
        let is_new = if instance.service == self.opening.service {
            self.shadows.copies.own(cell, instance, copies);
            self.tally.own(cell, instance, totals)
        } else {
            self.shadows.copies.disown(cell, copies);
            self.tally.disown(cell, totals)
        };
        self.is_unwritten |= is_new;
    }

    /// Whether something was noted since this was asked last.
    pub(crate) fn take_unwritten(&mut self) -> bool {
        std::mem::take(&mut self.is_unwritten)
    }

    /// Looks until nothing comes or goes meanwhile, so that the requests add up.
    pub(crate) fn look_exactly(&mut self, sources: &Sources<'_>) {
        for _ in 0..READS_MAX {
            let cells: Vec<Cell> = self.tally.cells().collect();
            let before = moment(sources, cells.iter().copied());
            self.look(sources);
            if moment(sources, cells.into_iter()) == before && self.unknown() == 0 {
                return;
            }
        }
    }

    /// Counts what came since the last look.
    pub(crate) fn look(&mut self, sources: &Sources<'_>) {
        if let Some(cell) = sources.service {
            let totals = sources.ledger.service(cell);
            self.service.look(ServiceFigures::of(&totals));
            // The monotonic clock begins anew with each boot.
            let from = self.gap_looked_micros.min(sources.micros);
            let gap = sources.ledger.longest_gap(cell, from, sources.micros);
            self.gap_micros = self.gap_micros.max(gap);
            self.gap_looked_micros = sources.micros;
        }
        let waiting = sources
            .service
            .map_or(0, |cell| sources.ledger.waiting(cell));
        let open: u64 = self
            .tally
            .cells()
            .map(|cell| sources.ledger.open_requests(cell))
            .sum();
        self.in_flight.now = (waiting + open).saturating_sub(doubled(sources));
        self.tally.look(|cell| sources.ledger.cell(cell));
        self.shadows.copies.look(|cell| sources.ledger.copies(cell));
        self.killed_reading
            .look(sources.ledger.slots().killed_reading);
        for (address, drops) in sources.drops {
            let watched = self.refused.entry(address.clone()).or_default();
            watched.look(*drops);
        }
    }

    /// Notes that the worker before died.
    pub(crate) fn note_dead_worker(&mut self) {
        self.worker_died = true;
        self.is_unwritten = true;
    }

    /// Notes what was done to the database.
    pub(crate) fn note_schema(&mut self, schema: SchemaAccount) {
        self.schema = Some(schema);
        self.is_unwritten = true;
    }

    /// Notes why an instance was not started.
    pub(crate) fn note_not_started(&mut self, instance: &InstanceId, why: String) {
        if instance.service == self.opening.service {
            self.lives.not_started(instance, why);
            self.is_unwritten = true;
        }
    }

    /// Notes what the service is at: instances and what is waited for.
    pub(crate) fn note_status(&mut self, status: &ServiceStatus, now: Time) {
        let lives = self.lives.clone();
        self.lives.note(&status.instances, self.opening.began, now);
        self.is_unwritten |= self.lives != lives;
        let span = now.since(self.waiting_since);
        let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        for kind in &self.waiting_on {
            *self.waited_ms.entry(kind.clone()).or_default() += millis;
        }
        let waited_on = std::mem::take(&mut self.waiting_on);
        if self.is_paused {
            self.paused_ms += millis;
        }
        let is_paused = status.pause.is_some();
        self.is_unwritten |= self.is_paused != is_paused;
        self.is_paused = is_paused;
        self.waiting_since = now;
        let running = status.rollout.as_ref();
        if let Some(rollout) = running.filter(|running| running.rollout == self.opening.rollout) {
            let mut kinds: Vec<String> = rollout.waiting_on.iter().map(kind).collect();
            kinds.sort_unstable();
            kinds.dedup();
            self.waiting_on = kinds;
        }
        self.is_unwritten |= self.waiting_on != waited_on;
    }

    /// Notes that a table was published in which the service's traffic is split anew.
    pub(crate) fn note_table(&mut self, table: &ServiceTable, now: Time) {
        let to = self.opening.to;
        let candidate = table.candidate.as_ref();
        let reached =
            table.stable.release == to || candidate.is_some_and(|side| side.release == to);
        if reached {
            self.first_cutover.get_or_insert(now);
        }
        if self.first_cutover.is_some() {
            self.last_cutover = Some(now);
        }
        self.is_unwritten = true;
    }

    /// Notes that nothing more will be done for the rollout.
    pub(crate) fn close(&mut self, ended: Ended, now: Time) {
        if self.closing.is_none() {
            self.closing = Some(Closing {
                at: now,
                ended,
                after: None,
            });
        }
    }

    /// When the account wants to be looked at next, once it is closing.
    pub(crate) fn due(&self) -> Option<Time> {
        let closing = self.closing.as_ref()?;
        Some(match &closing.after {
            None => Time(closing.at.0 + CLOSES_AFTER_MS),
            Some(after) => Time(after.since.0 + AFTER_MS),
        })
    }

    /// Instances of the new release that were not well, with what was seen.
    pub(crate) fn failures(&self) -> Vec<(String, String)> {
        self.lives.failures(&self.opening.to.to_string())
    }

    /// Whether the receipt was made and only the latency afterwards is missing.
    pub(crate) fn is_receipted(&self) -> bool {
        let closing = self.closing.as_ref();
        closing.is_some_and(|closing| closing.after.is_some())
    }
}

/// Requests that are open at two endpoints, and are one request each.
fn doubled(sources: &Sources<'_>) -> u64 {
    let service = sources.service;
    service.map_or(0, |cell| sources.ledger.doubled(cell))
}

/// The totals that change with every request that comes or goes.
fn moment(sources: &Sources<'_>, cells: impl Iterator<Item = Cell>) -> (u64, u64) {
    let ended = cells.map(|cell| sources.ledger.cell(cell).ended()).sum();
    let arrived = sources
        .service
        .map_or(0, |cell| sources.ledger.service(cell).requests);
    (arrived, ended)
}

/// The kind of a wait, as receipts name it.
fn kind(waiting: &WaitingOn) -> String {
    let kind = match waiting {
        WaitingOn::Ready { .. } => "ready",
        WaitingOn::MinReady { .. } => "min_ready",
        WaitingOn::Confirmed { .. } => "confirmed",
        WaitingOn::Drain { .. } => "drain",
        WaitingOn::Exit { .. } => "exit",
        WaitingOn::Step { .. } => "step",
        WaitingOn::Gate { .. } => "gate",
        WaitingOn::Verdict { .. } => "verdict",
        WaitingOn::Keep { .. } => "keep",
        WaitingOn::Job { .. } => "job",
        WaitingOn::Schema { .. } => "schema",
        WaitingOn::Held { .. } => "held",
        WaitingOn::Services { .. } => "services",
        WaitingOn::Journal { .. } => "journal",
    };
    kind.to_owned()
}
