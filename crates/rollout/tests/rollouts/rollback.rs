use model::{Blue, Count, JobKind, OnFail, Outcome, RolloutKind, Step, Strategy, WaitingOn};
use rollout::{Order, Plan};

use crate::world::{World, argv, bad, error_rate, good, plan, rolling, secs, share};

fn strategies() -> [Strategy; 3] {
    let step = Step {
        weight: share(5),
        lasts: secs(6_000),
        approve: true,
        audience: None,
        shadow: None,
    };
    let blue = Blue {
        keep: secs(6_000),
        preview: None,
        smoke: Some(argv("./smoke")),
        approve: true,
        steps: Vec::new(),
    };
    [
        Strategy::Canary { steps: vec![step] },
        Strategy::BlueGreen(blue),
        rolling(1, 0, None),
    ]
}

/// With every wait that a deploy can have.
fn demanding(strategy: Strategy) -> Plan {
    let mut plan = plan(strategy);
    plan.policy.checks = error_rate();
    plan.policy.before = Some(argv("migrate"));
    plan.policy.after = Some(argv("verify"));
    plan
}

#[test]
fn a_rollback_is_full_size_and_one_switch_without_gates_checks_or_jobs() {
    for strategy in strategies() {
        let mut plan = demanding(strategy);
        plan.kind = RolloutKind::Rollback;
        let mut world = World::new(plan);
        world.samples = Some((good(), bad()));
        assert_eq!(world.outcome(), Outcome::Completed);
        assert_eq!(world.trace, [(3, 3, 0), (3, 3, 10_000), (0, 3, 10_000)]);
        assert!(world.last.target.jobs.is_empty());
        assert!(world.now.since(world.state.began) < secs(15));
    }
}

#[test]
fn a_rollback_from_a_dead_release_gives_traffic_to_the_first_that_is_ready() {
    let mut plan = demanding(rolling(1, 0, None));
    plan.kind = RolloutKind::Rollback;
    plan.from_ready = false;
    let mut world = World::new(plan);
    world.programs[1].ready_max = 1;
    world.run(secs(10));
    assert_eq!(world.target(), (3, 3, 10_000));
}

#[test]
fn a_failed_rollback_keeps_what_serves_and_calls_a_person() {
    for on_fail in [OnFail::Rollback, OnFail::Hold] {
        let mut plan = demanding(rolling(1, 0, None));
        plan.kind = RolloutKind::Rollback;
        plan.policy.on_fail = on_fail;
        let mut world = World::new(plan);
        world.programs[1].ready_max = 2;
        let ended = world.end();
        assert_eq!(ended.outcome, Outcome::Failed);
        assert_eq!(ended.reason, "no progress for 1m: 2 of 3 of v2 ready");
        assert_eq!(
            world.trace,
            [(3, 3, 0), (3, 0, 0)],
            "no switch to a part of it"
        );
        assert_eq!(world.least_ready, 3);
    }
}

#[test]
fn a_rollback_of_what_may_not_overlap_does_not_overlap() {
    let mut plan = demanding(Strategy::Recreate);
    plan.policy.checks.clear();
    plan.kind = RolloutKind::Rollback;
    let mut world = World::new(plan);
    assert_eq!(world.outcome(), Outcome::Completed);
    assert_eq!(world.most_running, 3);
}

fn first(strategy: Strategy) -> Plan {
    let mut plan = demanding(strategy);
    plan.from = None;
    (plan.from_replicas, plan.from_ready) = (0, false);
    plan
}

#[test]
fn a_first_deploy_runs_its_jobs_and_serves() {
    for strategy in strategies().into_iter().chain([Strategy::Recreate]) {
        let mut world = World::new(first(strategy));
        world.run_until(|wait| {
            matches!(
                wait,
                WaitingOn::Job {
                    job: JobKind::Before
                }
            )
        });
        assert_eq!(world.target(), (0, 0, 0));
        world.run_until(|wait| {
            matches!(
                wait,
                WaitingOn::Job {
                    job: JobKind::After
                }
            )
        });
        assert_eq!(world.outcome(), Outcome::Completed);
        assert_eq!(world.target(), (0, 3, 10_000));
    }
}

#[test]
fn a_first_deploy_that_fails_stops_what_it_started() {
    let mut world = World::new(first(rolling(1, 0, None)));
    world.programs[1].ready_max = 2;
    let ended = world.end();
    assert_eq!(ended.outcome, Outcome::Failed);
    assert_eq!(ended.reason, "no progress for 1m: 2 of 3 of v2 ready");
    assert_eq!(world.target(), (0, 0, 0));
}

#[test]
fn a_first_deploy_can_be_aborted() {
    let mut world = World::new(first(Strategy::Rolling {
        surge: Count::Absolute(1),
        max_unavailable: Count::Absolute(0),
        batch: None,
    }));
    world.run(secs(7));
    world.order(Order::Abort).unwrap();
    assert_eq!(world.outcome(), Outcome::Aborted);
    assert_eq!(world.target(), (0, 0, 0));
}
