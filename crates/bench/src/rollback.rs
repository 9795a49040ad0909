//! How long blue/green takes to go back while the old set is warm.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::project::Project;

const ROUNDS: u32 = 10;

/// From the start of `gapless abort` to the begin of the last request that the new release
/// answered; the command's own start is part of the figure.
pub(crate) fn run() -> Result<serde_json::Value, String> {
    let mut project = Project::start(2, "strategy = \"blue_green\"\nkeep = \"60s\"", &[])?;
    let mut all = Vec::new();
    for _ in 0..ROUNDS {
        project.deploy(&["--detach"])?;
        let new = until_kept(&project)?;
        let stop = Arc::new(AtomicBool::new(false));
        let (address, stopped) = (project.address, Arc::clone(&stop));
        let asking = std::thread::spawn(move || ask(address, &stopped));
        std::thread::sleep(Duration::from_millis(200));
        let begin = Instant::now();
        let said = project
            .stage
            .gapless(&["abort"])
            .map_err(|error| error.to_string())?;
        if said.code != 0 {
            return Err(said.errors);
        }
        std::thread::sleep(Duration::from_millis(300));
        stop.store(true, Ordering::Relaxed);
        let answers = asking
            .join()
            .map_err(|_| "the client has died".to_owned())??;
        let last = answers
            .iter()
            .filter(|(_, release)| *release == new)
            .map(|(at, _)| *at)
            .max();
        let last = last.ok_or("the new release answered nothing")?;
        all.push(last.saturating_duration_since(begin).as_secs_f64() * 1e3);
        project
            .stage
            .gapless(&["wait"])
            .map_err(|error| error.to_string())?;
    }
    all.sort_by(f64::total_cmp);
    let (median, worst) = (all[all.len() / 2], all[all.len() - 1]);
    eprintln!(
        "back on the old release after {median:.1} ms (median), {worst:.1} ms (worst of {ROUNDS}); at most 50 ms is promised"
    );
    Ok(json!({ "median_ms": median, "worst_ms": worst, "rounds": ROUNDS }))
}

/// Waits until the old set is kept warm and returns the new release's name.
fn until_kept(project: &Project) -> Result<String, String> {
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(30) {
        let status = project
            .stage
            .gapless(&["status"])
            .map_err(|error| error.to_string())?
            .first();
        let rollout = &status["engine"]["services"][0]["rollout"];
        let waiting = rollout["waiting_on"].as_array().into_iter().flatten();
        if waiting.into_iter().any(|one| one["on"] == "keep") {
            return Ok(format!("v{}", rollout["to"]));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Err("the switch never came".to_owned())
}

/// Asks again and again on one connection; returns when each request began and who answered.
fn ask(address: SocketAddr, stop: &AtomicBool) -> Result<Vec<(Instant, String)>, String> {
    let failed = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect(address).map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    let mut answers = Vec::new();
    let mut buffer = [0; 4096];
    while !stop.load(Ordering::Relaxed) {
        let begin = Instant::now();
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: web.localhost\r\n\r\n")
            .map_err(failed)?;
        let count = stream.read(&mut buffer).map_err(failed)?;
        let text = String::from_utf8_lossy(&buffer[..count]).to_lowercase();
        let release = text
            .split("x-release: ")
            .nth(1)
            .and_then(|rest| rest.split("\r\n").next());
        answers.push((
            begin,
            release
                .ok_or_else(|| format!("no release in {text}"))?
                .to_owned(),
        ));
    }
    Ok(answers)
}
