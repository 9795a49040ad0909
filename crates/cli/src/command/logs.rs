//! `gapless logs`: what instances and jobs wrote, or what was asked of them.

use std::ops::ControlFlow;

use control::api::LogLine;
use serde_json::Value;

use crate::api::Api;
use crate::args::{Common, Logs};
use crate::exit::{Exit, Trouble};
use crate::output::Output;

/// Prints the newest lines, and with `--follow` those that come.
pub(crate) fn run(common: &Common, args: &Logs, output: Output) -> Result<Exit, Trouble> {
    let api = Api::of(common)?;
    let mut printed = 0_u64;
    api.lines(&query(args), |line| {
        printed += 1;
        let understood = if args.access {
            print_request(line, output)
        } else {
            print_line(line, output)
        };
        if let Err(error) = understood {
            output.note(format!("a line was not understood: {error}"));
        }
        ControlFlow::Continue(())
    })?;
    if args.access && printed == 0 {
        output.note(
            "no request is in the access log; `access_log = {}` in [server] and a deploy begin one",
        );
    }
    Ok(Exit::Done)
}

fn query(args: &Logs) -> String {
    let what = if args.access { "access" } else { "logs" };
    let mut query = format!("/v1/{what}?lines={}", args.lines);
    if let Some(service) = &args.service {
        query.push_str(&format!("&service={}", service.0));
    }
    if let Some(release) = args.release {
        query.push_str(&format!("&release={release}"));
    }
    if let Some(since) = args.since {
        query.push_str(&format!("&since_seconds={}", since.as_secs()));
    }
    if args.follow {
        query.push_str("&follow=true");
    }
    query
}

fn print_line(line: &[u8], output: Output) -> Result<(), serde_json::Error> {
    let entry: LogLine = serde_json::from_slice(line)?;
    output.text(format!(
        "{} {} {} | {}",
        entry.at, entry.instance, entry.stream, entry.text
    ));
    output.json_line(&entry);
    Ok(())
}

fn print_request(line: &[u8], output: Output) -> Result<(), serde_json::Error> {
    let entry: Value = serde_json::from_slice(line)?;
    let shown = |name: &str| match &entry[name] {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    };
    let mut text = format!(
        "{} {} {} {}{} {} {} bytes {} ms {} {}",
        shown("time"),
        shown("client"),
        shown("method"),
        shown("host"),
        shown("path"),
        shown("status"),
        shown("bytes_out"),
        shown("duration_ms"),
        shown("instance"),
        shown("termination"),
    );
    if entry["reason"].is_string() {
        text.push_str(&format!(" ({})", shown("reason")));
    }
    if entry["dropped"].is_number() {
        text.push_str(&format!(
            "; {} lines before it are missing",
            shown("dropped")
        ));
    }
    output.text(text);
    output.json_line(&entry);
    Ok(())
}
