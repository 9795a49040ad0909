//! Time that counts only while it runs.

use std::time::Duration;

use model::Time;
use serde::{Deserialize, Serialize};

/// Counts time while it runs and keeps its count while it is paused, so that time held or
/// at a gate counts against nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stopwatch {
    ran_ms: u64,
    since: Option<Time>,
}

impl Stopwatch {
    /// Lets it run; nothing when it runs already.
    pub(crate) fn run(&mut self, now: Time) {
        self.since.get_or_insert(now);
    }

    /// Pauses it; nothing when it is paused already.
    pub(crate) fn pause(&mut self, now: Time) {
        self.ran_ms = millis(self.elapsed(now));
        self.since = None;
    }

    /// Back to nothing, running or paused as it was.
    pub(crate) fn restart(&mut self, now: Time) {
        self.ran_ms = 0;
        self.since = self.since.map(|_| now);
    }

    pub(crate) fn elapsed(&self, now: Time) -> Duration {
        let running = self.since.map_or(Duration::ZERO, |since| now.since(since));
        Duration::from_millis(self.ran_ms).saturating_add(running)
    }

    /// What is left of `span`.
    pub(crate) fn left(&self, span: Duration, now: Time) -> Duration {
        span.saturating_sub(self.elapsed(now))
    }

    /// When `span` will be over if it goes on running; `None` while paused.
    pub(crate) fn end_of(&self, span: Duration, now: Time) -> Option<Time> {
        self.since.map(|_| now.after(self.left(span, now)))
    }
}

/// Whole milliseconds, rounded up so that waiting them out is enough.
pub(crate) fn millis(span: Duration) -> u64 {
    let whole = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    whole.saturating_add(u64::from(!span.subsec_nanos().is_multiple_of(1_000_000)))
}

/// A span as people say it: `45s`, `10m`, `1m30s`.
pub(crate) fn spell(span: Duration) -> String {
    match (span.as_secs() / 60, span.as_secs() % 60) {
        (0, seconds) => format!("{seconds}s"),
        (minutes, 0) => format!("{minutes}m"),
        (minutes, seconds) => format!("{minutes}m{seconds:02}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_running_time_counts() {
        let mut watch = Stopwatch::default();
        watch.run(Time(1_000));
        watch.run(Time(2_000));
        watch.pause(Time(4_000));
        watch.pause(Time(9_000));
        assert_eq!(watch.elapsed(Time(99_000)), Duration::from_secs(3));
        assert_eq!(watch.end_of(Duration::from_secs(5), Time(99_000)), None);
        watch.run(Time(100_000));
        let end = watch.end_of(Duration::from_secs(5), Time(101_000));
        assert_eq!(end, Some(Time(102_000)));
        watch.restart(Time(101_500));
        assert_eq!(watch.elapsed(Time(102_000)), Duration::from_millis(500));
    }

    #[test]
    fn spans_are_spelt_shortly() {
        let spelt = [45, 600, 90].map(|seconds| spell(Duration::from_secs(seconds)));
        assert_eq!(spelt, ["45s", "10m", "1m30s"]);
    }
}
