//! Deploys, releases and their receipts.

use crate::project::Project;

#[test]
fn a_rolling_deploy_under_load_loses_nothing_and_says_so() {
    let mut project = Project::deployed("", "");
    let client = project.load(400);
    let said = project.deploy("", "", &["--label", "abc123"]);
    let tally = client.stop_unharmed();
    assert_eq!(said.code, 0, "{}", said.errors);
    let receipts = said.receipts();
    let [receipt] = receipts.as_slice() else {
        panic!("{:?}", said.lines)
    };
    assert_eq!(
        (receipt.from.as_deref(), receipt.to.as_str()),
        (Some("v1"), "v2")
    );
    assert_eq!(receipt.label.as_deref(), Some("abc123"));
    assert_eq!(
        (
            receipt.lost,
            receipt.failed_by_release,
            receipt.cut,
            receipt.refused
        ),
        (Some(0), Some(0), Some(0), Some(0))
    );
    assert!(receipt.requests.unwrap() > 0 && receipt.requests.unwrap() <= tally.sent);
    assert!(
        receipt.by_release["v1"].requests > 0 && receipt.by_release["v2"].requests > 0,
        "{receipt:?}"
    );
    assert!(tally.by_release["v1"] > 0 && tally.by_release["v2"] > 0);
    assert_eq!(
        receipt
            .instances
            .iter()
            .filter(|one| one.release == "v2" && one.ready_ms.is_some())
            .count(),
        2
    );
    assert_eq!(
        receipt
            .instances
            .iter()
            .filter(|one| one.release == "v1" && one.stop_ms.is_some())
            .count(),
        2
    );
    assert!(project.ask("/", "").contains("v2 received"));
}

#[test]
fn the_receipt_of_history_is_the_one_that_was_printed_and_gains_what_came_after() {
    let mut project = Project::deployed("", "");
    let client = project.load(200);
    let printed = project.deploy("", "", &[]).receipts().remove(0);
    assert!(printed.latency_ms.during.is_some() && printed.latency_ms.after.is_none());
    let id = printed.rollout.to_string();
    let kept = project.run(&["receipt", &id]).receipts().remove(0);
    assert_eq!(
        (kept.lost, kept.requests, &kept.reason),
        (printed.lost, printed.requests, &printed.reason)
    );
    let history = project.run(&["history"]).first();
    assert_eq!(
        history["rollouts"][0]["receipt"]["rollout"],
        printed.rollout.0
    );
    assert_eq!(history["rollouts"].as_array().unwrap().len(), 2);
    client.stop_unharmed();
}

#[test]
fn an_identical_deploy_does_nothing_unless_forced() {
    let project = Project::deployed("", "");
    let said = project.redeploy(&[]);
    assert_eq!(
        (said.code, said.receipts().len()),
        (0, 0),
        "{}",
        said.errors
    );
    assert_eq!(project.web()["active"], 1);
    let serials = |web: &serde_json::Value| -> Vec<u64> {
        let instances = web["instances"].as_array().into_iter().flatten();
        let ready = instances.filter(|one| one["state"]["state"] == "ready");
        ready
            .filter_map(|one| one["instance"]["serial"].as_u64())
            .collect()
    };
    let before = serials(&project.web());
    let forced = project.redeploy(&["--force"]);
    assert_eq!(forced.code, 0, "{}", forced.errors);
    project.until("two fresh instances", |web| {
        let now = serials(web);
        now.len() == 2 && now.iter().all(|serial| !before.contains(serial))
    });
}

#[test]
fn a_stopped_service_is_started_again_and_one_that_is_gone_is_pruned_and_both_are_said() {
    let project = Project::deployed("", "");
    assert_eq!(project.run(&["stop", "web"]).code, 0);
    project.until("stopped", |web| web["instances"] == serde_json::json!([]));
    let said = project.redeploy(&[]);
    assert_eq!(said.code, 0, "{}", said.errors);
    let accepted = said.lines.iter().find(|line| line["type"] == "accepted");
    assert_eq!(accepted.unwrap()["started"], serde_json::json!(["web"]));
    project.until("running", |web| {
        web["instances"].as_array().unwrap().len() == 2
    });
    let file = std::fs::read_to_string(project.stage.path("gapless.toml")).unwrap();
    project
        .stage
        .write(&file.replace("service.web", "service.api"))
        .unwrap();
    let kept = project.redeploy(&[]);
    assert!(
        kept.errors
            .contains("web is gone from the file and was left running")
    );
    let pruned = project.redeploy(&["--prune"]);
    let accepted = pruned.lines.iter().find(|line| line["type"] == "accepted");
    assert_eq!(accepted.unwrap()["pruned"], serde_json::json!(["web"]));
    assert_eq!(project.web()["name"], "api");
}

#[test]
fn an_internal_service_is_reached_by_the_others_alone() {
    let mut project = Project::deployed("", "");
    project.write("internal = true", "");
    let file = std::fs::read_to_string(project.stage.path("gapless.toml")).unwrap();
    let shop = file[file.find("[service.web]").unwrap()..]
        .replace("service.web", "service.shop")
        .replace("internal = true", "hosts = [\"shop.example.com\"]");
    project.stage.write(&format!("{file}\n{shop}")).unwrap();
    let said = project.redeploy(&[]);
    assert_eq!(said.code, 0, "{}", said.errors);
    let answer = project.ask("/", "");
    assert!(
        answer.starts_with("HTTP/1.1 404") && answer.contains("no_route"),
        "{answer}"
    );
    let status = project.run(&["status"]).first();
    let shop = status["engine"]["services"]
        .as_array()
        .unwrap()
        .iter()
        .find(|service| service["name"] == "shop")
        .unwrap();
    let port = shop["instances"][0]["port"].as_u64().unwrap();
    let environment = crate::project::environment(port);
    let address = environment
        .iter()
        .find_map(|pair| pair.strip_prefix("GAPLESS_URL_WEB=http://"))
        .unwrap();
    project.address = address.parse().unwrap();
    assert!(project.ask("/", "").contains("v2 received"));
}

#[test]
fn equal_content_is_the_same_release_also_later() {
    let mut project = Project::deployed(r#"env = { LOOK = "old" }"#, "");
    assert_eq!(project.deploy(r#"env = { LOOK = "new" }"#, "", &[]).code, 0);
    let again = project.deploy(r#"env = { LOOK = "old" }"#, "", &[]);
    assert_eq!(again.receipts()[0].to, "v1", "{}", again.errors);
}

#[test]
fn rollback_goes_to_the_release_before_and_policy_stays() {
    let mut project = Project::deployed("", "");
    assert_eq!(project.deploy("replicas = 3", "", &[]).code, 0);
    let client = project.load(200);
    let said = project.run(&["rollback"]);
    client.stop_unharmed();
    assert_eq!(said.code, 0, "{}", said.errors);
    let receipt = &said.receipts()[0];
    assert_eq!(
        (receipt.to.as_str(), receipt.strategy.as_str(), receipt.lost),
        ("v1", "rollback", Some(0))
    );
    let web = project.web();
    assert_eq!((&web["active"], &web["replicas"]), (&1.into(), &3.into()));
}

#[test]
fn scale_restart_and_drain_replace_instances_without_a_lost_request() {
    let project = Project::deployed("", "");
    let client = project.load(200);
    assert_eq!(project.run(&["scale", "web", "3"]).code, 0);
    let ready = |web: &serde_json::Value| -> Vec<String> {
        let instances = web["instances"].as_array().into_iter().flatten();
        let ready =
            instances.filter(|one| one["routed"] == true && one["state"]["state"] == "ready");
        ready
            .map(|one| one["instance"]["serial"].to_string())
            .collect()
    };
    let three = ready(&project.until("three ready", |web| ready(web).len() == 3));
    assert_eq!(project.run(&["restart", "web"]).code, 0);
    let fresh = project.until("three fresh ones", |web| {
        let now = ready(web);
        now.len() == 3
            && now.iter().all(|serial| !three.contains(serial))
            && web["instances"].as_array().unwrap().len() == 3
    });
    let victim = &ready(&fresh)[0];
    assert_eq!(project.run(&["drain", &format!("web-v1-{victim}")]).code, 0);
    project.until("the drained one replaced", |web| {
        ready(web).len() == 3 && !ready(web).contains(victim)
    });
    client.stop_unharmed();
}

#[test]
fn jobs_run_once_in_the_new_release_and_a_failing_one_leaves_the_old_release() {
    let mut project = Project::deployed("", "");
    let good = project.deploy(
        "",
        r#"before = ["sh", "-c", "echo before $GAPLESS_RELEASE >> $DATA/ran"]
after = ["sh", "-c", "echo after $GAPLESS_RELEASE >> $DATA/ran"]"#,
        &[],
    );
    assert_eq!(good.code, 0, "{}", good.errors);
    let ran = std::fs::read_to_string(project.stage.path("state/data/web/ran")).unwrap();
    assert_eq!(ran, "before v2\nafter v2\n");
    let bad = project.deploy(
        "",
        r#"before = ["sh", "-c", "echo the table is locked; exit 3"]"#,
        &[],
    );
    assert_eq!(bad.code, 3, "{}", bad.errors);
    assert!(
        bad.receipts()[0].reason.contains("before"),
        "{}",
        bad.receipts()[0].reason
    );
    assert!(bad.errors.contains("the table is locked"), "{}", bad.errors);
    assert!(project.ask("/", "").contains("v2 received"));
}

#[test]
fn old_releases_are_pruned_but_never_the_active_or_the_previous_one() {
    let mut project = Project::deployed("", "");
    for _ in 0..4 {
        project.write("", "");
        let file = project.stage.path("gapless.toml");
        let text = std::fs::read_to_string(&file)
            .unwrap()
            .replace("[server]", "[server]\nkeep_releases = 1");
        std::fs::write(&file, text).unwrap();
        assert_eq!(project.redeploy(&[]).code, 0);
    }
    let releases = project.web()["releases"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["id"].as_u64().unwrap())
        .collect::<Vec<_>>();
    assert!(
        releases.contains(&5) && releases.contains(&4) && !releases.contains(&1),
        "{releases:?}"
    );
    assert_eq!(project.run(&["rollback"]).code, 0);
}

#[test]
fn a_rolling_deploy_of_instances_that_take_one_request_at_a_time_refuses_nobody() {
    let service = "[service.web.proxy]\nlimits = { requests = 1, connections = 2, queue = { length = 4000, wait = \"30s\" } }";
    let mut project = Project::deployed(service, "");
    let client = project.load(200);
    for _ in 0..2 {
        let said = project.deploy(service, "", &[]);
        assert_eq!(said.code, 0, "{}", said.errors);
        let receipt = &said.receipts()[0];
        let harmed = (receipt.lost, receipt.cut, receipt.refused);
        assert_eq!(harmed, (Some(0), Some(0), Some(0)), "{receipt:?}");
        assert!(receipt.requests.unwrap() > 0);
    }
    client.stop_unharmed();
}
