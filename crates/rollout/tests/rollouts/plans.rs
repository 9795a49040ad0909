use model::{Affinity, Audience, Blue, Share, Step, Strategy};
use rollout::{Capabilities, Plan, check_plan, preview};

use crate::world::{argv, error_rate, plan, rolling, secs, share};

const ABLE: Capabilities = Capabilities {
    share_step: Share::NONE,
    affinity: true,
    confirmation: true,
    loss_counting: true,
};

fn canary() -> Plan {
    let step = |percent, lasts, approve| Step {
        weight: share(percent),
        lasts: secs(lasts),
        approve,
        audience: (percent == 5).then(|| Audience::Host("x.example.com".into())),
        shadow: None,
    };
    plan(Strategy::Canary {
        steps: vec![step(5, 120, false), step(50, 0, true)],
    })
}

fn blue_green() -> Plan {
    let mut plan = plan(Strategy::BlueGreen(Blue {
        keep: secs(300),
        preview: Some(Audience::Host("preview.example.com".into())),
        smoke: Some(argv("./smoke --all")),
        approve: true,
        steps: Vec::new(),
    }));
    plan.replicas = 4;
    plan.policy.after = Some(argv("./verify"));
    plan
}

fn lines(plan: &Plan) -> Vec<String> {
    let stages = preview(plan).stages.into_iter();
    let line = |stage: rollout::Stage| {
        format!("{} [{}, {}]", stage.what, stage.instances_max, stage.share)
    };
    stages.map(line).collect()
}

#[test]
fn a_plan_that_the_place_can_do_is_accepted() {
    for plan in [
        plan(rolling(1, 0, None)),
        canary(),
        blue_green(),
        plan(Strategy::Recreate),
    ] {
        assert_eq!(check_plan(&plan, &ABLE), Ok(()));
    }
}

#[test]
fn everything_that_the_place_cannot_do_is_named_at_once() {
    let mut plan = canary();
    plan.policy.affinity = Some(Affinity::Cookie);
    plan.policy.stick_to_instance = true;
    plan.policy.min_ready = secs(60);
    let poor = Capabilities {
        share_step: share(10),
        affinity: false,
        ..ABLE
    };
    let refused = check_plan(&plan, &poor).unwrap_err();
    let starts: Vec<&str> = refused
        .iter()
        .map(|refused| refused.0.split('`').nth(1).unwrap())
        .collect();
    assert_eq!(starts, ["min_ready", "affinity", "stick", "weight = 5%"]);
}

#[test]
fn a_service_without_port_has_no_traffic_to_move_or_check() {
    for (mut plan, refusals) in [
        (canary(), 2),
        (blue_green(), 2),
        (plan(rolling(1, 0, None)), 1),
        (plan(Strategy::Recreate), 2),
    ] {
        plan.traffic = false;
        plan.policy.checks = error_rate();
        assert_eq!(check_plan(&plan, &ABLE).unwrap_err().len(), refusals);
    }
}

#[test]
fn a_rolling_plan_says_its_bounds() {
    let mut plan = plan(rolling(2, 1, Some(2)));
    plan.policy.before = Some(argv("./migrate up"));
    assert_eq!(
        lines(&plan),
        [
            "run `./migrate up` (before) [3, 0%]",
            "replace 3 by 3 instances of v2, at most 2 at a time, never fewer than 2 ready \
             [5, 100%]",
            "drain and stop v1 [5, 100%]",
        ]
    );
}

#[test]
fn a_canary_plan_says_its_steps_and_its_peak() {
    assert_eq!(
        lines(&canary()),
        [
            "step 1 of 2: 5% and host `x.example.com` on 1 of v2, for 2m [4, 5%]",
            "step 2 of 2: 50% on 2 of v2, until approved [5, 50%]",
            "start all 3 of v2 [6, 50%]",
            "send all traffic to v2 [6, 100%]",
            "drain and stop v1 [6, 100%]",
        ]
    );
    assert_eq!(preview(&canary()).instances_max, 6);
}

#[test]
fn a_blue_green_plan_says_everything_around_the_switch() {
    assert_eq!(
        lines(&blue_green()),
        [
            "start 3 of v2 beside the old ones [6, 0%]",
            "show it to host `preview.example.com` [6, 0%]",
            "run `./smoke --all` (smoke) [6, 0%]",
            "wait for approval of the switch [6, 0%]",
            "send all traffic to v2 [7, 100%]",
            "run `./verify` (after) [7, 100%]",
            "keep the old instances warm for 5m [7, 100%]",
            "drain and stop v1 [7, 100%]",
        ]
    );
}

#[test]
fn a_first_deploy_and_a_recreate_say_what_they_do() {
    let mut first = canary();
    first.from = None;
    first.from_replicas = 0;
    assert_eq!(
        lines(&first),
        ["start 3 of v2 [3, 0%]", "send all traffic to v2 [3, 100%]"]
    );
    assert_eq!(
        lines(&plan(Strategy::Recreate)),
        [
            "drain and stop v1 [3, 0%]",
            "start 3 of v2 [3, 0%]",
            "send all traffic to v2 [3, 100%]",
        ]
    );
}
