//! TCP services: addresses that are free, and nothing that only HTTP has.

use super::super::{LEAST, refused_with};
use super::{second, with};

/// `LEAST` as a TCP service, with more of the service and of its rollout.
fn tcp(service: &str, rollout: &str) -> String {
    with(&format!(
        "tcp = \"0.0.0.0:5432\"\n{service}\n[service.web.rollout]\n{rollout}"
    ))
}

#[test]
fn nothing_of_http_is_asked_of_tcp_connections() {
    assert!(crate::parse(&tcp("", "")).is_ok());
    for line in [
        "hosts = [\"a.com\"]",
        "paths = [\"/a\"]",
        "internal = true",
        "proxy = { body_max = \"1MB\" }",
        "proxy = { response_timeout = \"1s\" }",
        "proxy = { idle_timeout = \"1s\" }",
        "proxy = { retry_budget = \"5%\" }",
        "drain = { websockets = \"2m\" }",
        "proxy = { hedge = {} }",
        "proxy = { stream_idle = \"2h\" }",
        "proxy = { deadline = { total = \"2s\" } }",
        "protocol = \"h2c\"",
    ] {
        let key = line
            .trim_start_matches("proxy = { ")
            .trim_start_matches("drain = { ");
        let key = key.split(' ').next().unwrap();
        let message = format!("`{key}` has no meaning for TCP connections");
        refused_with(&tcp(line, ""), &message);
    }
    for (lines, key) in [
        (
            "strategy = \"blue_green\"\npreview = { host = \"p.example.com\" }",
            "preview",
        ),
        (
            "strategy = \"canary\"\n\
             steps = [{ weight = \"5%\", for = \"1m\", shadow = { share = \"5%\" } }]",
            "shadow",
        ),
        (
            "strategy = \"canary\"\n\
             steps = [{ compare = { share = \"5%\" } }]",
            "compare",
        ),
        (
            "strategy = \"canary\"\n\
             steps = [{ weight = \"5%\", for = \"1m\", audience = { cookie = \"a\", value = \"b\" } }]",
            "audience",
        ),
    ] {
        let message = format!("`{key}` has no meaning for TCP connections");
        refused_with(&tcp("", lines), &message);
    }
}

#[test]
fn nothing_looks_into_tcp_connections() {
    for (service, rollout, key) in [
        ("", "affinity = \"cookie\"", "affinity"),
        ("", "affinity = \"header:X-User\"", "affinity"),
        ("proxy = { balance = \"peak_ewma\" }", "", "balance"),
        ("proxy = { balance = \"hash:cookie:a\" }", "", "balance"),
        (
            "",
            "checks = [{ metric = \"latency_p99\", max = \"1s\" }]",
            "metric",
        ),
    ] {
        let message = format!("this `{key}` needs requests and responses of HTTP");
        refused_with(&tcp(service, rollout), &message);
    }
    let fine = tcp(
        "proxy = { balance = \"hash:client\", tcp_idle = \"1h\" }",
        "affinity = \"client\"\nstick = \"instance\"",
    );
    assert!(crate::parse(&fine).is_ok());
}

#[test]
fn what_belongs_to_tcp_services_means_nothing_elsewhere() {
    refused_with(
        &with("proxy = { tcp_idle = \"1h\" }"),
        "`tcp_idle` has a meaning for TCP services only",
    );
    refused_with(
        &with("tcp_proxy_protocol = true"),
        "`tcp_proxy_protocol` needs `tcp` in service.web",
    );
    refused_with(
        &with("port = false\ntcp = \"0.0.0.0:5432\"")
            .replace("health = { http = \"/healthz\" }\n", "")
            .replace(" --port $PORT", ""),
        "`tcp` needs requests, and so a port",
    );
    refused_with(
        &tcp("tcp_proxy_protocol = true", ""),
        "`tcp_proxy_protocol` without `trusted` would refuse every connection",
    );
}

#[test]
fn an_address_is_listened_on_for_one_service() {
    for (address, message) in [
        (
            "0.0.0.0:8080",
            "the server itself listens on port 8080 already",
        ),
        (
            "127.0.0.1:8080",
            "the server itself listens on port 8080 already",
        ),
        (
            "127.0.0.1:25000",
            "port 25000 is one of those that are assigned: 20000-29999",
        ),
        ("5432", "`tcp` cannot be \"5432\""),
    ] {
        refused_with(&with(&format!("tcp = \"{address}\"")), message);
    }
    let another = |address: &str| {
        second(&format!("tcp = \"{address}\"")).replacen(
            "artifact",
            "tcp = \"127.0.0.1:5432\"\nartifact",
            1,
        )
    };
    refused_with(
        &another("0.0.0.0:5432"),
        "another service listens on port 5432 already",
    );
    assert!(crate::parse(&another("127.0.0.2:5432")).is_ok());
    assert!(crate::parse(&another("127.0.0.1:5433")).is_ok());
    let fixed = "port = 5432\nrollout = { strategy = \"recreate\" }";
    let text = second(fixed).replacen("artifact", "tcp = \"0.0.0.0:5432\"\nartifact", 1);
    refused_with(&text, "a TCP service is listened for on port 5432");
}

#[test]
fn tcp_services_need_no_route_of_their_own() {
    let two = second("tcp = \"0.0.0.0:5432\"");
    assert!(crate::parse(&two).is_ok());
    assert!(crate::parse(LEAST).is_ok());
}
