//! Services beside each other.

use super::super::refused_with;
use super::{second, with};

#[test]
fn no_two_services_get_the_same_requests() {
    refused_with(
        &second(""),
        "`web` and `api` would both get requests for any host, any path",
    );
    refused_with(
        &second("paths = [\"/\"]"),
        "`web` and `api` would both get requests for any host, any path",
    );
    for lines in ["hosts = [\"a.com\"]", "paths = [\"/api\"]"] {
        assert!(crate::parse(&second(lines)).is_ok(), "{lines}");
    }
    let text = second("hosts = [\"A.com\", \"b.com\"]\npaths = [\"/x/\", \"/y\"]");
    let text = text.replacen(
        "artifact",
        "hosts = [\"b.com\", \"a.com\"]\npaths = [\"/y\", \"/x\"]\nartifact",
        1,
    );
    refused_with(
        &text,
        "`web` and `api` would both get requests for a.com, /x",
    );
}

#[test]
fn the_order_of_services_is_known_and_no_circle() {
    refused_with(&with("after = [\"wep\"]"), "there is no service `wep`");
    refused_with(&with("after = [\"web\"]"), "`web` waits for itself");
    let text = second("hosts = [\"a.com\"]\nafter = [\"web\"]");
    assert!(crate::parse(&text).is_ok());
    let text = text.replacen("artifact", "after = [\"api\"]\nartifact", 1);
    refused_with(&text, "services wait for each other: api → web → api");
}

#[test]
fn services_in_lockstep_do_not_wait_for_each_other() {
    let lockstep = |after: &str| {
        let text = second(&format!(
            "hosts = [\"a.com\"]\nlockstep = true\nafter = {after}"
        ));
        let text = text.replacen("artifact", "lockstep = true\nartifact", 1);
        text + "[service.job]\nartifact = \"a\"\nrun = \"./a\"\nport = false\nafter = [\"web\"]\n"
    };
    assert!(crate::parse(&lockstep("[]")).is_ok());
    let message = "`api` waits for the end of `web`, and in lockstep neither ends before the other";
    refused_with(&lockstep("[\"web\"]"), message);
    refused_with(&lockstep("[\"job\"]"), message);
}

#[test]
fn each_circle_is_reported_once() {
    let service = |name: &str, after: &str| {
        format!(
            "[service.{name}]\nartifact = \"a\"\nrun = \"./a\"\nport = false\nafter = {after}\n"
        )
    };
    let services = [
        ("a", "[\"b\"]"),
        ("b", "[\"c\"]"),
        ("c", "[\"b\"]"),
        ("d", "[\"d\"]"),
    ];
    let services: String = services
        .iter()
        .map(|(name, after)| service(name, after))
        .collect();
    let report = crate::parse(&format!("version = 1\nproject = \"x\"\n{services}")).unwrap_err();
    let messages: Vec<_> = report
        .diagnostics
        .iter()
        .map(|d| d.message.as_str())
        .collect();
    assert_eq!(
        messages,
        [
            "services wait for each other: b → c → b",
            "`d` waits for itself"
        ]
    );
}
