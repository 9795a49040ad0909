//! The engine lives through seeded schedules without breaking a rule; the rules catch bugs.

use std::collections::BTreeSet;

use sim::{Options, Plant, Rule, Schedule};

fn options(schedules: u64) -> Options {
    Options {
        seed: 1,
        schedules,
        threads: 2,
        plant: None,
        failures_max: 5,
    }
}

#[test]
fn lives_break_no_rule_and_are_not_idle() {
    let report = sim::run(&options(1_500), |_| {});
    let failures: Vec<String> = report
        .failures
        .iter()
        .map(|failure| format!("seed {:#x}: {}", failure.seed, failure.violation))
        .collect();
    assert!(failures.is_empty(), "{failures:#?}");
    let counts = &report.tally.counts;
    for tried in [
        "contract",
        "fault disk full",
        "job before",
        "job expand",
        "journal refused",
        "rollout blue_green: completed",
        "rollout canary: aborted",
        "rollout canary: completed",
        "rollout canary: rolled_back",
        "rollout first: completed",
        "rollout recreate: completed",
        "rollout rollback: completed",
        "rollout rolling: completed",
        "rollout rolling: rolled_back",
        "rollout rolling: superseded",
        "server ended",
        "signal kill",
        "worker killed",
        "worker upgraded",
    ] {
        let times = counts.get(tried).copied().unwrap_or(0);
        assert!(times >= 5, "{tried}: {times} times");
    }
}

#[test]
fn one_seed_is_one_life() {
    for seed in 0..40 {
        let schedule = Schedule::new(seed);
        let (first, second) = (
            sim::live(&schedule, None, true),
            sim::live(&schedule, None, true),
        );
        assert_eq!(first.hash, second.hash, "seed {seed}");
        assert_eq!(first.trace, second.trace, "seed {seed}");
    }
    let lives = (0..40).map(|seed| sim::live(&Schedule::new(seed), None, false).hash);
    assert_eq!(
        lives.collect::<BTreeSet<_>>().len(),
        40,
        "different seeds are different lives"
    );
}

#[test]
fn every_planted_bug_is_caught_by_a_rule() {
    let mut missed = Vec::new();
    let mut caught = BTreeSet::new();
    for plant in Plant::ALL {
        let options = Options {
            plant: Some(*plant),
            // What a bug breaks first is not the same in every life.
            failures_max: 4,
            ..options(1_500)
        };
        let report = sim::run(&options, |_| {});
        let rules = report.failures.iter().map(|failure| failure.violation.rule);
        caught.extend(rules.clone());
        if report.failures.is_empty() || rules.clone().any(|rule| rule == Rule::NeverPanics) {
            missed.push(*plant);
        }
    }
    assert!(Plant::ALL.len() >= 30);
    assert!(missed.is_empty(), "{missed:?}");
    for rule in [
        Rule::RoutesOnlyProven,
        Rule::RoutesOnlyLiving,
        Rule::RoutesOwnPort,
        Rule::PortsAreNotShared,
        Rule::FloorHolds,
        Rule::SignalAfterUnrouted,
        Rule::SignalAfterDrain,
        Rule::CutAtLimit,
        Rule::KillAfterGrace,
        Rule::OneRollout,
        Rule::GateHolds,
        Rule::StepLasts,
        Rule::ShadowAnswersNobody,
        Rule::AbortWins,
        Rule::JobsRunOnce,
        Rule::NoDataNoPass,
        Rule::JournalsFirst,
        Rule::ForwardNeedsJournal,
        Rule::NothingOrphaned,
        Rule::EndsAsAsked,
        Rule::ContractsUnneeded,
    ] {
        assert!(
            caught.contains(&rule),
            "no planted bug breaks {rule:?} first"
        );
    }
}

#[test]
fn a_failing_life_is_explained_by_less_of_it() {
    let plant = Some(Plant::GatesIgnored);
    let (schedule, rule) = (1..200)
        .map(Schedule::new)
        .find_map(|schedule| {
            let violation = sim::live(&schedule, plant, false).violation?;
            Some((schedule, violation.rule))
        })
        .expect("some schedule has a gate");
    let explained = sim::explain(&schedule, plant).expect("it fails");
    assert_eq!(explained.violation.rule, rule);
    assert!(explained.items.len() <= 4, "{:#?}", explained.items);
    assert!(!explained.trace.is_empty());
}
