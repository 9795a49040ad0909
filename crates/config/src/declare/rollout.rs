//! `[service.NAME.rollout]` and the tables within it.

use super::Speech::Http;
use super::StrategyName::{BlueGreen, Canary, Rolling};
use super::{Field, Kind, Section};
use crate::form::{
    AFFINITY, BOUND, COOKIE_NAME, DURATION, FIELD, HEADER_NAME, MATCH_VALUE, METHOD, METRIC,
    ON_FAIL, ON_NO_DATA, PREVIEW_HOST, SHARE, SIZE, SPAN_OF_TIME, STICK, STRATEGY,
};

/// `[service.NAME.rollout]`.
pub(crate) const ROLLOUT: Section = Section {
    description: "How a new release replaces the old one.",
    fields: &[
        Field::new(
            "strategy",
            Kind::Text(&STRATEGY),
            "rolling: instance by instance; blue_green: a whole second set and one switch; \
             canary: traffic in steps; recreate: stop the old, then start the new.",
        )
        .default("\"rolling\""),
        Field::new(
            "surge",
            Kind::Count,
            "Instances above `replicas` while it rolls, rounded up.",
        )
        .default("1")
        .only(&[Rolling]),
        Field::new(
            "max_unavailable",
            Kind::Count,
            "Instances below `replicas` while it rolls, rounded down.",
        )
        .default("0")
        .only(&[Rolling]),
        Field::new(
            "batch",
            Kind::Count,
            "The most instances replaced at a time.",
        )
        .optional("as many as `surge` and `max_unavailable` allow")
        .only(&[Rolling]),
        Field::new(
            "steps",
            Kind::Tables(&STEP),
            "What the new release gets one after the other before it gets all traffic: \
             shares of it, or copies that it answers to nobody.",
        )
        .optional("none")
        .only(&[Canary, BlueGreen]),
        Field::new(
            "keep",
            Kind::Text(&DURATION),
            "How long the old set stays warm after the switch.",
        )
        .default("\"5m\"")
        .only(&[BlueGreen]),
        Field::new(
            "preview",
            Kind::Table(&PREVIEW),
            "Which requests reach the new set before the switch.",
        )
        .optional("none")
        .only(&[BlueGreen])
        .spoken(Http),
        Field::new(
            "smoke",
            Kind::Command,
            "Command that must exit with 0 before the switch; $GAPLESS_PREVIEW_URL leads to the new set.",
        )
        .optional("none")
        .only(&[BlueGreen]),
        Field::new(
            "approve",
            Kind::Flag,
            "Whether a person must approve the switch.",
        )
        .default("false")
        .only(&[BlueGreen]),
        Field::new(
            "min_ready",
            Kind::Text(&DURATION),
            "How long an instance must have been ready before it counts.",
        )
        .default("\"0s\""),
        Field::new(
            "deadline",
            Kind::Text(&SPAN_OF_TIME),
            "How long a rollout may go without progress; time held or at a gate does not count.",
        )
        .default("\"10m\""),
        Field::new(
            "affinity",
            Kind::Text(&AFFINITY),
            "What keeps one user on one release: \"cookie\", \"client\" (the address) or \"header:NAME\".",
        )
        .optional("nothing")
        .traffic(),
        Field::new(
            "stick",
            Kind::Text(&STICK),
            "\"instance\": a user also stays with one instance until it drains.",
        )
        .optional("to the release only")
        .needs("affinity")
        .traffic(),
        Field::new(
            "checks",
            Kind::Tables(&CHECK),
            "Conditions that the new release must meet.",
        )
        .default("[]")
        .traffic(),
        Field::new(
            "min_requests",
            Kind::Whole {
                min: 1,
                max: 1_000_000_000,
            },
            "Requests that each release must have had before a check may pass or fail.",
        )
        .default("100")
        .traffic(),
        Field::new(
            "on_fail",
            Kind::Text(&ON_FAIL),
            "What follows a failed check, a crash loop or a missed deadline.",
        )
        .default("\"rollback\""),
        Field::new(
            "on_no_data",
            Kind::Text(&ON_NO_DATA),
            "What follows a step that ends without enough requests.",
        )
        .default("\"hold\"")
        .traffic(),
        Field::new(
            "before",
            Kind::Command,
            "Job run once in the new release before its first instance; its failure leaves the old release.",
        )
        .optional("none"),
        Field::new(
            "after",
            Kind::Command,
            "Job run once in the new release when it has all traffic.",
        )
        .optional("none"),
        Field::new(
            "job_timeout",
            Kind::Text(&SPAN_OF_TIME),
            "How long each of these jobs may take.",
        )
        .default("\"10m\""),
    ],
    one_of: &[],
};

/// An element of `steps`.
pub(crate) const STEP: Section = Section {
    description: "One step before the new release gets all traffic.",
    fields: &[
        Field::new(
            "weight",
            Kind::Text(&SHARE),
            "Share of traffic that the new release gets (canary only).",
        )
        .optional("that of the step before, at first nothing"),
        Field::new(
            "for",
            Kind::Text(&DURATION),
            "How long the step lasts at least.",
        )
        .default("\"0s\""),
        Field::new(
            "approve",
            Kind::Flag,
            "Whether a person must approve leaving the step.",
        )
        .default("false"),
        Field::new(
            "audience",
            Kind::Table(&AUDIENCE),
            "Requests that the new release gets beside its share (canary only).",
        )
        .optional("none")
        .spoken(Http),
        Field::new(
            "shadow",
            Kind::Table(&SHADOW),
            "Copies of the old release's requests for the new one, which answers nobody.",
        )
        .optional("none")
        .spoken(Http),
        Field::new(
            "compare",
            Kind::Table(&COMPARE),
            "Requests that both releases are asked again, to compare what nobody sees.",
        )
        .optional("nothing is compared")
        .spoken(Http),
    ],
    one_of: &[],
};

/// `shadow` of a step.
pub(crate) const SHADOW: Section = Section {
    description: "Copies of the old release's requests, marked by the header `Gapless-Shadow`.",
    fields: &[
        Field::new(
            "share",
            Kind::Text(&SHARE),
            "Share of the old release's requests that are copied.",
        )
        .required("\"10%\""),
        Field::new(
            "methods",
            Kind::List(&METHOD),
            "Methods of the requests that are copied. What a copy changes is changed twice.",
        )
        .optional("GET, HEAD and OPTIONS"),
        Field::new(
            "body_max",
            Kind::Text(&SIZE),
            "The longest body of a request that is copied, at most 1MiB.",
        )
        .default("\"64KiB\""),
    ],
    one_of: &[],
};

/// `compare` of a step.
pub(crate) const COMPARE: Section = Section {
    description: "Requests that the old release is asked twice more and the new one once; what \
                  differs between the old answers is noise.",
    fields: &[
        Field::new(
            "share",
            Kind::Text(&SHARE),
            "Share of the old release's GET, HEAD and OPTIONS requests that are compared.",
        )
        .required("\"5%\""),
        Field::new(
            "samples",
            Kind::Whole {
                min: 1,
                max: 1_000_000,
            },
            "Requests that must have been compared before the step may pass.",
        )
        .default("500"),
        Field::new(
            "at_most",
            Kind::Text(&SHARE),
            "Share of the compared requests that may differ; more of them fail the step at once.",
        )
        .default("\"0.1%\""),
        Field::new(
            "headers",
            Kind::List(&HEADER_NAME),
            "Headers that are compared beside status and body.",
        )
        .optional("none"),
        Field::new(
            "ignore",
            Kind::List(&FIELD),
            "Fields that may differ, with all within them, as reports name them.",
        )
        .optional("none"),
        Field::new(
            "body_max",
            Kind::Text(&SIZE),
            "The longest body that is kept, at most 1MiB; a longer answer is compared as a whole.",
        )
        .default("\"64KiB\""),
    ],
    one_of: &[],
};

/// An element of `checks`.
pub(crate) const CHECK: Section = Section {
    description: "A condition that the new release must meet.",
    fields: &[
        Field::new("metric", Kind::Text(&METRIC), "What is measured.").required("\"error_rate\""),
        Field::new(
            "max",
            Kind::Text(&BOUND),
            "Bound on the figure itself: a percentage for error_rate, a duration for latency.",
        )
        .optional("no bound"),
        Field::new(
            "max_delta",
            Kind::Text(&BOUND),
            "Bound on what the new release's figure may lie above the old one's.",
        )
        .optional("no bound"),
        Field::new(
            "max_ratio",
            Kind::Decimal {
                places: 2,
                min: 100,
                max: 100_000,
            },
            "Bound on the new release's figure divided by the old one's.",
        )
        .optional("no bound"),
    ],
    one_of: &[],
};

/// `audience` of a step.
pub(crate) const AUDIENCE: Section = Section {
    description: "Requests that carry this header or cookie, with `value` or among `percent`.",
    fields: &[
        Field::new("header", Kind::Text(&HEADER_NAME), "Name of a header."),
        Field::new("cookie", Kind::Text(&COOKIE_NAME), "Name of a cookie."),
        Field::new(
            "value",
            Kind::Text(&MATCH_VALUE),
            "Value that it must have; \"secret:NAME\" takes that secret's.",
        )
        .optional("none"),
        Field::new(
            "percent",
            Kind::Text(&SHARE),
            "Share of all values that belong, such as tenants; each rollout draws its own.",
        )
        .optional("none"),
    ],
    one_of: &[&["header", "cookie"], &["value", "percent"]],
};

/// `preview`.
pub(crate) const PREVIEW: Section = Section {
    description: "Requests that reach the new set before the switch.",
    fields: &[
        Field::new("header", Kind::Text(&HEADER_NAME), "Name of a header."),
        Field::new(
            "host",
            Kind::Text(&PREVIEW_HOST),
            "A host name that leads to the new set.",
        ),
        Field::new(
            "value",
            Kind::Text(&MATCH_VALUE),
            "Value that the header must have; \"secret:NAME\" takes that secret's.",
        )
        .optional("none")
        .needs("header"),
    ],
    one_of: &[&["header", "host"]],
};
