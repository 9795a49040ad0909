//! From values to the model: rules between keys, and between services.
//!
//! Every rule reports and goes on, so that one run finds all mistakes. A part is built only
//! when nothing it needs is missing; what is built while mistakes were found is thrown away.

mod command;
mod database;
mod effect;
mod endpoint_limits;
mod health;
mod https;
mod order;
mod port;
mod rollout;
mod route;
mod service;
mod step;
mod tcp;

use std::collections::BTreeMap;

use model::{AccessLog, Network, Peers, Project, QueryShown, ServerConfig, ServiceName};

use crate::diagnostic::{Mistake, Mistakes};
use crate::value::{Item, Table, Value};
use command::urls;

/// Checks the rules and builds the project; `None` only after a mistake.
pub(crate) fn project(table: &Table, mistakes: &mut Mistakes<'_>) -> Option<Project> {
    let services = table
        .get::<&[(ServiceName, Table)]>("service")
        .unwrap_or_default();
    order::check(services, mistakes);
    route::check(services, mistakes);
    let server_table: &Table = table.value("server");
    port::check(server_table, services, mistakes);
    https::check(server_table, services, mistakes);
    tcp::check(server_table, services, mistakes);
    database::check(table, services, mistakes);
    let databases = database::build(table);
    let urls = urls(services);
    let mut built = BTreeMap::new();
    for (name, table) in services {
        if let Some(service) = service::build(table, (&urls, &databases), mistakes) {
            built.insert(name.clone(), service);
        }
    }
    let server = server(server_table, mistakes);
    let name: Option<ServiceName> = table.get("project");
    Some(Project {
        name: name?.as_str().to_owned(),
        server,
        services: built,
        databases,
    })
}

fn server(table: &Table, mistakes: &mut Mistakes<'_>) -> ServerConfig {
    ServerConfig {
        http: table.value("http"),
        https: https::build(table, mistakes),
        keep_releases: number(table, "keep_releases"),
        ports: table.value("ports"),
        peers: Peers {
            trusted: networks(table),
            proxy_protocol: proxy_protocol(table, mistakes),
            trace_sampled: table.value("trace_sampled"),
            connections_per_client: number(table, "connections_per_client"),
        },
        access_log: table.get("access_log").map(access_log),
    }
}

fn access_log(table: &Table) -> AccessLog {
    AccessLog {
        file_bytes_max: table.value("file_max"),
        files_max: number(table, "files"),
        query: if table.value("query") {
            QueryShown::Yes
        } else {
            QueryShown::No
        },
    }
}

/// Whether peers introduce their clients, which is for trusted ones only.
fn proxy_protocol(table: &Table, mistakes: &mut Mistakes<'_>) -> bool {
    let is_spoken = table.value("proxy_protocol");
    if is_spoken && networks(table).is_empty() && table.is_sound("trusted") {
        let message = "`proxy_protocol` without `trusted` would refuse every connection";
        let mistake = Mistake::new(table.span("proxy_protocol"), message);
        mistakes.add(mistake.hint("add `trusted = [\"10.0.0.0/8\"]` with the proxies in front"));
    }
    is_spoken
}

/// The networks in `trusted`.
fn networks(table: &Table) -> Vec<Network> {
    let items = table.get::<&[Item<Value>]>("trusted").unwrap_or_default();
    let networks = items.iter().map(|item| match &item.value {
        Value::Network(network) => *network,
        other => unreachable!("`trusted` is declared as a list of networks, not {other:?}"),
    });
    networks.collect()
}

/// A whole number whose declared bounds fit 32 bits.
fn number(table: &Table, name: &str) -> u32 {
    u32::try_from(table.value::<u64>(name)).expect("declared to fit")
}
