//! What a proxied request costs, beside nginx, HAProxy, Caddy and a bare relay.
//!
//! All are in front of the same instance and run in turns, each pinned to the first core, while
//! clients and the instance share the second. Costs are CPU time; what counts are the ratios.

mod bodies;
mod during;
mod front;
mod handshakes;
mod idle;
mod instructions;
mod measure;
pub(crate) mod relay;
mod requests;
mod tools;

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Map, Value};

use crate::project::{Project, Setup};
use front::{Front, Ground, OTHER_CORE, PROXY_CORE};
use tools::{children, install, pin};

const NEEDED: [(&str, &str); 7] = [
    ("nginx", "nginx"),
    ("haproxy", "haproxy"),
    ("caddy", "caddy"),
    ("h2load", "nghttp2-client"),
    ("openssl", "openssl"),
    ("taskset", "util-linux"),
    ("valgrind", "valgrind"),
];

/// The affinity cookie of a user whom the proxy knows.
const COOKIE: &str = "Cookie: gapless_id=0123456789abcdef0123456789abcdef";

/// Installs what is missing and runs every comparison.
pub(crate) fn run() -> Result<Value, String> {
    prepare()?;
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let mut out = Map::new();
    let rate = plain(folder.path(), &mut out)?;
    out.insert("logged".to_owned(), logged(folder.path(), rate)?);
    out.insert("rsa".to_owned(), rsa(folder.path())?);
    Ok(Value::Object(out))
}

/// Only what a rollout does to the slowest requests.
pub(crate) fn rollout() -> Result<Value, String> {
    prepare()?;
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let folder = folder.path();
    let certificate = certificate(folder, &["ec", "-pkeyopt", "ec_paramgen_curve:P-256"])?;
    let (mut project, _ours) = ours(&certificate, "", "")?;
    let ground = Ground {
        folder,
        program: program_port(&project)?,
        certificate: &certificate,
    };
    let rate = requests::rate(&front::nginx(&ground)?)?;
    during::run(&mut project, (half(rate), folder))
}

/// Whatever asks shares a core, this process and the commands that it gives among it.
fn prepare() -> Result<(), String> {
    install(&NEEDED)?;
    tools::pin_this(OTHER_CORE)
}

/// Half of the most, where the rate is 60 % of it.
fn half(rate: u32) -> u32 {
    rate * 5 / 6
}

/// Everything that is measured without a log; returns the rate that was offered.
fn plain(folder: &Path, out: &mut Map<String, Value>) -> Result<u32, String> {
    let certificate = certificate(folder, &["ec", "-pkeyopt", "ec_paramgen_curve:P-256"])?;
    let (mut project, ours) = ours(&certificate, "", "")?;
    let ground = Ground {
        folder,
        program: program_port(&project)?,
        certificate: &certificate,
    };
    let nginx = front::nginx(&ground)?;
    let haproxy = front::haproxy(&ground, None)?;
    let (caddy, relay) = (front::caddy(&ground)?, front::relay(&ground)?);
    let rate = requests::rate(&nginx)?;
    let rivals = [&ours, &nginx, &haproxy];
    let mut note = |name: &str, figures| out.insert(name.to_owned(), figures);
    let all = [&ours, &nginx, &haproxy, &caddy, &relay];
    note("http1", requests::http1("HTTP/1.1", &all, (rate, &[]))?);
    note("instructions", instructions::run(folder, ground.program)?);
    note("http2", requests::http2(&rivals)?);
    note(
        "ecdsa",
        handshakes::run(&rivals, ("ECDSA P-256", &certificate))?,
    );
    note("bodies", bodies::run(&rivals)?);
    note("idle", idle::run(&rivals)?);
    note("rollout", during::run(&mut project, (half(rate), folder))?);
    Ok(rate)
}

/// With affinity, access log and traces, beside HAProxy with its log.
fn logged(folder: &Path, rate: u32) -> Result<Value, String> {
    let certificate = folder.join("both.pem");
    let server = "access_log = {}\ntrace_sampled = \"1%\"";
    let (project, ours) = ours(&certificate, server, "affinity = \"cookie\"")?;
    let socket = folder.join("log");
    let log = UnixDatagram::bind(&socket).map_err(|error| error.to_string())?;
    std::thread::spawn(move || {
        // Whoever logs does not wait for this; it ends with the benchmark.
        pin_reader();
        let mut line = [0; 4096];
        while log.recv(&mut line).is_ok() {}
    });
    let ground = Ground {
        folder,
        program: program_port(&project)?,
        certificate: &certificate,
    };
    let haproxy = front::haproxy(&ground, Some(&socket))?;
    requests::http1("logged", &[&ours, &haproxy], (rate, &[COOKIE]))
}

fn pin_reader() {
    // Without it the reader only costs the measured core something.
    let _ = tools::pin_this(OTHER_CORE);
}

/// Handshakes with a certificate of the older kind.
fn rsa(folder: &Path) -> Result<Value, String> {
    let certificate = certificate(folder, &["rsa:2048"])?;
    let (project, ours) = ours(&certificate, "", "")?;
    let ground = Ground {
        folder,
        program: program_port(&project)?,
        certificate: &certificate,
    };
    let (nginx, haproxy) = (front::nginx(&ground)?, front::haproxy(&ground, None)?);
    handshakes::run(&[&ours, &nginx, &haproxy], ("RSA 2048", &certificate))
}

/// Gapless with one thread on the first core and its instances, present and future, on the second.
fn ours(
    certificate: &Path,
    server: &str,
    rollout: &'static str,
) -> Result<(Project, Front), String> {
    let https = stage::free_address().map_err(|error| error.to_string())?;
    let file = certificate.display();
    let setup = Setup {
        replicas: 1,
        rollout: if rollout.is_empty() {
            "strategy = \"rolling\""
        } else {
            rollout
        },
        server: format!(
            "https = \"{https}\"\ntls = {{ certificates = [{{ cert = \"{file}\", key = \"{file}\" }}] }}\n{server}"
        ),
        args: &["--threads", "1"],
    };
    let project = Project::start_with(setup)?;
    let worker = project.stage.worker_pid();
    let worker = worker.map_err(|error| error.to_string())?;
    let supervisor = project.stage.server_pid().ok_or("no server runs")?;
    pin(supervisor, OTHER_CORE)?;
    for child in children(supervisor)? {
        pin(child, OTHER_CORE)?;
    }
    pin(worker, PROXY_CORE)?;
    let ours = Front::ours(project.address.port(), https.port(), worker);
    Ok((project, ours))
}

/// A certificate signed by itself, in one file with its key as all three read it.
fn certificate(folder: &Path, kind: &[&str]) -> Result<PathBuf, String> {
    let (key, cert) = (folder.join("key.pem"), folder.join("cert.pem"));
    let output = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-nodes",
            "-days",
            "30",
            "-subj",
            "/CN=web.localhost",
        ])
        .args(["-addext", "subjectAltName=DNS:web.localhost"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-newkey"])
        .args(kind)
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&cert)
        .output()
        .map_err(|error| format!("openssl cannot be run: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("openssl ended with {}: {said}", output.status));
    }
    let both = folder.join("both.pem");
    let read = |file: &Path| std::fs::read(file).map_err(|error| error.to_string());
    // Over the key's file, whose permissions are right.
    std::fs::rename(&key, &both).map_err(|error| error.to_string())?;
    let text = [read(&cert)?, read(&both)?].concat();
    std::fs::write(&both, text).map_err(|error| error.to_string())?;
    Ok(both)
}

fn program_port(project: &Project) -> Result<u16, String> {
    let status = project.stage.gapless(&["status"]);
    let status = status.map_err(|error| error.to_string())?.first();
    let port = status["engine"]["services"][0]["instances"][0]["port"].as_u64();
    port.and_then(|port| u16::try_from(port).ok())
        .ok_or_else(|| "the status names no port".to_owned())
}
