//! The benchmarks: each prints its figures for people, and all together one JSON object on the
//! last line, if asked for by `--json` or where the output is no terminal.

mod database;
mod deploys;
mod idle;
mod overhead;
mod project;
mod proxy;
mod rollback;
mod routes;
mod upgrades;

use std::io::IsTerminal;
use std::process::ExitCode;

/// Returns its figures, or why they could not be had or are not what is promised.
type Bench = fn() -> Result<serde_json::Value, String>;

/// A benchmark's name, and what runs it.
const BENCHES: [(&str, Bench); 10] = [
    ("deploys", deploys::near),
    ("deploys-far", deploys::far),
    ("deploys-held", deploys::held),
    ("rollback", rollback::run),
    ("upgrades", upgrades::run),
    ("overhead", overhead::run),
    ("proxy", proxy::run),
    ("idle", idle::run),
    ("routes", routes::run),
    ("database", database::run),
];

/// Parts of them, which run alone when they are asked for.
const PARTS: [(&str, Bench); 1] = [("rollout", proxy::rollout)];

fn main() -> ExitCode {
    let mut asked: Vec<String> = std::env::args().skip(1).collect();
    if let [role, from, to] = asked.as_slice()
        && role == "relay"
    {
        return relay(from, to);
    }
    let given = asked.len();
    asked.retain(|argument| argument != "--json");
    let json = asked.len() < given || !std::io::stdout().is_terminal();
    let known = || BENCHES.iter().chain(&PARTS).map(|(name, _)| *name);
    if let Some(unknown) = asked
        .iter()
        .find(|name| !known().any(|known| known == *name))
    {
        let known: Vec<&str> = known().collect();
        eprintln!(
            "error: there is no benchmark `{unknown}`; there are {}",
            known.join(", ")
        );
        return ExitCode::from(2);
    }
    let is_asked = |name: &str| asked.iter().any(|asked| asked == name);
    let whole = BENCHES
        .iter()
        .filter(|(name, _)| asked.is_empty() || is_asked(name));
    let wanted = whole.chain(PARTS.iter().filter(|(name, _)| is_asked(name)));
    let (all, code) = run(wanted);
    if json {
        println!("{}", serde_json::Value::Object(all));
    }
    code
}

/// Runs them one after the other. A failure ends none but its own.
fn run<'a>(
    benches: impl Iterator<Item = &'a (&'static str, Bench)>,
) -> (serde_json::Map<String, serde_json::Value>, ExitCode) {
    let (mut all, mut code) = (serde_json::Map::new(), ExitCode::SUCCESS);
    for (name, bench) in benches {
        eprintln!("== {name}");
        match bench() {
            Ok(figures) => {
                all.insert((*name).to_owned(), figures);
            }
            Err(error) => {
                eprintln!("error: {name}: {error}");
                code = ExitCode::FAILURE;
            }
        }
    }
    (all, code)
}

/// A process of the benchmark's own, which it starts to be measured.
fn relay(from: &str, to: &str) -> ExitCode {
    let served = match (from.parse(), to.parse()) {
        (Ok(from), Ok(to)) => proxy::relay::serve(from, to).map_err(|error| error.to_string()),
        _ => Err("usage: bench relay FROM TO (ports)".to_owned()),
    };
    served.map_or_else(
        |error| {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        },
        |()| ExitCode::SUCCESS,
    )
}
