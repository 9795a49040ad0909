//! Which release a request reaches.

use std::collections::BTreeMap;

use model::{Affinity, RolloutId, Share};
use traffic::{AudienceRule, CookieId, HostPattern, Route, Wanted};

use crate::world::{Client, Program, World, candidate};

fn two_releases(share: u16) -> (World, [Program; 2]) {
    let programs = [Program::echo("old"), Program::echo("new")];
    let mut world = World::serving(&[&programs[0]]);
    world.set_service(|service| {
        service.candidate = Some(candidate(2, &[&programs[1]], 20));
        service.rollout = Some(RolloutId(5));
        service.share = Share::try_new(share).unwrap();
    });
    (world, programs)
}

fn reached(client: &mut Client, header: &str) -> String {
    client.send(format!("GET / HTTP/1.1\r\nHost: h\r\n{header}\r\n"));
    client
        .response()
        .text()
        .split(':')
        .next()
        .unwrap()
        .to_owned()
}

#[test]
fn without_affinity_requests_split_as_the_share_says() {
    let (world, _programs) = two_releases(2_000);
    let mut client = world.client();
    let new = (0..2_000)
        .filter(|_| reached(&mut client, "") == "new")
        .count();
    // Six standard deviations of a binomial: sqrt(2000 * 0.2 * 0.8) = 18.
    assert!(new.abs_diff(400) < 108, "{new}");
    assert_eq!(world.settled(20).ended(), new as u64);
}

#[test]
fn a_user_gets_a_cookie_once_and_stays_while_the_share_grows() {
    let (mut world, _programs) = two_releases(3_000);
    world.set_service(|service| service.affinity = Some(Affinity::Cookie));
    let mut client = world.client();
    let mut users = BTreeMap::new();
    for _ in 0..100 {
        let response = client.get("/");
        let cookie = response.header("set-cookie").unwrap();
        let id = cookie
            .strip_prefix("gapless_id=")
            .unwrap()
            .split(';')
            .next()
            .unwrap();
        assert!(CookieId::read(id.as_bytes()).is_some());
        users.insert(id.to_owned(), response.text().starts_with("new"));
    }
    let check = |world: &World, users: &BTreeMap<String, bool>| {
        let mut client = world.client();
        for (id, was_new) in users {
            client.send(format!(
                "GET / HTTP/1.1\r\nHost: h\r\nCookie: a=b; gapless_id={id}\r\n\r\n"
            ));
            let response = client.response();
            assert_eq!(response.header("set-cookie"), None);
            let is_new = response.text().starts_with("new");
            assert!(is_new || !was_new, "a user was moved back");
        }
    };
    check(&world, &users);
    world.set_service(|service| service.share = Share::try_new(6_000).unwrap());
    check(&world, &users);
    assert!(users.values().any(|new| *new) && users.values().any(|new| !new));
}

#[test]
fn a_forged_cookie_is_replaced() {
    let (mut world, _programs) = two_releases(0);
    world.set_service(|service| service.affinity = Some(Affinity::Cookie));
    let mut client = world.client();
    client.send("GET / HTTP/1.1\r\nHost: h\r\nCookie: gapless_id=v2\r\n\r\n");
    assert!(client.response().header("set-cookie").is_some());
}

#[test]
fn a_header_or_the_clients_address_can_be_the_user() {
    let (mut world, _programs) = two_releases(5_000);
    world.set_service(|service| service.affinity = Some(Affinity::Header("x-user".to_owned())));
    let mut client = world.client();
    let mut seen = BTreeMap::new();
    for round in 0..3 {
        for user in 0..30 {
            let to = reached(&mut client, &format!("X-User: {user}\r\n"));
            let before = seen.insert(user, to.clone());
            assert!(round == 0 || before == Some(to));
        }
    }
    assert!(seen.values().any(|to| to == "new") && seen.values().any(|to| to == "old"));
    world.set_service(|service| service.affinity = Some(Affinity::Client));
    let first = reached(&mut client, "");
    assert!((0..20).all(|_| reached(&mut world.client(), "") == first));
}

#[test]
fn an_audience_goes_to_the_new_release_and_back_counted_when_it_has_no_endpoint() {
    let (mut world, _programs) = two_releases(0);
    world.set_service(|service| {
        service.audiences = vec![
            AudienceRule::Header("x-staff".to_owned(), Wanted::Exactly("yes".to_owned())),
            AudienceRule::Cookie("beta".to_owned(), Wanted::Exactly("1".to_owned())),
        ];
    });
    let mut client = world.client();
    assert_eq!(reached(&mut client, ""), "old");
    assert_eq!(reached(&mut client, "X-Staff: no\r\n"), "old");
    assert_eq!(reached(&mut client, "X-Staff: yes\r\n"), "new");
    assert_eq!(reached(&mut client, "Cookie: beta=1\r\n"), "new");
    assert_eq!(world.service().moved_back, 0);
    world.set_service(|service| service.candidate.as_mut().unwrap().endpoints.clear());
    assert_eq!(reached(&mut client, "X-Staff: yes\r\n"), "old");
    assert_eq!(world.service().moved_back, 1);
}

#[test]
fn a_share_of_a_headers_values_goes_to_the_new_release_and_each_value_stays_where_it_is() {
    let (mut world, _programs) = two_releases(0);
    let part = |points| {
        let share = Wanted::Part(model::Share::try_new(points).unwrap());
        AudienceRule::Header("x-tenant".to_owned(), share)
    };
    let mut client = world.client();
    let mut new_of = |world: &mut World, points| -> Vec<usize> {
        world.set_service(|service| service.audiences = vec![part(points)]);
        let asked = (0..60).chain(0..60);
        let new = asked.filter(|n| reached(&mut client, &format!("X-Tenant: t{n}\r\n")) == "new");
        new.collect()
    };
    let few = new_of(&mut world, 2_000);
    let (first, again) = few.split_at(few.len() / 2);
    assert_eq!(first, again);
    assert!((1..60).contains(&first.len()), "{first:?}");
    let more = new_of(&mut world, 6_000);
    assert!(first.iter().all(|tenant| more.contains(tenant)) && more.len() > few.len());
    assert_eq!(reached(&mut client, ""), "old");
}

#[test]
fn a_preview_host_reaches_the_new_release_alone() {
    let (mut world, _programs) = two_releases(0);
    world.publish(|table| {
        table.listeners[0].routes.push(Route {
            host: HostPattern::Exact("preview.example.com".to_owned()),
            path: "/".to_owned(),
            service: 0,
            only: Some(model::ReleaseId(2)),
        });
    });
    let mut client = world.client();
    client.send("GET / HTTP/1.1\r\nHost: Preview.Example.com:8080\r\n\r\n");
    assert!(client.response().text().starts_with("new"));
    assert_eq!(reached(&mut client, ""), "old");
}

#[test]
fn a_user_stuck_to_an_instance_reaches_it_until_it_leaves() {
    let programs: Vec<Program> = ["a", "b", "c"].map(Program::echo).into();
    let mut world = World::serving(&programs.iter().collect::<Vec<_>>());
    world.set_service(|service| {
        service.affinity = Some(Affinity::Cookie);
        service.stick_to_instance = true;
    });
    let mut client = world.client();
    let response = client.get("/");
    let cookie = response
        .header("set-cookie")
        .unwrap()
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    let home = response.text()[..1].to_owned();
    let header = format!("Cookie: {cookie}\r\n");
    assert!((0..20).all(|_| reached(&mut client, &header) == home));
    world.set_service(|service| {
        let gone = ["a", "b", "c"]
            .iter()
            .position(|name| *name == home)
            .unwrap();
        service.stable.endpoints.remove(gone);
    });
    let next = reached(&mut client, &header);
    assert_ne!(next, home);
    assert!((0..20).all(|_| reached(&mut client, &header) == next));
}
