//! The API over its socket, with control behind it in a world of tasks.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../../control/tests/support/mod.rs"]
mod support;

use std::io::{Read as _, Write as _};
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use control::api::{
    Accepted, ArtifactStored, AuditList, Code, DeployRequest, Deployed, Explained, History,
    Planned, PlannedChange, SecretList, SecretStored, StatusAnswer,
};
use model::{Digest, Receipt, ServiceName};
use runtime::artifact::{self, ArtifactBounds};
use server::client::{Client, ClientError};
use support::{World, program, service};

fn web() -> ServiceName {
    ServiceName::try_new("web").unwrap()
}

/// Runs a worker with its API, and `work` beside it in a thread that may block.
async fn with_api<T: Send + 'static>(
    world: &World,
    work: impl FnOnce(Client, PathBuf) -> T + Send + 'static,
) -> T {
    let worker = world.start();
    let state = world.state.path().to_owned();
    let socket = server::bind(&state).unwrap();
    let api = tokio::task::spawn_local(server::serve(socket, worker.handle.clone()));
    let done = tokio::task::spawn_blocking(move || {
        let client = Client::new(&state).unwrap();
        work(client, state)
    });
    let result = done.await.unwrap();
    api.abort();
    worker.kill().await;
    result
}

fn upload(client: &Client) -> Digest {
    let directory = program();
    let stored: ArtifactStored = client
        .upload("/v1/artifacts", move |out| {
            let packed = artifact::pack(directory.path(), out, ArtifactBounds::default());
            packed.map(drop).map_err(std::io::Error::other)
        })
        .unwrap();
    Digest::try_new(&stored.digest).unwrap()
}

fn request(world: &World, client: &Client) -> DeployRequest {
    DeployRequest {
        project: world.project(&[("web", service("one"))]),
        artifacts: [(web(), upload(client))].into(),
        migrations: std::collections::BTreeMap::new(),
        label: Some("abc123".to_owned()),
        force: false,
        supersede: false,
        prune: false,
    }
}

fn receipt(client: &Client, rollout: model::RolloutId) -> Receipt {
    loop {
        match client.get(&format!("/v1/receipts/{rollout}")) {
            Ok(receipt) => return receipt,
            Err(ClientError::Refused(error)) if error.code == Code::Refused => {
                std::thread::yield_now();
            }
            Err(error) => panic!("{error}"),
        }
    }
}

fn refused<T: std::fmt::Debug>(answer: Result<T, ClientError>) -> control::api::ApiError {
    match answer {
        Err(ClientError::Refused(error)) => *error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "local")]
async fn a_deploy_goes_from_the_archive_to_the_receipt() {
    let world = World::new();
    let requested = std::sync::Arc::new(world);
    let world = std::sync::Arc::clone(&requested);
    with_api(&requested, move |client, _| {
        let request = request(&world, &client);
        let digest = &request.artifacts[&web()];
        assert!(client.has(&format!("/v1/artifacts/{digest}")).unwrap());
        let unknown = "0".repeat(64);
        assert!(!client.has(&format!("/v1/artifacts/{unknown}")).unwrap());
        let planned: Planned = client.post("/v1/plan", &request, None).unwrap();
        assert_eq!(planned.services[0].change, PlannedChange::First);
        assert!(planned.services[0].instances_peak >= 1);
        let first: Deployed = client.post("/v1/deploy", &request, Some("k")).unwrap();
        let again: Deployed = client.post("/v1/deploy", &request, Some("k")).unwrap();
        assert_eq!(first, again);
        let receipt = receipt(&client, first.rollouts[&web()]);
        assert_eq!(
            (receipt.lost, receipt.label.as_deref()),
            (Some(0), Some("abc123"))
        );
        let history: History = client
            .get("/v1/history?service=web&service=x&limit=5")
            .unwrap();
        assert_eq!(history.rollouts.len(), 1);
        let explained: Explained = client.get("/v1/rollouts/newest").unwrap();
        assert!(!explained.notes.is_empty());
        let status: StatusAnswer = client.get("/v1/status").unwrap();
        assert_eq!(status.server.project.as_deref(), Some("shop"));
        let scaled: Accepted = client
            .post(
                "/v1/services/web/scale",
                &serde_json::json!({ "replicas": 2 }),
                None,
            )
            .unwrap();
        assert!(scaled.rollouts.is_empty());
        let drained: Result<Accepted, _> =
            client.post("/v1/instances/web-v9-9/drain", &serde_json::json!({}), None);
        assert_eq!(refused(drained).code, Code::NotFound);
    })
    .await;
}

#[tokio::test(flavor = "local")]
async fn secrets_go_in_and_never_out() {
    let world = World::new();
    with_api(&world, |client, _| {
        let value = "canary-55ab01".to_owned();
        let stored: SecretStored = client
            .put("/v1/secrets/TOKEN?retire=true", value.clone().into_bytes())
            .unwrap();
        assert_eq!((stored.name.as_str(), stored.version), ("TOKEN", 1));
        let list: SecretList = client.get("/v1/secrets").unwrap();
        assert_eq!(list.secrets[0].name, "TOKEN");
        for path in ["/v1/secrets", "/v1/status", "/v1/audit", "/v1/doctor"] {
            let answer: serde_json::Value = client.get(path).unwrap();
            assert!(!answer.to_string().contains(&value), "{path}");
        }
        let bad: Result<SecretStored, _> = client.put("/v1/secrets/9-bad", b"x".to_vec());
        assert_eq!(refused(bad).code, Code::Invalid);
        let large: Result<SecretStored, _> = client.put("/v1/secrets/L", vec![b'x'; 5 << 20]);
        assert!(matches!(
            large,
            Err(ClientError::Refused(_) | ClientError::Lost(_))
        ));
        client.delete("/v1/secrets/TOKEN").unwrap();
        assert_eq!(
            refused(client.delete("/v1/secrets/TOKEN")).code,
            Code::NotFound
        );
    })
    .await;
}

#[tokio::test(flavor = "local")]
async fn what_is_refused_is_said_in_json_and_noted_in_the_audit() {
    let world = World::new();
    with_api(&world, |client, _| {
        let nothing: Result<serde_json::Value, _> = client.get("/v1/nothing");
        assert_eq!(refused(nothing).code, Code::NotFound);
        let id: Result<serde_json::Value, _> = client.get("/v1/receipts/first");
        assert_eq!(refused(id).code, Code::Invalid);
        let deploy: Result<Deployed, _> =
            client.post("/v1/deploy", &serde_json::json!({ "project": 7 }), None);
        assert_eq!(refused(deploy).code, Code::Invalid);
        let hold: Result<Accepted, _> =
            client.post("/v1/services/web/hold", &serde_json::json!({}), None);
        assert_eq!(refused(hold).code, Code::NotFound);
        let torn: Result<ArtifactStored, _> = client.upload("/v1/artifacts", |out| {
            out.write_all(b"this is no archive")?;
            Ok(())
        });
        assert_eq!(refused(torn).code, Code::Invalid);
        let unread: Result<ArtifactStored, _> = client.upload("/v1/artifacts", |_| {
            Err(std::io::Error::other("the file is gone"))
        });
        assert!(matches!(unread, Err(ClientError::Source(_))), "{unread:?}");
        let audit: AuditList = client.get("/v1/audit").unwrap();
        let commands: Vec<&str> = audit
            .entries
            .iter()
            .map(|line| line.command.as_str())
            .collect();
        assert!(commands.contains(&"POST /v1/deploy"), "{commands:?}");
        assert!(commands.contains(&"hold web"), "{commands:?}");
        assert!(
            audit
                .entries
                .iter()
                .all(|line| line.result.starts_with("refused"))
        );
        let own = format!("pid {}", std::process::id());
        assert!(audit.entries.iter().all(|line| line.actor.ends_with(&own)));
    })
    .await;
}

#[tokio::test(flavor = "local")]
async fn events_come_as_they_happen_and_can_be_resumed() {
    let world = std::sync::Arc::new(World::new());
    let requested = std::sync::Arc::clone(&world);
    with_api(&world, move |client, state| {
        let request = request(&requested, &client);
        let deployed: Deployed = client.post("/v1/deploy", &request, None).unwrap();
        receipt(&client, deployed.rollouts[&web()]);
        let all = ids(&client, "/v1/events?after=0");
        assert!(all.len() > 3 && all.is_sorted(), "{all:?}");
        let middle = all[all.len() / 2];
        let rest = ids(&client, &format!("/v1/events?after={middle}"));
        assert_eq!(rest, all[all.len() / 2 + 1..]);
        let mut raw = UnixStream::connect(state.join(server::SOCKET)).unwrap();
        let last = all[all.len() - 1];
        write!(
            raw,
            "GET /v1/events HTTP/1.1\r\nHost: x\r\nLast-Event-ID: {}\r\n\r\n",
            last - 1
        )
        .unwrap();
        let mut seen = String::new();
        while !seen.contains("event: status") {
            let mut buffer = [0; 4096];
            let count = raw.read(&mut buffer).unwrap();
            seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
        assert!(
            seen.contains(&format!("id: {last}\nevent: receipt")),
            "{seen}"
        );
        assert!(!seen.contains(&format!("id: {}\n", last - 1)));
    })
    .await;
}

/// The numbers of all events up to the first status.
fn ids(client: &Client, path: &str) -> Vec<i64> {
    let mut ids = Vec::new();
    client
        .lines(path, |line| {
            let line = String::from_utf8_lossy(line);
            if let Some(id) = line.strip_prefix("id: ") {
                ids.push(id.parse().unwrap());
            }
            if line == "event: status" {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    ids
}

#[tokio::test(flavor = "local")]
async fn logs_are_sent_a_line_at_a_time() {
    let world = std::sync::Arc::new(World::new());
    let requested = std::sync::Arc::clone(&world);
    with_api(&world, move |client, _| {
        let request = request(&requested, &client);
        let deployed: Deployed = client.post("/v1/deploy", &request, None).unwrap();
        receipt(&client, deployed.rollouts[&web()]);
        for path in [
            "/v1/logs",
            "/v1/logs?service=web&release=v1&lines=1&since_seconds=600",
            "/v1/logs?follow=true",
        ] {
            let mut texts = Vec::new();
            client
                .lines(path, |line| {
                    let line: control::api::LogLine = serde_json::from_slice(line).unwrap();
                    texts.push(line.text);
                    ControlFlow::Break(())
                })
                .unwrap();
            assert_eq!(texts, ["it says this"], "{path}");
        }
        let bad: Result<serde_json::Value, _> = client.get("/v1/logs?lines=many");
        assert_eq!(refused(bad).code, Code::Invalid);
    })
    .await;
}

#[tokio::test(flavor = "local")]
async fn the_socket_is_for_its_owner_and_is_replaced_in_one_step() {
    let state = tempfile::tempdir().unwrap();
    let path = state.path().join(server::SOCKET);
    let first = server::bind(state.path()).unwrap();
    let second = server::bind(state.path()).unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let _client = UnixStream::connect(&path).unwrap();
    drop(first);
    second.accept().await.unwrap();
    let left = std::fs::read_dir(state.path()).unwrap().count();
    assert_eq!(left, 1, "no socket is left beside it");
}

#[tokio::test(flavor = "local")]
async fn a_state_directory_with_a_long_path_has_a_socket_too() {
    let world = World::new();
    let state = world.state.path().join("x".repeat(120));
    std::fs::create_dir(&state).unwrap();
    let worker = world.start();
    let socket = server::bind(&state).unwrap();
    let api = tokio::task::spawn_local(server::serve(socket, worker.handle.clone()));
    let asked = tokio::task::spawn_blocking(move || {
        let client = Client::new(&state).unwrap();
        client.get::<StatusAnswer>("/v1/status").unwrap()
    });
    assert_eq!(asked.await.unwrap().v, 1);
    api.abort();
}

#[test]
fn nobody_answers_where_no_server_runs() {
    let state = tempfile::tempdir().unwrap();
    let client = Client::new(state.path()).unwrap();
    let answer: Result<StatusAnswer, _> = client.get("/v1/status");
    assert!(matches!(answer, Err(ClientError::Unreachable { .. })));
}

#[test]
fn the_description_in_the_documentation_is_that_of_the_code() {
    let kept = include_str!("../../../docs/openapi.json");
    assert!(
        kept.trim_end() == server::openapi().trim_end(),
        "docs/openapi.json differs: run `cargo xtask generate`"
    );
}
