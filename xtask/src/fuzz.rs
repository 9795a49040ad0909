//! The fuzz targets, by libFuzzer and the stable toolchain: coverage comes from LLVM's own pass,
//! which stable rustc offers, and no sanitizer is used, which it does not offer.

use std::path::Path;
use std::process::Command;

use crate::run::root;

/// Seconds for each target in every run of the checks; `cargo xtask fuzz` runs longer.
const BRIEFLY: u32 = 5;

const COVERAGE: &str = "--cfg fuzzing -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

/// Runs each target for a moment, where there is a C++ compiler to build libFuzzer with.
pub(crate) fn briefly() -> Result<(), String> {
    match Command::new("c++").arg("--version").output() {
        Ok(_) => run(BRIEFLY),
        Err(error) => {
            eprintln!("the fuzz targets are skipped: `c++` cannot be run: {error}");
            Ok(())
        }
    }
}

/// Runs each target for so many seconds, from what earlier runs have found.
pub(crate) fn run(seconds: u32) -> Result<(), String> {
    let folder = root().join("fuzz");
    let host = host()?;
    let output = root().join("target/fuzz");
    let mut build = Command::new("cargo");
    build
        // With a target given, build scripts are left without the flags.
        .args(["build", "--quiet", "--release", "--bins", "--target", &host])
        .current_dir(&folder)
        .env("CARGO_TARGET_DIR", &output)
        .env("RUSTFLAGS", COVERAGE);
    finish(&mut build)?;
    for target in targets(&folder)? {
        let corpus = output.join("corpus").join(&target);
        std::fs::create_dir_all(&corpus).map_err(|error| error.to_string())?;
        eprintln!("$ fuzz {target} for {seconds} s");
        let mut fuzz = Command::new(output.join(&host).join("release").join(&target));
        fuzz.arg(format!("-max_total_time={seconds}"))
            .args([
                "-verbosity=0",
                "-print_funcs=0",
                "-max_len=16384",
                "-print_final_stats=1",
                "-timeout=10",
                "-rss_limit_mb=2048",
            ])
            .arg(format!("-artifact_prefix={}/{target}-", output.display()))
            .arg(&corpus);
        finish(&mut fuzz)?;
    }
    Ok(())
}

/// The targets' names: those of their files.
fn targets(folder: &Path) -> Result<Vec<String>, String> {
    let folder = folder.join("fuzz_targets");
    let entries = std::fs::read_dir(&folder);
    let entries = entries.map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| Some(entry.ok()?.path().file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    Ok(names)
}

fn host() -> Result<String, String> {
    let output = Command::new("rustc").arg("-vV").output();
    let output = output.map_err(|error| format!("`rustc` cannot be run: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned)
        .ok_or_else(|| format!("`rustc -vV` names no host: {text}"))
}

fn finish(command: &mut Command) -> Result<(), String> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{command:?} ended with {status}")),
        Err(error) => Err(format!("{command:?} cannot be run: {error}")),
    }
}
