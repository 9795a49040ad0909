//! What must hold for every plan, every schedule of faults and orders, and every observation.
//! The world checks the rest after each step.

use std::time::Duration;

use model::{Outcome, RolloutKind, Strategy, Time, WaitingOn};
use proptest::prelude::*;
use proptest::strategy::Strategy as Draw;
use rollout::{Order, Peers, Plan};
use verdict::Figures;

use crate::draws::{orders, plans, seen};
use crate::world::{World, bad, good, secs};

/// Something that happens to a rollout, and how many ticks it then goes on.
#[derive(Debug, Clone)]
enum Happening {
    Ready { release: usize, most: u32 },
    Trouble { release: usize, is: bool },
    Figures { broken: bool },
    Confirms { seconds: u64 },
    Partners { behind: bool },
    Order(Order),
}

fn happenings() -> impl Draw<Value = Vec<(Happening, usize)>> {
    let one = prop_oneof![
        (0..2usize, 0..6u32).prop_map(|(release, most)| Happening::Ready { release, most }),
        (0..2usize, any::<bool>()).prop_map(|(release, is)| Happening::Trouble { release, is }),
        any::<bool>().prop_map(|broken| Happening::Figures { broken }),
        (0..20u64).prop_map(|seconds| Happening::Confirms { seconds }),
        any::<bool>().prop_map(|behind| Happening::Partners { behind }),
        orders().prop_map(Happening::Order),
    ];
    proptest::collection::vec((one, 0..60usize), 0..8)
}

fn happen(world: &mut World, what: Happening) {
    match what {
        Happening::Ready { release, most } => world.programs[release].ready_max = most,
        Happening::Trouble { release, is } => {
            world.trouble[release] = is.then(|| "crash loop".to_owned());
        }
        Happening::Figures { broken } => {
            world.samples = Some((good(), if broken { bad() } else { good() }));
        }
        Happening::Confirms { seconds } => world.confirms_in = secs(seconds),
        Happening::Partners { behind } => {
            let api = model::ServiceName::try_new("api").unwrap();
            world.peers = if behind {
                Peers::Behind(vec![api])
            } else {
                Peers::Free
            };
        }
        Happening::Order(order) => {
            let _ = world.order(order);
        }
    }
}

fn heal(world: &mut World) {
    for program in &mut world.programs {
        program.ready_max = u32::MAX;
    }
    world.trouble = [None, None];
    world.samples = Some((good(), good()));
    world.compared = Some(Figures {
        compared: 100,
        ..Figures::default()
    });
    world.confirms_in = Duration::from_millis(500);
    world.peers = Peers::Free;
}

/// The capacity that the strategy promises to keep.
fn floor(plan: &Plan) -> u32 {
    let least = plan.from_replicas.min(plan.replicas);
    match (&plan.policy.strategy, plan.kind) {
        (Strategy::Recreate, _) => 0,
        (
            Strategy::Rolling {
                max_unavailable, ..
            },
            RolloutKind::Deploy,
        ) => least.saturating_sub(max_unavailable.down(plan.replicas)),
        (Strategy::Rolling { .. }, RolloutKind::Rollback)
        | (Strategy::BlueGreen(_) | Strategy::Canary { .. }, _) => least,
    }
}

/// A person who lets everything pass.
fn run_with_a_patient_person(world: &mut World) -> Outcome {
    for _ in 0..200 {
        world.run(secs(120));
        if let Some(ended) = &world.last.ended {
            return ended.outcome;
        }
        if world
            .last
            .waiting_on
            .iter()
            .any(|w| matches!(w, WaitingOn::Held { .. }))
        {
            world.order(Order::Resume).unwrap();
        } else if world
            .last
            .waiting_on
            .iter()
            .any(|w| matches!(w, WaitingOn::Gate { .. }))
        {
            world.order(Order::Approve).unwrap();
        }
    }
    panic!("it waits for {:?}", world.last.waiting_on);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_good_release_in_a_good_world_is_completed(plan in plans()) {
        let mut world = World::new(plan);
        heal(&mut world);
        let floor = floor(&world.plan);
        prop_assert_eq!(run_with_a_patient_person(&mut world), Outcome::Completed);
        let replicas = world.plan.replicas;
        let share = if world.plan.traffic { 10_000 } else { 0 };
        prop_assert_eq!(world.target(), (0, replicas, share));
        prop_assert!(world.least_ready >= floor, "{} of {floor}", world.least_ready);
    }

    #[test]
    fn once_faults_stop_it_ends(plan in plans(), happenings in happenings()) {
        let mut world = World::new(plan);
        world.strict = false;
        for (what, ticks) in happenings {
            happen(&mut world, what);
            (0..ticks).for_each(|_| if world.last.ended.is_none() { world.tick() });
        }
        heal(&mut world);
        let outcome = run_with_a_patient_person(&mut world);
        let (old, new, share) = world.target();
        let from = world.plan.from_replicas;
        match outcome {
            Outcome::Completed => prop_assert_eq!((old, new), (0, world.plan.replicas)),
            Outcome::Aborted | Outcome::RolledBack | Outcome::Superseded => {
                prop_assert_eq!((old, new, share), (from, 0, 0));
            }
            Outcome::Failed => {}
        }
    }

    #[test]
    fn an_abort_in_a_good_world_always_returns(plan in plans(), ticks in 0..200usize) {
        let mut world = World::new(plan);
        heal(&mut world);
        world.programs[0].ready_max = if world.plan.from_ready { u32::MAX } else { 0 };
        let _ = world.order(Order::Promote { full: true });
        for _ in 0..ticks {
            if world.last.ended.is_none() {
                world.tick();
            }
        }
        let before = world.least_ready;
        if world.last.ended.is_none() && world.order(Order::Abort).is_ok() {
            let outcome = world.outcome();
            let nothing_to_return_to = !world.plan.from_ready && world.plan.from.is_some();
            prop_assert!(outcome == Outcome::Aborted || nothing_to_return_to, "{outcome}");
            if outcome == Outcome::Aborted {
                prop_assert_eq!(world.target(), (world.plan.from_replicas, 0, 0));
            }
            if world.plan.from_ready {
                prop_assert!(world.least_ready >= before.min(floor(&world.plan)));
            }
        }
    }

    #[test]
    fn nothing_that_is_seen_makes_it_panic_or_loop(
        plan in plans(), steps in proptest::collection::vec((seen(), orders(), any::<u32>()), 1..30),
    ) {
        let mut now = Time(0);
        let mut state = rollout::begin(&plan, now);
        for (seen, order, wait) in steps {
            now = now.after(Duration::from_millis(wait.into()));
            if let Ok(next) = rollout::order(&plan, &state, order, now) {
                state = next;
            }
            let decision = rollout::step(&plan, &state, &seen, now);
            prop_assert_eq!(decision.waiting_on.is_empty(), decision.ended.is_some());
            let again = rollout::step(&plan, &decision.state, &seen, now);
            prop_assert_eq!(&again.state, &decision.state);
            prop_assert!(again.notes.is_empty());
            prop_assert!(decision.wake.is_none_or(|wake| wake > now));
            state = decision.state;
        }
    }
}
