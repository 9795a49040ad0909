use std::os::fd::OwnedFd;

use model::{Carrier, InstanceId, Outcome as RolloutOutcome};
use traffic::{Outcome, Rejected};

use super::*;

fn ledger() -> Ledger {
    let fd: OwnedFd = tempfile::tempfile().unwrap().into();
    rustix::fs::ftruncate(&fd, ledger::SIZE).unwrap();
    Ledger::map(fd).unwrap()
}

fn instance(release: u32, serial: u32) -> InstanceId {
    InstanceId {
        service: ServiceName::try_new("web").unwrap(),
        release: ReleaseId(release),
        serial,
    }
}

fn opening(from_ready: bool) -> Opening {
    Opening {
        rollout: RolloutId(9),
        service: ServiceName::try_new("web").unwrap(),
        from: Some(ReleaseId(1)),
        from_ready,
        to: ReleaseId(2),
        label: None,
        strategy: "rolling".to_owned(),
        began: Time(10_000),
        began_wall_ms: 0,
        before: None,
        gap_before_micros: Some(1),
    }
}

const SERVICE: Cell = Cell(0);
const OLD: Cell = Cell(1);
const NEW: Cell = Cell(2);

fn sources<'a>(ledger: &'a Ledger, drops: &'a [(String, u64)]) -> Sources<'a> {
    Sources {
        ledger,
        service: Some(SERVICE),
        drops,
        micros: 5_000_000,
    }
}

fn ended() -> Ended {
    Ended {
        outcome: RolloutOutcome::Completed,
        reason: "v2 has all traffic".to_owned(),
    }
}

fn opened(ledger: &Ledger, from_ready: bool) -> Account {
    let cells = [(OLD, instance(1, 1)), (NEW, instance(2, 2))];
    Account::open(opening(from_ready), &cells, &sources(ledger, &[]))
}

#[test]
fn lost_failed_and_cut_are_told_apart() {
    let ledger = ledger();
    let writer = ledger.writer(1, 0).unwrap();
    let attempt = |cell, outcome| {
        writer.request(SERVICE);
        writer.claim(cell);
        writer.end(cell, outcome);
    };
    attempt(OLD, Outcome::Truncated);
    let mut account = opened(&ledger, true);
    attempt(OLD, Outcome::Status2xx);
    attempt(NEW, Outcome::Status5xx);
    // A request that goes on elsewhere.
    writer.request(SERVICE);
    writer.claim(NEW);
    writer.end(NEW, Outcome::ConnectRepeated);
    writer.claim(OLD);
    writer.end(OLD, Outcome::Status2xx);
    ledger.set_told(OLD, true);
    attempt(OLD, Outcome::Truncated);
    for carrier in [Carrier::Request, Carrier::Websocket, Carrier::Websocket] {
        attempt(OLD, Outcome::Cut);
        writer.cut(SERVICE, carrier);
    }
    account.close(ended(), Time(12_500));
    account.look(&sources(&ledger, &[]));
    let receipt = account.receipt(Time(13_500));
    assert_eq!(receipt.requests, Some(7));
    assert_eq!(receipt.lost, Some(1));
    assert_eq!(receipt.lost_by_reason[&model::Lost::Truncated], 1);
    assert_eq!(receipt.failed_by_release, Some(1));
    assert_eq!(receipt.cut, Some(3));
    let by = [("requests", 1), ("websockets", 2)].map(|(name, count)| (name.to_owned(), count));
    assert_eq!(receipt.cut_by, by.into());
    assert_eq!(receipt.by_release["v2"].retried, 1);
    assert_eq!(receipt.by_release["v2"].failed, 1);
    assert_eq!(receipt.by_release["v1"].responses["2xx"], 2);
    assert!((receipt.seconds - 2.5).abs() < 1e-9);
}

#[test]
fn a_request_without_endpoint_is_lost_unless_there_was_none_before() {
    for (from_ready, lost) in [(true, 2), (false, 0)] {
        let ledger = ledger();
        let writer = ledger.writer(1, 0).unwrap();
        let mut account = opened(&ledger, from_ready);
        for _ in 0..2 {
            writer.request(SERVICE);
            writer.rejected(Some(SERVICE), Rejected::NoEndpoint);
        }
        account.look(&sources(&ledger, &[]));
        let receipt = account.receipt(Time(11_000));
        assert_eq!(receipt.lost, Some(lost));
        assert_eq!(receipt.rejected["no_endpoint"], 2);
    }
}

#[test]
fn what_a_person_held_back_is_told_and_is_not_lost() {
    let ledger = ledger();
    let writer = ledger.writer(1, 0).unwrap();
    let mut account = opened(&ledger, true);
    // One goes on after the pause, one is given up, and others are turned away.
    for _ in 0..2 {
        writer.request(SERVICE);
        writer.held(SERVICE);
    }
    writer.held_left(SERVICE);
    writer.claim(OLD);
    writer.end(OLD, Outcome::Status2xx);
    for reason in [Rejected::Paused, Rejected::Maintenance] {
        writer.request(SERVICE);
        writer.rejected(Some(SERVICE), reason);
    }
    account.look(&sources(&ledger, &[]));
    let receipt = account.receipt(Time(11_000));
    assert_eq!((receipt.requests, receipt.lost), (Some(4), Some(0)));
    let paused = receipt.paused;
    assert_eq!((paused.held, paused.left, paused.refused), (2, 1, 1));
    assert_eq!(receipt.rejected["maintenance"], 1);
}

#[test]
fn a_request_of_which_nobody_knows_what_became_is_lost() {
    let ledger = ledger();
    let writer = ledger.writer(1, 0).unwrap();
    // Open at the begin and at the end: neither is unknown.
    writer.request(SERVICE);
    writer.claim(OLD);
    let mut account = opened(&ledger, true);
    writer.end(OLD, Outcome::Status2xx);
    writer.request(SERVICE);
    writer.waiting_begins(SERVICE);
    account.look(&sources(&ledger, &[]));
    assert_eq!(account.receipt(Time(11_000)).lost, Some(0));
    // The client of the waiting one goes away.
    writer.waiting_ends(SERVICE);
    account.look(&sources(&ledger, &[]));
    let receipt = account.receipt(Time(11_000));
    assert_eq!(receipt.lost_by_reason[&model::Lost::Unknown], 1);
    // When a worker died meanwhile, it may have been open in that one.
    account.note_dead_worker();
    let receipt = account.receipt(Time(11_000));
    assert_eq!((receipt.lost, receipt.cut), (Some(0), Some(1)));
}

#[test]
fn refused_connections_are_lost() {
    let ledger = ledger();
    let drops = |count| [("127.0.0.1:80".to_owned(), count)];
    let mut account = Account::open(opening(true), &[], &sources(&ledger, &drops(40)));
    account.look(&sources(&ledger, &drops(43)));
    let receipt = account.receipt(Time(11_000));
    assert_eq!((receipt.refused, receipt.lost), (Some(3), Some(3)));
}

#[test]
fn what_a_dead_worker_had_open_is_cut_once_and_the_account_goes_on() {
    let ledger = ledger();
    let writer = ledger.writer(1, 0).unwrap();
    let account = opened(&ledger, true);
    for _ in 0..3 {
        writer.request(SERVICE);
        writer.claim(OLD);
    }
    let written = serde_json::to_string(&account).unwrap();
    // A killed worker runs no destructor.
    std::mem::forget(writer);
    ledger.fold_dead(1);
    ledger.fold_dead(1);
    let mut account: Account = serde_json::from_str(&written).unwrap();
    account.look(&sources(&ledger, &[]));
    let receipt = account.receipt(Time(11_000));
    assert_eq!((receipt.cut, receipt.lost), (Some(3), Some(0)));
    assert_eq!(receipt.requests, Some(3));
}

#[test]
fn the_requests_of_a_receipt_add_up() {
    let ledger = ledger();
    let writer = ledger.writer(1, 0).unwrap();
    let arrive = |cell| {
        writer.request(SERVICE);
        writer.claim(cell);
    };
    arrive(OLD);
    let mut account = opened(&ledger, true);
    writer.end(OLD, Outcome::Status2xx);
    arrive(OLD);
    writer.end(OLD, Outcome::ClientGone);
    arrive(NEW);
    writer.end(NEW, Outcome::ConnectRepeated);
    writer.claim(OLD);
    writer.end(OLD, Outcome::Status2xx);
    writer.request(SERVICE);
    writer.rejected(Some(SERVICE), Rejected::Overload);
    writer.request(SERVICE);
    writer.waiting_begins(SERVICE);
    arrive(NEW);
    // A worker died after it had counted this one and before it had claimed an endpoint.
    writer.request(SERVICE);
    account.note_dead_worker();
    account.look(&sources(&ledger, &[]));
    let receipt = account.receipt(Time(11_000));
    let balance = receipt.balance.unwrap();
    let by_release: u64 = receipt.by_release.values().map(|own| own.requests).sum();
    assert_eq!((balance.open_at_begin, balance.open_at_end), (1, 2));
    assert_eq!((by_release, balance.without_release), (3, 2));
    assert_eq!(receipt.cut, Some(1));
    assert_eq!(
        receipt.requests.unwrap() + balance.open_at_begin,
        by_release + balance.without_release + balance.open_at_end
    );
}

#[test]
fn a_request_at_two_endpoints_is_one_request_whenever_the_account_begins_and_ends() {
    let ledger = ledger();
    let writer = ledger.writer(1, 0).unwrap();
    let double = || {
        writer.request(SERVICE);
        writer.claim(OLD);
        writer.claim(NEW);
        writer.doubles(SERVICE);
    };
    double();
    let mut account = opened(&ledger, true);
    // The first one answers, and the other attempt is taken back.
    writer.doubles_no_more(SERVICE);
    writer.unclaim(NEW);
    writer.end(OLD, Outcome::Status2xx);
    double();
    account.look(&sources(&ledger, &[]));
    let receipt = account.receipt(Time(11_000));
    let balance = receipt.balance.unwrap();
    assert_eq!((balance.open_at_begin, balance.open_at_end), (1, 1));
    assert_eq!((receipt.lost, balance.without_release), (Some(0), 0));
    // What a killed worker had at two endpoints is at none.
    std::mem::forget(writer);
    ledger.fold_dead(1);
    assert_eq!(ledger.doubled(SERVICE), 0);
}

#[test]
fn what_is_noted_is_written_down_once() {
    let ledger = ledger();
    let mut account = opened(&ledger, true);
    assert!(account.take_unwritten());
    assert!(!account.take_unwritten());
    account.look(&sources(&ledger, &[]));
    assert!(!account.take_unwritten(), "the ledger keeps the counts");
    account.note_dead_worker();
    assert!(account.take_unwritten());
}

#[test]
fn latency_afterwards_counts_from_the_receipt() {
    let ledger = ledger();
    let writer = ledger.writer(1, 0).unwrap();
    let mut account = opened(&ledger, true);
    let whole = |micros| {
        writer.claim(NEW);
        writer.latency(NEW, micros);
        writer.end(NEW, Outcome::Status2xx);
    };
    (0..100).for_each(|_| whole(1_000));
    account.close(ended(), Time(11_000));
    assert_eq!(account.due(), Some(Time(12_000)));
    account.look(&sources(&ledger, &[]));
    let receipt = account.receipt(Time(12_000));
    assert!(receipt.latency_ms.during.is_some());
    assert_eq!(receipt.latency_ms.after, None);
    assert_eq!(account.after(), None);
    assert_eq!(account.due(), Some(Time(42_000)));
    (0..10).for_each(|_| whole(64_000));
    account.look(&sources(&ledger, &[]));
    let after = account.after().unwrap();
    assert!(after.p50_micros > 60_000, "{after:?}");
}

#[test]
fn a_service_without_traffic_has_no_figures() {
    let ledger = ledger();
    let sources = Sources {
        ledger: &ledger,
        service: None,
        drops: &[],
        micros: 1,
    };
    let mut account = Account::open(opening(true), &[], &sources);
    account.look(&sources);
    let receipt = account.receipt(Time(11_000));
    assert_eq!((receipt.requests, receipt.lost), (None, None));
    assert_eq!(receipt.longest_gap_ms, None);
}

fn key(step: u32) -> model::ShadowKey {
    model::ShadowKey {
        rollout: RolloutId(9),
        step,
        round: 0,
    }
}

/// So many requests, none of which differs.
fn equal(requests: u32) -> verdict::Tally {
    let mut tally = verdict::Tally::default();
    (0..requests).for_each(|_| tally.add("GET /", Some(&verdict::Found::default())));
    tally
}

#[test]
fn copies_are_accounted_for_apart() {
    let ledger = ledger();
    let shadow = ledger.shadow_writer(1).unwrap();
    let mut account = opened(&ledger, true);
    let writer = ledger.writer(1, 0).unwrap();
    writer.request(SERVICE);
    writer.claim(OLD);
    shadow.claim(NEW);
    writer.end(OLD, Outcome::Status2xx);
    shadow.end(NEW, Outcome::Status5xx);
    writer.not_copied(SERVICE, traffic::Dropped::Full);
    account.look(&sources(&ledger, &[]));
    account.close(ended(), Time(20_000));
    let receipt = account.receipt(Time(20_000));
    assert_eq!(
        (receipt.requests, receipt.lost, receipt.failed_by_release),
        (Some(1), Some(0), Some(0))
    );
    assert_eq!(receipt.by_release["v2"].requests, 0);
    assert_eq!(receipt.shadow.by_release["v2"].responses["5xx"], 1);
    assert!(!receipt.shadow.by_release.contains_key("v1"));
    assert_eq!(receipt.shadow.dropped["full"], 1);
}

#[test]
fn what_comparing_has_found_is_added_up_over_workers() {
    let ledger = ledger();
    let mut account = opened(&ledger, true);
    assert_eq!(account.note_found(key(1), Some(equal(10))).compared, 10);
    // What is known of the same worker is not counted again.
    assert_eq!(account.note_found(key(1), Some(equal(12))).compared, 12);
    let written = serde_json::to_string(&account).unwrap();
    let mut account: Account = serde_json::from_str(&written).unwrap();
    account.begin_worker();
    assert_eq!(account.note_found(key(1), None).compared, 12);
    assert_eq!(account.note_found(key(1), Some(equal(5))).compared, 17);
    assert_eq!(account.note_found(key(2), Some(equal(3))).compared, 3);
    let compared = account.receipt(Time(20_000)).shadow.compared;
    let counts: Vec<(u32, u64)> = compared
        .iter()
        .map(|one| (one.step, one.compared))
        .collect();
    assert_eq!(counts, [(1, 17), (2, 3)]);
}
