//! Programs that misbehave.

use std::time::Duration;

use crate::project::{PATIENCE, Project};

#[test]
fn a_release_that_never_gets_ready_leaves_the_old_one_and_says_why() {
    let mut project = Project::deployed("", "");
    let client = project.load(200);
    let said = project.deploy(
        r#"health = { http = "/nowhere", status = 204, every = "50ms" }"#,
        "deadline = \"2s\"",
        &[],
    );
    client.stop_unharmed();
    assert_eq!(said.code, 3, "{}", said.errors);
    assert!(
        said.errors.contains("200"),
        "the probe's answer is the evidence: {}",
        said.errors
    );
    assert!(said.errors.contains("100% on `v1`"), "{}", said.errors);
    assert!(project.ask("/", "").contains("v1 received"));
}

#[test]
fn a_crash_loop_is_rolled_back_with_the_last_lines_of_the_program() {
    let mut project = Project::deployed("", "");
    let said = project.deploy(
        r#"run = ["sh", "-c", "echo cannot find the ledger; exit 7"]"#,
        "deadline = \"20s\"",
        &[],
    );
    assert_eq!(said.code, 3, "{}", said.errors);
    assert!(
        said.errors.contains("cannot find the ledger"),
        "{}",
        said.errors
    );
    assert!(said.errors.contains('7'), "{}", said.errors);
}

#[test]
fn a_program_that_is_not_there_is_said_so() {
    let mut project = Project::deployed("", "");
    let said = project.deploy(r#"run = "./nowhere --port $PORT""#, "", &[]);
    assert!(matches!(said.code, 1..=3), "{}", said.errors);
    assert!(said.errors.contains("nowhere"), "{}", said.errors);
    assert!(project.ask("/", "").contains("v1 received"));
}

#[test]
fn nothing_is_left_behind_by_a_program_that_forks_and_ignores_sigterm() {
    let marker = format!("{}", 40_000 + std::process::id() % 10_000);
    let script = format!(
        r#"run = ["sh", "-c", "trap '' TERM; (setsid sleep {marker} &); ./app demo-app & while :; do wait; done"]"#
    );
    let mut project = Project::deployed(&format!("{script}\nstop = {{ grace = \"300ms\" }}"), "");
    assert!(running(&marker) >= 2);
    assert_eq!(project.deploy("", "", &[]).code, 0);
    let begin = std::time::Instant::now();
    while running(&marker) > 0 {
        assert!(
            begin.elapsed() < crate::project::PATIENCE,
            "{} are left behind",
            running(&marker)
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Processes whose arguments hold this.
fn running(marker: &str) -> usize {
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let arguments = processes.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    arguments
        .filter(|line| {
            line.starts_with(b"sleep\0") && String::from_utf8_lossy(line).contains(marker)
        })
        .count()
}

#[test]
fn logs_are_kept_with_service_release_and_instance_whatever_is_written() {
    let script = r#"run = ["sh", "-c", "echo hello from $GAPLESS_INSTANCE; printf 'bin\\000\\377ary\\n' >&2; head -c 300000 /dev/zero | tr '\\0' x; echo; exec ./app demo-app 1>&-"]"#;
    let project = Project::deployed(&format!("{script}\nreplicas = 1"), "");
    let said = project.run(&["logs", "web"]);
    assert_eq!(said.code, 0, "{}", said.errors);
    let hello = said
        .lines
        .iter()
        .find(|line| {
            line["text"]
                .as_str()
                .unwrap_or_default()
                .starts_with("hello from web-v1-")
        })
        .unwrap_or_else(|| panic!("{:?}", said.lines));
    assert_eq!(
        (&hello["service"], &hello["release"], &hello["stream"]),
        (&"web".into(), &"v1".into(), &"stdout".into())
    );
    assert!(said.lines.iter().any(|line| line["stream"] == "stderr"
        && line["text"].as_str().unwrap_or_default().starts_with("bin")));
    assert!(project.ask("/", "").contains("v1 received"));
}

#[test]
fn a_service_with_a_user_runs_as_it_reads_its_release_and_writes_its_data() {
    if !rustix::process::geteuid().is_root() {
        let said = b"skipped: a_service_with_a_user: only root can run programs as somebody else\n";
        std::io::Write::write_all(&mut std::io::stderr(), said).unwrap();
        return;
    }
    let script = r#"run = ["sh", "-c", "id -un > $DATA/who; exec ./app demo-app"]"#;
    let mut project = Project::new();
    // The way to the state must be open to that user; what lies in it guards itself.
    let folder = project.stage.path("");
    std::fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    project.stage.serve(&[]).unwrap();
    let said = project.deploy(&format!("{script}\nuser = \"nobody\""), "", &[]);
    assert_eq!(said.code, 0, "{}", said.errors);
    let who = std::fs::read_to_string(project.stage.path("state/data/web/who")).unwrap();
    assert_eq!(who.trim(), "nobody");
}

#[test]
fn a_port_that_a_stranger_holds_is_refused_with_its_pid_and_name() {
    let stranger = stage::free_address().unwrap();
    let taken = std::net::TcpListener::bind(stranger).unwrap();
    let mut project = Project::new();
    project.stage.serve(&[]).unwrap();
    let service = format!("port = {}\nreplicas = 1", stranger.port());
    let said = project.deploy(&service, "strategy = \"recreate\"\ndeadline = \"2s\"", &[]);
    assert_ne!(said.code, 0);
    let pid = std::process::id().to_string();
    assert!(
        said.errors.contains("nothing was deployed")
            && said.errors.contains("is taken by")
            && said.errors.contains(&pid),
        "{}",
        said.errors
    );
    drop(taken);
}

#[test]
fn a_crashed_instance_is_replaced_and_the_others_serve_on() {
    let project = Project::deployed("", "");
    let web = project.web();
    let port = web["instances"][0]["port"].as_u64().unwrap();
    let serial = web["instances"][0]["instance"]["serial"].clone();
    crate::project::kill_program(port);
    project.until("the crashed one replaced", |web| {
        let instances = web["instances"].as_array().unwrap();
        let ready = instances
            .iter()
            .filter(|one| one["state"]["state"] == "ready")
            .count();
        ready == 2
            && instances
                .iter()
                .all(|one| one["instance"]["serial"] != serial)
    });
    assert!(project.ask("/", "").contains("v1 received"));
}

#[test]
fn an_instance_that_says_it_takes_three_times_as_much_gets_it() {
    use std::io::{Read, Write};
    let service = r#"run = "./app demo-app --weights 1,3"
health = { http = "/healthz", every = "200ms", weight = "X-Weight" }
proxy = { balance = "round_robin" }"#;
    let project = Project::deployed(service, "");
    let web = project.web();
    let weights = web["instances"].as_array().into_iter().flatten();
    let mut weights: Vec<u64> = weights.filter_map(|one| one["weight"].as_u64()).collect();
    weights.sort_unstable();
    assert_eq!(weights, [1, 3], "{web:#}");
    assert!(project.plain(&["status"]).contains(", weight 3"));
    // One connection is one thread's, and so are its turns.
    let mut client = std::net::TcpStream::connect(project.address).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut heavier = 0;
    for _ in 0..40 {
        client
            .write_all(b"HEAD / HTTP/1.1\r\nHost: web.localhost\r\n\r\n")
            .unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            client.read_exact(&mut byte).unwrap();
            head.extend(byte);
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        heavier += usize::from(head.contains("x-weight: 3\r\n"));
    }
    assert_eq!(heavier, 30);
}

#[test]
fn a_health_check_that_hangs_holds_up_nobody_else() {
    let mut project = Project::deployed("", "");
    let client = project.load(200);
    // Longer than everything else here takes: nothing waits for its end.
    let slow = "\n[service.slow]\nartifact = \"app\"\nrun = \"sleep 600\"\nport = false\n\
                stop = { grace = \"1s\" }\n\
                health = { exec = \"sleep 300\", every = \"1s\", timeout = \"200s\" }\n";
    project.write("", slow);
    let said = project.redeploy(&["slow", "--detach"]);
    assert_eq!(said.code, 0, "{}", said.errors);
    let is_starting = || {
        let status = project.run(&["status"]).first();
        let services = status["engine"]["services"].as_array().cloned();
        let mut slow = services.into_iter().flatten();
        slow.find(|one| one["name"] == "slow")
            .is_some_and(|one| one["instances"][0]["state"]["state"] == "starting")
    };
    let begin = std::time::Instant::now();
    while !is_starting() {
        assert!(begin.elapsed() < PATIENCE, "it never starts");
        std::thread::sleep(Duration::from_millis(20));
    }
    let said = project.redeploy(&["web"]);
    assert_eq!(said.code, 0, "{}", said.errors);
    let tally = client.stop_unharmed();
    assert!(tally.by_release["v2"] > 0, "{tally:?}");
    assert_eq!(said.receipts().remove(0).lost, Some(0));
    assert!(is_starting(), "its check still hangs");
}
