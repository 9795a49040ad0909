//! TCP services: addresses of their own, and nothing that only HTTP has.

use std::net::{IpAddr, SocketAddr};

use model::{Affinity, Balancing, HashKey, Metric, Port, ServiceName, TcpEntrance};

use super::service::port;
use crate::declare::{Section, Speech};
use crate::diagnostic::{Mistake, Mistakes, Span};
use crate::value::Table;

/// An address that is listened on.
struct Taken {
    address: SocketAddr,
    holder: Holder,
    /// Where that is written, if it is.
    span: Option<Span>,
}

/// For whom an address is listened on.
#[derive(PartialEq, Eq)]
enum Holder {
    Server,
    Service,
}

/// Where the service's connections come in, if it is a TCP service.
pub(super) fn build(service: &Table) -> Option<TcpEntrance> {
    Some(TcpEntrance {
        address: service.get("tcp")?,
        proxy_protocol: service.value("tcp_proxy_protocol"),
    })
}

/// Checks every service: what its clients speak fits its keys, and no address is taken twice.
pub(super) fn check(
    server: &Table,
    services: &[(ServiceName, Table)],
    mistakes: &mut Mistakes<'_>,
) {
    let mut taken = listeners(server);
    for (_, service) in services {
        check_speech(service, mistakes);
        let Some(address) = service.get::<SocketAddr>("tcp") else {
            continue;
        };
        if port(service) == Port::None {
            continue;
        }
        let span = service.span("tcp");
        check_address((address, &span), &taken, mistakes);
        check_ports(server, (address, &span), mistakes);
        taken.push(Taken {
            address,
            holder: Holder::Service,
            span: Some(span),
        });
        check_introduced(server, service, mistakes);
        check_values(service, mistakes);
    }
    for (_, service) in services {
        check_fixed(service, &taken, mistakes);
    }
}

fn listeners(server: &Table) -> Vec<Taken> {
    let listener = |key: &'static str| {
        let span = server.is_written(key).then(|| server.span(key));
        Some(Taken {
            address: server.get(key).filter(|_| server.is_sound(key))?,
            holder: Holder::Server,
            span,
        })
    };
    ["http", "https"].into_iter().filter_map(listener).collect()
}

/// Refuses keys of what the service's clients do not speak.
fn check_speech(service: &Table, mistakes: &mut Mistakes<'_>) {
    let is_tcp = service.is_written("tcp");
    let rollout: &Table = service.value("rollout");
    let steps = rollout.get::<&[Table]>("steps").unwrap_or_default();
    let tables = [service, service.value("proxy"), rollout].into_iter();
    for table in tables.chain(steps).chain(service.either("drain")) {
        for key in unspoken(table.section, is_tcp) {
            // One that needs `tcp` is refused for that already.
            let is_told = table
                .section
                .field(key)
                .is_some_and(|it| it.needs.is_some());
            if table.is_written(key) && (is_tcp || !is_told) {
                mistakes.add(refused(service, table.key_span(key), key));
            }
        }
    }
}

/// The keys of a section that have no meaning for such a service.
fn unspoken(section: &'static Section, is_tcp: bool) -> impl Iterator<Item = &'static str> {
    let fields = section
        .fields
        .iter()
        .filter(move |field| match field.speech {
            Some(Speech::Http) => is_tcp,
            Some(Speech::Tcp) => !is_tcp,
            None => false,
        });
    fields.map(|field| field.name)
}

fn refused(service: &Table, span: Span, key: &str) -> Mistake {
    if service.is_written("tcp") {
        let message = format!("`{key}` has no meaning for TCP connections");
        Mistake::new(span, message).related(service.key_span("tcp"), "made a TCP service here")
    } else {
        let message = format!("`{key}` has a meaning for TCP services only");
        Mistake::new(span, message).hint("add `tcp = \"0.0.0.0:5432\"`, or leave it out")
    }
}

/// Refuses an address that is listened on already.
fn check_address(
    (address, span): (SocketAddr, &Span),
    taken: &[Taken],
    mistakes: &mut Mistakes<'_>,
) {
    let Some(first) = taken.iter().find(|one| overlap(one.address, address)) else {
        return;
    };
    let who = match first.holder {
        Holder::Server => "the server itself",
        Holder::Service => "another service",
    };
    let message = format!("{who} listens on port {} already", address.port());
    let mut mistake = Mistake::new(span.clone(), message).hint("choose another port");
    if let Some(first) = &first.span {
        mistake = mistake.related(first.clone(), "set here");
    }
    mistakes.add(mistake);
}

/// True if a connection could be for both.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let is_any = |address: IpAddr| address.is_unspecified();
    let same = one.ip() == other.ip() || is_any(one.ip()) || is_any(other.ip());
    one.port() == other.port() && one.port() != 0 && same
}

/// Refuses a port that an instance may be given.
fn check_ports(server: &Table, (address, span): (SocketAddr, &Span), mistakes: &mut Mistakes<'_>) {
    let (begin, end): (u16, u16) = server.value("ports");
    if server.is_sound("ports") && (begin..=end).contains(&address.port()) {
        let message = format!(
            "port {} is one of those that are assigned: {begin}-{end}",
            address.port()
        );
        let mut mistake = Mistake::new(span.clone(), message).hint("choose another port");
        if server.is_written("ports") {
            mistake = mistake.related(server.span("ports"), "assigned from here");
        }
        mistakes.add(mistake);
    }
}

/// Refuses a program's fixed port where a TCP service is listened for.
fn check_fixed(service: &Table, taken: &[Taken], mistakes: &mut Mistakes<'_>) {
    let Port::Fixed(port) = port(service) else {
        return;
    };
    let loopback = SocketAddr::from(([127, 0, 0, 1], port));
    let tcp = |one: &&Taken| one.holder == Holder::Service && overlap(one.address, loopback);
    if let Some(span) = taken.iter().find(tcp).and_then(|one| one.span.clone()) {
        let message = format!("a TCP service is listened for on port {port}");
        let mistake = Mistake::new(service.span("port"), message);
        mistakes.add(
            mistake
                .hint("choose another port")
                .related(span, "set here"),
        );
    }
}

/// Refuses introductions where nobody may introduce.
fn check_introduced(server: &Table, service: &Table, mistakes: &mut Mistakes<'_>) {
    let is_introduced: bool = service.value("tcp_proxy_protocol");
    if is_introduced && super::networks(server).is_empty() && server.is_sound("trusted") {
        let message = "`tcp_proxy_protocol` without `trusted` would refuse every connection";
        let mistake = Mistake::new(service.span("tcp_proxy_protocol"), message);
        mistakes.add(mistake.hint("add `trusted = [\"10.0.0.0/8\"]` to [server]"));
    }
}

/// Refuses values that look into requests.
fn check_values(service: &Table, mistakes: &mut Mistakes<'_>) {
    let rollout: &Table = service.value("rollout");
    let proxy: &Table = service.value("proxy");
    let affinity = match rollout.get::<Affinity>("affinity") {
        Some(Affinity::Cookie | Affinity::Header(_)) => Some((rollout, "affinity", "\"client\"")),
        Some(Affinity::Client) | None => None,
    };
    let balance = match proxy.value("balance") {
        Balancing::PeakEwma | Balancing::Hash(HashKey::Header(_) | HashKey::Cookie(_)) => {
            let others = "\"p2c\", \"round_robin\", \"least_requests\" or \"hash:client\"";
            Some((proxy, "balance", others))
        }
        Balancing::P2c
        | Balancing::RoundRobin
        | Balancing::LeastRequests
        | Balancing::Hash(HashKey::Client) => None,
    };
    let checks = rollout.get::<&[Table]>("checks").unwrap_or_default();
    let latency = checks.iter().filter_map(|check| {
        let metric: Metric = check.get("metric")?;
        (metric != Metric::ErrorRate).then_some((check, "metric", "\"error_rate\""))
    });
    for (table, key, expected) in affinity.into_iter().chain(balance).chain(latency) {
        let message = format!("this `{key}` needs requests and responses of HTTP");
        let mistake = Mistake::new(table.span(key), message)
            .expected(format!("{expected} for TCP connections"));
        mistakes.add(mistake.related(service.key_span("tcp"), "made a TCP service here"));
    }
}
