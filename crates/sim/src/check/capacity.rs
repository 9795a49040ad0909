//! How much must go on serving.

use std::collections::BTreeSet;

use model::{Count, InstanceId, RolloutKind, ServiceName, Share, Strategy};
use traffic::{ServiceTable, Table};

use super::{Model, Roll, Rule};

/// What a removal must leave.
enum Floor {
    /// So many that serve.
    Ready(u32),
    /// At least one, if there was one.
    One,
    /// Nothing.
    Free,
}

impl Model {
    /// Compares what serves before and after a publication.
    pub(super) fn check_capacity(&mut self, old: &Table, new: &Table) {
        for before in &old.services {
            let after = new.services.iter().find(|after| after.name == before.name);
            self.check_floor(before, after);
        }
    }

    fn check_floor(&mut self, before: &ServiceTable, after: Option<&ServiceTable>) {
        let was = self.healthy(&reachable(before));
        let is = after.map(|after| self.perhaps_healthy(&reachable(after)));
        let is = is.unwrap_or_default();
        let removed: Vec<&InstanceId> = was.iter().filter(|id| !is.contains(*id)).collect();
        if removed.is_empty() {
            return;
        }
        let name = &before.name;
        // Only a way back lets new instances go.
        let to = self.open_roll(name).map(|(_, roll)| roll.to);
        let returns = removed.iter().any(|id| Some(id.release) == to);
        let counted = is.iter().filter(|id| returns || self.counts(name, id));
        let left = counted.count() as u32;
        let floor = match self.floor(name) {
            // Each side keeps what its share needs.
            Floor::Ready(_) if returns => Floor::One,
            floor => floor,
        };
        let (rule, needed) = match floor {
            Floor::Ready(needed) => (Rule::FloorHolds, needed),
            Floor::One => (Rule::SomethingServes, 1),
            Floor::Free => return,
        };
        // What is below for other reasons may be exchanged one for one.
        if left < needed && (left as usize) < was.len() {
            let ids: Vec<String> = removed.iter().map(|id| id.to_string()).collect();
            let seen = format!("{name}: {left} of at least {needed} serve without {ids:?}");
            self.violate(rule, seen);
        }
    }

    /// Instances that are ready, as far as the engine was told.
    fn healthy(&self, ids: &BTreeSet<InstanceId>) -> BTreeSet<InstanceId> {
        let healthy = ids.iter().filter(|id| {
            let known = self.instances.get(*id);
            let sure = |known: &super::Known| !known.exit_heard && !known.doubt;
            known.is_some_and(|known| known.healthy.is_some() && sure(known))
        });
        healthy.cloned().collect()
    }

    /// The same, and those of which a new worker may still think so.
    fn perhaps_healthy(&self, ids: &BTreeSet<InstanceId>) -> BTreeSet<InstanceId> {
        let mut healthy = self.healthy(ids);
        let doubt = |id: &&InstanceId| self.instances.get(*id).is_some_and(|known| known.doubt);
        healthy.extend(ids.iter().filter(doubt).cloned());
        healthy
    }

    /// Whether an instance counts towards the floor: those of a new release only after `min_ready`.
    fn counts(&self, service: &ServiceName, id: &InstanceId) -> bool {
        let Some((_, roll)) = self.open_roll(service) else {
            return true;
        };
        let returning = roll.shrunk || roll.aborted.is_some();
        if roll.to != id.release || returning || roll.amnesty {
            return true;
        }
        let min_ready = roll.policy.rollout.min_ready.as_millis() as u64;
        let proven = self.instances.get(id).and_then(|known| known.proven);
        proven.is_some_and(|since| since + min_ready <= self.now)
    }

    fn floor(&self, name: &ServiceName) -> Floor {
        let Some(service) = self.services.get(name) else {
            return Floor::Free;
        };
        let fixed = service.releases.values().any(|facts| facts.fixed_port);
        if self.ending || service.stopped || service.unsure || service.left.is_some() || fixed {
            return Floor::Free;
        }
        match self.open_roll(name) {
            Some((_, roll)) if roll.amnesty => Floor::Free,
            Some((_, roll)) if roll.end_written.is_some() => {
                Floor::Ready(self.resting(name).min(roll.both()))
            }
            Some((_, roll)) => roll.floor(),
            None => Floor::Ready(self.resting(name)),
        }
    }
}

impl Roll {
    fn both(&self) -> u32 {
        self.from_replicas.min(self.replicas)
    }

    fn floor(&self) -> Floor {
        if self.from.is_none() || self.policy.rollout.strategy == Strategy::Recreate {
            return Floor::Free;
        }
        if self.shrunk || self.aborted.is_some() || self.superseded {
            return Floor::One;
        }
        let both = self.both();
        match (&self.policy.rollout.strategy, self.kind) {
            (
                Strategy::Rolling {
                    max_unavailable,
                    batch,
                    ..
                },
                RolloutKind::Deploy,
            ) => {
                let batch = batch.map_or(u32::MAX, |batch: Count| batch.up(self.replicas).max(1));
                let down = max_unavailable.down(self.replicas).min(batch);
                Floor::Ready(both.saturating_sub(down))
            }
            (
                Strategy::Rolling { .. }
                | Strategy::BlueGreen(_)
                | Strategy::Canary { .. }
                | Strategy::Recreate,
                RolloutKind::Deploy | RolloutKind::Rollback,
            ) => Floor::Ready(both),
        }
    }
}

/// Endpoints that requests can be given to.
fn reachable(service: &ServiceTable) -> BTreeSet<InstanceId> {
    let stable = service.candidate.is_none() || service.share < Share::ALL;
    let stable = service.stable.endpoints.iter().filter(|_| stable);
    let split = service.share > Share::NONE;
    let candidate = service.candidate.iter().filter(|_| split);
    let candidate = candidate.flat_map(|side| &side.endpoints);
    stable
        .chain(candidate)
        .map(|e| e.instance.clone())
        .collect()
}
