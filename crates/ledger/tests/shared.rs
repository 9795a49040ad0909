//! Several processes and threads with one memory file.
#![expect(clippy::unwrap_used, reason = "a test fails where it is surprised")]

use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{Child, Command, Stdio};

use ledger::{Ledger, MapError, SIZE, WriterError};
use model::Revision;
use rustix::fs::MemfdFlags;
use traffic::{Cell, Dropped, Outcome, Phase, Rejected};

fn memory() -> OwnedFd {
    // Not closed on exec: the writer process below inherits it.
    let memory = rustix::fs::memfd_create("ledger", MemfdFlags::empty()).unwrap();
    rustix::fs::ftruncate(&memory, SIZE).unwrap();
    memory
}

fn count(ledger: &Ledger, cell: u32, outcome: Outcome) -> u64 {
    ledger.cell(Cell(cell)).outcome(Phase::Serving, outcome)
}

#[test]
fn two_mappings_of_one_file_are_one_ledger() {
    let memory = memory();
    let (one, two) = (Ledger::map(&memory).unwrap(), Ledger::map(&memory).unwrap());
    let writer = one.writer(1, 0).unwrap();
    writer.claim(Cell(7));
    assert_eq!(two.open(Cell(7)), 1);
    writer.end(Cell(7), Outcome::Status2xx);
    assert_eq!(two.open(Cell(7)), 0);
    assert_eq!(count(&two, 7, Outcome::Status2xx), 1);
}

#[test]
fn a_file_of_another_size_or_layout_is_refused() {
    let small = rustix::fs::memfd_create("ledger", MemfdFlags::CLOEXEC).unwrap();
    assert!(matches!(
        Ledger::map(&small),
        Err(MapError::Size { found: 0 })
    ));
    let other = memory();
    rustix::io::pwrite(&other, b"SOMETHIN", 0).unwrap();
    assert!(matches!(Ledger::map(&other), Err(MapError::Layout { .. })));
}

#[test]
fn untouched_cells_cost_no_memory() {
    let memory = memory();
    let ledger = Ledger::map(&memory).unwrap();
    let writer = ledger.writer(1, 0).unwrap();
    writer.claim(Cell(0));
    writer.end(Cell(0), Outcome::Status2xx);
    let bytes = rustix::fs::fstat(&memory).unwrap().st_blocks as u64 * 512;
    assert!(bytes < 256 * 1024, "{bytes} bytes are used");
}

#[test]
fn slots_are_limited_and_come_back() {
    let ledger = Ledger::map(memory()).unwrap();
    let mut writers: Vec<_> = (0..(ledger::SLOTS - ledger::SHADOW_SLOTS) as u32)
        .map(|thread| ledger.writer(1, thread).unwrap())
        .collect();
    assert_eq!(ledger.writer(2, 0).unwrap_err(), WriterError::Full);
    writers.pop();
    assert!(ledger.writer(2, 0).is_ok());
}

#[test]
fn a_table_is_confirmed_when_every_thread_of_every_worker_follows_it() {
    let ledger = Ledger::map(memory()).unwrap();
    assert!(ledger.confirmed(Revision(5)), "nobody is to be waited for");
    let (one, two) = (ledger.writer(1, 0).unwrap(), ledger.writer(2, 3).unwrap());
    one.confirm(Revision(5));
    let overdue = ledger.overdue(Revision(5));
    assert_eq!(overdue.len(), 1);
    assert_eq!((overdue[0].generation, overdue[0].thread), (2, 3));
    two.confirm(Revision(6));
    assert!(ledger.confirmed(Revision(5)));
    assert!(!ledger.confirmed(Revision(6)));
    drop(one);
    assert!(
        ledger.confirmed(Revision(6)),
        "a thread that has ended confirms nothing any more"
    );
}

#[test]
fn a_slot_that_changes_hands_starts_unconfirmed_and_keeps_its_totals() {
    let ledger = Ledger::map(memory()).unwrap();
    let writer = ledger.writer(1, 0).unwrap();
    writer.confirm(Revision(9));
    writer.claim(Cell(1));
    writer.end(Cell(1), Outcome::Status4xx);
    drop(writer);
    let _next = ledger.writer(2, 0).unwrap();
    assert!(!ledger.confirmed(Revision(9)));
    assert_eq!(count(&ledger, 1, Outcome::Status4xx), 1);
}

#[test]
fn outcomes_are_counted_by_whether_the_endpoint_was_told_at_that_moment() {
    let ledger = Ledger::map(memory()).unwrap();
    let writer = ledger.writer(1, 0).unwrap();
    writer.claim(Cell(4));
    writer.claim(Cell(4));
    writer.end(Cell(4), Outcome::Truncated);
    ledger.set_told(Cell(4), true);
    writer.end(Cell(4), Outcome::Truncated);
    let totals = ledger.cell(Cell(4));
    assert_eq!(totals.outcome(Phase::Serving, Outcome::Truncated), 1);
    assert_eq!(totals.outcome(Phase::Told, Outcome::Truncated), 1);
    assert_eq!(totals.ended(), 2);
}

#[test]
fn a_cell_is_reset_only_when_nobody_uses_it() {
    let ledger = Ledger::map(memory()).unwrap();
    let writer = ledger.writer(1, 0).unwrap();
    writer.claim(Cell(2));
    writer.latency(Cell(2), 500);
    assert!(!ledger.reset(Cell(2)));
    writer.end(Cell(2), Outcome::Status2xx);
    ledger.set_told(Cell(2), true);
    assert!(ledger.reset(Cell(2)));
    assert_eq!(ledger.cell(Cell(2)), ledger::CellTotals::default());
    writer.count(Cell(2), Outcome::TunnelOpened);
    assert_eq!(count(&ledger, 2, Outcome::TunnelOpened), 1);
}

#[test]
fn a_window_is_the_difference_of_two_snapshots() {
    let ledger = Ledger::map(memory()).unwrap();
    let writer = ledger.writer(1, 0).unwrap();
    let serve = |micros| {
        writer.claim(Cell(1));
        writer.latency(Cell(1), micros);
        writer.bytes(Cell(1), 3, 5);
        writer.end(Cell(1), Outcome::Status2xx);
        writer.request(Cell(9));
        writer.rejected(Some(Cell(9)), Rejected::NoEndpoint);
    };
    (0..10).for_each(|_| serve(1_000));
    let (before, service_before) = (ledger.cell(Cell(1)), ledger.service(Cell(9)));
    (0..5).for_each(|_| serve(100_000));
    let window = ledger.cell(Cell(1)).since(&before);
    assert_eq!(window.ended(), 5);
    assert_eq!((window.bytes_to, window.bytes_from), (15, 25));
    assert!(window.latency.percentile(5_000).unwrap() > 90_000);
    let service = ledger.service(Cell(9)).since(&service_before);
    assert_eq!(
        (service.requests, service.rejected(Rejected::NoEndpoint)),
        (5, 5)
    );
}

#[test]
fn a_gap_ends_with_a_response_of_any_thread() {
    let ledger = Ledger::map(memory()).unwrap();
    let (one, two) = (ledger.writer(1, 0).unwrap(), ledger.writer(1, 1).unwrap());
    let service = Cell(3);
    one.response_begins(service, 1_000_000, 1_010_000);
    two.response_begins(service, 1_005_000, 1_500_000);
    one.response_begins(service, 1_020_000, 1_520_000);
    assert_eq!(ledger.longest_gap(service, 0, 2_000_000), 490_000);
    two.response_never_begins(service, 2_000_000, 4_000_000);
    assert_eq!(ledger.longest_gap(service, 3_500_000, 4_000_000), 2_000_000);
}

#[test]
fn concurrent_threads_lose_no_count() {
    let memory = memory();
    let ledger = Ledger::map(&memory).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let writer = Ledger::map(&memory).unwrap().writer(1, thread).unwrap();
            scope.spawn(move || {
                for _ in 0..50_000 {
                    writer.claim(Cell(1));
                    writer.latency(Cell(1), 77);
                    writer.end(Cell(1), Outcome::Status2xx);
                }
            });
        }
        let mut last = 0;
        for _ in 0..1_000 {
            let now = count(&ledger, 1, Outcome::Status2xx);
            assert!(now >= last, "totals never go down");
            last = now;
        }
    });
    assert_eq!(count(&ledger, 1, Outcome::Status2xx), 200_000);
    assert_eq!(ledger.cell(Cell(1)).latency.count(), 200_000);
    assert_eq!(ledger.open(Cell(1)), 0);
}

/// This test binary again, as a worker that opens requests and then only waits.
fn worker(memory: &OwnedFd) -> Child {
    let program = std::env::current_exe().unwrap();
    let mut child = Command::new(program)
        .args(["--exact", "the_worker", "--nocapture", "--ignored"])
        .env("LEDGER_FD", memory.as_raw_fd().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("requests are open")));
    child
}

#[test]
#[ignore = "not a test of its own: the process that another test kills"]
fn the_worker() {
    let Ok(fd) = std::env::var("LEDGER_FD") else {
        return;
    };
    let memory = std::fs::File::open(format!("/proc/self/fd/{fd}"));
    drop(memory);
    let memory = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(format!("/proc/self/fd/{fd}"))
        .unwrap();
    let writer = Ledger::map(&memory).unwrap().writer(7, 0).unwrap();
    writer.confirm(Revision(3));
    writer.connection_begins();
    writer.reading_begins();
    writer.waiting_begins(Cell(5));
    for cell in [1, 1, 4_000] {
        writer.claim(Cell(cell));
    }
    writer.claim(Cell(2));
    writer.end(Cell(2), Outcome::Status2xx);
    writeln!(std::io::stdout(), "requests are open").unwrap();
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

#[test]
fn what_a_killed_worker_had_open_is_known_exactly_and_counted_once() {
    let memory = memory();
    let ledger = Ledger::map(&memory).unwrap();
    let mut worker = worker(&memory);
    assert_eq!(ledger.open(Cell(1)), 2);
    worker.kill().unwrap();
    worker.wait().unwrap();
    assert_eq!(ledger.open(Cell(1)), 2, "death alone changes nothing");
    assert!(!ledger.confirmed(Revision(4)));
    let dead = ledger.fold_dead(7);
    assert_eq!(dead.open, [(Cell(1), 2), (Cell(4_000), 1)]);
    assert_eq!(dead.waiting, [(Cell(5), 1)]);
    assert_eq!((dead.reading, dead.connections), (1, 1));
    assert_eq!(count(&ledger, 1, Outcome::Killed), 2);
    assert_eq!(count(&ledger, 4_000, Outcome::Killed), 1);
    assert_eq!(count(&ledger, 2, Outcome::Status2xx), 1);
    assert_eq!(ledger.service(Cell(5)).killed_waiting, 1);
    assert_eq!(ledger.slots().killed_reading, 1);
    assert_eq!(ledger.open(Cell(1)), 0);
    assert!(ledger.confirmed(Revision(4)));
    assert_eq!(ledger.fold_dead(7), ledger::Dead::default());
    assert_eq!(count(&ledger, 1, Outcome::Killed), 2);
}

#[test]
fn what_a_shadow_has_open_holds_up_a_drain_and_is_part_of_nothing_else() {
    let memory = memory();
    let ledger = Ledger::map(&memory).unwrap();
    let shadow = ledger.shadow_writer(7).unwrap();
    let writer = ledger.writer(7, 0).unwrap();
    shadow.claim(Cell(1));
    writer.claim(Cell(1));
    assert_eq!(
        (ledger.open(Cell(1)), ledger.open_requests(Cell(1))),
        (2, 1)
    );
    shadow.end(Cell(1), Outcome::Status5xx);
    writer.end(Cell(1), Outcome::Status2xx);
    assert_eq!(ledger.cell(Cell(1)).ended(), 1);
    assert_eq!(ledger.copies(Cell(1)).ended(), 1);
    assert_eq!(count(&ledger, 1, Outcome::Status5xx), 0);
}

#[test]
fn a_thread_that_asks_shadows_confirms_tables_like_any_other() {
    let memory = memory();
    let ledger = Ledger::map(&memory).unwrap();
    let shadow = ledger.shadow_writer(7).unwrap();
    assert!(!ledger.confirmed(Revision(1)));
    shadow.confirm(Revision(1));
    assert!(ledger.confirmed(Revision(1)));
}

#[test]
fn copies_of_a_killed_worker_are_counted_as_killed_and_as_nobodys_requests() {
    let memory = memory();
    let ledger = Ledger::map(&memory).unwrap();
    let shadow = ledger.shadow_writer(7).unwrap();
    shadow.claim(Cell(1));
    // A killed worker gives nothing back.
    std::mem::forget(shadow);
    assert_eq!(ledger.fold_dead(7), ledger::Dead::default());
    assert_eq!(ledger.open(Cell(1)), 0);
    assert_eq!(
        ledger
            .copies(Cell(1))
            .outcome(Phase::Serving, Outcome::Killed),
        1
    );
    assert_eq!(ledger.cell(Cell(1)).ended(), 0);
}

#[test]
fn reasons_for_not_copying_do_not_mix_with_those_for_rejecting() {
    let memory = memory();
    let ledger = Ledger::map(&memory).unwrap();
    let writer = ledger.writer(7, 0).unwrap();
    for reason in Dropped::ALL {
        writer.not_copied(Cell(3), reason);
    }
    for reason in Rejected::ALL {
        writer.rejected(Some(Cell(3)), reason);
    }
    let totals = ledger.service(Cell(3));
    assert_eq!(totals.not_copied, [1; Dropped::COUNT]);
    assert_eq!(totals.rejected, [1; Rejected::COUNT]);
}
