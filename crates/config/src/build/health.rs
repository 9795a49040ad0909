//! How an instance's health is found out.

use model::{Health, Port, Probe, Protocol};

use super::command::{Env, Given, argv};
use super::number;
use crate::diagnostic::{Mistake, Mistakes};
use crate::value::Table;

/// Checks and builds `health`; `None` where it is absent or wrong.
pub(super) fn build(
    service: &Table,
    port: Port,
    env: &Env<'_>,
    mistakes: &mut Mistakes<'_>,
) -> Option<Health> {
    if port != Port::None && !service.is_written("health") && service.is_sound("port") {
        let message = format!("{} has a port and no `health`", service.path);
        let mistake = Mistake::missing(service.span.clone(), message)
            .expected("a probe that proves an instance ready for requests")
            .hint("add `health = { http = \"/healthz\" }`; `{ tcp = true }` where no path tells");
        mistakes.add(mistake);
    }
    let table: &Table = service.get("health")?;
    check_port(service, table, port, mistakes);
    check_grpc(service, table, mistakes);
    let probe = probe(table, (env, Given::to_instance(port)), mistakes);
    Some(Health {
        probe: probe?,
        every: table.value("every"),
        timeout: table.value("timeout"),
        rise: number(table, "rise"),
        fall: number(table, "fall"),
    })
}

fn probe(
    table: &Table,
    (env, given): (&Env<'_>, Given),
    mistakes: &mut Mistakes<'_>,
) -> Option<Probe> {
    let http: Option<String> = table.get("http");
    if let Some(path) = http {
        let status = table.get::<u64>("status");
        let status = status.map(|status| u16::try_from(status).expect("declared to fit"));
        return Some(Probe::Http {
            path,
            status,
            body: table.get("body"),
            weight: table.get("weight"),
        });
    }
    if let Some(service) = table.get("grpc") {
        return Some(Probe::Grpc { service });
    }
    let exec = argv(table, "exec", (env, given), mistakes).map(Probe::Exec);
    exec.or_else(|| table.get::<bool>("tcp").map(|_| Probe::Tcp))
}

/// gRPC is asked by what the program speaks.
fn check_grpc(service: &Table, table: &Table, mistakes: &mut Mistakes<'_>) {
    let protocol: Protocol = service.value("protocol");
    if table.get::<String>("grpc").is_some() && !protocol.is_http2() {
        let message = format!("`grpc` in {} needs HTTP/2", table.path);
        let mistake = Mistake::new(table.key_span("grpc"), message);
        mistakes.add(mistake.hint(if service.is_written("tcp") {
            "ask a TCP service by `tcp`, `http` or `exec`"
        } else {
            "add `protocol = \"h2c\"` to the service, or \"h2\" for one over TLS"
        }));
    }
}

fn check_port(service: &Table, table: &Table, port: Port, mistakes: &mut Mistakes<'_>) {
    if port != Port::None {
        return;
    }
    for key in ["http", "grpc", "tcp"] {
        if table.is_written(key) {
            let message = format!("`{key}` in {} needs a port to ask", table.path);
            let mistake = Mistake::new(table.key_span(key), message)
                .hint("use `exec` where there is none")
                .related(service.span("port"), "there is none");
            mistakes.add(mistake);
        }
    }
}
