//! What a program learns about where a request came from, and by which names it is known.

use std::collections::BTreeSet;

use model::{Affinity, Peers, RolloutId, Share};

use crate::world::{Program, World, candidate};

const LOOPBACK: &str = "127.0.0.0/8";
const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// A program that reports every head and answers with an id of its own.
fn told() -> Program {
    Program::new(|connection| {
        loop {
            let (head, _) = connection.request()?;
            connection.report(head);
            connection.send("HTTP/1.1 200 OK\r\nX-Request-Id: own\r\nContent-Length: 0\r\n\r\n")?;
        }
    })
}

fn trust(world: &mut World, trace_sampled: Share) {
    world.publish(|table| {
        table.peers = Peers {
            trusted: vec![LOOPBACK.parse().unwrap()],
            trace_sampled,
            ..Peers::default()
        };
    });
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut values = head.lines().filter_map(|line| {
        let (there, value) = line.split_once(": ")?;
        there.eq_ignore_ascii_case(name).then_some(value)
    });
    let first = values.next();
    assert_eq!(values.next(), None, "{name} is there twice");
    first
}

#[test]
fn a_trusted_peer_is_believed_and_the_chain_grows() {
    let program = told();
    let mut world = World::serving(&[&program]);
    trust(&mut world, Share::NONE);
    world
        .client()
        .send(
            "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\n\
         Forwarded: for=1.2.3.4;proto=https\r\n\r\n",
        )
        .response();
    let head = program.report();
    assert_eq!(field(&head, "x-forwarded-for"), Some("1.2.3.4, 127.0.0.1"));
    assert_eq!(field(&head, "x-forwarded-proto"), Some("https"));
    assert_eq!(field(&head, "x-real-ip"), Some("1.2.3.4"));
    let forwarded = "for=1.2.3.4;proto=https, for=127.0.0.1;proto=http;host=a";
    assert_eq!(field(&head, "forwarded"), Some(forwarded));
}

#[test]
fn a_request_has_one_id_on_both_sides_and_only_a_trusted_peer_chooses_it() {
    let program = told();
    let mut world = World::serving(&[&program]);
    let mut client = world.client();
    let mut ids = BTreeSet::new();
    for _ in 0..3 {
        client.send("GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: forged\r\n\r\n");
        let response = client.response();
        let id = response.header("x-request-id").unwrap().to_owned();
        assert_eq!(field(&program.report(), "x-request-id"), Some(id.as_str()));
        assert_eq!(id.len(), 32);
        ids.insert(id);
    }
    assert_eq!(ids.len(), 3);
    trust(&mut world, Share::NONE);
    client.send("GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: chosen/7\r\n\r\n");
    assert_eq!(client.response().header("x-request-id"), Some("chosen/7"));
    assert_eq!(field(&program.report(), "x-request-id"), Some("chosen/7"));
    client.send("GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: no id\r\n\r\n");
    assert_ne!(client.response().header("x-request-id"), Some("no id"));
}

#[test]
fn the_proxys_own_answer_has_the_requests_id() {
    let mut world = World::without_table();
    world.publish(|table| {
        table.peers.trusted = vec![LOOPBACK.parse().unwrap()];
    });
    let mut client = world.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: chosen\r\n\r\n");
    let response = client.response();
    assert_eq!(response.header("x-gapless-error"), Some("no_route"));
    assert_eq!(response.header("x-request-id"), Some("chosen"));
}

#[test]
fn a_valid_trace_is_passed_on_and_another_is_begun_anew() {
    let program = told();
    let mut world = World::serving(&[&program]);
    let mut client = world.client();
    let mut sent = |lines: &str| {
        client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n"));
        client.response();
        let head = program.report();
        let owned = |name| field(&head, name).map(ToOwned::to_owned);
        (owned("traceparent").unwrap(), owned("tracestate"))
    };
    let (parent, state) = sent(&format!("Traceparent: {TRACE}\r\nTracestate: a=1\r\n"));
    assert_eq!((parent.as_str(), state.as_deref()), (TRACE, Some("a=1")));
    for lines in ["", "traceparent: 00-0-0-01\r\ntracestate: a=1\r\n"] {
        let (parent, state) = sent(lines);
        assert_eq!((parent.len(), state), (55, None), "{parent}");
        assert!(
            parent.starts_with("00-") && parent.ends_with("-00"),
            "{parent}"
        );
    }
    trust(&mut world, Share::ALL);
    assert!(sent("").0.ends_with("-01"));
}

#[test]
fn users_by_address_are_told_apart_behind_a_trusted_peer() {
    let programs = [Program::echo("old"), Program::echo("new")];
    let mut world = World::serving(&[&programs[0]]);
    world.set_service(|service| {
        service.candidate = Some(candidate(2, &[&programs[1]], 20));
        service.rollout = Some(RolloutId(5));
        service.share = Share::try_new(5_000).unwrap();
        service.affinity = Some(Affinity::Client);
    });
    let mut client = world.client();
    let mut reached = || {
        let releases = (0..40).map(|user| {
            client.send(format!(
                "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.2.3.{user}\r\n\r\n"
            ));
            client.response().text()[..3].to_owned()
        });
        releases.collect::<BTreeSet<_>>().len()
    };
    assert_eq!(reached(), 1);
    trust(&mut world, Share::NONE);
    assert_eq!(reached(), 2);
}
