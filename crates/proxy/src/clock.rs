//! The system's monotonic clock: the same for every process, so that the ledger's times of
//! two workers can be compared.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Microseconds of the monotonic clock.
pub(crate) fn now_micros() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000 + now.tv_nsec.unsigned_abs() / 1_000
}

/// Microseconds of the wall clock since 1970, for people.
pub(crate) fn wall_micros() -> i64 {
    let now = clock_gettime(ClockId::Realtime);
    now.tv_sec * 1_000_000 + now.tv_nsec / 1_000
}

/// A duration in microseconds.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
