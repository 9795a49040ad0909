//! Copies for a release that answers nobody.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use model::{Compare, RolloutId, Shadow, ShadowKey, Share};
use traffic::{Cell, Dropped, Outcome, Phase, ShadowTable};
use verdict::Tally;

use crate::world::{Program, World, candidate, until};

const KEY: ShadowKey = ShadowKey {
    rollout: RolloutId(5),
    step: 1,
    round: 0,
};

fn shadow(program: &Program, compare: Option<Compare>) -> ShadowTable {
    ShadowTable {
        key: KEY,
        target: candidate(2, &[program], 20),
        policy: Shadow {
            share: Share::ALL,
            methods: ["GET", "HEAD", "POST"].map(str::to_owned).to_vec(),
            body_bytes_max: 1_024,
            compare,
        },
    }
}

/// A proxy whose stable release is `old` and whose shadow is `new`.
fn shadowed(old: &Program, new: &Program, compare: Option<Compare>) -> World {
    let mut world = World::serving(&[old]);
    world.set_service(|service| service.shadow = Some(shadow(new, compare)));
    world
}

/// Answers every request, and reports its head and body.
fn telling(name: &'static str) -> Program {
    Program::new(move |connection| {
        loop {
            let (head, body) = connection.request()?;
            connection.report(format!("{head}{body}"));
            connection.answer(name);
        }
    })
}

/// Answers with this JSON document, whose `N` is another number in each answer.
fn json(document: &'static str) -> Program {
    use std::sync::atomic::{AtomicU32, Ordering};
    let number = AtomicU32::new(0);
    Program::new(move |connection| {
        loop {
            connection.request()?;
            let next = number.fetch_add(1, Ordering::SeqCst);
            let body = document.replace('N', &next.to_string());
            connection.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            ))?;
        }
    })
}

/// Takes requests and answers none until told to.
fn held() -> (Program, Sender<()>) {
    let (go, gone): (Sender<()>, Receiver<()>) = channel();
    let gone = Mutex::new(gone);
    let program = Program::new(move |connection| {
        connection.request()?;
        connection.report("asked");
        let _ = gone.lock().unwrap().recv();
        connection.answer("late");
        connection.wait_for_end();
        Some(())
    });
    (program, go)
}

fn copies(world: &World, cell: u32) -> Vec<(Outcome, u64)> {
    let totals = world.ledger.copies(Cell(cell));
    let seen = totals.seen();
    seen.map(|(phase, outcome, count)| {
        assert_eq!(phase, Phase::Serving);
        (outcome, count)
    })
    .collect()
}

fn dropped(world: &World, reason: Dropped) -> u64 {
    world.service().not_copied[reason.index()]
}

fn rule() -> Compare {
    Compare {
        headers: vec!["etag".to_owned()],
        ignore: Vec::new(),
        samples: 1,
        at_most: Share::NONE,
    }
}

/// What comparing has found, once so many requests were compared.
fn found(world: &World, compared: u64) -> Tally {
    let found = || world.proxy().compared(KEY).unwrap_or_default();
    until("the answers are compared", || {
        found().figures().compared >= compared
    });
    found()
}

#[test]
fn the_shadow_gets_the_same_request_marked_and_nobody_gets_its_answer() {
    let (old, new) = (telling("old"), telling("new"));
    let world = shadowed(&old, &new, None);
    let mut client = world.client();
    client.send("GET /a?b=c HTTP/1.1\r\nHost: h\r\nGapless-Shadow: lie\r\nX-Own: 1\r\n\r\n");
    assert_eq!(client.response().text(), "old");
    let (real, copy) = (old.report(), new.report());
    assert!(!real.contains("gapless-shadow"), "{real}");
    assert!(!real.contains("lie"), "{real}");
    let marked: Vec<&str> = copy
        .lines()
        .filter(|line| *line != "gapless-shadow: mirror" && *line != "connection: close")
        .collect();
    assert_eq!(marked, real.lines().collect::<Vec<_>>());
    assert!(copy.contains("gapless-shadow: mirror\r\n"), "{copy}");
    until("the copy is answered", || {
        copies(&world, 20) == [(Outcome::Status2xx, 1)]
    });
    world.expect_outcomes(10, &[(Outcome::Status2xx, 1)]);
    assert_eq!(world.cell(20).ended(), 0, "no user's request went there");
    assert_eq!(world.service().requests, 1);
}

#[test]
fn bodies_are_copied_with_their_framing() {
    let (old, new) = (telling("old"), telling("new"));
    let world = shadowed(&old, &new, None);
    let mut client = world.client();
    assert_eq!(client.post("/", "some body").text(), "old");
    assert!(new.report().ends_with("\r\n\r\nsome body"));
    client.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n");
    client.send("5;a=b\r\n more\r\n0\r\n\r\n");
    assert_eq!(client.response().text(), "old");
    assert!(new.report().ends_with("\r\n\r\nsome more"));
}

#[test]
fn a_body_above_the_bound_is_not_copied_and_counted() {
    let (old, new) = (Program::echo("old"), telling("new"));
    let world = shadowed(&old, &new, None);
    let mut client = world.client();
    let body = "x".repeat(1_025);
    client.post("/", &body);
    assert_eq!(dropped(&world, Dropped::BodyTooLarge), 1);
    client.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send(format!("401\r\n{body}\r\n0\r\n\r\n"));
    client.response();
    assert_eq!(dropped(&world, Dropped::BodyTooLarge), 2);
    client.get("/small");
    assert!(new.report().starts_with("GET /small "));
    assert_eq!(new.connections(), 1);
}

#[test]
fn what_is_not_drawn_is_not_copied() {
    let (old, new) = (Program::echo("old"), telling("new"));
    let mut world = shadowed(&old, &new, None);
    let mut client = world.client();
    client
        .send("DELETE /a HTTP/1.1\r\nHost: h\r\n\r\n")
        .response();
    client.send("GET /b HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n");
    client.response();
    // What the shadow's own release answers is not copied to it.
    world.set_service(|service| {
        service.candidate = service.shadow.as_ref().map(|own| own.target.clone());
        service.share = Share::ALL;
    });
    assert_eq!(client.get("/c").text(), "new");
    world.set_service(|service| {
        service.candidate = None;
        service.share = Share::NONE;
    });
    client.get("/d");
    assert!(new.report().starts_with("GET /c "));
    assert!(new.report().starts_with("GET /d "));
    assert_eq!(world.service().not_copied, [0; Dropped::COUNT]);
}

#[test]
fn a_shadow_that_never_answers_holds_nobody_up_and_what_is_too_much_is_dropped() {
    let (new, go) = held();
    let old = Program::echo("old");
    let world = shadowed(&old, &new, None);
    let mut client = world.client();
    // Far more than there is room for, one after the other: each is answered while all of its
    // copies still wait.
    for number in 0..400 {
        assert_eq!(
            client.get(&format!("/{number}")).text(),
            format!("old: GET /{number} HTTP/1.1 []")
        );
    }
    assert_eq!(copies(&world, 20), [], "no copy has been answered");
    assert_eq!(dropped(&world, Dropped::Full), 400 - 128);
    world.expect_outcomes(10, &[(Outcome::Status2xx, 400)]);
    until("all are open", || world.open(20) == 128);
    drop(go);
    until("all are answered", || {
        copies(&world, 20) == [(Outcome::Status2xx, 128)]
    });
    assert_eq!(world.open(20), 0);
}

#[test]
fn a_copy_holds_up_the_drain_of_its_endpoint_and_is_cut_at_its_limit() {
    let (new, _go) = held();
    let old = Program::echo("old");
    let mut world = shadowed(&old, &new, None);
    world.client().get("/");
    assert_eq!(new.report(), "asked");
    world.set_service(|service| service.shadow = None);
    assert_eq!(world.open(20), 1, "open although no table names it");
    assert_eq!(world.ledger.open_requests(Cell(20)), 0);
    world.proxy().cut(Cell(20));
    until("the copy is cut", || {
        copies(&world, 20) == [(Outcome::Cut, 1)]
    });
    assert_eq!(world.open(20), 0);
}

#[test]
fn after_a_table_without_it_is_confirmed_a_shadow_gets_nothing() {
    let (old, new) = (Program::echo("old"), telling("new"));
    let mut world = shadowed(&old, &new, None);
    let mut client = world.client();
    // The body of one is still to come when its shadow ends.
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\na");
    until("it is at the endpoint", || world.open(10) == 1);
    world.set_service(|service| service.shadow = None);
    client.send("b");
    client.response();
    until("it is dropped", || dropped(&world, Dropped::Over) == 1);
    assert_eq!(new.connections(), 0);
}

#[test]
fn a_client_that_leaves_within_its_body_is_not_copied() {
    let (old, new) = (Program::echo("old"), telling("new"));
    let world = shadowed(&old, &new, None);
    let mut client = world.client();
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nhalf");
    until("it is at the endpoint", || world.open(10) == 1);
    client.reset();
    until("it is dropped", || {
        dropped(&world, Dropped::Unfinished) == 1
    });
    assert_eq!(new.connections(), 0);
}

#[test]
fn a_shadow_without_endpoints_is_counted() {
    let (old, new) = (Program::echo("old"), telling("new"));
    let mut world = shadowed(&old, &new, None);
    world.set_service(|service| {
        let shadow = service.shadow.as_mut().unwrap();
        shadow.target.endpoints.clear();
    });
    world.client().get("/");
    until("it is counted", || {
        dropped(&world, Dropped::NoEndpoint) == 1
    });
}

#[test]
fn what_becomes_of_copies_is_counted_apart() {
    let old = Program::echo("old");
    let new = Program::new(|connection| {
        let (head, _) = connection.request()?;
        let say = match head.split(' ').nth(1)? {
            "/500" => "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n",
            "/404" => "HTTP/1.1 404 Oh\r\nContent-Length: 0\r\n\r\n",
            "/early" => "HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\n\r\nuntil close",
            "/short" => "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
            "/odd" => "what?\r\n\r\n",
            _ => "",
        };
        connection.send(say)
    });
    let world = shadowed(&old, &new, None);
    let mut client = world.client();
    for path in ["/500", "/404", "/early", "/short", "/odd", "/none"] {
        client.get(path);
    }
    until("all have ended", || {
        world.ledger.copies(Cell(20)).ended() == 6
    });
    assert_eq!(
        copies(&world, 20),
        [
            (Outcome::Status2xx, 1),
            (Outcome::Status4xx, 1),
            (Outcome::Status5xx, 1),
            (Outcome::NoResponse, 1),
            (Outcome::BadResponse, 1),
            (Outcome::Truncated, 1),
        ]
    );
    world.expect_outcomes(10, &[(Outcome::Status2xx, 6)]);
}

#[test]
fn a_field_that_changed_is_found_and_noise_is_not() {
    let old = json(r#"{"id": N, "items": [{"price": 10}]}"#);
    let new = json(r#"{"id": N, "items": [{"price": "10"}]}"#);
    let world = shadowed(&old, &new, Some(rule()));
    let mut client = world.client();
    for number in 0..20 {
        let answer = client.get(&format!("/items/{number}"));
        assert!(
            answer.text().contains(r#""price": 10"#),
            "{}",
            answer.text()
        );
    }
    let report = found(&world, 20).report(1);
    assert_eq!((report.compared, report.differing), (20, 20));
    assert_eq!((report.incomplete, report.noisy), (0, 1));
    assert_eq!(report.differences.len(), 1);
    let one = &report.differences[0];
    assert_eq!(
        (one.route.as_str(), one.field.as_str()),
        ("GET /items/{}", "body.items[].price")
    );
    assert_eq!(
        (one.old.as_str(), one.new.as_str()),
        ("number", "string(2)")
    );
    // Each was asked of the old release twice more.
    until("all are counted", || {
        copies(&world, 10) == [(Outcome::Status2xx, 40)]
    });
    world.expect_outcomes(10, &[(Outcome::Status2xx, 20)]);
}

#[test]
fn compared_copies_say_so_and_ask_for_plain_bodies() {
    let (old, new) = (Program::echo("old"), telling("new"));
    let world = shadowed(&old, &new, Some(rule()));
    let mut client = world.client();
    client.send("GET / HTTP/1.1\r\nHost: h\r\nAccept-Encoding: gzip\r\n\r\n");
    client.response();
    let copy = new.report();
    assert!(copy.contains("gapless-shadow: compare\r\n"), "{copy}");
    assert!(!copy.contains("accept-encoding"), "{copy}");
}

#[test]
fn a_new_release_that_does_not_answer_differs() {
    let old = Program::echo("old");
    let new = Program::new(|connection| connection.request().map(|_| ()));
    let world = shadowed(&old, &new, Some(rule()));
    world.client().get("/");
    let report = found(&world, 1).report(1);
    assert_eq!(report.differing, 1);
    assert_eq!(report.differences[0].field, "answer");
}

#[test]
fn an_old_release_that_does_not_answer_again_says_nothing() {
    let old = Program::new(|connection| {
        let (head, _) = connection.request()?;
        if !head.contains("gapless-shadow") {
            connection.answer("once");
        }
        Some(())
    });
    let new = telling("new");
    let world = shadowed(&old, &new, Some(rule()));
    assert_eq!(world.client().get("/").text(), "once");
    until("it is counted", || {
        world
            .proxy()
            .compared(KEY)
            .is_some_and(|found| found.report(1).incomplete == 1)
    });
    assert_eq!(world.proxy().compared(KEY).unwrap().figures().compared, 0);
}

#[test]
fn a_body_above_the_bound_is_compared_as_a_whole() {
    let long = |last: char| {
        Program::new(move |connection| {
            connection.request()?;
            let body = format!("[{}{last}]", "1,".repeat(2_000));
            connection.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\
                 Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
                body.len()
            ))
        })
    };
    let (old, new) = (long('1'), long('2'));
    let world = shadowed(&old, &new, Some(rule()));
    world.client().get("/");
    let report = found(&world, 1).report(1);
    assert_eq!(report.differences[0].field, "body");
    assert_eq!(report.differences[0].old, "4003 bytes");
}

#[test]
fn copies_that_are_open_when_the_proxy_stops_are_cut() {
    let (new, _go) = held();
    let old = Program::echo("old");
    let mut world = shadowed(&old, &new, None);
    world.client().get("/");
    assert_eq!(new.report(), "asked");
    world.stop_within(std::time::Duration::ZERO);
    assert_eq!(copies(&world, 20), [(Outcome::Cut, 1)]);
    assert_eq!(world.open(20), 0);
}
