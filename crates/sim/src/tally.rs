//! What was tried, so that an idle simulator is noticed.

use std::collections::BTreeMap;
use std::fmt;

/// Counts over many lives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Lives.
    pub schedules: u64,
    /// Events given to the engine.
    pub events: u64,
    /// Effects carried out.
    pub effects: u64,
    /// Everything else by name: rollouts by strategy and outcome, faults, commands.
    pub counts: BTreeMap<String, u64>,
}

impl Tally {
    pub(crate) fn count(&mut self, what: impl Into<String>) {
        *self.counts.entry(what.into()).or_default() += 1;
    }

    /// Adds another tally.
    pub fn add(&mut self, other: &Self) {
        self.schedules += other.schedules;
        self.events += other.events;
        self.effects += other.effects;
        for (what, count) in &other.counts {
            *self.counts.entry(what.clone()).or_default() += count;
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            schedules,
            events,
            effects,
            counts,
        } = self;
        writeln!(
            f,
            "{schedules} schedules, {events} events, {effects} effects"
        )?;
        for (what, count) in counts {
            writeln!(f, "{count:>10}  {what}")?;
        }
        Ok(())
    }
}
