use model::{
    Audience, AudienceValue, JobKind, Limit, OnFail, OnNoData, Outcome, Step, Strategy, Time,
    WaitingOn,
};
use rollout::{Order, Plan};

use crate::world::{TICK, World, argv, bad, error_rate, few, good, plan, secs, share};

fn step(percent: u16, lasts: u64) -> Step {
    Step {
        weight: share(percent),
        lasts: secs(lasts),
        approve: false,
        audience: None,
        shadow: None,
    }
}

fn gate(percent: u16) -> Step {
    Step {
        approve: true,
        ..step(percent, 0)
    }
}

fn canary(steps: &[Step]) -> Plan {
    let mut plan = plan(Strategy::Canary {
        steps: steps.to_vec(),
    });
    (plan.from_replicas, plan.replicas) = (10, 10);
    plan
}

fn checked(steps: &[Step]) -> Plan {
    let mut plan = canary(steps);
    plan.policy.checks = error_rate();
    plan
}

fn in_step(number: u32) -> impl Fn(&WaitingOn) -> bool {
    move |wait| matches!(wait, WaitingOn::Step { step, .. } if *step == number)
}

fn header(value: &str) -> Audience {
    Audience::Header {
        name: "x-staff".into(),
        value: AudienceValue::Plain(value.into()),
    }
}

#[test]
fn weights_grow_on_ready_instances_and_the_old_release_keeps_all_of_its_own() {
    let mut world = World::new(canary(&[step(5, 30), step(25, 30), step(50, 30)]));
    assert_eq!(world.outcome(), Outcome::Completed);
    assert_eq!(
        world.trace,
        [
            (10, 1, 0),
            (10, 1, 500),
            (10, 3, 500),
            (10, 3, 2_500),
            (10, 5, 2_500),
            (10, 5, 5_000),
            (10, 10, 5_000),
            (10, 10, 10_000),
            (0, 10, 10_000),
        ]
    );
    assert_eq!(world.most_running, 20);
    assert!(world.least_ready >= 10);
}

#[test]
fn the_time_of_a_step_counts_from_the_confirmed_publication() {
    let mut world = World::new(checked(&[step(5, 30)]));
    world.samples = Some((good(), good()));
    world.confirms_in = secs(20);
    world.run_until(|wait| matches!(wait, WaitingOn::Confirmed { .. }));
    let asked = world.now;
    world.run_until(in_step(1));
    let begun = world.now.0 - TICK.as_millis() as u64;
    assert!(begun >= asked.after(secs(19)).0);
    assert_eq!(world.last.target.measure, Some(Time(begun)));
    assert_eq!(world.last.wake, Some(Time(begun).after(secs(30))));
}

#[test]
fn a_broken_check_leads_back_in_the_middle_of_a_step() {
    let mut world = World::new(checked(&[step(5, 600), step(50, 600)]));
    world.run_until(in_step(1));
    world.samples = Some((good(), bad()));
    world.tick();
    assert_eq!(world.last.target.share.basis_points(), 0);
    let ended = world.end();
    assert_eq!(ended.outcome, Outcome::RolledBack);
    assert_eq!(
        ended.reason,
        "step 1 of 2: error_rate 9.00% is above 1.00% (1000 requests)"
    );
    assert_eq!(world.target(), (10, 0, 0));
}

#[test]
fn each_step_is_judged_by_its_own_window() {
    let mut world = World::new(checked(&[step(5, 30), step(50, 30)]));
    world.samples = Some((good(), good()));
    world.run_until(in_step(1));
    let first = world.last.target.measure.unwrap();
    world.run_until(in_step(2));
    assert!(world.last.target.measure.unwrap() > first);
}

#[test]
fn figures_of_an_older_window_decide_nothing() {
    let mut world = World::new(checked(&[step(5, 600)]));
    world.run_until(in_step(1));
    let mut seen = world.seen();
    let since = world.last.target.measure.unwrap();
    seen.comparison = Some(rollout::Comparison {
        since: Time(since.0 - 1),
        old: good(),
        new: bad(),
        compared: None,
    });
    let stale = rollout::step(&world.plan, &world.state, &seen, world.now);
    assert_eq!(stale.state.returning(), None);
    seen.comparison = seen
        .comparison
        .map(|figures| rollout::Comparison { since, ..figures });
    let fresh = rollout::step(&world.plan, &world.state, &seen, world.now);
    assert!(fresh.state.returning().is_some());
}

#[test]
fn no_data_at_the_end_of_a_step_does_what_the_policy_says() {
    for (policy, waits, outcome) in [
        (OnNoData::Hold, "verdict: 7 of 100 requests", None),
        (OnNoData::Promote, "", Some(Outcome::Completed)),
        (OnNoData::Rollback, "", Some(Outcome::RolledBack)),
    ] {
        let mut plan = checked(&[step(5, 10)]);
        plan.policy.on_no_data = policy;
        let mut world = World::new(plan);
        world.samples = Some((good(), few(7)));
        world.run(secs(6_000));
        let ended = world.last.ended.as_ref().map(|ended| ended.outcome);
        assert_eq!((world.waits().as_str(), ended), (waits, outcome));
    }
}

#[test]
fn figures_that_did_not_come_in_yet_are_waited_for_whatever_the_policy() {
    for policy in [OnNoData::Hold, OnNoData::Promote, OnNoData::Rollback] {
        let mut plan = checked(&[step(5, 0)]);
        plan.policy.on_no_data = policy;
        let mut world = World::new(plan);
        world.run(secs(600));
        assert_eq!(world.waits(), "verdict: 0 of 100 requests");
        world.samples = Some((good(), good()));
        assert_eq!(world.outcome(), Outcome::Completed);
    }
}

#[test]
fn a_step_that_ends_at_a_gate_needs_its_data_only_when_it_is_left() {
    let mut plan = checked(&[gate(5)]);
    plan.policy.on_no_data = OnNoData::Rollback;
    let mut world = World::new(plan);
    world.samples = Some((good(), few(7)));
    world.run_until(|wait| matches!(wait, WaitingOn::Gate { .. }));
    world.run(secs(600));
    assert_eq!(world.waits(), "gate: approve step 1");
    world.order(Order::Approve).unwrap();
    let ended = world.end();
    assert_eq!(ended.reason, "no verdict: 7 of 100 requests");
}

#[test]
fn data_that_comes_late_ends_the_wait_for_it() {
    let mut world = World::new(checked(&[step(5, 10)]));
    world.run_until(|wait| matches!(wait, WaitingOn::Verdict { .. }));
    world.run(secs(600));
    world.samples = Some((good(), good()));
    assert_eq!(world.outcome(), Outcome::Completed);
}

#[test]
fn promoting_ends_the_present_step_only() {
    let mut world = World::new(checked(&[step(5, 6_000), step(50, 6_000)]));
    world.run_until(in_step(1));
    world.order(Order::Promote { full: false }).unwrap();
    world.run_until(in_step(2));
    world.run(secs(60));
    assert_eq!(world.target(), (10, 5, 5_000));
}

#[test]
fn promoting_fully_ends_every_wait_but_a_gate() {
    let mut world = World::new(checked(&[step(5, 6_000), gate(25), step(50, 6_000)]));
    world.order(Order::Promote { full: true }).unwrap();
    world.run_until(|wait| matches!(wait, WaitingOn::Gate { step: Some(2) }));
    assert_eq!(world.waits(), "gate: approve step 2");
    world.run(secs(6_000));
    assert_eq!(world.target(), (10, 3, 2_500));
    world.order(Order::Approve).unwrap();
    assert_eq!(world.outcome(), Outcome::Completed);
}

#[test]
fn promoting_passes_neither_a_failed_check_nor_missing_instances() {
    let mut world = World::new(checked(&[step(5, 60), step(50, 60)]));
    world.programs[1].ready_max = 1;
    world.order(Order::Promote { full: true }).unwrap();
    world.run(secs(20));
    assert_eq!(world.target(), (10, 5, 500));
    let refused = world.order(Order::Promote { full: false }).unwrap_err();
    assert!(refused.0.contains("neither time nor data"), "{refused}");
    world.samples = Some((good(), bad()));
    assert_eq!(world.outcome(), Outcome::RolledBack);
}

#[test]
fn approval_passes_the_present_gate_only() {
    let mut world = World::new(canary(&[gate(5), gate(50)]));
    world.run_until(|wait| matches!(wait, WaitingOn::Gate { step: Some(1) }));
    world.order(Order::Approve).unwrap();
    assert!(world.order(Order::Approve).is_err());
    world.run_until(|wait| matches!(wait, WaitingOn::Gate { step: Some(2) }));
    world.run(secs(600));
    assert_eq!(world.target(), (10, 5, 5_000));
}

#[test]
fn audiences_add_up_over_the_steps_and_end_with_all_traffic() {
    let with = |value: &str, step: Step| Step {
        audience: Some(header(value)),
        ..step
    };
    let steps = [
        with("a", step(0, 10)),
        with("b", step(5, 10)),
        with("a", step(50, 10)),
    ];
    let mut world = World::new(canary(&steps));
    world.confirms_in = secs(5);
    world.run_until(in_step(1));
    assert_eq!(world.last.target.audiences, [header("a")]);
    assert_eq!(
        world.target(),
        (10, 1, 0),
        "one instance serves the audience"
    );
    world.run_until(in_step(3));
    assert_eq!(world.last.target.audiences, [header("a"), header("b")]);
    world.end();
    assert!(world.last.target.audiences.is_empty());
}

#[test]
fn held_time_counts_neither_for_the_step_nor_for_the_deadline() {
    let mut world = World::new(canary(&[step(5, 60)]));
    world.run_until(in_step(1));
    world.run(secs(20));
    world.order(Order::Hold).unwrap();
    world.run(secs(6_000));
    world.order(Order::Resume).unwrap();
    world.run_until(in_step(1));
    let left = world.last.wake.unwrap().since(world.now);
    assert!((secs(38)..=secs(40)).contains(&left), "{left:?}");
    assert_eq!(world.outcome(), Outcome::Completed);
}

#[test]
fn a_hold_still_protects() {
    let mut world = World::new(checked(&[step(5, 60)]));
    world.run_until(in_step(1));
    world.order(Order::Hold).unwrap();
    world.tick();
    world.samples = Some((good(), bad()));
    assert_eq!(world.outcome(), Outcome::RolledBack);
}

#[test]
fn after_on_fail_hold_the_evidence_is_gathered_afresh() {
    let mut plan = checked(&[step(5, 60)]);
    plan.policy.on_fail = OnFail::Hold;
    let mut world = World::new(plan);
    world.run_until(in_step(1));
    world.samples = Some((good(), bad()));
    world.run_until(|wait| matches!(wait, WaitingOn::Held { .. }));
    world.run(secs(600));
    assert_eq!(world.target(), (10, 1, 500));
    world.samples = Some((good(), good()));
    let resumed = world.now;
    world.order(Order::Resume).unwrap();
    world.tick();
    assert_eq!(world.last.target.measure, Some(resumed));
    assert!(
        world.waits().starts_with("step 1 of 1: "),
        "{}",
        world.waits()
    );
    assert_eq!(world.outcome(), Outcome::Completed);
}

#[test]
fn a_weight_below_the_one_before_takes_nothing_back() {
    let mut world = World::new(canary(&[step(50, 5), step(5, 5)]));
    world.run_until(in_step(2));
    assert_eq!(world.target(), (10, 5, 5_000));
}

#[test]
fn an_instance_lost_in_a_step_does_not_end_it() {
    let mut world = World::new(canary(&[step(50, 60)]));
    world.run_until(in_step(1));
    world.programs[1].ready_max = 2;
    world.run(secs(20));
    world.programs[1].ready_max = 99;
    assert_eq!(world.outcome(), Outcome::Completed);
}

#[test]
fn a_dead_old_release_is_not_waited_for_but_a_gate_is() {
    let mut plan = checked(&[step(5, 6_000), gate(50)]);
    plan.from_ready = false;
    plan.policy.checks[0].limits = vec![Limit::MaxRatio(120)];
    let mut world = World::new(plan);
    world.run_until(|wait| matches!(wait, WaitingOn::Gate { .. }));
    assert!(world.now.since(world.state.began) < secs(30));
    world.order(Order::Approve).unwrap();
    assert_eq!(world.outcome(), Outcome::Completed);
}

#[test]
fn a_failed_job_after_finds_the_old_release_whole() {
    let mut plan = canary(&[step(5, 10)]);
    plan.policy.after = Some(argv("verify"));
    let mut world = World::new(plan);
    world.jobs.insert(JobKind::After, "timed out".into());
    world.run_until(|wait| matches!(wait, WaitingOn::Job { .. }));
    assert_eq!(world.target(), (10, 10, 10_000));
    assert_eq!(world.outcome(), Outcome::RolledBack);
    let end = [(10, 10, 10_000), (10, 10, 0), (10, 0, 0)];
    assert!(world.trace.ends_with(&end), "{:?}", world.trace);
}
