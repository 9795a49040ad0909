//! Steps in which the new release gets copies and answers nobody.

use model::{
    Audience, Blue, Compare, OnFail, OnNoData, Outcome, Shadow, Share, Step, Strategy, WaitingOn,
};
use rollout::{Order, Plan};
use verdict::Figures;

use crate::world::{World, error_rate, few, plan, secs, share};

fn shadow(compare: Option<Compare>) -> Step {
    Step {
        weight: Share::NONE,
        lasts: secs(10),
        approve: false,
        audience: None,
        shadow: Some(Shadow {
            share: share(5),
            methods: vec!["GET".to_owned()],
            body_bytes_max: 1_024,
            compare,
        }),
    }
}

fn compare() -> Step {
    shadow(Some(Compare {
        headers: Vec::new(),
        ignore: Vec::new(),
        samples: 100,
        at_most: share(1),
    }))
}

fn exposed() -> Step {
    Step {
        weight: share(5),
        shadow: None,
        ..shadow(None)
    }
}

fn canary(steps: Vec<Step>) -> Plan {
    plan(Strategy::Canary { steps })
}

fn blue_green(steps: Vec<Step>) -> Plan {
    plan(Strategy::BlueGreen(Blue {
        keep: secs(10),
        preview: Some(Audience::Host("preview.example.com".into())),
        smoke: None,
        approve: false,
        steps,
    }))
}

fn found(compared: u64, differing: u64) -> Option<Figures> {
    Some(Figures {
        compared,
        differing,
        worst: Some("GET / in body.price".to_owned()),
    })
}

fn in_step(number: u32) -> impl Fn(&WaitingOn) -> bool {
    move |wait| matches!(wait, WaitingOn::Step { step, .. } if *step == number)
}

/// Both strategies with the same first step.
fn both(step: &Step) -> [World; 2] {
    [
        canary(vec![step.clone(), exposed()]),
        blue_green(vec![step.clone()]),
    ]
    .map(World::new)
}

#[test]
fn a_shadow_lasts_as_long_as_its_step_and_gives_nobody_to_the_new_release() {
    for mut world in both(&shadow(None)) {
        world.run_until(in_step(1));
        assert_eq!(world.last.target.share, Share::NONE);
        let wanted = world.last.target.shadow.clone().unwrap();
        assert_eq!((wanted.key.step, wanted.policy.share), (1, share(5)));
        let began = world.now;
        while world.last.target.shadow.is_some() {
            assert_eq!(world.last.target.share, Share::NONE);
            world.tick();
        }
        assert!(world.now.since(began) >= secs(10));
        assert_eq!(world.outcome(), Outcome::Completed);
        assert_eq!(world.last.target.shadow, None);
    }
}

#[test]
fn the_time_of_a_shadow_counts_from_its_confirmation() {
    for mut world in both(&shadow(None)) {
        world.confirms_in = secs(20);
        world.run_until(|wait| matches!(wait, WaitingOn::Confirmed { .. }));
        while world.last.target.shadow.is_none() {
            world.tick();
        }
        let published = world.now;
        world.run_until(in_step(1));
        assert!(world.now.since(published) >= secs(19));
    }
}

#[test]
fn checks_say_nothing_while_nobody_is_exposed() {
    for mut world in both(&shadow(None)) {
        world.plan.policy.checks = error_rate();
        world.samples = Some((few(0), few(0)));
        world.run_until(in_step(1));
        assert_eq!(world.last.target.measure, None);
        while world.last.target.shadow.is_some() {
            world.tick();
        }
        assert_eq!(world.state.returning(), None);
    }
}

#[test]
fn too_many_differences_end_it_before_anybody_was_exposed() {
    for mut world in both(&compare()) {
        world.samples = Some((few(0), few(0)));
        world.compared = found(40, 2);
        let ended = world.end();
        assert_eq!(ended.outcome, Outcome::RolledBack);
        assert!(world.trace.iter().all(|(_, _, share)| *share == 0));
        assert!(ended.reason.contains("step 1 of "), "{}", ended.reason);
        let why = "2 of 40 compared requests differ, more than 1.00%: GET / in body.price";
        assert!(ended.reason.ends_with(why), "{}", ended.reason);
    }
}

#[test]
fn few_differences_among_enough_samples_let_it_pass() {
    for mut world in both(&compare()) {
        world.samples = Some((few(0), few(0)));
        world.compared = found(100, 1);
        assert_eq!(world.outcome(), Outcome::Completed);
    }
}

#[test]
fn without_enough_samples_it_waits_however_long_the_step_has_lasted() {
    for mut world in both(&compare()) {
        world.samples = Some((few(0), few(0)));
        world.compared = found(99, 0);
        world.run_until(|wait| matches!(wait, WaitingOn::Verdict { .. }));
        world.run(secs(600));
        assert_eq!(world.waits(), "verdict: 99 of 100 requests");
        assert!(world.last.target.shadow.is_some());
        world.order(Order::Promote { full: false }).unwrap();
        assert_eq!(world.outcome(), Outcome::Completed);
    }
}

#[test]
fn without_enough_samples_the_policy_may_say_to_return() {
    for mut world in both(&compare()) {
        world.plan.policy.on_no_data = OnNoData::Rollback;
        world.samples = Some((few(0), few(0)));
        world.compared = found(99, 0);
        let ended = world.end();
        assert_eq!(ended.outcome, Outcome::RolledBack);
        assert_eq!(ended.reason, "no verdict: 99 of 100 requests");
    }
}

#[test]
fn who_resumes_after_a_failure_begins_with_fresh_evidence() {
    for mut world in both(&compare()) {
        world.plan.policy.on_fail = OnFail::Hold;
        world.samples = Some((few(0), few(0)));
        world.compared = found(40, 2);
        world.run_until(|wait| matches!(wait, WaitingOn::Held { .. }));
        let before = world.last.target.shadow.clone().unwrap();
        world.order(Order::Resume).unwrap();
        world.compared = found(100, 0);
        world.tick();
        let after = world.last.target.shadow.clone().unwrap();
        assert!(after.key > before.key);
        assert_eq!(world.outcome(), Outcome::Completed);
    }
}

#[test]
fn findings_about_another_shadow_decide_nothing() {
    let mut world = World::new(canary(vec![compare(), exposed()]));
    world.samples = Some((few(0), few(0)));
    world.run_until(in_step(1));
    let mut seen = world.seen();
    let mut key = world.last.target.shadow.clone().unwrap().key;
    key.step = 2;
    let since = world.last.target.measure.unwrap();
    seen.comparison = Some(rollout::Comparison {
        since,
        old: few(0),
        new: few(0),
        compared: found(40, 40).map(|figures| (key, figures)),
    });
    let decision = rollout::step(&world.plan, &world.state, &seen, world.now);
    assert_eq!(decision.state.returning(), None);
}

#[test]
fn an_abort_ends_the_copies_at_once() {
    for mut world in both(&shadow(None)) {
        world.run_until(in_step(1));
        world.order(Order::Abort).unwrap();
        world.tick();
        assert_eq!(world.last.target.shadow, None);
        assert_eq!(world.outcome(), Outcome::Aborted);
    }
}

#[test]
fn a_weight_and_a_shadow_can_go_together() {
    let mut with = exposed();
    with.shadow = shadow(None).shadow;
    let mut world = World::new(canary(vec![with]));
    world.run_until(in_step(1));
    assert_eq!(world.last.target.share, share(5));
    assert!(world.last.target.shadow.is_some());
    assert_eq!(world.outcome(), Outcome::Completed);
}
