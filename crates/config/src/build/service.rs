//! One service: what its releases are made of, and its policy.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    Deadline, Delivery, Drain, Ejection, Hedge, Limits, Policy, Port, Protocol, ProxyLimits, Reach,
    ReleaseTemplate, Service, ServiceName, Stop,
};

use super::command::{Env, Given, argv};
use super::database::Databases;
use super::{effect, endpoint_limits, health, https, number, rollout, tcp};
use crate::diagnostic::{Mistake, Mistakes};
use crate::value::{Item, Pair, Table, Value};

/// Variables that the server sets, which a file may not.
const RESERVED: [&str; 2] = ["PORT", "DATA"];

/// Checks and builds one service; `None` only after a mistake.
///
/// `urls` are the variables that hold the services' addresses. A service that names a database
/// gets the secret with its URL.
pub(super) fn build(
    table: &Table,
    (urls, databases): (&BTreeSet<String>, &Databases),
    mistakes: &mut Mistakes<'_>,
) -> Option<Service> {
    let mut secrets = secrets(table);
    secrets.extend(database_url(table, databases));
    let variables = env(table, mistakes);
    let env = Env {
        secrets: &secrets,
        variables: &variables,
        urls,
    };
    check_user(table, mistakes);
    check_protocol(table, mistakes);
    effect::check(table, mistakes);
    https::check_program(table, mistakes);
    if port(table) == Port::None {
        without_port(table, table, mistakes);
        without_port(table, table.value("rollout"), mistakes);
    }
    let template = template(table, &env, mistakes);
    let rollout = rollout::build(table, port(table), &env, mistakes);
    Some(Service {
        artifact: table.get("artifact")?,
        template: template?,
        policy: Policy {
            replicas: number(table, "replicas"),
            hosts: texts(table, "hosts"),
            paths: texts(table, "paths"),
            reach: reach(table),
            tcp: tcp::build(table),
            after: after(table),
            lockstep: table.value("lockstep"),
            limits: proxy_limits(table.value("proxy")),
            https: https::policy(table.value("https")),
            delivery: delivery(table.value("proxy"), mistakes),
            rollout: rollout?,
        },
    })
}

fn template(table: &Table, env: &Env<'_>, mistakes: &mut Mistakes<'_>) -> Option<ReleaseTemplate> {
    let port = port(table);
    let run = argv(table, "run", (env, Given::to_instance(port)), mistakes);
    let health = health::build(table, port, env, mistakes);
    let drain = drain(table);
    Some(ReleaseTemplate {
        run: run?,
        port,
        protocol: table.value("protocol"),
        program_tls: table.get("program_tls").and_then(https::program),
        env: env.variables.clone(),
        secrets: env.secrets.iter().cloned().collect(),
        health,
        drain: drain.longest(),
        drain_limits: Some(drain).filter(|drain| *drain != Drain::all(drain.longest())),
        stop: stop(table.value("stop")),
        user: table.get("user"),
        limits: limits(table.value("limits")),
        database: table.get::<ServiceName>("database").map(Into::into),
    })
}

/// The port; an assigned one where the key is absent or wrong.
pub(super) fn port(table: &Table) -> Port {
    table.get("port").unwrap_or(Port::Assigned)
}

/// Whose requests lead to the service.
pub(super) fn reach(table: &Table) -> Reach {
    match table.value("internal") {
        true => Reach::Internal,
        false => Reach::Public,
    }
}

/// The texts of a list; empty where it is absent or wrong.
pub(super) fn texts(table: &Table, name: &str) -> Vec<String> {
    let items = table.get::<&[Item<Value>]>(name).unwrap_or_default();
    let texts = items.iter().map(|item| match &item.value {
        Value::Text(text) => text.clone(),
        other => unreachable!("`{name}` is declared as a list of texts, not {other:?}"),
    });
    texts.collect()
}

/// The services named in `after`.
fn after(table: &Table) -> Vec<ServiceName> {
    let items = table.get::<&[Item<Value>]>("after").unwrap_or_default();
    let names = items.iter().map(|item| match &item.value {
        Value::Name(name) => name.clone(),
        other => unreachable!("`after` is declared as a list of names, not {other:?}"),
    });
    names.collect()
}

/// The secret that holds the URL of the service's database.
fn database_url(table: &Table, databases: &Databases) -> Option<String> {
    let name: ServiceName = table.get("database")?;
    databases
        .get(&name.into())
        .map(|database| database.url.clone())
}

fn secrets(table: &Table) -> BTreeSet<String> {
    texts(table, "secrets").into_iter().collect()
}

fn env(table: &Table, mistakes: &mut Mistakes<'_>) -> BTreeMap<String, String> {
    let secrets = secrets(table);
    let pairs = table.get::<&[Pair]>("env").unwrap_or_default();
    for pair in pairs {
        refuse_reserved(&pair.key, &pair.key_span, mistakes);
        if secrets.contains(&pair.key) {
            let message = format!("`{}` is both in `env` and in `secrets`", pair.key);
            let mistake = Mistake::new(pair.key_span.clone(), message);
            mistakes.add(mistake.related(table.span("secrets"), "named as a secret here"));
        }
    }
    let items = table.get::<&[Item<Value>]>("secrets").unwrap_or_default();
    for item in items {
        if let Value::Text(name) = &item.value {
            refuse_reserved(name, &item.span, mistakes);
        }
    }
    let pairs = pairs.iter();
    pairs
        .map(|pair| (pair.key.clone(), pair.value.clone()))
        .collect()
}

fn refuse_reserved(name: &str, span: &std::ops::Range<usize>, mistakes: &mut Mistakes<'_>) {
    if RESERVED.contains(&name) || name.starts_with("GAPLESS_") {
        let message = format!("`{name}` is set by the server");
        let expected = "a name other than PORT, DATA and those beginning with GAPLESS_";
        mistakes.add(Mistake::new(span.clone(), message).expected(expected));
    }
}

fn check_user(table: &Table, mistakes: &mut Mistakes<'_>) {
    let user: Option<String> = table.get("user");
    let blank = |c: char| c.is_whitespace() || c.is_control() || c == ':' || c == '/';
    if user.is_some_and(|user| user.contains(blank)) {
        let mistake = Mistake::new(table.span("user"), "`user` cannot have blanks, `:` or `/`");
        mistakes.add(mistake.expected("a user's name or number"));
    }
}

/// A connection that is introduced as one client's cannot carry requests of others.
fn check_protocol(table: &Table, mistakes: &mut Mistakes<'_>) {
    let proxy: &Table = table.value("proxy");
    let protocol: Protocol = table.value("protocol");
    if !protocol.is_http2() {
        return;
    }
    let limits = proxy.get::<&Table>("limits");
    if let Some(limits) = limits.filter(|limits| limits.is_written("connections")) {
        let message = "`connections` bounds nothing, since one of HTTP/2 carries many requests";
        let mistake = Mistake::new(limits.key_span("connections"), message);
        let mistake = mistake.related(table.span("protocol"), "spoken here");
        mistakes.add(mistake.hint("use `requests`"));
    }
    if proxy.is_written("proxy_protocol") {
        let message = "`proxy_protocol` names one client, and a connection of HTTP/2 has many";
        let mistake = Mistake::new(proxy.key_span("proxy_protocol"), message);
        let mistake = mistake.related(table.span("protocol"), "spoken here");
        mistakes.add(mistake.hint("leave it out: `x-forwarded-for` names the client"));
    }
}

/// Refuses what has a meaning only for a service that takes requests, in one table of it.
fn without_port(service: &Table, table: &Table, mistakes: &mut Mistakes<'_>) {
    for field in table.section.fields.iter().filter(|field| field.traffic) {
        if table.is_written(field.name) {
            let message = format!("`{}` needs requests, and so a port", field.name);
            let mistake = Mistake::new(table.key_span(field.name), message);
            mistakes.add(mistake.related(service.span("port"), "there is none"));
        }
    }
}

/// How long what is open may take.
fn drain(service: &Table) -> Drain {
    let Some(table) = service.either("drain") else {
        return Drain::all(service.value("drain"));
    };
    let requests = table.value("requests");
    Drain {
        requests,
        websockets: table.get("websockets").unwrap_or(requests),
        streams: table.get("streams").unwrap_or(requests),
    }
}

fn stop(table: &Table) -> Stop {
    Stop {
        signal: table.value("signal"),
        grace: table.value("grace"),
    }
}

fn limits(table: &Table) -> Limits {
    let small = |name| {
        let number = table.get::<u64>(name);
        number.map(|number| u32::try_from(number).expect("declared to fit"))
    };
    Limits {
        memory_bytes_max: table.get("memory"),
        cpu_millis_max: small("cpu"),
        processes_max: small("processes"),
        files_max: table.get("files"),
    }
}

fn delivery(table: &Table, mistakes: &mut Mistakes<'_>) -> Delivery {
    let limits = table.get("limits");
    Delivery {
        balance: table.value("balance"),
        slow_start: table.value("slow_start"),
        ejection: table.get("ejection").map(ejection),
        retry_budget: table.value("retry_budget"),
        proxy_protocol: table.get("proxy_protocol"),
        deadline: table.get("deadline").map(deadline),
        hedge: table.get("hedge").map(hedge),
        limits: limits.map(|limits| endpoint_limits::build((table, limits), mistakes)),
    }
}

fn deadline(table: &Table) -> Deadline {
    Deadline {
        attempt: table.get("try"),
        total: table.get("total"),
    }
}

fn hedge(table: &Table) -> Hedge {
    Hedge {
        after: table.value("after"),
        share: table.value("share"),
    }
}

fn ejection(table: &Table) -> Ejection {
    Ejection {
        failures: number(table, "failures"),
        lasts: table.value("for"),
        max_share: table.value("max"),
        panic_share: table.value("panic"),
    }
}

fn proxy_limits(table: &Table) -> ProxyLimits {
    ProxyLimits {
        body_bytes_max: table.value("body_max"),
        wait_ready: table.value("wait_ready"),
        connect_timeout: table.value("connect_timeout"),
        response_timeout: table.value("response_timeout"),
        idle_timeout: table.value("idle_timeout"),
        stream_idle: table.value("stream_idle"),
        tcp_idle: table.get("tcp_idle"),
    }
}
