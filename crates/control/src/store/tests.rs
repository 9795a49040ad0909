use std::collections::BTreeMap;

use model::{Argv, Digest, Limits, Port, Release, ReleaseId, ReleaseSpec, RolloutId, ServiceName};
use model::{JobKind, Stop};

use super::*;

fn fresh() -> (tempfile::TempDir, Store) {
    let state = tempfile::tempdir().unwrap();
    let mut store = Store::open(state.path()).unwrap();
    store.take_control().unwrap();
    (state, store)
}

fn web() -> ServiceName {
    ServiceName::try_new("web").unwrap()
}

fn entries(key: &str, value: &str) -> BTreeMap<String, Option<String>> {
    BTreeMap::from([(key.to_owned(), Some(value.to_owned()))])
}

fn release(number: u32, env: &str) -> Release {
    let spec = ReleaseSpec {
        artifact: Digest::try_new(&"a".repeat(64)).unwrap(),
        run: Argv(vec!["./web".to_owned()]),
        port: Port::Assigned,
        protocol: model::Protocol::Http1,
        program_tls: None,
        env: BTreeMap::from([("E".to_owned(), env.to_owned())]),
        secrets: BTreeMap::new(),
        health: None,
        drain: Duration::from_secs(30),
        drain_limits: None,
        stop: Stop {
            signal: 15,
            grace: Duration::from_secs(10),
        },
        user: None,
        database: None,
        limits: Limits::default(),
    };
    Release {
        id: ReleaseId(number),
        digest: crate::digest::of_release(&spec),
        label: None,
        spec,
    }
}

#[test]
fn what_was_journaled_is_there_after_opening_again() {
    let (state, mut store) = fresh();
    let epoch = store.epoch();
    store
        .write_journal(epoch, &entries("a", "1"), "c1")
        .unwrap();
    store
        .write_journal(epoch, &entries("b", "2"), "c2")
        .unwrap();
    let gone = BTreeMap::from([("a".to_owned(), None)]);
    store.write_journal(epoch, &gone, "c3").unwrap();
    drop(store);
    let store = Store::open(state.path()).unwrap();
    let kept = BTreeMap::from([("b".to_owned(), "2".to_owned())]);
    assert_eq!(store.journal().unwrap(), kept);
    assert_eq!(store.meta("clock").unwrap().as_deref(), Some("c3"));
}

#[test]
fn a_worker_without_control_writes_nothing_any_more() {
    let (state, mut old) = fresh();
    let mut new = Store::open(state.path()).unwrap();
    let epoch = new.take_control().unwrap();
    assert!(epoch > old.epoch());
    let refused = old.write_journal(old.epoch(), &entries("a", "1"), "c");
    assert!(matches!(refused, Err(StoreError::Fenced { epoch: by }) if by == epoch));
    let refused = old.set_meta("k", "v");
    assert!(matches!(refused, Err(StoreError::Fenced { .. })));
    assert!(new.journal().unwrap().is_empty());
}

#[test]
fn before_control_is_taken_nothing_can_be_written() {
    let (state, _store) = fresh();
    let mut reader = Store::open(state.path()).unwrap();
    assert!(matches!(
        reader.set_meta("k", "v"),
        Err(StoreError::Fenced { .. })
    ));
}

#[test]
fn a_damaged_database_is_refused_with_the_way_out() {
    let (state, mut store) = fresh();
    store
        .write_journal(store.epoch(), &entries("a", "1"), "c")
        .unwrap();
    store.copying().run().unwrap();
    drop(store);
    let path = state.path().join(DATABASE_FILE);
    let mut bytes = std::fs::read(&path).unwrap();
    for byte in &mut bytes[..2_000] {
        *byte ^= 0x5a;
    }
    std::fs::write(&path, bytes).unwrap();
    let error = Store::open(state.path()).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
    assert!(error.to_string().contains(BACKUP_FILE), "{error}");
    // The way out works as it is said.
    std::fs::remove_file(&path).unwrap();
    std::fs::copy(state.path().join(BACKUP_FILE), &path).unwrap();
    let restored = Store::open(state.path()).unwrap();
    assert_eq!(restored.journal().unwrap().len(), 1);
}

#[test]
fn a_newer_database_is_refused_unless_it_says_that_this_binary_works_with_it() {
    let (state, mut store) = fresh();
    let pragma = store.connection.pragma_update(None, "user_version", 99);
    pragma.unwrap();
    store.set_meta(schema::READER_KEY, "99").unwrap();
    drop(store);
    let error = Store::open(state.path()).unwrap_err();
    assert!(matches!(error, StoreError::Newer { version: 99, .. }));
    let connection = Connection::open(state.path().join(DATABASE_FILE)).unwrap();
    let restored = "UPDATE meta SET value = '1' WHERE key = ?1";
    connection.execute(restored, [schema::READER_KEY]).unwrap();
    let store = Store::open(state.path()).unwrap();
    let version: u32 = store
        .connection
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .unwrap();
    assert_eq!(version, 99, "it stays what the newer binary made it");
}

#[test]
fn only_the_owner_may_read_the_database_and_its_copy() {
    use std::os::unix::fs::PermissionsExt as _;
    let (state, store) = fresh();
    store.copying().run().unwrap();
    for file in [DATABASE_FILE, BACKUP_FILE] {
        let mode = std::fs::metadata(state.path().join(file)).unwrap();
        assert_eq!(mode.permissions().mode() & 0o777, 0o600, "{file}");
    }
}

#[test]
fn a_full_database_is_told_from_other_failures() {
    let (_state, mut store) = fresh();
    store
        .connection
        .execute_batch("PRAGMA max_page_count = 1")
        .unwrap();
    let large = "x".repeat(1 << 20);
    let refused = store.write_journal(store.epoch(), &entries("a", &large), "c");
    assert!(matches!(refused, Err(StoreError::Full)), "{refused:?}");
    assert!(store.journal().unwrap().is_empty());
}

#[test]
fn the_audit_can_neither_be_changed_nor_cut() {
    let (_state, mut store) = fresh();
    let entry = |command: &str| AuditEntry {
        at_ms: 1,
        actor: "uid 1000".to_owned(),
        command: command.to_owned(),
        result: "accepted".to_owned(),
    };
    for command in ["deploy", "abort", "rollback"] {
        store.append_audit(&entry(command)).unwrap();
    }
    assert_eq!(store.audit_broken_at().unwrap(), None);
    assert_eq!(store.audit(1).unwrap(), [entry("rollback")]);
    for sql in [
        "UPDATE audit SET entry = '{}' WHERE seq = 2",
        "DELETE FROM audit WHERE seq = 3",
    ] {
        let error = store.connection.execute_batch(sql).unwrap_err();
        assert!(error.to_string().contains("append-only"), "{error}");
    }
    store
        .connection
        .execute_batch("DROP TRIGGER audit_keeps; UPDATE audit SET entry = '{}' WHERE seq = 2")
        .unwrap();
    assert_eq!(store.audit_broken_at().unwrap(), Some(2));
}

#[test]
fn a_request_under_a_known_key_is_not_new() {
    let (_state, mut store) = fresh();
    let day = 24 * 60 * 60 * 1_000;
    let remember = |store: &mut Store, request, now| store.remember("k", request, now).unwrap();
    assert_eq!(remember(&mut store, "r1", 0), Remembered::New);
    assert_eq!(remember(&mut store, "r1", 1), Remembered::Same(None));
    assert_eq!(remember(&mut store, "r2", 2), Remembered::Other);
    store.remember_answer("k", Some("ok")).unwrap();
    let known = Remembered::Same(Some("ok".to_owned()));
    assert_eq!(remember(&mut store, "r1", 3), known);
    assert_eq!(remember(&mut store, "r2", day + 1), Remembered::New);
    store.remember_answer("k", None).unwrap();
    assert_eq!(remember(&mut store, "r3", day + 2), Remembered::New);
}

#[test]
fn equal_content_is_the_same_release_also_after_it_was_pruned() {
    let (_state, mut store) = fresh();
    let (one, two) = (release(1, "a"), release(2, "b"));
    for release in [&one, &two] {
        let put = BTreeMap::from([(web(), release.clone())]);
        store.put_releases(&put, 5).unwrap();
    }
    assert_eq!(store.next_release(&web()).unwrap(), ReleaseId(3));
    store.prune_releases(&web(), &[ReleaseId(1)]).unwrap();
    let kept = store.releases(&web()).unwrap();
    assert_eq!(kept, [(two, 5)]);
    let known = store.release_by_digest(&web(), &one.digest).unwrap();
    assert_eq!(known, Some(one.clone()));
    store
        .put_releases(&BTreeMap::from([(web(), one.clone())]), 9)
        .unwrap();
    assert_eq!(store.releases(&web()).unwrap()[0], (one, 5));
    assert_eq!(store.artifacts_in_use().unwrap().len(), 1);
}

#[test]
fn events_are_numbered_and_can_be_read_on() {
    let (_state, mut store) = fresh();
    let event = |text: &str, rollout| EventRow {
        seq: 0,
        at_ms: 1,
        rollout,
        service: "web".to_owned(),
        kind: "note".to_owned(),
        text: text.to_owned(),
    };
    let mut events = [event("a", None), event("b", Some(RolloutId(7)))];
    store.append_events(&mut events).unwrap();
    assert_eq!(events[1].seq, events[0].seq + 1);
    assert_eq!(store.newest_event().unwrap(), events[1].seq);
    let read = store.events_after(events[0].seq, 10).unwrap();
    assert_eq!(read, [events[1].clone()]);
    assert_eq!(store.events_of(RolloutId(7)).unwrap(), read);
}

#[test]
fn a_job_is_begun_once_and_its_end_is_remembered() {
    let (_state, mut store) = fresh();
    let rollout = RolloutId(3);
    assert!(store.begin_job(rollout, JobKind::Before).unwrap());
    assert!(!store.begin_job(rollout, JobKind::Before).unwrap());
    assert_eq!(store.job_result(rollout, JobKind::Before).unwrap(), None);
    let failed = Err("exit code 1".to_owned());
    store.end_job(rollout, JobKind::Before, &failed).unwrap();
    let known = store.job_result(rollout, JobKind::Before).unwrap();
    assert_eq!(known, Some(failed));
}

#[test]
fn the_reserve_is_there_and_comes_back() {
    let (state, store) = fresh();
    let file = state.path().join("reserve");
    assert_eq!(std::fs::metadata(&file).unwrap().len(), 1 << 20);
    assert!(store.reserve.free());
    assert!(!file.exists());
    store.refill_reserve();
    assert!(file.exists());
}
