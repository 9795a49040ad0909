//! Starting other programs from the workspace's root.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The workspace's root.
pub(crate) fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest
        .parent()
        .expect("xtask lies in the workspace")
        .to_owned()
}

/// Runs `cargo` with `args` and says what failed.
pub(crate) fn cargo(args: &[&str]) -> Result<(), String> {
    command("cargo", args)
}

fn command(program: &str, args: &[&str]) -> Result<(), String> {
    eprintln!("$ {program} {}", args.join(" "));
    let status = Command::new(program)
        .args(args)
        .current_dir(root())
        .status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!(
            "`{program} {}` ended with {status}",
            args.join(" ")
        )),
        Err(error) => Err(format!("`{program}` cannot be run: {error}")),
    }
}

/// The simulator in a profile of its own, the fastest one.
pub(crate) fn sim(args: &[String]) -> Result<(), String> {
    let mut all = vec!["run", "--quiet", "--profile", "simulation"];
    all.extend(["--package", "sim", "--"]);
    all.extend(args.iter().map(String::as_str));
    cargo(&all)
}

/// The benchmarks, in release profile.
pub(crate) fn bench(args: &[String]) -> Result<(), String> {
    cargo(&["build", "--release", "--package", "cli"])?;
    let alone = [
        ["--package", "proxy"],
        ["--example", "bench_proxy"],
        ["--example", "bench_routes"],
    ];
    cargo(&[["build", "--release"].as_slice(), &alone.concat()].concat())?;
    let mut all = vec!["run", "--quiet", "--release", "--package", "bench"];
    all.extend(["--bin", "bench", "--"]);
    all.extend(args.iter().map(String::as_str));
    cargo(&all)
}

/// The soak, in the development profile: its assertions are worth more than its speed.
pub(crate) fn soak(args: &[String]) -> Result<(), String> {
    cargo(&["build", "--package", "cli"])?;
    let binary = root().join("target/debug/gapless").display().to_string();
    let mut all = vec![
        "run",
        "--quiet",
        "--package",
        "bench",
        "--bin",
        "soak",
        "--",
    ];
    all.push(&binary);
    all.extend(args.iter().map(String::as_str));
    cargo(&all)
}
