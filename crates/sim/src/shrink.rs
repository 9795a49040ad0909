//! Makes a failing life smaller: what it fails without is left out.

use crate::check::Violation;
use crate::lives::live;
use crate::plant::Plant;
use crate::schedule::Schedule;

/// The smallest schedule found that breaks the same rule, and what happens in it.
#[derive(Debug, Clone)]
pub struct Explained {
    /// What it breaks.
    pub violation: Violation,
    /// Its commands and faults.
    pub items: Vec<String>,
    /// Every event and effect up to there.
    pub trace: Vec<String>,
}

/// Explains why a schedule fails; `None` when it does not.
///
/// Commands and faults are left out one at a time as long as the same rule breaks.
#[must_use]
pub fn explain(schedule: &Schedule, plant: Option<Plant>) -> Option<Explained> {
    let rule = live(schedule, plant, false).violation?.rule;
    let breaks = |schedule: &Schedule| {
        let violation = live(schedule, plant, false).violation;
        violation.is_some_and(|violation| violation.rule == rule)
    };
    let mut smallest = schedule.clone();
    let mut index = smallest.items.len();
    while index > 0 {
        index -= 1;
        let smaller = smallest.without(index);
        if breaks(&smaller) {
            smallest = smaller;
            // What could not be left out before may be left out now.
            index = smallest.items.len();
        }
    }
    let life = live(&smallest, plant, true);
    let items = smallest.items.iter();
    Some(Explained {
        violation: life.violation?,
        items: items
            .map(|item| format!("{:>8} {:?}", item.at, item.what))
            .collect(),
        trace: life.trace,
    })
}
