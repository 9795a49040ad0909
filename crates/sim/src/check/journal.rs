//! What is done must be written, and what is written must lead back.

use engine::{Effect, Engine, Event, IfRefused};
use model::{Epoch, Outcome, Time};
use traffic::Table;

use super::{Model, Rule};
use crate::disk::Disk;

impl Model {
    /// Looks at a batch as it is handed over.
    pub(crate) fn check_batch(&mut self, effects: &[Effect], epoch: Epoch) {
        for (at, effect) in effects.iter().enumerate() {
            if let Effect::Journal {
                epoch: written,
                if_refused,
                ..
            } = effect
            {
                if at > 0 {
                    let seen = format!("effect {at} of a batch is its journal entry");
                    self.violate(Rule::JournalsFirst, seen);
                }
                if *written != epoch {
                    let seen = format!("epoch {} is written in epoch {}", written.0, epoch.0);
                    self.violate(Rule::EpochFences, seen);
                }
                if *if_refused == IfRefused::Continue {
                    self.check_backward(effects);
                }
            }
        }
        if !matches!(effects.first(), Some(Effect::Journal { .. })) {
            self.check_unwritten(effects);
        }
    }

    /// What goes on without the journal may only move back or keep up what runs.
    fn check_backward(&mut self, effects: &[Effect]) {
        for effect in effects {
            let forward = match effect {
                Effect::OpenReceipt { rollout, .. } => {
                    let roll = self.rollouts.get(rollout);
                    roll.is_none_or(|roll| !roll.begin_written)
                }
                Effect::CloseReceipt { rollout, ended } => {
                    let roll = self.rollouts.get(rollout);
                    let fresh = roll.is_some_and(|roll| roll.end_written.is_none());
                    fresh && ended.outcome == Outcome::Completed
                }
                Effect::Publish { table, .. } => self.grows(table),
                Effect::RunJob { rollout, job, .. } => {
                    let roll = self.rollouts.get(rollout);
                    roll.is_some_and(|roll| !roll.jobs.contains_key(job))
                }
                Effect::Reply { id, result } => {
                    let abort = matches!(self.asked.get(id), Some(model::Command::Abort { .. }));
                    result.is_ok() && !abort
                }
                Effect::Journal { .. }
                | Effect::Spawn(_)
                | Effect::Probe { .. }
                | Effect::Signal { .. }
                | Effect::Cut { .. }
                | Effect::Forget { .. }
                | Effect::CountOpen { .. }
                | Effect::Measure { .. }
                | Effect::Contract { .. }
                | Effect::Observe
                | Effect::Note { .. }
                | Effect::Terminated => false,
            };
            if forward {
                let seen = format!("{effect:?} would happen without the journal");
                self.violate(Rule::ForwardNeedsJournal, seen);
            }
        }
    }

    /// Whether a table gives any new release more than before.
    fn grows(&self, table: &Table) -> bool {
        table.services.iter().any(|service| {
            let Some((id, roll)) = self.open_roll(&service.name) else {
                return false;
            };
            let split = service.rollout == Some(id) && service.candidate.is_some();
            split && service.share > roll.share && roll.from.is_some() && !roll.amnesty
        })
    }

    /// Without a journal entry nothing may happen that a later worker must know.
    fn check_unwritten(&mut self, effects: &[Effect]) {
        for effect in effects {
            let known = match effect {
                Effect::Spawn(spawn) => self.written.contains(&spawn.instance),
                Effect::OpenReceipt { rollout, .. } => {
                    let roll = self.rollouts.get(rollout);
                    roll.is_some_and(|roll| roll.begin_written)
                }
                Effect::RunJob { rollout, job, .. } => {
                    let roll = self.rollouts.get(rollout);
                    roll.is_none_or(|roll| roll.jobs.contains_key(job))
                }
                Effect::Journal { .. }
                | Effect::CloseReceipt { .. }
                | Effect::Publish { .. }
                | Effect::Reply { .. }
                | Effect::Probe { .. }
                | Effect::Signal { .. }
                | Effect::Cut { .. }
                | Effect::Forget { .. }
                | Effect::CountOpen { .. }
                | Effect::Measure { .. }
                | Effect::Contract { .. }
                | Effect::Observe
                | Effect::Note { .. }
                | Effect::Terminated => true,
            };
            if !known {
                let seen = format!("{effect:?} happens without a journal entry");
                self.violate(Rule::JournalsFirst, seen);
            }
        }
    }

    /// Recovers from the journal as it is after this batch's entry and compares what it would
    /// route, start and run with what the batch does.
    pub(crate) fn check_recovery(&mut self, disk: &Disk, effects: &[Effect]) {
        let next = Epoch(1 << 32);
        let mut twin = match Engine::recover(disk.entries(), next, Time(self.now)) {
            Ok(twin) => twin,
            Err(error) => return self.violate(Rule::RecoversSame, error.to_string()),
        };
        for effect in effects {
            let differs = match effect {
                Effect::Spawn(spawn) => {
                    let place = twin.place(&spawn.instance);
                    place.is_none_or(|p| p.port != spawn.port || p.cell != spawn.cell)
                }
                Effect::OpenReceipt { rollout, .. } | Effect::RunJob { rollout, .. } => {
                    let open = twin.plan(*rollout).is_none();
                    // One that ends in the batch that begins it has no plan any more.
                    open && !effects.iter().any(|other| closes(other, *rollout))
                }
                Effect::Publish { table, .. } => !same_routing(&mut twin, table, self.now),
                Effect::Journal { .. }
                | Effect::CloseReceipt { .. }
                | Effect::Reply { .. }
                | Effect::Probe { .. }
                | Effect::Signal { .. }
                | Effect::Cut { .. }
                | Effect::Forget { .. }
                | Effect::CountOpen { .. }
                | Effect::Measure { .. }
                | Effect::Contract { .. }
                | Effect::Observe
                | Effect::Note { .. }
                | Effect::Terminated => false,
            };
            if differs {
                let seen = format!("the journal does not know {effect:?}");
                return self.violate(Rule::RecoversSame, seen);
            }
        }
    }
}

fn closes(effect: &Effect, rollout: model::RolloutId) -> bool {
    matches!(effect, Effect::CloseReceipt { rollout: closed, .. } if *closed == rollout)
}

/// Whether a recovered engine publishes the same routing first of all.
fn same_routing(twin: &mut Engine, table: &Table, now: u64) -> bool {
    let effects = twin.poll(Event::Tick, Time(now));
    let published = effects.into_iter().find_map(|effect| {
        if let Effect::Publish { table, .. } = effect {
            Some(table)
        } else {
            None
        }
    });
    published.is_some_and(|twin| {
        twin.revision > table.revision
            && twin.listeners == table.listeners
            && twin.services == table.services
    })
}
