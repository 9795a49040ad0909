//! The most that instances are given at a time.

use super::{Field, Kind, Section};
use crate::form::DURATION;

/// `limits` of `proxy`.
pub(crate) const ENDPOINT_LIMITS: Section = Section {
    description: "The most that each instance is given at a time, over all threads of the proxy.",
    fields: &[
        Field::new(
            "connections",
            Kind::Whole {
                min: 1,
                max: 1_000_000,
            },
            "Connections to one instance, idle ones included. While one worker replaces another, \
             each counts its own.",
        )
        .optional("not limited"),
        Field::new(
            "requests",
            Kind::Whole {
                min: 1,
                max: 1_000_000,
            },
            "Requests that one instance has at a time, open WebSockets and streams included.",
        )
        .optional("not limited"),
        Field::new(
            "queue",
            Kind::Table(&QUEUE),
            "Requests that wait while every instance is full, in the order in which they came.",
        )
        .default("{}"),
    ],
    one_of: &[],
};

/// `queue`.
pub(crate) const QUEUE: Section = Section {
    description: "Requests that wait while every instance is full.",
    fields: &[
        Field::new(
            "length",
            Kind::Whole {
                min: 0,
                max: 1_000_000,
            },
            "How many wait; further ones are answered with 503 and Retry-After.",
        )
        .default("1000"),
        Field::new(
            "wait",
            Kind::Text(&DURATION),
            "How long one waits, within a tenth of a second; it is then answered in the same way.",
        )
        .default("\"10s\""),
    ],
    one_of: &[],
};
