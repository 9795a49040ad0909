//! What clients of the proxy are told, and what is written down of them.

use std::io::{Read, Write};

use crate::project::{PATIENCE, Project};

#[test]
fn the_access_log_says_who_ended_each_request() {
    let mut project = Project::new();
    project.stage.serve(&[]).unwrap();
    project.write("", "");
    let file = project.stage.path("gapless.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let logged = text.replace("[server]", "[server]\naccess_log = {}");
    std::fs::write(&file, logged).unwrap();
    assert_eq!(project.redeploy(&[]).code, 0);
    assert!(project.ask("/path?token=hidden", "").contains("200 OK"));
    // It is written beside the requests, a moment later.
    let begin = std::time::Instant::now();
    let said = loop {
        let said = project.run(&["logs", "web", "--access"]);
        assert_eq!(said.code, 0, "{}", said.errors);
        if !said.lines.is_empty() {
            break said;
        }
        assert!(begin.elapsed() < PATIENCE, "nothing is written");
    };
    let line = said.lines.iter().find(|line| line["path"] == "/path");
    let line = line.unwrap_or_else(|| panic!("{:?}", said.lines));
    assert_eq!(
        (&line["status"], &line["termination"], &line["release"]),
        (&200.into(), &"complete".into(), &"v1".into())
    );
    assert!(!format!("{:?}", said.lines).contains("hidden"));
    let other = project.run(&["logs", "web", "--access", "--release", "v9"]);
    assert!(other.lines.is_empty(), "{:?}", other.lines);
}

#[test]
fn a_websocket_is_told_goodbye_before_its_instance_is_stopped() {
    let mut project = Project::deployed("drain = \"4s\"\nreplicas = 1", "");
    let mut socket = std::net::TcpStream::connect(project.address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        socket,
        "GET /socket HTTP/1.1\r\nHost: web.localhost\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{head:?}");
    let said = project.deploy("drain = \"4s\"\nreplicas = 1\nenv = { A = \"b\" }", "", &[]);
    assert_eq!(said.code, 0, "{}", said.errors);
    let mut rest = Vec::new();
    socket.read_to_end(&mut rest).unwrap();
    // A close frame with the status 1001, and an end that is no reset.
    assert_eq!(rest, [0x88, 2, 3, 0xe9]);
}
