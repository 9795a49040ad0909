//! Blue/green, canary and recreate, with checks, gates and people.

use crate::project::Project;

const CANARY: &str = r#"strategy = "canary"
steps = [{ weight = "25%", for = "1s" }, { weight = "50%", for = "1s" }]
checks = [{ metric = "error_rate", max = "5%" }]
min_requests = 20"#;

#[test]
fn blue_green_switches_once_and_goes_back_while_the_old_set_is_warm() {
    let mut project = Project::deployed("", "");
    let client = project.load(300);
    let begun = project.deploy(
        "",
        "strategy = \"blue_green\"\nkeep = \"30s\"",
        &["--detach"],
    );
    assert_eq!(begun.code, 0, "{}", begun.errors);
    project.until_waiting("keep");
    assert!(project.ask("/", "").contains("v2 received"));
    assert_eq!(project.run(&["abort"]).code, 0);
    let said = project.run(&["wait"]);
    let tally = client.stop_unharmed();
    assert_eq!(said.code, 3, "{}", said.errors);
    let receipt = &said.receipts()[0];
    assert_eq!(
        (receipt.outcome, receipt.lost),
        (model::Outcome::Aborted, Some(0))
    );
    assert!(tally.by_release["v1"] > 0 && tally.by_release["v2"] > 0);
    assert!(project.ask("/", "").contains("v1 received"));
}

#[test]
fn a_preview_reaches_the_new_set_before_the_switch_and_the_gate_holds_it() {
    let mut project = Project::deployed("", "");
    let rollout = "strategy = \"blue_green\"\nkeep = \"0s\"\napprove = true\npreview = { header = \"X-Preview\", value = \"yes\" }";
    assert_eq!(project.deploy("", rollout, &["--detach"]).code, 0);
    project.until_waiting("gate");
    assert!(
        project
            .ask("/", "X-Preview: yes\r\n")
            .contains("v2 received")
    );
    assert!(project.ask("/", "").contains("v1 received"));
    let waiting = project.run(&["wait"]);
    assert_eq!(waiting.code, 4, "{}", waiting.errors);
    assert_eq!(project.run(&["approve"]).code, 0);
    assert_eq!(project.run(&["wait"]).code, 0);
    assert!(project.ask("/", "").contains("v2 received"));
}

#[test]
fn a_canary_is_promoted_by_its_checks() {
    let mut project = Project::deployed("", "");
    let client = project.load(300);
    let said = project.deploy("", CANARY, &[]);
    client.stop_unharmed();
    assert_eq!(said.code, 0, "{}", said.errors);
    assert_eq!(said.receipts()[0].lost, Some(0));
}

#[test]
fn a_broken_canary_is_rolled_back_and_its_price_is_counted() {
    let mut project = Project::deployed("", "");
    let client = project.load(300);
    let said = project.deploy("env = { FAULT = \"errors\" }", CANARY, &[]);
    let tally = client.stop();
    assert_eq!(said.code, 3, "{}", said.errors);
    let receipt = &said.receipts()[0];
    assert_eq!(
        (receipt.outcome, receipt.lost),
        (model::Outcome::RolledBack, Some(0))
    );
    assert!(receipt.reason.contains("error_rate"), "{}", receipt.reason);
    assert_eq!(tally.failed(), 0, "{tally:?}");
    assert_eq!(
        receipt.failed_by_release,
        Some(tally.errors.values().sum()),
        "{tally:?}"
    );
    assert!(tally.errors.keys().all(|who| who == "v2"), "{tally:?}");
    assert!(project.ask("/", "").contains("v1 received"));
}

#[test]
fn without_traffic_a_canary_holds_and_an_abort_ends_it() {
    let mut project = Project::deployed("", "");
    assert_eq!(project.deploy("", CANARY, &["--detach"]).code, 0);
    project.until_waiting("verdict");
    assert_eq!(project.run(&["hold"]).code, 0);
    project.until_waiting("held");
    assert_eq!(project.run(&["wait"]).code, 4);
    assert_eq!(project.run(&["abort"]).code, 0);
    assert_eq!(project.run(&["wait"]).code, 3);
    assert!(project.ask("/", "").contains("v1 received"));
}

#[test]
fn with_affinity_one_user_only_ever_moves_from_old_to_new() {
    let mut project = Project::deployed("", "affinity = \"cookie\"");
    let first = project.ask("/", "");
    let cookie = first.lines().find_map(|line| {
        line.strip_prefix("Set-Cookie: ")
            .or_else(|| line.strip_prefix("set-cookie: "))
    });
    let cookie = cookie
        .and_then(|value| value.split(';').next())
        .unwrap_or_else(|| panic!("no cookie: {first}"))
        .to_owned();
    let rollout = format!("affinity = \"cookie\"\n{CANARY}\non_no_data = \"promote\"");
    assert_eq!(project.deploy("", &rollout, &["--detach"]).code, 0);
    let mut releases = Vec::new();
    let header = format!("Cookie: {cookie}\r\n");
    while project.web()["rollout"].is_object() {
        let answer = project.ask("/", &header);
        releases.push(answer.contains("v2 received"));
    }
    releases.push(project.ask("/", &header).contains("v2 received"));
    assert!(releases.is_sorted(), "{releases:?}");
    assert_eq!(releases.last(), Some(&true));
}

#[test]
fn recreate_never_overlaps_and_shows_its_gap() {
    let mut project = Project::deployed("replicas = 1", "strategy = \"recreate\"");
    let client = project.load(100);
    let said = project.deploy("replicas = 1", "strategy = \"recreate\"", &[]);
    let tally = client.stop();
    assert_eq!(said.code, 0, "{}", said.errors);
    let receipt = &said.receipts()[0];
    assert_eq!((receipt.lost, tally.failed()), (Some(0), 0), "{tally:?}");
    assert!(
        receipt.longest_gap_ms.unwrap() > receipt.longest_gap_before_ms.unwrap_or(0),
        "{receipt:?}"
    );
}

#[test]
fn a_second_deploy_is_refused_or_supersedes() {
    let mut project = Project::deployed("", "");
    let gate = "strategy = \"canary\"\nsteps = [{ weight = \"50%\", approve = true }]";
    assert_eq!(project.deploy("", gate, &["--detach"]).code, 0);
    project.until_waiting("gate");
    let refused = project.deploy("", "", &[]);
    assert_eq!(refused.code, 6, "{}", refused.errors);
    let client = project.load(200);
    let done = project.deploy("", "", &["--supersede"]);
    client.stop_unharmed();
    assert_eq!(done.code, 0, "{}", done.errors);
    // Both are told, in the order of their ends.
    let told: Vec<_> = done
        .receipts()
        .iter()
        .map(|one| (one.outcome, one.lost))
        .collect();
    assert_eq!(
        told,
        [
            (model::Outcome::Superseded, Some(0)),
            (model::Outcome::Completed, Some(0))
        ]
    );
    let outcomes: Vec<String> = project.run(&["history"]).first()["rollouts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            one["receipt"]["outcome"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        })
        .collect();
    assert_eq!(outcomes, ["completed", "superseded", "completed"]);
}
