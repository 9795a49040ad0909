use model::{JobKind, Outcome, ServiceName, Step, Strategy, WaitingOn};
use rollout::{Order, Peers, Plan};

use crate::world::{World, argv, plan, rolling, secs, share};

fn at_the_end() -> World {
    let mut plan = plan(rolling(4, 0, None));
    (plan.from_replicas, plan.replicas) = (4, 4);
    plan.policy.max_unavailable_all();
    plan.policy.after = Some(argv("verify"));
    let mut world = World::new(plan);
    world.run_until(|wait| {
        matches!(
            wait,
            WaitingOn::Job {
                job: JobKind::After
            }
        )
    });
    world
}

trait AllAtOnce {
    fn max_unavailable_all(&mut self);
}

impl AllAtOnce for model::RolloutPolicy {
    /// Everything old may go while one new instance is there: nothing is left to return to.
    fn max_unavailable_all(&mut self) {
        self.strategy = rolling(0, 4, Some(3));
    }
}

fn half_way(percent: u16) -> Plan {
    let mut plan = plan(Strategy::Canary {
        steps: vec![Step {
            weight: share(percent),
            lasts: secs(6_000),
            approve: false,
            audience: None,
            shadow: None,
        }],
    });
    (plan.from_replicas, plan.replicas) = (4, 4);
    plan
}

fn in_step(wait: &WaitingOn) -> bool {
    matches!(wait, WaitingOn::Step { .. })
}

#[test]
fn traffic_moves_back_only_as_fast_as_old_instances_get_ready() {
    let mut world = at_the_end();
    assert_eq!(world.last.target.old, 0);
    world.programs[0].ready_max = 1;
    world.order(Order::Abort).unwrap();
    world.run(secs(10));
    assert_eq!(world.target(), (4, 3, 7_500));
    world.programs[0].ready_max = 3;
    world.run(secs(5));
    assert_eq!(world.target(), (4, 1, 2_500));
    world.programs[0].ready_max = 4;
    assert_eq!(world.outcome(), Outcome::Aborted);
    assert_eq!(world.target(), (4, 0, 0));
}

#[test]
fn a_new_release_without_a_ready_instance_gives_everything_back_at_once() {
    let mut world = at_the_end();
    world.programs[0].ready_max = 1;
    world.programs[1].ready_max = 0;
    world.order(Order::Abort).unwrap();
    world.run(secs(6));
    assert_eq!(world.last.target.share.basis_points(), 0);
    assert_eq!(world.outcome(), Outcome::Aborted);
}

#[test]
fn an_old_release_that_cannot_be_started_leaves_the_new_one_serving() {
    for crash_loop in [false, true] {
        let mut world = at_the_end();
        world.programs[0].ready_max = 0;
        world.order(Order::Abort).unwrap();
        let began = world.now;
        world.run(secs(5));
        world.trouble[0] = crash_loop.then(|| "v1 exits with 2".to_owned());
        let ended = world.end();
        assert_eq!(ended.outcome, Outcome::Failed);
        assert!(
            ended
                .reason
                .starts_with("aborted by a person; the return failed, too: ")
        );
        assert_eq!(world.now.since(began) < secs(10), crash_loop);
        assert_eq!(world.target(), (4, 4, 10_000));
        assert!(world.least_ready >= 1);
    }
}

#[test]
fn what_is_ready_of_the_old_release_takes_everything_when_no_more_of_it_comes() {
    let mut world = at_the_end();
    world.programs[0].ready_max = 1;
    world.order(Order::Abort).unwrap();
    world.run(secs(30));
    assert_eq!(world.target(), (4, 3, 7_500));
    assert_eq!(world.outcome(), Outcome::Aborted);
    assert_eq!(world.target(), (4, 0, 0));
    assert!(world.now.since(world.state.began) < secs(120));
}

#[test]
fn trouble_with_some_old_instances_does_not_burden_the_others_at_once() {
    let mut world = at_the_end();
    world.programs[0].ready_max = 1;
    world.order(Order::Abort).unwrap();
    world.run(secs(9));
    world.trouble[0] = Some("v1 exits with 2".into());
    world.run(secs(20));
    assert_eq!(world.target(), (4, 3, 7_500));
    assert_eq!(world.outcome(), Outcome::Aborted);
}

#[test]
fn trouble_of_an_earlier_life_does_not_end_a_return_before_it_was_tried() {
    let mut world = at_the_end();
    world.trouble[0] = Some("v1 exits with 2".into());
    world.order(Order::Abort).unwrap();
    world.run(secs(1));
    world.trouble[0] = None;
    assert_eq!(world.outcome(), Outcome::Aborted);
}

#[test]
fn one_sick_old_instance_strands_nobody_on_a_canary() {
    let mut world = World::new(half_way(5));
    world.run_until(in_step);
    world.programs[0].ready_max = 3;
    world.tick();
    world.order(Order::Abort).unwrap();
    world.tick();
    assert_eq!(world.last.target.share.basis_points(), 0);
}

#[test]
fn one_healthy_old_instance_does_not_get_the_load_of_four_at_once() {
    let mut world = World::new(half_way(75));
    world.run_until(in_step);
    world.programs[0].ready_max = 1;
    world.tick();
    world.order(Order::Abort).unwrap();
    world.tick();
    assert_eq!(world.last.target.share.basis_points(), 5_000);
    assert_eq!(world.outcome(), Outcome::Aborted);
}

#[test]
fn an_abort_works_at_any_moment_before_the_old_instances_are_told_to_go() {
    for ticks in 0..200 {
        let mut world = World::new(half_way(25));
        world.order(Order::Promote { full: true }).unwrap();
        for _ in 0..ticks {
            world.tick();
        }
        match world.order(Order::Abort) {
            Ok(()) => {
                assert_eq!(world.outcome(), Outcome::Aborted, "after {ticks} ticks");
                assert_eq!(world.target(), (4, 0, 0));
                assert_eq!(world.least_ready, 4);
            }
            Err(refused) => {
                assert_eq!(world.last.target.old, 0, "after {ticks} ticks: {refused}");
                return;
            }
        }
    }
    panic!("it never came to its end");
}

#[test]
fn while_old_instances_go_an_abort_is_refused_with_the_way_back() {
    let mut world = World::new(plan(rolling(3, 0, None)));
    world.drains_in = secs(30);
    while world.last.target.old > 0 || world.last.target.new == 0 {
        world.tick();
    }
    let refused = world.order(Order::Abort).unwrap_err();
    assert!(
        refused
            .0
            .ends_with("use `gapless rollback` to go back to v1"),
        "{refused}"
    );
    assert_eq!(world.outcome(), Outcome::Completed);
}

#[test]
fn neither_promoting_nor_holding_stops_an_abort() {
    let mut world = World::new(half_way(25));
    world.run_until(in_step);
    world.order(Order::Promote { full: true }).unwrap();
    world.order(Order::Abort).unwrap();
    for order in [
        Order::Promote { full: true },
        Order::Hold,
        Order::Resume,
        Order::Approve,
    ] {
        assert!(world.order(order).is_err());
    }
    world.order(Order::Abort).unwrap();
    assert_eq!(world.outcome(), Outcome::Aborted);
}

#[test]
fn an_abort_works_while_held() {
    let mut world = World::new(half_way(25));
    world.run_until(in_step);
    world.order(Order::Hold).unwrap();
    world.run(secs(100));
    world.order(Order::Abort).unwrap();
    assert_eq!(world.outcome(), Outcome::Aborted);
}

#[test]
fn a_superseded_rollout_ends_once_the_old_release_has_all_traffic() {
    let mut world = World::new(half_way(25));
    world.drains_in = secs(600);
    world.run_until(in_step);
    world.order(Order::Supersede).unwrap();
    let began = world.now;
    assert_eq!(world.outcome(), Outcome::Superseded);
    assert_eq!(world.target(), (4, 0, 0));
    assert!(world.now.since(began) < secs(5));
}

#[test]
fn superseding_what_returns_already_only_ends_it_earlier() {
    let mut world = World::new(half_way(25));
    world.drains_in = secs(600);
    world.run_until(in_step);
    world.order(Order::Abort).unwrap();
    world.run(secs(5));
    assert!(world.last.ended.is_none());
    world.order(Order::Supersede).unwrap();
    world.tick();
    let ended = world.last.ended.as_ref().map(|ended| ended.outcome);
    assert_eq!(ended, Some(Outcome::Aborted));
}

#[test]
fn while_neither_is_ready_the_traffic_stays_where_it_is() {
    let mut world = at_the_end();
    world.programs[0].ready_max = 0;
    world.programs[1].ready_max = 0;
    world.order(Order::Abort).unwrap();
    world.run(secs(10));
    assert_eq!(world.target(), (4, 4, 10_000));
}

#[test]
fn a_superseding_deploy_does_not_wait_for_a_release_that_never_served() {
    let mut plan = half_way(25);
    plan.from_ready = false;
    let mut world = World::new(plan);
    world.run(secs(1));
    world.order(Order::Supersede).unwrap();
    let began = world.now;
    assert_eq!(world.outcome(), Outcome::Superseded);
    assert!(world.now.since(began) < secs(5));
}

#[test]
fn nor_does_it_for_a_new_release_that_serves() {
    let mut plan = half_way(25);
    plan.from_ready = false;
    plan.policy.after = Some(argv("verify"));
    let mut world = World::new(plan);
    world.run_until(|wait| matches!(wait, WaitingOn::Job { .. }));
    world.order(Order::Supersede).unwrap();
    let began = world.now;
    assert_eq!(world.outcome(), Outcome::Superseded);
    assert_eq!(world.target(), (4, 0, 0));
    assert!(world.now.since(began) < secs(5));
}

#[test]
fn superseding_a_rollout_that_only_drains_completes_it() {
    let mut world = World::new(plan(rolling(3, 0, None)));
    world.drains_in = secs(600);
    while world.last.target.old > 0 || world.last.target.new == 0 {
        world.tick();
    }
    world.order(Order::Supersede).unwrap();
    assert_eq!(world.outcome(), Outcome::Completed);
}

#[test]
fn a_bad_release_after_a_bad_one_is_given_up_without_waiting_for_the_first() {
    let mut plan = half_way(25);
    plan.from_ready = false;
    let mut world = World::new(plan);
    world.trouble = [Some("v1 exits".into()), Some("v2 exits".into())];
    world.programs[1].ready_max = 0;
    let ended = world.end();
    assert_eq!(ended.outcome, Outcome::RolledBack);
    assert_eq!(ended.reason, "v2 cannot run: v2 exits");
}

#[test]
fn a_new_release_that_serves_is_not_stopped_for_one_that_does_not() {
    let mut plan = half_way(25);
    plan.from_ready = false;
    let mut world = World::new(plan);
    world.run_until(|wait| matches!(wait, WaitingOn::Drain { .. } | WaitingOn::Confirmed { .. }));
    world.order(Order::Abort).unwrap();
    let ended = world.end();
    assert_eq!(ended.outcome, Outcome::Failed);
    assert!(world.last.target.new > 0);
}

#[test]
fn a_running_job_is_waited_for_before_a_return_is_over() {
    let mut plan = half_way(25);
    plan.policy.before = Some(argv("migrate"));
    let mut world = World::new(plan);
    world.run(secs(1));
    world.order(Order::Abort).unwrap();
    world.tick();
    assert_eq!(world.waits(), "job `before` to end");
    assert_eq!(world.outcome(), Outcome::Aborted);
}

#[test]
fn a_job_that_was_asked_for_and_not_begun_is_not_begun_on_the_way_back() {
    let mut plan = half_way(25);
    plan.policy.before = Some(argv("migrate"));
    let world = World::new(plan);
    let asked = rollout::step(&world.plan, &world.state, &world.seen(), world.now);
    assert!(asked.target.jobs.contains(&JobKind::Before));
    let aborted = rollout::order(&world.plan, &asked.state, Order::Abort, world.now).unwrap();
    let back = rollout::step(&world.plan, &aborted, &world.seen(), world.now);
    assert!(back.target.jobs.is_empty());
    assert_eq!(
        back.ended.map(|ended| ended.outcome),
        Some(Outcome::Aborted)
    );
}

#[test]
fn partners_of_a_lockstep_deploy_wait_for_each_other_and_return_together() {
    let api = ServiceName::try_new("api").unwrap();
    let mut world = World::new(half_way(25));
    world.peers = Peers::Behind(vec![api]);
    world.run(secs(6_000));
    assert_eq!(world.waits(), "services api");
    assert_eq!((world.target(), world.state.reach()), ((4, 1, 0), 2_500));
    world.peers = Peers::Free;
    world.run_until(in_step);
    assert_eq!(world.target(), (4, 1, 2_500));
    world.peers = Peers::Failed("`api`: its check failed".into());
    let ended = world.end();
    assert_eq!(ended.outcome, Outcome::RolledBack);
    assert_eq!(
        ended.reason,
        "a service of the same deploy returns: `api`: its check failed"
    );
}

#[test]
fn the_old_release_is_not_let_go_before_the_partners_are_as_far() {
    let mut world = World::new(plan(rolling(3, 0, None)));
    while world.last.target.share.basis_points() < 10_000 {
        world.tick();
    }
    let left = world.last.target.old;
    world.peers = Peers::Behind(vec![ServiceName::try_new("api").unwrap()]);
    world.run(secs(6_000));
    assert_eq!((world.last.target.old, world.state.reach()), (left, 10_001));
    world.peers = Peers::Free;
    assert_eq!(world.outcome(), Outcome::Completed);
}

#[test]
fn once_the_partners_count_on_it_there_is_no_way_back() {
    let mut world = World::new(plan(rolling(3, 0, None)));
    while world.last.target.share.basis_points() < 10_000 {
        world.tick();
    }
    world.peers = Peers::Behind(vec![ServiceName::try_new("api").unwrap()]);
    world.run(secs(30));
    assert_eq!(world.state.reach(), 10_001);
    world.peers = Peers::Free;
    world.trouble[1] = Some("exits".into());
    assert_eq!(world.outcome(), Outcome::Completed);
}
