//! The stage itself.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::Said;

/// The proxy threads of a stage's server.
///
/// A worker that is killed may, in each of its threads, have given the last byte of one response
/// to the kernel and not yet noted so. The client has the whole response; the ledger, which never
/// takes more for granted than it knows, counts it as cut.
pub const THREADS: u8 = 2;

/// How long a server may take to answer after its start, and to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// What could not be done, in one sentence with its cause.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StageError(String);

impl StageError {
    pub(crate) fn new(what: impl std::fmt::Display, why: impl std::fmt::Display) -> Self {
        Self(format!("{what}: {why}"))
    }
}

/// A temporary folder with a project in it, and its server. Dropping it ends the server.
pub struct Stage {
    folder: Option<tempfile::TempDir>,
    binary: PathBuf,
    server: Option<Child>,
}

impl Stage {
    /// Makes the folder, with a copy of `binary` as the artefact `app/app`. No server runs yet.
    ///
    /// # Errors
    ///
    /// When files cannot be made.
    pub fn new(binary: &Path) -> Result<Self, StageError> {
        let folder = tempfile::Builder::new().prefix("gapless-").tempdir();
        let folder =
            folder.map_err(|error| StageError::new("no temporary folder can be made", error))?;
        let app = folder.path().join("app");
        fs::create_dir(&app)
            .and_then(|()| fs::copy(binary, app.join("app")))
            .map_err(|error| StageError::new("the program cannot be copied", error))?;
        Ok(Self {
            folder: Some(folder),
            binary: binary.to_owned(),
            server: None,
        })
    }

    /// A path within the folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder
            .as_ref()
            .map(|folder| folder.path().join(name))
            .unwrap_or_default()
    }

    /// Writes the configuration.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn write(&self, text: &str) -> Result<(), StageError> {
        fs::write(self.path("gapless.toml"), text)
            .map_err(|error| StageError::new("the configuration cannot be written", error))
    }

    /// Starts the server with `args` and waits until it answers. It has [`THREADS`] unless `args`
    /// say otherwise.
    ///
    /// # Errors
    ///
    /// When it ends at once or does not answer; with what it wrote.
    pub fn serve(&mut self, args: &[&str]) -> Result<(), StageError> {
        let failed = |error| StageError::new("the server cannot be started", error);
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path("server.log"))
            .map_err(failed)?;
        let mut command = Command::new(&self.binary);
        command.arg("server");
        if !args.contains(&"--threads") {
            command.args(["--threads", &THREADS.to_string()]);
        }
        command.args(args).arg("--state").arg(self.path("state"));
        if rustix::process::geteuid().is_root() {
            command.arg("--allow-root-instances");
        }
        command
            .current_dir(self.path(""))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        self.server = Some(command.spawn().map_err(failed)?);
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            if self.gapless(&["status"])?.code == 0 {
                return Ok(());
            }
            if let Some(Ok(Some(status))) = self.server.as_mut().map(Child::try_wait) {
                return Err(StageError::new(
                    format!("the server ended with {status}"),
                    self.server_log(),
                ));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(StageError::new(
            "the server did not answer",
            self.server_log(),
        ))
    }

    /// What the server wrote so far.
    #[must_use]
    pub fn server_log(&self) -> String {
        fs::read_to_string(self.path("server.log")).unwrap_or_default()
    }

    /// The server's process, if one was started.
    #[must_use]
    pub fn server_pid(&self) -> Option<u32> {
        self.server.as_ref().map(Child::id)
    }

    /// Runs a command of the binary to its end.
    ///
    /// # Errors
    ///
    /// When it cannot be run.
    pub fn gapless(&self, args: &[&str]) -> Result<Said, StageError> {
        self.watched(args, |_| {})
    }

    /// Runs a command of the binary to its end and shows each JSON line as it comes.
    ///
    /// # Errors
    ///
    /// When it cannot be run.
    pub fn watched(&self, args: &[&str], mut see: impl FnMut(&Value)) -> Result<Said, StageError> {
        let failed = |error| StageError::new("a command cannot be run", error);
        let errors = tempfile::NamedTempFile::new().map_err(failed)?;
        let mut child = self
            .command(args)
            .stderr(errors.reopen().map_err(failed)?)
            .spawn()
            .map_err(failed)?;
        let stdout = child.stdout.take().expect("a pipe was asked for");
        let mut lines = Vec::new();
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let Ok(value) = serde_json::from_str::<Value>(&line) else {
                continue;
            };
            see(&value);
            lines.push(value);
        }
        let status = child.wait().map_err(failed)?;
        let errors = fs::read_to_string(errors.path()).unwrap_or_default();
        Ok(Said {
            code: status.code().unwrap_or(-1),
            lines,
            errors,
        })
    }

    /// A command of the binary on this project, in JSON, not yet started.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.plain(args);
        command.arg("--json");
        command
    }

    /// A command of the binary on this project, as a person gives it, not yet started.
    #[must_use]
    pub fn plain(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .args(args)
            .arg("--config")
            .arg(self.path("gapless.toml"))
            .arg("--state")
            .arg(self.path("state"))
            .current_dir(self.path(""))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// The worker's process, as `status` says.
    ///
    /// # Errors
    ///
    /// When the status does not say it.
    pub fn worker_pid(&self) -> Result<u32, StageError> {
        let status = self.gapless(&["status"])?;
        let pid = status.first()["server"]["worker_pid"]
            .as_u64()
            .and_then(|pid| u32::try_from(pid).ok());
        pid.ok_or_else(|| StageError::new("the status does not name the worker", &status.errors))
    }

    /// Kills the worker with SIGKILL and returns its pid.
    ///
    /// # Errors
    ///
    /// When it is not known or cannot be killed.
    pub fn kill_worker(&self) -> Result<u32, StageError> {
        let pid = self.worker_pid()?;
        signal(pid, Signal::KILL)?;
        Ok(pid)
    }

    /// Kills the supervisor with SIGKILL and returns its pid; what it started goes on.
    ///
    /// # Errors
    ///
    /// When no server runs or it cannot be killed.
    pub fn kill_server(&mut self) -> Result<u32, StageError> {
        let mut server = self
            .server
            .take()
            .ok_or_else(|| StageError::new("no server", "none was started"))?;
        let failed = |error| StageError::new("the server cannot be killed", error);
        server.kill().map_err(failed)?;
        server.wait().map_err(failed)?;
        Ok(server.id())
    }

    /// Ends the server in order and returns its exit code.
    ///
    /// # Errors
    ///
    /// When it does not end; it is killed then.
    pub fn end(&mut self) -> Result<i32, StageError> {
        let Some(mut server) = self.server.take() else {
            return Ok(0);
        };
        signal(server.id(), Signal::TERM)?;
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            if let Ok(Some(status)) = server.try_wait() {
                return Ok(status.code().unwrap_or(-1));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = (server.kill(), server.wait());
        Err(StageError::new("the server did not end", self.server_log()))
    }

    /// Leaves the server running and the folder in place; returns the folder and the server's pid.
    #[must_use]
    pub fn keep(mut self) -> (PathBuf, u32) {
        let pid = self.server.take().map_or(0, |server| server.id());
        let folder = self
            .folder
            .take()
            .map(tempfile::TempDir::keep)
            .unwrap_or_default();
        (folder, pid)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // Whoever wants to know how it ended calls `end`.
        let _ = self.end();
        if let Some(folder) = &self.folder {
            unlock(folder.path());
        }
    }
}

/// Lets the folders of artefacts, which nobody may change, be removed by a plain user.
fn unlock(folder: &Path) {
    let _ = fs::set_permissions(folder, fs::Permissions::from_mode(0o700));
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            unlock(&entry.path());
        }
    }
}

pub(crate) fn signal(pid: u32, signal: Signal) -> Result<(), StageError> {
    let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let raw = raw.ok_or_else(|| StageError::new("no process", pid))?;
    kill_process(raw, signal)
        .map_err(|error| StageError::new(format!("process {pid} cannot be signalled"), error))
}
