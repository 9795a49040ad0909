//! One mistake is one message.

use super::super::{EVERYTHING, LEAST};
use super::with;

#[test]
fn a_report_is_bounded_and_says_so() {
    let keys: String = (0..300)
        .map(|number| format!("key{number} = 1\n"))
        .collect();
    let text = with(&keys);
    let report = crate::parse(&text).unwrap_err();
    assert_eq!((report.diagnostics.len(), report.omitted), (200, 100));
    assert_eq!(report.to_string(), "the configuration has 300 mistakes");
    assert!(
        report
            .render("t", &text)
            .ends_with("\nand 100 more mistakes\n")
    );
}

#[test]
fn a_wrong_value_has_no_further_consequences() {
    for (from, to) in [
        ("strategy = \"canary\"", "strategy = \"x\""),
        ("port = false", "port = \"no\""),
        ("health = { tcp = true }", "health = 1"),
        ("affinity = \"header:X-User\"", "affinity = 1"),
        ("hosts = [\"old.example.com\"]", "hosts = [\"é\"]"),
        ("checks = [", "min_ready = 1\nchecks = ["),
    ] {
        let text = EVERYTHING
            .replace(from, to)
            .replace("min_ready = \"3s\"\n", "");
        let report = crate::parse(&text).unwrap_err();
        assert_eq!(report.diagnostics.len(), 1, "{}", report.render("t", &text));
    }
}

#[test]
fn beside_a_syntax_error_only_its_consequences_are_kept_back() {
    let text = LEAST
        .replace("artifact = \"dist\"", "artifact = \"dist")
        .to_owned()
        + "replicas = 0";
    let report = crate::parse(&text).unwrap_err();
    let messages: Vec<_> = report
        .diagnostics
        .iter()
        .map(|d| d.message.as_str())
        .collect();
    assert_eq!(messages.len(), 2, "{messages:?}");
    assert!(messages[0].starts_with("this is not TOML"), "{messages:?}");
    assert_eq!(messages[1], "`replicas` cannot be 0");
}
