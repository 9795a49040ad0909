//! A service is closed, and opened again.

use crate::project::Project;
use crate::secrets::set;

#[test]
fn a_service_is_closed_with_a_page_but_for_staff_through_a_killed_worker() {
    let project = Project::deployed("", "");
    let page = project.stage.path("page.html");
    std::fs::write(&page, "<p>back soon").unwrap();
    let page = page.to_str().unwrap();
    let on = [
        "maintenance",
        "web",
        "on",
        "--page",
        page,
        "--retry-after",
        "2m",
    ];
    let allow = ["--allow", "X-Staff=secret:STAFF"];
    let refused = project.run(&[&on[..], &allow[..]].concat());
    assert_eq!(refused.code, 2, "{}", refused.errors);
    assert!(
        refused.errors.contains("gapless secret set STAFF"),
        "{}",
        refused.errors
    );
    set(&project, "STAFF", "sesame");
    let said = project.run(&[&on[..], &allow[..]].concat());
    assert_eq!(said.code, 0, "{}", said.errors);
    project.until("closed", |web| web["closed"]["page_bytes"] == 12);
    project.stage.kill_worker().unwrap();
    project.until("the next worker", |web| web["closed"].is_object());
    let answer = project.ask("/", "");
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("\r\nretry-after: 120\r\n"), "{answer}");
    assert!(answer.ends_with("<p>back soon"), "{answer}");
    let staff = project.ask("/", "X-Staff: sesame\r\n");
    assert!(staff.contains("v1 received"), "{staff}");
    assert_eq!(project.run(&["maintenance", "web", "off"]).code, 0);
    project.until("open", |web| web["closed"].is_null());
    assert!(project.ask("/", "").contains("v1 received"));
    assert_eq!(project.run(&["maintenance", "web", "off"]).code, 1);
}
