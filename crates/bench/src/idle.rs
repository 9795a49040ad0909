//! Memory of an idle server.

use serde_json::json;

use crate::project::Project;

/// The resident anonymous memory of supervisor and worker with two idle instances.
pub(crate) fn run() -> Result<serde_json::Value, String> {
    let project = Project::start(2, "strategy = \"rolling\"", &[])?;
    std::thread::sleep(std::time::Duration::from_secs(5));
    let supervisor = project.stage.server_pid().ok_or("no server runs")?;
    let worker = project
        .stage
        .worker_pid()
        .map_err(|error| error.to_string())?;
    let (supervisor, worker) = (anonymous_kib(supervisor)?, anonymous_kib(worker)?);
    eprintln!(
        "RssAnon: worker {worker} KiB (at most 25600), supervisor {supervisor} KiB (at most 5120)"
    );
    Ok(json!({ "worker_kib": worker, "supervisor_kib": supervisor }))
}

pub(crate) fn anonymous_kib(pid: u32) -> Result<u64, String> {
    let path = format!("/proc/{pid}/status");
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let number = line
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse().ok());
    number.ok_or_else(|| format!("{path} has no RssAnon"))
}
