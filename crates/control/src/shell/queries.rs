//! Questions of the API: answered at once, without changing anything.

use std::collections::BTreeMap;

use engine::Status;
use metric::{MetricSource as _, Window};
use model::{DatabaseName, Receipt, RolloutId, ServiceName, Time};
use runtime::process::ServerState;
use traffic::{Closed, Rejected};

use super::Shell;
use super::answers::store_failed;
use super::logs::EVIDENCE_LINES;
use crate::account::latency_of;
use crate::api::{
    AuditLine, AuditList, Code, ConnectionsView, Explained, Failure, History, Note, RolloutSummary,
    ServerView, StatusAnswer, Traffic, UnconvertedRows, VERSION,
};
use crate::clock::rfc3339;
use crate::store::{EventRow, RolloutRow};

/// The window of the figures that status shows.
const RECENT_MS: u64 = 10_000;

impl Shell {
    pub(crate) fn status(&self) -> StatusAnswer {
        let now = self.clock.now();
        let engine = self.engine.status(now);
        let accepted = self.accepted();
        let state = match *self.server_state.borrow() {
            ServerState::Serving => "serving",
            ServerState::Terminating => "terminating",
            ServerState::Yielding => "yielding",
            ServerState::SupervisorLost => "supervisor_lost",
        };
        let traffic = engine
            .services
            .iter()
            .map(|service| (service.name.clone(), self.traffic(service, now)))
            .collect();
        let (supervisor_version, workers) = self.worker_views();
        StatusAnswer {
            v: VERSION,
            server: ServerView {
                supervisor_version,
                workers,
                upgrade: self.last_upgrade(),
                project: accepted.as_ref().map(|accepted| accepted.project.clone()),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                worker_pid: std::process::id(),
                generation: self.host.generation(),
                https: accepted
                    .as_ref()
                    .and_then(|accepted| accepted.https.as_ref())
                    .map(|https| https.address.to_string()),
                http: accepted.map(|accepted| accepted.http.to_string()),
                state: state.to_owned(),
                connections: self.connections(),
                certificates: self.certificate_views(),
                now_ms: now.0,
            },
            unconverted: self.unconverted(&engine),
            engine,
            traffic,
        }
    }

    /// The rows that stand in the way of a publication or a contract, by database.
    fn unconverted(&self, engine: &Status) -> BTreeMap<DatabaseName, Vec<UnconvertedRows>> {
        let known = engine.databases.iter().map(|database| &database.name);
        let noted = known.filter_map(|name| {
            let rows = self.working.unconverted.get(name)?;
            (!rows.is_empty()).then(|| (name.clone(), rows.clone()))
        });
        noted.collect()
    }

    /// What the ledger says of connections; reasons that never occurred are left out.
    fn connections(&self) -> ConnectionsView {
        let slots = self.ledger.slots();
        let closed = Closed::ALL.map(|why| (why.name(), slots.closed(why)));
        let rejected = Rejected::ALL.map(|why| (why.name(), slots.rejected[why.index()]));
        let seen = |counts: &[(&str, u64)]| {
            let seen = counts.iter().filter(|(_, count)| *count > 0);
            seen.map(|(name, count)| ((*name).to_owned(), *count))
                .collect()
        };
        ConnectionsView {
            open: slots.connections,
            closed: seen(&closed),
            rejected: seen(&rejected),
        }
    }

    fn traffic(&self, service: &engine::ServiceStatus, now: Time) -> Traffic {
        let Some(cell) = self.service_cell(&service.name) else {
            return Traffic::default();
        };
        let back = |millis| Window {
            from: Time(now.0.saturating_sub(millis)),
            to: now,
        };
        let recent = self.series.latency(&service.name, back(RECENT_MS));
        let latency = latency_of(&recent);
        let open = service.instances.iter().filter_map(|seen| {
            let place = self.engine.place(&seen.instance)?;
            Some((seen.instance.to_string(), self.ledger.open(place.cell)))
        });
        let mut accounts = self.accounts.values().rev();
        let account = accounts
            .find(|account| account.opening.service == service.name && !account.is_receipted());
        // A slice that began before the window is left out: look a little further back.
        let second = self.series.requests(&service.name, back(2_100)) / 2;
        Traffic {
            requests_per_second: second,
            requests: self.ledger.service(cell).requests,
            waiting: self.ledger.waiting(cell),
            open: open.collect::<BTreeMap<String, u64>>(),
            p50_micros: latency.map(|latency| latency.p50_micros),
            p99_micros: latency.map(|latency| latency.p99_micros),
            account: account.map(crate::account::Account::view),
        }
    }

    pub(crate) fn history(&self, services: &[ServiceName], limit: u32) -> Result<History, Failure> {
        let rows = self.store.rollouts(services, limit);
        let summary = |row: RolloutRow| RolloutSummary {
            rollout: row.id,
            service: row.service,
            began: rfc3339(row.began_ms),
            receipt: row.receipt,
        };
        Ok(History {
            v: VERSION,
            rollouts: rows
                .map_err(|error| store_failed(&error))?
                .into_iter()
                .map(summary)
                .collect(),
        })
    }

    pub(crate) fn receipt(&self, rollout: RolloutId) -> Result<Receipt, Failure> {
        let row = self.rollout_row(rollout)?;
        row.and_then(|row| row.receipt).ok_or_else(|| {
            if self.is_underway(rollout) {
                let mut error = Failure::new(
                    Code::Refused,
                    format!("rollout {rollout} has not ended, so it has no receipt yet"),
                )
                .with_hint("wait for it with `gapless wait`");
                error.rollout = Some(rollout.0);
                error
            } else {
                no_rollout(rollout)
            }
        })
    }

    fn rollout_row(&self, rollout: RolloutId) -> Result<Option<RolloutRow>, Failure> {
        self.store
            .rollout(rollout)
            .map_err(|error| store_failed(&error))
    }

    fn is_underway(&self, rollout: RolloutId) -> bool {
        let status = self.engine.status(self.clock.now());
        let services = status.services.iter();
        let mut all = services.flat_map(|service| {
            let running = service.rollout.as_ref().map(|running| running.rollout);
            let queued = service.queued.as_ref().map(|queued| queued.rollout);
            [running, queued]
        });
        all.any(|known| known == Some(rollout)) || self.accounts.contains_key(&rollout)
    }

    /// Everything that is known of a rollout.
    pub(crate) fn explain(&self, rollout: RolloutId) -> Result<Explained, Failure> {
        let row = self.rollout_row(rollout)?;
        let status = self.engine.status(self.clock.now());
        let running = status.services.iter().find(|service| {
            let running = service.rollout.as_ref();
            running.is_some_and(|running| running.rollout == rollout)
        });
        let queued = status.services.iter().find(|service| {
            let queued = service.queued.as_ref();
            queued.is_some_and(|queued| queued.rollout == rollout)
        });
        let known = running.or(queued).map(|service| service.name.to_string());
        let service = known.or_else(|| row.as_ref().map(|row| row.service.clone()));
        let service = service.ok_or_else(|| no_rollout(rollout))?;
        let events = self.store.events_of(rollout);
        let events = events.map_err(|error| store_failed(&error))?;
        let (evidence, notes): (Vec<EventRow>, Vec<EventRow>) = events
            .into_iter()
            .partition(|event| event.kind == "evidence");
        let mut evidence: Vec<String> = evidence.into_iter().map(|event| event.text).collect();
        if let Some(service) = running {
            evidence.extend(self.evidence_now(service));
        }
        Ok(Explained {
            v: VERSION,
            rollout,
            service,
            notes: notes.into_iter().map(note).collect(),
            running: running.and_then(|service| service.rollout.clone()),
            queued: queued.and_then(|service| service.queued.clone()),
            receipt: row.and_then(|row| row.receipt),
            evidence,
        })
    }

    /// The newest rollout, for `why` without a number.
    pub(crate) fn newest_rollout(&self) -> Result<RolloutId, Failure> {
        let status = self.engine.status(self.clock.now());
        let running = status
            .services
            .iter()
            .filter_map(|service| service.rollout.as_ref());
        let running = running.map(|running| running.rollout).max();
        let stored = self
            .store
            .rollouts(&[], 1)
            .map_err(|error| store_failed(&error))?;
        let stored = stored.first().map(|row| row.id);
        running
            .max(stored)
            .ok_or_else(|| Failure::new(Code::NotFound, "there was no rollout yet"))
    }

    /// Failed probes and last lines of instances that are not well.
    pub(super) fn evidence_now(&self, service: &engine::ServiceStatus) -> Vec<String> {
        let mut lines = Vec::new();
        for seen in &service.instances {
            let Some(failure) = &seen.last_failure else {
                continue;
            };
            lines.push(format!("{}: {failure}", seen.instance));
            let name = seen.instance.to_string();
            let last = self.last_lines(&name, EVIDENCE_LINES);
            lines.extend(last.into_iter().map(|line| format!("{name} | {line}")));
        }
        lines
    }

    pub(crate) fn audit_list(&self, limit: u32) -> Result<AuditList, Failure> {
        let entries = self
            .store
            .audit(limit)
            .map_err(|error| store_failed(&error))?;
        let broken_at = self
            .store
            .audit_broken_at()
            .map_err(|error| store_failed(&error))?;
        let line = |entry: crate::store::AuditEntry| AuditLine {
            at: rfc3339(entry.at_ms),
            actor: entry.actor,
            command: entry.command,
            result: entry.result,
        };
        Ok(AuditList {
            v: VERSION,
            entries: entries.into_iter().map(line).collect(),
            broken_at,
        })
    }

    pub(crate) fn events_after(&self, after: i64, limit: u32) -> Result<Vec<EventRow>, Failure> {
        let events = self.store.events_after(after, limit);
        events.map_err(|error| store_failed(&error))
    }

    pub(crate) fn newest_event(&self) -> Result<i64, Failure> {
        self.store
            .newest_event()
            .map_err(|error| store_failed(&error))
    }

    /// What figures a metric source gave, named for `doctor`.
    pub(super) fn metric_source(&self) -> &'static str {
        self.series.name()
    }
}

/// An event as the API sends it.
#[must_use]
pub fn note(event: EventRow) -> Note {
    Note {
        seq: event.seq,
        at: rfc3339(event.at_ms),
        rollout: event.rollout,
        service: event.service,
        text: event.text,
    }
}

fn no_rollout(rollout: RolloutId) -> Failure {
    Failure::new(Code::NotFound, format!("there is no rollout {rollout}"))
        .with_hint("see `gapless history`")
}
