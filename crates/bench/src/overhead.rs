//! What orchestration adds to an instance beyond the program's own boot.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::project::{Project, binary};

/// Starts the program by hand and by Gapless, and prints the difference per instance.
pub(crate) fn run() -> Result<serde_json::Value, String> {
    let mut boots: Vec<u64> = (0..20).map(|_| boot()).collect::<Result<_, _>>()?;
    boots.sort_unstable();
    let mut project = Project::start(2, "strategy = \"rolling\"", &[])?;
    let mut all = Vec::new();
    for _ in 0..20 {
        for receipt in project.deploy(&[])?.receipts() {
            let started = receipt
                .instances
                .iter()
                .filter(|instance| instance.release == receipt.to);
            all.extend(
                started.filter_map(|instance| Some(instance.start_ms? + instance.ready_ms?)),
            );
        }
    }
    all.sort_unstable();
    let median = |sorted: &[u64]| sorted.get(sorted.len() / 2).copied().unwrap_or_default();
    let (own, whole) = (median(&boots), median(&all));
    let p95 = all.get(all.len() * 95 / 100).copied().unwrap_or_default();
    eprintln!(
        "program's own boot {own} ms; under Gapless, with two passed probes, median {whole} ms, 95th {p95} ms over {} instances",
        all.len()
    );
    Ok(json!({ "own_boot_ms": own, "median_ms": whole, "p95_ms": p95, "instances": all.len() }))
}

/// From the program's start to its first accepted connection, in milliseconds.
fn boot() -> Result<u64, String> {
    let port = stage::free_address()
        .map_err(|error| error.to_string())?
        .port();
    let begin = Instant::now();
    let child = Command::new(binary()?)
        .args(["demo-app", "--port", &port.to_string()])
        .stdin(Stdio::null())
        .spawn();
    let mut child = child.map_err(|error| error.to_string())?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    while begin.elapsed() < Duration::from_secs(5) && TcpStream::connect(address).is_err() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let millis = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
    child
        .kill()
        .and_then(|()| child.wait())
        .map_err(|error| error.to_string())?;
    Ok(millis)
}
