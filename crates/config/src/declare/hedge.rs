//! `hedge` of `proxy`.

use super::{Field, Kind, Section};
use crate::form::{HEDGE_AFTER, SHARE};

/// `hedge` of `proxy`.
pub(crate) const HEDGE: Section = Section {
    description: "When a request that is not answered gets a second attempt at another instance of \
                  the same release, beside the first one.",
    fields: &[
        Field::new(
            "after",
            Kind::Text(&HEDGE_AFTER),
            "After what time without the first byte of a response: a duration, or as long as 90, 95 \
             or 99 of a hundred requests take, as each proxy thread sees it.",
        )
        .default("\"p95\""),
        Field::new(
            "share",
            Kind::Text(&SHARE),
            "Second attempts, as a share of the requests of the last ten seconds that could get one; \
             ten are free. Counted by each proxy thread.",
        )
        .default("\"5%\""),
    ],
    one_of: &[],
};
