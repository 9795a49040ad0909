//! One life, and many.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::check::{Rule, Violation};
use crate::plant::{Plant, Planted};
use crate::schedule::Schedule;
use crate::tally::Tally;
use crate::world::World;

/// One of so many lives is lived twice, and both must be the same.
const TWICE: u64 = 256;
/// So many are taken from the queue at a time.
const PORTION: u64 = 64;

/// What is to be run.
#[derive(Debug, Clone)]
pub struct Options {
    /// The first seed; the others follow it.
    pub seed: u64,
    /// How many lives.
    pub schedules: u64,
    /// On so many threads.
    pub threads: usize,
    /// With this bug.
    pub plant: Option<Plant>,
    /// Stop after so many failures.
    pub failures_max: usize,
}

/// What became of many lives.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// What was tried.
    pub tally: Tally,
    /// What failed, by seed.
    pub failures: Vec<Failure>,
}

/// A life that broke a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Its seed.
    pub seed: u64,
    /// What it broke.
    pub violation: Violation,
}

/// What became of one life.
#[derive(Debug, Clone)]
pub struct Life {
    /// The broken rule, if any.
    pub violation: Option<Violation>,
    /// What was tried.
    pub tally: Tally,
    /// A digest of everything that happened.
    pub hash: u64,
    /// Every event and effect, if asked for.
    pub trace: Vec<String>,
}

/// Lives a schedule, with a planted bug if one is given.
#[must_use]
pub fn live(schedule: &Schedule, plant: Option<Plant>, traced: bool) -> Life {
    let mut world = World::new(schedule, Planted::new(plant), traced);
    let ran = catch_unwind(AssertUnwindSafe(|| world.run()));
    if ran.is_err() {
        let seen = "deciding panicked; the message is on standard error".to_owned();
        world.model.violate(Rule::NeverPanics, seen);
    }
    Life {
        violation: world.model.violation,
        tally: world.tally,
        hash: world.hash,
        trace: world.trace.unwrap_or_default(),
    }
}

/// Lives many schedules; `progress` hears how many are done.
pub fn run(options: &Options, progress: impl Fn(u64) + Sync) -> Report {
    let next = AtomicU64::new(0);
    let report = Mutex::new(Report::default());
    std::thread::scope(|scope| {
        for _ in 0..options.threads.max(1) {
            scope.spawn(|| work(options, &next, &report, &progress));
        }
    });
    let mut report = match report.into_inner() {
        Ok(report) => report,
        Err(poisoned) => poisoned.into_inner(),
    };
    report.failures.sort_by_key(|failure| failure.seed);
    report
}

fn work(
    options: &Options,
    next: &AtomicU64,
    report: &Mutex<Report>,
    progress: &(impl Fn(u64) + Sync),
) {
    loop {
        let first = next.fetch_add(PORTION, Ordering::Relaxed);
        let last = first.saturating_add(PORTION).min(options.schedules);
        let mut portion = Report::default();
        for index in first..last {
            let seed = options.seed.wrapping_add(index);
            let (tally, violation) = one(seed, options.plant);
            portion.tally.add(&tally);
            let failed = violation.map(|violation| Failure { seed, violation });
            portion.failures.extend(failed);
        }
        let mut report = match report.lock() {
            Ok(report) => report,
            Err(poisoned) => poisoned.into_inner(),
        };
        report.tally.add(&portion.tally);
        report.failures.append(&mut portion.failures);
        progress(report.tally.schedules);
        if last >= options.schedules || report.failures.len() >= options.failures_max {
            // The others find nothing left.
            next.store(options.schedules, Ordering::Relaxed);
            return;
        }
    }
}

fn one(seed: u64, plant: Option<Plant>) -> (Tally, Option<Violation>) {
    let schedule = Schedule::new(seed);
    let life = live(&schedule, plant, false);
    if life.violation.is_none() && seed.is_multiple_of(TWICE) {
        let (first, second) = (live(&schedule, plant, true), live(&schedule, plant, true));
        if life.hash != second.hash || first.trace != second.trace {
            let violation = Violation {
                rule: Rule::Replays,
                at: 0,
                seen: format!("seed {seed} led to two different lives"),
            };
            return (life.tally, Some(violation));
        }
    }
    (life.tally, life.violation)
}
