//! What `gapless migrate` prints.

use std::fmt::Write as _;

use migration::plan::{Cost, NoteLevel, Run, Step};
use migration::schema::Schema;
use postgres::{Change, Entry, Event};
use serde_json::{Value, json};

use crate::output::Output;

/// A plan for a person: every statement, its locks and why it is safe or not.
pub(super) fn plan(change: &Change, schema: &Schema) -> String {
    let plan = &change.plan;
    let mut text = format!(
        "{} publishes schema `{}`\n",
        change.script, plan.version.name
    );
    for note in &plan.notes {
        let level = match note.level {
            NoteLevel::Info => "note",
            NoteLevel::Warning => "warning",
            NoteLevel::Ask => "asks",
        };
        let _ = writeln!(text, "{level}: {}", note.text);
    }
    steps(
        &mut text,
        ("expand", "nothing that runs sees it"),
        &plan.expand,
    );
    if !plan.backfill.is_empty() {
        text.push_str("\nbackfill (in batches, beside running programs)\n");
    }
    for fill in &plan.backfill {
        let table = schema.tables.get(&fill.table.name);
        let rows = table.and_then(|table| table.estimate.rows);
        let rows = rows.map_or("an unknown number of".to_owned(), |rows| {
            format!("about {rows}")
        });
        let columns: Vec<&str> = fill.set.iter().map(|set| set.column.as_str()).collect();
        let _ = writeln!(
            text,
            "  {}: {rows} rows, {}",
            fill.table,
            columns.join(", ")
        );
        for trigger in &fill.triggers {
            let _ = writeln!(text, "    trigger {}: {:?}", trigger.name, trigger.effect);
        }
    }
    steps(
        &mut text,
        ("publish", "validated, then the new version's schema"),
        &plan.publish,
    );
    steps(
        &mut text,
        ("contract", "later, when the version before is gone"),
        &plan.contract,
    );
    text.trim_end().to_owned()
}

fn steps(text: &mut String, (part, when): (&str, &str), steps: &[Step]) {
    if steps.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n{part} ({when})");
    for step in steps {
        let _ = writeln!(text, "  {}", step.title);
        let _ = writeln!(text, "    {} · {}", how(step), locks(step));
        if !step.why.is_empty() {
            let _ = writeln!(text, "    {}", step.why);
        }
        for sql in &step.statements {
            let _ = writeln!(text, "    | {}", sql.replace('\n', "\n    | "));
        }
    }
}

fn how(step: &Step) -> &'static str {
    match (&step.run, step.cost) {
        (Run::Alone { .. }, _) => "outside of transactions",
        (Run::Validate, _) => "reads the table beside readers and writers",
        (Run::Together, Cost::Instant) => "at once",
        (Run::Together, Cost::Scan) => "reads the whole table",
        (Run::Together, Cost::Rewrite) => "writes the whole table anew",
        (Run::Together, Cost::Unknown) => "takes as long as it takes",
    }
}

fn locks(step: &Step) -> String {
    let locks = step
        .locks
        .iter()
        .map(|lock| format!("{} on {}", lock.level.name(), lock.table));
    let locks: Vec<String> = locks.collect();
    match locks.is_empty() {
        true => "no lock on a table".to_owned(),
        false => locks.join(", "),
    }
}

/// A plan for machines.
pub(super) fn plan_json(change: &Change) -> Value {
    json!({
        "v": 1, "type": "plan", "migration": change.version, "script": change.script,
        "checksum": change.checksum, "plan": change.plan,
    })
}

/// What is in progress and what is pending.
pub(super) fn status(open: &[&Entry], pending: &[&str]) -> String {
    let mut text = String::new();
    for entry in open {
        let version = entry
            .plan
            .as_ref()
            .map_or("", |plan| plan.version.name.as_str());
        let _ = writeln!(
            text,
            "{:<24} {:<10} schema {version}",
            entry.version,
            entry.phase.name()
        );
        for it in &entry.unconverted {
            let keys = match it.keys.is_empty() {
                true => String::new(),
                false => format!(", such as {}", it.keys.join(", ")),
            };
            let _ = writeln!(
                text,
                "  {} of {} not converted{keys}: {}; no contract until they are written again",
                it.rows, it.table, it.reason
            );
        }
    }
    if open.is_empty() {
        text.push_str("no migration is in progress\n");
    }
    for name in pending {
        let _ = writeln!(text, "{name:<24} pending");
    }
    text.trim_end().to_owned()
}

/// The history as a table.
pub(super) fn history(entries: &[Entry]) -> String {
    let mut text = format!(
        "{:>4}  {:<24} {:<8} {:<10} {:<20} {:<12} {:>9}  {}\n",
        "rank", "version", "type", "state", "installed on", "by", "time", "checksum"
    );
    for entry in entries {
        let checksum: String = entry.checksum.chars().take(12).collect();
        let time = format!("{} ms", entry.execution_time);
        let _ = writeln!(
            text,
            "{:>4}  {:<24} {:<8} {:<10} {:<20} {:<12} {time:>9}  {checksum}",
            entry.installed_rank,
            entry.version,
            entry.kind,
            entry.phase.name(),
            entry.installed_on,
            entry.installed_by,
        );
    }
    text.trim_end().to_owned()
}

/// Progress, as it happens.
pub(super) fn event(event: &Event, output: Output) {
    if output.is_json() {
        output.json_line(event);
        return;
    }
    match event {
        Event::Step {
            part,
            number,
            of,
            title,
        } => {
            output.note(format!("{part} {number}/{of}: {title}"));
        }
        Event::Waiting {
            blockers,
            waited_ms,
            ..
        } => {
            let blockers: Vec<String> = blockers.iter().map(ToString::to_string).collect();
            let for_what = match blockers.is_empty() {
                true => "a lock".to_owned(),
                false => blockers.join("; "),
            };
            output.note(format!(
                "  waiting for {for_what} ({} s so far)",
                waited_ms / 1000
            ));
        }
        Event::Again { reason, .. } => output.note(format!("  again: {reason}")),
        Event::Held { reason } => output.note(format!("  held: {reason}")),
        Event::Aborting { reason } => output.note(format!("taking it back: {reason}")),
        Event::Backfill(progress) => {
            let total = progress
                .rows_total
                .map(|total| format!(" of about {total}"));
            let left = progress.remaining_s.map(|left| format!(", {left} s left"));
            output.note(format!(
                "  {}: {}{} rows{}",
                progress.table,
                progress.rows,
                total.unwrap_or_default(),
                left.unwrap_or_default()
            ));
        }
        Event::Statement { .. } | Event::Done { .. } => {}
    }
}
