//! What is deployed in these tests.

use std::collections::BTreeMap;
use std::time::Duration;

use model::{
    Argv, Count, Deploy, DeployService, Digest, Limits, OnFail, OnNoData, Peers, Policy, Port,
    ProxyLimits, Reach, Release, ReleaseId, ReleaseSpec, RolloutPolicy, ServiceName, Stop,
    Strategy,
};

pub(crate) fn name(text: &str) -> ServiceName {
    ServiceName::try_new(text).unwrap()
}

pub(crate) fn policy() -> Policy {
    Policy {
        https: model::HttpsPolicy::default(),
        replicas: 1,
        hosts: Vec::new(),
        paths: Vec::new(),
        reach: Reach::Public,
        tcp: None,
        after: Vec::new(),
        lockstep: false,
        delivery: model::Delivery::default(),
        limits: ProxyLimits::default(),
        rollout: RolloutPolicy {
            strategy: Strategy::Rolling {
                surge: Count::Absolute(1),
                max_unavailable: Count::Absolute(0),
                batch: None,
            },
            min_ready: Duration::ZERO,
            deadline: Duration::from_secs(600),
            affinity: None,
            stick_to_instance: false,
            checks: Vec::new(),
            min_requests: 1,
            on_fail: OnFail::Rollback,
            on_no_data: OnNoData::Hold,
            before: None,
            after: None,
            job_timeout: Duration::from_secs(60),
        },
    }
}

pub(crate) fn service(service: &str, port: Port) -> DeployService {
    let digest = Digest::try_new(&"7".repeat(64)).unwrap();
    let spec = ReleaseSpec {
        artifact: digest.clone(),
        run: Argv(vec!["web".to_owned()]),
        port,
        protocol: model::Protocol::Http1,
        program_tls: None,
        env: BTreeMap::new(),
        secrets: BTreeMap::new(),
        health: None,
        drain: Duration::from_secs(1),
        drain_limits: None,
        stop: Stop {
            signal: 15,
            grace: Duration::from_secs(1),
        },
        user: None,
        database: None,
        limits: Limits::default(),
    };
    DeployService {
        service: name(service),
        policy: policy(),
        internal: None,
        release: Some(Release {
            id: ReleaseId(1),
            digest,
            label: None,
            spec,
        }),
        force: false,
    }
}

pub(crate) fn deploy(services: Vec<DeployService>) -> Deploy {
    Deploy {
        https: None,
        http: "127.0.0.1:8080".parse().unwrap(),
        ports: (20_000, 20_099),
        peers: Peers::default(),
        access_log: Default::default(),
        databases: BTreeMap::new(),
        services,
        prune: Vec::new(),
        supersede: false,
    }
}
