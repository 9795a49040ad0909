//! After what time a request gets a second attempt.

use model::HedgeAfter;

use super::{Form, Parsed, SPAN_OF_TIME};
use crate::value::Value;

/// A share of a hundred requests, or a time.
pub(crate) const HEDGE_AFTER: Form = Form::new(
    "\"p90\", \"p95\", \"p99\", or a duration such as \"50ms\"",
    "^(p90|p95|p99|0*[1-9][0-9]*(ms|s|m|h))$",
    hedge_after,
);

fn hedge_after(text: &str) -> Parsed {
    let after = match text {
        "p90" => HedgeAfter::Percent(90),
        "p95" => HedgeAfter::Percent(95),
        "p99" => HedgeAfter::Percent(99),
        _ => match SPAN_OF_TIME.parse(text)? {
            Value::Duration(time) => HedgeAfter::Time(time),
            other => unreachable!("a span of time is no {other:?}"),
        },
    };
    Ok(Value::HedgeAfter(after))
}
