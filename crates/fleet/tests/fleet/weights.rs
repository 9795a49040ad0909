//! What instances announce that they take beside each other.

use std::time::Duration;

use fleet::{FleetPolicy, ProbeResult};
use model::{Health, Probe, Weight};

use crate::bench::{Bench, V1, policy};

/// A release whose instances are asked for their weight.
fn weighing() -> FleetPolicy {
    let probe = Probe::Http {
        path: "/healthz".to_owned(),
        status: None,
        body: None,
        weight: Some("x-weight".to_owned()),
    };
    let health = policy().health.map(|health| Health { probe, ..health });
    FleetPolicy { health, ..policy() }
}

fn weighed(weight: u8) -> ProbeResult {
    ProbeResult::Weighed(Weight::try_new(weight).unwrap())
}

fn weight(bench: &Bench) -> Option<u8> {
    bench.view(1).unwrap().weight.map(Weight::get)
}

#[test]
fn an_announced_weight_is_there_when_the_instance_is_ready() {
    let mut bench = Bench::wanting(1, weighing());
    bench.converge();
    bench.started(V1, 1);
    let id = bench.fleet.id(V1, 1);
    bench.probe(&id, &weighed(2));
    bench.probe(&id, &weighed(3));
    assert_eq!(
        (bench.seen().as_str(), weight(&bench)),
        ("1 ready*", Some(3))
    );
    bench.crash();
    assert_eq!(weight(&bench), Some(3));
}

#[test]
fn who_announces_nothing_weighs_one_and_who_is_not_asked_nothing() {
    let bench = Bench::ready(1, weighing());
    assert_eq!(weight(&bench), Some(1));
    let mut unasked = Bench::ready(1, policy());
    let id = unasked.fleet.id(V1, 1);
    unasked.probe(&id, &weighed(3));
    assert_eq!(weight(&unasked), None);
}

#[test]
fn a_failed_probe_leaves_the_weight_as_it_was() {
    let mut bench = Bench::ready(1, weighing());
    let id = bench.fleet.id(V1, 1);
    bench.pass_time(Duration::from_secs(2));
    bench.probe(&id, &weighed(9));
    bench.pass_time(Duration::from_secs(2));
    bench.fails(1);
    assert_eq!(
        (bench.seen().as_str(), weight(&bench)),
        ("1 ready*", Some(9))
    );
}

#[test]
fn a_weight_lasts_a_second_however_often_it_is_announced_anew() {
    let mut often = weighing();
    often.health.as_mut().unwrap().every = Duration::from_millis(50);
    let mut bench = Bench::ready(1, often);
    let (id, began) = (bench.fleet.id(V1, 1), bench.now);
    let mut changes = 0;
    for turn in 0..100 {
        let before = weight(&bench);
        bench.probe(&id, &weighed(1 + turn % 100));
        changes += usize::from(weight(&bench) != before);
    }
    let seconds = bench.now.since(began).as_secs();
    assert!(seconds >= 4, "{seconds}");
    assert!(
        (3..=seconds as usize + 1).contains(&changes),
        "{changes} in {seconds} s"
    );
}
