//! Gapless replaces itself: nobody notices, and what cannot take its place does not.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::project::{PATIENCE, Project};

/// The sockets that listen on the project's address: they hold the backlog.
fn listening(project: &Project) -> BTreeSet<String> {
    let port = format!(":{:04X}", project.address.port());
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let rows = table
        .lines()
        .map(|row| row.split_whitespace().collect::<Vec<_>>());
    let own = rows.filter(|row| row[1].ends_with(&port) && row[3] == "0A");
    own.map(|row| row[9].to_owned()).collect()
}

fn server(project: &Project) -> Value {
    project.run(&["status"]).first()["server"].clone()
}

fn open(project: &Project, head: &str, expected: &str) -> TcpStream {
    let mut stream = TcpStream::connect(project.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {head}\r\n\r\n").unwrap();
    let mut answer = vec![0; 4096];
    let count = stream.read(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer[..count]).into_owned();
    assert!(answer.starts_with(expected), "{answer}");
    stream
}

/// A WebSocket whose other side sends back what it gets.
fn websocket(project: &Project) -> TcpStream {
    let head = "/socket HTTP/1.1\r\nHost: web.localhost\r\nConnection: Upgrade\r\n\
        Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    open(project, head, "HTTP/1.1 101")
}

fn echoes(socket: &mut TcpStream) -> bool {
    let mut echo = [0; 1];
    socket.write_all(b".").is_ok() && socket.read_exact(&mut echo).is_ok() && echo == *b"."
}

fn upgrade(project: &Project, args: &[&str]) -> Value {
    let all: Vec<&str> = ["upgrade"]
        .into_iter()
        .chain(args.iter().copied())
        .collect();
    let said = project.run(&all);
    assert_eq!(
        said.code,
        0,
        "{}\n{}",
        said.errors,
        project.stage.server_log()
    );
    said.lines.last().cloned().unwrap_or_default()
}

#[test]
fn upgrades_under_load_lose_nobody_and_keep_what_is_open_open() {
    let mut project = Project::deployed("drain = \"2s\"", "");
    let (pid, sockets) = (project.stage.server_pid(), listening(&project));
    let instances = project.web()["instances"].clone();
    let mut socket = websocket(&project);
    let mut events = open(
        &project,
        "/events HTTP/1.1\r\nHost: web.localhost",
        "HTTP/1.1 200",
    );
    let client = project.load(200);
    for generation in 2..=4 {
        let ended = upgrade(&project, &[]);
        assert_eq!(
            (ended["outcome"].as_str(), ended["generation"].as_u64()),
            (Some("done"), Some(generation))
        );
        assert_eq!(
            listening(&project),
            sockets,
            "the sockets with the backlog are the same"
        );
        assert!(echoes(&mut socket), "after upgrade {generation}");
        assert!(events.read(&mut [0; 64]).unwrap() > 0);
    }
    client.stop_unharmed();
    assert_eq!(project.stage.server_pid(), pid);
    for (now, before) in project.web()["instances"]
        .as_array()
        .unwrap()
        .iter()
        .zip(instances.as_array().unwrap())
    {
        assert_eq!(now["instance"], before["instance"]);
    }
    // The worker that has the WebSocket follows the tables of the one in control: a rollout is
    // confirmed by it too, and ends what it has open at the drain limit.
    let workers = server(&project)["workers"].clone();
    assert_eq!(workers[0]["draining"], true, "{workers:#}");
    let client = project.load(100);
    let said = project.deploy("drain = \"2s\"", "", &[]);
    assert_eq!(
        (said.code, said.receipts()[0].lost),
        (0, Some(0)),
        "{}",
        said.errors
    );
    client.stop_unharmed();
    assert!(!echoes(&mut socket), "it is cut at the drain limit");
    drop(events);
    let begin = Instant::now();
    while server(&project)["workers"].as_array().unwrap().len() > 1 {
        assert!(begin.elapsed() < PATIENCE, "{}", server(&project));
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_server_without_a_service_is_upgraded_too() {
    let mut project = Project::new();
    project.stage.serve(&[]).unwrap();
    assert_eq!(upgrade(&project, &[])["outcome"], "done");
    assert_eq!(project.deploy("", "", &[]).code, 0);
    assert!(project.ask("/", "").contains("v1 received"));
}

#[test]
fn a_binary_that_cannot_take_over_leaves_the_old_one_and_says_why() {
    let project = Project::deployed("", "");
    let client = project.load(100);
    let script = |name: &str, text: &str, mode: u32| -> PathBuf {
        let path = project.stage.path(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    };
    let cases = [
        (script("ends", "#!/bin/sh\nexit 3\n", 0o755), "exit code 3"),
        (
            script("crashes", "#!/bin/sh\nkill -SEGV $$\n", 0o755),
            "signal 11",
        ),
        (
            script("plain", "#!/bin/sh\nexit 0\n", 0o644),
            "Permission denied",
        ),
        (
            script("nonsense", "no program at all", 0o755),
            "no program for this machine",
        ),
        (project.stage.path("absent"), "No such file"),
    ];
    for (path, why) in cases {
        let said = project.run(&["upgrade", "--binary", path.to_str().unwrap()]);
        let code = if why == "No such file" { 2 } else { 1 };
        assert_eq!(said.code, code, "{}", said.errors);
        assert!(said.errors.contains(why), "{why}: {}", said.errors);
    }
    client.stop_unharmed();
    assert_eq!(server(&project)["generation"], 1);
    let said = project.run(&["restart", "web"]);
    assert_eq!(
        said.code, 0,
        "the old worker is in control: {}",
        said.errors
    );
}

#[test]
fn another_binary_takes_over_and_the_first_one_after_it() {
    let project = Project::deployed("", "");
    let programs = [
        project.stage.path("app/app"),
        PathBuf::from(env!("CARGO_BIN_EXE_gapless")),
    ];
    for program in programs {
        let program = std::fs::canonicalize(program).unwrap();
        let ended = upgrade(&project, &["--binary", program.to_str().unwrap()]);
        assert_eq!(ended["outcome"], "done");
        let server_pid = project.stage.server_pid().unwrap();
        let supervisor = std::fs::read_link(format!("/proc/{server_pid}/exe"));
        assert_eq!(
            supervisor.unwrap(),
            program,
            "the supervisor became it in place"
        );
        // What is started after a crash is what was upgraded to.
        project.stage.kill_worker().unwrap();
        assert!(project.ask("/", "").contains("v1 received"));
        let pid = project.stage.worker_pid().unwrap();
        assert_eq!(
            std::fs::read_link(format!("/proc/{pid}/exe")).unwrap(),
            program
        );
        let server = server(&project);
        assert_eq!(server["upgrade"]["state"], "done");
        let workers = server["workers"].as_array().unwrap();
        assert_eq!(
            workers.last().unwrap()["program"],
            program.to_str().unwrap()
        );
    }
    let notes = project.stage.server_log();
    assert!(notes.contains("upgraded from"), "{notes}");
}
