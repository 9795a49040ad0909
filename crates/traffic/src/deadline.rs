//! Until when a request has to be answered.

use std::time::Duration;

use model::Deadline;

/// Times on the proxy's clock; `u64::MAX`: there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// How long the whole exchange may take, from the request's arrival.
    total_micros: u64,
    /// How long an attempt may take until its response's first byte.
    attempt_micros: u64,
    /// When that byte of the present attempt has to have come.
    attempt_until: u64,
}

/// Which time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Late {
    /// That for the attempt's first byte.
    Attempt,
    /// That for the whole exchange.
    Total,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            total_micros: u64::MAX,
            attempt_micros: u64::MAX,
            attempt_until: u64::MAX,
        }
    }
}

impl Deadlines {
    /// Those of a service's request. `asked` is what its client gives it at most.
    #[must_use]
    pub fn new(deadline: &Deadline, asked: Option<Duration>) -> Self {
        let total = deadline.total.into_iter().chain(asked).min();
        let span = |span: Option<Duration>| {
            let micros = span.map(|span| u64::try_from(span.as_micros()));
            micros.and_then(Result::ok).unwrap_or(u64::MAX)
        };
        Self {
            total_micros: span(total),
            attempt_micros: span(deadline.attempt),
            attempt_until: u64::MAX,
        }
    }

    /// True if attempts have a time of their own.
    #[must_use]
    pub fn has_attempts(&self) -> bool {
        self.attempt_micros != u64::MAX
    }

    /// An attempt's request is sent.
    pub fn sent(&mut self, now_micros: u64) {
        self.attempt_until = now_micros.saturating_add(self.attempt_micros);
    }

    /// The attempt's response begins, or another attempt does.
    pub fn answered(&mut self) {
        self.attempt_until = u64::MAX;
    }

    /// The exchange is one that lasts as long as its ends like: only its beginning was timed.
    pub fn lift(&mut self) {
        *self = Self::default();
    }

    /// When the next of them ends, for a request that came at `arrived_micros`.
    #[must_use]
    pub fn until(&self, arrived_micros: u64) -> u64 {
        self.total_until(arrived_micros).min(self.attempt_until)
    }

    /// When the whole exchange has to have ended.
    #[must_use]
    pub fn total_until(&self, arrived_micros: u64) -> u64 {
        arrived_micros.saturating_add(self.total_micros)
    }

    /// Which of them is over; the whole exchange's first.
    #[must_use]
    pub fn late(&self, arrived_micros: u64, now_micros: u64) -> Option<Late> {
        if self.total_until(arrived_micros) <= now_micros {
            Some(Late::Total)
        } else if self.attempt_until <= now_micros {
            Some(Late::Attempt)
        } else {
            None
        }
    }
}

/// The time that a client of gRPC gives a call: up to eight digits and a unit.
#[must_use]
pub fn grpc_timeout(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits
        .iter()
        .fold(0_u64, |number, digit| number * 10 + u64::from(digit - b'0'));
    match unit {
        b'H' => Some(Duration::from_secs(number * 3_600)),
        b'M' => Some(Duration::from_secs(number * 60)),
        b'S' => Some(Duration::from_secs(number)),
        b'm' => Some(Duration::from_millis(number)),
        b'u' => Some(Duration::from_micros(number)),
        b'n' => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000;

    fn deadlines(attempt: u64, total: u64, asked: Option<u64>) -> Deadlines {
        let deadline = Deadline {
            attempt: Some(Duration::from_secs(attempt)),
            total: Some(Duration::from_secs(total)),
        };
        Deadlines::new(&deadline, asked.map(Duration::from_secs))
    }

    #[test]
    fn each_attempt_has_its_own_time_and_all_together_theirs() {
        let mut own = deadlines(2, 5, None);
        assert_eq!(own.until(SECOND), 6 * SECOND);
        own.sent(2 * SECOND);
        assert_eq!(own.until(SECOND), 4 * SECOND);
        assert_eq!(own.late(SECOND, 4 * SECOND - 1), None);
        assert_eq!(own.late(SECOND, 4 * SECOND), Some(Late::Attempt));
        own.sent(5 * SECOND);
        assert_eq!(own.until(SECOND), 6 * SECOND);
        assert_eq!(own.late(SECOND, 7 * SECOND), Some(Late::Total));
        own.answered();
        assert_eq!(own.until(SECOND), 6 * SECOND, "a response must end as well");
        own.lift();
        assert_eq!(own.late(SECOND, u64::MAX - 1), None);
    }

    #[test]
    fn a_client_may_give_less_time_and_never_more() {
        assert_eq!(deadlines(2, 5, Some(3)).until(0), 3 * SECOND);
        assert_eq!(deadlines(2, 5, Some(9)).until(0), 5 * SECOND);
        let none = Deadline {
            attempt: None,
            total: None,
        };
        assert_eq!(Deadlines::new(&none, None), Deadlines::default());
        let asked = Deadlines::new(&none, Some(Duration::from_secs(3)));
        assert_eq!(asked.until(0), 3 * SECOND);
    }

    #[test]
    fn a_timeout_of_grpc_is_read_as_it_is_written() {
        for (text, wanted) in [
            ("1H", Duration::from_secs(3_600)),
            ("2M", Duration::from_secs(120)),
            ("3S", Duration::from_secs(3)),
            ("100m", Duration::from_millis(100)),
            ("5u", Duration::from_micros(5)),
            ("99999999n", Duration::from_nanos(99_999_999)),
        ] {
            assert_eq!(grpc_timeout(text.as_bytes()), Some(wanted), "{text}");
        }
        for text in ["", "S", "1", "1s", "-1S", "1 S", "123456789S", "1.5S"] {
            assert_eq!(grpc_timeout(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_overflows(arrived: u64, now: u64, attempt: u64, total: u64, value: Vec<u8>) {
            let _ = grpc_timeout(&value);
            let mut own = deadlines(attempt, total, None);
            own.sent(now);
            prop_assert!(own.until(arrived) >= arrived.min(now));
        }
    }
}
