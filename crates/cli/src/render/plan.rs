//! What a deploy would do, as text.

use std::fmt::Write;

use control::api::{Planned, PlannedChange, PlannedService};
use model::{ReleaseId, Share};

/// Every service, its stages and its peak.
pub(crate) fn text(planned: &Planned) -> String {
    let mut out = String::new();
    for service in &planned.services {
        if !out.is_empty() {
            out.push('\n');
        }
        out.push_str(&one(service));
    }
    for gone in &planned.gone {
        let _ = write!(
            out,
            "\n{gone}: gone from the file, left running (stop it with --prune)"
        );
    }
    out
}

fn one(service: &PlannedService) -> String {
    let release = |release: Option<ReleaseId>| {
        release.map_or_else(|| "nothing".to_owned(), |id| id.to_string())
    };
    let (from, to) = (
        release(service.from),
        service
            .to
            .map_or_else(|| "a new release".to_owned(), |id| id.to_string()),
    );
    let mut out = match service.change {
        PlannedChange::None => format!("{}: on {from} already, nothing to do", service.service),
        PlannedChange::PolicyOnly => format!(
            "{}: stays on {from}, the policy is applied",
            service.service
        ),
        PlannedChange::First | PlannedChange::New => {
            format!("{}: {from} -> {to}, {}", service.service, service.strategy)
        }
        PlannedChange::Known => format!(
            "{}: {from} -> {to} (known), {}",
            service.service, service.strategy
        ),
    };
    if !service.differs.is_empty() {
        let _ = write!(out, "\n  differs in {}", service.differs.join(", "));
    }
    for (number, stage) in service.stages.iter().enumerate() {
        let share = Share::try_new(stage.share)
            .map_or_else(|error| error.to_string(), |share| share.to_string());
        let (number, peak) = (number + 1, stage.instances_peak);
        let _ = write!(
            out,
            "\n  {number}. {} (up to {peak} instances, {share} of the traffic on the new)",
            stage.what
        );
    }
    if !service.stages.is_empty() {
        let memory = service
            .memory_bytes_peak
            .map(|bytes| format!(", at most {} MiB of memory", bytes >> 20))
            .unwrap_or_default();
        let (peak, returning) = (service.instances_peak, service.instances_peak_returning);
        let back = if returning > peak {
            format!(", {returning} while it returns to {from} if it has to")
        } else {
            String::new()
        };
        let _ = write!(out, "\n  at its peak {peak} instances{back}{memory}");
    }
    for note in &service.notes {
        let _ = write!(out, "\n  note: {note}");
    }
    for obstacle in &service.obstacles {
        let _ = write!(out, "\n  in the way: {obstacle}");
    }
    out
}
