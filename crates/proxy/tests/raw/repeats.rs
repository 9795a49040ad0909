//! Attempts that fail, and which of them are made again.

use traffic::{Outcome, Rejected};

use crate::world::{Program, World, candidate, candidate_at, nowhere};

/// Answers one request on each connection, then closes it without a word.
fn closes_after_one() -> Program {
    Program::new(|connection| {
        let (head, _) = connection.request()?;
        connection.answer(head.lines().next().unwrap_or_default());
        connection.half_close();
        connection.report("closed");
        connection.wait_for_end();
        Some(())
    })
}

/// Answers one request on each connection and closes it when the next one has come.
fn dies_on_second() -> Program {
    Program::new(|connection| {
        let (head, body) = connection.request()?;
        connection.answer(&format!("dying: {} [{body}]", head.lines().next()?));
        let (head, _) = connection.request()?;
        connection.report(head);
        connection.reset();
        Some(())
    })
}

#[test]
fn a_failed_connect_is_repeated_for_every_method() {
    let program = Program::echo("up");
    let mut world = World::serving(&[&program]);
    world.set_service(|service| {
        let dead = candidate_at(1, std::iter::once(nowhere()), 20).endpoints;
        service.stable.endpoints.extend(dead);
    });
    let mut client = world.client();
    let mut sent = 0;
    while world.cell(20).seen().count() == 0 {
        assert_eq!(
            client.post("/", "once").text(),
            "up: POST / HTTP/1.1 [once]"
        );
        sent += 1;
        assert!(sent < 1_000, "the dead endpoint is never chosen");
    }
    world.expect_outcomes(20, &[(Outcome::ConnectRepeated, 1)]);
    world.expect_outcomes(10, &[(Outcome::Status2xx, sent)]);
}

#[test]
fn a_failed_connect_with_nowhere_else_to_go_is_a_502_of_ours() {
    let mut world = World::serving(&[]);
    world.set_service(|service| service.stable = candidate_at(1, std::iter::once(nowhere()), 10));
    let response = world.client().get("/");
    assert_eq!(response.status, 502);
    assert_eq!(response.header("x-gapless-error"), Some("connect"));
    world.expect_outcomes(10, &[(Outcome::ConnectFailed, 1)]);
    assert_eq!(world.service().rejected(Rejected::Connect), 1);
}

#[test]
fn attempts_are_bounded() {
    let mut world = World::serving(&[]);
    let dead: Vec<_> = (0..6).map(|_| nowhere()).collect();
    world.set_service(|service| service.stable = candidate_at(1, dead.into_iter(), 10));
    assert_eq!(world.client().get("/").status, 502);
    let tried = (10..16)
        .map(|cell| world.settled(cell).ended())
        .sum::<u64>();
    assert_eq!(tried, 3);
}

#[test]
fn an_idle_connection_that_the_program_closed_costs_no_request() {
    let program = closes_after_one();
    let world = World::serving(&[&program]);
    let mut client = world.client();
    for _ in 0..30 {
        assert_eq!(client.get("/").status, 200);
        program.report();
        assert_eq!(client.post("/", "x").status, 200);
        program.report();
    }
    assert_eq!(program.connections(), 60);
    assert_eq!(
        world
            .settled(10)
            .outcome(traffic::Phase::Serving, Outcome::Status2xx),
        60
    );
}

#[test]
fn a_get_on_a_reused_connection_that_dies_is_sent_again_elsewhere() {
    let dying = dies_on_second();
    let mut world = World::serving(&[&dying]);
    let mut client = world.client();
    assert_eq!(client.get("/1").status, 200);
    let healthy = Program::echo("healthy");
    world.set_service(|service| {
        service
            .stable
            .endpoints
            .extend(candidate(1, &[&healthy], 20).endpoints)
    });
    let mut texts = Vec::new();
    while world.settled(10).seen().count() < 2 {
        texts.push(client.get("/2"));
        assert!(texts.len() < 1_000, "the dying connection is never chosen");
    }
    assert!(texts.iter().all(|response| response.status == 200));
    assert!(dying.report().starts_with("GET /2 "));
    assert_eq!(
        world
            .settled(10)
            .outcome(traffic::Phase::Serving, Outcome::NoResponseRepeated),
        1
    );
}

#[test]
fn a_put_whose_body_is_still_held_is_sent_again_whole() {
    let dying = dies_on_second();
    let mut world = World::serving(&[&dying]);
    let mut client = world.client();
    assert_eq!(client.get("/1").status, 200);
    let healthy = Program::echo("healthy");
    world.set_service(|service| {
        service
            .stable
            .endpoints
            .extend(candidate(1, &[&healthy], 20).endpoints)
    });
    let put = "PUT /2 HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nwhole";
    let mut last = client.send(put).response();
    while world.settled(10).seen().count() < 2 {
        last = client.send(put).response();
    }
    assert!(last.text().ends_with(": PUT /2 HTTP/1.1 [whole]"));
    assert_eq!(
        world
            .settled(10)
            .outcome(traffic::Phase::Serving, Outcome::NoResponseRepeated),
        1
    );
}

#[test]
fn a_post_whose_bytes_went_out_is_never_sent_again() {
    let dying = dies_on_second();
    let mut world = World::serving(&[&dying]);
    let mut client = world.client();
    assert_eq!(client.get("/1").status, 200);
    let healthy = Program::echo("healthy");
    world.set_service(|service| {
        service
            .stable
            .endpoints
            .extend(candidate(1, &[&healthy], 20).endpoints)
    });
    let mut posted = 0;
    let failed = loop {
        let response = client.post("/2", "once");
        posted += 1;
        if response.status != 200 {
            break response;
        }
        assert!(posted < 1_000, "the dying connection is never chosen");
    };
    assert_eq!(failed.status, 502);
    assert_eq!(failed.header("x-gapless-error"), Some("no_response"));
    let counted = world.settled(20).ended() + world.settled(10).ended() - 1;
    assert_eq!(counted, posted, "every POST was attempted exactly once");
    assert_eq!(
        world
            .settled(10)
            .outcome(traffic::Phase::Serving, Outcome::NoResponse),
        1
    );
}

#[test]
fn a_get_on_a_reused_connection_that_dies_is_sent_again_to_the_only_endpoint() {
    let dying = dies_on_second();
    let world = World::serving(&[&dying]);
    let mut client = world.client();
    for number in 1..=20 {
        assert!(
            client
                .get(&format!("/{number}"))
                .text()
                .contains(&format!("GET /{number} "))
        );
    }
    let repeated = world
        .settled(10)
        .outcome(traffic::Phase::Serving, Outcome::NoResponseRepeated);
    assert_eq!(repeated, 19);
}

#[test]
fn a_repeat_uses_no_other_old_connection() {
    let dying = dies_on_second();
    let world = World::serving(&[&dying]);
    let mut clients: Vec<_> = (0..8).map(|_| world.client()).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    }
    assert!(
        clients
            .iter_mut()
            .all(|client| client.response().status == 200)
    );
    assert_eq!(clients[0].get("/").status, 200);
}

#[test]
fn what_a_program_says_unasked_is_nobodys_response() {
    let program = Program::new(|connection| {
        connection.request()?;
        connection.answer("asked");
        std::thread::sleep(std::time::Duration::from_millis(50));
        connection.send("HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")?;
        connection.report("said");
        connection.wait_for_end();
        Some(())
    });
    let world = World::serving(&[&program]);
    let mut client = world.client();
    for _ in 0..5 {
        assert_eq!(client.get("/").text(), "asked");
        program.report();
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(program.connections(), 5);
}

#[test]
fn a_post_does_not_use_a_connection_that_was_idle_for_a_second() {
    let program = Program::echo("one");
    let world = World::serving(&[&program]);
    let mut client = world.client();
    client.get("/");
    client.post("/", "now");
    assert_eq!(program.connections(), 1);
    std::thread::sleep(std::time::Duration::from_millis(1_300));
    client.post("/", "later");
    assert_eq!(program.connections(), 2);
    client.get("/");
    assert_eq!(program.connections(), 2);
}

#[test]
fn a_get_on_a_new_connection_that_dies_is_not_sent_again() {
    let dying = Program::new(|connection| {
        connection.request()?;
        connection.report("seen");
        Some(())
    });
    let world = World::serving(&[&dying]);
    let response = world.client().get("/");
    assert_eq!(response.status, 502);
    dying.report();
    assert_eq!(dying.connections(), 1);
    world.expect_outcomes(10, &[(Outcome::NoResponse, 1)]);
}

#[test]
fn a_response_cut_in_its_head_is_not_asked_for_again() {
    let dying = Program::new(|connection| {
        connection.request()?;
        if connection.number == 0 {
            connection.answer("first");
            connection.request()?;
            connection.send("HTTP/1.1 200 O")?;
        }
        Some(())
    });
    let world = World::serving(&[&dying]);
    let mut client = world.client();
    assert_eq!(client.get("/").status, 200);
    assert_eq!(client.get("/").status, 502);
    assert_eq!(dying.connections(), 1);
}

#[test]
fn a_repeat_stays_in_the_release_and_then_goes_to_the_old_one() {
    let (old, new) = (Program::echo("old"), Program::echo("new"));
    let mut world = World::serving(&[&old]);
    world.set_service(|service| {
        let mut release = candidate_at(2, std::iter::once(nowhere()), 20);
        release
            .endpoints
            .extend(candidate(2, &[&new], 21).endpoints);
        service.candidate = Some(release);
        service.share = model::Share::ALL;
    });
    let mut client = world.client();
    while world.cell(20).seen().count() == 0 {
        assert!(client.get("/").text().starts_with("new"));
    }
    world.set_service(|service| {
        service.candidate.as_mut().unwrap().endpoints.truncate(1);
    });
    assert!(client.get("/").text().starts_with("old"));
    world.expect_outcomes(20, &[(Outcome::ConnectRepeated, 2)]);
}
