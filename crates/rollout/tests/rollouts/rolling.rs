use model::{Count, JobKind, OnFail, Outcome, WaitingOn};
use rollout::Order;

use crate::world::{World, argv, bad, error_rate, good, plan, rolling, secs, share};

#[test]
fn old_instances_go_one_by_one_as_new_ones_take_their_part() {
    let mut world = World::new(plan(rolling(1, 0, None)));
    assert_eq!(world.outcome(), Outcome::Completed);
    assert_eq!(
        world.trace,
        [
            (3, 1, 0),
            (2, 1, 3_333),
            (2, 2, 3_333),
            (1, 2, 6_666),
            (1, 3, 6_666),
            (1, 3, 10_000),
            (0, 3, 10_000),
        ]
    );
}

#[test]
fn capacity_and_size_stay_within_surge_and_max_unavailable() {
    // replicas before and after, surge, max unavailable, batch; least ready, most running
    let table = [
        (3, 3, 1, 0, None, 3, 4),
        (3, 3, 3, 0, None, 3, 6),
        (3, 3, 3, 0, Some(1), 3, 6),
        (4, 4, 0, 1, None, 3, 4),
        (4, 4, 0, 4, Some(2), 2, 4),
        (4, 4, 2, 2, None, 2, 6),
        (1, 1, 1, 0, None, 1, 2),
        (1, 1, 0, 1, None, 0, 1),
        (1, 4, 1, 0, None, 1, 5),
        (4, 1, 1, 0, None, 1, 5),
    ];
    for row in table {
        let (from, to, surge, unavailable, batch, least, most) = row;
        let mut plan = plan(rolling(surge, unavailable, batch));
        (plan.from_replicas, plan.replicas) = (from, to);
        let mut world = World::new(plan);
        assert_eq!(world.outcome(), Outcome::Completed, "{row:?}");
        assert_eq!(
            (world.least_ready, world.most_running <= most),
            (least, true),
            "{row:?}"
        );
        assert_eq!(world.target(), (0, to, 10_000), "{row:?}");
    }
}

#[test]
fn percentages_that_round_to_nothing_still_move() {
    let strategy = model::Strategy::Rolling {
        surge: Count::Absolute(0),
        max_unavailable: Count::Part(share(10)),
        batch: None,
    };
    let mut world = World::new(plan(strategy));
    assert_eq!(world.outcome(), Outcome::Completed);
    assert_eq!(world.least_ready, 3);
}

#[test]
fn an_instance_counts_only_after_min_ready() {
    let mut plan = plan(rolling(1, 0, None));
    plan.policy.min_ready = secs(10);
    let mut world = World::new(plan);
    world.run_until(|wait| matches!(wait, WaitingOn::MinReady { .. }));
    assert_eq!(world.target(), (3, 1, 0));
    let wake = world.last.wake.unwrap();
    assert_eq!(wake.since(world.now), secs(10) - crate::world::TICK);
    assert_eq!(world.outcome(), Outcome::Completed);
}

#[test]
fn the_last_old_instances_go_only_after_the_job_after() {
    let mut plan = plan(rolling(1, 0, None));
    plan.policy.after = Some(argv("warm up"));
    let mut world = World::new(plan);
    world.run_until(|wait| {
        matches!(
            wait,
            WaitingOn::Job {
                job: JobKind::After
            }
        )
    });
    assert_eq!(world.target(), (1, 3, 10_000));
    assert_eq!(world.outcome(), Outcome::Completed);
}

#[test]
fn a_failed_job_after_returns_without_losing_capacity() {
    let mut plan = plan(rolling(1, 0, None));
    plan.policy.after = Some(argv("warm up"));
    let mut world = World::new(plan);
    world.jobs.insert(JobKind::After, "exit code 3".into());
    let ended = world.end();
    assert_eq!(ended.outcome, Outcome::RolledBack);
    assert_eq!(ended.reason, "job `after` failed: exit code 3");
    assert_eq!(world.target(), (3, 0, 0));
    assert_eq!(world.least_ready, 3);
}

#[test]
fn a_failed_job_before_starts_nothing() {
    let mut plan = plan(rolling(1, 0, None));
    plan.policy.before = Some(argv("migrate"));
    let mut world = World::new(plan);
    world.jobs.insert(JobKind::Before, "exit code 1".into());
    assert_eq!(world.outcome(), Outcome::RolledBack);
    assert_eq!(world.trace, [(3, 0, 0)]);
}

#[test]
fn a_release_that_never_gets_ready_leaves_the_old_one_untouched() {
    let mut world = World::new(plan(rolling(1, 0, None)));
    world.programs[1].ready_max = 0;
    let began = world.now;
    let ended = world.end();
    assert_eq!(ended.outcome, Outcome::RolledBack);
    assert_eq!(ended.reason, "no progress for 1m: 0 of 1 of v2 ready");
    assert_eq!(world.trace, [(3, 1, 0), (3, 0, 0)]);
    assert!(world.now.since(began) < secs(70));
    assert_eq!(world.least_ready, 3);
}

#[test]
fn a_crash_loop_leads_back_at_once() {
    let mut world = World::new(plan(rolling(1, 0, None)));
    world.run_until(|wait| matches!(wait, WaitingOn::Drain { .. }));
    world.trouble[1] = Some("exited with 1 five times".into());
    let ended = world.end();
    assert_eq!(ended.outcome, Outcome::RolledBack);
    assert_eq!(ended.reason, "v2 cannot run: exited with 1 five times");
    assert_eq!(world.target(), (3, 0, 0));
}

#[test]
fn on_fail_hold_freezes_with_the_reason_and_a_person_decides() {
    let mut plan = plan(rolling(1, 0, None));
    plan.policy.on_fail = OnFail::Hold;
    let mut world = World::new(plan);
    world.programs[1].ready_max = 1;
    world.run_until(|wait| matches!(wait, WaitingOn::Held { .. }));
    let frozen = world.target();
    world.run(secs(600));
    assert_eq!(world.target(), frozen);
    assert_eq!(
        world.waits(),
        "held: no progress for 1m: 1 of 2 of v2 ready"
    );
    world.programs[1].ready_max = 3;
    world.order(Order::Resume).unwrap();
    assert_eq!(world.outcome(), Outcome::Completed);
}

#[test]
fn checks_watch_from_the_first_part_of_the_traffic_on() {
    let mut plan = plan(rolling(1, 0, None));
    plan.policy.checks = error_rate();
    let mut world = World::new(plan);
    world.samples = Some((good(), bad()));
    let ended = world.end();
    assert_eq!(ended.outcome, Outcome::RolledBack);
    assert_eq!(
        ended.reason,
        "error_rate 9.00% is above 1.00% (1000 requests)"
    );
}

#[test]
fn checks_watch_until_the_old_release_is_let_go() {
    let mut plan = plan(rolling(1, 0, None));
    plan.policy.checks = error_rate();
    plan.policy.after = Some(argv("verify"));
    let mut world = World::new(plan);
    world.samples = Some((good(), good()));
    world.run_until(|wait| matches!(wait, WaitingOn::Job { .. }));
    world.samples = Some((good(), bad()));
    assert_eq!(world.outcome(), Outcome::RolledBack);
    assert_eq!(world.target(), (3, 0, 0));
}

#[test]
fn a_good_release_progresses_although_the_old_one_is_broken() {
    let mut plan = plan(rolling(1, 0, None));
    plan.from_ready = false;
    let mut world = World::new(plan);
    assert_eq!(world.outcome(), Outcome::Completed);
    assert_eq!(
        world.trace[1],
        (2, 1, 10_000),
        "all that is ready gets everything"
    );
}

#[test]
fn a_batch_bounds_the_instances_that_are_not_yet_available() {
    let mut plan = plan(rolling(3, 0, Some(1)));
    plan.policy.min_ready = secs(10);
    let mut world = World::new(plan);
    world.run_until(|wait| matches!(wait, WaitingOn::MinReady { .. }));
    world.run(secs(5));
    assert_eq!(world.target(), (3, 1, 0));
    assert_eq!(world.outcome(), Outcome::Completed);
    let raised = world.trace.windows(2).map(|pair| pair[1].1 - pair[0].1);
    assert_eq!(raised.max(), Some(1));
}

#[test]
fn an_old_instance_that_will_be_started_again_has_its_place() {
    let mut world = World::new(plan(rolling(1, 0, None)));
    world.tick();
    let mut seen = world.seen();
    seen.old = rollout::Counts {
        running: 1,
        ready: 1,
        ..seen.old
    };
    let decision = rollout::step(&world.plan, &world.state, &seen, world.now);
    assert_eq!((decision.target.old, decision.target.new), (3, 1));
}

#[test]
fn tables_are_confirmed_one_after_the_other() {
    let mut world = World::new(plan(rolling(2, 1, None)));
    world.confirms_in = secs(30);
    assert_eq!(world.outcome(), Outcome::Completed);
}

#[test]
fn a_long_drain_is_no_missed_deadline() {
    let mut plan = plan(rolling(1, 0, None));
    plan.drain = secs(300);
    let mut world = World::new(plan);
    world.drains_in = secs(300);
    assert_eq!(world.outcome(), Outcome::Completed);
}

#[test]
fn held_time_does_not_count_for_the_deadline_even_if_nothing_moves() {
    let mut world = World::new(plan(rolling(1, 0, None)));
    world.programs[1].ready_max = 0;
    world.run(secs(40));
    world.order(Order::Hold).unwrap();
    world.run(secs(6_000));
    world.order(Order::Resume).unwrap();
    world.run(secs(15));
    assert_eq!(world.waits(), "0 of 1 of v2 ready");
    assert_eq!(world.outcome(), Outcome::RolledBack);
}

#[test]
fn no_batch_moves_before_the_partners_are_as_far() {
    let mut world = World::new(plan(rolling(1, 0, None)));
    world.peers = rollout::Peers::Behind(vec![model::ServiceName::try_new("api").unwrap()]);
    world.run(secs(600));
    assert_eq!((world.target(), world.state.reach()), ((3, 1, 0), 3_333));
    world.peers = rollout::Peers::Free;
    assert_eq!(world.outcome(), Outcome::Completed);
}

#[test]
fn a_moment_without_a_ready_old_instance_does_not_give_everything_to_the_first_new_one() {
    let mut world = World::new(plan(rolling(1, 0, None)));
    world.programs[0].ready_max = 0;
    world.run(secs(4));
    assert_eq!(world.target(), (2, 1, 3_333));
    world.programs[0].ready_max = 3;
    assert_eq!(world.outcome(), Outcome::Completed);
}

#[test]
fn a_service_without_port_is_replaced_without_traffic() {
    let mut plan = plan(rolling(1, 0, None));
    plan.traffic = false;
    plan.policy.after = Some(argv("report"));
    let mut world = World::new(plan);
    world.confirms_in = secs(1_000_000);
    assert_eq!(world.outcome(), Outcome::Completed);
    assert!(world.trace.iter().all(|(_, _, share)| *share == 0));
    assert_eq!(world.trace.last(), Some(&(0, 3, 0)));
    assert_eq!(world.least_ready, 3);
}

#[test]
fn a_table_that_is_never_confirmed_ends_the_rollout_where_it_is() {
    let mut world = World::new(plan(rolling(1, 0, None)));
    world.run_until(|wait| matches!(wait, WaitingOn::Drain { .. }));
    world.confirms_in = secs(1_000_000);
    let ended = world.end();
    assert_eq!(ended.outcome, Outcome::Failed);
    assert!(world.least_ready >= 3);
}
