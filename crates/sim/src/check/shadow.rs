//! What a release may get that answers nobody.

use model::{RolloutKind, Share, Step, Strategy};
use traffic::{ServiceTable, Table};

use super::{Model, Roll, Rule};

impl Model {
    /// Looks at the shadow of every service.
    pub(super) fn check_shadows(&mut self, table: &Table) {
        for service in &table.services {
            let Some(shadow) = &service.shadow else {
                continue;
            };
            let number = shadow.key.step;
            let open = self.open_roll(&service.name);
            let broken = match open {
                Some((id, roll)) if id == shadow.key.rollout => roll.shadow_fault(service),
                Some(_) | None => Some(format!("a shadow of rollout {}", shadow.key.rollout)),
            };
            let own = self.rollouts.get(&shadow.key.rollout);
            let amnesty = own.is_some_and(|roll| roll.amnesty);
            if let (Some(seen), false) = (broken, amnesty) {
                let seen = format!("{}: {seen}", service.name);
                self.violate(Rule::ShadowAnswersNobody, seen);
            }
            let now = self.now;
            if let Some(roll) = self.rollouts.get_mut(&shadow.key.rollout) {
                roll.shadows.entry(number).or_insert((now, false));
            }
        }
    }
}

impl Roll {
    /// The steps of its policy, if it goes through any.
    pub(super) fn steps(&self) -> &[Step] {
        match (&self.policy.rollout.strategy, self.kind) {
            (Strategy::Canary { steps }, RolloutKind::Deploy) => steps,
            (Strategy::BlueGreen(blue), RolloutKind::Deploy) => &blue.steps,
            (
                Strategy::Canary { .. }
                | Strategy::BlueGreen(_)
                | Strategy::Rolling { .. }
                | Strategy::Recreate,
                RolloutKind::Deploy | RolloutKind::Rollback,
            ) => &[],
        }
    }

    /// The step of a shadow, which begin at 1.
    pub(super) fn step(&self, number: u32) -> Option<&Step> {
        let at = usize::try_from(number).ok()?.checked_sub(1)?;
        self.steps().get(at)
    }

    /// What speaks against a service's shadow.
    fn shadow_fault(&self, service: &ServiceTable) -> Option<String> {
        let shadow = service.shadow.as_ref()?;
        let (key, release) = (shadow.key, shadow.target.release);
        if release != self.to || service.stable.release == release {
            return Some(format!("copies go to {release}, which answers"));
        }
        let at = usize::try_from(key.step).ok()?;
        let Some(step) = self.step(key.step) else {
            return Some(format!("a shadow of step {}, which is none", key.step));
        };
        if step.shadow.as_ref() != Some(&shadow.policy) {
            return Some(format!("step {} has another shadow", key.step));
        }
        let before = &self.steps()[..at];
        let hidden = before
            .iter()
            .all(|step| step.weight == Share::NONE && step.audience.is_none());
        let shown = match &self.policy.rollout.strategy {
            Strategy::BlueGreen(blue) => blue.preview.is_some(),
            Strategy::Canary { .. } | Strategy::Rolling { .. } | Strategy::Recreate => false,
        };
        let answers = service.candidate.is_some() && hidden && !shown;
        let more = service.candidate.is_some() && service.share > step.weight;
        (answers || more).then(|| format!("{release} answers {} of the users", service.share))
    }

    /// A step with a shadow that lies behind this share and did not last its time.
    pub(super) fn short_shadow(&self, share: Share, now: u64) -> Option<u32> {
        let mut numbered = self.steps().iter().zip(1_u32..);
        let short = numbered.find(|(step, number)| {
            let begun = self.shadows.get(number).map(|(at, _)| *at);
            let lasts = step.lasts.as_millis() as u64;
            let lasted = begun.is_some_and(|at| at + lasts <= now);
            step.weight < share && step.shadow.is_some() && !lasted
        });
        short.map(|(_, number)| number)
    }

    /// A comparison that never had its samples.
    pub(super) fn lacks_comparison(&self) -> bool {
        let mut numbered = self.steps().iter().zip(1_u32..);
        numbered.any(|(step, number)| {
            let compares = step
                .shadow
                .as_ref()
                .is_some_and(|own| own.compare.is_some());
            // With all traffic on the new release there is nothing left to compare it with.
            let compares = compares && step.weight < Share::ALL;
            compares && !self.shadows.get(&number).is_some_and(|(_, enough)| *enough)
        })
    }
}
