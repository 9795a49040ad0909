//! Upgrades in a row under busy connections: nobody may notice.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use load::{Held, HeldKind, Load, Mix};
use serde_json::{Value, json};
use tokio::task::LocalSet;

use crate::project::Project;

const UPGRADES: u32 = 20;

/// Clients that each keep a connection busy, and what each sends a second.
const BUSY: u32 = 40;
const BUSY_RATE: u32 = 50;

/// Requests a second of one more client, half of them on fresh connections.
const FRESH_RATE: u32 = 500;

/// WebSockets, and as many event streams, that stay open all the time.
const HELD: usize = 5;

/// What the clients saw.
struct Seen {
    sent: u64,
    failed: u64,
    held: u64,
    ended: u64,
}

/// 20 upgrades of the server to its own binary under 40 busy keep-alive connections.
pub(crate) fn run() -> Result<Value, String> {
    let project = Project::start(2, "strategy = \"rolling\"", &[])?;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (tell, seen) = mpsc::channel();
    let address = project.address;
    std::thread::spawn(move || {
        // The receiver is gone only when the benchmark has failed already.
        let _ = tell.send(clients(address, stopped));
    });
    let mut seconds = Vec::new();
    for number in 1..=UPGRADES {
        let begin = Instant::now();
        let said = project.stage.gapless(&["upgrade"]);
        let said = said.map_err(|error| error.to_string())?;
        if said.code != 0 {
            return Err(format!(
                "upgrade {number} ended with {}: {}",
                said.code, said.errors
            ));
        }
        seconds.push(begin.elapsed().as_secs_f64());
        // So that every worker has served for a while before it is replaced.
        std::thread::sleep(Duration::from_millis(300));
    }
    // A client that has died is found out by its missing account.
    let _ = stop.send(());
    let seen = seen.recv_timeout(Duration::from_secs(60));
    let seen = seen.map_err(|_| "the clients have died".to_owned())??;
    seconds.sort_by(f64::total_cmp);
    let median = seconds.get(seconds.len() / 2).copied().unwrap_or_default();
    eprintln!(
        "{UPGRADES} upgrades, {median:.2} s each: {} sent, {} failed; {} held open, {} ended",
        seen.sent, seen.failed, seen.held, seen.ended
    );
    if seen.failed + seen.ended > 0 || seen.held != 2 * HELD as u64 {
        return Err("somebody noticed".to_owned());
    }
    Ok(json!({
        "upgrades": UPGRADES, "busy_connections": BUSY, "sent": seen.sent, "failed": seen.failed,
        "held": seen.held, "ended": seen.ended, "median_seconds": median,
    }))
}

fn clients(
    address: std::net::SocketAddr,
    stopped: tokio::sync::oneshot::Receiver<()>,
) -> Result<Seen, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    LocalSet::new().block_on(&runtime, async {
        let load = |rate, mix| Load {
            address,
            host: "web.localhost".to_owned(),
            path: "/".to_owned(),
            rate,
            mix,
            patience: Duration::from_secs(10),
        };
        let kinds = [HeldKind::Socket, HeldKind::Events];
        let held = kinds.map(|kind| Held::open(address, "web.localhost", kind, HELD));
        let busy = (0..BUSY).map(|_| load(BUSY_RATE, Mix::KeepAlive));
        let all = busy.chain([load(FRESH_RATE, Mix::HalfFresh)]);
        let running: Vec<_> = all.map(|load| load.start()).collect();
        // Either way it is over: asked to stop, or nobody is left to ask.
        let _ = stopped.await;
        let counts = held.each_ref().map(Held::count);
        let mut seen = Seen {
            sent: 0,
            failed: 0,
            held: counts.iter().map(|count| count.opened).sum(),
            ended: counts.iter().map(|count| count.ended).sum(),
        };
        for one in running {
            let tally = one.stop().await;
            seen.sent += tally.sent;
            seen.failed += tally.failed() + tally.errors.values().sum::<u64>();
        }
        Ok(seen)
    })
}
