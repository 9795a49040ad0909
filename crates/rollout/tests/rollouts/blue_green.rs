use model::{Audience, Blue, JobKind, OnFail, OnNoData, Outcome, Strategy, WaitingOn};
use rollout::{Order, Plan};

use crate::world::{World, argv, bad, error_rate, few, good, plan, secs};

fn blue(keep: u64) -> Blue {
    Blue {
        keep: secs(keep),
        preview: None,
        smoke: None,
        approve: false,
        steps: Vec::new(),
    }
}

fn blue_green(blue: Blue) -> Plan {
    plan(Strategy::BlueGreen(blue))
}

fn kept(wait: &WaitingOn) -> bool {
    matches!(wait, WaitingOn::Keep { .. })
}

#[test]
fn one_publication_switches_everything_and_the_old_set_is_kept() {
    let mut world = World::new(blue_green(blue(60)));
    world.run_until(kept);
    assert_eq!(world.target(), (3, 3, 10_000));
    let began = world.now;
    assert_eq!(world.outcome(), Outcome::Completed);
    assert_eq!(world.trace, [(3, 3, 0), (3, 3, 10_000), (0, 3, 10_000)]);
    assert!(world.now.since(began) >= secs(60));
}

#[test]
fn the_second_set_is_as_large_as_the_old_one_and_scaled_after_the_switch() {
    for (from, to, traced) in [
        (
            2,
            5,
            vec![(2, 2, 0), (2, 2, 10_000), (2, 5, 10_000), (0, 5, 10_000)],
        ),
        (
            5,
            2,
            vec![(5, 5, 0), (5, 5, 10_000), (5, 2, 10_000), (0, 2, 10_000)],
        ),
        (0, 2, vec![(0, 2, 0), (0, 2, 10_000)]),
    ] {
        let mut plan = blue_green(blue(10));
        (plan.from_replicas, plan.replicas) = (from, to);
        let mut world = World::new(plan);
        assert_eq!(world.outcome(), Outcome::Completed, "{from} to {to}");
        assert_eq!(world.trace, traced);
    }
}

#[test]
fn a_preview_is_confirmed_before_the_smoke_command_and_gone_after_the_switch() {
    let host = Audience::Host("preview.example.com".into());
    let mut world = World::new(blue_green(Blue {
        preview: Some(host.clone()),
        smoke: Some(argv("./smoke")),
        ..blue(10)
    }));
    world.confirms_in = secs(20);
    world.run_until(|wait| matches!(wait, WaitingOn::Confirmed { .. }));
    assert_eq!(world.last.target.audiences, [host]);
    assert!(world.last.target.jobs.is_empty());
    world.run_until(|wait| {
        matches!(
            wait,
            WaitingOn::Job {
                job: JobKind::Smoke
            }
        )
    });
    assert_eq!(world.target(), (3, 3, 0));
    world.run_until(kept);
    assert!(world.last.target.audiences.is_empty());
}

#[test]
fn a_failed_smoke_command_means_no_traffic_for_the_new_set() {
    let mut world = World::new(blue_green(Blue {
        smoke: Some(argv("./smoke")),
        ..blue(10)
    }));
    world.jobs.insert(JobKind::Smoke, "exit code 1".into());
    let ended = world.end();
    assert_eq!(ended.outcome, Outcome::RolledBack);
    assert_eq!(ended.reason, "job `smoke` failed: exit code 1");
    assert_eq!(world.trace, [(3, 3, 0), (3, 0, 0)]);
}

#[test]
fn only_approval_passes_the_gate_and_waiting_at_it_is_no_failure() {
    let mut world = World::new(blue_green(Blue {
        approve: true,
        steps: Vec::new(),
        ..blue(10)
    }));
    world.order(Order::Promote { full: true }).unwrap();
    assert!(world.order(Order::Approve).is_err(), "not there yet");
    world.run_until(|wait| matches!(wait, WaitingOn::Gate { step: None }));
    world.run(secs(6_000));
    assert_eq!(world.waits(), "gate: approve the switch");
    assert_eq!(
        world.order(Order::Promote { full: false }).unwrap_err().0,
        "it waits for approval; approve it"
    );
    world.order(Order::Approve).unwrap();
    assert_eq!(world.outcome(), Outcome::Completed);
}

#[test]
fn the_switch_waits_for_the_lockstep_partners() {
    let mut world = World::new(blue_green(blue(10)));
    world.peers = rollout::Peers::Behind(vec![model::ServiceName::try_new("api").unwrap()]);
    world.run(secs(6_000));
    assert_eq!((world.target(), world.state.reach()), ((3, 3, 0), 10_000));
    assert_eq!(world.waits(), "services api");
    world.peers = rollout::Peers::Free;
    assert_eq!(world.outcome(), Outcome::Completed);
}

#[test]
fn a_set_that_shrank_at_the_gate_is_not_switched_to() {
    let mut world = World::new(blue_green(Blue {
        approve: true,
        steps: Vec::new(),
        ..blue(10)
    }));
    world.run_until(|wait| matches!(wait, WaitingOn::Gate { .. }));
    world.programs[1].ready_max = 1;
    world.order(Order::Approve).unwrap();
    world.run(secs(5));
    assert_eq!(world.waits(), "1 of 3 of v2 ready");
    assert_eq!(world.target(), (3, 3, 0));
}

#[test]
fn within_the_keep_everything_leads_back_by_one_publication() {
    type Fault = fn(&mut World);
    let failures: [(&str, Fault, Outcome); 3] = [
        (
            "abort",
            |w| w.order(Order::Abort).unwrap(),
            Outcome::Aborted,
        ),
        (
            "crash loop",
            |w| w.trouble[1] = Some("exits".into()),
            Outcome::RolledBack,
        ),
        (
            "check",
            |w| w.samples = Some((good(), bad())),
            Outcome::RolledBack,
        ),
    ];
    for (name, fail, outcome) in failures {
        let mut plan = blue_green(blue(60));
        plan.policy.checks = error_rate();
        let mut world = World::new(plan);
        world.run_until(kept);
        fail(&mut world);
        world.tick();
        assert_eq!(world.last.target.share.basis_points(), 0, "{name}: at once");
        assert_eq!(world.outcome(), outcome, "{name}");
        let end = [(3, 3, 10_000), (3, 3, 0), (3, 0, 0)];
        assert!(world.trace.ends_with(&end), "{name}: {:?}", world.trace);
        assert_eq!(world.least_ready, 3, "{name}");
    }
}

#[test]
fn promoting_ends_the_keep() {
    for full in [false, true] {
        let mut world = World::new(blue_green(blue(6_000)));
        world.run_until(kept);
        let began = world.now;
        world.order(Order::Promote { full }).unwrap();
        assert_eq!(world.outcome(), Outcome::Completed);
        assert!(world.now.since(began) < secs(10));
    }
}

#[test]
fn the_old_set_is_kept_until_the_new_one_has_its_own_size() {
    let mut plan = blue_green(blue(10));
    (plan.from_replicas, plan.replicas) = (2, 5);
    let mut world = World::new(plan);
    world.programs[1].ready_max = 2;
    world.run(secs(40));
    assert_eq!(world.waits(), "2 of 5 of v2 ready");
    assert_eq!(world.target(), (2, 5, 10_000));
}

#[test]
fn held_time_does_not_shorten_the_keep() {
    let mut world = World::new(blue_green(blue(60)));
    world.run_until(kept);
    world.order(Order::Hold).unwrap();
    world.run(secs(600));
    assert_eq!(world.waits(), "held: by a person");
    world.order(Order::Resume).unwrap();
    world.run_until(kept);
    let resumed = world.now;
    world.end();
    assert!(world.now.since(resumed) >= secs(58));
}

#[test]
fn a_keep_without_enough_data_ends_as_the_policy_says() {
    for (policy, waits, outcome) in [
        (OnNoData::Hold, "verdict: 9 of 100 requests", None),
        (OnNoData::Promote, "", Some(Outcome::Completed)),
        (OnNoData::Rollback, "", Some(Outcome::RolledBack)),
    ] {
        let mut plan = blue_green(blue(10));
        plan.policy.checks = error_rate();
        plan.policy.on_no_data = policy;
        let mut world = World::new(plan);
        world.samples = Some((good(), few(9)));
        world.run(secs(600));
        let ended = world.last.ended.as_ref().map(|ended| ended.outcome);
        assert_eq!((world.waits().as_str(), ended), (waits, outcome));
    }
}

#[test]
fn the_window_of_the_keep_begins_with_the_confirmed_switch() {
    let mut plan = blue_green(blue(60));
    plan.policy.checks = error_rate();
    plan.policy.on_fail = OnFail::Hold;
    let mut world = World::new(plan);
    world.confirms_in = secs(10);
    world.run_until(|wait| matches!(wait, WaitingOn::Confirmed { .. }));
    let asked = world.now;
    assert_eq!(world.last.target.measure, None);
    world.run_until(kept);
    assert!(world.last.target.measure.unwrap() >= asked.after(secs(9)));
}
