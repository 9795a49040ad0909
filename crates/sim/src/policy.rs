//! What is deployed: services, releases of every quality, every strategy with every knob.

use std::collections::BTreeMap;
use std::time::Duration;

use model::{
    Affinity, Argv, Audience, AudienceValue, Blue, Check, Compare, Count, DatabaseName,
    DatabasePolicy, Delivery, Digest, Health, Limit, Limits, Metric, OnFail, OnNoData, Policy,
    Port, Probe, ProxyLimits, Release, ReleaseDatabase, ReleaseId, ReleaseSpec, RolloutPolicy,
    SchemaVersion, SearchPath, ServiceName, Shadow, Share, Step, Stop, Strategy,
};

use crate::rng::Rng;

/// How long a rollback past a migration stays possible.
const CONTRACT_AFTER: Duration = Duration::from_secs(3);

/// What does not change in one life.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) services: Vec<ServiceSetup>,
    /// Proxy threads of each worker.
    pub(crate) threads: usize,
}

/// What does not change of one service.
#[derive(Debug, Clone)]
pub(crate) struct ServiceSetup {
    pub(crate) name: ServiceName,
    pub(crate) port: Port,
    pub(crate) health: Option<Health>,
    pub(crate) drain: Duration,
    pub(crate) stop: Stop,
    pub(crate) after: Vec<ServiceName>,
    pub(crate) lockstep: bool,
    /// Whether it works with the database.
    pub(crate) tied: bool,
}

/// One service of a deploy.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub(crate) quality: Quality,
    /// Deploy what the newest release was made of once more.
    pub(crate) same: bool,
    pub(crate) force: bool,
    pub(crate) policy: Policy,
}

/// How good a release is, once and for all its instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quality {
    Good,
    /// Needs so many milliseconds to become ready.
    Slow(u64),
    /// Never becomes ready.
    Never,
    /// Ends so many milliseconds after its start.
    Crashes(u64),
    /// Cannot be run at all.
    Unusable,
    /// Is ready, and fails its requests.
    Errors,
    /// Is ready, and answers otherwise than the release before.
    Differs,
    /// Its job before everything fails.
    JobFails,
}

pub(crate) fn setup(rng: &mut Rng) -> Setup {
    let two = rng.percent(30);
    let lockstep = two && rng.percent(50);
    let mut services = vec![service(rng, "a", lockstep)];
    if two {
        let mut second = service(rng, "b", lockstep);
        if !lockstep && rng.percent(60) {
            second.after = vec![services[0].name.clone()];
        }
        services.push(second);
    }
    Setup {
        services,
        threads: rng.within(1, 2) as usize,
    }
}

fn service(rng: &mut Rng, name: &str, lockstep: bool) -> ServiceSetup {
    let port = match rng.below(100) {
        0..=84 => Port::Assigned,
        85..=91 => Port::Fixed(9_000 + u16::from(name == "b")),
        _ => Port::None,
    };
    let seconds = Duration::from_secs;
    let health = Health {
        probe: Probe::Tcp,
        every: seconds(rng.pick(&[2, 5, 20])),
        timeout: seconds(1),
        rise: rng.pick(&[1, 2, 3]),
        fall: rng.pick(&[1, 2, 3]),
    };
    ServiceSetup {
        name: ServiceName::try_new(name).expect("a name of one letter"),
        port,
        health: (port != Port::None || rng.percent(50)).then_some(health),
        drain: Duration::from_millis(rng.pick(&[200, 1_000, 3_000])),
        stop: Stop {
            signal: 15,
            grace: Duration::from_millis(rng.pick(&[100, 500, 2_000])),
        },
        after: Vec::new(),
        lockstep,
        tied: rng.percent(40),
    }
}

pub(crate) fn draft(rng: &mut Rng, service: &ServiceSetup) -> Draft {
    let quality = match rng.below(100) {
        0..=54 => Quality::Good,
        55..=64 => Quality::Slow(rng.pick(&[300, 1_500, 6_000])),
        65..=70 => Quality::Never,
        71..=80 => Quality::Crashes(rng.pick(&[5, 100, 1_200, 7_000])),
        81..=84 => Quality::Unusable,
        85..=91 => Quality::Errors,
        92..=95 => Quality::Differs,
        _ => Quality::JobFails,
    };
    let replicas = rng.pick(&[1, 2, 2, 3, 4]);
    Draft {
        quality,
        same: rng.percent(6),
        force: rng.percent(30),
        policy: Policy {
            replicas: match service.port {
                Port::Fixed(_) => 1,
                Port::Assigned | Port::None => replicas,
            },
            hosts: Vec::new(),
            paths: Vec::new(),
            reach: model::Reach::Public,
            tcp: None,
            after: service.after.clone(),
            lockstep: service.lockstep,
            https: model::HttpsPolicy::default(),
            limits: ProxyLimits::default(),
            delivery: Delivery::default(),
            rollout: rollout(rng, service),
        },
    }
}

fn rollout(rng: &mut Rng, service: &ServiceSetup) -> RolloutPolicy {
    let seconds = Duration::from_secs;
    let traffic = service.port != Port::None;
    let checks = traffic && rng.percent(50);
    let before = rng.percent(20);
    let after = rng.percent(10);
    RolloutPolicy {
        strategy: strategy(rng, service.port),
        min_ready: Duration::from_millis(rng.pick(&[0, 0, 300, 1_500])),
        deadline: seconds(rng.pick(&[8, 20, 60])),
        affinity: rng.percent(30).then_some(Affinity::Cookie),
        stick_to_instance: false,
        checks: if checks { vec![check()] } else { Vec::new() },
        min_requests: rng.pick(&[50, 500]),
        on_fail: if rng.percent(80) {
            OnFail::Rollback
        } else {
            OnFail::Hold
        },
        on_no_data: rng.pick(&[OnNoData::Hold, OnNoData::Promote, OnNoData::Rollback]),
        before: before.then(command),
        after: after.then(command),
        job_timeout: seconds(10),
    }
}

fn command() -> Argv {
    Argv(vec!["job".to_owned()])
}

fn check() -> Check {
    Check {
        metric: Metric::ErrorRate,
        limits: vec![Limit::Max(1_000)],
    }
}

fn strategy(rng: &mut Rng, port: Port) -> Strategy {
    let choice = match port {
        Port::Assigned => rng.below(100),
        Port::None => rng.pick(&[0, 99]),
        Port::Fixed(_) => 99,
    };
    match choice {
        0..=34 => rolling(rng),
        35..=59 => Strategy::BlueGreen(Blue {
            keep: Duration::from_millis(rng.pick(&[0, 1_000, 4_000])),
            preview: rng.percent(20).then(audience),
            smoke: rng.percent(20).then(command),
            approve: rng.percent(15),
            steps: match rng.percent(30) {
                true => vec![before_exposure(rng)],
                false => Vec::new(),
            },
        }),
        60..=92 => canary(rng),
        _ => Strategy::Recreate,
    }
}

fn rolling(rng: &mut Rng) -> Strategy {
    let surge = rng.below(3) as u32;
    let part = Share::try_new(3_400).expect("below 10000");
    let down = rng.below(2) as u32;
    Strategy::Rolling {
        surge: if rng.percent(20) {
            Count::Part(part)
        } else {
            Count::Absolute(surge)
        },
        max_unavailable: Count::Absolute(if surge == 0 { 1 } else { down }),
        batch: rng.percent(30).then_some(Count::Absolute(1)),
    }
}

fn canary(rng: &mut Rng) -> Strategy {
    let mut weight = 0;
    let mut steps = Vec::new();
    if rng.percent(30) {
        steps.push(before_exposure(rng));
    }
    for _ in 0..rng.within(1, 3) {
        weight = (weight + rng.within(100, 4_000)).min(10_000);
        steps.push(Step {
            weight: Share::try_new(weight as u16).expect("at most 10000"),
            lasts: Duration::from_millis(rng.pick(&[0, 500, 2_000, 5_000])),
            approve: rng.percent(15),
            audience: rng.percent(15).then(audience),
            shadow: rng.percent(10).then(|| shadow(rng)),
        });
    }
    Strategy::Canary { steps }
}

/// A step in which the new release answers nobody.
fn before_exposure(rng: &mut Rng) -> Step {
    Step {
        weight: Share::NONE,
        lasts: Duration::from_millis(rng.pick(&[500, 2_000, 5_000])),
        approve: rng.percent(10),
        audience: None,
        shadow: Some(shadow(rng)),
    }
}

fn shadow(rng: &mut Rng) -> Shadow {
    Shadow {
        share: Share::try_new(1_000).expect("below 10000"),
        methods: vec!["GET".to_owned()],
        body_bytes_max: 1_024,
        compare: rng.percent(60).then(|| Compare {
            headers: Vec::new(),
            ignore: Vec::new(),
            samples: rng.pick(&[20, 200]),
            at_most: Share::try_new(100).expect("below 10000"),
        }),
    }
}

fn audience() -> Audience {
    Audience::Header {
        name: "x-staff".to_owned(),
        value: AudienceValue::Plain("yes".to_owned()),
    }
}

/// The database that services share.
pub(crate) fn database() -> DatabaseName {
    DatabaseName::try_new("main").expect("a name of four letters")
}

/// How its migrations are run.
pub(crate) fn migrations() -> DatabasePolicy {
    DatabasePolicy {
        contract_after: CONTRACT_AFTER,
        approve: false,
        migrate_url: None,
        lock_timeout: Duration::from_millis(250),
        patience: Duration::from_secs(60),
    }
}

/// The version that a release was made for: two releases after each other share one.
pub(crate) fn version(id: ReleaseId) -> String {
    format!("{:03}", id.0 / 2)
}

fn schema(id: ReleaseId) -> ReleaseDatabase {
    let migration = version(id);
    let digest = format!("{:064x}", id.0 / 2);
    ReleaseDatabase {
        name: database(),
        url: "URL".to_owned(),
        schema: "public".to_owned(),
        migrations: Digest::try_new(&digest).expect("64 digits"),
        version: Some(SchemaVersion {
            schema: format!("public_{migration}"),
            migration,
        }),
        search_path: SearchPath::Url,
    }
}

/// A release whose content is `flavour`: equal flavours are equal releases.
pub(crate) fn release(setup: &ServiceSetup, id: ReleaseId, flavour: u64) -> Release {
    let digest = Digest::try_new(&format!("{flavour:064x}")).expect("64 digits");
    Release {
        id,
        digest: digest.clone(),
        label: None,
        spec: ReleaseSpec {
            artifact: digest,
            run: command(),
            port: setup.port,
            protocol: model::Protocol::Http1,
            program_tls: None,
            env: BTreeMap::new(),
            secrets: BTreeMap::new(),
            health: setup.health.clone(),
            drain: setup.drain,
            drain_limits: None,
            stop: setup.stop.clone(),
            user: None,
            database: setup.tied.then(|| schema(id)),
            limits: Limits::default(),
        },
    }
}
