use model::{JobKind, Outcome, Strategy, WaitingOn};
use rollout::{Order, Plan};

use crate::world::{World, argv, plan, secs};

fn recreate() -> Plan {
    plan(Strategy::Recreate)
}

#[test]
fn nothing_overlaps() {
    let mut world = World::new(recreate());
    assert_eq!(world.outcome(), Outcome::Completed);
    assert_eq!(world.trace, [(0, 0, 0), (0, 3, 0), (0, 3, 10_000)]);
    assert_eq!(world.most_running, 3);
}

#[test]
fn the_first_ready_instance_gets_what_waits_even_before_min_ready() {
    let mut plan = recreate();
    plan.policy.min_ready = secs(20);
    let mut world = World::new(plan);
    world.run_until(|wait| matches!(wait, WaitingOn::MinReady { .. }));
    assert_eq!(world.target(), (0, 3, 10_000));
    assert_eq!(world.outcome(), Outcome::Completed);
}

#[test]
fn aborting_brings_the_old_release_back_without_overlap() {
    for wait in ["stopping", "starting", "job"] {
        let mut plan = recreate();
        plan.policy.after = Some(argv("verify"));
        let mut world = World::new(plan);
        match wait {
            "stopping" => world.run(secs(1)),
            "starting" => world.run_until(|wait| matches!(wait, WaitingOn::Ready { .. })),
            _ => world.run_until(|wait| matches!(wait, WaitingOn::Job { .. })),
        };
        world.order(Order::Abort).unwrap();
        assert_eq!(world.outcome(), Outcome::Aborted, "{wait}");
        assert_eq!(world.target(), (3, 0, 0));
        // Old instances that still drain are gone long before; only fresh ones come.
        assert!(
            world.most_running <= if wait == "stopping" { 6 } else { 3 },
            "{wait}"
        );
    }
}

#[test]
fn a_new_release_that_does_not_start_brings_the_old_one_back() {
    let mut world = World::new(recreate());
    world.programs[1].ready_max = 0;
    assert_eq!(world.outcome(), Outcome::RolledBack);
    assert_eq!(world.trace, [(0, 0, 0), (0, 3, 0), (0, 0, 0), (3, 0, 0)]);
}

#[test]
fn jobs_frame_it() {
    let mut plan = recreate();
    plan.traffic = false;
    plan.policy.before = Some(argv("migrate"));
    plan.policy.after = Some(argv("verify"));
    let mut world = World::new(plan);
    world.run_until(|wait| {
        matches!(
            wait,
            WaitingOn::Job {
                job: JobKind::Before
            }
        )
    });
    assert_eq!(world.target(), (3, 0, 0));
    world.run_until(|wait| {
        matches!(
            wait,
            WaitingOn::Job {
                job: JobKind::After
            }
        )
    });
    assert_eq!(world.outcome(), Outcome::Completed);
}
