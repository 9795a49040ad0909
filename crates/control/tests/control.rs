//! Control as a whole, in a world of tasks instead of processes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod databases;
mod steps;
mod support;

use std::time::Duration;

use control::api::Code;
use control::{End, LastTable, Retire, SecretValue, StartError, StoreError};
use model::{Argv, Command, JobKind, Outcome, ReleaseId, ServiceName};
use runtime::process::ServerState;
use runtime::{ExitStatus, Key};
use support::{World, program, service};

fn web() -> ServiceName {
    ServiceName::try_new("web").unwrap()
}

#[tokio::test(flavor = "local")]
async fn a_deploy_ends_with_a_receipt_and_the_same_again_does_nothing() {
    let (world, directory) = (World::new(), program());
    let worker = world.start();
    let project = world.project(&[("web", service("one"))]);
    let deployed = worker.deploy(&project, directory.path()).await.unwrap();
    assert_eq!(deployed.releases[&web()], ReleaseId(1));
    let receipt = worker.receipt(deployed.rollouts[&web()]).await;
    assert_eq!(receipt.outcome, Outcome::Completed);
    assert_eq!((receipt.from, receipt.to.as_str()), (None, "v1"));
    assert_eq!(receipt.lost, Some(0));
    assert_eq!(receipt.instances.len(), 1);
    assert!(receipt.instances[0].ready_ms.is_some());
    let again = worker.deploy(&project, directory.path()).await.unwrap();
    assert!(again.rollouts.is_empty());
    assert_eq!(again.releases[&web()], ReleaseId(1));
    let history = worker.handle.history(vec![web()], 10).await.unwrap();
    assert_eq!(history.rollouts.len(), 1);
    let audit = worker.handle.audit(10).await.unwrap();
    assert_eq!(audit.entries.len(), 2);
    assert_eq!(audit.broken_at, None);
}

#[tokio::test(flavor = "local")]
async fn an_instance_gets_its_environment_and_nothing_of_the_servers() {
    let (world, directory) = (World::new(), program());
    let worker = world.start();
    let value = SecretValue::try_new(b"hush".to_vec()).unwrap();
    let secret = ("TOKEN".to_owned(), value);
    let set = worker
        .handle
        .set_secret(secret, Retire::None, "test".to_owned());
    assert_eq!(set.await.unwrap().version, 1);
    let mut secretive = service("one");
    secretive.template.secrets = vec!["TOKEN".to_owned()];
    let project = world.project(&[("web", secretive), ("web-api", service("two"))]);
    let deployed = worker.deploy(&project, directory.path()).await.unwrap();
    for rollout in deployed.rollouts.values() {
        worker.receipt(*rollout).await;
    }
    let environments = world.driver.environments.lock().unwrap();
    let env = &environments["web-v1-1"];
    assert_eq!(env["TOKEN"], "hush");
    assert_eq!(env["E"], "one");
    assert_eq!(env["GAPLESS_RELEASE"], "v1");
    assert!(env["GAPLESS_URL_WEB_API"].starts_with("http://127.0.0.1:"));
    assert!(env["DATA"].ends_with("data/web"));
    let allowed = |name: &str| {
        [
            "PATH", "HOME", "LANG", "TMPDIR", "DATA", "PORT", "E", "TOKEN",
        ]
        .contains(&name)
            || name.starts_with("GAPLESS_")
    };
    assert!(env.keys().all(|name| allowed(name)), "{:?}", env.keys());
    assert!(!environments["web-api-v1-1"].contains_key("TOKEN"));
}

#[tokio::test(flavor = "local")]
async fn limits_that_nothing_here_would_hold_are_named_with_the_fix_before_a_deploy() {
    let (world, directory) = (World::new(), program());
    let worker = world.start();
    let mut limited = service("one");
    limited.template.limits.cpu_millis_max = Some(500);
    limited.template.limits.processes_max = Some(50);
    let project = world.project(&[("web", limited)]);
    let request = worker.request(&project, directory.path()).await;
    let planned = worker.handle.plan(request).await.unwrap();
    let notes = &planned.services[0].notes;
    assert!(
        notes.len() == 1 && notes[0].starts_with("limits.cpu") && notes[0].contains("Delegate"),
        "{notes:?}"
    );
    let facts = worker.handle.doctor().await.unwrap().facts;
    let fact = facts.iter().find(|fact| fact.name == "limits").unwrap();
    assert_eq!(fact.seen, "limits.cpu would not be enforced");
    assert!(fact.fix.as_ref().unwrap().contains("Delegate"));
}

#[tokio::test(flavor = "local")]
async fn a_missing_secret_is_refused_with_the_command_that_sets_it() {
    let (world, directory) = (World::new(), program());
    let worker = world.start();
    let mut secretive = service("one");
    secretive.template.secrets = vec!["TOKEN".to_owned()];
    let project = world.project(&[("web", secretive)]);
    let error = worker.deploy(&project, directory.path()).await.unwrap_err();
    assert_eq!(error.code, Code::Invalid);
    assert!(
        error
            .hint
            .as_deref()
            .unwrap()
            .contains("gapless secret set TOKEN")
    );
    let audit = worker.handle.audit(1).await.unwrap();
    assert!(audit.entries[0].result.starts_with("refused"));
    assert!(world.driver.running().is_empty());
}

#[tokio::test(flavor = "local")]
async fn what_cannot_work_is_refused_before_anything_begins() {
    let (world, directory) = (World::new(), program());
    let worker = world.start();
    let mut missing = service("one");
    missing.template.run = Argv(vec!["./bin/web".to_owned()]);
    let project = world.project(&[("web", missing)]);
    let error = worker.deploy(&project, directory.path()).await.unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("./bin/web") && text.contains("does not exist"),
        "{text}"
    );
    let mut taken = world.project(&[("web", service("one"))]);
    taken.server.http.set_port(81);
    let error = worker.deploy(&taken, directory.path()).await.unwrap_err();
    assert!(error.to_string().contains("nginx (pid 7)"), "{error}");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut fixed = service("one");
    fixed.template.port = model::Port::Fixed(port);
    let project = world.project(&[("web", fixed)]);
    let error = worker.deploy(&project, directory.path()).await.unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains(&format!("port {port} is taken by stranger (pid 8)")),
        "{text}"
    );
    let status = worker.handle.status().await.unwrap();
    assert!(status.engine.services.is_empty());
    assert!(world.bound.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "local")]
async fn a_repeated_request_under_one_key_is_one_deploy() {
    let (world, directory) = (World::new(), program());
    let worker = world.start();
    let project = world.project(&[("web", service("one"))]);
    let request = worker.request(&project, directory.path()).await;
    let deploy = |worker: &support::Worker, request, key: &str| {
        let key = Some(key.to_owned());
        let handle = worker.handle.clone();
        async move { handle.deploy(request, key, "test".to_owned()).await }
    };
    let first = deploy(&worker, request.clone(), "k").await.unwrap();
    assert_eq!(deploy(&worker, request.clone(), "k").await.unwrap(), first);
    let rollout = first.rollouts[&web()];
    worker.receipt(rollout).await;
    worker.kill().await;
    // The answer outlives the worker.
    let worker = world.start();
    assert_eq!(deploy(&worker, request.clone(), "k").await.unwrap(), first);
    let mut other = request;
    other.force = true;
    let error = deploy(&worker, other, "k").await.unwrap_err();
    assert_eq!(error.code, Code::Invalid);
}

#[tokio::test(flavor = "local")]
async fn a_worker_that_dies_is_carried_on_by_the_next() {
    let (world, directory) = (World::new(), program());
    let worker = world.start();
    let project = world.project(&[("web", service("one"))]);
    let first = worker.deploy(&project, directory.path()).await.unwrap();
    worker.receipt(first.rollouts[&web()]).await;
    // The proxy stops confirming, so that the rollout stands still in the middle.
    *world.confirms.lock().unwrap() = false;
    let project = world.project(&[("web", service("two"))]);
    let second = worker.deploy(&project, directory.path()).await.unwrap();
    let rollout = second.rollouts[&web()];
    worker
        .until(|status| status.engine.revision > status.engine.confirmed)
        .await;
    worker.kill().await;
    *world.confirms.lock().unwrap() = true;
    let worker = world.start();
    let receipt = worker.receipt(rollout).await;
    assert_eq!(receipt.outcome, Outcome::Completed);
    assert_eq!((receipt.lost, receipt.to.as_str()), (Some(0), "v2"));
    let running = world.driver.running();
    assert!(
        running.len() == 1 && running[0].starts_with("web-v2-"),
        "{running:?}"
    );
    let starts = world.driver.starts.lock().unwrap();
    assert_eq!(starts.len(), 2, "nothing was started twice: {starts:?}");
}

#[tokio::test(flavor = "local")]
async fn an_older_worker_does_nothing_more_once_another_has_control() {
    let (world, directory) = (World::new(), program());
    let old = world.start();
    let new = world.start();
    let project = world.project(&[("web", service("one"))]);
    assert_eq!(old.ended().await, End::Fenced);
    assert!(world.driver.starts.lock().unwrap().is_empty());
    let deployed = new.deploy(&project, directory.path()).await.unwrap();
    new.receipt(deployed.rollouts[&web()]).await;
}

#[tokio::test(flavor = "local")]
async fn a_job_runs_once_even_when_its_worker_dies_over_it() {
    let (world, directory) = (World::new(), program());
    let worker = world.start();
    let mut migrated = service("one");
    migrated.policy.rollout.before = Some(Argv(vec!["./web".to_owned(), "migrate".to_owned()]));
    let project = world.project(&[("web", migrated)]);
    let deployed = worker.deploy(&project, directory.path()).await.unwrap();
    let rollout = deployed.rollouts[&web()];
    let key: Key = steps::job(rollout, JobKind::Before);
    worker
        .until(|_| world.driver.running().contains(&key.to_string()))
        .await;
    worker.kill().await;
    let worker = world.start();
    world.driver.end(&key, ExitStatus::Code { code: 0 });
    let receipt = worker.receipt(rollout).await;
    assert_eq!(receipt.outcome, Outcome::Completed);
    let starts = world.driver.starts.lock().unwrap();
    let jobs = starts.iter().filter(|start| start.starts_with("job-"));
    assert_eq!(jobs.count(), 1, "{starts:?}");
}

#[tokio::test(flavor = "local")]
async fn a_failed_job_leaves_the_old_release_and_shows_its_output() {
    let (world, directory) = (World::new(), program());
    let worker = world.start();
    let project = world.project(&[("web", service("one"))]);
    let first = worker.deploy(&project, directory.path()).await.unwrap();
    worker.receipt(first.rollouts[&web()]).await;
    *world.driver.job_code.lock().unwrap() = Some(3);
    let mut migrated = service("two");
    migrated.policy.rollout.before = Some(Argv(vec!["./web".to_owned()]));
    let project = world.project(&[("web", migrated)]);
    let second = worker.deploy(&project, directory.path()).await.unwrap();
    let receipt = worker.receipt(second.rollouts[&web()]).await;
    assert_eq!(receipt.outcome, Outcome::RolledBack);
    assert!(receipt.reason.contains("exit code 3"), "{}", receipt.reason);
    assert!(
        receipt.reason.contains("it says this"),
        "{}",
        receipt.reason
    );
    assert_eq!(world.driver.running(), ["web-v1-1"]);
}

#[tokio::test(flavor = "local")]
async fn an_abort_tells_what_the_release_that_never_got_ready_said() {
    let (world, directory) = (World::new(), program());
    let worker = world.start();
    let project = world.project(&[("web", service("one"))]);
    let first = worker.deploy(&project, directory.path()).await.unwrap();
    worker.receipt(first.rollouts[&web()]).await;
    let project = world.project(&[("web", service("silent"))]);
    let second = worker.deploy(&project, directory.path()).await.unwrap();
    let rollout = second.rollouts[&web()];
    let is_failing = |status: &control::api::StatusAnswer| {
        let instances = &status.engine.services[0].instances;
        instances.iter().any(|seen| seen.last_failure.is_some())
    };
    worker.until(is_failing).await;
    let explained = worker.handle.explain(Some(rollout)).await.unwrap();
    let evidence = explained.evidence.join("\n");
    assert!(evidence.contains("cannot connect"), "{evidence}");
    assert!(evidence.contains("it says this"), "{evidence}");
    let service = web();
    let abort = worker
        .handle
        .command(Command::Abort { service }, "test".to_owned());
    assert_eq!(abort.await.unwrap().rollouts[&web()], rollout);
    let receipt = worker.receipt(rollout).await;
    assert_eq!((receipt.outcome, receipt.lost), (Outcome::Aborted, Some(0)));
}

#[tokio::test(flavor = "local")]
async fn a_second_deploy_is_refused_while_one_runs() {
    let (world, directory) = (World::new(), program());
    let worker = world.start();
    let project = world.project(&[("web", service("silent"))]);
    let first = worker.deploy(&project, directory.path()).await.unwrap();
    let project = world.project(&[("web", service("two"))]);
    let error = worker.deploy(&project, directory.path()).await.unwrap_err();
    assert_eq!(error.code, Code::Locked);
    assert_eq!(error.rollout, Some(first.rollouts[&web()].0));
}

#[tokio::test(flavor = "local")]
async fn old_releases_are_pruned_with_their_artefacts() {
    let world = World::new();
    let worker = world.start();
    for number in 0..6 {
        let directory = program();
        std::fs::write(directory.path().join("n"), number.to_string()).unwrap();
        let project = world.project(&[("web", service("one"))]);
        let deployed = worker.deploy(&project, directory.path()).await.unwrap();
        worker.receipt(deployed.rollouts[&web()]).await;
    }
    let releases = worker.handle.releases(web()).await.unwrap().releases;
    let kept: Vec<u32> = releases.iter().map(|view| view.release.0).collect();
    assert_eq!(kept, [2, 3, 4, 5, 6]);
    assert!(releases[4].active && releases[3].previous);
}

#[tokio::test(flavor = "local")]
async fn the_end_stops_everything_and_makes_receipts() {
    let (world, directory) = (World::new(), program());
    let worker = world.start();
    let project = world.project(&[("web", service("silent"))]);
    let deployed = worker.deploy(&project, directory.path()).await.unwrap();
    world.server.send_replace(ServerState::Terminating);
    assert_eq!(worker.ended().await, End::Terminated);
    assert!(world.driver.running().is_empty());
    world.server.send_replace(ServerState::Serving);
    let worker = world.start();
    let receipt = worker.receipt(deployed.rollouts[&web()]).await;
    assert_ne!(receipt.outcome, Outcome::Completed);
}

#[tokio::test(flavor = "local")]
async fn the_supervisor_waits_for_the_longest_drain_when_the_server_ends() {
    for (drain, told) in [(5, 600), (1_200, 1_200 + 5 + 60)] {
        let (world, directory) = (World::new(), program());
        let worker = world.start();
        let mut slow = service("silent");
        slow.template.drain = Duration::from_secs(drain);
        let grace = slow.template.stop.grace;
        let project = world.project(&[("web", slow)]);
        worker.deploy(&project, directory.path()).await.unwrap();
        let runs =
            |status: &control::api::StatusAnswer| !status.engine.services[0].instances.is_empty();
        worker.until(runs).await;
        world.server.send_replace(ServerState::Terminating);
        assert_eq!(worker.ended().await, End::Terminated);
        let ending = world.ending.lock().unwrap().unwrap();
        let told = Duration::from_secs(told);
        assert!(ending == told || ending == told + grace, "{ending:?}");
    }
}

#[tokio::test(flavor = "local")]
async fn without_a_supervisor_nothing_can_be_changed() {
    let (world, directory) = (World::new(), program());
    let worker = world.start();
    world.server.send_replace(ServerState::SupervisorLost);
    let project = world.project(&[("web", service("one"))]);
    let error = worker.deploy(&project, directory.path()).await.unwrap_err();
    assert_eq!(error.code, Code::Unavailable);
    assert!(error.hint.as_deref().unwrap().contains("gapless server"));
}

#[tokio::test(flavor = "local")]
async fn a_damaged_database_leaves_traffic_as_the_last_table_says() {
    let (world, directory) = (World::new(), program());
    let worker = world.start();
    let project = world.project(&[("web", service("one"))]);
    let deployed = worker.deploy(&project, directory.path()).await.unwrap();
    worker.receipt(deployed.rollouts[&web()]).await;
    worker.kill().await;
    let last = LastTable::read(world.state.path()).unwrap().table;
    assert_eq!(last.services[0].stable.endpoints.len(), 1);
    for file in ["gapless.db", "gapless.db-wal"] {
        let path = world.state.path().join(file);
        let Ok(mut bytes) = std::fs::read(&path) else {
            continue;
        };
        bytes.iter_mut().take(4_000).for_each(|byte| *byte ^= 0x55);
        std::fs::write(&path, bytes).unwrap();
    }
    let error = world.try_start().map(|_| ()).unwrap_err();
    assert!(
        matches!(error, StartError::Store(StoreError::Corrupt { .. })),
        "{error}"
    );
    world.tables.lock().unwrap().clear();
    let parts = world.parts();
    let mut publisher = parts.publisher;
    control::serve_last_table(world.state.path(), &*parts.host, &mut *publisher);
    let published = world.tables.lock().unwrap();
    assert_eq!(*published[0], last);
}
