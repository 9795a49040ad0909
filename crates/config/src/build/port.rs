//! Fixed ports: one program at a time on each.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use model::{Port, ServiceName};

use super::service;
use crate::declare::StrategyName;
use crate::diagnostic::{Mistake, Mistakes, Span};
use crate::value::Table;

/// Checks the ports of all services against each other and the server's.
pub(super) fn check(
    server: &Table,
    services: &[(ServiceName, Table)],
    mistakes: &mut Mistakes<'_>,
) {
    check_listener(server, mistakes);
    check_enough(server, services, mistakes);
    let mut taken: BTreeMap<u16, (&ServiceName, Span)> = BTreeMap::new();
    for (name, table) in services {
        let Port::Fixed(port) = service::port(table) else {
            continue;
        };
        let span = table.span("port");
        check_server(server, (port, &span), mistakes);
        check_alone(table, mistakes);
        if let Some((other, first)) = taken.get(&port) {
            let message = format!("`{other}` and `{name}` have the same port, {port}");
            let mistake = Mistake::new(span, message);
            mistakes.add(mistake.related(first.clone(), "the first one"));
        } else {
            taken.insert(port, (name, span));
        }
    }
}

/// Refuses to assign the port that the server itself listens on.
fn check_listener(server: &Table, mistakes: &mut Mistakes<'_>) {
    let http: SocketAddr = server.value("http");
    let (begin, end): (u16, u16) = server.value("ports");
    let are_sound = server.is_sound("http") && server.is_sound("ports");
    if are_sound && (begin..=end).contains(&http.port()) {
        let message = format!(
            "the server itself listens on port {}, which is one of those that are assigned: {begin}-{end}",
            http.port()
        );
        let (wrong, other) = match server.is_written("http") {
            true => ("http", "ports"),
            false => ("ports", "http"),
        };
        let mut mistake = Mistake::new(server.span(wrong), message).hint("choose another port");
        if server.is_written(other) {
            mistake = mistake.related(server.span(other), "assigned from here");
        }
        mistakes.add(mistake);
    }
}

/// Refuses a range that could not even hold the instances of the active releases.
fn check_enough(server: &Table, services: &[(ServiceName, Table)], mistakes: &mut Mistakes<'_>) {
    let (begin, end): (u16, u16) = server.value("ports");
    let ports = u64::from(end - begin) + 1;
    let assigned = services
        .iter()
        .filter(|(_, table)| service::port(table) == Port::Assigned && table.is_sound("port"));
    let needed: u64 = assigned
        .map(|(_, table)| table.value::<u64>("replicas"))
        .sum();
    if needed > ports && server.is_sound("ports") {
        let message = format!("{needed} replicas cannot have a port each, there are {ports}");
        let mistake = Mistake::new(server.span("ports"), message);
        mistakes.add(mistake.hint("a rollout needs up to twice as many ports as replicas"));
    }
}

fn check_server(server: &Table, (port, span): (u16, &Span), mistakes: &mut Mistakes<'_>) {
    let http: SocketAddr = server.value("http");
    let (begin, end): (u16, u16) = server.value("ports");
    let https: Option<SocketAddr> = server.get("https");
    let clash = if http.port() == port && server.is_sound("http") {
        Some(("the server itself listens on", "http"))
    } else if https.is_some_and(|https| https.port() == port) {
        Some(("the server itself listens on", "https"))
    } else if (begin..=end).contains(&port) && server.is_sound("ports") {
        Some(("is one of those that are assigned:", "ports"))
    } else {
        None
    };
    if let Some((what, key)) = clash {
        let message = match key {
            "http" | "https" => format!("{what} port {port}"),
            _ => format!("port {port} {what} {begin}-{end}"),
        };
        let mut mistake = Mistake::new(span.clone(), message).hint("choose another port");
        if server.is_written(key) {
            mistake = mistake.related(server.span(key), "set here");
        }
        mistakes.add(mistake);
    }
}

/// Refuses more than one instance at a time on a fixed port.
fn check_alone(table: &Table, mistakes: &mut Mistakes<'_>) {
    let port = table.span("port");
    if table.is_sound("replicas") && table.value::<u64>("replicas") > 1 {
        let mistake = Mistake::new(
            table.span("replicas"),
            "several replicas cannot share a fixed port",
        );
        let mistake = mistake.hint("leave `port` out and listen on $PORT");
        mistakes.add(mistake.related(port.clone(), "the fixed port"));
    }
    let rollout: &Table = table.value("rollout");
    let strategy: StrategyName = rollout.value("strategy");
    if strategy == StrategyName::Recreate || !rollout.is_sound("strategy") {
        return;
    }
    let message = format!(
        "with a fixed port the old and the new release cannot overlap, as {} makes them",
        strategy.as_str()
    );
    let hint = format!(
        "leave `port` out and listen on $PORT, or set `strategy = \"recreate\"` in [{}.rollout]",
        table.path
    );
    let mistake = if rollout.is_written("strategy") {
        Mistake::new(rollout.span("strategy"), message).related(port, "the fixed port")
    } else {
        Mistake::new(port, message)
    };
    mistakes.add(mistake.hint(hint));
}
