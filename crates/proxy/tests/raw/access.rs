//! The access log says who ended each request, and how far it had come.

use std::time::Duration;

use model::{AccessLog, QueryShown};
use proxy::{AccessPlace, Settings};
use serde_json::Value;
use tempfile::TempDir;
use traffic::Cell;

use crate::world::{Program, World, candidate, nowhere, until};

const GET: &str = "GET /a?token=secret HTTP/1.1\r\nHost: shop.example\r\n\r\n";

/// A world with an access log in a directory of its own.
pub(crate) struct Logged {
    pub(crate) world: World,
    directory: TempDir,
}

impl Logged {
    pub(crate) fn new(programs: &[&Program]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut world = World::with_settings(Settings {
            access: Some(AccessPlace {
                directory: directory.path().to_owned(),
                generation: 1,
            }),
            ..Settings::default()
        });
        world.set_endpoints(programs);
        world.publish(|table| {
            table.access_log = Some(AccessLog {
                file_bytes_max: 1 << 20,
                files_max: 2,
                query: QueryShown::No,
            });
        });
        Self { world, directory }
    }

    fn set_endpoints(&mut self, programs: &[&Program]) {
        self.world
            .set_service(|service| service.stable = candidate(1, programs, 10));
    }

    fn text(&self) -> String {
        let files = std::fs::read_dir(self.directory.path()).unwrap();
        let text = files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
        text.collect()
    }

    /// The lines, once there are so many.
    fn lines(&self, count: usize) -> Vec<Value> {
        until("the lines are written", || {
            self.text().lines().count() >= count
        });
        let text = self.text();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        let lines: Vec<Value> = lines.collect();
        assert_eq!(lines.len(), count, "{text}");
        lines
    }

    /// The only line.
    pub(crate) fn line(&self) -> Value {
        self.lines(1).remove(0)
    }
}

/// A program that sends this and then waits for its end.
fn sends(bytes: &'static str) -> Program {
    Program::new(move |connection| {
        connection.request()?;
        connection.send(bytes)?;
        connection.report("sent");
        connection.wait_for_end();
        Some(())
    })
}

#[test]
fn a_whole_response_is_complete_and_its_query_is_no_ones_business() {
    let program = Program::echo("one");
    let logged = Logged::new(&[&program]);
    let mut client = logged.world.client();
    let body =
        "POST /a?token=secret HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 4\r\n\r\nbody";
    let response = client.send(body).response();
    let line = logged.line();
    assert_eq!(line["termination"], "complete");
    assert_eq!(
        (&line["method"], &line["path"]),
        (&"POST".into(), &"/a".into())
    );
    assert_eq!(
        (&line["host"], &line["client"]),
        (&"shop.example".into(), &"127.0.0.1".into())
    );
    assert_eq!(
        (&line["status"], &line["attempts"]),
        (&200.into(), &1.into())
    );
    assert_eq!(
        (&line["bytes_in"], &line["bytes_out"]),
        (&4.into(), &response.body.len().into())
    );
    assert_eq!(
        (&line["service"], &line["release"]),
        (&"web".into(), &"v1".into())
    );
    assert_eq!(line["instance"], "web-v1-10");
    assert_eq!(line["reason"], Value::Null);
    assert_eq!(line["request_id"], response.header("x-request-id").unwrap());
    for time in ["duration_ms", "wait_ms", "connect_ms", "first_byte_ms"] {
        assert!(line[time].is_number(), "{line}");
    }
    assert!(!logged.text().contains("secret"));
}

#[test]
fn a_client_that_leaves_is_named_with_the_phase() {
    let program = sends("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf");
    let silent = sends("");
    let mut logged = Logged::new(&[&program]);
    let mut client = logged.world.client();
    client.send(GET).read_to(b"half");
    client.reset();
    let line = logged.line();
    assert_eq!(line["termination"], "client/response");
    assert_eq!(
        (&line["status"], &line["bytes_out"]),
        (&200.into(), &4.into())
    );
    logged.set_endpoints(&[&silent]);
    let mut client = logged.world.client();
    client.send(GET);
    silent.report();
    client.reset();
    let line = logged.lines(2).remove(1);
    assert_eq!(
        (&line["termination"], &line["status"]),
        (&"client/waiting".into(), &Value::Null)
    );
    logged.set_endpoints(&[]);
    let mut client = logged.world.client();
    client.send(GET);
    until("it waits", || {
        logged.world.ledger.waiting(crate::world::SERVICE) == 1
    });
    client.reset();
    let line = logged.lines(3).remove(2);
    assert_eq!(
        (&line["termination"], &line["attempts"]),
        (&"client/queue".into(), &0.into())
    );
    let mut client = logged.world.client();
    client.send("GET / HT").half_close();
    client.rest();
    assert_eq!(logged.lines(4)[3]["termination"], "client/head");
}

#[test]
fn a_program_that_fails_is_named_with_the_phase() {
    let dying = Program::new(|connection| {
        connection.request()?;
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf")
    });
    let mut logged = Logged::new(&[&dying]);
    logged.world.client().send(GET).rest();
    assert_eq!(logged.line()["termination"], "upstream/response");
    let closing = Program::new(|connection| connection.request().map(drop));
    logged.set_endpoints(&[&closing]);
    assert_eq!(logged.world.client().send(GET).response().status, 502);
    let line = logged.lines(2).remove(1);
    assert_eq!(
        (&line["termination"], &line["reason"]),
        (&"upstream/waiting".into(), &"no_response".into())
    );
    let silent = sends("");
    logged.set_endpoints(&[&silent]);
    logged.world.set_service(|service| {
        service.limits.response_timeout = Duration::from_millis(200);
    });
    assert_eq!(logged.world.client().send(GET).response().status, 504);
    let line = logged.lines(3).remove(2);
    assert_eq!(
        (&line["termination"], &line["reason"]),
        (&"upstream/waiting".into(), &"timeout".into())
    );
    let address = nowhere();
    logged
        .world
        .set_service(|service| service.stable.endpoints[0].address = address);
    assert_eq!(logged.world.client().send(GET).response().status, 502);
    let line = logged.lines(4).remove(3);
    assert_eq!(
        (&line["termination"], &line["status"]),
        (&"upstream/connect".into(), &502.into())
    );
}

#[test]
fn what_the_proxy_refuses_is_its_own() {
    let mut logged = Logged::new(&[]);
    logged
        .world
        .publish(|table| table.listeners[0].routes.clear());
    assert_eq!(logged.world.client().send(GET).response().status, 404);
    assert_eq!(
        logged
            .world
            .client()
            .send("GET / HTTP/1.1\r\n\r\n")
            .response()
            .status,
        400
    );
    let lines = logged.lines(2);
    assert_eq!(
        (&lines[0]["termination"], &lines[0]["reason"]),
        (&"proxy/route".into(), &"no_route".into())
    );
    assert_eq!(
        (&lines[1]["termination"], &lines[1]["reason"]),
        (&"client/head".into(), &"host_missing".into())
    );
    assert_eq!(
        (&lines[1]["status"], &lines[1]["method"]),
        (&400.into(), &Value::Null)
    );
}

#[test]
fn what_is_cut_is_the_proxys() {
    let silent = sends("");
    let halfway = sends("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf");
    let mut logged = Logged::new(&[&silent]);
    let mut client = logged.world.client();
    client.send(GET);
    silent.report();
    logged.world.proxy().cut(Cell(10));
    assert_eq!(client.response().status, 502);
    let line = logged.line();
    assert_eq!(
        (&line["termination"], &line["reason"]),
        (&"proxy/waiting".into(), &"cut".into())
    );
    logged.set_endpoints(&[&halfway]);
    let mut client = logged.world.client();
    client.send(GET).read_to(b"half");
    logged.world.proxy().cut(Cell(10));
    client.rest();
    let line = logged.lines(2).remove(1);
    assert_eq!(
        (&line["termination"], &line["status"]),
        (&"proxy/response".into(), &200.into())
    );
}

#[test]
fn a_tunnel_is_complete_when_its_ends_ended_it() {
    let program = Program::new(|connection| {
        connection.head()?;
        connection.send(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        )
    });
    let logged = Logged::new(&[&program]);
    let mut client = logged.world.client();
    client.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    assert_eq!(client.head().status, 101);
    client.half_close();
    client.rest();
    let line = logged.line();
    assert_eq!(
        (&line["termination"], &line["status"]),
        (&"complete".into(), &101.into())
    );
}

#[test]
fn without_a_table_that_asks_for_it_nothing_is_written() {
    let program = Program::echo("one");
    let mut logged = Logged::new(&[&program]);
    logged.world.publish(|table| table.access_log = None);
    assert_eq!(logged.world.client().get("/").status, 200);
    logged.world.stop();
    assert_eq!(logged.text(), "");
}
