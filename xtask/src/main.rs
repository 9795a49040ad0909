//! Development tasks of the workspace: `cargo xtask` lists them.

mod database;
mod fuzz;
mod generate;
mod run;
mod test;
mod tidy;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask TASK

  test                  everything CI runs: format, lints, tidy, generated files, tests, fuzz, simulation
  tidy                  the rules that no other tool checks
  generate [--check]    write (or compare) the files made from the code
  sim [ARGS…]           the simulator, optimised: --schedules N --seed S
  bench [NAME…]         the benchmarks: deploys, rollback, upgrades, overhead, proxy (rollout alone), idle, routes
  soak [ARGS…]          everything happens to a server under load: --minutes N --seed S --rate R
  fuzz [SECONDS]        the fuzz targets, each for so long (60 s; needs a C++ compiler)
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let rest = args.get(1..).unwrap_or_default();
    let done = match args.first().map(String::as_str) {
        Some("test") => test::all(),
        Some("tidy") => tidy::check(),
        Some("generate") => generate::run(rest.iter().any(|arg| arg == "--check")),
        Some("sim") => run::sim(rest),
        Some("bench") => run::bench(rest),
        Some("soak") => run::soak(rest),
        Some("fuzz") => seconds(rest).and_then(fuzz::run),
        Some(_) | None => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn seconds(args: &[String]) -> Result<u32, String> {
    let Some(text) = args.first() else {
        return Ok(60);
    };
    text.parse()
        .map_err(|_| format!("`{text}` is no number of seconds"))
}
