//! The most that instances are given at a time.

use model::{EndpointLimits, Queue};

use super::number;
use crate::diagnostic::{Mistake, Mistakes};
use crate::value::Table;

/// The limits in `proxy`. Limits that bound nothing are a mistake.
pub(super) fn build(
    (proxy, limits): (&Table, &Table),
    mistakes: &mut Mistakes<'_>,
) -> EndpointLimits {
    let bounds = ["connections", "requests"];
    if !bounds.iter().any(|name| limits.is_written(name)) {
        let mistake = Mistake::new(proxy.span("limits"), "these limits bound nothing");
        mistakes.add(mistake.expected("`connections` or `requests`"));
    }
    let bound = |name| {
        let most = limits.get::<u64>(name);
        most.map(|most| u32::try_from(most).expect("declared to fit"))
    };
    let queue: &Table = limits.value("queue");
    EndpointLimits {
        connections_max: bound("connections"),
        requests_max: bound("requests"),
        queue: Queue {
            length_max: number(queue, "length"),
            wait: queue.value("wait"),
        },
    }
}
