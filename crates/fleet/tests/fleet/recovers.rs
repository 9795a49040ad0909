//! What a new worker makes of the journal and of the supervisor's view.

use std::time::Duration;

use fleet::{Child, Exit, FleetPolicy, Input, SpawnError};
use model::{InstanceId, ReleaseId, ServiceName};

use crate::bench::{Bench, V1, policy};

fn alive(bench: &Bench, serials: &[u32]) -> Input {
    let child = |serial: &u32| Child {
        instance: bench.fleet.id(V1, *serial),
        exit: None,
    };
    Input::Children(serials.iter().map(child).collect())
}

#[test]
fn before_the_first_view_nothing_is_done_but_asking_for_it() {
    let mut bench = Bench::ready(1, policy());
    bench.wanted.counts.insert(V1, 4);
    bench.crash();
    let acts = bench.acts_within(Duration::from_secs(11));
    let observe = |ms| (ms, "observe".to_owned());
    assert_eq!(acts, [observe(0), observe(5_000), observe(10_000)]);
}

#[test]
fn ready_ones_stay_ready_and_ordered_ones_are_ordered_again() {
    let mut bench = Bench::ready(2, policy());
    bench.wanted.counts.insert(V1, 3);
    bench.converge();
    bench.crash();
    let seen = bench.seen();
    bench.handle(alive(&bench, &[1, 2]));
    assert_eq!(bench.acts(), ["start v1-3"]);
    assert_eq!(bench.seen(), seen);
    assert_eq!(seen, "1 ready*, 2 ready*, 3 ordered");
}

#[test]
fn an_ordered_one_that_runs_is_not_ordered_again() {
    let mut bench = Bench::wanting(1, policy());
    bench.converge();
    bench.crash();
    bench.handle(alive(&bench, &[1]));
    assert_eq!(bench.acts(), Vec::<String>::new());
    assert_eq!(bench.seen(), "1 starting");
}

#[test]
fn what_is_not_listed_has_crashed_and_so_has_what_is_listed_as_ended() {
    let mut bench = Bench::ready(3, policy());
    bench.crash();
    let exit = Some(Exit::Signal(11));
    let instance = bench.fleet.id(V1, 2);
    let Input::Children(mut children) = alive(&bench, &[3]) else {
        unreachable!("a view was made");
    };
    children.push(Child { instance, exit });
    bench.handle(Input::Children(children));
    assert_eq!(bench.seen(), "3 ready*");
    assert_eq!(
        bench.acts(),
        ["forget v1-1", "forget v1-2", "start v1-4", "start v1-5"]
    );
}

#[test]
fn processes_that_nobody_knows_are_killed_and_forgotten() {
    let mut bench = Bench::ready(1, policy());
    bench.crash();
    bench.handle(alive(&bench, &[1, 7]));
    assert_eq!(bench.acts(), ["kill v1-7"]);
    assert_eq!((bench.counts().running, bench.counts().draining), (2, 1));
    bench.exits(7, 0);
    assert_eq!(bench.acts(), ["forget v1-7"]);
    assert_eq!(
        bench.fleet.next_serial(),
        8,
        "its serial is not given again"
    );
}

#[test]
fn an_unknown_process_is_gone_when_a_view_lacks_it() {
    let mut bench = Bench::ready(1, policy());
    bench.handle(alive(&bench, &[1, 7]));
    let acts = bench.acts_within(Duration::from_secs(6));
    assert_eq!(acts.iter().filter(|(_, a)| a == "kill v1-7").count(), 3);
    assert!(acts.iter().any(|(_, a)| a == "observe"));
    bench.handle(alive(&bench, &[1]));
    assert_eq!(bench.acts(), ["forget v1-7"]);
}

#[test]
fn an_end_that_was_not_acknowledged_is_acknowledged() {
    let mut bench = Bench::ready(1, policy());
    bench.crash();
    let Input::Children(mut children) = alive(&bench, &[1]) else {
        unreachable!("a view was made");
    };
    children.push(Child {
        instance: bench.fleet.id(V1, 44),
        exit: Some(Exit::Code(0)),
    });
    bench.handle(Input::Children(children));
    assert_eq!(bench.acts(), ["forget v1-44"]);
}

#[test]
fn a_drain_goes_on_but_is_confirmed_anew() {
    let mut bench = Bench::ready(1, policy());
    bench.wanted.counts.clear();
    bench.converge();
    bench.unrouted(1);
    bench.converge();
    bench.pass_time(Duration::from_secs(20));
    bench.crash();
    bench.handle(alive(&bench, &[1]));
    assert_eq!(bench.acts(), Vec::<String>::new());
    bench.unrouted(1);
    assert_eq!(bench.acts(), ["count v1-1"]);
    bench.open(1, 5);
    bench.pass_time(Duration::from_secs(29));
    assert!(!bench.acts().contains(&"cut v1-1".to_owned()));
    bench.pass_time(Duration::from_secs(1));
    let acts = bench.acts();
    assert_eq!(
        acts,
        ["cut v1-1", "stop v1-1"],
        "the limit counts from the table that surely lacks it"
    );
}

#[test]
fn a_stop_within_its_grace_is_told_again_with_its_cut() {
    let mut bench = Bench::ready(1, policy());
    bench.wanted.counts.clear();
    bench.converge();
    bench.pass_time(Duration::from_secs(30));
    bench.unrouted(1);
    assert_eq!(bench.acts(), ["cut v1-1", "stop v1-1"]);
    bench.crash();
    bench.handle(alive(&bench, &[1]));
    assert_eq!(bench.acts(), ["cut v1-1", "stop v1-1"]);
    bench.pass_time(Duration::from_secs(10));
    assert_eq!(bench.acts(), ["kill v1-1", "observe"]);
    bench.crash();
    bench.handle(alive(&bench, &[1]));
    assert_eq!(bench.acts(), ["kill v1-1"]);
}

#[test]
fn a_stop_that_may_never_have_been_told_has_its_whole_grace() {
    let traffic = false;
    let mut bench = Bench::ready(
        1,
        FleetPolicy {
            traffic,
            ..policy()
        },
    );
    bench.wanted.counts.clear();
    bench.converge();
    bench.pass_time(Duration::from_secs(60));
    bench.crash();
    bench.handle(alive(&bench, &[1]));
    assert_eq!(bench.acts(), ["stop v1-1"]);
    let acts = bench.acts_within(Duration::from_secs(10));
    let kills = acts.iter().filter(|(_, a)| a == "kill v1-1");
    assert_eq!(kills.map(|(after, _)| *after).collect::<Vec<_>>(), [10_000]);
}

#[test]
fn the_back_off_outlives_the_worker() {
    let mut bench = Bench::wanting(1, policy());
    for serial in 1..=4 {
        bench.acts_within(Duration::from_secs(5));
        bench.exits(serial, 3);
    }
    bench.crash();
    bench.handle(alive(&bench, &[]));
    assert!(bench.fleet.trouble(V1).is_some());
    let acts = bench.acts_within(Duration::from_secs(5));
    assert_eq!(acts, [(4_000, "start v1-5".to_owned())]);
}

#[test]
fn a_lost_start_is_looked_for_and_ordered_again() {
    let mut bench = Bench::wanting(1, policy());
    assert_eq!(bench.acts(), ["start v1-1"]);
    let acts = bench.acts_within(Duration::from_secs(5));
    assert_eq!(acts, [(5_000, "observe".to_owned())]);
    bench.handle(alive(&bench, &[]));
    assert_eq!(bench.acts(), ["start v1-1"]);
}

#[test]
fn of_two_answers_to_a_start_that_was_ordered_twice_neither_is_final() {
    let mut bench = Bench::wanting(1, policy());
    bench.converge();
    bench.pass_time(Duration::from_secs(5));
    bench.handle(alive(&bench, &[]));
    assert_eq!(bench.acts(), ["start v1-1"]);
    let by = "nginx (pid 7)".to_owned();
    bench.not_started(1, SpawnError::PortTaken { by });
    assert_eq!(bench.acts(), ["stop v1-1", "start v1-2"]);
    bench.started(V1, 1);
    assert_eq!(bench.acts(), ["stop v1-1"]);
    assert_eq!(bench.seen(), "1 stopping, 2 ordered");
}

#[test]
fn a_later_view_without_an_instance_is_believed_only_when_it_is_repeated() {
    let mut bench = Bench::ready(1, policy());
    bench.pass_time(Duration::from_secs(30));
    bench.converge();
    bench.handle(alive(&bench, &[]));
    bench.handle(alive(&bench, &[]));
    assert_eq!(bench.seen(), "1 ready*");
    let acts = bench.acts_within(Duration::from_secs(5));
    assert!(acts.contains(&(5_000, "observe".to_owned())), "{acts:?}");
    bench.handle(alive(&bench, &[1]));
    bench.acts_within(Duration::from_secs(5));
    bench.handle(alive(&bench, &[]));
    assert_eq!(bench.seen(), "1 ready*", "it was seen in between");
    bench.acts_within(Duration::from_secs(5));
    bench.handle(alive(&bench, &[]));
    assert_eq!(bench.seen(), "");
    assert_eq!(bench.acts(), ["forget v1-1", "start v1-2"]);
}

#[test]
fn a_view_that_may_be_older_than_an_instance_says_nothing_about_it() {
    let mut bench = Bench::ready(1, policy());
    for _ in 0..5 {
        bench.handle(alive(&bench, &[]));
        bench.acts_within(Duration::from_secs(5));
        assert_eq!(bench.seen(), "1 ready*");
    }
    bench.acts_within(Duration::from_secs(5));
    bench.handle(alive(&bench, &[]));
    assert_eq!(bench.seen(), "");
}

#[test]
fn one_that_was_told_to_stop_before_it_ran_is_not_given_up_at_first_sight() {
    let mut bench = Bench::wanting(1, policy());
    bench.converge();
    bench.wanted.counts.clear();
    bench.converge();
    bench.crash();
    bench.handle(alive(&bench, &[]));
    assert_eq!(bench.acts(), ["stop v1-1"]);
    assert_eq!(bench.seen(), "1 stopping", "its start may be under way");
    bench.acts_within(Duration::from_secs(5));
    bench.handle(alive(&bench, &[]));
    assert_eq!(bench.acts(), ["forget v1-1"]);
}

#[test]
fn serials_of_unknown_processes_are_not_given_again() {
    let exit = Some(Exit::Code(0));
    for (serial, exit) in [(7, None), (9, exit)] {
        let mut bench = Bench::wanting(1, policy());
        let instance = bench.fleet.id(V1, serial);
        bench.handle(Input::Children(vec![Child { instance, exit }]));
        assert_eq!(bench.fleet.next_serial(), serial + 1);
    }
}

#[test]
fn a_start_of_one_that_nobody_knows_is_an_unknown_process() {
    let mut bench = Bench::ready(1, policy());
    bench.started(V1, 7);
    assert_eq!(bench.acts(), ["kill v1-7", "observe"]);
}

#[test]
fn what_contradicts_itself_is_looked_at_at_once() {
    let mut bench = Bench::ready(1, policy());
    let reason = "no such file".to_owned();
    bench.not_started(1, SpawnError::Unusable { reason });
    assert_eq!(bench.acts(), ["observe"]);
    assert_eq!(bench.seen(), "1 ready*");
}

#[test]
fn an_exit_that_was_never_heard_of_is_found() {
    let mut bench = Bench::ready(1, policy());
    let acts = bench.acts_within(Duration::from_secs(31));
    assert!(acts.iter().any(|(_, a)| a == "observe"), "{acts:?}");
}

#[test]
fn what_is_not_its_own_does_not_concern_a_fleet() {
    let mut bench = Bench::ready(1, policy());
    let before = bench.fleet.views();
    let strange = [("api", V1, 1), ("web", ReleaseId(7), 1)];
    for (service, release, serial) in strange {
        let instance = InstanceId {
            service: ServiceName::try_new(service).unwrap(),
            release,
            serial,
        };
        let exit = Exit::Code(1);
        bench.handle(Input::Exited {
            instance: instance.clone(),
            exit,
        });
        bench.handle(Input::Unrouted {
            instance: instance.clone(),
        });
        bench.handle(Input::Open {
            instance,
            requests: 0,
        });
    }
    assert_eq!(bench.fleet.views(), before);
    assert_eq!(bench.acts(), ["forget v7-1"], "ours, but long gone");
}
