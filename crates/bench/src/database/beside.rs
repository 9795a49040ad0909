//! The whole change beside programs that leave the machine no rest.
//!
//! Throughput is compared with that of the same programs on the same table at the same age, with
//! nothing changed, once before and once after: a table that is written to slows down by itself,
//! its vacuum comes, and the machine is not as quick at every minute.

use std::time::{Duration, Instant};

use migration::plan::Plan;
use postgres::Runner;
use serde_json::{Value, json};
use stage::Cluster;

use super::cpu::Cpu;
use super::pgbench::{Done, Felt, Pgbench, felt};
use super::{CHANGE, Heard, VERSION, drop_database, filled, per_second, runner};

/// Four sessions keep two cores busy.
const CLIENTS: u32 = 4;

/// Programs get warm, then are measured so long before anything is changed.
const WARM: Duration = Duration::from_secs(5);
const BEFORE: Duration = Duration::from_secs(20);

/// As long as rows are filled in, more or less.
const DURING: Duration = Duration::from_secs(45);

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
    let first = unchanged(cluster).await?;
    let changed = changed(cluster).await?;
    let second = unchanged(cluster).await?;
    let same = changed.age.map(|age| age.min(WARM + BEFORE + DURING));
    let controls = [&first, &second].map(|control| {
        let window = (control.begun + same[0], control.begun + same[1]);
        (felt(&control.done, window), control.cpu)
    });
    Ok(Shown { changed, controls }.json())
}

/// Programs of the old version alone.
struct Unchanged {
    done: Vec<Done>,
    begun: Instant,
    /// Microseconds of the server per transaction, while rows would be filled in.
    cpu: u64,
}

async fn unchanged(cluster: &Cluster) -> Result<Unchanged, String> {
    let database = filled(cluster)?;
    let heard = Heard::default();
    let runner = runner(cluster, &database, &heard).await?;
    let begun = Instant::now();
    let old = Pgbench::start(cluster, &database, ("public", CLIENTS), OLD)?;
    tokio::time::sleep(WARM + BEFORE).await;
    let (from, before) = (Instant::now(), Cpu::of_server(runner.pid())?);
    tokio::time::sleep(DURING).await;
    let (to, after) = (Instant::now(), Cpu::of_server(runner.pid())?);
    let done = old.end()?;
    drop(runner);
    drop_database(cluster, &database)?;
    let cpu = after.since(before, felt(&done, (from, to)).count);
    Ok(Unchanged { done, begun, cpu })
}

/// What programs of both versions felt of a change.
struct Changed {
    /// Before anything was changed.
    before: Felt,
    /// While rows were filled in.
    during: Felt,
    /// From the plan to the publication.
    whole: Felt,
    /// Programs of the new version around the contract.
    contract: Felt,
    rate: u64,
    /// Microseconds of the server per transaction, from the plan to the publication.
    cpu: u64,
    /// How long programs had been at work when filling in began, and ended.
    age: [Duration; 2],
    longest_lock_ms: u64,
}

async fn changed(cluster: &Cluster) -> Result<Changed, String> {
    let database = filled(cluster)?;
    let heard = Heard::default();
    let mut runner = runner(cluster, &database, &heard).await?;
    let start = Instant::now();
    let old = Pgbench::start(cluster, &database, ("public", CLIENTS), OLD)?;
    tokio::time::sleep(WARM).await;
    let from = Instant::now();
    tokio::time::sleep(BEFORE).await;
    let (begun, cpu) = (Instant::now(), Cpu::of_server(runner.pid())?);
    let plan = expand(&mut runner).await?;
    let (published, cpu_after) = (Instant::now(), Cpu::of_server(runner.pid())?);
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
    drop(runner);
    drop_database(cluster, &database)?;
    let whole = felt(&old, (begun, published));
    Ok(Changed {
        before: felt(&old, (from, begun)),
        during: felt(&old, (filling, filled)),
        whole,
        contract: felt(&new, (contract, ended + WARM)),
        rate: per_second(rows, (filled - filling).as_secs_f64()),
        cpu: cpu_after.since(cpu, whole.count),
        age: [filling - start, filled - start],
        longest_lock_ms: heard.longest_lock_ms(&plan),
    })
}

async fn expand(runner: &mut Runner) -> Result<Plan, String> {
    let change = runner.plan("public", CHANGE).await;
    let change = change.map_err(|error| error.to_string())?;
    let expanded = runner.expand(&change).await;
    expanded.map_err(|error| error.to_string())?;
    Ok(change.plan)
}

struct Shown {
    changed: Changed,
    /// The same programs at the same age, and the server's time for each of their transactions.
    controls: [(Felt, u64); 2],
}

impl Shown {
    fn json(&self) -> Value {
        let (it, [(first, first_cpu), (second, second_cpu)]) = (&self.changed, &self.controls);
        for (name, felt) in [
            ("before", it.before),
            ("filling in", it.during),
            ("whole expand", it.whole),
            ("contract", it.contract),
            ("unchanged", *first),
            ("unchanged", *second),
        ] {
            eprintln!(
                "{name:>12}: {} transactions/s, p50 {:?}, p99 {:?}, longest {:?}",
                felt.per_second, felt.p50, felt.p99, felt.longest
            );
        }
        let same = first.per_second.midpoint(second.per_second);
        let throughput = it.during.per_second * 100 / same.max(1);
        let against_before = it.during.per_second * 100 / it.before.per_second.max(1);
        let p99 = ratio(it.during.p99, (first.p99 + second.p99) / 2);
        let against_p99 = ratio(it.during.p99, it.before.p99);
        let cpu = first_cpu.midpoint(*second_cpu);
        eprintln!(
            "beside load: {} rows/s, {throughput} % of the throughput of the same programs without the change \
             ({against_before} % of that before it), p99 {:.2} times ({:.2}); the server's time per transaction \
             {} us, without the change {cpu} us; no failed transaction; longest lock that stops writers {} ms",
            it.rate,
            f64::from(p99) / 100.0,
            f64::from(against_p99) / 100.0,
            it.cpu,
            it.longest_lock_ms
        );
        json!({
            "rows_per_second": it.rate, "throughput_percent": throughput,
            "throughput_percent_of_before": against_before,
            "p99_percent": p99, "p99_percent_of_before": against_p99,
            "longest_lock_ms": it.longest_lock_ms,
            "server_us_per_transaction": it.cpu, "server_us_per_transaction_unchanged": cpu,
            "failed_transactions": 0, "before": value(it.before), "during": value(it.during),
            "expand": value(it.whole), "contract": value(it.contract),
            "unchanged": [value(*first), value(*second)],
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
