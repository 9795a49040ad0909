//! The proxy's table, made from the state.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use fleet::InstanceView;
use model::{Audience, Protocol, Reach, ReleaseId, Revision, ServiceName, Share, Strategy};
use traffic::{
    Candidate, Cell, Endpoint, HostPattern, Listener, ListenerKind, Paused, Route, ServiceClosed,
    ServiceTable, ShadowTable, Table,
};

use crate::state::{Service, Split, State};

/// A table before it has a revision.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub(crate) table: Table,
    pub(crate) audiences: BTreeMap<usize, Vec<Audience>>,
}

/// What should be routed now; its revision is that of the newest table.
pub(crate) fn draft(state: &State) -> Draft {
    let mut draft = Draft::default();
    draft.table.revision = state.published.revision();
    draft.table.peers = state.server.peers.clone();
    draft.table.access_log = state.server.access_log;
    let mut routes = Vec::new();
    for (name, service) in &state.services {
        if service.core.pruned || !service.has_traffic() {
            continue;
        }
        let index = draft.table.services.len();
        routes.extend(public_routes(service, index));
        draft.table.listeners.extend(internal(service, index));
        draft.table.listeners.extend(entrance(service, index));
        let audiences = audiences(service);
        if !audiences.is_empty() {
            draft.audiences.insert(index, audiences);
        }
        let views = service.fleet.views();
        let table = service_table(name, service, &views);
        draft.table.services.push(table);
        draft.table.drain = draft.table.drain.max(drain(service, &views));
    }
    listen_publicly(state, routes, &mut draft.table);
    draft
}

/// The longest that anything at the service's instances may take once they are drained.
fn drain(service: &Service, views: &[InstanceView]) -> Duration {
    let releases = views
        .iter()
        .filter_map(|view| service.releases.get(&view.instance.release));
    let limits = releases.map(|release| release.spec.drain);
    limits.max().unwrap_or_default()
}

/// Every public listener has the same routes.
fn listen_publicly(state: &State, routes: Vec<Route>, table: &mut Table) {
    if let Some(https) = &state.server.https {
        let listener = Listener {
            address: https.address,
            kind: ListenerKind::Https,
            proxy_protocol: state.server.peers.proxy_protocol,
            routes: routes.clone(),
        };
        table.listeners.insert(0, listener);
        table.certificates = https.certificates.clone();
        table.clients = https.clients.clone();
    }
    if let Some(address) = state.server.http {
        let listener = Listener {
            address,
            kind: ListenerKind::Http,
            proxy_protocol: state.server.peers.proxy_protocol,
            routes,
        };
        table.listeners.insert(0, listener);
    }
}

/// The share of the candidate and whether it is reachable at all.
fn split(service: &Service) -> (Share, bool) {
    let target = match (&service.running, &service.core.left) {
        (Some(running), _) => &running.target,
        (None, Some(left)) => &left.target,
        (None, None) => return (Share::NONE, false),
    };
    let reachable = target.share > Share::NONE || !target.audiences.is_empty();
    (target.share, reachable)
}

fn service_table(name: &ServiceName, service: &Service, views: &[InstanceView]) -> ServiceTable {
    let (stable, candidate) = service.sides();
    let (share, reachable) = split(service);
    let side = |release: ReleaseId| side(service, views, release);
    let candidate = candidate.filter(|_| reachable).map(side);
    let (stable, candidate, share) = match (stable, candidate) {
        (Some(stable), Some(candidate)) => (side(stable), Some(candidate), share),
        (Some(stable), None) => (side(stable), None, Share::NONE),
        (None, Some(only)) => (only, None, Share::NONE),
        (None, None) => (nobody(service), None, Share::NONE),
    };
    let rollout = match &service.running {
        Some(running) => &running.plan.policy,
        None => &service.policy.rollout,
    };
    let moving = match (&service.running, &service.core.left) {
        (Some(running), _) => Some(running.plan.rollout),
        (None, left) => left.as_ref().map(|left| left.rollout),
    };
    ServiceTable {
        name: name.clone(),
        cell: Cell(service.core.cell),
        rollout: moving.filter(|_| candidate.is_some()),
        stable,
        candidate,
        share,
        affinity: rollout.affinity.clone(),
        stick_to_instance: rollout.stick_to_instance,
        audiences: Vec::new(),
        limits: service.policy.limits.clone(),
        paused: service.core.pause.map(|pause| Paused {
            until: pause.until,
            until_micros: 0,
        }),
        closed: service.core.closed.as_ref().map(|closed| ServiceClosed {
            maintenance: closed.maintenance.clone(),
            pass: None,
        }),
        https: service.policy.https.clone(),
        delivery: service.policy.delivery.clone(),
        shadow: shadow(service, views),
    }
}

/// The new release of the running rollout, as far as it gets copies only.
fn shadow(service: &Service, views: &[InstanceView]) -> Option<ShadowTable> {
    let running = service.running.as_ref()?;
    let shadow = running.target.shadow.as_ref()?;
    let release = running.plan.to;
    Some(ShadowTable {
        key: shadow.key,
        target: side(service, views, release),
        policy: shadow.policy.clone(),
    })
}

/// No release has traffic: requests wait, and then are told so.
fn nobody(service: &Service) -> Candidate {
    let newest = service.releases.keys().next_back();
    Candidate {
        release: newest.copied().unwrap_or(ReleaseId(0)),
        endpoints: Vec::new(),
        tls: None,
    }
}

/// A release with the endpoints that may get requests.
fn side(service: &Service, views: &[InstanceView], release: ReleaseId) -> Candidate {
    let spec = service.releases.get(&release).map(|known| &known.spec);
    Candidate {
        release,
        endpoints: endpoints(service, views, release),
        tls: spec.and_then(|spec| spec.program_tls.clone()),
    }
}

fn endpoints(service: &Service, views: &[InstanceView], release: ReleaseId) -> Vec<Endpoint> {
    let routable = views
        .iter()
        .filter(|view| view.routable && view.instance.release == release);
    let spec = service.releases.get(&release).map(|known| &known.spec);
    let protocol = spec.map_or_else(Protocol::default, |spec| spec.protocol);
    let health = spec.and_then(|spec| spec.health.as_ref());
    let is_weighing = health.is_some_and(|health| health.probe.is_weighing());
    let endpoint = |view: &InstanceView| {
        let place = service.places.get(&view.instance)?;
        Some(Endpoint {
            instance: view.instance.clone(),
            address: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), place.port?),
            protocol,
            cell: place.cell,
            weight: is_weighing.then(|| view.weight.unwrap_or_default()),
        })
    };
    routable.filter_map(endpoint).collect()
}

/// Audiences that the proxy matches within the service's own routes.
fn audiences(service: &Service) -> Vec<Audience> {
    let all = match (&service.running, &service.core.left) {
        (Some(running), _) => &running.target.audiences,
        (None, Some(left)) => &left.target.audiences,
        (None, None) => return Vec::new(),
    };
    let matched = all.iter().filter(|audience| match audience {
        Audience::Header { .. } | Audience::Cookie { .. } => true,
        Audience::Host(_) => false,
    });
    matched.cloned().collect()
}

fn public_routes(service: &Service, index: usize) -> Vec<Route> {
    let policy = &service.policy;
    let named = policy.hosts.iter().map(|host| pattern(host));
    if policy.tcp.is_some() {
        return Vec::new();
    }
    let own: Vec<HostPattern> = match policy.reach {
        Reach::Internal => Vec::new(),
        Reach::Public if policy.hosts.is_empty() => vec![HostPattern::Any],
        Reach::Public => named.collect(),
    };
    let mut hosts: Vec<(HostPattern, Option<ReleaseId>)> =
        own.into_iter().map(|host| (host, None)).collect();
    hosts.extend(preview(service));
    let all = ["/".to_owned()];
    let paths = if policy.paths.is_empty() {
        &all[..]
    } else {
        &policy.paths
    };
    let route = |(host, only): (HostPattern, Option<ReleaseId>)| {
        paths.iter().map(move |path| Route {
            host: host.clone(),
            path: path.clone(),
            service: index,
            only,
        })
    };
    hosts.into_iter().flat_map(route).collect()
}

/// The host that leads to the new release alone, before the switch.
fn preview(service: &Service) -> Option<(HostPattern, Option<ReleaseId>)> {
    let running = service.running.as_ref()?;
    let host = running
        .target
        .audiences
        .iter()
        .find_map(|audience| match audience {
            Audience::Host(host) => Some(host),
            Audience::Header { .. } | Audience::Cookie { .. } => None,
        })?;
    match running.plan.policy.strategy {
        Strategy::BlueGreen(_) => Some((pattern(host), Some(running.plan.to))),
        Strategy::Rolling { .. } | Strategy::Canary { .. } | Strategy::Recreate => None,
    }
}

fn pattern(host: &str) -> HostPattern {
    let host = host.to_ascii_lowercase();
    match host.strip_prefix("*.") {
        Some(domain) => HostPattern::Below(domain.to_owned()),
        None => HostPattern::Exact(host),
    }
}

/// The service's own address, at which its clients speak as at its others.
fn internal(service: &Service, index: usize) -> Option<Listener> {
    let kind = match service.policy.tcp {
        Some(_) => ListenerKind::Tcp,
        None => ListenerKind::Internal,
    };
    service
        .core
        .internal
        .map(|address| listener((address, kind), index))
}

/// Where the clients of a TCP service connect.
fn entrance(service: &Service, index: usize) -> Option<Listener> {
    service.policy.tcp.map(|entrance| Listener {
        proxy_protocol: entrance.proxy_protocol,
        ..listener((entrance.address, ListenerKind::Tcp), index)
    })
}

/// A listener all of which leads to one service.
fn listener((address, kind): (SocketAddr, ListenerKind), service: usize) -> Listener {
    let route = Route {
        host: HostPattern::Any,
        path: "/".to_owned(),
        service,
        only: None,
    };
    Listener {
        address,
        kind,
        proxy_protocol: false,
        routes: vec![route],
    }
}

/// Notes which split each rollout has in the newest table.
pub(crate) fn note_splits(state: &mut State) {
    for running in state
        .services
        .values_mut()
        .filter_map(|s| s.running.as_mut())
    {
        running.routed = Some(Split::of(&running.target));
    }
}

/// Gives the draft the revision `next` and notes which services and instances it concerns.
pub(crate) fn adopt(state: &mut State, mut draft: Draft, next: Revision) {
    draft.table.revision = next;
    for table in &draft.table.services {
        let old = state.published.table.services.iter();
        let same = old.clone().any(|old| old == table);
        let Some(service) = state.services.get_mut(&table.name) else {
            continue;
        };
        if !same {
            service.routed_since = next;
        }
        for endpoint in table.sides().flat_map(|side| &side.endpoints) {
            if let Some(place) = service.places.get_mut(&endpoint.instance) {
                place.routed = next;
            }
        }
    }
    state.published.table = draft.table.into();
    state.published.audiences = draft.audiences.into();
}
