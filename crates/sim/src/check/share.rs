//! How the split may move.

use model::{RolloutId, RolloutKind, Share, Step, Strategy};
use traffic::{ServiceTable, Table};

use super::{Model, Roll, Rule};

impl Model {
    /// Looks at the split of every service whose rollout is open.
    pub(super) fn check_shares(&mut self, table: &Table) {
        for service in &table.services {
            let Some((id, roll)) = self.open_roll(&service.name) else {
                self.check_unsplit(service);
                continue;
            };
            if roll.amnesty {
                continue;
            }
            let other = service.rollout.filter(|other| *other != id);
            let share = share_of(service, id, roll);
            let broken = roll.fault(share, self.now);
            if let Some(other) = other {
                let seen = format!("{}: rollout {other} is routed, {id} runs", service.name);
                self.violate(Rule::RoutesWhatRuns, seen);
            }
            if let Some((rule, seen)) = broken {
                let seen = format!("{}: rollout {id}: {seen}", service.name);
                self.violate(rule, seen);
            }
            let now = self.now;
            if let Some(roll) = self.rollouts.get_mut(&id) {
                roll.note(share, now);
            }
        }
    }

    /// Without a rollout there is nothing to split.
    fn check_unsplit(&mut self, service: &ServiceTable) {
        let known = self.services.get(&service.name);
        let left = known.is_some_and(|known| known.left.is_some() || known.unsure);
        if service.candidate.is_some() && !left {
            let seen = format!("{}: split without a rollout", service.name);
            self.violate(Rule::RoutesWhatRuns, seen);
        }
    }

    /// Figures reached the engine.
    pub(crate) fn measured(&mut self, rollout: RolloutId, comparison: &rollout::Comparison) {
        let newest = self.newest.clone();
        let Some(roll) = self.rollouts.get_mut(&rollout) else {
            return;
        };
        let routed = newest.services.iter().find(|s| s.name == roll.service);
        // Once the old release is let go there is no way back any more.
        let back = routed.is_some_and(|s| s.candidate.is_some() && !s.stable.endpoints.is_empty());
        if let Some((key, figures)) = &comparison.compared {
            let shadow = routed.and_then(|s| s.shadow.as_ref());
            let current = shadow.is_some_and(|shadow| shadow.key == *key);
            if let Some(rule) = shadow.and_then(|shadow| shadow.policy.compare.as_ref()) {
                let verdict = verdict::judge_compared(rule, figures);
                roll.bad |= current && matches!(verdict, verdict::Verdict::Fail { .. });
                if let Some((_, enough)) = roll.shadows.get_mut(&key.step) {
                    *enough |= current && verdict == verdict::Verdict::Pass;
                }
            }
        }
        let enough = roll.policy.rollout.min_requests.max(1);
        let (old, new) = (comparison.old.requests, comparison.new.requests);
        let current = self.now <= roll.asked_at + 1_500;
        // Before the switch of blue/green nobody but the preview's users is there.
        let switched = |s: &ServiceTable| s.share > Share::NONE || s.stable.release == roll.to;
        let exposed = match &roll.policy.rollout.strategy {
            Strategy::BlueGreen(_) => routed.is_none_or(switched),
            Strategy::Canary { .. } | Strategy::Rolling { .. } | Strategy::Recreate => true,
        };
        // Figures that are asked for to compare answers decide nothing else.
        let checked = !roll.policy.rollout.checks.is_empty();
        let current = current && exposed && checked;
        if current && comparison.since.0 >= roll.window && old.min(new) >= enough {
            roll.measured = true;
            roll.bad |= back && comparison.new.failures * 10 > new;
        }
    }

    /// Figures since a time were asked for.
    pub(crate) fn measures(&mut self, rollout: RolloutId, since: u64) {
        let now = self.now;
        if let Some(roll) = self.rollouts.get_mut(&rollout) {
            roll.asked_at = now;
            if roll.window != since {
                roll.window = since;
                roll.bad = false;
            }
        }
    }
}

/// The new release's share as a table has it.
fn share_of(service: &ServiceTable, id: RolloutId, roll: &Roll) -> Share {
    let new = service.stable.release == roll.to && roll.from != Some(roll.to);
    match &service.candidate {
        Some(_) if service.rollout == Some(id) => service.share,
        Some(_) => Share::NONE,
        None if new && (roll.from.is_some() || !service.stable.endpoints.is_empty()) => Share::ALL,
        None => Share::NONE,
    }
}

impl Roll {
    fn note(&mut self, share: Share, now: u64) {
        self.shrunk |= share < self.share && self.from.is_some();
        if share > self.share {
            self.shares.push((share, now));
        }
        self.share = share;
    }

    /// What speaks against this share.
    fn fault(&self, share: Share, now: u64) -> Option<(Rule, String)> {
        if share <= self.share || self.end_written.is_some() {
            return None;
        }
        let grows = format!("the share grows from {} to {share}", self.share);
        // Without an old release there is nothing to split: all that is ready serves.
        self.from?;
        if self.shrunk {
            return Some((Rule::ShareOnlyGrows, format!("{grows} on the way back")));
        }
        if self.aborted.is_some() {
            return Some((Rule::AbortWins, format!("{grows} after an abort")));
        }
        if self.held.is_some() {
            return Some((Rule::HoldHolds, format!("{grows} while held")));
        }
        if !self.job_done(model::JobKind::Smoke) {
            return Some((Rule::JobsRunOnce, format!("{grows} before the smoke job")));
        }
        match (&self.policy.rollout.strategy, self.kind) {
            (Strategy::Canary { steps }, RolloutKind::Deploy) => self.step_fault(steps, share, now),
            (Strategy::BlueGreen(blue), RolloutKind::Deploy) => {
                if let Some(fault) = self.shadow_skipped(share, now) {
                    return Some(fault);
                }
                let gates = blue.steps.iter().filter(|step| step.approve).count();
                let closed = self.approvals < gates + usize::from(blue.approve);
                closed.then(|| (Rule::GateHolds, format!("{grows} without approval")))
            }
            (
                Strategy::Canary { .. }
                | Strategy::BlueGreen(_)
                | Strategy::Rolling { .. }
                | Strategy::Recreate,
                RolloutKind::Deploy | RolloutKind::Rollback,
            ) => None,
        }
    }

    fn shadow_skipped(&self, share: Share, now: u64) -> Option<(Rule, String)> {
        if self.promoted || !self.from_ready {
            return None;
        }
        let number = self.short_shadow(share, now)?;
        let seen = format!("the shadow of step {number} did not last its time");
        Some((Rule::StepLasts, seen))
    }

    fn step_fault(&self, steps: &[Step], share: Share, now: u64) -> Option<(Rule, String)> {
        let planned = share == Share::ALL || steps.iter().any(|step| step.weight == share);
        if !planned {
            return Some((Rule::ShareIsPlanned, format!("a share of {share}")));
        }
        // The steps that must lie behind.
        let mut behind = steps.iter().filter(|step| step.weight < share);
        let gates = behind.clone().filter(|step| step.approve).count();
        if gates > self.approvals {
            let seen = format!("{share} after {} of {gates} approvals", self.approvals);
            return Some((Rule::GateHolds, seen));
        }
        if let Some(fault) = self.shadow_skipped(share, now) {
            return Some(fault);
        }
        let last = behind.rfind(|step| step.weight > Share::NONE)?;
        let begun = self.shares.iter().find(|(share, _)| *share >= last.weight);
        let hurried = self.promoted || !self.from_ready;
        let lasted = begun.is_some_and(|(_, at)| at + last.lasts.as_millis() as u64 <= now);
        let seen = || format!("the step of {} did not last its time", last.weight);
        (!lasted && !hurried).then(|| (Rule::StepLasts, seen()))
    }
}
