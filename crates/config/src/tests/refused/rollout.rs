//! Rollouts.

use super::super::{LEAST, refused_with};
use super::rollout;

#[test]
fn knobs_belong_to_their_strategy() {
    for (lines, key, owner, set) in [
        ("keep = \"1m\"", "keep", "strategy blue_green", "rolling"),
        (
            "approve = true",
            "approve",
            "strategy blue_green",
            "rolling",
        ),
        ("smoke = \"./a\"", "smoke", "strategy blue_green", "rolling"),
        (
            "steps = []",
            "steps",
            "strategies canary and blue_green",
            "rolling",
        ),
        (
            "strategy = \"recreate\"\nsurge = 1",
            "surge",
            "strategy rolling",
            "recreate",
        ),
        (
            "strategy = \"blue_green\"\nbatch = 1",
            "batch",
            "strategy rolling",
            "blue_green",
        ),
    ] {
        let message = format!("`{key}` belongs to the {owner}, and this one is {set}");
        refused_with(&rollout(lines), &message);
    }
    refused_with(
        &rollout("strategy = \"canery\"\nsteps = []"),
        "`strategy` cannot be \"canery\"",
    );
}

#[test]
fn rolling_must_be_able_to_replace_something() {
    let both = "nothing could ever be replaced: `surge` and `max_unavailable` are both 0";
    refused_with(&rollout("surge = 0"), both);
    refused_with(&rollout("surge = \"0%\"\nmax_unavailable = 0"), both);
    refused_with(
        &rollout("surge = 0\nmax_unavailable = \"50%\""),
        "nothing could ever be replaced: `surge` is 0 and 50% of 1 replicas, rounded down, is 0",
    );
    assert!(crate::parse(&rollout("surge = 0\nmax_unavailable = 1")).is_ok());
    assert!(crate::parse(&rollout("surge = \"1%\"")).is_ok());
    refused_with(&rollout("batch = 0"), "a `batch` of 0 replaces nothing");
    refused_with(&rollout("surge = 1.5"), "`surge` cannot be 1.5");
    refused_with(&rollout("surge = \"101%\""), "`surge` cannot be \"101%\"");
}

#[test]
fn canary_steps_grow_last_and_leave_something() {
    let canary = |steps: &str| rollout(&format!("strategy = \"canary\"\n{steps}"));
    let none = "the canary of service.web.rollout has no steps";
    for (steps, message) in [
        ("", none),
        ("steps = []", none),
        ("steps = [1]", "`steps` cannot be 1"),
        (
            "steps = [{ for = \"1m\" }]",
            "service.web.rollout.steps[0] does nothing",
        ),
        (
            "steps = [{ weight = \"5%\" }]",
            "service.web.rollout.steps[0] ends at once",
        ),
        (
            "steps = [{ weight = \"100%\", for = \"1m\" }]",
            "a step cannot have all traffic",
        ),
        (
            "steps = [{ weight = 5, for = \"1m\" }]",
            "`weight` cannot be 5",
        ),
        (
            "steps = [{ weight = \"0%\", for = \"1m\" }]",
            "a step of 0% without `audience` tries the new release on nobody",
        ),
        (
            "steps = [{ weight = \"5%\", for = \"1m\" }, { weight = \"5%\", for = \"1m\" }]",
            "the weights of steps must grow, and 5% follows 5%",
        ),
        (
            "steps = [{ weight = \"5%\", for = \"1m\", audience = { value = \"1\" } }]",
            "service.web.rollout.steps[0].audience has none of `header`, `cookie`",
        ),
        (
            "steps = [{ weight = \"5%\", for = \"1m\", audience = { header = \"a\" } }]",
            "service.web.rollout.steps[0].audience has none of `value`, `percent`",
        ),
        (
            "steps = [{ weight = \"5%\", for = \"1m\", audience = { header = \"a\", value = \"1\", percent = \"5%\" } }]",
            "service.web.rollout.steps[0].audience has more than one of `value`, `percent`",
        ),
        (
            "steps = [{ weight = \"5%\", for = \"1m\", audience = { header = \"a\", percent = \"0%\" } }]",
            "an audience of 0% is nobody",
        ),
        (
            "steps = [{ weight = \"5%\", for = \"1m\", audience = { header = \"a b\", value = \"1\" } }]",
            "`header` cannot be \"a b\"",
        ),
        (
            "steps = [{ weight = \"5%\", for = \"1m\", audience = { header = \"a\", value = \"secret:\" } }]",
            "`value` cannot be what is written here",
        ),
    ] {
        refused_with(&canary(steps), message);
    }
}

#[test]
fn checks_have_bounds_in_the_unit_of_their_metric() {
    let check = |check: &str| rollout(&format!("checks = [{{ {check} }}]"));
    for (lines, message) in [
        (
            "metric = \"error_rate\"",
            "service.web.rollout.checks[0] has no bound",
        ),
        (
            "max = \"1%\"",
            "`metric` is missing in service.web.rollout.checks[0]",
        ),
        (
            "metric = \"errors\", max = \"1%\"",
            "`metric` cannot be \"errors\"",
        ),
        (
            "metric = \"error_rate\", max = \"1s\"",
            "`max` is a duration, which does not fit the metric",
        ),
        (
            "metric = \"latency_p99\", max_delta = \"1%\"",
            "`max_delta` is a percentage, which does not fit the metric",
        ),
        ("metric = \"error_rate\", max = 1", "`max` cannot be 1"),
        (
            "metric = \"error_rate\", max_ratio = 0.9",
            "`max_ratio` cannot be 0.9",
        ),
        (
            "metric = \"error_rate\", max_ratio = 1.234",
            "`max_ratio` cannot be 1.234",
        ),
    ] {
        refused_with(&check(lines), message);
    }
    refused_with(&rollout("min_requests = 0"), "`min_requests` cannot be 0");
}

#[test]
fn the_rest_of_a_rollout_keeps_its_form() {
    for (lines, message) in [
        ("affinity = \"header:\"", "`affinity` cannot be \"header:\""),
        ("affinity = \"cookies\"", "`affinity` cannot be \"cookies\""),
        (
            "stick = \"instance\"",
            "`stick` needs `affinity` in service.web.rollout",
        ),
        (
            "affinity = \"cookie\"\nstick = \"release\"",
            "`stick` cannot be \"release\"",
        ),
        (
            "min_ready = \"10m\"",
            "no instance could count in time: `min_ready` is not below `deadline`",
        ),
        (
            "strategy = \"recreate\"\nchecks = [{ metric = \"error_rate\", max = \"1%\" }]",
            "`checks` compare two releases that serve, and recreate never has both",
        ),
        ("deadline = \"0s\"", "`deadline` cannot be \"0s\""),
        ("job_timeout = \"0s\"", "`job_timeout` cannot be \"0s\""),
        ("on_fail = \"promote\"", "`on_fail` cannot be \"promote\""),
        ("on_no_data = \"fail\"", "`on_no_data` cannot be \"fail\""),
    ] {
        refused_with(&rollout(lines), message);
    }
    let blue = |preview: &str| rollout(&format!("strategy = \"blue_green\"\npreview = {preview}"));
    let path = "service.web.rollout.preview";
    for (preview, message) in [
        (
            "{ header = \"X\" }",
            format!("`value` is missing in {path}"),
        ),
        (
            "{ host = \"a.com\", value = \"1\" }",
            format!("`value` needs `header` in {path}"),
        ),
        (
            "{ host = \"*.a.com\" }",
            "`host` cannot be \"*.a.com\"".to_owned(),
        ),
    ] {
        refused_with(&blue(preview), &message);
    }
    let text = LEAST.to_owned() + "hosts = [\"a.com\"]\n";
    let text = blue("{ host = \"a.com\" }").replace(LEAST, &text);
    refused_with(&text, "the preview's host leads to a service already");
}

#[test]
fn a_shadow_copies_something_into_what_memory_allows() {
    let canary = |step: &str| {
        rollout(&format!(
            "strategy = \"canary\"\nsteps = [{{ {step}, for = \"1m\" }}]"
        ))
    };
    for (step, message) in [
        (
            "shadow = {}",
            "`share` is missing in service.web.rollout.steps[0].shadow",
        ),
        ("shadow = { share = \"0%\" }", "0% of the requests are none"),
        (
            "shadow = { share = \"1%\", body_max = \"5MiB\" }",
            "copies are kept in memory, and this is too much for one",
        ),
        (
            "shadow = { share = \"1%\", methods = [] }",
            "without a method nothing is copied",
        ),
        (
            "shadow = { share = \"1%\", methods = [\"get\"] }",
            "`methods` cannot be \"get\"",
        ),
        (
            "shadow = { share = \"1%\" }, compare = { share = \"1%\" }",
            "a step has either `shadow` or `compare`: comparing copies, too",
        ),
        (
            "compare = { share = \"1%\", methods = [\"POST\"] }",
            "unknown key `methods` in service.web.rollout.steps[0].compare",
        ),
        (
            "compare = { share = \"1%\", samples = 0 }",
            "`samples` cannot be 0",
        ),
        (
            "compare = { share = \"1%\", ignore = [\"price\"] }",
            "`ignore` cannot be \"price\"",
        ),
    ] {
        refused_with(&canary(step), message);
    }
}

#[test]
fn before_the_switch_of_blue_green_nobody_is_exposed() {
    let blue_green = |steps: &str| rollout(&format!("strategy = \"blue_green\"\n{steps}"));
    for (steps, message) in [
        (
            "steps = [{ weight = \"5%\", for = \"1m\", shadow = { share = \"1%\" } }]",
            "`weight` exposes users, and blue_green does so at its switch",
        ),
        (
            "steps = [{ for = \"1m\" }]",
            "service.web.rollout.steps[0] does nothing",
        ),
        (
            "steps = [{ shadow = { share = \"1%\" } }]",
            "service.web.rollout.steps[0] ends at once",
        ),
    ] {
        refused_with(&blue_green(steps), message);
    }
}
