//! Children: started once, known until acknowledged, gone with everything they began.

use std::net::TcpListener;

use crate::stage::{Stage, alive, eventually, kill, pid_in};
use rustix::process::Signal;

#[test]
fn a_repeated_spawn_returns_the_same_child() {
    let (mut stage, mut worker) = Stage::open();
    worker.must("control");
    let first = worker.spawn_shell("a", "sleep 60");
    assert_eq!(worker.spawn_shell("a", "sleep 60"), first);
    kill(worker.pid, Signal::KILL);
    let mut next = stage.next_worker();
    next.must("control");
    assert_eq!(next.spawn_shell("a", "sleep 60"), first);
    assert_eq!(next.must("list"), format!("a {first} Running"));
}

#[test]
fn an_exit_status_is_kept_until_acknowledged_even_across_workers() {
    let (mut stage, mut worker) = Stage::open();
    worker.must("control");
    let pid = worker.spawn_shell("a", "sleep 0.05; exit 3");
    assert_eq!(
        worker.must("event"),
        r#"Exited { key: Key("a"), status: Code { code: 3 } }"#
    );
    kill(worker.pid, Signal::KILL);
    let mut next = stage.next_worker();
    next.must("control");
    assert_eq!(
        next.must("list"),
        format!("a {pid} Exited(Code {{ code: 3 }})")
    );
    next.must("acknowledge\ta");
    assert_eq!(next.must("list"), "");
    assert!(
        next.order("acknowledge\ta")
            .contains("no child has that key")
    );
}

#[test]
fn a_running_child_cannot_be_acknowledged() {
    let (_stage, mut worker) = Stage::open();
    worker.must("control");
    worker.spawn_shell("a", "sleep 60");
    assert!(worker.order("acknowledge\ta").contains("still runs"));
}

#[test]
fn a_program_that_does_not_exist_is_named() {
    let (_stage, mut worker) = Stage::open();
    worker.must("control");
    let answer = worker.order("spawn\ta\t/no/such/program");
    assert!(
        answer.contains("cannot start /no/such/program: No such file"),
        "{answer}"
    );
    assert_eq!(worker.must("list"), "");
}

#[test]
fn a_child_begins_with_a_clean_process() {
    let (_stage, mut worker) = Stage::open();
    worker.must("control");
    let script = "env; echo end; ls -l /proc/self/fd | wc -l; readlink /proc/self/fd/0";
    worker.spawn_shell("a", script);
    worker.must("event");
    let taken = worker.must("take\ta");
    let (environment, rest) = taken.split_once(" end ").unwrap();
    for name in ["GAPLESS_KEY=a", "GAPLESS_SERVER=", "PATH="] {
        assert!(environment.contains(name), "{name} in {environment}");
    }
    for name in ["HOME=", "GAPLESS_SUPERVISOR=", "CARGO"] {
        assert!(!environment.contains(name), "{name} in {environment}");
    }
    // Standard streams and the directory that `ls` reads, with the total.
    assert!(rest.starts_with('5'), "{rest}");
    assert!(rest.contains("/dev/null"), "{rest}");
}

#[test]
fn a_child_begins_with_no_signal_blocked_or_ignored() {
    let (_stage, mut worker) = Stage::open();
    worker.must("control");
    // No shell: it would tidy up by itself.
    worker.must("spawn\ta\tgrep\tSig\t/proc/self/status");
    worker.must("event");
    let taken = worker.must("take\ta");
    let mask = |name: &str| {
        let (_, after) = taken.split_once(name).unwrap();
        u64::from_str_radix(after.split_whitespace().next().unwrap(), 16).unwrap()
    };
    // The C library keeps signals 32 and 33 for itself.
    assert_eq!(
        (mask("SigBlk:"), mask("SigIgn:") & !(3 << 31)),
        (0, 0),
        "{taken}"
    );
}

#[test]
fn a_group_kill_leaves_no_daemon_behind() {
    let files = tempfile::tempdir().unwrap();
    let path = |name: &str| files.path().join(name);
    let (_stage, mut worker) = Stage::open();
    worker.must("control");
    // One in the group, one in a session of its own, one that also has another environment.
    let script = format!(
        "sleep 60 & echo $! > {}; setsid sh -c 'echo $$ > {}; exec sleep 60' & \
         env -i setsid sh -c 'echo $$ > {}; exec sleep 60' & trap '' TERM; while :; do wait; done",
        path("group").display(),
        path("session").display(),
        path("clean").display()
    );
    let main = worker.spawn_shell("a", &script);
    let others = [path("group"), path("session"), path("clean")].map(|file| pid_in(&file));
    worker.must("signal\ta\t15\tgroup");
    assert!(alive(main), "it ignores SIGTERM");
    worker.must("signal\ta\t9\tgroup");
    let all = || others.iter().chain([&main]);
    eventually("all are gone", || {
        all().all(|pid| !alive(*pid)).then_some(())
    });
}

#[test]
fn acknowledging_ends_a_daemon_whose_parent_has_gone() {
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("daemon");
    let (_stage, mut worker) = Stage::open();
    worker.must("control");
    let script = format!(
        "setsid sh -c 'echo $$ > {}; exec sleep 60' & sleep 0.1; exit 0",
        file.display()
    );
    worker.spawn_shell("a", &script);
    let daemon = pid_in(&file);
    worker.must("event");
    assert!(alive(daemon));
    worker.must("acknowledge\ta");
    eventually("the daemon is gone", || (!alive(daemon)).then_some(()));
}

#[test]
fn orphans_are_reaped() {
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("orphan");
    let (stage, mut worker) = Stage::open();
    worker.must("control");
    let script = format!(
        "sh -c 'sleep 0.1 & echo $! > {}' ; sleep 60",
        file.display()
    );
    worker.spawn_shell("a", &script);
    let orphan = pid_in(&file);
    eventually("the orphan is no zombie", || {
        (!std::path::Path::new(&format!("/proc/{orphan}")).exists()).then_some(())
    });
    assert!(alive(stage.server_pid()));
}

#[test]
fn output_is_kept_while_no_worker_reads_and_never_blocks_the_program() {
    let (mut stage, mut worker) = Stage::open();
    worker.must("control");
    worker.spawn_shell("a", "echo first; sleep 0.2; head -c 3000000 /dev/zero | tr '\\0' x; echo last >&2; exec sleep 60");
    // The first worker takes the pipes, never reads them, and dies.
    worker.must("take\ta");
    kill(worker.pid, Signal::KILL);
    let mut next = stage.next_worker();
    next.must("control");
    let taken = eventually("all was written", || {
        let taken = next.must("take\ta");
        kill(next.pid, Signal::KILL);
        next = stage.next_worker();
        next.must("control");
        taken.contains("last").then_some(taken)
    });
    assert!(taken.starts_with("true "), "{}", &taken[..40]);
}

#[test]
fn a_flood_into_the_ring_keeps_the_end_and_counts_the_rest() {
    let (_stage, mut worker) = Stage::open();
    worker.must("control");
    worker.spawn_shell("a", "head -c 1000000 /dev/zero | tr '\\0' x; echo end");
    assert!(worker.must("event").contains("code: 0"));
    let taken = eventually("the pipe is at its end", || {
        let taken = worker.must("take\ta");
        taken.starts_with("false").then_some(taken)
    });
    let (stdout, stderr) = taken.split_once('|').unwrap();
    let fields: Vec<&str> = stdout.splitn(4, ' ').collect();
    assert_eq!(
        (fields[1], fields[2]),
        ("934468", "65536"),
        "dropped and kept are all"
    );
    assert!(fields[3].trim_end().ends_with("xend"));
    assert_eq!(stderr.trim(), "false 0 0");
}

#[test]
fn the_owner_of_a_port_is_the_child_or_a_named_stranger() {
    let (_stage, mut worker) = Stage::open();
    worker.must("control");
    let stranger = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = stranger.local_addr().unwrap().port();
    let own = std::process::id();
    let answer = worker.must(&format!("owners\t{port}"));
    assert!(
        answer.starts_with(&format!("{own} ")) && answer.ends_with(" -"),
        "{answer}"
    );
    drop(stranger);
    assert_eq!(worker.must(&format!("owners\t{port}")), "");
    // The listener is a helper of the child, in a session of its own.
    let python = format!(
        "import socket,time; s=socket.socket(); s.bind((\\\"127.0.0.1\\\",{port})); s.listen(); time.sleep(60)"
    );
    worker.spawn_shell(
        "web/v1/1",
        &format!(
            "setsid python3 -c \"{}\" & wait",
            python.replace("\\\"", "'")
        ),
    );
    let answer = eventually("it listens", || {
        let answer = worker.must(&format!("owners\t{port}"));
        (!answer.is_empty()).then_some(answer)
    });
    assert!(answer.ends_with(" web/v1/1"), "{answer}");
    assert_eq!(
        worker.must("listening\tweb/v1/1"),
        format!("127.0.0.1:{port}")
    );
    assert_eq!(worker.must("listening\tweb/v1/2"), "");
}

#[test]
fn a_large_environment_reaches_the_child() {
    let (_stage, mut worker) = Stage::open();
    worker.must("control");
    // Arguments travel as the environment does: beyond the length of one message.
    let words = "w".repeat(120_000);
    worker.must(&format!("spawn\ta\tsh\t-c\techo ${{#1}}\tsh\t{words}"));
    worker.must("event");
    let taken = worker.must("take\ta");
    assert!(taken.contains("120000"), "{taken}");
}

#[test]
fn a_child_runs_as_whom_it_is_told_and_root_only_if_allowed() {
    let nobody = "65534";
    let (_stage, mut worker) = Stage::open();
    worker.must("control");
    let answer = worker.order(&format!("spawn-as\t{nobody}\ta\tid\t-u"));
    if !rustix::process::geteuid().is_root() && answer.starts_with("error") {
        // Only root may become somebody else: it says so and starts nothing.
        assert!(answer.contains("Operation not permitted"), "{answer}");
        assert_eq!(worker.must("list"), "");
        return;
    }
    worker.must("event");
    assert!(worker.must("take\ta").contains(&format!(" {nobody} ")));
}

#[test]
fn a_child_of_root_is_refused_where_the_server_does_not_allow_it() {
    let (_stage, mut worker) = Stage::open_with(&["--no-root"]);
    worker.must("control");
    let answer = worker.order("spawn-as\t0\ta\tid\t-u");
    assert!(answer.contains("may not run as root"), "{answer}");
    assert_eq!(worker.must("list"), "");
}
