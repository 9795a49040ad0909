use std::time::Duration;

use model::{ProxyLimits, Revision, ServiceName};
use proptest::prelude::*;

use super::*;
use crate::table::{Candidate, Cell, Route, ServiceTable};

fn service(number: usize) -> ServiceTable {
    let name = ServiceName::try_new(&format!("s{number}")).unwrap();
    let stable = Candidate {
        release: ReleaseId(1),
        endpoints: Vec::new(),
        tls: None,
    };
    ServiceTable {
        limits: ProxyLimits {
            wait_ready: Duration::ZERO,
            ..ProxyLimits::default()
        },
        ..ServiceTable::serving(name, Cell(number as u32), stable)
    }
}

fn at() -> SocketAddr {
    "127.0.0.1:80".parse().unwrap()
}

fn table(routes: Vec<Route>) -> Table {
    let services = routes
        .iter()
        .map(|route| route.service + 1)
        .max()
        .unwrap_or(0);
    Table {
        revision: Revision(1),
        certificates: Vec::new(),
        listeners: vec![Listener {
            kind: crate::table::ListenerKind::Http,
            address: at(),
            proxy_protocol: false,
            routes,
        }],
        services: (0..services).map(service).collect(),
        ..Table::default()
    }
}

fn index(routes: &[(HostPattern, &str)]) -> Index {
    let routes = routes
        .iter()
        .enumerate()
        .map(|(service, (host, path))| Route {
            host: host.clone(),
            path: (*path).to_owned(),
            service,
            only: None,
        });
    Index::new(&table(routes.collect()))
}

fn exact(host: &str) -> HostPattern {
    HostPattern::Exact(host.to_owned())
}

fn below(host: &str) -> HostPattern {
    HostPattern::Below(host.to_owned())
}

fn found(index: &Index, host: &str, path: &str) -> Option<usize> {
    index
        .route(at(), host.as_bytes(), path.as_bytes())
        .map(|route| route.service)
}

#[test]
fn the_most_specific_host_wins_and_case_and_final_dot_mean_nothing() {
    let index = index(&[
        (HostPattern::Any, "/"),
        (below("example.com"), "/"),
        (below("eu.example.com"), "/"),
        (exact("shop.example.com"), "/"),
    ]);
    for (host, service) in [
        ("shop.example.com", 3),
        ("SHOP.Example.COM.", 3),
        ("a.example.com", 1),
        ("b.a.example.com", 1),
        ("x.eu.example.com", 2),
        ("eu.example.com", 1),
        ("example.com", 0),
        ("badexample.com", 0),
        ("com", 0),
        ("", 0),
    ] {
        assert_eq!(found(&index, host, "/x"), Some(service), "{host}");
    }
}

#[test]
fn the_longest_path_wins_by_whole_segments() {
    let index = index(&[
        (HostPattern::Any, "/"),
        (HostPattern::Any, "/api"),
        (HostPattern::Any, "/api/v1/"),
    ]);
    for (path, service) in [
        ("/", 0),
        ("/apiary", 0),
        ("/api", 1),
        ("/api/", 1),
        ("/api/v10", 1),
        ("/api/v1", 2),
        ("/api/v1/x/y/z", 2),
        ("/%61pi/v%31", 2),
        ("/API", 0),
        ("/api%2Fv1", 0),
        ("*", 0),
    ] {
        assert_eq!(found(&index, "h", path), Some(service), "{path}");
    }
}

#[test]
fn a_host_without_a_matching_path_leaves_the_request_to_less_specific_ones() {
    let index = index(&[
        (exact("a.b"), "/only"),
        (below("b"), "/also"),
        (HostPattern::Any, "/"),
    ]);
    assert_eq!(found(&index, "a.b", "/only/x"), Some(0));
    assert_eq!(found(&index, "a.b", "/also"), Some(1));
    assert_eq!(found(&index, "a.b", "/else"), Some(2));
}

#[test]
fn nothing_matches_without_a_route_or_at_another_listener() {
    let index = index(&[(exact("a"), "/x")]);
    assert_eq!(found(&index, "a", "/"), None);
    assert_eq!(found(&index, "b", "/x"), None);
    assert_eq!(
        index.route("127.0.0.1:81".parse().unwrap(), b"a", b"/x"),
        None
    );
    assert_eq!(Index::default().route(at(), b"a", b"/x"), None);
}

#[test]
fn of_two_equal_routes_the_first_is_kept() {
    let index = index(&[(exact("a"), "/x"), (exact("a"), "/x/")]);
    assert_eq!(found(&index, "a", "/x"), Some(0));
}

#[test]
fn a_preview_route_names_its_release() {
    let mut table = table(vec![Route {
        host: exact("preview"),
        path: "/".to_owned(),
        service: 0,
        only: Some(ReleaseId(7)),
    }]);
    table.services.push(service(0));
    let route = Index::new(&table).route(at(), b"preview", b"/").unwrap();
    assert_eq!(route.only, Some(ReleaseId(7)));
}

#[test]
fn ten_thousand_routes_are_told_apart() {
    let routes = (0..10_000).map(|service| Route {
        host: exact(&format!("h{}.example.com", service / 10)),
        path: format!("/p{}", service % 10),
        service,
        only: None,
    });
    let index = Index::new(&table(routes.collect()));
    for service in 0..10_000 {
        let host = format!("h{}.example.com", service / 10);
        let path = format!("/p{}/x", service % 10);
        assert_eq!(found(&index, &host, &path), Some(service));
    }
}

/// The rule in the plainest words, to compare the index with.
fn plainly(routes: &[Route], host: &str, path: &str) -> Option<usize> {
    let host = host.to_ascii_lowercase();
    let rank = |pattern: &HostPattern| match pattern {
        HostPattern::Exact(name) => (*name == host).then_some(usize::MAX),
        HostPattern::Below(domain) => host
            .ends_with(&format!(".{domain}"))
            .then_some(domain.len() + 1),
        HostPattern::Any => Some(0),
    };
    let lies_in = |prefix: &str| {
        let prefix = prefix.trim_end_matches('/');
        path == prefix || path.starts_with(&format!("{prefix}/"))
    };
    let matching = routes
        .iter()
        .enumerate()
        .filter(|(_, route)| lies_in(&route.path));
    let ranked = matching.filter_map(|(at, route)| {
        let length = route.path.trim_end_matches('/').len();
        Some((rank(&route.host)?, length, std::cmp::Reverse(at)))
    });
    ranked
        .max()
        .map(|(_, _, std::cmp::Reverse(at))| routes[at].service)
}

fn any_host() -> impl Strategy<Value = String> {
    prop::collection::vec("[ab]{1,2}", 1..4).prop_map(|labels| labels.join("."))
}

fn any_path() -> impl Strategy<Value = String> {
    prop::collection::vec("[xy]{1,2}", 0..4).prop_map(|segments| format!("/{}", segments.join("/")))
}

fn any_pattern() -> impl Strategy<Value = HostPattern> {
    prop_oneof![
        Just(HostPattern::Any),
        any_host().prop_map(HostPattern::Exact),
        any_host().prop_map(HostPattern::Below),
    ]
}

proptest! {
    #[test]
    fn the_index_finds_what_the_rule_says(
        patterns in prop::collection::vec((any_pattern(), any_path()), 1..30),
        asked in prop::collection::vec((any_host(), any_path()), 1..30),
    ) {
        let routes: Vec<Route> = patterns
            .into_iter()
            .enumerate()
            .map(|(service, (host, path))| Route { host, path, service, only: None })
            .collect();
        let index = Index::new(&table(routes.clone()));
        for (host, path) in asked {
            prop_assert_eq!(found(&index, &host, &path), plainly(&routes, &host, &path), "{} {}", host, path);
        }
    }

    #[test]
    fn no_path_or_host_makes_it_panic(host: Vec<u8>, path: Vec<u8>) {
        let index = index(&[(below("a"), "/x/y"), (exact("b"), "/%2f"), (HostPattern::Any, "/")]);
        prop_assert!(index.route(at(), &host, &path).is_some());
    }
}
