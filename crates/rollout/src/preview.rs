//! What a deploy would do, for `plan` to show.

use model::{
    Argv, Audience, AudienceValue, Blue, JobKind, RolloutKind, Shadow, Share, Step, Strategy,
};
use serde::{Deserialize, Serialize};

use crate::Plan;
use crate::clock::spell;
use crate::strategy::{Forward, blue_green, choose, rolling::Bounds, steps};

/// What a rollout would do, if all goes well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preview {
    /// Its stages in order.
    pub stages: Vec<Stage>,
    /// The most instances of both releases at a time.
    pub instances_max: u32,
    /// The same if it has to return.
    pub instances_max_returning: u32,
}

/// One stage of a rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// What happens, in one sentence.
    pub what: String,
    /// The most instances of both releases in it.
    pub instances_max: u32,
    /// The new release's share at its end.
    pub share: Share,
}

/// Says what the plan will do, stage by stage, and what it needs at its peak.
#[must_use]
pub fn preview(plan: &Plan) -> Preview {
    let mut sketch = Sketch {
        plan,
        stages: Vec::new(),
        old: plan.from.map_or(0, |_| plan.from_replicas),
        share: Share::NONE,
    };
    let policy = &plan.policy;
    let old = sketch.old;
    if let Some(need) = &plan.schema {
        let what = format!("bring database `{}` to `{}`", need.database, need.version);
        sketch.stage(what, old);
    }
    sketch.job(JobKind::Before, policy.before.as_ref(), old);
    match (choose(plan), &policy.strategy) {
        (
            Forward::Rolling,
            Strategy::Rolling {
                surge,
                max_unavailable,
                batch,
            },
        ) => {
            sketch.rolling(&Bounds::new(plan, *surge, *max_unavailable, *batch));
        }
        (Forward::BlueGreen { .. }, Strategy::BlueGreen(blue)) => sketch.blue_green(blue),
        (Forward::Canary { .. }, Strategy::Canary { steps }) => sketch.canary(steps),
        (Forward::Recreate, _) => sketch.recreate(),
        (
            Forward::Rollback
            | Forward::Rolling
            | Forward::BlueGreen { .. }
            | Forward::Canary { .. },
            _,
        ) => sketch.whole(),
    }
    let stages = sketch.stages;
    let instances_max = stages
        .iter()
        .map(|stage| stage.instances_max)
        .max()
        .unwrap_or(0);
    let both = plan
        .replicas
        .saturating_add(plan.from.map_or(0, |_| plan.from_replicas));
    let instances_max_returning = match policy.strategy {
        Strategy::Recreate => instances_max,
        Strategy::Rolling { .. } | Strategy::BlueGreen(_) | Strategy::Canary { .. } => {
            instances_max.max(both)
        }
    };
    Preview {
        stages,
        instances_max,
        instances_max_returning,
    }
}

struct Sketch<'a> {
    plan: &'a Plan,
    stages: Vec<Stage>,
    old: u32,
    share: Share,
}

impl Sketch<'_> {
    fn stage(&mut self, what: String, instances_max: u32) {
        self.stages.push(Stage {
            what,
            instances_max,
            share: self.share,
        });
    }

    fn job(&mut self, kind: JobKind, command: Option<&Argv>, instances_max: u32) {
        if let (Some(command), RolloutKind::Deploy) = (command, self.plan.kind) {
            let what = format!("run `{}` ({kind})", command.0.join(" "));
            self.stage(what, instances_max);
        }
    }

    /// Everything moves, then the job runs.
    fn finish(&mut self, instances_max: u32) {
        self.share = Share::ALL;
        if self.plan.traffic {
            let what = format!("send all traffic to {}", self.plan.to);
            self.stage(what, instances_max);
        }
        self.after(instances_max);
    }

    fn after(&mut self, instances_max: u32) {
        let after = self.plan.policy.after.as_ref();
        self.job(JobKind::After, after, instances_max);
    }

    fn stop_old(&mut self, peak: u32) {
        if let Some(from) = self.plan.from {
            self.stage(format!("drain and stop {from}"), peak);
        }
    }

    fn rolling(&mut self, bounds: &Bounds) {
        let peak = bounds.running_max;
        let batch = match bounds.batch {
            u32::MAX => String::new(),
            batch => format!(", at most {batch} at a time"),
        };
        let what = format!(
            "replace {} by {} instances of {}{batch}, never fewer than {} ready",
            self.old, self.plan.replicas, self.plan.to, bounds.ready_min
        );
        self.share = Share::ALL;
        self.stage(what, peak);
        self.after(peak);
        self.stop_old(peak);
    }

    fn blue_green(&mut self, blue: &Blue) {
        let size = blue_green::size(self.plan);
        let peak = self.old.saturating_add(size);
        self.stage(
            format!("start {size} of {} beside the old ones", self.plan.to),
            peak,
        );
        if let Some(preview) = &blue.preview {
            self.stage(format!("show it to {}", audience(preview)), peak);
        }
        self.job(JobKind::Smoke, blue.smoke.as_ref(), peak);
        for (at, step) in blue.steps.iter().enumerate() {
            let mut what = format!("step {} of {}", at + 1, blue.steps.len());
            what += &lasting(step, ":");
            self.stage(what, peak);
        }
        if blue.approve {
            self.stage("wait for approval of the switch".to_owned(), peak);
        }
        let kept = peak.max(self.old.saturating_add(self.plan.replicas));
        self.finish(kept);
        if self.plan.from.is_some() {
            let what = format!("keep the old instances warm for {}", spell(blue.keep));
            self.stage(what, kept);
        }
        self.stop_old(kept);
    }

    fn canary(&mut self, steps: &[Step]) {
        let replicas = self.plan.replicas;
        let mut most = 0;
        for (at, step) in steps.iter().enumerate() {
            most = most.max(steps::instances(step.weight, replicas));
            self.share = self.share.max(step.weight);
            let mut what = format!("step {} of {}: {}", at + 1, steps.len(), step.weight);
            if let Some(added) = &step.audience {
                what += &format!(" and {}", audience(added));
            }
            what += &format!(" on {most} of {}", self.plan.to);
            what += &lasting(step, ",");
            self.stage(what, self.old.saturating_add(most));
        }
        let peak = self.old.saturating_add(replicas);
        self.stage(format!("start all {replicas} of {}", self.plan.to), peak);
        self.finish(peak);
        self.stop_old(peak);
    }

    fn recreate(&mut self) {
        let (old, replicas) = (self.old, self.plan.replicas);
        if old > 0 {
            self.stop_old(old);
        }
        self.old = 0;
        self.stage(format!("start {replicas} of {}", self.plan.to), replicas);
        self.finish(replicas);
    }

    fn whole(&mut self) {
        let replicas = self.plan.replicas;
        let peak = self.old.saturating_add(replicas);
        self.stage(format!("start {replicas} of {}", self.plan.to), peak);
        self.finish(peak);
        self.stop_old(peak);
    }
}

/// What a step does beside its weight, and how long.
fn lasting(step: &Step, joint: &str) -> String {
    let mut what = String::new();
    if let Some(shadow) = &step.shadow {
        what += &format!("{joint} {}", copies(shadow));
    }
    if !step.lasts.is_zero() {
        what += &format!(", for {}", spell(step.lasts));
    }
    if step.approve {
        what += ", until approved";
    }
    what
}

fn copies(shadow: &Shadow) -> String {
    match &shadow.compare {
        None => format!("copies of {} of the requests", shadow.share),
        Some(compare) => format!(
            "answers to {} of the requests compared, at most {} of {} may differ",
            shadow.share, compare.at_most, compare.samples
        ),
    }
}

fn audience(audience: &Audience) -> String {
    let (place, value) = match audience {
        Audience::Header { name, value } => (format!("header `{name}`"), value),
        Audience::Cookie { name, value } => (format!("cookie `{name}`"), value),
        Audience::Host(host) => return format!("host `{host}`"),
    };
    match value {
        AudienceValue::Plain(_) | AudienceValue::Secret(_) => format!("requests with {place}"),
        AudienceValue::Part(share) => format!("{share} of the values of {place}"),
    }
}
