//! Requests to a service that is closed for maintenance.

use std::time::Duration;

use model::{Maintenance, Page, Pass};
use traffic::{AudienceRule, Outcome, Rejected, ServiceClosed, Wanted};

use crate::world::{Program, SERVICE, World, until};

const PAGE: &str = "<h1>Back at noon</h1>";

impl World {
    pub(crate) fn close(&mut self) {
        self.set_service(|service| {
            service.closed = Some(ServiceClosed {
                maintenance: Maintenance {
                    retry_after_seconds: 90,
                    page: Some(Page {
                        content_type: "text/html; charset=utf-8".to_owned(),
                        body: PAGE.to_owned(),
                    }),
                    pass: Some(Pass {
                        header: "x-staff".to_owned(),
                        secret: "STAFF".to_owned(),
                    }),
                },
                pass: Some(AudienceRule::Header(
                    "x-staff".to_owned(),
                    Wanted::Exactly("open".to_owned()),
                )),
            });
        });
    }
}

#[test]
fn a_closed_service_shows_its_page_and_lets_in_who_has_the_secret() {
    let program = Program::echo("one");
    let mut world = World::serving(&[&program]);
    world.close();
    let mut client = world.client();
    let response = client.get("/");
    assert_eq!((response.status, response.text()), (503, PAGE));
    for (name, value) in [
        ("x-gapless-error", "maintenance"),
        ("retry-after", "90"),
        ("content-type", "text/html; charset=utf-8"),
        ("cache-control", "no-store"),
    ] {
        assert_eq!(response.header(name), Some(value), "{name}");
    }
    client.send("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n");
    let head = client.head();
    let length = PAGE.len().to_string();
    assert_eq!(
        (head.status, head.header("content-length")),
        (503, Some(length.as_str()))
    );
    assert!(client.is_silent_for(Duration::from_millis(50)));
    client.send("GET / HTTP/1.1\r\nHost: h\r\nX-Staff: wrong\r\n\r\n");
    assert_eq!(client.response().status, 503);
    client.send("GET / HTTP/1.1\r\nHost: h\r\nX-Staff: open\r\n\r\n");
    assert_eq!(client.response().status, 200);
    assert_eq!(client.post("/", "body").status, 503);
    world.set_service(|service| service.closed = None);
    assert_eq!(client.get("/").status, 200);
    assert_eq!(world.service().rejected(Rejected::Maintenance), 4);
    world.expect_outcomes(10, &[(Outcome::Status2xx, 2)]);
}

#[test]
fn open_requests_go_on_and_waiting_ones_are_told_when_a_service_closes() {
    let program = Program::new(|connection| {
        connection.head()?;
        connection.report("asked");
        connection.read_exactly(4)?;
        connection.answer("done");
        None
    });
    let mut world = World::serving(&[&program]);
    let mut open = world.client();
    open.send("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n");
    program.report();
    world.set_endpoints(&[]);
    let mut waiting = world.client();
    waiting.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    until("it waits", || world.ledger.waiting(SERVICE) == 1);
    world.close();
    assert_eq!(waiting.response().text(), PAGE);
    open.send("body");
    assert_eq!(open.response().text(), "done");
}
