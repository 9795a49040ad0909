//! The whole story on this machine: real processes, real sockets, a client that never retries,
//! and its own count held against every receipt.

mod act;
mod audit;
mod client;
mod stage;

use std::time::Instant;

use serde_json::json;

use crate::exit::{Exit, Trouble};
use crate::output::Output;
use act::{Act, Played};
use stage::Stage;

/// Plays every act; `keep` leaves the server running afterwards.
///
/// # Errors
///
/// [`Trouble`] when the stage cannot be set. An act that breaks the promise is no error of the
/// demonstration: it is told, and the exit code is [`Exit::Failed`].
pub(crate) fn run(keep: bool, output: Output) -> Result<Exit, Trouble> {
    let begin = Instant::now();
    let mut stage = Stage::set()?;
    output.note(format!(
        "a server on http://{}, {} requests a second by a client that never retries",
        stage.address(),
        client::RATE
    ));
    let mut played = Vec::new();
    for act in Act::ALL {
        output.note(format!("\nact {}: {}", played.len() + 1, act.title()));
        let one = act::play(act, &mut stage, output)?;
        show(&one, output);
        played.push(one);
    }
    let ok = played.iter().all(|one| one.breaches.is_empty());
    output.note(format!(
        "\n{} acts in {:.0} s",
        played.len(),
        begin.elapsed().as_secs_f64()
    ));
    finish(&played, ok, output);
    if keep {
        stage.keep(output);
    } else {
        stage.strike()?;
    }
    Ok(if ok { Exit::Done } else { Exit::Failed })
}

fn show(played: &Played, output: Output) {
    for receipt in &played.receipts {
        output.receipt(receipt);
    }
    let tally = &played.tally;
    let failed = tally.failed() + tally.errors.values().sum::<u64>();
    output.note(format!(
        "the client: {} sent, {} answered, {failed} failed",
        tally.sent,
        tally.sent - failed
    ));
    for breach in &played.breaches {
        output.note(format!("BROKEN: {breach}"));
    }
}

fn finish(played: &[Played], ok: bool, output: Output) {
    let act = |one: &Played| {
        json!({ "name": one.act.name(), "receipt": one.receipts.last(), "receipts": one.receipts,
                "client": one.tally, "breaches": one.breaches })
    };
    output.json_line(&json!({
        "type": "demo", "ok": ok, "acts": played.iter().map(act).collect::<Vec<_>>(),
    }));
    let verdict = if ok {
        "nothing was lost"
    } else {
        "the promise was broken: see above"
    };
    output.note(format!("{}: {verdict}", if ok { "ok" } else { "BROKEN" }));
}
