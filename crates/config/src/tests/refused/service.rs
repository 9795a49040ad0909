//! One service: its values, health, ports and routes.

use super::super::{LEAST, refused_with};
use super::{second, with, worker};

#[test]
fn values_of_a_service_keep_their_form() {
    for (line, message) in [
        ("replicas = 0", "`replicas` cannot be 0"),
        ("replicas = -1", "`replicas` cannot be -1"),
        ("replicas = \"2\"", "`replicas` cannot be \"2\""),
        ("port = 70000", "`port` cannot be 70000"),
        ("port = true", "`port` cannot be true"),
        ("drain = 30", "`drain` cannot be 30"),
        ("drain = \"30\"", "`drain` cannot be \"30\""),
        (
            "stop = { signal = \"SIGFOO\" }",
            "`signal` cannot be \"SIGFOO\"",
        ),
        ("limits = { memory = \"64\" }", "`memory` cannot be \"64\""),
        ("limits = { cpu = 0.0001 }", "`cpu` cannot be 0.0001"),
        ("limits = { cpu = 0 }", "`cpu` cannot be 0"),
        ("user = \"\"", "`user` cannot be \"\""),
        ("user = \"a b\"", "`user` cannot have blanks, `:` or `/`"),
        ("lockstep = \"yes\"", "`lockstep` cannot be \"yes\""),
        (
            "proxy = { connect_timeout = \"0s\" }",
            "`connect_timeout` cannot be \"0s\"",
        ),
        (
            "proxy = { limits = { queue = { length = 5 } } }",
            "these limits bound nothing",
        ),
        (
            "proxy = { limits = { requests = 0 } }",
            "`requests` cannot be 0",
        ),
        ("protocol = \"http2\"", "`protocol` cannot be \"http2\""),
        (
            "protocol = \"h2c\"\nproxy = { proxy_protocol = \"v1\" }",
            "`proxy_protocol` names one client, and a connection of HTTP/2 has many",
        ),
        (
            "protocol = \"h2c\"\nproxy = { limits = { connections = 5 } }",
            "`connections` bounds nothing, since one of HTTP/2 carries many requests",
        ),
        ("stop = []", "`stop` cannot be a list"),
        ("drain = 1979-05-27", "`drain` cannot be 1979-05-27"),
    ] {
        refused_with(&with(line), message);
    }
    refused_with(
        &LEAST.replace("artifact = \"dist\"\n", ""),
        "`artifact` is missing in service.web",
    );
    refused_with(
        &LEAST.replace("\"dist\"", "\"\""),
        "`artifact` cannot be \"\"",
    );
}

#[test]
fn a_program_that_speaks_over_tls_proves_who_it_is() {
    for (line, message) in [
        (
            "protocol = \"https\"",
            "nothing says what the program must prove over TLS",
        ),
        (
            "program_tls = { ca = \"/ca\" }",
            "`program_tls` has a meaning only for a program that speaks over TLS",
        ),
        (
            "protocol = \"h2\"\nprogram_tls = {}",
            "`ca` is missing in service.web.program_tls",
        ),
        (
            "protocol = \"h2\"\nprogram_tls = { ca = \"/ca\", cert = \"/cert\" }",
            "`cert` needs `key` in service.web.program_tls",
        ),
        (
            "protocol = \"h2\"\nprogram_tls = { ca = \"/ca\", name = \"https://a\" }",
            "`name` cannot be \"https://a\"",
        ),
        (
            "protocol = \"h2\"\nprogram_tls = { ca = \"/ca\" }\nproxy = { proxy_protocol = \"v2\" }",
            "`proxy_protocol` names one client, and a connection of HTTP/2 has many",
        ),
    ] {
        refused_with(&with(line), message);
    }
    let told =
        "protocol = \"https\"\nprogram_tls = { ca = \"/ca\" }\nproxy = { proxy_protocol = \"v2\" }";
    crate::parse(&with(told)).unwrap();
}

#[test]
fn routes_keep_their_form() {
    for (line, message) in [
        ("hosts = \"a.com\"", "`hosts` cannot be \"a.com\""),
        ("hosts = [\"a.*.com\"]", "`hosts` cannot be \"a.*.com\""),
        (
            "hosts = [\"a.com\", \"a.com\"]",
            "`hosts` names \"a.com\" twice",
        ),
        ("hosts = [1]", "`hosts` cannot be 1"),
        ("hosts = []", "`hosts` is an empty list"),
        (
            "internal = true\nhosts = [\"a.com\"]",
            "`hosts` leads nowhere in a service that is internal",
        ),
        ("paths = []", "`paths` is an empty list"),
        ("paths = [\"api\"]", "`paths` cannot be \"api\""),
        ("paths = [\"/a/../b\"]", "`paths` cannot be \"/a/../b\""),
    ] {
        refused_with(&with(line), message);
    }
}

#[test]
fn a_health_check_is_one_probe() {
    let health = |table: &str| LEAST.replace("{ http = \"/healthz\" }", table);
    let none = "service.web.health has none of `http`, `grpc`, `tcp`, `exec`";
    let more = "service.web.health has more than one of `http`, `grpc`, `tcp`, `exec`";
    for (table, message) in [
        ("{}", none),
        ("{ every = \"1s\" }", none),
        ("{ http = \"/\", tcp = true }", more),
        ("{ tcp = false }", "`tcp` cannot be false"),
        (
            "{ grpc = \"\" }",
            "`grpc` in service.web.health needs HTTP/2",
        ),
        ("{ grpc = \"a b\" }", "`grpc` cannot be \"a b\""),
        ("{ http = \"healthz\" }", "`http` cannot be \"healthz\""),
        (
            "{ tcp = true, status = 200 }",
            "`status` needs `http` in service.web.health",
        ),
        ("{ http = \"/\", status = 99 }", "`status` cannot be 99"),
        (
            "{ http = \"/\", every = \"0s\" }",
            "`every` cannot be \"0s\"",
        ),
        (
            "{ http = \"/\", timeout = \"0ms\" }",
            "`timeout` cannot be \"0ms\"",
        ),
        ("{ http = \"/\", rise = 0 }", "`rise` cannot be 0"),
        ("\"/healthz\"", "`health` cannot be \"/healthz\""),
    ] {
        refused_with(&health(table), message);
    }
    let text = LEAST.replace("health = { http = \"/healthz\" }\n", "");
    refused_with(&text, "service.web has a port and no `health`");
}

#[test]
fn a_probe_may_take_longer_than_the_time_between_two() {
    let text = LEAST.replace("/healthz\"", "/healthz\", every = \"1s\", timeout = \"5s\"");
    assert!(crate::parse(&text).is_ok());
}

#[test]
fn without_a_port_there_is_no_traffic() {
    for (lines, message) in [
        (
            "strategy = \"canary\"\nsteps = [{ weight = \"5%\", for = \"1m\" }]",
            "canary needs requests, and so a port",
        ),
        (
            "strategy = \"blue_green\"",
            "blue_green needs requests, and so a port",
        ),
        (
            "affinity = \"cookie\"",
            "`affinity` needs requests, and so a port",
        ),
        (
            "checks = [{ metric = \"error_rate\", max = \"1%\" }]",
            "`checks` needs requests, and so a port",
        ),
    ] {
        refused_with(&worker(lines), message);
    }
    let worker = worker("");
    for line in ["hosts = [\"a.com\"]", "paths = [\"/a\"]", "proxy = {}"] {
        let text = worker.replace("port = false", &format!("port = false\n{line}"));
        let key = line.split(' ').next().unwrap();
        refused_with(&text, &format!("`{key}` needs requests, and so a port"));
    }
    for probe in ["http = \"/\"", "tcp = true"] {
        let text = worker.replace(
            "port = false",
            &format!("port = false\nhealth = {{ {probe} }}"),
        );
        let key = probe.split(' ').next().unwrap();
        refused_with(
            &text,
            &format!("`{key}` in service.web.health needs a port to ask"),
        );
    }
    let text = worker.replace("\"./web\"", "\"./web $PORT\"");
    refused_with(&text, "`$PORT` in `run` is not in the environment");
}

#[test]
fn a_fixed_port_has_one_instance_at_a_time() {
    refused_with(
        &with("port = 3000"),
        "with a fixed port the old and the new release cannot overlap, as rolling makes them",
    );
    let recreate = "rollout = { strategy = \"recreate\" }";
    assert!(crate::parse(&with(&format!("port = 3000\n{recreate}"))).is_ok());
    for (lines, message) in [
        (
            "port = 3000\nreplicas = 2",
            "several replicas cannot share a fixed port",
        ),
        ("port = 8080", "the server itself listens on port 8080"),
        (
            "port = 25000",
            "port 25000 is one of those that are assigned: 20000-29999",
        ),
    ] {
        refused_with(&with(&format!("{lines}\n{recreate}")), message);
    }
    let text = second(&format!("hosts = [\"a.com\"]\nport = 3000\n{recreate}"));
    let text = text.replacen("artifact", &format!("port = 3000\n{recreate}\nartifact"), 1);
    refused_with(&text, "`web` and `api` have the same port, 3000");
}

#[test]
fn services_of_one_host_ask_their_clients_for_the_same() {
    let server = "[server]\nhttps = \"127.0.0.1:8443\"\n\
                  tls = { certificates = [{ cert = \"/c\", key = \"/k\" }] }\n";
    let service = |name: &str, more: &str| {
        format!(
            "[service.{name}]\nartifact = \"dist\"\nrun = \"./web\"\nhealth = {{ tcp = true }}\n{more}\n"
        )
    };
    let whole = |one: &str, other: &str| {
        let (one, other) = (service("one", one), service("other", other));
        format!("version = 1\nproject = \"shop\"\n{server}{one}{other}")
    };
    let asking = "paths = [\"/a\"]\nhttps = { client_ca = \"/ca\" }";
    let silent = "paths = [\"/b\"]";
    let message = "has the same host and demands something else";
    refused_with(&whole(asking, silent), &format!("`other` {message}"));
    refused_with(&whole(silent, asking), &format!("`one` {message}"));
    let hosts = |more: &str| format!("hosts = [\"a.test\"]\n{more}");
    refused_with(
        &whole(&hosts(asking), &hosts(silent)),
        &format!("`other` {message}"),
    );
    let same = asking.replace("/a\"", "/b\"");
    crate::parse(&whole(asking, &same)).unwrap();
    crate::parse(&whole(&hosts(asking), silent)).unwrap();
}
