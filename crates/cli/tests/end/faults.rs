//! Crashes of Gapless itself.

use std::time::Duration;

use load::Failure;

use crate::disk::Disk;
use crate::project::Project;

#[test]
fn a_worker_killed_at_any_moment_of_a_rollout_stops_nothing_and_refuses_nobody() {
    let mut project = Project::deployed("", "min_ready = \"300ms\"");
    let client = project.load(300);
    let waits_ms = [0, 60, 200, 500, 900];
    for wait_ms in waits_ms {
        assert_eq!(
            project
                .deploy("", "min_ready = \"300ms\"", &["--detach"])
                .code,
            0
        );
        std::thread::sleep(Duration::from_millis(wait_ms));
        project.stage.kill_worker().unwrap();
        let said = project.run(&["wait"]);
        assert_eq!(
            said.code,
            0,
            "after {wait_ms} ms: {}\n{}",
            said.errors,
            project.stage.server_log()
        );
        let receipt = &said.receipts()[0];
        assert_eq!(receipt.lost, Some(0), "{receipt:?}");
        assert_adds_up(receipt);
        // The instances of this release and of the one before: what was noted before the kill
        // is not forgotten.
        let times = |replaced: fn(&model::InstanceTimes) -> bool| {
            receipt.instances.iter().filter(|one| replaced(one)).count()
        };
        assert_eq!(times(|one| one.ready_ms.is_some()), 2, "{receipt:?}");
        assert_eq!(times(|one| one.stop_ms.is_some()), 2, "{receipt:?}");
        assert!(receipt.first_cutover_seconds.is_some(), "{receipt:?}");
    }
    let tally = client.stop();
    let cut: u64 = project.run(&["history"]).first()["rollouts"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|one| one["receipt"]["cut"].as_u64())
        .sum();
    assert_eq!(
        (tally.count(Failure::Refused), tally.errors.len()),
        (0, 0),
        "{tally:?}"
    );
    // Requests that the worker had read are closed in order and counted; those that still lay
    // unread in the kernel are reset, and may have been marked by then. A thread may have given
    // its last answer away and not yet noted so.
    let unread = tally.count(Failure::Reset);
    let just_answered = waits_ms.len() as u64 * u64::from(stage::THREADS);
    assert!(
        tally.failed() - unread <= cut && cut <= tally.failed() + just_answered,
        "cut {cut}: {tally:?}"
    );
}

fn assert_adds_up(receipt: &model::Receipt) {
    let balance = receipt.balance.unwrap();
    let by_release: u64 = receipt.by_release.values().map(|own| own.requests).sum();
    assert_eq!(
        receipt.requests.unwrap() + balance.open_at_begin,
        by_release + balance.without_release + balance.open_at_end,
        "{receipt:?}"
    );
}

#[test]
fn a_worker_killed_in_peace_keeps_every_instance() {
    let project = Project::deployed("", "");
    let before = project.web()["instances"].clone();
    let pid = project.stage.kill_worker().unwrap();
    assert!(project.ask("/", "").contains("v1 received"));
    assert_ne!(project.stage.worker_pid().unwrap(), pid);
    let serials = |instances: &serde_json::Value| -> Vec<String> {
        instances
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["instance"]["serial"].to_string())
            .collect()
    };
    assert_eq!(serials(&project.web()["instances"]), serials(&before));
}

#[test]
fn a_second_server_on_the_same_state_is_refused_and_names_the_first() {
    let project = Project::deployed("", "");
    let mut second = project.stage.command(&["server", "--allow-root-instances"]);
    let output = second.output().unwrap();
    assert_eq!(output.status.code(), Some(6));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains(&project.stage.server_pid().unwrap().to_string()),
        "{said}"
    );
}

#[test]
fn a_server_whose_supervisor_died_serves_on_and_the_next_one_takes_its_place() {
    let mut project = Project::deployed("", "");
    let client = project.load(200);
    let supervisor = project.stage.kill_server().unwrap();
    let refused = project.run(&["restart", "web"]);
    assert_eq!(refused.code, 1, "{}", refused.errors);
    assert!(
        refused.errors.contains("gapless server"),
        "{}",
        refused.errors
    );
    project.stage.serve(&[]).unwrap();
    assert_ne!(project.stage.server_pid(), Some(supervisor));
    until_nothing_is_left_by(supervisor, &project);
    client.stop_unharmed();
    assert!(project.ask("/", "").contains("v1 received"));
}

#[test]
fn a_worker_whose_supervisor_is_dead_ends_once_nothing_answers_any_more() {
    let mut project = Project::deployed("", "");
    let supervisor = project.stage.kill_server().unwrap();
    assert!(project.ask("/", "").contains("v1 received"), "it serves on");
    let left = left_by(supervisor);
    let instances = left.iter().filter(|(_, is_instance)| *is_instance);
    for (pid, _) in instances {
        let pid = rustix::process::Pid::from_raw(*pid).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }
    until_nothing_is_left_by(supervisor, &project);
}

fn until_nothing_is_left_by(supervisor: u32, project: &Project) {
    let begin = std::time::Instant::now();
    while !left_by(supervisor).is_empty() {
        let log = project.stage.server_log();
        assert!(begin.elapsed() < crate::project::PATIENCE * 2, "{log}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Processes that a supervisor with this pid started, and whether each is an instance.
fn left_by(supervisor: u32) -> Vec<(i32, bool)> {
    let mark = format!(".{supervisor}.");
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let environs = processes.filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        Some((pid, std::fs::read(entry.path().join("environ")).ok()?))
    });
    let marked = environs.filter_map(|(pid, environ)| {
        let text = String::from_utf8_lossy(&environ).into_owned();
        let is_its = |one: &str| one.starts_with("GAPLESS_SERVER=") && one.contains(&mark);
        let is_instance = text.split('\0').any(|one| one.starts_with("GAPLESS_KEY="));
        text.split('\0').any(is_its).then_some((pid, is_instance))
    });
    marked.collect()
}

#[test]
fn with_a_full_disk_traffic_goes_on_and_deploys_are_refused_until_there_is_room() {
    let Some(mut project) = Disk::small().map(Project::on) else {
        // Past the capture of a passing test's output: a skip is always seen.
        let said = b"skipped: with_a_full_disk: a small file system can be mounted by root only\n";
        std::io::Write::write_all(&mut std::io::stderr(), said).unwrap();
        return;
    };
    project.stage.serve(&[]).unwrap();
    assert_eq!(project.deploy("replicas = 1", "", &[]).code, 0);
    let client = project.load(100);
    let filler = project.stage.path("state/filler");
    let full = std::fs::write(&filler, vec![1; 512 << 20]).unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    let refused = project.deploy("replicas = 1", "", &[]);
    assert_eq!(refused.code, 1, "{}", refused.errors);
    assert!(refused.errors.contains("space"), "{}", refused.errors);
    assert!(project.ask("/", "").contains("v1 received"));
    std::fs::remove_file(&filler).unwrap();
    let done = project.redeploy(&[]);
    assert_eq!(done.code, 0, "{}", done.errors);
    client.stop_unharmed();
}

#[test]
fn a_server_that_ends_drains_stops_everything_and_starts_again_with_the_same_release() {
    let mut project = Project::deployed("", "");
    assert_eq!(project.stage.end().unwrap(), 0);
    let state = project.stage.path("state").display().to_string();
    let left = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(Result::ok)
        .filter(|entry| {
            let environ = std::fs::read(entry.path().join("environ")).unwrap_or_default();
            String::from_utf8_lossy(&environ).contains(&state)
        });
    assert_eq!(left.count(), 0);
    project.stage.serve(&[]).unwrap();
    assert!(project.ask("/", "").contains("v1 received"));
}

#[test]
fn on_a_disk_that_became_read_only_traffic_goes_on_and_the_server_still_ends() {
    let Some(mut project) = Disk::failing().map(Project::on) else {
        let said = b"skipped: on_a_disk_that_became_read_only: a file system that fails can be made by root only, where there are loop devices and mkfs.ext4\n";
        std::io::Write::write_all(&mut std::io::stderr(), said).unwrap();
        return;
    };
    project.stage.serve(&[]).unwrap();
    assert_eq!(project.deploy("replicas = 1", "", &[]).code, 0);
    let client = project.load(100);
    project.disk.as_ref().unwrap().fail();
    let refused = project.deploy("replicas = 1", "", &[]);
    assert_eq!(refused.code, 1, "{}", refused.errors);
    assert!(
        refused.errors.contains("traffic goes on"),
        "{}",
        refused.errors
    );
    client.stop_unharmed();
    project.stage.kill_worker().unwrap();
    assert!(project.ask("/", "").contains("v1 received"));
    let refused = project.run(&["status"]);
    assert_eq!(refused.code, 5, "{}", refused.errors);
    let pid = project.stage.server_pid().unwrap();
    let server = format!("(pid {pid}) takes no commands");
    assert!(refused.errors.contains(&server), "{}", refused.errors);
    assert_eq!(project.stage.end().unwrap(), 0);
    assert_eq!(left_by(pid), []);
}

#[test]
fn a_corrupted_database_is_refused_with_the_way_out() {
    let mut project = Project::deployed("", "");
    assert_eq!(project.stage.end().unwrap(), 0);
    let database = std::fs::read_dir(project.stage.path("state"))
        .unwrap()
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "db"))
        .unwrap();
    let mut bytes = std::fs::read(&database).unwrap();
    for byte in bytes.iter_mut().skip(100).take(8_000) {
        *byte = 0xA5;
    }
    std::fs::write(&database, bytes).unwrap();
    // The server may refuse to serve, or serve the last table without commands: it says why.
    let _ = project.stage.serve(&[]);
    let log = project.stage.server_log();
    assert!(
        log.contains(&database.file_name().unwrap().to_string_lossy().into_owned()),
        "{log}"
    );
    // A worker that can change nothing goes with its supervisor: nobody is served by it.
    let supervisor = project.stage.kill_server().unwrap();
    until_nothing_is_left_by(supervisor, &project);
}
