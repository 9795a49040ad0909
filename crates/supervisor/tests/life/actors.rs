//! The actors of the tests: a server, and a worker that does what a test says.
//!
//! `supervisor-stage server STATE SOCKET` runs a supervisor whose workers are
//! `supervisor-stage worker SOCKET`. Each worker connects to the test's socket,
//! says its generation and obeys one line at a time, answering with one line.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::net::{RecvFlags, SendFlags};
use rustix::process::{PidfdFlags, PidfdGetfdFlags};
use supervisor::client::{Client, TakenStream};
use supervisor::{
    ExitReason, Identity, Key, LeftoverKind, Limits, Output, RootInstances, Scope, Signal,
    SpawnSpec, SupervisorConfig,
};

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words[1..] {
        ["server", state, socket, ref options @ ..] => {
            let root_instances = match options.contains(&"--no-root") {
                true => RootInstances::Refused,
                false => RootInstances::Allowed,
            };
            let step_limit = match options.contains(&"--impatient") {
                true => Duration::from_secs(3),
                false => Duration::from_secs(20),
            };
            server((words[0], state, socket), root_instances, step_limit)
        }
        ["worker", socket] => worker(socket),
        _ => Err("usage: server STATE SOCKET | worker SOCKET".into()),
    };
    outcome.unwrap_or_else(|error| {
        println!("error {error}");
        ExitCode::FAILURE
    })
}

fn server(
    (program, state, socket): (&str, &str, &str),
    root_instances: RootInstances,
    step_limit: Duration,
) -> Result<ExitCode, Failure> {
    if let Some(ended) = supervisor::handed_over("stage") {
        return exit_code(ended?);
    }
    let program = std::path::absolute(program)?.display().to_string();
    let reason = supervisor::run(SupervisorConfig {
        state: state.into(),
        version: "stage".into(),
        worker_argv: vec![program, "worker".into(), socket.into()],
        worker_identity: None,
        sockets_per_address: 2,
        ledger_bytes: 4096,
        root_instances,
        drain_limit: Duration::from_secs(20),
        step_limit,
        stop_grace: Duration::from_millis(500),
    })?;
    exit_code(reason)
}

fn exit_code(reason: ExitReason) -> Result<ExitCode, Failure> {
    Ok(match reason {
        ExitReason::Signalled => ExitCode::SUCCESS,
        ExitReason::Stopped { code } => ExitCode::from(u8::try_from(code)?),
    })
}

fn worker(socket: &str) -> Result<ExitCode, Failure> {
    let mut stream = UnixStream::connect(socket)?;
    let client = Client::from_env()?;
    let lines = BufReader::new(stream.try_clone()?).lines();
    let mut worker = Worker {
        client,
        listeners: Vec::new(),
        pipes: Vec::new(),
    };
    writeln!(
        stream,
        "{} {}",
        worker.client.generation(),
        std::process::id()
    )?;
    for line in lines {
        let line = line?;
        let words: Vec<&str> = line.split('\t').collect();
        let answer = worker
            .obey(&words)
            .unwrap_or_else(|error| format!("error {error}"));
        writeln!(stream, "{}", answer.replace('\n', " "))?;
    }
    Ok(ExitCode::SUCCESS)
}

struct Worker {
    client: Client,
    listeners: Vec<TcpListener>,
    pipes: Vec<OwnedFd>,
}

impl Worker {
    fn obey(&mut self, words: &[&str]) -> Result<String, Failure> {
        let client = &self.client;
        Ok(match *words {
            ["control"] => client.acquire_control()?.to_string(),
            ["yield"] => done(client.yield_control())?,
            ["ready"] => done(client.ready())?,
            ["introduce", version] => done(client.introduce(version))?,
            ["upgrade", program] => client.upgrade(program.as_ref())?.to_string(),
            ["unfit", reason] => done(client.unfit(reason))?,
            ["publish", table] => done(client.publish(table.as_bytes()))?,
            ["cut", cell] => done(client.cut(cell.parse()?))?,
            ["workers"] => self.workers()?,
            ["ending", ms] => done(client.ending(Duration::from_millis(ms.parse()?)))?,
            ["stopped"] => done(client.stopped())?,
            ["stop", code] => done(client.stop(code.parse()?))?,
            ["bind", address] => self.bind(address.parse()?)?,
            ["release", address] => done(client.release(address.parse()?))?,
            ["accept", count] => self.accept(count.parse()?)?,
            ["drops"] => format!("{:?}", client.drops()?),
            ["spawn", key, ref argv @ ..] => self.spawn(key, argv, None)?,
            ["spawn-as", id, key, ref argv @ ..] => {
                let id = id.parse()?;
                self.spawn(key, argv, Some(Identity { uid: id, gid: id }))?
            }
            ["nonsense"] => nonsense()?,
            ["hello", version] => hello(version.parse()?)?,
            ["signal", key, number, scope] => self.signal(key, number.parse()?, scope)?,
            ["list"] => {
                let all = client.list()?;
                let line = |child: &supervisor::ChildInfo| {
                    format!("{} {} {:?}", child.key, child.pid, child.state)
                };
                all.iter().map(line).collect::<Vec<_>>().join(";")
            }
            ["take", key] => self.take(key)?,
            ["acknowledge", key] => done(client.acknowledge(&Key::try_new(key)?))?,
            ["owners", port] => {
                let all = client.owners(port.parse()?)?;
                let line = |owner: &supervisor::PortOwner| {
                    let key = owner.key.as_ref().map_or("-", Key::as_str);
                    format!("{} {} {key}", owner.pid.unwrap_or(0), owner.name)
                };
                all.iter().map(line).collect::<Vec<_>>().join(";")
            }
            ["listening", key] => {
                let all = client.listening(&Key::try_new(key)?)?;
                let line = |address: &std::net::SocketAddr| address.to_string();
                all.iter().map(line).collect::<Vec<_>>().join(";")
            }
            ["ledger", text] => self.ledger(text)?,
            ["event"] => self.event()?,
            ["leftovers"] => {
                let all = client.leftovers()?;
                let line = |left: &supervisor::Leftover| {
                    let key = left.key.as_ref().map_or("-", Key::as_str);
                    format!("{:?} {} {key}", left.kind, left.pid)
                };
                all.iter().map(line).collect::<Vec<_>>().join(";")
            }
            ["stop-leftovers", kind, grace_ms] => {
                let kind = if kind == "worker" {
                    LeftoverKind::Worker
                } else {
                    LeftoverKind::Child
                };
                done(client.stop_leftovers(kind, Duration::from_millis(grace_ms.parse()?)))?
            }
            ["exit"] => std::process::exit(0),
            ref other => return Err(format!("unknown order {other:?}").into()),
        })
    }

    fn bind(&mut self, address: SocketAddr) -> Result<String, Failure> {
        let bound = self.client.bind(address)?;
        let count = bound.listeners.len();
        self.listeners = bound.listeners.into_iter().map(TcpListener::from).collect();
        Ok(format!("{} {count} {}", bound.address, bound.backlog))
    }

    /// Accepts until `count` came, and answers each with a byte.
    fn accept(&self, count: usize) -> Result<String, Failure> {
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut accepted = 0;
        while accepted < count && Instant::now() < deadline {
            for listener in &self.listeners {
                while let Ok((mut connection, _)) = listener.accept() {
                    connection.write_all(b"x")?;
                    accepted += 1;
                }
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(accepted.to_string())
    }

    fn spawn(
        &self,
        key: &str,
        argv: &[&str],
        identity: Option<Identity>,
    ) -> Result<String, Failure> {
        let spec = SpawnSpec {
            argv: argv.iter().map(|word| (*word).to_owned()).collect(),
            env: vec![("PATH".into(), "/usr/sbin:/usr/bin:/sbin:/bin".into())],
            cwd: "/".into(),
            identity,
            rlimits: Vec::new(),
            limits: Limits::default(),
            output: Output::Pipes,
        };
        Ok(self
            .client
            .spawn(&Key::try_new(key)?, &spec)?
            .pid
            .to_string())
    }

    fn signal(&self, key: &str, number: i32, scope: &str) -> Result<String, Failure> {
        let signal = Signal::from_named_raw(number).ok_or("no such signal")?;
        let scope = if scope == "group" {
            Scope::Group
        } else {
            Scope::Process
        };
        done(self.client.signal(&Key::try_new(key)?, signal, scope))
    }

    /// Takes both streams and keeps the pipes open without reading them.
    fn take(&mut self, key: &str) -> Result<String, Failure> {
        let taken = self.client.take(&Key::try_new(key)?)?;
        let mut answer = Vec::new();
        for TakenStream {
            pipe,
            kept,
            dropped_bytes,
        } in [taken.stdout, taken.stderr]
        {
            let mut output = kept;
            let pipe = pipe.and_then(|pipe| read_on(pipe, &mut output));
            let text = String::from_utf8_lossy(&output);
            answer.push(format!(
                "{} {dropped_bytes} {} {text}",
                pipe.is_some(),
                output.len()
            ));
            self.pipes.extend(pipe);
        }
        Ok(answer.join("|"))
    }

    /// Swaps the first bytes of the ledger for `text`.
    fn ledger(&self, text: &str) -> Result<String, Failure> {
        let (memory, bytes) = self.client.ledger()?;
        let memory = std::fs::File::from(memory);
        let mut before = [0; 16];
        std::os::unix::fs::FileExt::read_at(&memory, &mut before, 0)?;
        std::os::unix::fs::FileExt::write_at(&memory, text.as_bytes(), 0)?;
        let before = String::from_utf8_lossy(&before);
        Ok(format!("{bytes} {}", before.trim_end_matches('\0')))
    }

    fn workers(&self) -> Result<String, Failure> {
        let (supervisor, all) = self.client.workers()?;
        let line = |worker: &supervisor::WorkerInfo| {
            let retired = if worker.retired { " retired" } else { "" };
            format!("{} {}{retired}", worker.generation, worker.version)
        };
        let all: Vec<String> = all.iter().map(line).collect();
        Ok(format!("{supervisor}: {}", all.join(";")))
    }

    fn event(&self) -> Result<String, Failure> {
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            if let Some(news) = self.client.try_news()? {
                let table = news.table().unwrap_or_default();
                let table = String::from_utf8_lossy(&table);
                return Ok(format!("{:?}{table}", news.event));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok("none".into())
    }
}

fn done(outcome: Result<(), supervisor::client::ClientError>) -> Result<String, Failure> {
    outcome?;
    Ok("done".into())
}

/// The socket of requests, past the client.
fn raw_socket() -> Result<OwnedFd, Failure> {
    let sockets = std::env::var("GAPLESS_SUPERVISOR")?;
    let number = sockets.split_once(':').ok_or("two sockets")?.0.parse()?;
    let own = rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty())?;
    Ok(rustix::process::pidfd_getfd(
        &own,
        number,
        PidfdGetfdFlags::empty(),
    )?)
}

/// Sends a message past the client and reads the begin of the answer.
fn exchange(socket: &OwnedFd, message: &[u8]) -> Result<[u8; 64], Failure> {
    rustix::net::send(socket, message, SendFlags::NOSIGNAL)?;
    let mut reply = [0; 64];
    let deadline = Instant::now() + Duration::from_secs(10);
    while rustix::net::recv(socket, &mut reply, RecvFlags::empty()).is_err() {
        if Instant::now() > deadline {
            return Err("no answer".into());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(reply)
}

/// Says hello as a worker of another version of the protocol; the supervisor's version.
fn hello(version: u16) -> Result<String, Failure> {
    let [low, high] = version.to_le_bytes();
    let reply = exchange(&raw_socket()?, &[9, 0, 0, 0, 0, low, high])?;
    Ok(match reply[4] {
        1 => u16::from_le_bytes([reply[5], reply[6]]).to_string(),
        _ => "refused".into(),
    })
}

/// Sends requests that are none, past the client, and reads the refusals.
fn nonsense() -> Result<String, Failure> {
    let socket = raw_socket()?;
    let spawn_without_specification = [9, 0, 0, 0, 3, 1, 0, 0, 0, b'k'];
    let key_with_a_space = [9, 0, 0, 0, 7, 3, 0, 0, 0, b'a', b' ', b'b'];
    let endless_key = [9, 0, 0, 0, 7, 255, 255, 255, 255];
    let messages: [&[u8]; 6] = [
        &[1],
        &[9, 0, 0, 0, 250],
        &[255; 60_000],
        &spawn_without_specification,
        &key_with_a_space,
        &endless_key,
    ];
    for message in messages {
        let reply = exchange(&socket, message)?;
        // After the number: refused, because malformed.
        if reply[4..6] != [11, 1] {
            return Err(format!("{message:?} was answered with {reply:?}").into());
        }
    }
    Ok("refused".into())
}

/// Keeps the pipes readable for as long as the worker lives.
impl Drop for Worker {
    fn drop(&mut self) {
        for pipe in self.pipes.drain(..) {
            let mut rest = Vec::new();
            let _nothing_more = std::fs::File::from(pipe).read_to_end(&mut rest);
        }
    }
}

/// Reads what a pipe has now; gives it back unless it is at its end.
fn read_on(pipe: OwnedFd, output: &mut Vec<u8>) -> Option<OwnedFd> {
    let mut file = std::fs::File::from(pipe);
    match std::io::Read::read_to_end(&mut file, output) {
        Ok(_) => None,
        Err(_) => Some(file.into()),
    }
}
