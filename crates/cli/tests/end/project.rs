//! A project with one service `web`, its server, and a client.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use load::{Load, Mix, Tally};
use serde_json::Value;
use stage::{Said, Stage, free_address};
use tokio::sync::oneshot;
use tokio::task::LocalSet;

use crate::disk::Disk;

/// A guard against hanging, never a measure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Project {
    pub(crate) stage: Stage,
    pub(crate) address: SocketAddr,
    version: u32,
    /// Dropped after the stage, whose server uses it.
    pub(crate) disk: Option<Disk>,
}

impl Project {
    /// A project whose state lies on `disk`.
    pub(crate) fn on(disk: Disk) -> Self {
        let mut project = Self::new();
        let state = disk.path().join("state");
        std::fs::create_dir(&state).unwrap();
        std::os::unix::fs::symlink(&state, project.stage.path("state")).unwrap();
        project.disk = Some(disk);
        project
    }

    /// A folder with the program in it; no server yet.
    pub(crate) fn new() -> Self {
        let stage = Stage::new(Path::new(env!("CARGO_BIN_EXE_gapless"))).unwrap();
        Self {
            stage,
            address: free_address().unwrap(),
            version: 0,
            disk: None,
        }
    }

    /// A server with the program deployed once.
    pub(crate) fn deployed(service: &str, rollout: &str) -> Self {
        let mut project = Self::new();
        project.stage.serve(&[]).unwrap();
        let said = project.deploy(service, rollout, &[]);
        assert_eq!(
            said.code,
            0,
            "{}\n{}",
            said.errors,
            project.stage.server_log()
        );
        project
    }

    /// Writes the next version: `service` adds lines to the service, `rollout` to its rollout.
    pub(crate) fn write(&mut self, service: &str, rollout: &str) {
        self.version += 1;
        let defaults = [
            ("run", r#"run = "./app demo-app""#),
            ("replicas", "replicas = 2"),
            ("artifact", r#"artifact = "app""#),
            ("drain", r#"drain = "5s""#),
            ("stop", r#"stop = { signal = "SIGTERM", grace = "2s" }"#),
            (
                "health",
                r#"health = { http = "/healthz", every = "200ms", timeout = "1s" }"#,
            ),
        ];
        let given = |key: &str| {
            service
                .lines()
                .any(|line| line.trim_start().starts_with(key))
        };
        let defaults: Vec<&str> = defaults
            .into_iter()
            .filter(|(key, _)| !given(key))
            .map(|(_, line)| line)
            .collect();
        let env = if given("env") {
            String::new()
        } else {
            format!("env = {{ VERSION = \"{}\" }}", self.version)
        };
        let text = format!(
            "version = 1\nproject = \"test\"\n\n[server]\nhttp = \"{}\"\n\n[service.web]\n{}\n{env}\n{service}\n\n[service.web.rollout]\n{rollout}\n",
            self.address,
            defaults.join("\n"),
        );
        self.stage.write(&text).unwrap();
    }

    pub(crate) fn deploy(&mut self, service: &str, rollout: &str, args: &[&str]) -> Said {
        self.write(service, rollout);
        self.redeploy(args)
    }

    /// Deploys the file as it is.
    pub(crate) fn redeploy(&self, args: &[&str]) -> Said {
        let all: Vec<&str> = ["deploy"].into_iter().chain(args.iter().copied()).collect();
        self.stage.gapless(&all).unwrap()
    }

    pub(crate) fn run(&self, args: &[&str]) -> Said {
        self.stage.gapless(args).unwrap()
    }

    /// The service `web` as `status` shows it.
    pub(crate) fn web(&self) -> Value {
        self.run(&["status"]).first()["engine"]["services"][0].clone()
    }

    /// Waits until `web` is as wished.
    pub(crate) fn until(&self, what: &str, wished: impl Fn(&Value) -> bool) -> Value {
        let begin = Instant::now();
        loop {
            let web = self.web();
            if wished(&web) {
                return web;
            }
            assert!(
                begin.elapsed() < PATIENCE,
                "never {what}: {web:#}\n{}",
                self.stage.server_log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the rollout waits for this.
    pub(crate) fn until_waiting(&self, on: &str) -> Value {
        self.until(&format!("waiting on {on}"), |web| {
            web["rollout"]["waiting_on"]
                .as_array()
                .into_iter()
                .flatten()
                .any(|one| one["on"] == on)
        })
    }

    /// Starts a client of `rate` requests a second.
    pub(crate) fn load(&self, rate: u32) -> Client {
        self.load_of(self.address, rate, Mix::HalfFresh)
    }

    /// What a command says to a person.
    pub(crate) fn plain(&self, args: &[&str]) -> String {
        let output = self.stage.plain(args).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// The same for another path.
    pub(crate) fn load_path(&self, path: &str, rate: u32) -> Client {
        Client::start(self.address, path, (rate, Mix::HalfFresh))
    }

    /// The same of another kind, to another address of the project.
    pub(crate) fn load_of(&self, address: SocketAddr, rate: u32, mix: Mix) -> Client {
        Client::start(address, "/", (rate, mix))
    }

    /// One request on a fresh connection; the whole answer as text.
    pub(crate) fn ask(&self, path: &str, headers: &str) -> String {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: web.localhost\r\nConnection: close\r\n{headers}\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

/// A client on a thread of its own.
pub(crate) struct Client {
    stop: oneshot::Sender<()>,
    tally: mpsc::Receiver<Tally>,
}

impl Client {
    fn start(address: SocketAddr, path: &str, (rate, mix): (u32, Mix)) -> Self {
        let path = path.to_owned();
        let (stop, stopped) = oneshot::channel::<()>();
        let (send, tally) = mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            LocalSet::new().block_on(&runtime, async {
                let running = Load {
                    address,
                    host: "web.localhost".to_owned(),
                    path,
                    rate,
                    mix,
                    patience: PATIENCE,
                }
                .start();
                let _ = stopped.await;
                let _ = send.send(running.stop().await);
            });
        });
        Self { stop, tally }
    }

    /// Ends it and returns its account.
    pub(crate) fn stop(self) -> Tally {
        let _ = self.stop.send(());
        self.tally
            .recv_timeout(PATIENCE * 2)
            .expect("the client has died")
    }

    /// Ends it and demands that every request was answered well.
    pub(crate) fn stop_unharmed(self) -> Tally {
        let tally = self.stop();
        assert!(tally.sent > 0);
        assert_eq!((tally.failed(), tally.errors.len()), (0, 0), "{tally:?}");
        tally
    }
}

/// Kills the program that was given a port of the test's own project.
pub(crate) fn kill_program(port: u64) {
    for (pid, _) in programs(port) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

/// The environment of the program that was given a port of the test's own project.
pub(crate) fn environment(port: u64) -> Vec<String> {
    let (_, environment) = programs(port).into_iter().next().unwrap();
    environment
}

fn programs(port: u64) -> Vec<(rustix::process::Pid, Vec<String>)> {
    let wanted = format!("PORT={port}");
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
        let environ = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        let text = String::from_utf8_lossy(&environ);
        let environment: Vec<String> = text.split('\0').map(str::to_owned).collect();
        let pid = entry.file_name().to_string_lossy().parse().ok();
        let pid = pid.and_then(rustix::process::Pid::from_raw);
        if let (true, Some(pid)) = (environment.contains(&wanted), pid) {
            found.push((pid, environment));
        }
    }
    found
}
