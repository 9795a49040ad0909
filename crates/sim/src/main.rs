//! Runs many simulated lives and says what broke.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use sim::{Failure, Options, Plant, Rule, Schedule};

/// A third of a life's time is memory that is given and taken back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USAGE: &str = "usage: sim [--schedules N] [--seed S] [--threads T] [--trace] [--plants]

  --schedules N  so many lives, 10000 by default
  --seed S       the first seed (0x… too), 1 by default; the others follow it
  --threads T    as many as there are processors by default
  --trace        print everything that happens in the life of the first seed
  --plants       try every planted bug instead: each must be caught";

/// Failures that are shown in full.
const SHOWN: usize = 3;

struct Arguments {
    options: Options,
    trace: bool,
    plants: bool,
}

fn main() -> ExitCode {
    let arguments = match parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("sim: {error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let passed = if arguments.trace {
        trace(arguments.options.seed)
    } else if arguments.plants {
        plants(&arguments.options)
    } else {
        lives(&arguments.options)
    };
    if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut arguments = Arguments {
        options: Options {
            seed: 1,
            schedules: 10_000,
            threads,
            plant: None,
            failures_max: 20,
        },
        trace: false,
        plants: false,
    };
    while let Some(word) = words.next() {
        let mut number = || {
            let text = words.next().ok_or(format!("`{word}` needs a number"))?;
            let parsed = match text.strip_prefix("0x") {
                Some(hex) => u64::from_str_radix(hex, 16),
                None => text.parse(),
            };
            parsed.map_err(|error| format!("`{text}`: {error}"))
        };
        match word.as_str() {
            "--schedules" => arguments.options.schedules = number()?,
            "--seed" => arguments.options.seed = number()?,
            "--threads" => arguments.options.threads = number()?.clamp(1, 256) as usize,
            "--trace" => arguments.trace = true,
            "--plants" => arguments.plants = true,
            other => return Err(format!("`{other}` is unknown")),
        }
    }
    Ok(arguments)
}

/// Lives them all and explains what failed.
fn lives(options: &Options) -> bool {
    let began = Instant::now();
    let step = (options.schedules / 20).max(1);
    let shown = AtomicU64::new(0);
    let report = sim::run(options, |done| {
        if done / step > shown.fetch_max(done / step, Ordering::Relaxed) {
            let seconds = began.elapsed().as_secs_f64();
            let rate = done as f64 / seconds;
            eprintln!("{done} of {} schedules, {rate:.0}/s", options.schedules);
        }
    });
    let seconds = began.elapsed().as_secs_f64();
    println!("{}", report.tally);
    println!(
        "{} schedules in {seconds:.1} s on {} threads: {:.0} schedules/s, {:.3} ms each",
        report.tally.schedules,
        options.threads,
        report.tally.schedules as f64 / seconds,
        seconds * 1_000.0 / report.tally.schedules.max(1) as f64,
    );
    report.failures.iter().take(SHOWN).for_each(show);
    for failure in report.failures.iter().skip(SHOWN) {
        println!("seed {:#x}: {}", failure.seed, failure.violation);
    }
    let failures = report.failures.len();
    println!("{failures} failed");
    failures == 0
}

/// Shows a failure as small as it can be made.
fn show(failure: &Failure) {
    let seed = failure.seed;
    println!("\nseed {seed:#x}: {}", failure.violation);
    if let Some(explained) = sim::explain(&Schedule::new(seed), None) {
        println!("as small as it gets: {}", explained.violation);
        explained.items.iter().for_each(|item| println!("{item}"));
        println!("and what happens:");
        explained.trace.iter().for_each(|line| println!("{line}"));
    }
    println!("replay: cargo xtask sim --schedules 1 --seed {seed:#x}\n");
}

fn trace(seed: u64) -> bool {
    let life = sim::live(&Schedule::new(seed), None, true);
    life.trace.iter().for_each(|line| println!("{line}"));
    match life.violation {
        Some(violation) => println!("{violation}"),
        None => println!("no rule broken"),
    }
    true
}

/// Tries every planted bug until a rule catches it.
fn plants(options: &Options) -> bool {
    let mut missed = 0;
    for plant in Plant::ALL {
        let options = Options {
            plant: Some(*plant),
            failures_max: 1,
            ..options.clone()
        };
        let report = sim::run(&options, |_| {});
        match report.failures.first() {
            Some(failure) if failure.violation.rule != Rule::NeverPanics => {
                println!("{plant:?}: seed {:#x}: {}", failure.seed, failure.violation);
            }
            Some(_) | None => {
                missed += 1;
                println!(
                    "{plant:?}: not caught by a rule in {} schedules",
                    options.schedules
                );
            }
        }
    }
    println!("{missed} of {} planted bugs missed", Plant::ALL.len());
    missed == 0
}
