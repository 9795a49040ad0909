//! Small requests: at one rate over HTTP/1.1, and as fast as they go over HTTP/2.

use serde_json::{Value, json};

use super::front::Front;
use super::measure::{Rounds, cost, middle};
use super::tools::h2load;

const ROUNDS: usize = 15;
const CONNECTIONS: u32 = 64;
const SECONDS: f64 = 2.0;

/// What each client may send a second if 60 % of what the rival manages at most are offered.
pub(super) fn rate(rival: &Front) -> Result<u32, String> {
    let url = format!("http://127.0.0.1:{}/", rival.plain);
    let most = (0..3).map(|_| h2load(&["--h1", "-c", "64", "-D", "2"], &url));
    let most = most.collect::<Result<Vec<f64>, String>>()?;
    let rate = middle(&most) / SECONDS * 0.6 / f64::from(CONNECTIONS);
    Ok((rate as u32).max(1))
}

/// CPU time of a small HTTP/1.1 request, all at one offered rate.
pub(super) fn http1(
    what: &str,
    fronts: &[&Front],
    (rate, headers): (u32, &[&str]),
) -> Result<Value, String> {
    let (rate_each, clients) = (format!("--rps={rate}"), CONNECTIONS.to_string());
    let mut args = vec!["--h1", "-D", "2", "-c", &clients, &rate_each];
    for header in headers {
        args.extend(["-H", header]);
    }
    let rounds = Rounds::run(fronts, ROUNDS, |front| {
        let url = format!("http://127.0.0.1:{}/", front.plain);
        cost(front, || h2load(&args, &url))
    })?;
    let mut out = rounds.report(what, "us of CPU a request");
    out["requests_per_second"] = json!(rate * CONNECTIONS);
    Ok(out)
}

/// CPU time of a small HTTP/2 request in the clear, with so many streams at a time.
pub(super) fn http2(fronts: &[&Front]) -> Result<Value, String> {
    let mut out = serde_json::Map::new();
    for streams in ["1", "8", "32"] {
        let rounds = Rounds::run(fronts, 7, |front| {
            let url = format!("http://127.0.0.1:{}/", front.http2);
            cost(front, || {
                h2load(&["-D", "2", "-c", "16", "-m", streams], &url)
            })
        })?;
        let what = format!("HTTP/2, {streams} streams");
        out.insert(
            streams.to_owned(),
            rounds.report(&what, "us of CPU a request"),
        );
    }
    Ok(Value::Object(out))
}
