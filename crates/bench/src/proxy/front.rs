//! The proxies that are compared.

use std::fs;
use std::io::Read as _;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::tools::{children, pin};

/// What is measured is alone on the first core; clients and the program share the second.
pub(super) const PROXY_CORE: &str = "0";
pub(super) const OTHER_CORE: &str = "1";

/// A proxy under measurement.
pub(super) struct Front {
    pub(super) name: &'static str,
    /// HTTP/1.1 in the clear.
    pub(super) plain: u16,
    /// HTTP/2 in the clear, if it speaks it; for Gapless the same port.
    pub(super) http2: u16,
    /// TLS, if it is asked for that.
    pub(super) tls: u16,
    pub(super) pids: Vec<u32>,
    /// Ends with it; ours belongs to its stage.
    child: Option<Child>,
}

/// Where rivals find what they need.
pub(super) struct Ground<'a> {
    pub(super) folder: &'a Path,
    /// The port of the program behind all of them.
    pub(super) program: u16,
    /// A file with certificate and key, for TLS.
    pub(super) certificate: &'a Path,
}

impl Drop for Front {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // Their masters end their workers on SIGTERM.
            let _ = Command::new("kill").arg(child.id().to_string()).status();
            let _ = child.wait();
        }
    }
}

impl Front {
    /// Gapless, which its stage started.
    pub(super) fn ours(plain: u16, tls: u16, worker: u32) -> Self {
        Self {
            name: "gapless",
            plain,
            http2: plain,
            tls,
            pids: vec![worker],
            child: None,
        }
    }

    /// What it wrote to its error stream before it ended, which this brings about.
    fn said(&mut self) -> String {
        let mut text = String::new();
        if let Some(child) = &mut self.child {
            let _ = Command::new("kill").arg(child.id().to_string()).status();
            if let Some(stream) = &mut child.stderr {
                // What cannot be read is not told: the failure itself is.
                let _ = stream.read_to_string(&mut text);
            }
        }
        text
    }

    /// Starts a program and waits until it listens.
    fn start(name: &'static str, ports: [u16; 3], command: &mut Command) -> Result<Self, String> {
        let [plain, http2, tls] = ports;
        let silent = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let child = silent.spawn();
        let child = child.map_err(|error| format!("{name} cannot be started: {error}"))?;
        let mut front = Self {
            name,
            plain,
            http2,
            tls,
            pids: Vec::new(),
            child: None,
        };
        let pid = front.child.insert(child).id();
        for _ in 0..250 {
            if TcpStream::connect(("127.0.0.1", plain)).is_ok() {
                front.pids = children(pid)?;
                front.pids.push(pid);
                for pid in &front.pids {
                    pin(*pid, PROXY_CORE)?;
                }
                return Ok(front);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(format!("{name} does not listen: {}", front.said()))
    }
}

fn ports() -> Result<[u16; 3], String> {
    let free = || {
        let address = stage::free_address();
        address
            .map(|address| address.port())
            .map_err(|error| error.to_string())
    };
    Ok([free()?, free()?, free()?])
}

fn write(file: &Path, text: &str) -> Result<(), String> {
    fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()))
}

/// nginx as its manual says to proxy with keep-alive.
pub(super) fn nginx(ground: &Ground<'_>) -> Result<Front, String> {
    let ports = ports()?;
    let behind = (ground.program, Some(ground.certificate));
    let file = ground.folder.join("nginx.conf");
    write(&file, &nginx_config(ground.folder, behind, ports))?;
    let mut command = Command::new("nginx");
    command
        .args(["-g", "daemon off;", "-c"])
        .arg(&file)
        .arg("-p");
    Front::start("nginx", ports, command.arg(ground.folder))
}

/// Its configuration; without a certificate HTTP/1.1 in the clear alone.
pub(super) fn nginx_config(
    folder: &Path,
    (program, certificate): (u16, Option<&Path>),
    [plain, http2, tls]: [u16; 3],
) -> String {
    let (folder, more) = (folder.display(), certificate.map(|file| {
        let file = file.display();
        format!(
            "listen 127.0.0.1:{http2} http2; listen 127.0.0.1:{tls} ssl;\n\
             ssl_certificate {file}; ssl_certificate_key {file}; ssl_session_cache shared:s:10m; ssl_protocols TLSv1.2 TLSv1.3;"
        )
    }));
    format!(
        "worker_processes 1; worker_rlimit_nofile 20000; pid {folder}/nginx.pid; error_log {folder}/nginx.log;\n\
         events {{ worker_connections 19000; }}\n\
         http {{ access_log off; client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};\n\
         uwsgi_temp_path {folder}; scgi_temp_path {folder}; keepalive_requests 100000000; keepalive_timeout 600s;\n\
         upstream app {{ server 127.0.0.1:{program}; keepalive 64; keepalive_requests 100000000; }}\n\
         server {{ listen 127.0.0.1:{plain} backlog=4096; {}\n\
         location / {{ proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_max_temp_file_size 0;\n\
         proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme;\n\
         proxy_set_header X-Request-Id $request_id; proxy_set_header Host $host; }} }} }}\n",
        more.unwrap_or_default(),
    )
}

/// HAProxy with its defaults, one thread; `log` is the socket that its log goes to.
pub(super) fn haproxy(ground: &Ground<'_>, log: Option<&Path>) -> Result<Front, String> {
    let ports @ [plain, http2, tls] = ports()?;
    let (to, how) = match log {
        Some(socket) => (
            format!("  log {} local0\n", socket.display()),
            "  log global\n  option httplog\n",
        ),
        None => (String::new(), ""),
    };
    let text = format!(
        "global\n  nbthread 1\n  no strict-limits\n  maxconn 19000\n{to}\
         defaults\n  mode http\n  timeout connect 5s\n  timeout client 600s\n  timeout server 60s\n  option forwardfor\n  http-reuse always\n{how}\
         frontend f\n  bind 127.0.0.1:{plain} backlog 4096\n  bind 127.0.0.1:{http2} proto h2\n  bind 127.0.0.1:{tls} ssl crt {}\n\
         \x20 unique-id-format %{{+X}}o%ci:%cp_%Ts_%rt\n  unique-id-header X-Request-Id\n  default_backend b\n\
         backend b\n  server app 127.0.0.1:{}\n",
        ground.certificate.display(),
        ground.program,
    );
    let file = ground.folder.join("haproxy.cfg");
    write(&file, &text)?;
    let mut command = Command::new("haproxy");
    Front::start("haproxy", ports, command.arg("-f").arg(&file))
}

/// Caddy as `reverse_proxy` makes it.
pub(super) fn caddy(ground: &Ground<'_>) -> Result<Front, String> {
    let ports = ports()?;
    let text = format!(
        "{{\n  admin off\n  auto_https off\n}}\nhttp://127.0.0.1:{} {{\n  reverse_proxy 127.0.0.1:{}\n}}\n",
        ports[0], ground.program,
    );
    let file = ground.folder.join("Caddyfile");
    write(&file, &text)?;
    let mut command = Command::new("caddy");
    command
        .env("GOMAXPROCS", "1")
        .env("XDG_DATA_HOME", ground.folder)
        .env("XDG_CONFIG_HOME", ground.folder)
        .args(["run", "--adapter", "caddyfile", "--config"]);
    Front::start("caddy", ports, command.arg(&file))
}

/// The least that stands between a client and a program: bytes carried both ways.
pub(super) fn relay(ground: &Ground<'_>) -> Result<Front, String> {
    let ports = ports()?;
    let this = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new(this);
    let (from, to) = (ports[0].to_string(), ground.program.to_string());
    Front::start("relay", ports, command.args(["relay", &from, &to]))
}
