//! Plans, orders and observations as they may come.

use std::time::Duration;

use model::{
    Affinity, Audience, Blue, Compare, Count, DatabaseName, JobKind, OnFail, OnNoData, RolloutKind,
    Shadow, Share, Step, Strategy, Time,
};
use proptest::prelude::*;
use proptest::strategy::Strategy as Draw;
use rollout::{Counts, JobState, Observation, Order, Peers, Plan, SchemaNeed};
use verdict::Sample;

use crate::world::{argv, error_rate, plan, secs};

fn count() -> impl Draw<Value = Count> {
    prop_oneof![
        (0..4u32).prop_map(Count::Absolute),
        (0..=10_000u16).prop_map(|points| Count::Part(Share::try_new(points).unwrap())),
    ]
}

fn shadow() -> impl Draw<Value = Option<Shadow>> {
    let shadow = any::<bool>().prop_map(|compares| Shadow {
        share: Share::try_new(500).unwrap(),
        methods: vec!["GET".to_owned()],
        body_bytes_max: 1,
        compare: compares.then(|| Compare {
            headers: Vec::new(),
            ignore: Vec::new(),
            samples: 10,
            at_most: Share::NONE,
        }),
    });
    proptest::option::weighted(0.3, shadow)
}

fn step() -> impl Draw<Value = Step> {
    (0..10_000u16, 0..60u64, any::<[bool; 2]>(), shadow()).prop_map(
        |(weight, lasts, [approve, named], shadow)| Step {
            weight: Share::try_new(weight).unwrap(),
            lasts: secs(lasts),
            approve,
            audience: named.then(|| Audience::Host(format!("{weight}.example.com"))),
            shadow,
        },
    )
}

fn before_switch(shadow: Shadow) -> Step {
    Step {
        weight: Share::NONE,
        lasts: secs(5),
        approve: false,
        audience: None,
        shadow: Some(shadow),
    }
}

fn way() -> impl Draw<Value = Strategy> {
    let blue = (0..60u64, any::<[bool; 3]>(), shadow()).prop_map(
        |(keep, [shown, smoke, approve], shadow)| {
            Strategy::BlueGreen(Blue {
                keep: secs(keep),
                preview: shown.then(|| Audience::Host("preview.example.com".into())),
                smoke: smoke.then(|| argv("./smoke")),
                approve,
                steps: shadow.map(before_switch).into_iter().collect(),
            })
        },
    );
    let rolling = (count(), count(), proptest::option::of(count())).prop_map(
        |(surge, max_unavailable, batch)| Strategy::Rolling {
            surge,
            max_unavailable,
            batch,
        },
    );
    let canary = proptest::collection::vec(step(), 0..4).prop_map(|mut steps| {
        steps.sort_by_key(|step| step.weight);
        Strategy::Canary { steps }
    });
    prop_oneof![blue, rolling, canary, Just(Strategy::Recreate)]
}

prop_compose! {
    pub(crate) fn plans()(
        way in way(),
        sizes in (0..6u32, 1..6u32),
        [first, back, from_ready, held, checked, before, after, sticky, tied] in any::<[bool; 9]>(),
        traffic in proptest::bool::weighted(0.8),
        on_no_data in prop_oneof![
            Just(OnNoData::Hold), Just(OnNoData::Promote), Just(OnNoData::Rollback)
        ],
        min_ready in 0..5u64,
    ) -> Plan {
        let mut plan = plan(way);
        (plan.from_replicas, plan.replicas) = sizes;
        plan.from_ready = from_ready && plan.from_replicas > 0;
        plan.traffic = traffic;
        if first && !back {
            plan.from = None;
            (plan.from_replicas, plan.from_ready) = (0, false);
        } else if back {
            plan.kind = RolloutKind::Rollback;
        }
        let policy = &mut plan.policy;
        policy.on_fail = if held { OnFail::Hold } else { OnFail::Rollback };
        policy.on_no_data = on_no_data;
        policy.checks = if checked { error_rate() } else { Vec::new() };
        policy.before = before.then(|| argv("./before"));
        policy.after = after.then(|| argv("./after"));
        plan.schema = tied.then(|| SchemaNeed {
            database: DatabaseName::try_new("main").unwrap(),
            version: "02_split".to_owned(),
        });
        let policy = &mut plan.policy;
        policy.affinity = sticky.then_some(Affinity::Cookie);
        policy.min_ready = secs(min_ready);
        plan
    }
}

pub(crate) fn orders() -> impl Draw<Value = Order> {
    prop_oneof![
        any::<bool>().prop_map(|full| Order::Promote { full }),
        Just(Order::Hold),
        Just(Order::Resume),
        Just(Order::Approve),
        Just(Order::Abort),
        Just(Order::Supersede),
    ]
}

fn figure() -> impl Draw<Value = u32> {
    prop_oneof![4 => 0..7u32, 1 => any::<u32>()]
}

fn counts() -> impl Draw<Value = Counts> {
    let span = proptest::option::of(any::<Duration>());
    ([figure(), figure(), figure(), figure()], any::<u64>(), span).prop_map(
        |([running, ready, available, draining], open_requests, span)| Counts {
            running,
            ready,
            available,
            available_in: span,
            draining,
            open_requests,
            drain_left: span,
        },
    )
}

fn sample() -> impl Draw<Value = Sample> {
    any::<(u64, u64)>().prop_map(|(requests, failures)| Sample {
        requests,
        failures,
        latency: None,
    })
}

prop_compose! {
    pub(crate) fn seen()(
        old in counts(), new in counts(),
        share in proptest::option::of(prop_oneof![Just(0), Just(10_000), 0..=10_000u16]),
        revision in 0..20u64,
        figures in proptest::option::of((any::<u64>(), sample(), sample())),
        jobs in proptest::collection::btree_map(
            prop_oneof![Just(JobKind::Before), Just(JobKind::Smoke), Just(JobKind::After)],
            prop_oneof![
                2 => Just(JobState::Passed),
                1 => Just(JobState::Running),
                1 => Just(JobState::Failed("no".into())),
            ],
            0..4,
        ),
        trouble in proptest::bool::weighted(0.05),
        old_trouble in proptest::bool::weighted(0.05),
        peers in prop_oneof![
            10 => Just(Peers::Free),
            1 => Just(Peers::Behind(Vec::new())),
            1 => Just(Peers::Failed("no".into())),
        ],
    ) -> Observation {
        let say = |is: bool| is.then(|| "crash loop".to_owned());
        Observation {
            old,
            new,
            share_confirmed: share.map(|points| Share::try_new(points).unwrap()),
            confirm_overdue: false,
            revision: model::Revision(revision),
            comparison: figures.map(|(since, old, new)| rollout::Comparison {
                since: Time(since),
                old,
                new,
                compared: None,
            }),
            jobs,
            trouble: say(trouble),
            old_trouble: say(old_trouble),
            exiting: Vec::new(),
            peers,
        }
    }
}
