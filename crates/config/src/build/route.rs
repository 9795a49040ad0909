//! Routes: no two services may get the same requests.

use std::collections::BTreeMap;

use model::{Port, Reach, ServiceName};

use super::service::{port, reach};
use crate::diagnostic::{Mistake, Mistakes, Span};
use crate::value::{Item, Table, Value};

/// What stands for a list that is not there.
const ANY: &str = "";

/// A host or path of a route and where it is written.
type Part = (String, Span);

/// Refuses routes that two services have, and previews on a host that leads somewhere already.
pub(super) fn check(services: &[(ServiceName, Table)], mistakes: &mut Mistakes<'_>) {
    for (_, table) in services {
        refuse_empty(table, mistakes);
        refuse_internal(table, mistakes);
    }
    let mut taken: BTreeMap<(String, String), (&ServiceName, Span)> = BTreeMap::new();
    let mut hosts: BTreeMap<String, Span> = BTreeMap::new();
    for (name, table) in services {
        let is_public =
            port(table) != Port::None && reach(table) == Reach::Public && !table.is_written("tcp");
        if !is_public || !table.is_sound("hosts") || !table.is_sound("paths") {
            continue;
        }
        let mut reported: Vec<&ServiceName> = Vec::new();
        for (host, path, span) in routes(table) {
            if let Some((other, first)) = taken.get(&(host.clone(), path.clone())) {
                if !reported.contains(other) {
                    reported.push(other);
                    mistakes.add(clash((*other, name), (&host, &path), (first, span)));
                }
            } else {
                taken.insert((host.clone(), path), (name, span));
            }
        }
        hosts.extend(
            parts(table, "hosts")
                .into_iter()
                .filter(|(host, _)| host != ANY),
        );
    }
    for (_, table) in services {
        check_preview(table, &hosts, mistakes);
    }
}

/// Refuses empty lists, which one might take for nothing as well as for any.
fn refuse_empty(table: &Table, mistakes: &mut Mistakes<'_>) {
    for (key, any) in [("hosts", "any host"), ("paths", "any path")] {
        let items = table.get::<&[Item<Value>]>(key);
        if items.is_some_and(<[_]>::is_empty) {
            let mistake = Mistake::new(table.span(key), format!("`{key}` is an empty list"));
            mistakes.add(mistake.hint(format!("leave it out for {any}")));
        }
    }
}

/// Refuses hosts and paths of a service that nobody outside reaches.
fn refuse_internal(table: &Table, mistakes: &mut Mistakes<'_>) {
    if reach(table) == Reach::Internal && table.is_written("https") {
        let message = "`https` means nothing in a service that is internal";
        let mistake = Mistake::new(table.key_span("https"), message);
        mistakes.add(mistake.related(table.span("internal"), "made internal here"));
    }
    for key in ["hosts", "paths"] {
        if reach(table) == Reach::Internal && table.is_written(key) {
            let message = format!("`{key}` leads nowhere in a service that is internal");
            let mistake = Mistake::new(table.key_span(key), message);
            mistakes.add(mistake.related(table.span("internal"), "made internal here"));
        }
    }
}

fn routes(table: &Table) -> Vec<(String, String, Span)> {
    let paths = parts(table, "paths");
    let mut routes = Vec::new();
    for (host, host_span) in parts(table, "hosts") {
        for (path, path_span) in &paths {
            let span = if path == ANY { &host_span } else { path_span };
            // Any path is the prefix `/`.
            let path = if path == ANY { "/" } else { path };
            routes.push((host.clone(), path.to_owned(), span.clone()));
        }
    }
    routes
}

/// The elements of `hosts` or `paths`; one that stands for any where there are none.
fn parts(table: &Table, name: &str) -> Vec<Part> {
    let items = table.get::<&[Item<Value>]>(name).unwrap_or_default();
    let mut parts: Vec<Part> = items
        .iter()
        .filter_map(|item| match &item.value {
            Value::Text(text) => Some((text.clone(), item.span.clone())),
            _ => None,
        })
        .collect();
    if parts.is_empty() {
        parts.push((ANY.to_owned(), table.span.clone()));
    }
    parts
}

fn clash(
    (first, second): (&ServiceName, &ServiceName),
    (host, path): (&str, &str),
    (first_span, span): (&Span, Span),
) -> Mistake {
    let host = if host == ANY { "any host" } else { host };
    let path = if path == "/" { "any path" } else { path };
    let message = format!("`{first}` and `{second}` would both get requests for {host}, {path}");
    Mistake::new(span, message)
        .related(first_span.clone(), "the first one")
        .hint("give one of them other `hosts` or `paths`")
}

fn check_preview(table: &Table, hosts: &BTreeMap<String, Span>, mistakes: &mut Mistakes<'_>) {
    let rollout: &Table = table.value("rollout");
    let Some(preview) = rollout.get::<&Table>("preview") else {
        return;
    };
    let host: Option<String> = preview.get("host");
    if let Some(first) = host.and_then(|host| hosts.get(&host)) {
        let message = "the preview's host leads to a service already";
        let mistake = Mistake::new(preview.span("host"), message);
        mistakes.add(mistake.related(first.clone(), "it leads there"));
    }
}
