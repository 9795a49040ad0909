//! `drain`: how long what is open may take.

use super::Speech::Http;
use super::{Field, Kind, Section};
use crate::form::DURATION;

/// `drain` as a table.
pub(crate) const DRAIN: Section = Section {
    description: "How long what is open may take once an instance gets no new requests, by what it is.",
    fields: &[
        Field::new("requests", Kind::Text(&DURATION), "Requests.").default("\"30s\""),
        Field::new(
            "websockets",
            Kind::Text(&DURATION),
            "WebSockets, and whatever else a connection was upgraded to.",
        )
        .optional("as long as requests")
        .spoken(Http),
        Field::new(
            "streams",
            Kind::Text(&DURATION),
            "Streams of events (text/event-stream), and requests of gRPC.",
        )
        .optional("as long as requests")
        .spoken(Http),
    ],
    one_of: &[],
};
