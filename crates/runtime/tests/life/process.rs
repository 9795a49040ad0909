//! What instances may do to the process driver, to probes and to logs.

use std::time::Duration;

use model::{Argv, Probe};
use runtime::logs::{LogBounds, LogSource, Logs};
use runtime::probe::{self, ProbeFailure, ProbeOutcome, ProbeTarget};
use runtime::process::ServerState;
use runtime::{Driver, DriverError, DriverEvent, Enforcement, ExitStatus, Limits};

use crate::stage::{Case, PATIENCE, Stage, alive, cases, eventually, key};

pub(crate) const CASES: &[Case] = cases![
    an_exec_probe_passes_with_zero_and_leaves_no_trace,
    a_failed_exec_probe_shows_its_output,
    an_exec_probe_that_hangs_is_killed_with_its_group,
    an_exec_probe_that_does_not_exist_says_so,
    abandoned_probes_are_ended,
    an_instance_may_close_its_output,
    a_line_of_ten_megabytes_is_kept_in_parts,
    a_flood_without_line_ends_does_not_hold_up_the_program,
    a_memory_limit_holds,
    a_dead_supervisor_is_told_and_changes_are_refused,
];

async fn exec(stage: &Stage, script: &str, timeout: Duration) -> Result<(), ProbeFailure> {
    let probe = Probe::Exec(Argv(["sh", "-c", script].map(str::to_owned).to_vec()));
    let (key, spec) = (key("web-v1-1"), stage.spec(&["web"]));
    let target = ProbeTarget {
        protocol: model::Protocol::Http1,
        trust: None,
        key: &key,
        port: None,
        spec: &spec,
    };
    match probe::run(stage.driver.as_ref(), &probe, target, timeout).await {
        ProbeOutcome::Pass { .. } => Ok(()),
        ProbeOutcome::Fail(failure) => Err(failure),
    }
}

async fn an_exec_probe_passes_with_zero_and_leaves_no_trace(mut stage: Stage) {
    assert_eq!(exec(&stage, "test $PWD != /", PATIENCE).await, Ok(()));
    assert!(stage.driver.list().await.unwrap().is_empty());
    assert!(stage.is_quiet(), "probes are no instances");
}

async fn a_failed_exec_probe_shows_its_output(stage: Stage) {
    let script = "head -c 100000 /dev/zero; echo; echo no database >&2; exit 7";
    let failure = exec(&stage, script, PATIENCE).await.unwrap_err();
    assert_eq!(
        (failure.reason.as_str(), failure.status),
        ("sh ended with exit code 7", Some(7))
    );
    assert!(failure.body_excerpt.unwrap().ends_with("no database\n"));
}

async fn an_exec_probe_that_hangs_is_killed_with_its_group(stage: Stage) {
    let script = "trap '' TERM; setsid sh -c 'echo $$ > helper; exec sleep 60' & sleep 60";
    let failure = exec(&stage, script, Duration::from_millis(300))
        .await
        .unwrap_err();
    assert_eq!(failure.reason, "no answer within 300ms");
    let helper = stage.pid_in("helper").await;
    eventually("the helper ends", || (!alive(helper)).then_some(())).await;
    assert!(stage.driver.list().await.unwrap().is_empty());
}

async fn an_exec_probe_that_does_not_exist_says_so(stage: Stage) {
    let probe = Probe::Exec(Argv(vec!["./ping".into()]));
    let (key, spec) = (key("web-v1-1"), stage.spec(&["web"]));
    let target = ProbeTarget {
        protocol: model::Protocol::Http1,
        trust: None,
        key: &key,
        port: None,
        spec: &spec,
    };
    match probe::run(stage.driver.as_ref(), &probe, target, PATIENCE).await {
        ProbeOutcome::Fail(failure) => {
            assert!(
                failure
                    .reason
                    .starts_with("cannot start ./ping: No such file"),
                "{failure:?}"
            );
        }
        ProbeOutcome::Pass { .. } => panic!("it cannot pass"),
    }
}

async fn abandoned_probes_are_ended(stage: Stage) {
    let left = stage.shell("probe/1/1", "sleep 60").await;
    stage.shell("web-v1-1", "sleep 60").await;
    probe::end_abandoned(stage.driver.as_ref()).await.unwrap();
    assert!(!alive(left.pid));
    let rest = stage.driver.list().await.unwrap();
    assert_eq!((rest.len(), rest[0].key.as_str()), (1, "web-v1-1"));
}

async fn logged(stage: &Stage, script: &str) -> Logs {
    let logs = Logs::open(stage.directory.join("logs"), LogBounds::default()).unwrap();
    stage.shell("a", script).await;
    let pipes = stage.driver.take_logs(&key("a")).await.unwrap();
    let source = LogSource {
        service: "web".into(),
        release: "v1".into(),
        instance: "a".into(),
    };
    let task = logs.attach(&source, pipes);
    tokio::time::timeout(PATIENCE, task.ended()).await.unwrap();
    logs
}

async fn an_instance_may_close_its_output(stage: Stage) {
    let logs = logged(&stage, "echo bye; exec >&- 2>&-; sleep 0.1; exit 4").await;
    assert_eq!(logs.tail("a")[0].text, "bye");
    assert_eq!(stage.ends("a").await, ExitStatus::Code { code: 4 });
}

async fn a_line_of_ten_megabytes_is_kept_in_parts(stage: Stage) {
    let logs = logged(
        &stage,
        "head -c 10000000 /dev/zero | tr '\\0' x; echo; echo after",
    )
    .await;
    assert_eq!(stage.ends("a").await, ExitStatus::Code { code: 0 });
    logs.flush();
    let history: Vec<_> = logs.history("web").collect();
    let parts = history.iter().filter(|line| line.text.starts_with('x'));
    let kept: usize = parts.map(|line| line.text.len()).sum();
    // What was printed before the pipes were taken, and what the disk was too slow for.
    let unread: u64 = history.iter().map(|line| line.dropped_bytes).sum();
    let unwritten = logs.dropped_lines() * runtime::logs::RECORD_BYTES_MAX as u64;
    let lost = usize::try_from(unread + unwritten).unwrap();
    assert!(
        kept <= 10_000_000 && kept + lost >= 10_000_000,
        "{kept} and {lost}"
    );
    assert_eq!(logs.tail("a").last().unwrap().text, "after");
}

async fn a_flood_without_line_ends_does_not_hold_up_the_program(stage: Stage) {
    // Nobody takes the pipes: the supervisor reads them.
    stage.shell("a", "head -c 50000000 /dev/zero; exit 5").await;
    assert_eq!(stage.ends("a").await, ExitStatus::Code { code: 5 });
    let logs = stage.driver.take_logs(&key("a")).await.unwrap();
    assert!(
        logs.stdout.dropped_bytes > 40_000_000,
        "{}",
        logs.stdout.dropped_bytes
    );
}

async fn a_memory_limit_holds(stage: Stage) {
    let mut spec = stage.spec(&[
        "sh",
        "-c",
        "head -c 300000000 /dev/zero | tail -c 300000000 >/dev/null",
    ]);
    spec.limits = Limits {
        memory_bytes_max: Some(64 << 20),
        ..Limits::default()
    };
    let instance = stage.driver.start(&key("a"), &spec).await.unwrap();
    let by = instance.enforced.memory;
    assert!(
        matches!(by, Enforcement::Cgroup | Enforcement::Rlimit),
        "{by:?}"
    );
    assert_ne!(stage.ends("a").await, ExitStatus::Code { code: 0 });
}

async fn a_dead_supervisor_is_told_and_changes_are_refused(mut stage: Stage) {
    let instance = stage.shell("a", "sleep 60").await;
    let mut state = stage.driver.server_state();
    let supervisor = rustix::process::getppid().unwrap();
    rustix::process::kill_process(supervisor, rustix::process::Signal::KILL).unwrap();
    assert_eq!(stage.event().await, DriverEvent::Lost);
    assert_eq!(*state.borrow_and_update(), ServerState::SupervisorLost);
    let refused = stage.driver.start(&key("b"), &stage.spec(&["true"])).await;
    assert!(matches!(refused, Err(DriverError::Lost)), "{refused:?}");
    assert!(alive(instance.pid), "what runs goes on");
    assert!(stage.is_quiet(), "told once");
    let left = supervisor::leftovers(&stage.directory.join("state"));
    assert!(left.iter().any(|left| left.pid == instance.pid));
    let children: Vec<_> = left.into_iter().filter(|left| left.key.is_some()).collect();
    supervisor::signal_leftovers(&children, runtime::Signal::KILL).unwrap();
    eventually("it is stopped", || (!alive(instance.pid)).then_some(())).await;
}
