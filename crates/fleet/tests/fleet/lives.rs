//! Random lives of a fleet in a foul world that heals at the end.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use fleet::{Exit, FleetPolicy, Input, Policies, ProbeResult};
use model::{InstanceId, Time};
use proptest::prelude::*;

use crate::bench::{V1, V2, policy, service};
use crate::world::{Death, World};

/// Something that the world or a person does.
#[derive(Debug, Clone)]
enum Happening {
    Pass { millis: u64 },
    Wake,
    Want { v1: u32, v2: u32 },
    Restart,
    Replace { serial: u32 },
    Confirm,
    Request { index: usize },
    Answer { index: usize },
    Crash { index: usize },
    Sicken { index: usize, millis: u64 },
    Repeat { index: usize },
    Nonsense { serial: u32, kind: u8 },
    Die(Death),
}

fn happening() -> impl Strategy<Value = Happening> {
    let index = 0usize..40;
    prop_oneof![
        20 => Just(Happening::Wake),
        8 => (1u64..1_500).prop_map(|millis| Happening::Pass { millis }),
        2 => (1_000u64..20_000).prop_map(|millis| Happening::Pass { millis }),
        3 => (0u32..4, 0u32..4).prop_map(|(v1, v2)| Happening::Want { v1, v2 }),
        1 => Just(Happening::Restart),
        1 => (1u32..20).prop_map(|serial| Happening::Replace { serial }),
        6 => Just(Happening::Confirm),
        8 => index.clone().prop_map(|index| Happening::Request { index }),
        3 => index.clone().prop_map(|index| Happening::Answer { index }),
        2 => index.clone().prop_map(|index| Happening::Crash { index }),
        2 => (index.clone(), 0u64..20_000)
            .prop_map(|(index, millis)| Happening::Sicken { index, millis }),
        3 => index.prop_map(|index| Happening::Repeat { index }),
        2 => (0u32..40, 0u8..4).prop_map(|(serial, kind)| Happening::Nonsense { serial, kind }),
        2 => prop_oneof![
            Just(Death::BeforeJournal),
            Just(Death::AfterJournal),
            Just(Death::Halfway)
        ]
        .prop_map(Happening::Die),
    ]
}

fn policies() -> impl Strategy<Value = Policies> {
    let one = || {
        (any::<bool>(), any::<bool>(), 0u64..3_000, 0u32..3).prop_map(
            |(traffic, health, min_ready, max_unavailable)| FleetPolicy {
                traffic,
                health: policy().health.filter(|_| health || traffic),
                min_ready: Duration::from_millis(min_ready),
                max_unavailable,
                drain: Duration::from_secs(5),
                ..policy()
            },
        )
    };
    (one(), one(), 0u8..4).prop_map(|(v1, v2, kind)| {
        let exclusive = kind == 0;
        let with = |policy| FleetPolicy {
            exclusive,
            ..policy
        };
        Policies::from([(V1, with(v1)), (V2, with(v2))])
    })
}

fn happens(world: &mut World, happening: &Happening) {
    match *happening {
        Happening::Pass { millis } => world.step(Time(world.now.0 + millis)),
        Happening::Wake => {
            let next = world.next().unwrap_or(world.now);
            world.step(next);
        }
        Happening::Want { v1, v2 } => {
            let exclusive = world.policies[&V1].exclusive;
            let (v1, v2) = if exclusive {
                (v1 % 2, v2 % 2)
            } else {
                (v1, v2)
            };
            world.wanted.counts.insert(V1, v1);
            world.wanted.counts.insert(V2, v2);
        }
        Happening::Restart => world.wanted.fresh_from = world.fleet.next_serial(),
        Happening::Replace { serial } => {
            world.wanted.replace.clear();
            world.wanted.replace.insert(world.fleet.id(V1, serial));
        }
        Happening::Confirm => world.confirm(),
        Happening::Request { index } => world.request(index),
        Happening::Answer { index } => world.answer(index),
        Happening::Crash { index } => world.crash(index),
        Happening::Sicken { index, millis } => world.sicken(index, Duration::from_millis(millis)),
        Happening::Repeat { index } => world.repeat(index),
        Happening::Nonsense { serial, kind } => world.handle(nonsense(serial, kind)),
        Happening::Die(death) => world.die(death),
    }
}

/// An answer about an instance that never was.
fn nonsense(serial: u32, kind: u8) -> Input {
    let instance = InstanceId {
        service: service(),
        release: model::ReleaseId(9),
        serial,
    };
    let (result, requests) = (ProbeResult::Passed, 0);
    match kind {
        0 => Input::Unrouted { instance },
        1 => Input::Open { instance, requests },
        2 => Input::Probed { instance, result },
        _ => Input::Exited {
            instance,
            exit: Exit::Code(1),
        },
    }
}

/// A healed world is as wanted within `span`, and quiet after.
fn settles(world: &mut World, span: Duration) {
    let end = world.now.after(span);
    world.step(world.now);
    for turn in 0.. {
        assert!(turn < 20_000, "it wakes without end");
        let next = world.next().unwrap_or(end);
        if next >= end {
            break;
        }
        world.step(next);
    }
    assert_eq!(world.unsettled(), None);
}

fn live(world: &mut World, happenings: &[Happening]) {
    for happening in happenings {
        happens(world, happening);
    }
    if world.policies[&V1].exclusive {
        world.wanted.counts.insert(V2, 0);
    }
    world.heal();
    settles(world, Duration::from_secs(240));
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_life_keeps_the_rules_and_ends_as_wanted(
        policies in policies(),
        seed in 1u64..,
        happenings in prop::collection::vec(happening(), 1..250),
    ) {
        let mut world = World::new(policies.clone(), seed);
        if catch_unwind(AssertUnwindSafe(|| live(&mut world, &happenings))).is_err() {
            let log = told(World::new(policies, seed), &happenings);
            prop_assert!(false, "see above; the last of its log:\n{}", log);
        }
    }
}

/// The same life again, with a log.
fn told(mut world: World, happenings: &[Happening]) -> String {
    world.log = Some(Vec::new());
    let same = catch_unwind(AssertUnwindSafe(|| live(&mut world, happenings)));
    assert!(same.is_err(), "the same life is not the same");
    let log = world.log.unwrap_or_default();
    log[log.len().saturating_sub(60)..].join("\n")
}
