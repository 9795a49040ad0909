use model::Outcome;
use rollout::Order;

use crate::world::{World, plan, rolling, secs};

#[test]
fn what_cannot_be_done_now_is_refused_with_the_reason_and_changes_nothing() {
    let mut world = World::new(plan(rolling(1, 0, None)));
    world.run(secs(1));
    let state = world.state.clone();
    for (order, why) in [
        (Order::Approve, "it waits at no gate"),
        (Order::Resume, "it is not held"),
        (
            Order::Promote { full: false },
            "it waits for neither time nor data, so there is nothing that promoting could end",
        ),
    ] {
        assert_eq!(world.order(order).unwrap_err().0, why);
        assert_eq!(world.state, state);
    }
    world.order(Order::Hold).unwrap();
    for (order, why) in [
        (Order::Hold, "it is held already: by a person"),
        (
            Order::Promote { full: true },
            "it is held: by a person; resume it first",
        ),
    ] {
        assert_eq!(world.order(order).unwrap_err().0, why);
    }
}

#[test]
fn nothing_can_be_ordered_after_the_end() {
    let mut world = World::new(plan(rolling(1, 0, None)));
    assert_eq!(world.outcome(), Outcome::Completed);
    let orders = [
        Order::Promote { full: true },
        Order::Hold,
        Order::Resume,
        Order::Approve,
        Order::Abort,
        Order::Supersede,
    ];
    for order in orders {
        assert_eq!(
            world.order(order).unwrap_err().0,
            "the rollout has ended: completed"
        );
    }
}

#[test]
fn a_hold_freezes_what_goes_forward() {
    let mut world = World::new(plan(rolling(1, 0, None)));
    world.run(secs(4));
    world.order(Order::Hold).unwrap();
    let frozen = world.target();
    world.run(secs(6_000));
    assert_eq!(world.target(), frozen);
    world.order(Order::Resume).unwrap();
    assert_eq!(world.outcome(), Outcome::Completed);
}
