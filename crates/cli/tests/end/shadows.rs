//! Releases that are asked before anybody sees what they answer.

use model::{Outcome, Receipt};
use serde_json::Value;

use crate::project::Project;

const DIFFERS: &str = r#"env = { FAULT = "differ" }"#;

/// A canary that compares first.
fn compared(samples: u32, more: &str) -> String {
    format!(
        r#"strategy = "canary"
steps = [
  {{ compare = {{ share = "100%", samples = {samples}, at_most = "1%", headers = ["Content-Type"]{more} }} }},
  {{ weight = "50%", for = "1s" }},
]"#
    )
}

/// What the account of the running rollout says of its shadows.
fn shadow(project: &Project) -> Value {
    let status = project.run(&["status"]);
    status.first()["traffic"]["web"]["account"]["shadow"].clone()
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let begin = std::time::Instant::now();
    while !holds() {
        assert!(begin.elapsed() < crate::project::PATIENCE, "never {what}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// Users got only the old release's answers, and nothing that was asked beside them counts.
fn assert_nobody_saw_it(receipt: &Receipt, tally: &load::Tally) {
    assert_eq!(receipt.lost, Some(0));
    assert_eq!(receipt.failed_by_release, Some(0));
    assert_eq!(tally.by_release.keys().collect::<Vec<_>>(), ["v1"]);
    assert_eq!(receipt.by_release["v2"].requests, 0);
    let balance = receipt.balance.unwrap();
    let requests: u64 = receipt.by_release.values().map(|one| one.requests).sum();
    assert_eq!(
        receipt.requests.unwrap() + balance.open_at_begin,
        requests + balance.without_release + balance.open_at_end
    );
}

#[test]
fn a_field_that_changed_is_caught_before_anybody_sees_it_and_noise_is_not_reported() {
    let mut project = Project::deployed("", "");
    let client = project.load_path("/item/17", 100);
    let said = project.deploy(DIFFERS, &compared(50, ""), &[]);
    let tally = client.stop_unharmed();
    assert_eq!(said.code, 3, "{}", said.errors);
    let receipt = &said.receipts()[0];
    assert_eq!(receipt.outcome, Outcome::RolledBack);
    assert_nobody_saw_it(receipt, &tally);
    let why = &receipt.reason;
    assert!(why.starts_with("step 1 of 2: "), "{why}");
    assert!(
        why.contains("body.price (string(4) instead of number)"),
        "{why}"
    );
    let found = &receipt.shadow.compared[0];
    assert!(found.differing > 0 && found.differing == found.compared);
    let fields: Vec<(&str, &str)> = found
        .differences
        .iter()
        .map(|one| (one.route.as_str(), one.field.as_str()))
        .collect();
    assert_eq!(fields, [("GET /item/{}", "body.price")]);
    assert_eq!(found.noisy, 2, "the id and the time");
    assert!(receipt.shadow.by_release["v2"].requests >= found.compared);
    let id = receipt.rollout.to_string();
    let shown = project.plain(&["receipt", &id]);
    let line = "of GET /item/{}: body.price (shape): number -> string(4)";
    assert!(shown.contains(line), "{shown}");
    assert!(
        !shown.contains("kettle") && !shown.contains("1050"),
        "{shown}"
    );
}

#[test]
fn an_equal_release_passes_although_some_fields_are_never_the_same() {
    let mut project = Project::deployed("", "");
    let client = project.load_path("/item", 100);
    let rollout = r#"strategy = "blue_green"
keep = "0s"
steps = [{ compare = { share = "100%", samples = 40 } }]"#;
    let said = project.deploy("", rollout, &[]);
    client.stop_unharmed();
    assert_eq!(said.code, 0, "{}", said.errors);
    let receipt = &said.receipts()[0];
    let found = &receipt.shadow.compared[0];
    assert!(found.compared >= 40);
    assert_eq!((found.differing, found.noisy), (0, 2));
    assert_eq!(found.differences, []);
}

#[test]
fn a_shadow_that_hangs_delays_nobody() {
    let mut project = Project::deployed("drain = \"1s\"", "");
    let client = project.load_path("/item", 200);
    let rollout = r#"strategy = "canary"
steps = [{ shadow = { share = "100%" }, approve = true }]"#;
    let service = "drain = \"1s\"\nenv = { FAULT = \"hang\" }";
    assert_eq!(project.deploy(service, rollout, &["--detach"]).code, 0);
    // All the room there is for copies waits for a release that answers none of them, and yet
    // every user is answered.
    until("full", || {
        shadow(&project)["dropped"]["full"].as_u64() > Some(100)
    });
    assert_eq!(shadow(&project)["by_release"], serde_json::json!({}));
    assert_eq!(project.run(&["abort"]).code, 0);
    let said = project.run(&["wait"]);
    assert_eq!(said.code, 3, "{}", said.errors);
    let tally = client.stop_unharmed();
    let receipt = &said.receipts()[0];
    assert_nobody_saw_it(receipt, &tally);
    assert!(tally.by_release["v1"] > receipt.shadow.dropped["full"]);
    let copies = &receipt.shadow.by_release["v2"];
    assert_eq!(copies.responses.len(), 0);
    assert!(copies.requests <= 128, "{copies:?}");
}

#[test]
fn what_comparing_has_found_outlives_a_killed_worker() {
    let mut project = Project::deployed("", "");
    let client = project.load_path("/item", 100);
    let said = project.deploy("", &compared(1_000_000, ""), &["--detach"]);
    assert_eq!(said.code, 0, "{}", said.errors);
    let count = |project: &Project| shadow(project)["compared"][0]["compared"].as_u64();
    until("compared", || count(&project) >= Some(50));
    // What was found up to here may be a moment old when it is written down.
    let before = count(&project).unwrap() - 50;
    project.stage.kill_worker().unwrap();
    until("compared on", || count(&project) >= Some(before + 60));
    drop(client.stop());
    assert_eq!(project.run(&["promote"]).code, 0);
    let said = project.run(&["wait"]);
    assert_eq!(said.code, 0, "{}", said.errors);
    let found = &said.receipts()[0].shadow.compared;
    assert_eq!(found.len(), 1, "one shadow, however many workers asked it");
    assert!(found[0].compared >= before + 60);
    assert_eq!(found[0].differing, 0);
}
