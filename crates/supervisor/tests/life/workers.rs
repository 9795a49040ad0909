//! A worker may die at any moment: nothing else does, and the next one finds everything.

use std::io::Read;
use std::net::TcpStream;

use crate::stage::{Ear, Stage, alive, eventually, kill};
use rustix::process::Signal;

#[test]
fn a_second_server_is_refused_and_names_the_first() {
    let (stage, _worker) = Stage::open();
    let mut second = stage.second_server();
    let mut said = String::new();
    second
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert!(!second.wait().unwrap().success());
    assert!(
        said.contains(&format!("(pid {})", stage.server_pid())),
        "{said}"
    );
}

#[test]
fn connections_made_while_no_worker_lives_are_accepted_by_the_next() {
    let (mut stage, mut worker) = Stage::open();
    let bound = worker.must("bind\t127.0.0.1:0");
    let (address, rest) = bound.split_once(' ').unwrap();
    assert!(rest.starts_with("2 "), "two sockets per address: {bound}");
    kill(worker.pid, Signal::KILL);
    let connections: Vec<TcpStream> = (0..20)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    let mut next = stage.next_worker();
    assert_eq!(next.generation, worker.generation + 1);
    assert_eq!(next.must("bind\t127.0.0.1:0"), bound, "the same sockets");
    assert_eq!(next.must("accept\t20"), "20");
    for mut connection in connections {
        connection.read_exact(&mut [0]).unwrap();
    }
    assert!(next.must("drops").ends_with(", 0)]"));
}

#[test]
fn a_released_address_refuses_connections() {
    let (_stage, mut worker) = Stage::open();
    let bound = worker.must("bind\t127.0.0.1:0");
    let address = bound.split_once(' ').unwrap().0.to_owned();
    TcpStream::connect(&address).unwrap();
    worker.must("release\t127.0.0.1:0");
    // The worker's own copies close when it binds something else.
    worker.must("bind\t127.0.0.1:0");
    assert!(TcpStream::connect(&address).is_err());
}

#[test]
fn an_address_of_a_stranger_is_refused_with_its_name_and_pid() {
    let stranger = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (_stage, mut worker) = Stage::open();
    let answer = worker.order(&format!("bind\t{}", stranger.local_addr().unwrap()));
    assert!(
        answer.contains(&format!("(pid {})", std::process::id())),
        "{answer}"
    );
}

#[test]
fn an_address_of_another_server_is_refused_although_its_sockets_share() {
    let (_first, mut holder) = Stage::open();
    let bound = holder.must("bind\t127.0.0.1:0");
    let (_second, mut worker) = Stage::open();
    let answer = worker.order(&format!("bind\t{}", bound.split_once(' ').unwrap().0));
    assert!(
        answer.starts_with("error") && answer.contains("in use"),
        "{answer}"
    );
}

#[test]
fn control_passes_to_the_next_worker_only_after_death_or_yield() {
    let (mut stage, mut worker) = Stage::open();
    assert!(
        worker
            .order("spawn\ta\tsleep\t60")
            .contains("another worker holds control")
    );
    assert_eq!(worker.must("control"), "true");
    worker.must("spawn\ta\tsleep\t60");
    worker.must("yield");
    assert!(
        worker
            .order("acknowledge\ta")
            .contains("another worker holds control")
    );
    assert_eq!(worker.must("control"), "true");
    kill(worker.pid, Signal::KILL);
    assert_eq!(stage.next_worker().must("control"), "true");
}

#[test]
fn no_core_file_is_written_of_server_and_worker_and_instances_are_as_the_server_began() {
    let (stage, mut worker) = Stage::open();
    let limit = |pid: u32| {
        let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        let line = limits
            .lines()
            .find(|line| line.starts_with("Max core file size"));
        let fields = line.unwrap().split_whitespace().skip(4).take(2);
        fields.map(str::to_owned).collect::<Vec<_>>()
    };
    let own = limit(std::process::id());
    worker.must("control");
    let child = worker.spawn_shell("a", "sleep 60");
    assert_eq!(limit(child), own);
    assert_eq!(limit(worker.pid), ["1", "1"]);
    assert_eq!(limit(stage.server_pid()), ["1", own[1].as_str()]);
}

#[test]
fn the_ledger_survives_the_worker() {
    let (mut stage, mut worker) = Stage::open();
    assert_eq!(worker.must("ledger\tfirst"), "4096");
    kill(worker.pid, Signal::KILL);
    assert_eq!(stage.next_worker().must("ledger\tsecond"), "4096 first");
}

#[test]
fn a_worker_that_keeps_dying_is_restarted_again_and_again() {
    let (mut stage, mut worker) = Stage::open();
    for generation in 1..=6 {
        assert_eq!(worker.generation, generation);
        kill(worker.pid, Signal::KILL);
        worker = stage.next_worker();
    }
}

#[test]
fn on_sigterm_the_worker_drains_and_everything_ends() {
    let (mut stage, mut worker) = Stage::open();
    worker.must("control");
    let stubborn = worker.spawn_shell(
        "stubborn",
        "trap '' TERM; sleep 60 & while :; do wait; done",
    );
    stage.signal(Signal::TERM);
    assert_eq!(worker.must("event"), "Terminate");
    assert!(
        alive(stubborn),
        "nothing is stopped before the worker has drained"
    );
    worker.must("stopped");
    assert!(stage.ended().success());
    assert!(!alive(stubborn) && !alive(worker.pid));
}

#[test]
fn a_second_sigterm_does_not_wait_for_the_worker() {
    let (mut stage, mut worker) = Stage::open();
    worker.must("control");
    let child = worker.spawn_shell("child", "sleep 60");
    stage.signal(Signal::TERM);
    assert_eq!(worker.must("event"), "Terminate");
    stage.signal(Signal::TERM);
    assert!(stage.ended().success());
    assert!(!alive(child) && !alive(worker.pid));
}

#[test]
fn the_worker_says_how_long_ending_may_take_and_systemd_hears_it() {
    let ear = Ear::open();
    let (mut stage, mut worker) = Stage::open_with(&["--notify", &ear.path()]);
    worker.must("control");
    worker.must("ending\t0");
    let child = worker.spawn_shell("child", "sleep 60");
    assert!(alive(child), "a server that does not end is not hurried");
    stage.signal(Signal::TERM);
    assert_eq!(worker.must("event"), "Terminate");
    assert_eq!(ear.said(), "STOPPING=1");
    // An hour and the half second that the stage's children have to stop.
    worker.must("ending\t3600000");
    assert_eq!(ear.said(), "EXTEND_TIMEOUT_USEC=3600500000");
    // No longer than a day, however long it says.
    worker.must("ending\t99999999999");
    assert_eq!(ear.said(), "EXTEND_TIMEOUT_USEC=86400500000");
    worker.must("ending\t0");
    assert!(stage.ended().success(), "what is over its limit is stopped");
    assert!(!alive(child) && !alive(worker.pid));
}

#[test]
fn a_worker_can_end_the_server_with_a_code() {
    let (mut stage, mut worker) = Stage::open();
    worker.must("stop\t7");
    assert_eq!(worker.must("event"), "Terminate");
    worker.must("stopped");
    assert_eq!(stage.ended().code(), Some(7));
}

#[test]
fn when_the_supervisor_dies_the_worker_is_told_and_the_next_server_finds_what_is_left() {
    let (stage, mut old) = Stage::open();
    old.must("control");
    let bound = old.must("bind\t127.0.0.1:0");
    let address = bound.split_once(' ').unwrap().0.to_owned();
    let child = old.spawn_shell("web/v1/1", "env -i sleep 60 & wait");
    let directory = stage.kill_server();
    assert!(old.order("event").contains("the supervisor is gone"));
    assert!(alive(child) && alive(old.pid));

    let (_stage, mut new) = Stage::open_in(directory);
    assert!(
        new.must(&format!("bind\t{address}")).starts_with(&address),
        "binds beside the old one"
    );
    let left = new.must("leftovers");
    assert!(left.contains(&format!("Worker {} -", old.pid)), "{left}");
    assert!(left.contains(&format!("Child {child} web/v1/1")), "{left}");
    new.must("control");
    new.must("stop-leftovers\tworker\t100");
    eventually("the old worker ends", || (!alive(old.pid)).then_some(()));
    assert!(alive(child), "children are stopped later");
    new.must("stop-leftovers\tchild\t100");
    eventually("nothing is left", || {
        (new.must("leftovers").is_empty()).then_some(())
    });
    assert!(!alive(child));
}

#[test]
fn systemd_is_told_when_the_server_serves_and_when_it_stops() {
    let ear = Ear::open();
    let (mut stage, mut worker) = Stage::open_with(&["--notify", &ear.path()]);
    worker.must("ready");
    assert_eq!(ear.said(), "READY=1");
    kill(worker.pid, Signal::KILL);
    // The next worker is ready as well, but that is no news.
    stage.next_worker().must("ready");
    stage.signal(Signal::TERM);
    assert_eq!(ear.said(), "STOPPING=1");
}

#[test]
fn a_worker_that_sends_nonsense_is_answered_or_ended_and_never_harms_the_server() {
    let (mut stage, mut worker) = Stage::open();
    worker.must("control");
    let child = worker.spawn_shell("a", "sleep 60");
    assert_eq!(worker.must("nonsense"), "refused");
    assert!(alive(child));
    kill(worker.pid, Signal::KILL);
    let mut next = stage.next_worker();
    assert_eq!(next.must("list"), format!("a {child} Running"));
}
