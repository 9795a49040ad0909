//! A pause, from the command to its end.

use crate::project::Project;

#[test]
fn a_pause_holds_requests_through_a_rollout_and_the_receipt_says_so() {
    let mut project = Project::deployed("", "");
    let said = project.run(&["pause", "web", "--for", "30s"]);
    assert_eq!(said.code, 0, "{}", said.errors);
    let client = project.load(50);
    project.until("requests wait", |_| {
        project.run(&["status"]).first()["traffic"]["web"]["waiting"].as_u64() > Some(5)
    });
    assert_eq!(project.deploy("", "", &[]).code, 0);
    let web = project.web();
    assert!(web["pause"]["left_ms"].as_u64() > Some(0), "{web:#}");
    assert_eq!(project.run(&["resume", "web"]).code, 0);
    let tally = client.stop_unharmed();
    assert!(!tally.by_release.contains_key("v1"), "{tally:?}");
    assert!(project.web()["pause"].is_null());
    let receipt = project.run(&["receipt", "2"]).first();
    assert_eq!(receipt["lost"], 0, "{receipt:#}");
    assert!(receipt["paused"]["ms"].as_u64() > Some(0), "{receipt:#}");
}

#[test]
fn a_pause_outlives_a_killed_worker_and_ends_at_its_time() {
    let project = Project::deployed("", "");
    let said = project.run(&["pause", "web", "--for", "6s"]);
    assert_eq!(said.code, 0, "{}", said.errors);
    project.stage.kill_worker().unwrap();
    let web = project.until("the next worker", |web| web["instances"].is_array());
    assert!(web["pause"].is_object(), "{web:#}");
    let asked = std::thread::scope(|scope| {
        let asking = scope.spawn(|| project.ask("/", ""));
        project.until("the pause is over", |web| web["pause"].is_null());
        asking.join().unwrap()
    });
    assert!(asked.contains("v1 received"), "{asked}");
    let why = project.run(&["why"]);
    assert_eq!(why.code, 0, "{}", why.errors);
}

#[test]
fn a_pause_holds_requests_in_both_workers_of_an_upgrade_and_resume_frees_both() {
    let project = Project::deployed("", "");
    assert_eq!(project.run(&["pause", "web", "--for", "60s"]).code, 0);
    let waiting = |more_than: u64| {
        project.until("requests wait", |_| {
            let status = project.run(&["status"]).first();
            status["traffic"]["web"]["waiting"].as_u64() > Some(more_than)
        });
    };
    let before = project.load(20);
    waiting(5);
    let said = project.run(&["upgrade"]);
    assert_eq!(said.code, 0, "{}", said.errors);
    assert!(project.web()["pause"].is_object(), "{:#}", project.web());
    let after = project.load(20);
    waiting(20);
    assert_eq!(project.run(&["resume", "web"]).code, 0);
    for client in [before, after] {
        let tally = client.stop_unharmed();
        assert!(tally.sent > 0, "{tally:?}");
    }
}

#[test]
fn what_cannot_be_paused_is_refused_with_its_reason() {
    let project = Project::deployed("", "");
    for (args, code, told) in [
        (&["pause", "shop"][..], 2, "there is web"),
        (&["pause", "web", "--for", "61s"], 2, "at most 60s"),
        (&["pause", "web", "--end"], 1, "not paused"),
    ] {
        let said = project.run(args);
        assert_eq!(said.code, code, "{args:?}: {}", said.errors);
        assert!(said.errors.contains(told), "{args:?}: {}", said.errors);
    }
}
