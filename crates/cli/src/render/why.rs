//! Why a rollout did what it did, as text.

use std::fmt::Write;

use control::api::Explained;

use crate::render::receipt;

/// What happened, what it waits for, what was seen.
pub(crate) fn text(explained: &Explained) -> String {
    let mut out = format!("rollout {} of {}", explained.rollout, explained.service);
    for note in &explained.notes {
        let _ = write!(out, "\n  {}  {}", note.at, note.text);
    }
    let running = explained
        .running
        .iter()
        .flat_map(|running| &running.waiting_on);
    let queued = explained
        .queued
        .iter()
        .flat_map(|queued| &queued.waiting_on);
    for waiting in running.chain(queued) {
        let _ = write!(out, "\n  waits for {waiting}");
    }
    for line in &explained.evidence {
        let _ = write!(out, "\n  | {line}");
    }
    if let Some(done) = &explained.receipt {
        let _ = write!(out, "\n{}", receipt::text(done));
    }
    out
}
