//! What came of a rollout's shadows, as text.

use std::fmt::Write;

use model::{Compared, ShadowAccount};

use super::receipt::{by_release, pairs};

/// Differences that are shown; `--json` has more.
const SHOWN_MAX: usize = 10;

/// Nothing where there was no shadow.
pub(crate) fn text(shadow: &ShadowAccount, out: &mut String) {
    for (release, figures) in &shadow.by_release {
        let _ = write!(out, "\n  copies to {release}: {}", by_release(figures));
    }
    if !shadow.dropped.is_empty() {
        let _ = write!(out, "\n  not copied: {}", pairs(&shadow.dropped));
    }
    for step in &shadow.compared {
        compared(step, out);
    }
}

fn compared(step: &Compared, out: &mut String) {
    let _ = write!(
        out,
        "\n  compared in step {}: {} requests, {} differ",
        step.step, step.compared, step.differing
    );
    if step.incomplete > 0 {
        let _ = write!(
            out,
            ", {} not answered twice by the old release",
            step.incomplete
        );
    }
    if step.noisy > 0 {
        let _ = write!(out, ", {} fields vary by themselves", step.noisy);
    }
    for one in step.differences.iter().take(SHOWN_MAX) {
        let _ = write!(
            out,
            "\n    {} of {} of {}: {} ({}): {} -> {}",
            one.requests, one.of, one.route, one.field, one.kind, one.old, one.new
        );
    }
    let more = step.differences.len().saturating_sub(SHOWN_MAX) as u64 + step.unlisted;
    if more > 0 {
        let _ = write!(out, "\n    and {more} fields more");
    }
}
