//! The whole change beside programs that leave the machine no rest.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stage::Cluster;

use super::pgbench::{Felt, Pgbench, felt};
use super::{CHANGE, Heard, VERSION, filled, per_second, runner};

/// Four sessions keep two cores busy.
const CLIENTS: u32 = 4;

/// Programs get warm, then are measured so long before anything is changed.
const WARM: Duration = Duration::from_secs(5);
const BEFORE: Duration = Duration::from_secs(20);

/// How long both versions are at work.
const BOTH: Duration = Duration::from_secs(10);

const OLD: &str = "\\set id random(1, 1000000)
UPDATE users SET name = 'old ' || :id, age = age + 1 WHERE id = :id;
SELECT name, age FROM users WHERE id = :id;
";

const NEW: &str = "\\set id random(1, 1000000)
UPDATE users SET name = 'NEW ' || :id, age = age + 1 WHERE id = :id;
SELECT name, age FROM users WHERE id = :id;
";

pub(super) async fn run(cluster: &Cluster) -> Result<Value, String> {
    let database = filled(cluster)?;
    let heard = Heard::default();
    let mut runner = runner(cluster, &database, &heard).await?;
    let old = Pgbench::start(cluster, &database, ("public", CLIENTS), OLD)?;
    tokio::time::sleep(WARM).await;
    let from = Instant::now();
    tokio::time::sleep(BEFORE).await;
    let begun = Instant::now();
    let change = runner.plan("public", CHANGE).await;
    let change = change.map_err(|error| error.to_string())?;
    let expanded = runner.expand(&change).await;
    expanded.map_err(|error| error.to_string())?;
    let published = Instant::now();
    let path = format!("{VERSION},public");
    let new = Pgbench::start(cluster, &database, (&path, CLIENTS), NEW)?;
    tokio::time::sleep(BOTH).await;
    let old = old.end()?;
    let contract = Instant::now();
    let contracted = runner.contract("02_capitals").await;
    contracted.map_err(|error| error.to_string())?;
    let ended = Instant::now();
    tokio::time::sleep(WARM).await;
    let new = new.end()?;
    let (rows, filling, filled) = heard.filling()?;
    let shown = Shown {
        before: felt(&old, (from, begun)),
        during: felt(&old, (filling, filled)),
        whole: felt(&old, (begun, published)),
        contract: felt(&new, (contract, ended + WARM)),
        rate: per_second(rows, (filled - filling).as_secs_f64()),
        longest_lock_ms: heard.longest_lock_ms(&change.plan),
    };
    Ok(shown.json())
}

struct Shown {
    before: Felt,
    /// While rows were filled in.
    during: Felt,
    /// From the plan to the publication.
    whole: Felt,
    /// Programs of the new version around the contract.
    contract: Felt,
    rate: u64,
    longest_lock_ms: u64,
}

impl Shown {
    fn json(&self) -> Value {
        let throughput = self.during.per_second * 100 / self.before.per_second.max(1);
        let p99 = ratio(self.during.p99, self.before.p99);
        for (name, felt) in [
            ("before", self.before),
            ("filling in", self.during),
            ("whole expand", self.whole),
            ("contract", self.contract),
        ] {
            eprintln!(
                "{name:>12}: {} transactions/s, p50 {:?}, p99 {:?}, longest {:?}",
                felt.per_second, felt.p50, felt.p99, felt.longest
            );
        }
        eprintln!(
            "beside load: {} rows/s, {throughput} % of the throughput before, p99 {:.2} times; \
             no failed transaction; longest lock that stops writers {} ms",
            self.rate,
            f64::from(p99) / 100.0,
            self.longest_lock_ms
        );
        json!({
            "rows_per_second": self.rate, "throughput_percent": throughput,
            "p99_percent": p99, "longest_lock_ms": self.longest_lock_ms,
            "failed_transactions": 0, "before": value(self.before), "during": value(self.during),
            "expand": value(self.whole), "contract": value(self.contract),
        })
    }
}

fn value(felt: Felt) -> Value {
    let micros = |it: Duration| u64::try_from(it.as_micros()).unwrap_or(u64::MAX);
    json!({
        "per_second": felt.per_second, "p50_us": micros(felt.p50), "p99_us": micros(felt.p99),
        "longest_us": micros(felt.longest),
    })
}

/// In hundredths.
fn ratio(a: Duration, b: Duration) -> u32 {
    u32::try_from(a.as_micros() * 100 / b.as_micros().max(1)).unwrap_or(u32::MAX)
}
