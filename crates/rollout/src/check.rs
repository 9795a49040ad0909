//! What a place or a strategy cannot do is refused before anything begins.

use model::{RolloutKind, Strategy};

use crate::{Capabilities, Plan, Refused};

/// Checks that the place can do what the plan needs.
///
/// # Errors
///
/// Everything that it cannot, not only the first.
pub fn check_plan(plan: &Plan, able: &Capabilities) -> Result<(), Vec<Refused>> {
    let mut found = Vec::new();
    let policy = &plan.policy;
    if policy.min_ready >= policy.deadline {
        found
            .push("`min_ready` is not shorter than `deadline`, so no instance would count in time");
    }
    if policy.affinity.is_some() && !able.affinity {
        found.push("`affinity`: this driver cannot keep users on a release");
    }
    if policy.stick_to_instance && !able.affinity {
        found.push("`stick`: this driver cannot keep users on an instance");
    }
    let mut found: Vec<Refused> = found.into_iter().map(|why| Refused(why.into())).collect();
    match plan.kind {
        RolloutKind::Deploy => found.extend(strategy(plan, able)),
        RolloutKind::Rollback => {}
    }
    if found.is_empty() { Ok(()) } else { Err(found) }
}

fn strategy(plan: &Plan, able: &Capabilities) -> Vec<Refused> {
    let mut found = Vec::new();
    let mut refuse = |why: String| found.push(Refused(why));
    let checked = !plan.policy.checks.is_empty();
    let without_port = !plan.traffic;
    match &plan.policy.strategy {
        Strategy::Rolling { .. } => {}
        Strategy::BlueGreen(_) if without_port => refuse(
            "`blue_green` switches traffic, and the service has no port: use rolling or recreate"
                .into(),
        ),
        Strategy::Canary { .. } if without_port => refuse(
            "`canary` moves traffic, and the service has no port: use rolling or recreate".into(),
        ),
        Strategy::BlueGreen(_) => {}
        Strategy::Canary { steps } => {
            let grain = able.share_step.basis_points().max(1);
            for step in steps {
                if step.weight.basis_points() % grain != 0 {
                    refuse(format!(
                        "`weight = {}`: this driver moves traffic only in steps of {}",
                        step.weight, able.share_step
                    ));
                }
            }
        }
        Strategy::Recreate if checked => {
            refuse("`checks` compare two releases that serve, and `recreate` never has both".into())
        }
        Strategy::Recreate => {}
    }
    if without_port && checked {
        refuse("`checks` are about requests, and the service has no port".into());
    }
    found
}
