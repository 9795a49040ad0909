//! Keys that would do nothing.

use super::super::refused_with;
use super::{rollout, with, worker};

#[test]
fn what_is_said_of_evidence_needs_something_to_judge() {
    for (lines, message) in [
        (
            "min_requests = 5",
            "`min_requests` does nothing without `checks`",
        ),
        (
            "on_no_data = \"promote\"",
            "`on_no_data` does nothing without `checks` or a step with `compare`",
        ),
        (
            "job_timeout = \"1m\"",
            "`job_timeout` does nothing without `before`, `after` or `smoke`",
        ),
    ] {
        refused_with(&rollout(lines), message);
    }
    for lines in [
        "min_requests = 5\nchecks = [{ metric = \"error_rate\", max = \"1%\" }]",
        "on_no_data = \"promote\"\nstrategy = \"canary\"\nsteps = [{ compare = { share = \"5%\" } }]",
        "job_timeout = \"1m\"\nafter = \"./warm\"",
    ] {
        crate::parse(&rollout(lines)).unwrap();
    }
}

#[test]
fn releases_that_never_serve_side_by_side_need_no_affinity() {
    let lines = "strategy = \"recreate\"\naffinity = \"cookie\"";
    refused_with(
        &rollout(lines),
        "`affinity` keeps users on one of two releases, and recreate never has both",
    );
    crate::parse(&rollout(&format!("{lines}\nstick = \"instance\""))).unwrap();
}

#[test]
fn copies_are_asked_in_whatever_the_program_speaks() {
    for key in ["shadow", "compare"] {
        for protocol in [
            "protocol = \"h2c\"",
            "protocol = \"https\"\nprogram_tls = { ca = \"/ca\" }",
            "protocol = \"h2\"\nprogram_tls = { ca = \"/ca\" }",
        ] {
            let text = with(&format!(
                "{protocol}\n[service.web.rollout]\nstrategy = \"blue_green\"\n\
                 steps = [{{ {key} = {{ share = \"5%\" }}, for = \"1m\" }}]"
            ));
            crate::parse(&text).unwrap();
        }
    }
}

#[test]
fn a_comparison_needs_traffic_on_the_old_release() {
    refused_with(
        &rollout(
            "strategy = \"canary\"\nsteps = [{ weight = \"100%\", compare = { share = \"5%\" } }]",
        ),
        "a step cannot have all traffic",
    );
}

#[test]
fn times_that_others_are_over_before_are_refused() {
    for (proxy, message) in [
        (
            "deadline = { try = \"2s\", total = \"2s\" }",
            "`try` does nothing: the `total` time is over before",
        ),
        (
            "stream_idle = \"60s\"",
            "`stream_idle` does nothing: it is not longer than what holds without it",
        ),
        (
            "limits = { requests = 2, queue = { length = 0, wait = \"1s\" } }",
            "nobody waits in a queue of no length",
        ),
    ] {
        refused_with(&with(&format!("proxy = {{ {proxy} }}")), message);
    }
    for (hedge, message) in [
        (
            "hedge = { after = \"1s\" }, deadline = { try = \"1s\" }",
            "`after` does nothing: the deadline of 1s is over before",
        ),
        ("hedge = { share = \"0%\" }", "0% of the requests are none"),
        ("hedge = { after = \"p50\" }", "`after` cannot be \"p50\""),
    ] {
        refused_with(&with(&format!("proxy = {{ {hedge} }}")), message);
    }
    for proxy in [
        "hedge = {}, deadline = { try = \"1s\" }",
        "deadline = { try = \"1s\", total = \"2s\" }",
        "stream_idle = \"30s\", response_timeout = \"20s\"",
        "limits = { requests = 2, queue = { length = 0 } }",
    ] {
        crate::parse(&with(&format!("proxy = {{ {proxy} }}"))).unwrap();
    }
}

#[test]
fn users_who_stay_with_one_instance_ask_no_other() {
    let text = with(
        "proxy = { hedge = {} }\n[service.web.rollout]\naffinity = \"cookie\"\nstick = \"instance\"",
    );
    refused_with(
        &text,
        "`hedge` asks another instance, and `stick` keeps each user on one",
    );
    crate::parse(&text.replace("stick = \"instance\"", "")).unwrap();
}

#[test]
fn programs_without_requests_have_nothing_to_drain() {
    let text = worker("").replace("port = false", "port = false\ndrain = \"1m\"");
    refused_with(&text, "`drain` needs requests, and so a port");
}

#[test]
fn what_nobody_outside_reaches_has_no_https() {
    let text = with("internal = true\nhttps = { hsts = \"1h\" }");
    let server = "[server]\nhttps = \"0.0.0.0:443\"\n\
                  tls = { certificates = [{ cert = \"/c\", key = \"/k\" }] }\n";
    refused_with(
        &format!("{text}{server}"),
        "`https` means nothing in a service that is internal",
    );
}
