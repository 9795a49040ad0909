//! When an instance's health is asked for, and what the answers mean.

use std::time::Duration;

use model::{Health, Time};

use crate::ProbeResult;

/// The interval at which the probes of a starting instance begin.
const FIRST: Duration = Duration::from_millis(10);

/// An answer that is so much later than the probe's own limit is asked for again.
const LATE: Duration = Duration::from_secs(1);

/// The longest text of a failed probe that is kept, in bytes.
const FAILURE_BYTES_MAX: usize = 500;

/// The probes of one instance; they begin anew with each worker.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Probes {
    /// When the one that is under way was asked for.
    asked: Option<Time>,
    /// When the next one is due.
    next: Time,
    /// The present interval while starting; zero before the first answer.
    interval: Duration,
    /// So many were answered: what the jitter is made of.
    answered: u32,
    passes: u32,
    failures: u32,
    last_failure: Option<String>,
}

/// Whose schedule the probes follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Not yet ready: often at first, then ever slower.
    Starting,
    /// Once ready: every `every`.
    Living,
}

/// What the answers in a row say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trend {
    /// `rise` passes in a row.
    Risen,
    /// `fall` failures in a row.
    Fallen,
    /// Neither.
    Open,
}

impl Probes {
    /// When the next probe is to be asked for.
    pub(crate) fn due(&self, health: &Health) -> Time {
        match self.asked {
            Some(asked) => asked.after(health.timeout.saturating_add(LATE)),
            None => self.next,
        }
    }

    /// A probe is asked for.
    pub(crate) fn ask(&mut self, now: Time) {
        self.asked = Some(now);
    }

    /// Takes in an answer; one that nobody waits for says nothing.
    pub(crate) fn answer(&mut self, result: ProbeResult, health: &Health) -> Trend {
        if self.asked.take().is_none() {
            return Trend::Open;
        }
        self.answered = self.answered.wrapping_add(1);
        match result {
            ProbeResult::Passed | ProbeResult::Weighed(_) => {
                self.last_failure = None;
                self.failures = 0;
                self.passes = self.passes.saturating_add(1);
            }
            ProbeResult::Failed(seen) => {
                self.last_failure = Some(shortened(seen));
                self.passes = 0;
                self.failures = self.failures.saturating_add(1);
            }
        }
        if self.passes >= health.rise.max(1) {
            Trend::Risen
        } else if self.failures >= health.fall.max(1) {
            Trend::Fallen
        } else {
            Trend::Open
        }
    }

    /// Sets the time of the next probe after an answer.
    ///
    /// While starting, the interval grows by a tenth with each failure, so that what is waited
    /// for in vain stays near a tenth of the program's own boot time; once it passes, the
    /// remaining passes are asked for without delay.
    pub(crate) fn plan(&mut self, pace: Pace, health: &Health, at: (u32, Time)) {
        let (serial, now) = at;
        let every = health.every.max(FIRST);
        let pause = match pace {
            Pace::Starting if self.passes > 0 => FIRST,
            Pace::Starting => {
                self.interval = (self.interval + self.interval / 10).clamp(FIRST, every);
                self.interval
            }
            Pace::Living => jittered(every, serial, self.answered),
        };
        self.next = now.after(pause);
    }

    /// What the newest probe saw, if it failed.
    pub(crate) fn last_failure(&self) -> Option<&String> {
        self.last_failure.as_ref()
    }
}

/// `every`, up to a tenth shorter or longer, so that instances that became ready together are
/// not asked together for ever.
fn jittered(every: Duration, serial: u32, answered: u32) -> Duration {
    let span = u64::try_from(every.as_millis() / 5).unwrap_or(u64::MAX);
    let seed = (u64::from(serial) << 32) | u64::from(answered);
    let part = mixed(seed) % span.saturating_add(1).max(1);
    (every - every / 10).saturating_add(Duration::from_millis(part))
}

/// Spreads near seeds over all numbers (the finaliser of splitmix64).
fn mixed(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn shortened(mut text: String) -> String {
    if text.len() > FAILURE_BYTES_MAX {
        let end = text.floor_char_boundary(FAILURE_BYTES_MAX);
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(every_ms: u64) -> Health {
        Health {
            probe: model::Probe::Tcp,
            every: Duration::from_millis(every_ms),
            timeout: Duration::from_secs(1),
            rise: 2,
            fall: 3,
        }
    }

    fn failed() -> ProbeResult {
        ProbeResult::Failed("refused".into())
    }

    /// Answers at once; returns the pause until the next probe.
    fn turn(probes: &mut Probes, result: ProbeResult, pace: Pace, now: Time) -> u64 {
        let health = health(1_000);
        probes.ask(now);
        probes.answer(result, &health);
        probes.plan(pace, &health, (7, now));
        probes.due(&health).0 - now.0
    }

    #[test]
    fn probes_of_a_starting_instance_slow_down_from_10_ms_to_every() {
        let mut probes = Probes::default();
        let mut now = Time(0);
        let mut pauses = Vec::new();
        for _ in 0..80 {
            let pause = turn(&mut probes, failed(), Pace::Starting, now);
            now = Time(now.0 + pause);
            pauses.push(pause);
        }
        assert_eq!(pauses[..4], [10, 11, 12, 13]);
        assert!(pauses.is_sorted());
        assert_eq!(pauses.last(), Some(&1_000));
    }

    #[test]
    fn waiting_in_vain_stays_near_a_tenth_of_the_boot_time() {
        let mut probes = Probes::default();
        let mut now = Time(0);
        while now.0 < 5_000 {
            let pause = turn(&mut probes, failed(), Pace::Starting, now);
            assert!(pause <= 11 + now.0 / 9, "{pause} ms after {} ms", now.0);
            now = Time(now.0 + pause);
        }
    }

    #[test]
    fn the_remaining_passes_are_asked_for_without_delay() {
        let mut probes = Probes::default();
        for _ in 0..60 {
            turn(&mut probes, failed(), Pace::Starting, Time(0));
        }
        let pause = turn(&mut probes, ProbeResult::Passed, Pace::Starting, Time(0));
        assert_eq!(pause, 10);
    }

    #[test]
    fn living_instances_are_asked_around_every_and_not_together() {
        let pauses: Vec<u128> = (0..200)
            .map(|serial| jittered(Duration::from_secs(1), serial, 1).as_millis())
            .collect();
        assert!(pauses.iter().all(|p| (900..=1_100).contains(p)));
        let distinct: std::collections::BTreeSet<_> = pauses.iter().collect();
        assert!(distinct.len() > 80, "{}", distinct.len());
        let mean = pauses.iter().sum::<u128>() / 200;
        assert!((980..=1_020).contains(&mean), "{mean}");
    }

    #[test]
    fn answers_count_only_in_a_row_and_only_when_asked_for() {
        use Trend::{Fallen, Open, Risen};
        let health = health(1_000);
        let mut probes = Probes::default();
        assert_eq!(probes.answer(ProbeResult::Passed, &health), Open);
        let pass = || ProbeResult::Passed;
        let row = [
            (pass(), Open),
            (failed(), Open),
            (pass(), Open),
            (pass(), Risen),
            (pass(), Risen),
            (failed(), Open),
            (failed(), Open),
            (pass(), Open),
            (failed(), Open),
            (failed(), Open),
            (failed(), Fallen),
        ];
        for (at, (result, trend)) in row.into_iter().enumerate() {
            probes.ask(Time(0));
            assert_eq!(probes.answer(result.clone(), &health), trend, "{at}");
            assert_eq!(probes.answer(result, &health), Open, "doubled {at}");
        }
    }

    #[test]
    fn an_overdue_answer_is_asked_for_again() {
        let mut probes = Probes::default();
        probes.ask(Time(100));
        assert_eq!(probes.due(&health(1_000)), Time(2_100));
    }

    #[test]
    fn endless_failure_texts_are_shortened() {
        let mut probes = Probes::default();
        let endless = ProbeResult::Failed("é".repeat(100_000));
        turn(&mut probes, endless, Pace::Starting, Time(0));
        assert!(probes.last_failure().unwrap().len() <= FAILURE_BYTES_MAX + '…'.len_utf8());
    }
}
