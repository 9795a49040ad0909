//! Watching rollouts until they have their receipts. Leaving changes nothing: the server goes on.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use control::api::{Explained, Note};
use model::{Outcome, Receipt, RolloutId, WaitingOn};

use crate::api::Api;
use crate::args::{Common, Name, Services};
use crate::exit::{Exit, Trouble};
use crate::live::Live;
use crate::output::Output;
use crate::render;

/// How often the server is asked.
const EVERY: Duration = Duration::from_millis(100);

/// How long a server that does not answer is asked again: a worker that died is replaced within
/// a second, a server that is restarted takes a few.
const CONTACT: Duration = Duration::from_secs(15);

/// Shows the running rollouts until they end; at a gate it goes on watching.
pub(crate) fn watch(common: &Common, args: &Services, output: Output) -> Result<Exit, Trouble> {
    let api = Api::of(common)?;
    let rollouts = running(&api, &args.services)?;
    if rollouts.is_empty() {
        output.note("no rollout is running");
    }
    Follower::new(&api, &rollouts, AtGate::GoOn, output).run()
}

/// Waits for the running rollouts, or for those that ended while nobody watched.
pub(crate) fn wait(common: &Common, args: &Services, output: Output) -> Result<Exit, Trouble> {
    let api = Api::of(common)?;
    let mut rollouts = running(&api, &args.services)?;
    if rollouts.is_empty() {
        rollouts = newest(&api, &args.services)?;
    }
    if rollouts.is_empty() {
        output.note("there was no rollout yet");
    }
    until_receipts(&api, &rollouts, &[], output)
}

/// Watches until every one of `rollouts` has its receipt, or waits for a person and nobody is there.
///
/// The receipts of those that they supersede are shown, too; how those ended was asked for.
pub(crate) fn until_receipts(
    api: &Api,
    rollouts: &[RolloutId],
    superseded: &[RolloutId],
    output: Output,
) -> Result<Exit, Trouble> {
    let gate = if Live::possible(output) {
        AtGate::GoOn
    } else {
        AtGate::Leave
    };
    let mut follower = Follower::new(api, rollouts, gate, output);
    if !rollouts.is_empty() {
        follower.superseded = superseded.iter().copied().collect();
        follower.left.extend(superseded);
    }
    follower.run()
}

/// What to do when a rollout waits for a person.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AtGate {
    GoOn,
    Leave,
}

struct Follower<'a> {
    api: &'a Api,
    left: BTreeSet<RolloutId>,
    superseded: BTreeSet<RolloutId>,
    seen: i64,
    gate: AtGate,
    output: Output,
    live: Live,
    exit: Exit,
    trouble: Option<Trouble>,
}

impl<'a> Follower<'a> {
    fn new(api: &'a Api, rollouts: &[RolloutId], gate: AtGate, output: Output) -> Self {
        let left = rollouts.iter().copied().collect();
        Self {
            api,
            left,
            superseded: BTreeSet::new(),
            seen: 0,
            gate,
            output,
            live: Live::new(output),
            exit: Exit::Done,
            trouble: None,
        }
    }

    fn run(mut self) -> Result<Exit, Trouble> {
        let mut answered = Instant::now();
        while !self.left.is_empty() {
            match self.look() {
                Ok(true) => answered = Instant::now(),
                Ok(false) => return Ok(Exit::Waits),
                Err(trouble)
                    if trouble.exit == Exit::LostContact && answered.elapsed() < CONTACT => {}
                Err(trouble) => return Err(trouble),
            }
            if !self.left.is_empty() {
                std::thread::sleep(EVERY);
            }
        }
        self.live.clear();
        match self.trouble {
            Some(trouble) => Err(trouble),
            None => Ok(self.exit),
        }
    }

    /// Looks at each rollout once; `false`: all that are left wait for a person.
    fn look(&mut self) -> Result<bool, Trouble> {
        let mut persons = Vec::new();
        let mut running = Vec::new();
        for id in self.left.clone() {
            let explained = self.api.rollout(id)?;
            self.tell(&explained.notes);
            if let Some(receipt) = &explained.receipt {
                self.left.remove(&id);
                self.finish(receipt, &explained);
            } else if let Some(waiting) = person(&explained) {
                persons.push((explained.service.clone(), waiting.clone()));
            }
            running.extend(explained.running);
        }
        self.live.draw(&running);
        if self.gate == AtGate::Leave && !self.left.is_empty() && persons.len() == self.left.len() {
            self.leave(&persons);
            return Ok(false);
        }
        Ok(true)
    }

    fn tell(&mut self, notes: &[Note]) {
        for note in notes.iter().filter(|note| note.seq > self.seen) {
            self.live.say(&format!("{}: {}", note.service, note.text));
            self.output.json_line(&serde_json::json!({
                "type": "note", "at": note.at, "rollout": note.rollout, "service": note.service, "text": note.text,
            }));
        }
        self.seen = notes.iter().map(|note| note.seq).fold(self.seen, i64::max);
    }

    fn finish(&mut self, receipt: &Receipt, explained: &Explained) {
        self.live.clear();
        self.output.receipt(receipt);
        let was_asked_for = receipt.outcome == Outcome::Superseded
            && receipt.lost == Some(0)
            && self.superseded.contains(&receipt.rollout);
        let exit = match was_asked_for {
            true => Exit::Done,
            false => exit_of(receipt),
        };
        if exit != Exit::Done
            && let Some(earlier) = self.trouble.replace(trouble_of(exit, receipt, explained))
        {
            self.output.note(earlier.to_string());
        }
        self.exit = self.exit.max(exit);
    }

    fn leave(&mut self, persons: &[(String, WaitingOn)]) {
        self.live.clear();
        for (service, waiting) in persons {
            let next = match waiting {
                WaitingOn::Gate { .. } => "approve",
                _ => "resume",
            };
            self.output.note(format!("{service} waits for {waiting}; go on with `gapless {next} {service}` or `gapless abort {service}`"));
        }
        self.output
            .json_line(&serde_json::json!({ "type": "waits", "rollouts": self.left }));
    }
}

/// What it waits for a person for, if it does.
fn person(explained: &Explained) -> Option<&WaitingOn> {
    let waiting = &explained.running.as_ref()?.waiting_on;
    waiting
        .iter()
        .find(|on| matches!(on, WaitingOn::Gate { .. } | WaitingOn::Held { .. }))
}

fn exit_of(receipt: &Receipt) -> Exit {
    match receipt.outcome {
        Outcome::Completed if receipt.lost == Some(0) || render::receipt::no_requests(receipt) => {
            Exit::Done
        }
        Outcome::Completed | Outcome::Failed => Exit::Failed,
        Outcome::RolledBack | Outcome::Aborted | Outcome::Superseded => Exit::RolledBack,
    }
}

fn trouble_of(exit: Exit, receipt: &Receipt, explained: &Explained) -> Trouble {
    let (service, id) = (&receipt.service, receipt.rollout);
    let lost = receipt.lost.map_or_else(
        || "an uncounted number of".to_owned(),
        |lost| lost.to_string(),
    );
    let what = match receipt.outcome {
        Outcome::Completed => {
            format!("rollout {id} of `{service}` completed, and {lost} requests were lost")
        }
        Outcome::RolledBack | Outcome::Aborted | Outcome::Superseded | Outcome::Failed => {
            format!(
                "rollout {id} of `{service}` to {} ended as {}",
                receipt.to, receipt.outcome
            )
        }
    };
    let serving = match receipt.outcome {
        Outcome::Completed => receipt.to.clone(),
        Outcome::RolledBack | Outcome::Aborted | Outcome::Superseded => {
            receipt.from.clone().unwrap_or_else(|| "nothing".to_owned())
        }
        Outcome::Failed => "see `gapless status`".to_owned(),
    };
    let mut trouble = Trouble::new(exit, what)
        .cause(&receipt.reason)
        .hint(format!("run `gapless why {id}`"));
    trouble.evidence.clone_from(&explained.evidence);
    trouble.traffic = Some(match receipt.outcome {
        Outcome::Failed => serving,
        Outcome::Completed | Outcome::RolledBack | Outcome::Aborted | Outcome::Superseded => {
            format!("100% on `{serving}`")
        }
    });
    trouble
}

/// The rollouts of these services, or of all if none is named, that run or wait to.
pub(crate) fn running(api: &Api, names: &[Name]) -> Result<Vec<RolloutId>, Trouble> {
    let services = api.status()?.engine.services;
    let wanted = services
        .into_iter()
        .filter(|service| named(names, service.name.as_str()));
    Ok(wanted
        .flat_map(|service| {
            [
                service.rollout.map(|one| one.rollout),
                service.queued.map(|one| one.rollout),
            ]
        })
        .flatten()
        .collect())
}

fn newest(api: &Api, names: &[Name]) -> Result<Vec<RolloutId>, Trouble> {
    let services = api.status()?.engine.services;
    let wanted = services
        .into_iter()
        .filter(|service| named(names, service.name.as_str()));
    Ok(wanted
        .filter_map(|service| service.last.map(|last| last.rollout))
        .collect())
}

fn named(names: &[Name], service: &str) -> bool {
    names.is_empty() || names.iter().any(|name| name.0.as_str() == service)
}
