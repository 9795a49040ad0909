//! When a release that fails is started again, and when its failing is trouble.

use std::time::Duration;

use model::Time;
use serde::{Deserialize, Serialize};

/// An instance that stayed ready for so long has proven that its release can run.
pub(crate) const STEADY: Duration = Duration::from_secs(30);

/// Unasked exits in a row that make a crash loop.
const CRASH_LOOP: u32 = 3;

/// Starts in a row that may find their port taken before it is trouble.
const PORTS_TAKEN: u32 = 5;

/// The longest pause between two tries.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// What went wrong with a release lately.
///
/// Instances that were ordered before the last counted failure belong to the same round: ten
/// replicas that die of one cause at one moment are one failure, not ten.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    crashes: u32,
    refusals: u32,
    ports_taken: u32,
    /// Serials from here on are of a new round.
    round: u32,
    /// Nothing is started before.
    retry_at: Time,
    /// The newest failure, with its evidence.
    last: String,
    unusable: Option<String>,
    /// The count and the freshness that were wanted when last looked at.
    wanted: (u32, u32),
}

/// One failure of one instance.
pub(crate) struct Failure {
    /// Its serial.
    pub(crate) serial: u32,
    /// The serial that the next instance will have.
    pub(crate) next_serial: u32,
    /// When it became known.
    pub(crate) now: Time,
    /// What was seen.
    pub(crate) evidence: String,
}

/// Whether another port may be tried at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PortChoice {
    /// The release has the one port and no other.
    Fixed,
    /// The next instance gets another.
    Free,
}

/// Whether an instance had stayed ready for [`STEADY`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Proven {
    /// It had.
    Steady,
    /// It had not.
    NotYet,
}

impl Record {
    /// A process ended unasked.
    pub(crate) fn crashed(&mut self, failure: Failure, proven: Proven) {
        let now = failure.now;
        if self.is_new_round(failure) {
            self.crashes = match proven {
                Proven::Steady => 1,
                Proven::NotYet => self.crashes.saturating_add(1),
            };
            self.pause(self.crashes, now);
        }
    }

    /// The place could not run it.
    pub(crate) fn refused(&mut self, failure: Failure) {
        let now = failure.now;
        if self.is_new_round(failure) {
            self.refusals = self.refusals.saturating_add(1);
            self.pause(self.refusals, now);
        }
    }

    /// Somebody else had the port.
    pub(crate) fn port_taken(&mut self, failure: Failure, choice: PortChoice) {
        let now = failure.now;
        if self.is_new_round(failure) {
            self.ports_taken = self.ports_taken.saturating_add(1);
            match choice {
                PortChoice::Fixed => self.pause(self.ports_taken, now),
                PortChoice::Free => self.pause(self.ports_taken.saturating_sub(PORTS_TAKEN), now),
            }
        }
    }

    /// The program cannot be run, as the start of `serial` has shown. What was ordered before
    /// the last restart has no say in it.
    pub(crate) fn unusable(&mut self, serial: u32, reason: String) {
        if serial >= self.wanted.1 {
            self.unusable = Some(reason);
        }
    }

    /// A process was started.
    pub(crate) fn started(&mut self) {
        self.ports_taken = 0;
        self.refusals = 0;
    }

    /// What is wanted: a change of it is worth another try, a restart a wholly new beginning.
    pub(crate) fn wanted(&mut self, count: u32, fresh_from: u32) {
        if self.wanted.1 != fresh_from {
            *self = Self {
                round: fresh_from,
                ..Self::default()
            };
        } else if self.wanted.0 != count {
            self.unusable = None;
        }
        self.wanted = (count, fresh_from);
    }

    /// All that is wanted has stayed ready: what was is forgiven.
    pub(crate) fn forgive(&mut self) {
        self.crashes = 0;
    }

    /// Whether a stay at ready would be news.
    pub(crate) fn is_failing(&self) -> bool {
        self.crashes > 0
    }

    /// Whether an instance may be started now.
    pub(crate) fn may_start(&self, now: Time) -> bool {
        self.unusable.is_none() && self.retry_at <= now
    }

    /// When the present pause ends.
    pub(crate) fn retry_at(&self) -> Time {
        self.retry_at
    }

    /// Why the release cannot be run.
    pub(crate) fn trouble(&self) -> Option<String> {
        let Self { last, .. } = self;
        if let Some(reason) = &self.unusable {
            Some(format!("the program cannot be run: {reason}"))
        } else if self.crashes >= CRASH_LOOP {
            let crashes = self.crashes;
            Some(format!(
                "crash loop, {crashes} unasked exits in a row: {last}"
            ))
        } else if self.ports_taken >= PORTS_TAKEN {
            let times = self.ports_taken;
            Some(format!("the port was taken {times} times in a row: {last}"))
        } else {
            None
        }
    }

    fn is_new_round(&mut self, failure: Failure) -> bool {
        self.last = failure.evidence;
        let new = failure.serial >= self.round;
        if new {
            self.round = failure.next_serial;
        }
        new
    }

    fn pause(&mut self, failures: u32, now: Time) {
        self.retry_at = self.retry_at.max(now.after(pause(failures)));
    }
}

/// The pause after so many failures in a row: 0, 1 s, 2 s, 4 s, … up to [`PAUSE_MAX`].
fn pause(failures: u32) -> Duration {
    match failures {
        0 | 1 => Duration::ZERO,
        more => Duration::from_secs(1 << (more - 2).min(5)).min(PAUSE_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(serial: u32, now: u64) -> Failure {
        Failure {
            serial,
            next_serial: serial + 1,
            now: Time(now),
            evidence: format!("instance {serial} ended"),
        }
    }

    #[test]
    fn pauses_double_up_to_half_a_minute() {
        let seconds: Vec<u64> = (0..9).map(|n| pause(n).as_secs()).collect();
        assert_eq!(seconds, [0, 0, 1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(pause(u32::MAX), PAUSE_MAX);
    }

    #[test]
    fn instances_of_one_round_are_one_failure() {
        let mut record = Record::default();
        for serial in 1..=4 {
            let next_serial = 5;
            record.crashed(
                Failure {
                    next_serial,
                    ..failure(serial, 10)
                },
                Proven::NotYet,
            );
        }
        assert_eq!(record.trouble(), None);
        assert!(record.may_start(Time(10)));
    }

    #[test]
    fn an_exit_after_staying_ready_begins_a_new_row() {
        let mut record = Record::default();
        record.crashed(failure(1, 0), Proven::NotYet);
        record.crashed(failure(2, 0), Proven::NotYet);
        record.crashed(failure(3, 0), Proven::Steady);
        assert_eq!(record.trouble(), None);
        record.crashed(failure(4, 0), Proven::NotYet);
        record.crashed(failure(5, 0), Proven::NotYet);
        assert_eq!(
            record.trouble().unwrap(),
            "crash loop, 3 unasked exits in a row: instance 5 ended"
        );
    }

    #[test]
    fn a_fixed_port_is_not_asked_for_without_pause() {
        let (mut fixed, mut free) = (Record::default(), Record::default());
        for serial in 1..=PORTS_TAKEN {
            assert_eq!(free.trouble(), None);
            fixed.port_taken(failure(serial, 0), PortChoice::Fixed);
            free.port_taken(failure(serial, 0), PortChoice::Free);
            assert!(free.may_start(Time(0)));
        }
        assert!(!fixed.may_start(Time(7_999)) && fixed.may_start(Time(8_000)));
        assert!(fixed.trouble().is_some() && free.trouble().is_some());
        free.port_taken(failure(6, 0), PortChoice::Free);
        free.port_taken(failure(7, 0), PortChoice::Free);
        assert!(!free.may_start(Time(999)) && free.may_start(Time(1_000)));
    }

    #[test]
    fn wanting_something_else_tries_again_and_a_restart_forgets_the_past() {
        let mut record = Record::default();
        record.wanted(1, 0);
        record.unusable(1, "no such file".into());
        record.wanted(1, 0);
        assert!(!record.may_start(Time(0)));
        record.wanted(2, 0);
        assert!(record.may_start(Time(0)));
        for serial in 1..=3 {
            record.crashed(failure(serial, 0), Proven::NotYet);
        }
        record.wanted(2, 9);
        assert!(record.may_start(Time(0)) && record.trouble().is_none());
        record.unusable(8, "no such file".into());
        record.crashed(failure(8, 0), Proven::NotYet);
        assert!(record.may_start(Time(0)) && !record.is_failing());
    }
}
