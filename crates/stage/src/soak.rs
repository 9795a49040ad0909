//! A server under load to which everything happens, in an order that a seed draws, and what
//! became of each request of it.

mod account;
mod act;
mod client;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use load::Tally;

use account::Account;
use act::Player;
use client::Client;

use crate::{Stage, StageError, free_address};

/// What is done to the server, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Soak {
    /// What the acts and the moments of faults are drawn from.
    pub seed: u64,
    /// For how long acts are begun.
    pub span: Duration,
    /// Requests a second.
    pub rate: u32,
}

/// What became of it.
#[derive(Debug)]
pub struct SoakReport {
    /// The client's account.
    pub tally: Tally,
    /// Requests that the server counts.
    pub counted: u64,
    /// Lost requests by the fault that explains them.
    pub explained: BTreeMap<&'static str, u64>,
    /// How often each act was played.
    pub acts: BTreeMap<&'static str, u64>,
    /// Everything that no fault explains, as sentences.
    pub breaches: Vec<String>,
}

impl Soak {
    /// Plays acts with `binary` until the time is over, then adds up. `see` is told what happens.
    ///
    /// # Errors
    ///
    /// When the stage itself cannot be had; what the server does wrong is in the report.
    pub fn run(self, binary: &Path, mut see: impl FnMut(&str)) -> Result<SoakReport, StageError> {
        let address = free_address().map_err(|error| StageError::new("no free port", error))?;
        let mut stage = Stage::new(binary)?;
        stage.serve(&[])?;
        let mut player = Player::new(stage, address, self.seed);
        player.begin()?;
        let client = Client::start(address, self.rate)?;
        let begun = Instant::now();
        let mut acts = BTreeMap::new();
        while begun.elapsed() < self.span {
            let act = player.draw();
            *acts.entry(act.name()).or_default() += 1;
            see(&format!(
                "{:6.1} s  {}",
                begun.elapsed().as_secs_f64(),
                act.name()
            ));
            let breaches = player.breaches.len();
            player.play(act)?;
            player.breaches[breaches..]
                .iter()
                .for_each(|breach| see(breach));
        }
        player.settle()?;
        let (tally, losses) = client.stop()?;
        let account = Account {
            tally: &tally,
            losses: &losses,
            faults: &player.faults,
            counted: player.counted(tally.sent)?,
            receipts: &player.receipts()?,
        };
        let mut breaches = std::mem::take(&mut player.breaches);
        breaches.extend(account.breaches());
        Ok(SoakReport {
            counted: account.counted,
            explained: account.explained(),
            acts,
            breaches,
            tally,
        })
    }
}
