//! The PostgreSQL, and the pool before it, that tests of databases start for themselves.

use std::path::Path;
use std::process::Command;

const SERVER: &str = "/usr/lib/postgresql/15/bin/postgres";

const POOL: &str = "/usr/sbin/pgbouncer";

/// Debian starts a service that it installs, unless this program says no.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Debian makes and starts a cluster at install, unless this file says otherwise.
const SETTINGS: &str = "/etc/postgresql-common/createcluster.conf";

/// Installs Debian's postgresql-15 and pgbouncer where they are missing and we may; else says
/// that tests of databases will be skipped. No service is left running: each test starts its own.
pub(crate) fn install() -> Result<(), String> {
    if Path::new(SERVER).exists() && Path::new(POOL).exists() {
        return Ok(());
    }
    let root = Command::new("id").arg("-u").output();
    let root = root.is_ok_and(|output| output.stdout == b"0\n");
    if !root || !Path::new("/usr/bin/apt-get").exists() {
        eprintln!(
            "PostgreSQL 15 or PgBouncer is not installed, and only root on Debian can install them: \
             tests of databases are skipped"
        );
        return Ok(());
    }
    apt(&["update", "-q"])?;
    apt(&[
        "install",
        "-y",
        "-q",
        "--no-install-recommends",
        "postgresql-common",
    ])?;
    keep_quiet()?;
    apt(&[
        "install",
        "-y",
        "-q",
        "--no-install-recommends",
        "postgresql-15",
    ])?;
    without_services(|| {
        apt(&[
            "install",
            "-y",
            "-q",
            "--no-install-recommends",
            "pgbouncer",
        ])
    })
}

/// Does something while nothing that is installed is started; a policy that is there stays.
fn without_services(install: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    let policy = Path::new(POLICY);
    if policy.exists() {
        return install();
    }
    let failed = |error: std::io::Error| format!("{POLICY}: {error}");
    std::fs::write(policy, "#!/bin/sh\nexit 101\n").map_err(failed)?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    let allowed = std::fs::set_permissions(policy, mode).map_err(failed);
    let installed = allowed.and_then(|()| install());
    std::fs::remove_file(policy).map_err(failed)?;
    installed
}

fn keep_quiet() -> Result<(), String> {
    let text = std::fs::read_to_string(SETTINGS).unwrap_or_default();
    let others = text.lines().filter(|line| {
        let line = line.trim_start_matches('#').trim_start();
        !line.starts_with("create_main_cluster")
    });
    let mut lines: Vec<&str> = others.collect();
    lines.push("create_main_cluster = false\n");
    std::fs::write(SETTINGS, lines.join("\n")).map_err(|error| format!("{SETTINGS}: {error}"))
}

fn apt(args: &[&str]) -> Result<(), String> {
    eprintln!("$ apt-get {}", args.join(" "));
    let mut command = Command::new("apt-get");
    let status = command
        .args(args)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`apt-get {}` ended with {status}", args.join(" "))),
        Err(error) => Err(format!("`apt-get` cannot be run: {error}")),
    }
}
