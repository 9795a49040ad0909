//! The slowest requests while a new version is rolled out.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::front::OTHER_CORE;
use super::measure::middle;
use crate::project::Project;

const ROLLOUTS: u32 = 20;
const CONNECTIONS: u32 = 64;

/// The 99th percentile during a rollout, as a multiple of what it is outside one, at half load.
pub(super) fn run(project: &mut Project, (rate, folder): (u32, &Path)) -> Result<Value, String> {
    let mut ratios = Vec::new();
    for _ in 0..ROLLOUTS {
        let file = folder.join("latencies");
        let mut client = client(project.address.port(), (rate, &file))?;
        std::thread::sleep(Duration::from_secs(3));
        let begin = now_micros();
        let deployed = project.deploy(&[]);
        let end = now_micros();
        let ended = client.wait();
        deployed?;
        ended.map_err(|error| error.to_string())?;
        let text = std::fs::read_to_string(&file).map_err(|error| error.to_string())?;
        // The next client appends to what it finds.
        std::fs::remove_file(&file).map_err(|error| error.to_string())?;
        let (during, outside) = split(&text, begin..end)?;
        ratios.push(during / outside);
    }
    let ratio = middle(&ratios);
    eprintln!("p99 during a rollout: {ratio:.2} times that outside one");
    Ok(
        json!({ "p99_ratio": ratio, "rollouts": ROLLOUTS, "requests_per_second": rate * CONNECTIONS }),
    )
}

fn client(port: u16, (rate, file): (u32, &Path)) -> Result<std::process::Child, String> {
    let mut command = Command::new("taskset");
    command
        .args([
            "-c", OTHER_CORE, "h2load", "-t", "1", "--h1", "-D", "6", "-c",
        ])
        .args([CONNECTIONS.to_string(), format!("--rps={rate}")])
        .arg(format!("--log-file={}", file.display()))
        .arg(format!("http://127.0.0.1:{port}/"))
        .stdout(Stdio::null());
    command
        .spawn()
        .map_err(|error| format!("taskset cannot be run: {error}"))
}

fn now_micros() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, |now| now.as_micros() as u64)
}

/// The 99th percentiles of requests that began in the span, and of the others.
fn split(log: &str, span: std::ops::Range<u64>) -> Result<(f64, f64), String> {
    let (mut during, mut outside) = (Vec::new(), Vec::new());
    for line in log.lines() {
        let mut fields = line.split_whitespace().map(str::parse::<i64>);
        let (Some(Ok(begin)), Some(Ok(200)), Some(Ok(micros))) =
            (fields.next(), fields.next(), fields.next())
        else {
            return Err(format!("a request was not answered: {line}"));
        };
        let list = if span.contains(&(begin as u64)) {
            &mut during
        } else {
            &mut outside
        };
        list.push(micros as f64);
    }
    Ok((p99(&mut during)?, p99(&mut outside)?))
}

fn p99(values: &mut [f64]) -> Result<f64, String> {
    values.sort_by(f64::total_cmp);
    let at = values.len() * 99 / 100;
    values
        .get(at)
        .copied()
        .ok_or_else(|| "no request fell into the rollout".to_owned())
}
