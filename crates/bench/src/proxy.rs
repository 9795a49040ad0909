//! CPU time per proxied small request, beside nginx and HAProxy in one interleaved run.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::json;

use crate::project::Project;

const ROUNDS: usize = 7;
const SECONDS: &str = "4";
const CONNECTIONS: &str = "64";
/// What is measured is alone on the first core; clients and the program share the second.
const PROXY_CORE: &str = "0";
const OTHER_CORE: &str = "1";

/// A proxy under measurement: its name, its port, its processes.
struct Front {
    name: &'static str,
    port: u16,
    pids: Vec<u32>,
}

/// Installs what is missing, runs all three in turns, prints ratios.
pub(crate) fn run() -> Result<serde_json::Value, String> {
    install(&["nginx", "haproxy", "wrk"])?;
    let project = Project::start(1, "strategy = \"rolling\"", &["--threads", "1"])?;
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let worker = project
        .stage
        .worker_pid()
        .map_err(|error| error.to_string())?;
    let supervisor = project.stage.server_pid().ok_or("no server runs")?;
    for instance in children(supervisor)?
        .into_iter()
        .filter(|pid| *pid != worker)
    {
        pin(instance, OTHER_CORE)?;
    }
    pin(worker, PROXY_CORE)?;
    let upstream = upstream_port(&project)?;
    let (mut nginx, nginx_front) = nginx(folder.path(), upstream)?;
    let (mut haproxy, haproxy_front) = haproxy(folder.path(), upstream)?;
    let fronts = [
        Front {
            name: "gapless",
            port: project.address.port(),
            pids: vec![worker],
        },
        nginx_front,
        haproxy_front,
    ];
    let figures = rounds(&fronts);
    for child in [&mut nginx, &mut haproxy] {
        // Their masters end their workers on SIGTERM; that was asked for by dropping below.
        let _ = Command::new("kill").arg(child.id().to_string()).status();
        let _ = child.wait();
    }
    report(&fronts, &figures?)
}

fn report(fronts: &[Front], figures: &[Vec<f64>]) -> Result<serde_json::Value, String> {
    let median = |values: &[f64]| {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
    };
    let ours = &figures[0];
    let mut out = serde_json::Map::new();
    for (front, values) in fronts.iter().zip(figures) {
        let ratios: Vec<f64> = ours
            .iter()
            .zip(values)
            .map(|(ours, theirs)| ours / theirs)
            .collect();
        let (cost, ratio) = (median(values), median(&ratios));
        eprintln!(
            "{:8} {cost:6.2} us of CPU a request; Gapless takes {ratio:.2} of it",
            front.name
        );
        out.insert(
            front.name.to_owned(),
            json!({ "micros": cost, "gapless_ratio": ratio }),
        );
    }
    Ok(serde_json::Value::Object(out))
}

fn rounds(fronts: &[Front]) -> Result<Vec<Vec<f64>>, String> {
    let mut figures = vec![Vec::new(); fronts.len()];
    for round in 0..=ROUNDS {
        for (front, figures) in fronts.iter().zip(&mut figures) {
            let before = cpu_micros(&front.pids)?;
            let requests = wrk(front.port)?;
            let spent = cpu_micros(&front.pids)? - before;
            // The first round only warms up.
            if round > 0 {
                figures.push(spent / requests);
            }
        }
    }
    Ok(figures)
}

/// Runs wrk and returns how many requests were answered.
fn wrk(port: u16) -> Result<f64, String> {
    let url = format!("http://127.0.0.1:{port}/");
    let args = [
        "-c",
        OTHER_CORE,
        "wrk",
        "-t",
        "1",
        "-c",
        CONNECTIONS,
        "-d",
        SECONDS,
        &url,
    ];
    let output = Command::new("taskset")
        .args(args)
        .output()
        .map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if text.contains("Non-2xx") || text.contains("Socket errors") {
        return Err(format!("requests failed on port {port}: {text}"));
    }
    let line = text.lines().find(|line| line.contains("requests in"));
    let number = line
        .and_then(|line| line.split_whitespace().next())
        .and_then(|number| number.parse().ok());
    number.ok_or_else(|| {
        format!(
            "wrk said: {text}{}",
            String::from_utf8_lossy(&output.stderr)
        )
    })
}

fn nginx(folder: &Path, upstream: u16) -> Result<(Child, Front), String> {
    let port = stage::free_address()
        .map_err(|error| error.to_string())?
        .port();
    let text = format!(
        "daemon off; worker_processes 1; pid {0}/nginx.pid; error_log {0}/error.log;\n\
         events {{ worker_connections 1024; }}\n\
         http {{ access_log off; client_body_temp_path {0}; proxy_temp_path {0}; fastcgi_temp_path {0}; uwsgi_temp_path {0}; scgi_temp_path {0};\n\
         keepalive_requests 100000000;\n\
         upstream app {{ server 127.0.0.1:{upstream}; keepalive 64; keepalive_requests 100000000; }}\n\
         server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://app; proxy_http_version 1.1; \
         proxy_set_header Connection \"\"; proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header Host $host; }} }} }}\n",
        folder.display()
    );
    let file = folder.join("nginx.conf");
    fs::write(&file, text).map_err(|error| error.to_string())?;
    let child = start(
        "nginx",
        &[
            "-c",
            &file.to_string_lossy(),
            "-p",
            &folder.to_string_lossy(),
        ],
    )?;
    front("nginx", port, child)
}

fn haproxy(folder: &Path, upstream: u16) -> Result<(Child, Front), String> {
    let port = stage::free_address()
        .map_err(|error| error.to_string())?
        .port();
    let text = format!(
        "global\n  nbthread 1\n\
         defaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n  option forwardfor\n  http-reuse always\n\
         frontend f\n  bind 127.0.0.1:{port}\n  default_backend b\n\
         backend b\n  server app 127.0.0.1:{upstream}\n"
    );
    let file = folder.join("haproxy.cfg");
    fs::write(&file, text).map_err(|error| error.to_string())?;
    let child = start("haproxy", &["-f", &file.to_string_lossy()])?;
    front("haproxy", port, child)
}

fn start(program: &str, args: &[&str]) -> Result<Child, String> {
    let mut command = Command::new(program);
    command
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
        .spawn()
        .map_err(|error| format!("{program} cannot be started: {error}"))
}

/// Waits until it listens, and pins all its processes.
fn front(name: &'static str, port: u16, child: Child) -> Result<(Child, Front), String> {
    for _ in 0..200 {
        if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
            let mut pids = children(child.id())?;
            pids.push(child.id());
            for pid in &pids {
                pin(*pid, PROXY_CORE)?;
            }
            return Ok((child, Front { name, port, pids }));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Err(format!("{name} does not listen"))
}

fn pin(pid: u32, core: &str) -> Result<(), String> {
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

fn children(pid: u32) -> Result<Vec<u32>, String> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    Ok(text
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect())
}

fn upstream_port(project: &Project) -> Result<u16, String> {
    let status = project
        .stage
        .gapless(&["status"])
        .map_err(|error| error.to_string())?
        .first();
    let port = status["engine"]["services"][0]["instances"][0]["port"].as_u64();
    port.and_then(|port| u16::try_from(port).ok())
        .ok_or_else(|| "the status names no port".to_owned())
}

/// User and system time of processes so far, in microseconds.
fn cpu_micros(pids: &[u32]) -> Result<f64, String> {
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
            ticks += fields
                .get(index)
                .and_then(|field| field.parse::<f64>().ok())
                .unwrap_or_default();
        }
    }
    Ok(ticks * 1e6 / ticks_per_second)
}

fn install(programs: &[&str]) -> Result<(), String> {
    let missing: Vec<&str> = programs
        .iter()
        .copied()
        .filter(|program| !on_path(program))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!("installing {}", missing.join(", "));
    for args in [
        vec!["update", "-q"],
        [
            vec!["install", "-y", "-q", "--no-install-recommends"],
            missing.clone(),
        ]
        .concat(),
    ] {
        let status = Command::new("apt-get")
            .args(&args)
            .stdout(Stdio::null())
            .status();
        if !status.is_ok_and(|status| status.success()) {
            return Err(format!("install {} and try again", missing.join(", ")));
        }
    }
    Ok(())
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let sbin = [Path::new("/usr/sbin").to_owned()];
    std::env::split_paths(&path)
        .chain(sbin)
        .any(|folder| folder.join(program).is_file())
}
