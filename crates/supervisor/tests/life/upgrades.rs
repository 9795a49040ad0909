//! A worker is replaced by one of another binary: control passes once, or comes back.

use std::io::Read;
use std::net::TcpStream;

use rustix::process::Signal;

use crate::stage::{Ear, Stage, Worker, alive, eventually, kill};

/// The program of all workers here.
const PROGRAM: &str = env!("CARGO_BIN_EXE_supervisor-stage");

/// A worker in control, and the one that is to take its place.
fn begun() -> (Stage, Worker, Worker) {
    let (mut stage, mut old) = Stage::open();
    old.must("control");
    old.must("introduce\told");
    assert_eq!(old.must(&format!("upgrade\t{PROGRAM}")), "2");
    let mut new = stage.next_worker();
    new.must("introduce\tnew");
    assert_eq!((new.generation, new.must("control").as_str()), (2, "false"));
    (stage, old, new)
}

#[test]
fn control_passes_when_the_new_worker_is_ready_and_the_old_one_retires_when_it_serves() {
    let (mut stage, mut old, mut new) = begun();
    let child = old.spawn_shell("child", "sleep 60");
    assert_eq!(new.must("workers"), "stage: 1 old;2 new");
    new.must("ready");
    assert_eq!(old.must("event"), "Yield");
    let late = old.spawn_shell("late", "sleep 60");
    old.must("yield");
    assert_eq!(new.must("event"), "Lead");
    assert_eq!(new.must("control"), "true");
    new.must("ready");
    assert_eq!(new.must("event"), "Upgraded(Done)");
    eventually("the old one is told", || {
        (old.must("event") == "Retire").then_some(())
    });
    assert_eq!(new.must("workers"), "stage: 1 old retired;2 new");
    new.must("publish\ta table");
    assert_eq!(old.must("event"), "Publisheda table");
    new.must("cut\t7");
    assert_eq!(old.must("event"), "Cut { cell: 7 }");
    kill(old.pid, Signal::KILL);
    assert_eq!(new.must("event"), "WorkerGone { generation: 1 }");
    assert!(alive(child) && alive(late));
    // The new one is the only one now: it is replaced when it dies.
    kill(new.pid, Signal::KILL);
    assert_eq!(stage.next_worker().generation, 3);
}

/// Goes through an upgrade to its end.
fn finish(old: &mut Worker, new: &mut Worker) {
    new.must("ready");
    assert_eq!(old.must("event"), "Yield");
    old.must("yield");
    assert_eq!(new.must("event"), "Lead");
    assert_eq!(new.must("control"), "true");
    new.must("ready");
    assert_eq!(new.must("event"), "Upgraded(Done)");
}

#[test]
fn the_supervisor_becomes_the_new_binary_and_still_holds_everything() {
    let (stage, mut old, mut new) = begun();
    let pid = stage.server_pid();
    let started = || std::fs::read(format!("/proc/{pid}/environ")).unwrap();
    let before = started();
    let bound = old.must("bind\t127.0.0.1:0");
    let address = bound.split_once(' ').unwrap().0.to_owned();
    let waiting: Vec<_> = (0..20)
        .map(|_| TcpStream::connect(&address).unwrap())
        .collect();
    old.must("ledger\tkept");
    let child = old.spawn_shell("child", "echo before; read never < /dev/zero; sleep 60");
    finish(&mut old, &mut new);
    assert!(
        started() != before,
        "the environment tells of the handover: it was executed anew"
    );
    assert_eq!(new.must("bind\t127.0.0.1:0"), bound, "the same sockets");
    assert_eq!(
        new.must("accept\t20"),
        "20",
        "nobody who waited in them was lost"
    );
    for mut connection in waiting {
        connection.read_exact(&mut [0]).unwrap();
    }
    assert_eq!(new.must("ledger\tagain"), "4096 kept");
    assert_eq!(new.must("list"), format!("child {child} Running"));
    assert!(new.must("take\tchild").contains("before"));
    let mut second = stage.second_server();
    assert!(!second.wait().unwrap().success(), "the lock is still held");
    kill(child, Signal::KILL);
    assert!(
        new.must("event")
            .starts_with("Exited { key: Key(\"child\")"),
        "it still reaps"
    );
    new.must("acknowledge\tchild");
    assert_eq!(new.must(&format!("upgrade\t{PROGRAM}")), "3", "and again");
}

#[test]
fn systemd_hears_of_a_reload_and_that_the_server_is_ready_again() {
    let ear = Ear::open();
    let (mut stage, mut old) = Stage::open_with(&["--notify", &ear.path()]);
    old.must("control");
    old.must("ready");
    assert_eq!(ear.said(), "READY=1");
    old.must(&format!("upgrade\t{PROGRAM}"));
    let reloading = ear.said();
    assert!(
        reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="),
        "{reloading}"
    );
    let mut new = stage.next_worker();
    finish(&mut old, &mut new);
    assert_eq!(ear.said(), "READY=1");
}

#[test]
fn a_new_worker_that_dies_or_is_unfit_leaves_the_old_one_in_control() {
    let (_stage, mut old, mut new) = begun();
    assert!(
        old.order(&format!("upgrade\t{PROGRAM}"))
            .contains("under way already")
    );
    new.must("unfit\tthe journal is in a tongue of its own");
    kill(new.pid, Signal::KILL);
    let told = old.must("event");
    assert!(
        told.starts_with("Upgraded(Failed") && told.contains("of its own"),
        "{told}"
    );
    assert!(old.must("spawn\ta\ttrue").parse::<u32>().is_ok());
}

#[test]
fn a_new_worker_that_dies_with_control_gives_it_back() {
    let (_stage, mut old, mut new) = begun();
    new.must("ready");
    assert_eq!(old.must("event"), "Yield");
    old.must("yield");
    assert_eq!(new.must("event"), "Lead");
    assert_eq!(new.must("control"), "true");
    kill(new.pid, Signal::KILL);
    assert_eq!(old.must("event"), "Lead");
    let told = old.must("event");
    assert!(
        told.contains("did not serve") && told.contains("signal"),
        "{told}"
    );
    assert_eq!(old.must("control"), "true");
    assert!(
        old.must(&format!("upgrade\t{PROGRAM}"))
            .parse::<u64>()
            .is_ok()
    );
}

#[test]
fn a_new_worker_that_hangs_is_ended_and_the_old_one_goes_on() {
    let (mut stage, mut old) = Stage::open_with(&["--impatient"]);
    old.must("control");
    old.must(&format!("upgrade\t{PROGRAM}"));
    let new = stage.next_worker();
    let told = old.must("event");
    assert!(
        told.contains("was not ready to take control within"),
        "{told}"
    );
    eventually("it is ended", || (!alive(new.pid)).then_some(()));
    assert!(old.must("spawn\ta\ttrue").parse::<u32>().is_ok());
}

#[test]
fn a_worker_that_yields_for_an_upgrade_that_failed_meanwhile_leads_again() {
    let (_stage, mut old, mut new) = begun();
    new.must("ready");
    assert_eq!(old.must("event"), "Yield");
    kill(new.pid, Signal::KILL);
    assert!(old.must("event").starts_with("Upgraded(Failed"));
    old.must("yield");
    assert_eq!(old.must("event"), "WorkerGone { generation: 2 }");
    assert_eq!(old.must("event"), "Lead");
    assert_eq!(old.must("control"), "true");
}

#[test]
fn an_old_worker_that_dies_during_the_change_is_replaced_by_the_new_one() {
    let (_stage, old, mut new) = begun();
    kill(old.pid, Signal::KILL);
    assert_eq!(new.must("event"), "WorkerGone { generation: 1 }");
    new.must("ready");
    assert_eq!(new.must("event"), "Lead");
    assert_eq!(new.must("control"), "true");
    new.must("ready");
    assert_eq!(new.must("event"), "Upgraded(Done)");
}

#[test]
fn a_program_that_cannot_be_run_is_refused_with_its_name() {
    let (stage, mut old) = Stage::open();
    assert!(
        old.order(&format!("upgrade\t{PROGRAM}"))
            .contains("holds control")
    );
    old.must("control");
    for program in ["/absent/gapless", "relative", "/etc/passwd"] {
        let answer = old.order(&format!("upgrade\t{program}"));
        assert!(
            answer.starts_with("error") && answer.contains(program),
            "{answer}"
        );
    }
    drop(stage);
}

#[test]
fn sigterm_during_an_upgrade_ends_the_server_through_the_old_worker() {
    let (mut stage, mut old, new) = begun();
    stage.signal(Signal::TERM);
    assert!(old.must("event").contains("the server is ending"));
    assert_eq!(old.must("event"), "Terminate");
    old.must("stopped");
    assert!(stage.ended().success());
    assert!(!alive(old.pid) && !alive(new.pid));
}

#[test]
fn workers_of_neighbouring_versions_are_let_in_and_told_only_what_they_know() {
    let (_stage, mut old, mut new) = begun();
    for (version, answer) in [("0", "refused"), ("1", "3"), ("3", "3"), ("9", "3")] {
        assert_eq!(
            new.must(&format!("hello\t{version}")),
            answer,
            "version {version}"
        );
    }
    new.must("hello\t1");
    old.must("publish\ta table");
    new.must("hello\t3");
    old.must("publish\tanother table");
    assert_eq!(new.must("event"), "Publishedanother table");
}
