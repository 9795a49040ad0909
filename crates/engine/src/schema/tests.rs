//! What may be contracted when, of a database alone.

use super::*;

const HOUR: Duration = Duration::from_secs(60 * 60);

fn database(approve: bool) -> Database {
    Database::new(DatabasePolicy {
        contract_after: HOUR,
        approve,
        migrate_url: None,
        lock_timeout: HOUR,
        patience: HOUR,
    })
}

fn from(version: Option<&str>) -> Needed {
    Needed::From {
        version: version.map(str::to_owned),
        service: name("web"),
        release: ReleaseId(1),
    }
}

fn name(text: &str) -> ServiceName {
    ServiceName::try_new(text).unwrap()
}

fn hours(hours: u64) -> Time {
    Time(hours * 3_600_000)
}

#[test]
fn a_contract_waits_for_the_window_and_for_whoever_needs_less() {
    let mut database = database(false);
    database.settle(&name("web"), Some("01"), hours(0));
    database.settle(&name("web"), Some("02"), hours(1));
    assert_eq!(
        database
            .due(&from(Some("02")), Time(hours(2).0 - 1))
            .unwrap(),
        "01"
    );
    assert_eq!(database.due(&from(Some("02")), hours(2)).unwrap(), "02");
    assert_eq!(database.due(&from(Some("01")), hours(9)).unwrap(), "01");
    assert_eq!(database.due(&from(None), hours(9)), None);
    assert_eq!(database.due(&Needed::Nothing, hours(9)).unwrap(), "02");
}

#[test]
fn the_window_begins_anew_with_the_last_service_and_after_a_rollback() {
    let mut database = database(false);
    database.settle(&name("web"), Some("02"), hours(0));
    database.settle(&name("worker"), Some("02"), hours(3));
    assert_eq!(database.due(&from(Some("02")), Time(hours(4).0 - 1)), None);
    database.settle(&name("web"), Some("01"), hours(4));
    database.settle(&name("web"), Some("02"), hours(5));
    assert_eq!(database.due(&from(Some("02")), Time(hours(6).0 - 1)), None);
    assert_eq!(database.due(&from(Some("02")), hours(6)).unwrap(), "02");
}

#[test]
fn what_comes_before_is_approved_and_over_as_well() {
    let mut database = database(true);
    database.settle(&name("web"), Some("01"), hours(0));
    database.settle(&name("web"), Some("03"), hours(0));
    database.versions.get_mut("03").unwrap().approved = true;
    assert_eq!(database.due(&Needed::Nothing, hours(9)), None);
    database.versions.get_mut("01").unwrap().approved = true;
    assert_eq!(database.due(&Needed::Nothing, hours(9)).unwrap(), "03");
}

#[test]
fn a_begun_contract_bars_the_way_back_and_is_asked_for_until_it_ends() {
    let newer = from(Some("02"));
    let again = Some("02".to_owned());
    let mut database = database(true);
    database.settle(&name("web"), Some("02"), hours(0));
    assert_eq!(begin(&mut database, (&newer, None), hours(9)), None);
    database.versions.get_mut("02").unwrap().approved = true;
    assert_eq!(begin(&mut database, (&newer, None), hours(9)), again);
    assert_eq!(database.floor.as_deref(), Some("02"));
    let asked = Some(hours(9));
    assert_eq!(begin(&mut database, (&newer, asked), hours(9)), None);
    assert_eq!(begin(&mut database, (&newer, asked), hours(10)), again);
    database.contract.as_mut().unwrap().failed = Some((hours(10), "locked".to_owned()));
    let soon = Time(hours(10).0 + 1);
    assert_eq!(begin(&mut database, (&newer, None), soon), None);
    assert_eq!(begin(&mut database, (&newer, None), hours(11)), again);
    database.settle(&name("web"), Some("01"), hours(12));
    database.settle(&name("web"), Some("02"), hours(13));
    assert!(database.versions.is_empty(), "what is contracted stays so");
}

#[test]
fn a_begun_contract_is_not_asked_for_while_anything_needs_what_it_removes() {
    let mut database = database(false);
    database.settle(&name("web"), Some("02"), hours(0));
    let newer = from(Some("02"));
    assert!(begin(&mut database, (&newer, None), hours(9)).is_some());
    let older = from(Some("01"));
    assert_eq!(begin(&mut database, (&older, None), hours(20)), None);
    assert_eq!(
        database.asks_at(&older, None),
        None,
        "time alone changes nothing"
    );
    assert!(begin(&mut database, (&newer, None), hours(20)).is_some());
}

fn refused(database: &mut Database, removed: Removed, now: Time) -> bool {
    database.withdraw(("row 7 is in the way", &removed), now)
}

#[test]
fn a_contract_that_is_refused_before_it_removes_anything_leaves_the_way_back_open() {
    let newer = from(Some("03"));
    let again = Some("03".to_owned());
    let mut database = database(false);
    database.floor = Some("01".to_owned());
    database.settle(&name("web"), Some("02"), hours(0));
    database.settle(&name("web"), Some("03"), hours(0));
    let before = database.clone();
    assert_eq!(begin(&mut database, (&newer, None), hours(2)), again);
    assert_eq!(database.floor, again);
    let nothing = Removed::Before(Some("01".to_owned()));
    assert!(refused(&mut database, nothing, hours(2)));
    assert_eq!(
        (&database.floor, &database.versions, &database.barred),
        (&before.floor, &before.versions, &before.barred)
    );
    let status = database.contract_status().unwrap();
    assert_eq!(status.failed.as_deref(), Some("row 7 is in the way"));
    // It is tried again, later.
    let retry = hours(2).after(RETRY);
    assert_eq!(
        begin(&mut database, (&newer, None), Time(retry.0 - 1)),
        None
    );
    assert_eq!(begin(&mut database, (&newer, None), retry), again);
    // Nobody knows whether it removed something.
    assert!(!refused(&mut database, Removed::Unknown, retry));
    assert_eq!(database.floor, again);
    // The first of two is done.
    let first = Removed::Before(Some("02".to_owned()));
    assert!(!refused(&mut database, first, retry));
    assert_eq!(database.floor.as_deref(), Some("02"));
    assert_eq!(database.versions.keys().collect::<Vec<_>>(), ["03"]);
}
