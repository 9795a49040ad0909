//! `gapless logs`: what instances and jobs wrote.

use std::ops::ControlFlow;

use control::api::LogLine;

use crate::api::Api;
use crate::args::{Common, Logs};
use crate::exit::{Exit, Trouble};
use crate::output::Output;

/// Prints the newest lines, and with `--follow` those that come.
pub(crate) fn run(common: &Common, args: &Logs, output: Output) -> Result<Exit, Trouble> {
    let api = Api::of(common)?;
    let mut query = format!("/v1/logs?lines={}", args.lines);
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
    api.lines(&query, |line| {
        match serde_json::from_slice::<LogLine>(line) {
            Ok(entry) => {
                output.text(format!(
                    "{} {} {} | {}",
                    entry.at, entry.instance, entry.stream, entry.text
                ));
                output.json_line(&entry);
            }
            Err(error) => output.note(format!("a line was not understood: {error}")),
        }
        ControlFlow::Continue(())
    })?;
    Ok(Exit::Done)
}
