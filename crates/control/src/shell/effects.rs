//! One effect after the other.

use std::collections::BTreeMap;

use engine::{Effect, Event, IfRefused, OldWindow};
use fleet::{Child, Exit};
use metric::{MetricSource as _, Window};
use model::{Epoch, InstanceId, ReleaseId, RolloutId, ServiceName, ShadowKey, Time};
use rollout::Comparison;
use runtime::{ExitStatus, Instance, InstanceState, Key};
use verdict::{Figures, Sample};

use super::{End, Shell};
use crate::store::{EventRow, StoreError};

/// The shortest window of the old release before a switch.
const BEFORE_MS: u64 = 60_000;

/// Whether the rest of a batch is carried out.
enum Rest {
    GoesOn,
    IsDropped,
}

/// The key under which the supervisor knows an instance.
pub(super) fn key(instance: &InstanceId) -> Key {
    Key::try_new(instance.to_string()).expect("names and numbers are keys")
}

pub(super) fn exit(status: ExitStatus) -> Exit {
    match status {
        ExitStatus::Code { code } => Exit::Code(code),
        ExitStatus::Signal { signal } => Exit::Signal(signal),
    }
}

impl Shell {
    pub(super) async fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match self.carry_out_one(effect).await {
                Rest::GoesOn => {}
                Rest::IsDropped => return,
            }
        }
    }

    async fn carry_out_one(&mut self, effect: Effect) -> Rest {
        match effect {
            Effect::Journal {
                batch,
                epoch,
                entries,
                if_refused,
            } => return self.journal((batch, epoch), &entries, if_refused),
            Effect::Spawn(spawn) => self.spawn(spawn).await,
            Effect::Probe { instance } => self.probe(instance),
            Effect::Signal { instance, signal } => self.signal(&instance, signal).await,
            Effect::Cut { instance } => self.cut(&instance),
            Effect::Forget { instance } => self.forget(&instance).await,
            Effect::Publish { table, audiences } => self.publish(table, audiences),
            Effect::CountOpen { instances } => self.count_open(instances),
            Effect::Measure {
                rollout,
                service,
                old,
                new,
                since,
                old_window,
                shadow,
            } => {
                let compared = shadow.map(|key| (key, self.compared(rollout, key)));
                self.measure(
                    (rollout, compared),
                    &service,
                    ((old, new), since, old_window),
                );
            }
            Effect::RunJob {
                rollout,
                service,
                release,
                job,
                timeout,
            } => {
                self.run_job((rollout, job), (service, release), timeout)
                    .await
            }
            Effect::Contract {
                database,
                version,
                service,
                release,
            } => self.contract((database, version), (&service, release)),
            Effect::Observe => self.observe().await,
            Effect::OpenReceipt { rollout, service } => self.open_account(rollout, &service),
            Effect::CloseReceipt { rollout, ended } => {
                self.stop_waiting(rollout);
                self.close_account(rollout, ended);
            }
            Effect::Reply { id, result } => self.reply(id, result),
            Effect::Note {
                rollout,
                service,
                text,
            } => self.note(rollout, &service, text),
            Effect::Terminated => self.terminated(),
        }
        Rest::GoesOn
    }

    fn cut(&mut self, instance: &InstanceId) {
        if let Some(place) = self.engine.place(instance) {
            self.publisher.cut(place.cell);
            if self.has_company() {
                self.host.cut(place.cell);
            }
        }
    }

    fn terminated(&mut self) {
        self.close_all_accounts();
        self.flush_notes();
        self.logs.flush();
        self.host.stopped();
        self.end = Some(End::Terminated);
    }

    fn journal(
        &mut self,
        (batch, epoch): (u64, Epoch),
        entries: &BTreeMap<String, Option<String>>,
        if_refused: IfRefused,
    ) -> Rest {
        let clock = self.clock.reading();
        let written = match if_refused {
            IfRefused::Stop => self.store.write_journal(epoch, entries, &clock),
            IfRefused::Continue => self
                .store
                .write_journal_from_reserve(epoch, entries, &clock),
        };
        match written {
            Ok(()) => {
                self.queue.push_front(Event::Journaled { batch });
                Rest::GoesOn
            }
            Err(StoreError::Fenced { epoch }) => {
                tracing::error!(epoch = epoch.0, "another worker holds control");
                self.end = Some(End::Fenced);
                Rest::IsDropped
            }
            Err(error) => {
                let error = error.chain();
                tracing::error!(error, "the journal is not written");
                self.queue.push_front(Event::JournalFailed { batch, error });
                match if_refused {
                    IfRefused::Stop => Rest::IsDropped,
                    IfRefused::Continue => Rest::GoesOn,
                }
            }
        }
    }

    async fn signal(&mut self, instance: &InstanceId, signal: fleet::Signal) {
        // From here on what fails there is ours. While it only drained, the program was not
        // touched: what failed then, it failed by itself.
        if let Some(place) = self.engine.place(instance) {
            self.ledger.set_told(place.cell, true);
        }
        let key = key(instance);
        let sent = match signal {
            fleet::Signal::Stop => {
                let release = self.engine.release(&instance.service, instance.release);
                let number = release.map(|release| release.spec.stop.signal);
                let signal = number.and_then(runtime::Signal::from_named_raw);
                let signal = signal.unwrap_or(runtime::Signal::TERM);
                self.driver.signal(&key, signal).await
            }
            fleet::Signal::Kill => self.driver.kill(&key).await,
        };
        if let Err(error) = sent {
            tracing::warn!(%instance, error = crate::chain(&error), "a signal was not sent");
        }
    }

    async fn forget(&mut self, instance: &InstanceId) {
        let key = key(instance);
        self.forget_logs(&key);
        match self.driver.acknowledge(&key).await {
            Ok(()) | Err(runtime::DriverError::UnknownKey) => {}
            Err(error) => {
                tracing::warn!(%instance, error = crate::chain(&error), "an exit stays listed");
            }
        }
    }

    fn count_open(&mut self, instances: Vec<InstanceId>) {
        let count = |instance: &InstanceId| {
            let place = self.engine.place(instance);
            place.map_or(0, |place| self.ledger.open(place.cell))
        };
        let open: BTreeMap<_, _> = instances
            .into_iter()
            .map(|instance| {
                let count = count(&instance);
                (instance, count)
            })
            .collect();
        let now = self.clock.now();
        for (instance, _) in open.iter().filter(|(_, requests)| **requests > 0) {
            let left = self.engine.drain_left(instance, now);
            if let (Some(place), Some(left)) = (self.engine.place(instance), left) {
                self.publisher.part(place.cell, left);
            }
        }
        self.queue.push_back(Event::Open(open));
    }

    fn measure(
        &mut self,
        (rollout, compared): (RolloutId, Option<(ShadowKey, Figures)>),
        service: &ServiceName,
        ((old, new), since, old_window): ((Option<ReleaseId>, ReleaseId), Time, OldWindow),
    ) {
        let now = self.clock.now();
        let ledger = &self.ledger;
        self.series.look(now, |cell| ledger.cell(cell));
        let window = Window {
            from: since,
            to: now,
        };
        let fresh = self.series.sample(service, new, window);
        let (new, known) = fresh.unwrap_or((
            Sample::default(),
            Window {
                from: now,
                ..window
            },
        ));
        let old_window = match old_window {
            OldWindow::Same => known,
            OldWindow::Before => {
                let millis = now.0.saturating_sub(since.0).max(BEFORE_MS);
                let from = Time(since.0.saturating_sub(millis));
                Window { from, to: since }
            }
        };
        let old = old.and_then(|old| self.series.sample(service, old, old_window));
        let comparison = Comparison {
            since: known.from,
            old: old.map_or_else(Sample::default, |(sample, _)| sample),
            new,
            compared,
        };
        self.queue.push_back(Event::Measured {
            rollout,
            comparison,
        });
    }

    pub(super) fn note(&mut self, rollout: Option<RolloutId>, service: &ServiceName, text: String) {
        tracing::info!(rollout = rollout.map(|id| id.0), %service, "{text}");
        self.notes.push(EventRow {
            seq: 0,
            at_ms: crate::clock::wall_ms(),
            rollout,
            service: service.to_string(),
            kind: "note".to_owned(),
            text,
        });
    }

    /// Writes down what was noted, and tells those who listen.
    pub(super) fn flush_notes(&mut self) {
        if self.notes.is_empty() {
            return;
        }
        let mut notes = std::mem::take(&mut self.notes);
        if let Err(error) = self.store.append_events(&mut notes) {
            tracing::warn!(error = error.chain(), "events are not written");
        }
        for note in notes {
            // Nobody may be listening.
            let _ = self.news.send(note);
        }
    }

    /// Takes in everything that the supervisor runs.
    pub(super) async fn listed(&mut self, listed: Vec<Instance>) {
        let mut children = Vec::new();
        for child in listed {
            if let Ok(instance) = child.key.as_str().parse::<InstanceId>() {
                let exit = match child.state {
                    InstanceState::Running => None,
                    InstanceState::Exited(status) => Some(exit(status)),
                };
                self.follow_logs(&child.key).await;
                children.push(Child { instance, exit });
            } else {
                self.job_listed(&child);
            }
        }
        self.queue.push_back(Event::Children(children));
    }

    pub(super) fn exited(&mut self, key: &Key, status: ExitStatus) {
        // Whoever began a job waits for it.
        if let Ok(instance) = key.as_str().parse::<InstanceId>() {
            self.queue.push_back(Event::Exited {
                instance,
                exit: exit(status),
            });
        }
    }
}
