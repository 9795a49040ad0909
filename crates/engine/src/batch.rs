//! The effects of one poll, put in the order in which they must happen.

use std::collections::BTreeMap;

use model::{Command, InstanceId, Refusal, RolloutId, ServiceName};

use crate::Effect;

/// Answers by the number of their command.
pub(crate) type Replies = Vec<(u64, Result<BTreeMap<ServiceName, RolloutId>, Refusal>)>;

/// What one poll decided so far.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// What depends on no journal entry: what an earlier worker may not have said or done.
    pub(crate) free: Vec<Effect>,
    /// Receipts to begin.
    pub(crate) begins: Vec<Effect>,
    pub(crate) publish: Option<Effect>,
    /// Everything done to instances and jobs, in the order decided.
    pub(crate) acts: Vec<Effect>,
    pub(crate) count_open: Vec<InstanceId>,
    pub(crate) observe: bool,
    /// Receipts to end.
    pub(crate) closes: Vec<Effect>,
    pub(crate) notes: Vec<Effect>,
    pub(crate) replies: Replies,
    /// The abort that it carries out.
    pub(crate) abort: Option<(u64, Command)>,
    /// Whether anything in it moves towards a new release or carries out a command: then
    /// nothing of it may happen without being journaled.
    pub(crate) forward: bool,
    pub(crate) terminated: bool,
}

impl Batch {
    pub(crate) fn note(&mut self, rollout: Option<RolloutId>, service: &ServiceName, text: String) {
        self.notes.push(Effect::Note {
            rollout,
            service: service.clone(),
            text,
        });
    }

    /// What follows from facts alone is done whatever becomes of the journal.
    pub(crate) fn settle_facts(&mut self) {
        self.free.append(&mut self.closes);
        self.free.append(&mut self.notes);
    }

    /// The effects in order; `journal` comes first.
    pub(crate) fn into_effects(self, journal: Option<Effect>) -> Vec<Effect> {
        let mut effects: Vec<Effect> = journal.into_iter().collect();
        effects.extend(self.free);
        effects.extend(self.begins);
        effects.extend(self.publish);
        effects.extend(self.acts);
        if !self.count_open.is_empty() {
            let instances = self.count_open;
            effects.push(Effect::CountOpen { instances });
        }
        effects.extend(self.observe.then_some(Effect::Observe));
        effects.extend(self.closes);
        effects.extend(self.notes);
        let reply = |(id, result)| Effect::Reply { id, result };
        effects.extend(self.replies.into_iter().map(reply));
        effects.extend(self.terminated.then_some(Effect::Terminated));
        effects
    }
}
