//! Which of a release's endpoints a request reaches, and which it never does.

use std::collections::BTreeSet;
use std::time::Duration;

use model::{Balancing, Ejection, HashKey, Share, Weight};
use traffic::Outcome;

use crate::world::{Client, Program, World, candidate_at, nowhere};

fn failing() -> Program {
    Program::new(|connection| {
        loop {
            connection.request()?;
            connection.send("HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\nno")?;
        }
    })
}

fn reached(client: &mut Client, header: &str) -> String {
    client.send(format!("GET / HTTP/1.1\r\nHost: h\r\n{header}\r\n"));
    let response = client.response();
    response.text().split(':').next().unwrap().to_owned()
}

#[test]
fn an_endpoint_that_fails_gets_nothing_for_a_while() {
    let programs = [failing(), Program::echo("one"), Program::echo("two")];
    let mut world = World::serving(&[&programs[0], &programs[1], &programs[2]]);
    world.set_service(|service| {
        service.delivery.ejection = Some(Ejection {
            failures: 3,
            lasts: Duration::from_secs(3_600),
            max_share: Share::try_new(5_000).unwrap(),
            panic_share: Share::try_new(5_000).unwrap(),
        });
    });
    let mut client = world.client();
    let failed = (0..100).filter(|_| reached(&mut client, "") == "no");
    assert_eq!(failed.count(), 3);
}

#[test]
fn without_the_option_nobody_is_ejected() {
    let programs = [failing(), Program::echo("one")];
    let world = World::serving(&[&programs[0], &programs[1]]);
    let mut client = world.client();
    let failed = (0..100).filter(|_| reached(&mut client, "") == "no");
    assert!(failed.count() > 20);
}

#[test]
fn in_turn_means_in_turn() {
    let programs = [Program::echo("one"), Program::echo("two")];
    let mut world = World::serving(&[&programs[0], &programs[1]]);
    world.set_service(|service| service.delivery.balance = Balancing::RoundRobin);
    let mut client = world.client();
    let names: Vec<String> = (0..6).map(|_| reached(&mut client, "")).collect();
    assert_eq!(names, ["two", "one", "two", "one", "two", "one"]);
}

#[test]
fn of_four_requests_three_reach_the_endpoint_that_weighs_three() {
    let programs = [Program::echo("one"), Program::echo("three")];
    let mut world = World::serving(&[&programs[0], &programs[1]]);
    let all = [
        Balancing::RoundRobin,
        Balancing::P2c,
        Balancing::LeastRequests,
        Balancing::Hash(HashKey::Header("x-user".to_owned())),
    ];
    for balance in all {
        world.set_service(|service| {
            service.delivery.balance = balance.clone();
            for (endpoint, weight) in service.stable.endpoints.iter_mut().zip([1, 3]) {
                endpoint.weight = Some(Weight::try_new(weight).unwrap());
            }
        });
        let mut client = world.client();
        let asked = 400;
        let heavier = (0..asked)
            .filter(|user| reached(&mut client, &format!("X-User: {user}\r\n")) == "three")
            .count();
        // Six standard deviations: sqrt(400 * 0.25 * 0.75) = 8.7. Turns are exact.
        let slack = match balance {
            Balancing::RoundRobin => 0,
            _ => 52,
        };
        assert!(heavier.abs_diff(300) <= slack, "{balance:?} {heavier}");
    }
}

#[test]
fn the_same_key_reaches_the_same_endpoint() {
    let programs = [
        Program::echo("one"),
        Program::echo("two"),
        Program::echo("three"),
    ];
    let mut world = World::serving(&[&programs[0], &programs[1], &programs[2]]);
    for (key, line) in [
        (HashKey::Header("x-user".to_owned()), "X-User: "),
        (HashKey::Cookie("sid".to_owned()), "Cookie: a=b; sid="),
    ] {
        world.set_service(|service| service.delivery.balance = Balancing::Hash(key));
        let mut client = world.client();
        let mut seen = BTreeSet::new();
        for user in 0..20 {
            let header = format!("{line}{user}\r\n");
            let home = reached(&mut client, &header);
            assert!((0..5).all(|_| reached(&mut client, &header) == home));
            seen.insert(home);
        }
        assert_eq!(seen.len(), 3);
    }
}

#[test]
fn what_may_be_sent_again_is_bounded_by_the_budget() {
    let program = Program::echo("one");
    let mut world = World::serving(&[&program]);
    world.set_service(|service| {
        let addresses = [nowhere(), program.address];
        service.stable = candidate_at(1, addresses.into_iter(), 10);
        service.delivery.retry_budget = Share::NONE;
    });
    let mut client = world.client();
    let lost = (0..200).filter(|_| client.get("/").status == 502).count();
    let outcomes = world.settled(10);
    let count = |outcome: Outcome| {
        let of_phases = outcomes.outcomes.iter().map(|phase| phase[outcome.index()]);
        of_phases.sum::<u64>()
    };
    assert!(count(Outcome::ConnectRepeated) >= 10);
    assert_eq!(count(Outcome::ConnectFailed), lost as u64);
    assert!(lost > 20, "{lost}");
}
