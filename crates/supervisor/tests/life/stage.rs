//! A server for one test, and the line to its worker.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use tempfile::TempDir;

/// Nothing in these tests takes nearly as long unless it is broken.
const PATIENCE: Duration = Duration::from_secs(15);

/// What a service manager would hear.
pub(crate) struct Ear {
    directory: TempDir,
    socket: UnixDatagram,
}

impl Ear {
    pub(crate) fn open() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(directory.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { directory, socket }
    }

    pub(crate) fn path(&self) -> String {
        self.directory.path().join("notify").display().to_string()
    }

    /// The next message.
    pub(crate) fn said(&self) -> String {
        let mut buffer = [0; 128];
        let count = self.socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..count].to_vec()).unwrap()
    }
}

/// A running server and its state directory.
pub(crate) struct Stage {
    directory: TempDir,
    listener: UnixListener,
    server: Child,
}

/// A worker that obeys.
pub(crate) struct Worker {
    pub(crate) generation: u64,
    pub(crate) pid: u32,
    stream: BufReader<UnixStream>,
}

impl Stage {
    /// Starts a server and waits for its first worker.
    pub(crate) fn open() -> (Self, Worker) {
        Self::open_with(&[])
    }

    /// Starts a server with options of the stage.
    pub(crate) fn open_with(options: &[&str]) -> (Self, Worker) {
        Self::begin(tempfile::tempdir().unwrap(), options)
    }

    /// Starts a server as a service manager does: with a listening socket as descriptor 3, and
    /// with a socket that it is to notify.
    pub(crate) fn open_activated(socket: OwnedFd, notify: &Path) -> (Self, Worker) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("test.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let script = "exec 3<&0 </dev/null; export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=http; exec \"$@\"";
        let mut command = Command::new("sh");
        command.args([
            "-c",
            script,
            "sh",
            env!("CARGO_BIN_EXE_supervisor-stage"),
            "server",
        ]);
        command.arg(directory.path().join("state")).arg(path);
        command
            .env("NOTIFY_SOCKET", notify)
            .stdin(Stdio::from(socket));
        let server = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut stage = Self {
            directory,
            listener,
            server,
        };
        let worker = stage.next_worker();
        (stage, worker)
    }

    /// Starts a server on a directory that an earlier one may have used.
    pub(crate) fn open_in(directory: TempDir) -> (Self, Worker) {
        Self::begin(directory, &[])
    }

    fn begin(directory: TempDir, options: &[&str]) -> (Self, Worker) {
        let socket = directory.path().join("test.sock");
        let _absent = std::fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).unwrap();
        let server = start(directory.path(), options);
        let mut stage = Self {
            directory,
            listener,
            server,
        };
        let worker = stage.next_worker();
        (stage, worker)
    }

    /// Starts another server on the same state.
    pub(crate) fn second_server(&self) -> Child {
        start(self.directory.path(), &[])
    }

    pub(crate) fn server_pid(&self) -> u32 {
        self.server.id()
    }

    /// Waits for the next worker to report.
    pub(crate) fn next_worker(&mut self) -> Worker {
        self.listener.set_nonblocking(true).unwrap();
        let stream = eventually("a worker reports", || Some(self.listener.accept().ok()?.0));
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        let (generation, pid) = line.trim().split_once(' ').unwrap();
        Worker {
            generation: generation.parse().unwrap(),
            pid: pid.parse().unwrap(),
            stream,
        }
    }

    /// Sends the server a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.server.id(), signal);
    }

    /// Waits for the server to end.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        eventually("the server ends", || self.server.try_wait().unwrap())
    }

    /// Kills the server outright; what it started goes on.
    pub(crate) fn kill_server(mut self) -> TempDir {
        self.signal(Signal::KILL);
        self.ended();
        let directory = std::mem::replace(&mut self.directory, tempfile::tempdir().unwrap());
        drop(self);
        directory
    }
}

impl Drop for Stage {
    /// Two requests end it at once, with everything it started.
    fn drop(&mut self) {
        for _ in 0..3 {
            if matches!(self.server.try_wait(), Ok(None)) {
                kill(self.server.id(), Signal::TERM);
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        let _reaped = self.server.wait();
    }
}

impl Worker {
    /// Gives an order, words separated by tabs, and returns the answer.
    pub(crate) fn order(&mut self, order: &str) -> String {
        writeln!(self.stream.get_mut(), "{order}").unwrap();
        let mut answer = String::new();
        self.stream.read_line(&mut answer).unwrap();
        answer.trim_end().to_owned()
    }

    /// Gives an order that must succeed.
    pub(crate) fn must(&mut self, order: &str) -> String {
        let answer = self.order(order);
        assert!(
            !answer.starts_with("error"),
            "`{order}` answered `{answer}`"
        );
        answer
    }

    /// Starts a shell command as a child and returns its pid.
    pub(crate) fn spawn_shell(&mut self, key: &str, script: &str) -> u32 {
        self.must(&format!("spawn\t{key}\tsh\t-c\t{script}"))
            .parse()
            .unwrap()
    }
}

fn start(directory: &Path, options: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_supervisor-stage"));
    if let ["--notify", socket] = options {
        command.env("NOTIFY_SOCKET", socket);
    }
    command
        .arg("server")
        .arg(directory.join("state"))
        .arg(directory.join("test.sock"))
        .args(options)
        .env("GAPLESS_KEY", "an-outer-server")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Tries until there is a result.
pub(crate) fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(result) = attempt() {
            return result;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub(crate) fn kill(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

/// Whether the process runs; a zombie does not.
pub(crate) fn alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// Waits for a file to hold a pid.
pub(crate) fn pid_in(path: &Path) -> u32 {
    eventually("a pid is written", || {
        let text = std::fs::read_to_string(path).ok()?;
        text.ends_with('\n').then(|| text.trim().parse().ok())?
    })
}
