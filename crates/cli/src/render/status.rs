//! The state of everything, as text.

use std::fmt::Write;

use control::api::{StatusAnswer, Traffic, UnconvertedRows, UpgradeState, UpgradeView};
use engine::{DatabaseStatus, InstanceStatus, RolloutStatus, ServiceStatus};
use fleet::InstanceState;

/// The server, then every service with its instances and rollout.
pub(crate) fn text(answer: &StatusAnswer) -> String {
    let server = &answer.server;
    let mut out = format!(
        "gapless {} {}: {}, worker {} (generation {})",
        server.version,
        server.state,
        server.http.as_ref().map_or_else(
            || "not listening yet".to_owned(),
            |http| format!("http://{http}")
        ),
        server.worker_pid,
        server.generation
    );
    for worker in server.workers.iter().filter(|worker| worker.draining) {
        let _ = write!(
            out,
            "\nworker {} (generation {}, {}) drains: {} connections",
            worker.pid, worker.generation, worker.version, worker.connections
        );
    }
    if let Some(version) = server
        .supervisor_version
        .as_ref()
        .filter(|own| **own != server.version)
    {
        let _ = write!(
            out,
            "\nthe supervisor is still {version}; run `gapless upgrade`"
        );
    }
    if let Some(upgrade) = &server.upgrade {
        upgrading(upgrade, &mut out);
    }
    if let Some(https) = &server.https {
        let _ = write!(out, "\nalso https://{https}");
    }
    super::certificates::text(&server.certificates, &mut out);
    if let Some(error) = &answer.engine.journal_error {
        let _ = write!(out, "\nthe journal cannot be written: {error}");
    }
    if answer.engine.confirm_overdue {
        let _ = write!(
            out,
            "\ntable {} is not confirmed: a proxy thread hangs",
            answer.engine.revision
        );
    }
    for service in &answer.engine.services {
        let traffic = answer
            .traffic
            .get(&service.name)
            .cloned()
            .unwrap_or_default();
        one(service, &traffic, server.now_ms, &mut out);
    }
    for database in &answer.engine.databases {
        schema(database, &mut out);
        let unconverted = answer.unconverted.get(&database.name);
        for rows in unconverted.into_iter().flatten() {
            not_converted(rows, &mut out);
        }
    }
    out
}

fn not_converted(rows: &UnconvertedRows, out: &mut String) {
    let of = match rows.rows {
        1 => "1 row".to_owned(),
        rows => format!("{rows} rows"),
    };
    let such_as = match rows.keys.is_empty() {
        true => String::new(),
        false => format!(", such as {}", rows.keys.join(", ")),
    };
    let _ = write!(
        out,
        "\n  {of} of {} not converted by {}{such_as}: {}; to be written again before its contract \
         (with the database's URL: gapless migrate status)",
        rows.table, rows.migration, rows.reason
    );
}

fn schema(database: &DatabaseStatus, out: &mut String) {
    let _ = write!(out, "\n\ndatabase {}:", database.name);
    for (service, version) in &database.services {
        let version = version.as_deref().unwrap_or("no version");
        let _ = write!(out, " {service} on {version};");
    }
    if let Some(contracted) = &database.contracted {
        let _ = write!(out, "\n  contracted up to {contracted}");
    }
    if let Some(contract) = &database.contract {
        let how = match &contract.failed {
            Some(why) => format!("failed: {why}"),
            None => "is under way".to_owned(),
        };
        let _ = write!(out, "\n  contract of {} {how}", contract.version);
    }
    for version in &database.gone {
        let _ = write!(out, "\n  {version} was taken back by hand");
    }
    for waiting in &database.waiting {
        let _ = write!(out, "\n  contract of {} waits", waiting.version);
        if let Some(needed) = &waiting.needed_before {
            let _ = write!(out, ": {needed}");
        }
        if waiting.window_left_ms > 0 {
            let left = waiting.window_left_ms.div_ceil(1_000);
            let _ = write!(out, "; {left} s are left for a rollback");
        }
        if !waiting.approved {
            let name = &database.name;
            let _ = write!(
                out,
                "; to be approved: gapless migrate contract --database {name}"
            );
        }
    }
}

fn upgrading(upgrade: &UpgradeView, out: &mut String) {
    let reason = upgrade.reason.as_deref().unwrap_or_default();
    let _ = match upgrade.state {
        UpgradeState::Running => write!(out, "\nupgrade to {} is under way", upgrade.program),
        UpgradeState::Done => Ok(()),
        UpgradeState::Failed => write!(out, "\nthe last upgrade failed: {reason}"),
        UpgradeState::WorkerOnly => write!(out, "\nthe last upgrade left the supervisor: {reason}"),
    };
}

fn one(service: &ServiceStatus, traffic: &Traffic, now_ms: u64, out: &mut String) {
    let active = service.active.map_or_else(
        || "no release yet".to_owned(),
        |release| release.to_string(),
    );
    let label = service
        .releases
        .iter()
        .find(|release| Some(release.id) == service.active);
    let label = label
        .and_then(|release| release.label.as_ref())
        .map(|label| format!(" ({label})"))
        .unwrap_or_default();
    let stopped = if service.stopped { ", stopped" } else { "" };
    let _ = write!(
        out,
        "\n\n{}: {active}{label}, {} replicas{stopped}, {} requests/s",
        service.name, service.replicas, traffic.requests_per_second
    );
    if let (Some(p50), Some(p99)) = (traffic.p50_micros, traffic.p99_micros) {
        let _ = write!(
            out,
            ", p50 {:.1} ms, p99 {:.1} ms",
            p50 as f64 / 1e3,
            p99 as f64 / 1e3
        );
    }
    if let Some(entrance) = service.policy.tcp {
        let _ = write!(out, "\n  on tcp://{}", entrance.address);
    }
    paused(service, traffic, out);
    if let Some(trouble) = &service.trouble {
        let _ = write!(out, "\n  trouble: {trouble}");
    }
    for seen in &service.instances {
        instance(seen, traffic, now_ms, out);
    }
    if let Some(rollout) = &service.rollout {
        running(rollout, out);
    }
    if let Some(account) = &traffic.account {
        super::shadow::text(&account.shadow, out);
    }
    if let Some(queued) = &service.queued {
        let _ = write!(out, "\n  rollout {} to {} waits", queued.rollout, queued.to);
        for waiting in &queued.waiting_on {
            let _ = write!(out, "\n    for {waiting}");
        }
    }
}

/// One instance with the requests that it has open.
fn instance(instance: &InstanceStatus, traffic: &Traffic, now_ms: u64, out: &mut String) {
    let port = instance
        .port
        .map(|port| format!(" on port {port}"))
        .unwrap_or_default();
    let routed = if instance.routed {
        ", gets traffic"
    } else {
        ""
    };
    let open = traffic
        .open
        .get(&instance.instance.to_string())
        .copied()
        .unwrap_or(instance.open_requests);
    let _ = write!(
        out,
        "\n  {}{port}: {}{routed}, {open} open",
        instance.instance,
        state(instance.state, now_ms)
    );
    if let Some(weight) = instance.weight {
        let _ = write!(out, ", weight {weight}");
    }
    if let Some(failure) = &instance.last_failure {
        let _ = write!(out, "\n    last probe: {failure}");
    }
}

fn paused(service: &ServiceStatus, traffic: &Traffic, out: &mut String) {
    if let Some(closed) = &service.closed {
        let header = closed.allow_header.as_deref();
        let _ = write!(
            out,
            "\n  closed for maintenance: new requests get 503{}",
            header.map_or_else(String::new, |name| format!(", but for those with {name}"))
        );
    }
    if let Some(pause) = &service.pause {
        let _ = write!(
            out,
            "\n  paused: new requests are held for {:.1} s more, {} wait",
            pause.left_ms as f64 / 1e3,
            traffic.waiting
        );
    }
}

/// A running rollout in a few lines; also the plain form of the live view.
pub(crate) fn running(rollout: &RolloutStatus, out: &mut String) {
    let from = rollout
        .from
        .map_or_else(|| "nothing".to_owned(), |release| release.to_string());
    let back = if rollout.returning { ", returning" } else { "" };
    let _ = write!(
        out,
        "\n  rollout {} {from} -> {}, {}{back}, {} s: {} of {} ready, {} of the traffic",
        rollout.rollout,
        rollout.to,
        rollout.strategy,
        rollout.since_ms / 1_000,
        rollout.ready,
        rollout.replicas,
        rollout.share
    );
    for waiting in &rollout.waiting_on {
        let _ = write!(out, "\n    waits for {waiting}");
    }
}

fn state(state: InstanceState, now_ms: u64) -> String {
    let (word, since) = match state {
        InstanceState::Ordered { since } => ("ordered", since),
        InstanceState::Starting { since } => ("starting", since),
        InstanceState::Ready { since } => ("ready", since),
        InstanceState::Unhealthy { since } => ("unhealthy", since),
        InstanceState::Draining { since, .. } => ("draining", since),
        InstanceState::Stopping {
            since,
            killed: false,
        } => ("stopping", since),
        InstanceState::Stopping {
            since,
            killed: true,
        } => ("killed", since),
    };
    format!("{word} for {} s", now_ms.saturating_sub(since.0) / 1_000)
}
