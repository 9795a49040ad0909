//! Durations: a whole number and a unit.

use std::time::Duration;

use super::{Form, Parsed, amount::share, write};
use crate::value::{Bound, Value};

/// The longest duration, a year.
const MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Units with their milliseconds.
const UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];

/// A duration, zero included.
pub(crate) const DURATION: Form = Form::new(
    "a duration of at most a year: a whole number with ms, s, m or h, such as \"30s\"",
    "^[0-9]+(ms|s|m|h)$",
    |text| duration(text).map(Value::Duration),
);

/// A duration that zero would make senseless.
pub(crate) const SPAN_OF_TIME: Form = Form::new(
    "a duration above zero, at most a year: a whole number with ms, s, m or h, such as \"30s\"",
    "^0*[1-9][0-9]*(ms|s|m|h)$",
    |text| match duration(text) {
        Ok(Duration::ZERO) => Err(None),
        Ok(duration) => Ok(Value::Duration(duration)),
        // A unit does not mend a zero.
        Err(_) if text.starts_with('0') => Err(None),
        Err(hint) => Err(hint),
    },
);

/// A bound on a metric: a percentage or a duration.
pub(crate) const BOUND: Form = Form::new(
    "a percentage such as \"1%\" for error_rate, a duration such as \"800ms\" for latency",
    "^([0-9]+(\\.[0-9]{1,2})?%|[0-9]+(ms|s|m|h))$",
    bound,
);

fn bound(text: &str) -> Parsed {
    if text.ends_with('%') {
        return share(text).map(|share| Value::Bound(Bound::Share(share)));
    }
    match duration(text) {
        Ok(duration) => Ok(Value::Bound(Bound::Duration(duration))),
        Err(_) if text.parse::<f64>().is_ok() => {
            Err(Some(format!("write `\"{text}%\"` or `\"{text}ms\"`")))
        }
        Err(hint) => Err(hint),
    }
}

fn duration(text: &str) -> Result<Duration, Option<String>> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let Some(&(_, millis)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(meant(number, unit));
    };
    let number: u64 = number.parse().map_err(|_| None)?;
    let millis = number.checked_mul(millis).ok_or(None)?;
    let duration = Duration::from_millis(millis);
    if duration > MAX {
        Err(None)
    } else {
        Ok(duration)
    }
}

/// The duration that was probably meant.
fn meant(number: &str, unit: &str) -> Option<String> {
    if number.is_empty() {
        return None;
    }
    match unit.trim() {
        "" | "sec" | "secs" | "second" | "seconds" | "S" => write(format_args!("{number}s")),
        "min" | "mins" | "minute" | "minutes" | "M" => write(format_args!("{number}m")),
        "msec" | "millis" | "milliseconds" => write(format_args!("{number}ms")),
        "hour" | "hours" | "H" => write(format_args!("{number}h")),
        "d" | "day" | "days" => {
            let hours = number.parse::<u64>().ok()?.checked_mul(24)?;
            write(format_args!("{hours}h"))
        }
        "ms" | "s" | "m" | "h" => write(format_args!("{number}{}", unit.trim())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_carry_their_unit() {
        for (text, millis) in [
            ("0s", 0),
            ("250ms", 250),
            ("30s", 30_000),
            ("2m", 120_000),
            ("8760h", 31_536_000_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn durations_of_another_form_are_refused_with_the_right_one() {
        for (text, instead) in [
            ("30", Some("30s")),
            ("5min", Some("5m")),
            ("5 s", Some("5s")),
            ("2d", Some("48h")),
            ("", None),
            ("s", None),
            ("-1s", None),
            ("1.5s", None),
            ("1h30m", None),
            ("8761h", None),
            ("99999999999999999999s", None),
            ("18446744073709551615h", None),
            ("١s", None),
        ] {
            let hint = instead.map(|text| format!("write `\"{text}\"`"));
            assert_eq!(duration(text), Err(hint), "{text}");
        }
    }
}
