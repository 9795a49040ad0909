//! What every driver must do. A new driver passes all of these or is none.

use runtime::{Driver, DriverError, DriverEvent, ExitStatus, InstanceState, Signal};

use crate::stage::{Case, Stage, alive, all_of, cases, eventually, key};

pub(crate) const CASES: &[Case] = cases![
    a_repeated_start_returns_the_same_instance,
    an_end_is_told_and_kept_until_acknowledged,
    a_running_instance_cannot_be_acknowledged,
    a_key_nobody_has_is_an_error,
    a_program_that_does_not_exist_is_an_error,
    output_is_taken_from_the_beginning,
    a_signal_reaches_the_whole_group,
    a_kill_leaves_nothing_behind,
    the_environment_is_what_was_asked_for,
    the_owner_of_a_port_is_told,
];

async fn a_repeated_start_returns_the_same_instance(stage: Stage) {
    let first = stage.shell("a", "sleep 60").await;
    let again = stage.shell("a", "sleep 60").await;
    assert_eq!(first, again);
    assert_eq!(stage.driver.list().await.unwrap(), [first]);
}

async fn an_end_is_told_and_kept_until_acknowledged(mut stage: Stage) {
    stage.shell("a", "exit 3").await;
    let status = ExitStatus::Code { code: 3 };
    assert_eq!(
        stage.event().await,
        DriverEvent::Exited {
            key: key("a"),
            status
        }
    );
    assert_eq!(stage.ends("a").await, status);
    assert_eq!(
        stage.driver.list().await.unwrap()[0].state,
        InstanceState::Exited(status)
    );
    stage.driver.acknowledge(&key("a")).await.unwrap();
    assert!(stage.driver.list().await.unwrap().is_empty());
    assert!(stage.is_quiet());
}

async fn a_running_instance_cannot_be_acknowledged(stage: Stage) {
    stage.shell("a", "sleep 60").await;
    let refused = stage.driver.acknowledge(&key("a")).await;
    assert!(
        matches!(refused, Err(DriverError::Refused(_))),
        "{refused:?}"
    );
}

async fn a_key_nobody_has_is_an_error(stage: Stage) {
    let nobody = key("nobody");
    let unknown = |error: DriverError| matches!(error, DriverError::UnknownKey);
    assert!(unknown(
        stage
            .driver
            .signal(&nobody, Signal::TERM)
            .await
            .unwrap_err()
    ));
    assert!(unknown(stage.driver.kill(&nobody).await.unwrap_err()));
    assert!(unknown(stage.driver.take_logs(&nobody).await.unwrap_err()));
    assert!(unknown(
        stage.driver.acknowledge(&nobody).await.unwrap_err()
    ));
    assert!(unknown(stage.driver.wait(&nobody).await.unwrap_err()));
}

async fn a_program_that_does_not_exist_is_an_error(stage: Stage) {
    let spec = stage.spec(&["./missing"]);
    match stage.driver.start(&key("a"), &spec).await {
        Err(DriverError::Start { program, source }) => {
            assert_eq!(program, "./missing");
            assert_eq!(source.kind(), std::io::ErrorKind::NotFound);
        }
        other => panic!("{other:?}"),
    }
    assert!(stage.driver.list().await.unwrap().is_empty());
}

async fn output_is_taken_from_the_beginning(stage: Stage) {
    stage
        .shell("a", "echo out; echo err >&2; sleep 0.1; echo more")
        .await;
    let logs = stage.driver.take_logs(&key("a")).await.unwrap();
    assert_eq!(all_of(logs.stdout).await, "out\nmore\n");
    assert_eq!(all_of(logs.stderr).await, "err\n");
}

async fn a_signal_reaches_the_whole_group(stage: Stage) {
    stage
        .shell("a", "sh -c 'echo $$ > helper; exec sleep 60' & wait")
        .await;
    let helper = stage.pid_in("helper").await;
    stage.driver.signal(&key("a"), Signal::TERM).await.unwrap();
    assert_eq!(
        stage.ends("a").await,
        ExitStatus::Signal {
            signal: Signal::TERM.as_raw()
        }
    );
    eventually("the helper ends", || (!alive(helper)).then_some(())).await;
}

async fn a_kill_leaves_nothing_behind(stage: Stage) {
    let script = "env -i setsid sh -c 'echo $$ > daemon; exec sleep 60' & \
                  trap '' TERM; while :; do wait; done";
    stage.shell("a", script).await;
    let daemon = stage.pid_in("daemon").await;
    stage.driver.signal(&key("a"), Signal::TERM).await.unwrap();
    assert!(alive(daemon));
    stage.driver.kill(&key("a")).await.unwrap();
    assert_eq!(
        stage.ends("a").await,
        ExitStatus::Signal {
            signal: Signal::KILL.as_raw()
        }
    );
    eventually("the daemon ends", || (!alive(daemon)).then_some(())).await;
}

async fn the_environment_is_what_was_asked_for(stage: Stage) {
    let mut spec = stage.spec(&["env"]);
    spec.env.push(("GREETING".into(), "hello\nworld".into()));
    stage.driver.start(&key("a"), &spec).await.unwrap();
    let logs = stage.driver.take_logs(&key("a")).await.unwrap();
    let output = all_of(logs.stdout).await;
    assert!(output.contains("GREETING=hello\nworld\n"), "{output}");
    let names: Vec<&str> = output
        .lines()
        .filter_map(|line| Some(line.split_once('=')?.0))
        .collect();
    let foreign =
        |name: &&&str| !["PATH", "GREETING"].contains(*name) && !name.starts_with("GAPLESS_");
    assert_eq!(names.iter().find(foreign), None, "{output}");
}

async fn the_owner_of_a_port_is_told(stage: Stage) {
    let stranger = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = stranger.local_addr().unwrap().port();
    let owners = stage.driver.owners(port).await.unwrap();
    assert_eq!((owners.len(), owners[0].pid), (1, Some(std::process::id())));
    assert_eq!(
        (owners[0].name.as_str(), &owners[0].key),
        ("runtime-stage", &None)
    );
    drop(stranger);
    assert!(stage.driver.owners(port).await.unwrap().is_empty());
}
