//! Deploys in a row under load: nothing may be lost.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use load::{Held, HeldKind, Load, Mix, Relay, Tally};
use serde_json::json;
use tokio::task::LocalSet;

use crate::project::Project;

const RATE: u32 = 5_000;

/// Where the clients are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Client {
    Near,
    Far,
}

/// 100 deploys at 5,000 requests a second, half of them on fresh connections.
pub(crate) fn near() -> Result<serde_json::Value, String> {
    deploys(100, RATE, Client::Near)
}

/// 100 deploys for clients that are 40 ms away.
pub(crate) fn far() -> Result<serde_json::Value, String> {
    deploys(100, 1_000, Client::Far)
}

/// One deploy with 20 WebSockets and 20 event streams open, of instances that drain for 30 s:
/// none may end before the last quarter of that, over which the goodbyes are spread, and the
/// receipt must tell of all that end then.
pub(crate) fn held() -> Result<serde_json::Value, String> {
    const EACH: usize = 20;
    let mut project = Project::start(2, "strategy = \"rolling\"\nsurge = 2", &[])?;
    let load = Loading::start(project.address, 500, Client::Near, EACH)?;
    std::thread::sleep(Duration::from_secs(2));
    let (opened, before) = load.held();
    project.deploy(&["--detach"])?;
    std::thread::sleep(Duration::from_secs(20));
    let (_, early) = load.held();
    let said = project
        .stage
        .gapless(&["wait"])
        .map_err(|error| error.to_string())?;
    let cut: u64 = said
        .receipts()
        .iter()
        .filter_map(|receipt| receipt.cut)
        .sum();
    let lost: u64 = said
        .receipts()
        .iter()
        .filter_map(|receipt| receipt.lost)
        .sum();
    let (_, late) = load.held();
    let tally = load.stop()?;
    eprintln!(
        "{opened} held open; ended after 20 s: {early}, after the drain limit: {late}; the receipt: cut {cut}, lost {lost}"
    );
    if before + early > 0 || opened != 2 * EACH as u64 || cut != opened || tally.failed() > 0 {
        return Err(format!(
            "{early} of {opened} ended early, {cut} cut, the client saw {:?}",
            tally.failures
        ));
    }
    Ok(json!({ "held": opened, "ended_early": early, "cut_at_limit": cut, "lost": lost }))
}

fn deploys(count: u32, rate: u32, client: Client) -> Result<serde_json::Value, String> {
    let mut project = Project::start(2, "strategy = \"rolling\"", &[])?;
    let load = Loading::start(project.address, rate, client, 0)?;
    let (mut lost, mut requests, mut seconds) = (0, 0, Vec::new());
    for number in 1..=count {
        for receipt in project.deploy(&[])?.receipts() {
            lost += receipt.lost.ok_or("lost was not measured")?;
            requests += receipt.requests.ok_or("requests were not measured")?;
            seconds.push(receipt.seconds);
        }
        if number % 10 == 0 {
            eprintln!("{number} deploys, lost {lost} of {requests}");
        }
    }
    let tally = load.stop()?;
    seconds.sort_by(f64::total_cmp);
    let median = seconds.get(seconds.len() / 2).copied().unwrap_or_default();
    let failed = tally.failed() + tally.errors.values().sum::<u64>();
    eprintln!(
        "{count} deploys, {median:.2} s each: lost {lost} of {requests}; the client sent {} and saw {failed} fail {:?} {:?}",
        tally.sent, tally.failures, tally.errors
    );
    if lost + failed > 0 {
        return Err(format!("lost {lost}, the client saw {failed} failures"));
    }
    Ok(json!({
        "deploys": count, "rate": rate, "requests": requests, "lost": lost,
        "client_sent": tally.sent, "client_failed": failed, "median_seconds": median,
    }))
}

/// A load on a thread of its own.
struct Loading {
    stop: tokio::sync::oneshot::Sender<()>,
    tally: mpsc::Receiver<Tally>,
    /// Held connections: opened, ended.
    held: Arc<(AtomicU64, AtomicU64)>,
}

impl Loading {
    fn start(address: SocketAddr, rate: u32, client: Client, held: usize) -> Result<Self, String> {
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let (send_tally, tally) = mpsc::channel();
        let counts = Arc::new((AtomicU64::new(0), AtomicU64::new(0)));
        let shown = Arc::clone(&counts);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        std::thread::spawn(move || {
            LocalSet::new().block_on(&runtime, async {
                let relay = match client {
                    Client::Near => None,
                    Client::Far => Relay::start(address, Duration::from_millis(20)).await.ok(),
                };
                let address = relay.as_ref().map_or(address, Relay::address);
                let show = show_held(address, held, &shown);
                let load = Load {
                    address,
                    host: "web.localhost".to_owned(),
                    path: "/".to_owned(),
                    rate,
                    mix: Mix::HalfFresh,
                    patience: Duration::from_secs(10),
                };
                let running = load.start();
                tokio::select! {
                    // Either way it is over: asked to stop, or nobody is left to ask.
                    _ = stopped => {}
                    () = show => {}
                }
                // The receiver is gone only when the benchmark has failed already.
                let _ = send_tally.send(running.stop().await);
            });
        });
        Ok(Self {
            stop,
            tally,
            held: counts,
        })
    }

    fn held(&self) -> (u64, u64) {
        (
            self.held.0.load(Ordering::Relaxed),
            self.held.1.load(Ordering::Relaxed),
        )
    }

    fn stop(self) -> Result<Tally, String> {
        // A load that has died is found out by its missing account.
        let _ = self.stop.send(());
        self.tally
            .recv_timeout(Duration::from_secs(30))
            .map_err(|_| "the load has died".to_owned())
    }
}

/// Holds connections of both kinds and keeps showing how they fare.
async fn show_held(address: SocketAddr, each: usize, shown: &(AtomicU64, AtomicU64)) {
    let kinds = [HeldKind::Socket, HeldKind::Events];
    let held = kinds.map(|kind| Held::open(address, "web.localhost", kind, each));
    loop {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let counts = held.each_ref().map(Held::count);
        shown.0.store(
            counts.iter().map(|count| count.opened).sum(),
            Ordering::Relaxed,
        );
        shown.1.store(
            counts.iter().map(|count| count.ended).sum(),
            Ordering::Relaxed,
        );
    }
}
