//! A table of 10 000 routes: what it costs to find one, and to publish another table under load.

use std::process::{Command, Stdio};

use serde_json::Value;

/// A route is found in so many nanoseconds at most.
const MATCH_NANOS_MAX: f64 = 300.0;
/// Every thread has confirmed a table after so many microseconds at most, in the median.
const CONFIRMED_MICROS_MAX: u64 = 10_000;

/// Measures both in a process of their own, with two proxy threads and sixteen clients that ask
/// without a pause.
pub(crate) fn run() -> Result<Value, String> {
    let this = std::env::current_exe().map_err(|error| error.to_string())?;
    let program = this.with_file_name("examples").join("bench_routes");
    let output = Command::new(&program)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("{} cannot be run: {error}", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().unwrap_or_default();
    let figures: Value = serde_json::from_str(last)
        .map_err(|error| format!("it ended with {} and no figures: {error}", output.status))?;
    judge(&figures)?;
    Ok(figures)
}

fn judge(figures: &Value) -> Result<(), String> {
    let nanos = figures["match_nanos"].as_f64().unwrap_or(f64::MAX);
    let taken = ["confirmed_micros", "rerouted_micros"];
    let taken = taken.map(|which| figures[which]["p50"].as_u64().unwrap_or(u64::MAX));
    let micros = taken.into_iter().max().unwrap_or(u64::MAX);
    let failed = figures["clients_failed"].as_u64().unwrap_or(u64::MAX);
    if nanos > MATCH_NANOS_MAX {
        return Err(format!(
            "a route is found in {nanos:.0} ns, more than {MATCH_NANOS_MAX:.0}"
        ));
    }
    if micros > CONFIRMED_MICROS_MAX {
        return Err(format!(
            "a table is confirmed after {micros} µs, more than {CONFIRMED_MICROS_MAX}"
        ));
    }
    match failed {
        0 => Ok(()),
        failed => Err(format!("{failed} clients were not answered")),
    }
}
