//! The engine's clock: it never goes back, and the wall clock does not move it.

use std::time::{SystemTime, UNIX_EPOCH};

use model::Time;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// Milliseconds since boot (time asleep included), moved so that they go on after a reboot
/// where they were last written down.
#[derive(Debug, Clone)]
pub struct Clock {
    boot: String,
    offset_ms: i64,
}

/// What is written down with every journal entry.
#[derive(Debug, Serialize, Deserialize)]
struct Reading {
    boot: String,
    offset_ms: i64,
    now_ms: u64,
}

impl Clock {
    /// Goes on from what [`Self::reading`] returned last.
    #[must_use]
    pub fn resume(reading: Option<&str>) -> Self {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Self::resume_at(reading, boot.trim(), since_boot_ms())
    }

    fn resume_at(reading: Option<&str>, boot: &str, since_boot_ms: i64) -> Self {
        let last: Option<Reading> = reading.and_then(|text| serde_json::from_str(text).ok());
        let offset_ms = match last {
            Some(last) if last.boot == boot && !boot.is_empty() => last.offset_ms,
            Some(last) => last.now_ms.cast_signed() + 1 - since_boot_ms,
            // The zero of the clock means nothing; a margin keeps windows before it positive.
            None => 3_600_000,
        };
        Self {
            boot: boot.to_owned(),
            offset_ms,
        }
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> Time {
        self.at(since_boot_ms())
    }

    fn at(&self, since_boot_ms: i64) -> Time {
        Time((since_boot_ms + self.offset_ms).max(0).cast_unsigned())
    }

    /// What [`Self::resume`] needs to go on.
    #[must_use]
    pub fn reading(&self) -> String {
        let reading = Reading {
            boot: self.boot.clone(),
            offset_ms: self.offset_ms,
            now_ms: self.now().0,
        };
        serde_json::to_string(&reading).expect("two numbers and a text")
    }
}

fn since_boot_ms() -> i64 {
    let now = clock_gettime(ClockId::Boottime);
    now.tv_sec * 1_000 + now.tv_nsec / 1_000_000
}

/// Microseconds of the monotonic clock, in which the proxy notes gaps.
pub(crate) fn monotonic_micros() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    (now.tv_sec * 1_000_000 + now.tv_nsec / 1_000).cast_unsigned()
}

/// Milliseconds since 1970, for people only.
pub(crate) fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}

/// A time since 1970 as RFC 3339 in UTC.
#[must_use]
pub fn rfc3339(wall_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(wall_ms).map_or_else(
        |_| String::from("unknown"),
        |timestamp| format!("{timestamp:.3}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_goes_on_after_a_reboot_and_after_a_crash() {
        let first = Clock::resume_at(None, "a", 50_000);
        let before = first.at(60_000);
        let written = format!(
            r#"{{"boot":"a","offset_ms":{},"now_ms":{}}}"#,
            first.offset_ms, before.0
        );
        let crashed = Clock::resume_at(Some(&written), "a", 61_000);
        assert_eq!(crashed.at(61_000).since(before).as_millis(), 1_000);
        let rebooted = Clock::resume_at(Some(&written), "b", 10);
        assert_eq!(rebooted.at(10).since(before).as_millis(), 1);
    }

    #[test]
    fn wall_times_print_in_utc() {
        assert_eq!(rfc3339(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
    }
}
