//! Other programs: those that are installed, those that ask, and what they cost.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::front::OTHER_CORE;

/// Installs what is missing, by Debian's packages of the same names.
pub(super) fn install(programs: &[(&str, &str)]) -> Result<(), String> {
    let missing: Vec<&str> = programs
        .iter()
        .filter(|(program, _)| !is_on_path(program))
        .map(|(_, package)| *package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!("installing {}", missing.join(", "));
    let install = ["install", "-y", "-q", "--no-install-recommends"];
    let install = [install.as_slice(), &missing].concat();
    for args in [["update", "-q"].as_slice(), &install] {
        let status = Command::new("apt-get")
            .args(args)
            .stdout(Stdio::null())
            .status();
        if !status.is_ok_and(|status| status.success()) {
            return Err(format!("install {} and try again", missing.join(", ")));
        }
    }
    Ok(())
}

fn is_on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let sbin = [Path::new("/usr/sbin").to_owned()];
    std::env::split_paths(&path)
        .chain(sbin)
        .any(|folder| folder.join(program).is_file())
}

/// Keeps all threads of a process on a core.
pub(super) fn pin(pid: u32, core: &str) -> Result<(), String> {
    let status = Command::new("taskset")
        .args(["-acp", core, &pid.to_string()])
        .stdout(Stdio::null())
        .status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("taskset ended with {status}")),
        Err(error) => Err(format!("taskset cannot be run: {error}")),
    }
}

pub(super) fn children(pid: u32) -> Result<Vec<u32>, String> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let pids = text.split_whitespace();
    Ok(pids.filter_map(|pid| pid.parse().ok()).collect())
}

/// User and system time of processes so far, in microseconds.
pub(super) fn cpu_micros(pids: &[u32]) -> Result<f64, String> {
    let ticks_per_second = rustix::param::clock_ticks_per_second() as f64;
    let mut ticks = 0.0;
    for pid in pids {
        let path = format!("/proc/{pid}/stat");
        let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
        let fields = text
            .rsplit_once(')')
            .map(|(_, rest)| rest.split_whitespace().collect::<Vec<_>>());
        // Fields 14 and 15 of proc(5); two have been split off.
        let fields = fields.ok_or_else(|| format!("{path} is not understood"))?;
        for index in [11, 12] {
            let field = fields
                .get(index)
                .and_then(|field| field.parse::<f64>().ok());
            ticks += field.unwrap_or_default();
        }
    }
    Ok(ticks * 1e6 / ticks_per_second)
}

/// Runs h2load on the other core and returns how many requests were answered; all must be.
pub(super) fn h2load(args: &[&str], url: &str) -> Result<f64, String> {
    let all = [&["-c", OTHER_CORE, "h2load", "-t", "1"], args, &[url]].concat();
    let output = Command::new("taskset").args(&all).output();
    let output = output.map_err(|error| format!("taskset cannot be run: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find(|line| line.starts_with("requests:"));
    let count = |name: &str| {
        let parts = line?.trim_start_matches("requests:").split(',');
        let part = parts.map(str::trim).find(|part| part.ends_with(name))?;
        part.split(' ').next()?.parse::<f64>().ok()
    };
    match (count(" succeeded"), count(" failed"), count(" errored")) {
        (Some(done), Some(0.0), Some(0.0)) if done > 0.0 => Ok(done),
        _ => Err(format!(
            "h2load {} {url} said: {text}{}",
            args.join(" "),
            String::from_utf8_lossy(&output.stderr)
        )),
    }
}

/// Keeps the calling thread on a core.
pub(super) fn pin_this(core: &str) -> Result<(), String> {
    let mut set = rustix::thread::CpuSet::new();
    set.set(core.parse().map_err(|_| format!("`{core}` is no core"))?);
    rustix::thread::sched_setaffinity(None, &set).map_err(|error| error.to_string())
}
