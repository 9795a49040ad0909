//! A receipt as text.

use std::fmt::Write;

use model::{Balance, ByRelease, Latency, Receipt, SchemaAccount};

/// The whole account, the verdict first.
pub(crate) fn text(receipt: &Receipt) -> String {
    let mut out = headline(receipt);
    if no_requests(receipt) {
        out.push_str("\n  takes no requests: it has no port");
    } else {
        traffic(receipt, &mut out);
    }
    if let Some(done) = &receipt.schema {
        schema(done, &mut out);
    }
    times(receipt, &mut out);
    out
}

/// What was done to the database.
fn schema(done: &SchemaAccount, out: &mut String) {
    let version = done.version.as_deref().unwrap_or("no version");
    let published = match done.migrations.is_empty() {
        true => "nothing was published".to_owned(),
        false => format!("published {}", done.migrations.join(", ")),
    };
    let _ = write!(
        out,
        "\n  database {} for {version}: {published} in {:.1} s: {} statements, {} rows filled in",
        done.database,
        done.ms as f64 / 1e3,
        done.statements_total,
        done.rows
    );
    let locks = &done.locks;
    let blocked = match &done.blocked {
        Some(seen) => format!(
            "{} queries blocked, {} ms at most",
            seen.queries, seen.longest_ms
        ),
        None => "blocked queries not measured".to_owned(),
    };
    let _ = write!(
        out,
        "\n    waited for locks {} times, {} ms in all, {} ms at most; held them {} ms at most; {blocked}",
        locks.waits, locks.total_ms, locks.longest_ms, locks.held_longest_ms
    );
}

/// Whether the service has no port: the proxy never had it, so nothing of it could be lost.
pub(crate) fn no_requests(receipt: &Receipt) -> bool {
    receipt.requests.is_none() && receipt.first_cutover_seconds.is_none()
}

/// What carried what was cut, if anything but plain requests.
fn cut_by(receipt: &Receipt) -> String {
    let by = &receipt.cut_by;
    if by.keys().all(|name| name == "requests") {
        return String::new();
    }
    let all: Vec<String> = by
        .iter()
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    format!(" ({})", all.join(", "))
}

fn hedged(receipt: &Receipt, out: &mut String) {
    let hedged = receipt.hedged;
    if !hedged.is_empty() {
        let _ = write!(
            out,
            "\n  second attempts beside slow ones {}, of which {} answered first",
            hedged.attempts, hedged.won
        );
    }
}

fn traffic(receipt: &Receipt, out: &mut String) {
    let requests = figure(receipt.requests);
    let _ = write!(out, "\n  lost {} of {requests}", figure(receipt.lost));
    for (index, (reason, count)) in receipt.lost_by_reason.iter().enumerate() {
        let name = serde_json::to_value(reason)
            .ok()
            .and_then(|value| value.as_str().map(str::to_owned));
        let _ = write!(
            out,
            "{}{} {count}",
            if index == 0 { ": " } else { ", " },
            name.unwrap_or_default()
        );
    }
    let _ = write!(
        out,
        "\n  failed by the release {}, cut {}{}, refused {}",
        figure(receipt.failed_by_release),
        figure(receipt.cut),
        cut_by(receipt),
        figure(receipt.refused)
    );
    let _ = write!(
        out,
        "\n  longest gap {} (before: {})",
        millis(receipt.longest_gap_ms),
        millis(receipt.longest_gap_before_ms)
    );
    let paused = &receipt.paused;
    if paused.ms > 0 || paused.held > 0 {
        let _ = write!(
            out,
            "\n  paused for {:.1} s by a person: held {}, of which clients gave up {}; turned away {}",
            paused.ms as f64 / 1e3,
            paused.held,
            paused.left,
            paused.refused
        );
    }
    hedged(receipt, out);
    let windows = &receipt.latency_ms;
    let _ = write!(
        out,
        "\n  latency p50/p99: before {}, during {}, after {}",
        latency(windows.before),
        latency(windows.during),
        windows
            .after
            .map_or_else(|| "not yet".to_owned(), |after| latency(Some(after)))
    );
    for (release, figures) in &receipt.by_release {
        let _ = write!(out, "\n  {release}: {}", by_release(figures));
    }
    super::shadow::text(&receipt.shadow, out);
    if !receipt.rejected.is_empty() {
        let _ = write!(
            out,
            "\n  answered by the proxy itself: {}",
            pairs(&receipt.rejected)
        );
    }
    let balance = receipt.balance.unwrap_or_default();
    if balance != Balance::default() {
        let _ = write!(
            out,
            "\n  open at the begin {}, at the end {}; without a release {}",
            balance.open_at_begin, balance.open_at_end, balance.without_release
        );
    }
}

/// The account on one line.
pub(crate) fn line(receipt: &Receipt) -> String {
    let from = receipt.from.as_deref().unwrap_or("nothing");
    format!(
        "{from} -> {} {} {} lost {} of {}: {}",
        receipt.to,
        receipt.strategy,
        receipt.outcome,
        figure(receipt.lost),
        figure(receipt.requests),
        receipt.reason
    )
}

fn headline(receipt: &Receipt) -> String {
    let from = receipt.from.as_deref().unwrap_or("nothing");
    let label = receipt
        .label
        .as_ref()
        .map(|label| format!(" ({label})"))
        .unwrap_or_default();
    format!(
        "receipt {}: {} {from} -> {}{label}, {}, {} in {:.1} s: {}",
        receipt.rollout,
        receipt.service,
        receipt.to,
        receipt.strategy,
        receipt.outcome,
        receipt.seconds,
        receipt.reason
    )
}

fn times(receipt: &Receipt, out: &mut String) {
    if let (Some(first), Some(last)) = (receipt.first_cutover_seconds, receipt.last_cutover_seconds)
    {
        let _ = write!(
            out,
            "\n  first cutover after {first:.2} s, last after {last:.2} s"
        );
    }
    let waited: Vec<String> = receipt
        .waited
        .iter()
        .map(|waited| format!("{} {:.1} s", waited.on, waited.ms as f64 / 1e3))
        .collect();
    if !waited.is_empty() {
        let _ = write!(out, "\n  waited for {}", waited.join(", "));
    }
    for instance in &receipt.instances {
        let _ = write!(
            out,
            "\n  {}: start {}, ready {}, drain {}, stop {}",
            instance.instance,
            millis(instance.start_ms),
            millis(instance.ready_ms),
            millis(instance.drain_ms),
            millis(instance.stop_ms)
        );
    }
}

pub(super) fn by_release(figures: &ByRelease) -> String {
    let mut text = format!("{} requests", figures.requests);
    if !figures.responses.is_empty() {
        let _ = write!(text, ", {}", pairs(&figures.responses));
    }
    if !figures.errors.is_empty() {
        let _ = write!(text, ", errors of the proxy: {}", pairs(&figures.errors));
    }
    if figures.failed > 0 {
        let _ = write!(text, ", failed {}", figures.failed);
    }
    if figures.retried > 0 {
        let _ = write!(text, ", retried elsewhere {}", figures.retried);
    }
    let _ = write!(text, ", p50/p99 {}", latency(figures.latency_ms));
    text
}

pub(super) fn pairs(counts: &std::collections::BTreeMap<String, u64>) -> String {
    let pairs: Vec<String> = counts
        .iter()
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    pairs.join(", ")
}

fn figure(figure: Option<u64>) -> String {
    figure.map_or_else(|| "not measured".to_owned(), |count| count.to_string())
}

fn millis(figure: Option<u64>) -> String {
    figure.map_or_else(|| "-".to_owned(), |ms| format!("{ms} ms"))
}

fn latency(latency: Option<Latency>) -> String {
    latency.map_or_else(
        || "-".to_owned(),
        |latency| {
            format!(
                "{:.1}/{:.1} ms",
                latency.p50_micros as f64 / 1e3,
                latency.p99_micros as f64 / 1e3
            )
        },
    )
}
