//! What valid files mean.

use std::time::Duration;

use model::{
    Affinity, Argv, Audience, AudienceValue, Balancing, Blue, CertificateFiles, Check,
    ClientCertificates, Compare, Count, DatabasePolicy, Deadline, Delivery, Demand, Ejection,
    EndpointLimits, HashKey, Health, Limit, Limits, Metric, OnFail, OnNoData, Port, Probe,
    ProgramTls, Protocol, ProxyLimits, ProxyProtocol, Queue, Reach, SearchPath, Service, Shadow,
    Share, Step, Stop, Strategy, TcpEntrance,
};

use super::{EVERYTHING, LEAST};

fn service(text: &str, name: &str) -> Service {
    let project =
        crate::parse(text).unwrap_or_else(|report| panic!("{}", report.render("t", text)));
    let mut services = project.services.into_iter();
    let found = services.find(|(candidate, _)| candidate.as_str() == name);
    found.expect("the service is there").1
}

fn argv(words: &[&str]) -> Argv {
    Argv(words.iter().map(|&word| word.to_owned()).collect())
}

fn share(points: u16) -> Share {
    Share::try_new(points).unwrap()
}

#[test]
fn the_least_project_has_the_documented_defaults() {
    let project = crate::parse(LEAST).unwrap();
    assert_eq!(project.name, "shop");
    assert_eq!(project.server.http, "127.0.0.1:8080".parse().unwrap());
    assert_eq!(project.server.keep_releases, 10);
    assert_eq!(project.server.ports, (20_000, 29_999));
    let Service {
        artifact,
        template,
        policy,
    } = service(LEAST, "web");
    assert_eq!(artifact, "dist");
    assert_eq!(template.run, argv(&["./web", "--port", "$PORT"]));
    assert_eq!(template.port, Port::Assigned);
    let health = Health {
        probe: Probe::Http {
            path: "/healthz".to_owned(),
            status: None,
            body: None,
            weight: None,
        },
        every: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        rise: 2,
        fall: 3,
    };
    assert_eq!(template.health, Some(health));
    assert_eq!(template.drain, Duration::from_secs(30));
    assert_eq!(
        template.stop,
        Stop {
            signal: 15,
            grace: Duration::from_secs(10)
        }
    );
    assert!(template.env.is_empty() && template.secrets.is_empty());
    assert_eq!((template.user, template.limits), (None, Limits::default()));
    assert_eq!(policy.replicas, 1);
    assert!(policy.hosts.is_empty() && policy.paths.is_empty() && policy.after.is_empty());
    assert!(!policy.lockstep);
    assert_eq!(policy.limits, ProxyLimits::default());
    assert_eq!(policy.delivery, Delivery::default());
}

#[test]
fn the_default_rollout_is_rolling_and_rolls_back() {
    let rollout = service(LEAST, "web").policy.rollout;
    let rolling = Strategy::Rolling {
        surge: Count::Absolute(1),
        max_unavailable: Count::Absolute(0),
        batch: None,
    };
    assert_eq!(rollout.strategy, rolling);
    assert_eq!(rollout.min_ready, Duration::ZERO);
    assert_eq!(rollout.deadline, Duration::from_secs(600));
    assert_eq!((rollout.affinity, rollout.stick_to_instance), (None, false));
    assert_eq!((rollout.checks, rollout.min_requests), (Vec::new(), 100));
    assert_eq!(
        (rollout.on_fail, rollout.on_no_data),
        (OnFail::Rollback, OnNoData::Hold)
    );
    assert_eq!((rollout.before, rollout.after), (None, None));
    assert_eq!(rollout.job_timeout, Duration::from_secs(600));
}

/// The health of the service that says everything.
fn health_of_web() -> Health {
    Health {
        probe: Probe::Http {
            path: "/healthz?full=1".to_owned(),
            status: Some(204),
            body: Some("ok".to_owned()),
            weight: Some("x-weight".to_owned()),
        },
        every: Duration::from_secs(2),
        timeout: Duration::from_millis(500),
        rise: 3,
        fall: 5,
    }
}

#[test]
fn every_key_of_a_service_is_taken_over() {
    let Service {
        template, policy, ..
    } = service(EVERYTHING, "web");
    let run = [
        "./bin/web",
        "--port",
        "$PORT",
        "--log",
        "${LOG}",
        "--api",
        "$GAPLESS_URL_API",
    ];
    assert_eq!(template.run, argv(&run));
    assert_eq!(template.health, Some(health_of_web()));
    let drain = model::Drain {
        requests: Duration::from_secs(45),
        websockets: Duration::from_secs(600),
        streams: Duration::from_secs(300),
    };
    assert_eq!(
        (template.drain, template.drain_limits),
        (drain.websockets, Some(drain))
    );
    assert_eq!(
        template.stop,
        Stop {
            signal: 3,
            grace: Duration::from_secs(20)
        }
    );
    assert_eq!(template.env["LOG"], "info");
    assert_eq!(template.secrets, ["DATABASE_URL", "TOKEN"]);
    assert_eq!(template.user.as_deref(), Some("www-data"));
    let limits = Limits {
        memory_bytes_max: Some(512 << 20),
        cpu_millis_max: Some(1_500),
        processes_max: Some(64),
        files_max: Some(4_096),
    };
    assert_eq!(template.limits, limits);
    assert_eq!(policy.replicas, 4);
    assert_eq!(policy.hosts, ["shop.example.com", "*.shop.example.com"]);
    assert_eq!(policy.paths, ["/", "/assets"]);
    assert_eq!(
        policy.after.iter().map(|s| s.as_str()).collect::<Vec<_>>(),
        ["api", "worker"]
    );
    assert!(policy.lockstep);
    assert_eq!((policy.reach, policy.tcp), (Reach::Public, None));
    let limits = ProxyLimits {
        body_bytes_max: 64_000_000,
        wait_ready: Duration::from_secs(5),
        connect_timeout: Duration::from_secs(1),
        response_timeout: Duration::from_secs(90),
        idle_timeout: Duration::from_secs(120),
        stream_idle: Duration::from_secs(8 * 3_600),
        tcp_idle: None,
    };
    assert_eq!(policy.limits, limits);
}

#[test]
fn who_reaches_a_service_is_taken_over() {
    let docs = service(EVERYTHING, "docs").policy;
    assert_eq!(docs.reach, Reach::Internal);
    let cache = service(EVERYTHING, "cache").policy;
    let entrance = TcpEntrance {
        address: "0.0.0.0:6379".parse().unwrap(),
        proxy_protocol: true,
    };
    assert_eq!(cache.tcp, Some(entrance));
    assert_eq!(cache.limits.tcp_idle, Some(Duration::from_secs(3_600)));
}

#[test]
fn every_key_of_delivery_is_taken_over() {
    let ejection = Ejection {
        failures: 3,
        lasts: Duration::from_secs(20),
        max_share: share(3_000),
        panic_share: share(6_000),
    };
    let delivery = Delivery {
        balance: Balancing::Hash(HashKey::Cookie("sid".to_owned())),
        slow_start: Duration::from_secs(30),
        ejection: Some(ejection),
        retry_budget: share(2_000),
        proxy_protocol: Some(ProxyProtocol::V2),
        deadline: Some(Deadline {
            attempt: Some(Duration::from_secs(2)),
            total: Some(Duration::from_secs(20)),
        }),
        limits: Some(EndpointLimits {
            connections_max: Some(40),
            requests_max: Some(32),
            queue: Queue {
                length_max: 200,
                wait: Duration::from_secs(3),
            },
        }),
        hedge: None,
    };
    assert_eq!(service(EVERYTHING, "web").policy.delivery, delivery);
}

#[test]
fn the_server_knows_whom_it_believes() {
    let peers = crate::parse(EVERYTHING).unwrap().server.peers;
    let trusted = peers.trusted.iter().map(ToString::to_string);
    assert_eq!(trusted.collect::<Vec<_>>(), ["10.0.0.0/8", "::1/128"]);
    assert!(peers.proxy_protocol);
    assert_eq!(peers.trace_sampled, share(1_250));
}

fn safe() -> Vec<String> {
    ["GET", "HEAD", "OPTIONS"].map(str::to_owned).to_vec()
}

/// A step without weight.
fn shadowed(seconds: u64, shadow: Shadow) -> Step {
    Step {
        weight: share(0),
        lasts: Duration::from_secs(seconds),
        approve: false,
        audience: None,
        shadow: Some(shadow),
    }
}

/// A step of so many basis points and seconds, and those whom it lets in beside.
fn added(weight: u16, seconds: u64, audience: Audience) -> Step {
    Step {
        weight: share(weight),
        lasts: Duration::from_secs(seconds),
        approve: false,
        audience: Some(audience),
        shadow: None,
    }
}

fn header(name: &str, value: AudienceValue) -> Audience {
    let name = name.to_owned();
    Audience::Header { name, value }
}

#[test]
fn a_canary_keeps_its_steps_in_order() {
    let rollout = service(EVERYTHING, "web").policy.rollout;
    let shadow = Shadow {
        share: share(1_000),
        methods: vec!["GET".to_owned(), "POST".to_owned()],
        body_bytes_max: 32 << 10,
        compare: None,
    };
    let compared = Shadow {
        share: share(500),
        methods: safe(),
        body_bytes_max: 1 << 20,
        compare: Some(Compare {
            headers: vec!["content-type".to_owned()],
            ignore: vec!["body.items[].tax".to_owned()],
            samples: 300,
            at_most: share(50),
        }),
    };
    let beta = Audience::Cookie {
        name: "beta".to_owned(),
        value: AudienceValue::Plain("yes".to_owned()),
    };
    let steps = vec![
        shadowed(30, shadow),
        shadowed(0, compared),
        added(
            0,
            60,
            header("x-staff", AudienceValue::Secret("STAFF".to_owned())),
        ),
        added(250, 120, beta),
        added(
            1_000,
            120,
            header("x-tenant", AudienceValue::Part(share(2_500))),
        ),
        Step {
            weight: share(5_000),
            lasts: Duration::ZERO,
            approve: true,
            audience: None,
            shadow: None,
        },
    ];
    assert_eq!(rollout.strategy, Strategy::Canary { steps });
    assert_eq!(
        rollout.affinity,
        Some(Affinity::Header("x-user".to_owned()))
    );
    assert!(rollout.stick_to_instance);
    assert_eq!(
        (rollout.on_fail, rollout.on_no_data),
        (OnFail::Hold, OnNoData::Promote)
    );
    assert_eq!(
        rollout.before,
        Some(argv(&["./bin/migrate", "up", "--dir", "$DATA"]))
    );
    assert_eq!(
        rollout.after,
        Some(argv(&["./bin/warm", "$$HOME is $HOME"]))
    );
    assert_eq!(rollout.job_timeout, Duration::from_secs(1_800));
    assert_eq!(rollout.min_ready, Duration::from_secs(3));
    assert_eq!(rollout.deadline, Duration::from_secs(900));
}

#[test]
fn bounds_are_in_the_unit_of_their_metric() {
    let rollout = service(EVERYTHING, "web").policy.rollout;
    let checks = [
        Check {
            metric: Metric::ErrorRate,
            limits: vec![Limit::Max(100), Limit::MaxDelta(50)],
        },
        Check {
            metric: Metric::LatencyP99,
            limits: vec![
                Limit::Max(800_000),
                Limit::MaxDelta(100_000),
                Limit::MaxRatio(120),
            ],
        },
    ];
    assert_eq!(rollout.checks, checks);
    assert_eq!(rollout.min_requests, 500);
}

#[test]
fn blue_green_is_previewed_by_header_or_host() {
    let blue = |name| match service(EVERYTHING, name).policy.rollout.strategy {
        Strategy::BlueGreen(blue) => blue,
        other => panic!("{other:?}"),
    };
    let shop = Blue {
        keep: Duration::from_secs(600),
        preview: Some(Audience::Header {
            name: "x-preview".to_owned(),
            value: AudienceValue::Plain("1".to_owned()),
        }),
        smoke: Some(argv(&["./bin/smoke", "--url", "$GAPLESS_PREVIEW_URL"])),
        approve: true,
        steps: vec![Step {
            approve: true,
            ..shadowed(
                60,
                Shadow {
                    share: share(100),
                    methods: safe(),
                    body_bytes_max: 64 << 10,
                    compare: Some(Compare {
                        headers: Vec::new(),
                        ignore: Vec::new(),
                        samples: 500,
                        at_most: share(10),
                    }),
                },
            )
        }],
    };
    assert_eq!(blue("shop"), shop);
    let docs = Blue {
        keep: Duration::from_secs(300),
        preview: Some(Audience::Host("preview.example.com".to_owned())),
        smoke: None,
        approve: false,
        steps: Vec::new(),
    };
    assert_eq!(blue("docs"), docs);
}

#[test]
fn services_differ_in_their_ports() {
    let ports = ["web", "api", "worker"].map(|name| service(EVERYTHING, name).template.port);
    assert_eq!(ports, [Port::Assigned, Port::Fixed(9_000), Port::None]);
    let worker = service(EVERYTHING, "worker");
    let rolling = Strategy::Rolling {
        surge: Count::Part(share(2_500)),
        max_unavailable: Count::Absolute(1),
        batch: Some(Count::Absolute(2)),
    };
    assert_eq!(worker.policy.rollout.strategy, rolling);
    let api = service(EVERYTHING, "api");
    assert_eq!(api.policy.rollout.strategy, Strategy::Recreate);
    assert_eq!(
        api.template.health.map(|health| health.probe),
        Some(Probe::Tcp)
    );
    assert_eq!(
        api.template.run,
        argv(&["sh", "-c", "exec ./bin/api $$API_FLAGS"])
    );
}

#[test]
fn a_program_may_speak_http2() {
    assert_eq!(service(LEAST, "web").template.protocol, Protocol::Http1);
    let cart = service(EVERYTHING, "cart").template;
    assert_eq!(cart.protocol, Protocol::H2);
    let service = "shop.v1.Cart".to_owned();
    let probe = cart.health.map(|health| health.probe);
    assert_eq!(probe, Some(Probe::Grpc { service }));
}

#[test]
fn a_program_may_speak_over_tls() {
    let cart = service(EVERYTHING, "cart").template;
    let wanted = ProgramTls {
        ca: "/etc/shop/ca.pem".to_owned(),
        name: "cart.internal".to_owned(),
        certificate: Some(CertificateFiles {
            cert: "/etc/shop/proxy.pem".to_owned(),
            key: "/etc/shop/proxy.key".to_owned(),
        }),
    };
    assert_eq!(cart.program_tls, Some(wanted));
    let text = format!("{LEAST}protocol = \"https\"\nprogram_tls = {{ ca = \"/ca\" }}\n");
    let web = service(&text, "web").template;
    assert_eq!(web.protocol, Protocol::Https);
    let wanted = ProgramTls {
        ca: "/ca".to_owned(),
        name: "localhost".to_owned(),
        certificate: None,
    };
    assert_eq!(web.program_tls, Some(wanted));
}

#[test]
fn clients_may_be_asked_who_they_are() {
    let https = crate::parse(EVERYTHING).unwrap().server.https.unwrap();
    let wanted = |demand| ClientCertificates {
        ca: "/etc/shop/clients.pem".to_owned(),
        demand,
    };
    assert_eq!(https.clients, Some(wanted(Demand::Optional)));
    let text = EVERYTHING.replace(", client_certificate = \"optional\"", "");
    let https = crate::parse(&text).unwrap().server.https.unwrap();
    assert_eq!(https.clients, Some(wanted(Demand::Required)));
    let text = text.replace(", client_ca = \"/etc/shop/clients.pem\"", "");
    let https = crate::parse(&text).unwrap().server.https.unwrap();
    assert_eq!(https.clients, None);
}

#[test]
fn a_service_may_ask_its_own_clients() {
    let own = |text: &str| service(text, "web").policy.https.clients;
    let wanted = |demand| ClientCertificates {
        ca: "/etc/shop/staff.pem".to_owned(),
        demand,
    };
    assert_eq!(own(EVERYTHING), Some(wanted(Demand::Optional)));
    let stricter = "\"/etc/shop/staff.pem\", client_certificate = \"optional\"";
    let text = EVERYTHING.replace(stricter, "\"/etc/shop/staff.pem\"");
    assert_eq!(own(&text), Some(wanted(Demand::Required)));
    assert_eq!(service(EVERYTHING, "api").policy.https.clients, None);
}

#[test]
fn a_worker_needs_no_health() {
    let text = LEAST
        .replace("health = { http = \"/healthz\" }", "port = false")
        .replace(" --port $PORT", "");
    assert_eq!(service(&text, "web").template.health, None);
}

#[test]
fn quoted_dollar_signs_and_operators_reach_the_program() {
    let text = LEAST.replace(
        "\"./web --port $PORT\"",
        r#""./web '$5;' \"a|b\" --port=$PORT""#,
    );
    assert_eq!(
        service(&text, "web").template.run,
        argv(&["./web", "$$5;", "a|b", "--port=$PORT"])
    );
}

#[test]
fn a_service_gets_the_url_of_its_database() {
    let text = format!(
        "{LEAST}database = \"main\"\n[database.main]\nurl = \"secret:URL\"\nmigrations = \"db\"\n"
    );
    let project = crate::parse(&text).unwrap();
    let web = service(&text, "web").template;
    assert_eq!(web.secrets, ["URL"]);
    let (name, database) = project.databases.into_iter().next().unwrap();
    assert_eq!(web.database, Some(name));
    let policy = DatabasePolicy {
        contract_after: Duration::from_secs(24 * 60 * 60),
        approve: true,
        migrate_url: None,
        lock_timeout: Duration::from_millis(250),
        patience: Duration::from_secs(600),
    };
    assert_eq!(database.policy, policy);
    assert_eq!(database.schema, "public");
    assert_eq!(database.search_path, SearchPath::Url);
}

#[test]
fn one_time_to_drain_is_the_same_release_however_it_is_written() {
    let template = |line: &str| service(&format!("{LEAST}{line}\n"), "web").template;
    for same in [
        "",
        "drain = {}",
        "drain = { requests = \"30s\", streams = \"30s\" }",
    ] {
        assert_eq!(template(same), template("drain = \"30s\""), "{same}");
    }
    let longer = template("drain = { websockets = \"1h\" }");
    assert_eq!(longer.drain, Duration::from_secs(3_600));
    let limits = longer.drain_limits.unwrap();
    assert_eq!(
        (limits.requests, limits.streams),
        (Duration::from_secs(30), Duration::from_secs(30))
    );
}

#[test]
fn second_attempts_come_after_a_share_of_the_requests_or_a_time() {
    let hedge = |hedge: &str| {
        let text = format!("{LEAST}proxy = {{ {hedge} }}\n");
        service(&text, "web").policy.delivery.hedge
    };
    assert_eq!(hedge(""), None);
    let written = |after, points| {
        Some(model::Hedge {
            after,
            share: share(points),
        })
    };
    assert_eq!(
        hedge("hedge = {}"),
        written(model::HedgeAfter::Percent(95), 500)
    );
    assert_eq!(
        hedge("hedge = { after = \"20ms\", share = \"1%\" }"),
        written(model::HedgeAfter::Time(Duration::from_millis(20)), 100)
    );
}
