//! The top of the file and `[server]`.

use super::database::DATABASE;
use super::https::TLS;
use super::{Field, Kind, SERVICE, Section};
use crate::form::{ADDRESS, NETWORK, PORTS, SERVICE_NAME, SHARE, SIZE};

/// The whole file.
pub(crate) const PROJECT: Section = Section {
    description: "A project: its services, how they are run and how new releases reach their users.",
    fields: &[
        Field::new(
            "version",
            Kind::Whole { min: 1, max: 1 },
            "Version of this file's format.",
        )
        .required("1"),
        Field::new("project", Kind::Text(&SERVICE_NAME), "Name of the project.")
            .required("\"shop\""),
        Field::new("server", Kind::Table(&SERVER), "The server as a whole.").default("{}"),
        Field::new(
            "service",
            Kind::Services(&SERVICE),
            "The programs of the project, by name.",
        )
        .required("{ web = { … } }"),
        Field::new(
            "database",
            Kind::Databases(&DATABASE),
            "The databases that services name, by name.",
        )
        .optional("none"),
    ],
    one_of: &[],
};

/// `[server]`.
pub(crate) const SERVER: Section = Section {
    description: "Addresses and limits of the server as a whole.",
    fields: &[
        Field::new(
            "http",
            Kind::Text(&ADDRESS),
            "Address on which requests are accepted.",
        )
        .default("\"127.0.0.1:8080\""),
        Field::new(
            "https",
            Kind::Text(&ADDRESS),
            "Address on which requests over TLS are accepted.",
        )
        .optional("no TLS")
        .needs("tls"),
        Field::new(
            "tls",
            Kind::Table(&TLS),
            "What the HTTPS listener identifies itself with.",
        )
        .optional("no certificates")
        .needs("https"),
        Field::new(
            "keep_releases",
            Kind::Whole { min: 1, max: 1_000 },
            "Releases kept of each service, beside the active and the previous one.",
        )
        .default("10"),
        Field::new(
            "ports",
            Kind::Text(&PORTS),
            "Ports that are assigned to instances, both ends included.",
        )
        .default("\"20000-29999\""),
        Field::new(
            "trusted",
            Kind::List(&NETWORK),
            "Proxies in front whose X-Forwarded-*, Forwarded, X-Real-IP and X-Request-Id are \
             believed; from anyone else these are replaced.",
        )
        .default("[]"),
        Field::new(
            "proxy_protocol",
            Kind::Flag,
            "Whether each connection begins with a PROXY protocol header (version 1 or 2) that \
             names the client; only peers in `trusted` may connect then.",
        )
        .default("false"),
        Field::new(
            "trace_sampled",
            Kind::Text(&SHARE),
            "Share of the W3C traces begun here that are marked to be recorded; a valid \
             traceparent is passed on as it came.",
        )
        .default("\"0%\""),
        Field::new(
            "connections_per_client",
            Kind::Whole {
                min: 1,
                max: 1_000_000,
            },
            "Connections that one client address may have at a time; an IPv6 client's is its /64 \
             network. More are answered 503. Loopback and trusted proxies bring the connections \
             of many and are not counted.",
        )
        .default("1024"),
        Field::new(
            "access_log",
            Kind::Table(&ACCESS_LOG),
            "A line of JSON for each request, that says who ended it in which phase.",
        )
        .optional("no access log"),
    ],
    one_of: &[],
};

/// `access_log` of `[server]`.
pub(crate) const ACCESS_LOG: Section = Section {
    description: "What is kept of the access log, in STATE/access.",
    fields: &[
        Field::new(
            "file_max",
            Kind::Text(&SIZE),
            "Size at which a file is followed by the next.",
        )
        .default("\"64MiB\""),
        Field::new("files", Kind::Whole { min: 2, max: 1_000 }, "Files kept.").default("4"),
        Field::new(
            "query",
            Kind::Flag,
            "Whether queries are written down: they often hold secrets.",
        )
        .default("false"),
    ],
    one_of: &[],
};
