//! The open-loop client.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::{JoinHandle, LocalSet};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use crate::calls::Calls;
use crate::exchange::{Answer, Failure, exchange, is_open};
use crate::talk::talk;
use crate::tally::Tally;

/// How requests use connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mix {
    /// Every one on a connection kept open for the next.
    KeepAlive,
    /// Every other one on a fresh connection that is closed after it.
    HalfFresh,
    /// Every one as a stream of one connection of HTTP/2, until the other side ends that.
    Streams,
    /// Every one is a connection to a TCP service that sends back so many bytes.
    Tcp {
        /// How many.
        bytes: usize,
    },
}

/// What to send where, and how often.
#[derive(Debug, Clone)]
pub struct Load {
    /// Where to.
    pub address: SocketAddr,
    /// The `Host` header.
    pub host: String,
    /// The path.
    pub path: String,
    /// Requests a second, sent when due whatever became of earlier ones.
    pub rate: u32,
    /// How connections are used.
    pub mix: Mix,
    /// How long one request may take.
    pub patience: Duration,
}

/// The most requests that may be open at once; more are not begun, so that a dead server
/// cannot exhaust this machine.
const OPEN_MAX: usize = 4_000;

/// The most losses that are remembered one by one.
const LOSSES_MAX: usize = 10_000;

/// A request that got no whole response with a status below 500.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// When it was begun.
    pub begin: std::time::Instant,
    /// When it was known to be lost.
    pub end: std::time::Instant,
    /// What was seen instead.
    pub seen: Lost,
}

/// What was seen instead of a whole response with a status below 500.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lost {
    /// No whole response.
    Failed(Failure),
    /// A whole one by this release, or by `proxy:REASON`.
    Error(String),
}

/// A load that runs until it is stopped.
pub struct Running {
    shared: Rc<Shared>,
    ticking: JoinHandle<()>,
}

struct Shared {
    load: Load,
    idle: RefCell<Vec<TcpStream>>,
    calls: Calls,
    tally: RefCell<Tally>,
    losses: RefCell<Vec<Loss>>,
    open: Cell<usize>,
    paused: Cell<bool>,
}

impl Load {
    /// Starts sending on the present thread's `LocalSet`.
    #[must_use]
    pub fn start(self) -> Running {
        let shared = Rc::new(Shared {
            load: self,
            idle: RefCell::default(),
            calls: Calls::default(),
            tally: RefCell::default(),
            losses: RefCell::default(),
            open: Cell::new(0),
            paused: Cell::new(false),
        });
        let ticking = tokio::task::spawn_local(tick(Rc::clone(&shared)));
        Running { shared, ticking }
    }

    /// Sends for `span` on a runtime of its own and returns the account.
    ///
    /// # Errors
    ///
    /// When no runtime can be made.
    pub fn run_for(self, span: Duration) -> std::io::Result<Tally> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let tally = LocalSet::new().block_on(&runtime, async {
            let running = self.start();
            sleep(span).await;
            running.stop().await
        });
        Ok(tally)
    }
}

impl Running {
    /// The account once every request begun so far has ended: nothing is begun meanwhile, so
    /// that the sum of the ends is exactly what was sent.
    pub async fn settled(&self) -> Tally {
        self.shared.paused.set(true);
        while self.shared.open.get() > 0 {
            sleep(Duration::from_millis(2)).await;
        }
        let tally = self.shared.tally.borrow().clone();
        self.shared.paused.set(false);
        tally
    }

    /// The first ten thousand losses so far, each with its time.
    #[must_use]
    pub fn losses(&self) -> Vec<Loss> {
        self.shared.losses.borrow().clone()
    }

    /// Stops sending and returns the account once every open request has ended.
    pub async fn stop(self) -> Tally {
        self.ticking.abort();
        self.settled().await
    }
}

async fn tick(shared: Rc<Shared>) {
    const SLICE: Duration = Duration::from_millis(5);
    let mut ticks = interval(SLICE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let begin = Instant::now();
    let mut sent = 0;
    loop {
        ticks.tick().await;
        let due = begin.elapsed().as_micros() * u128::from(shared.load.rate) / 1_000_000;
        if shared.paused.get() {
            sent = due;
        }
        while sent < due {
            sent += 1;
            if shared.open.get() < OPEN_MAX {
                let fresh = shared.load.mix == Mix::HalfFresh && sent % 2 == 0;
                tokio::task::spawn_local(one(Rc::clone(&shared), fresh));
            }
        }
    }
}

async fn one(shared: Rc<Shared>, fresh: bool) {
    shared.open.set(shared.open.get() + 1);
    shared.tally.borrow_mut().sent += 1;
    let begin = Instant::now();
    let ended = match shared.load.mix {
        Mix::KeepAlive | Mix::HalfFresh | Mix::Streams => {
            timeout(shared.load.patience, send(&shared, fresh)).await
        }
        Mix::Tcp { bytes } => {
            let said = timeout(shared.load.patience, say(&shared, bytes)).await;
            said.map(|said| said.map(|()| None))
        }
    };
    let elapsed = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
    let lost = match ended {
        Ok(Ok(error)) => error.map(Lost::Error),
        Ok(Err(failure)) => Some(Lost::Failed(failure)),
        Err(_) => Some(Lost::Failed(Failure::Timeout)),
    };
    let mut tally = shared.tally.borrow_mut();
    tally.longest_ms = tally.longest_ms.max(elapsed);
    if let Some(Lost::Failed(failure)) = lost {
        *tally.failures.entry(failure).or_default() += 1;
    }
    drop(tally);
    let mut losses = shared.losses.borrow_mut();
    if let (Some(seen), true) = (lost, losses.len() < LOSSES_MAX) {
        losses.push(Loss {
            begin: begin.into_std(),
            end: std::time::Instant::now(),
            seen,
        });
    }
    shared.open.set(shared.open.get() - 1);
}

/// Returns who answered with a status of 500 or above, if so.
async fn send(shared: &Shared, fresh: bool) -> Result<Option<String>, Failure> {
    let load = &shared.load;
    let answer = if load.mix == Mix::Streams {
        let wanted = (load.host.as_str(), load.path.as_str());
        shared.calls.call(load.address, wanted).await?
    } else {
        ask(shared, fresh).await?
    };
    let mut tally = shared.tally.borrow_mut();
    *tally.responses.entry(answer.status).or_default() += 1;
    let who = match answer.proxy_error {
        Some(reason) => format!("proxy:{reason}"),
        None => answer.release.unwrap_or_else(|| "unknown".to_owned()),
    };
    let is_error = answer.status >= 500;
    let account = if is_error {
        &mut tally.errors
    } else {
        &mut tally.by_release
    };
    *account.entry(who.clone()).or_default() += 1;
    Ok(is_error.then_some(who))
}

/// One request of HTTP/1.1 and its response.
async fn ask(shared: &Shared, fresh: bool) -> Result<Answer, Failure> {
    let load = &shared.load;
    let connection = if fresh { "Connection: close\r\n" } else { "" };
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\n{connection}\r\n",
        load.path, load.host
    );
    let mut stream = match (fresh, idle(shared)) {
        (false, Some(stream)) => stream,
        (true, _) | (false, None) => {
            let stream = TcpStream::connect(load.address)
                .await
                .map_err(|_| Failure::Refused)?;
            // Small requests must not wait for an acknowledgement; a failure only delays them.
            let _ = stream.set_nodelay(true);
            stream
        }
    };
    let answer = exchange(&mut stream, request.as_bytes()).await?;
    if answer.keep && !fresh {
        shared.idle.borrow_mut().push(stream);
    }
    Ok(answer)
}

async fn say(shared: &Shared, bytes: usize) -> Result<(), Failure> {
    let stream = TcpStream::connect(shared.load.address)
        .await
        .map_err(|_| Failure::Refused)?;
    let seed = shared.tally.borrow().sent;
    let release = talk(stream, bytes, seed).await?;
    let mut tally = shared.tally.borrow_mut();
    *tally.by_release.entry(release).or_default() += 1;
    Ok(())
}

/// The most recently used idle connection that is still open; closed ones are dropped, as any
/// client does before it sends.
fn idle(shared: &Shared) -> Option<TcpStream> {
    let mut idle = shared.idle.borrow_mut();
    while let Some(stream) = idle.pop() {
        if is_open(&stream) {
            return Some(stream);
        }
    }
    None
}
