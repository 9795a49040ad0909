//! Everything happens to a server under load: `soak BINARY [--minutes N] [--seed S] [--rate R]`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use stage::Soak;

fn main() -> ExitCode {
    let (binary, soak) = match asked(std::env::args().skip(1)) {
        Ok(asked) => asked,
        Err(error) => {
            eprintln!("error: {error}\nusage: soak BINARY [--minutes N] [--seed S] [--rate R]");
            return ExitCode::from(2);
        }
    };
    eprintln!("seed {}", soak.seed);
    let report = match soak.run(&binary, |what| eprintln!("{what}")) {
        Ok(report) => report,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    let tally = &report.tally;
    for breach in &report.breaches {
        eprintln!("breach: {breach}");
    }
    println!(
        "{}",
        serde_json::json!({
            "seed": soak.seed, "acts": report.acts, "sent": tally.sent, "counted": report.counted,
            "responses": tally.responses, "failures": tally.failures, "errors": tally.errors,
            "explained": report.explained, "breaches": report.breaches.len(),
        })
    );
    if report.breaches.is_empty() {
        ExitCode::SUCCESS
    } else {
        eprintln!("again: --seed {}", soak.seed);
        ExitCode::FAILURE
    }
}

fn asked(mut args: impl Iterator<Item = String>) -> Result<(PathBuf, Soak), String> {
    let binary = args.next().ok_or("no binary is named")?;
    let binary = std::path::absolute(binary).map_err(|error| error.to_string())?;
    let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    let mut soak = Soak {
        seed: since.as_secs(),
        span: Duration::from_secs(600),
        rate: 300,
    };
    while let Some(name) = args.next() {
        let text = args.next().ok_or(format!("`{name}` needs a value"))?;
        let number: u64 = text
            .parse()
            .map_err(|_| format!("`{text}` is no whole number"))?;
        match name.as_str() {
            "--minutes" => soak.span = Duration::from_secs(number * 60),
            "--seed" => soak.seed = number,
            "--rate" => soak.rate = u32::try_from(number).unwrap_or(u32::MAX),
            _ => return Err(format!("there is no option `{name}`")),
        }
    }
    Ok((binary, soak))
}
