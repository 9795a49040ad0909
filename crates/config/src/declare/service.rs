//! `[service.NAME]` and the tables within it, save the rollout.

use super::Speech::{Http, Tcp};
use super::drain::DRAIN;
use super::endpoint_limits::ENDPOINT_LIMITS;
use super::hedge::HEDGE;
use super::https::{HTTPS, PROGRAM_TLS};
use super::{Field, Kind, ROLLOUT, Section};
use crate::form::{
    ADDRESS, BALANCE, DURATION, GRPC_SERVICE, HEADER_NAME, HOST, HTTP_PATH, PATH, PROTOCOL,
    PROXY_PROTOCOL, SECRET_NAME, SERVICE_NAME, SHARE, SIGNAL, SIZE, SPAN_OF_TIME, TEXT,
    VARIABLE_NAME,
};

/// `[service.NAME]`.
pub(crate) const SERVICE: Section = Section {
    description: "One program: what its releases are made of, and the policy that is in force at once.",
    fields: &[
        Field::new(
            "artifact",
            Kind::Text(&TEXT),
            "File or directory that is copied into each release, relative to this file.",
        )
        .required("\"dist\""),
        Field::new(
            "run",
            Kind::Command,
            "Command that starts an instance in the release's directory; $PORT and names of the \
             environment are replaced, no shell is involved.",
        )
        .required("\"./bin/web --port $PORT\""),
        Field::new(
            "port",
            Kind::Port,
            "A number: the program always listens there; false: it takes no requests.",
        )
        .optional("one is assigned and given as $PORT"),
        Field::new(
            "protocol",
            Kind::Text(&PROTOCOL),
            "What the program speaks on its port: HTTP/1.1, HTTP/2 in the clear from the first byte \
             (h2c, as gRPC does), HTTP/1.1 over TLS (https), or HTTP/2 over TLS (h2). Part of a \
             release: any may follow the other.",
        )
        .default("\"http1\"")
        .spoken(Http),
        Field::new(
            "program_tls",
            Kind::Table(&PROGRAM_TLS),
            "What a program that speaks over TLS must prove on each connection, those of its probes \
             included; required with `protocol` \"https\" and \"h2\". Part of a release.",
        )
        .optional("the program does not speak over TLS")
        .traffic(),
        Field::new(
            "replicas",
            Kind::Whole { min: 1, max: 1_000 },
            "Instances that run at a time.",
        )
        .default("1"),
        Field::new(
            "hosts",
            Kind::List(&HOST),
            "Host names whose requests lead here.",
        )
        .optional("any host")
        .spoken(Http),
        Field::new(
            "paths",
            Kind::List(&PATH),
            "Path prefixes whose requests lead here, by whole segments.",
        )
        .optional("any path")
        .spoken(Http),
        Field::new(
            "internal",
            Kind::Flag,
            "Whether only the project's other services reach it, at their GAPLESS_URL_NAME.",
        )
        .default("false")
        .spoken(Http),
        Field::new(
            "tcp",
            Kind::Text(&ADDRESS),
            "Address on which TCP connections are accepted: each is one request, and whatever it \
             carries is brought to an instance and back as it is.",
        )
        .optional("clients speak HTTP")
        .traffic(),
        Field::new(
            "tcp_proxy_protocol",
            Kind::Flag,
            "Whether each of these connections begins with a PROXY protocol header (version 1 or 2) \
             that names the client; only peers in `trusted` may connect then.",
        )
        .default("false")
        .needs("tcp")
        .spoken(Tcp),
        Field::new(
            "health",
            Kind::Table(&HEALTH),
            "How it is found out that an instance is ready and stays so; required with a port.",
        )
        .optional("an instance that runs is ready"),
        Field::new(
            "drain",
            Kind::Either(&DURATION, &DRAIN),
            "How long open requests may take once an instance gets no new ones; as a table, by \
             what they are. WebSockets and streams are told goodbye in the last quarter of it.",
        )
        .default("\"30s\"")
        .traffic(),
        Field::new("stop", Kind::Table(&STOP), "How an instance is stopped.").default("{}"),
        Field::new(
            "env",
            Kind::Map(&VARIABLE_NAME),
            "Environment variables of the program, beside PATH, HOME, LANG, TMPDIR, PORT and DATA.",
        )
        .default("{}"),
        Field::new(
            "secrets",
            Kind::List(&SECRET_NAME),
            "Names of the secrets that the program gets as environment variables; \
             `gapless secret set` sets their values.",
        )
        .default("[]"),
        Field::new(
            "database",
            Kind::Text(&SERVICE_NAME),
            "Database that it works with: its migrations come before each release that needs \
             them, and its instances see the version that they were made for.",
        )
        .optional("none that is migrated with its releases"),
        Field::new("user", Kind::Text(&TEXT), "User that the program runs as.")
            .optional("the server's own"),
        Field::new(
            "limits",
            Kind::Table(&LIMITS),
            "Resources that one instance may use.",
        )
        .default("{}"),
        Field::new(
            "after",
            Kind::List(&SERVICE_NAME),
            "Services whose rollout in the same deploy must have ended before this one begins.",
        )
        .default("[]"),
        Field::new(
            "lockstep",
            Kind::Flag,
            "Whether it is promoted and aborted together with the deploy's other lockstep services.",
        )
        .default("false"),
        Field::new(
            "proxy",
            Kind::Table(&PROXY),
            "Bounds that the proxy puts on requests.",
        )
        .default("{}")
        .traffic(),
        Field::new(
            "https",
            Kind::Table(&HTTPS),
            "What HTTPS means for this service.",
        )
        .default("{}")
        .spoken(Http),
        Field::new(
            "rollout",
            Kind::Table(&ROLLOUT),
            "How a new release replaces the old one.",
        )
        .default("{}"),
    ],
    one_of: &[],
};

/// `health`.
pub(crate) const HEALTH: Section = Section {
    description: "How it is found out that an instance is ready and stays so.",
    fields: &[
        Field::new(
            "http",
            Kind::Text(&HTTP_PATH),
            "Path that must answer a GET on the instance's port.",
        ),
        Field::new(
            "grpc",
            Kind::Text(&GRPC_SERVICE),
            "gRPC service that must be SERVING by grpc.health.v1.Health on the instance's port; \"\" \
             asks for the program as a whole.",
        ),
        Field::new(
            "tcp",
            Kind::Present,
            "Whether a connection to the instance's port is enough.",
        ),
        Field::new(
            "exec",
            Kind::Command,
            "Command that must exit with 0 in the instance's directory and environment.",
        ),
        Field::new(
            "status",
            Kind::Whole { min: 100, max: 599 },
            "Status that the answer must have.",
        )
        .optional("200 to 399")
        .needs("http"),
        Field::new(
            "body",
            Kind::Text(&TEXT),
            "Text that the answer's body must contain.",
        )
        .optional("any")
        .needs("http"),
        Field::new(
            "weight",
            Kind::Text(&HEADER_NAME),
            "Header of the answer in which an instance says how many requests it takes beside the \
             others of its release: 1 to 100, without the header 1.",
        )
        .optional("instances are equal")
        .needs("http"),
        Field::new(
            "every",
            Kind::Text(&SPAN_OF_TIME),
            "Time between two probes of an instance that is ready.",
        )
        .default("\"1s\""),
        Field::new(
            "timeout",
            Kind::Text(&SPAN_OF_TIME),
            "How long one probe may take.",
        )
        .default("\"1s\""),
        Field::new(
            "rise",
            Kind::Whole { min: 1, max: 1_000 },
            "Passes in a row that make an instance ready.",
        )
        .default("2"),
        Field::new(
            "fall",
            Kind::Whole { min: 1, max: 1_000 },
            "Failures in a row that make a ready instance unhealthy.",
        )
        .default("3"),
    ],
    one_of: &[&["http", "grpc", "tcp", "exec"]],
};

/// `stop`.
pub(crate) const STOP: Section = Section {
    description: "How an instance is stopped, once it has no requests any more.",
    fields: &[
        Field::new(
            "signal",
            Kind::Text(&SIGNAL),
            "Signal that asks the program to end.",
        )
        .default("\"SIGTERM\""),
        Field::new(
            "grace",
            Kind::Text(&DURATION),
            "Time between that signal and SIGKILL.",
        )
        .default("\"10s\""),
    ],
    one_of: &[],
};

/// `limits`.
pub(crate) const LIMITS: Section = Section {
    description: "Resources that one instance may use.",
    fields: &[
        Field::new("memory", Kind::Text(&SIZE), "Memory.").optional("not limited"),
        Field::new(
            "cpu",
            Kind::Decimal {
                places: 3,
                min: 1,
                max: 1_024_000,
            },
            "Processor cores.",
        )
        .optional("not limited"),
        Field::new(
            "processes",
            Kind::Whole {
                min: 1,
                max: 4_194_304,
            },
            "Processes and threads.",
        )
        .optional("not limited"),
        Field::new(
            "files",
            Kind::Whole {
                min: 16,
                max: 1_073_741_816,
            },
            "Open files.",
        )
        .optional("not limited"),
    ],
    one_of: &[],
};

/// `proxy`.
pub(crate) const PROXY: Section = Section {
    description: "Bounds that the proxy puts on requests.",
    fields: &[
        Field::new("body_max", Kind::Text(&SIZE), "The largest request body.")
            .default("\"1GiB\"")
            .spoken(Http),
        Field::new(
            "wait_ready",
            Kind::Text(&DURATION),
            "How long a request may wait for a first ready instance.",
        )
        .default("\"10s\""),
        Field::new(
            "connect_timeout",
            Kind::Text(&SPAN_OF_TIME),
            "How long a connection to an instance may take.",
        )
        .default("\"2s\""),
        Field::new(
            "response_timeout",
            Kind::Text(&SPAN_OF_TIME),
            "How long an instance may be silent before its response begins.",
        )
        .default("\"60s\"")
        .spoken(Http),
        Field::new(
            "idle_timeout",
            Kind::Text(&SPAN_OF_TIME),
            "How long either side may be silent within a body.",
        )
        .default("\"60s\"")
        .spoken(Http),
        Field::new(
            "tcp_idle",
            Kind::Text(&SPAN_OF_TIME),
            "How long a TCP connection may carry nothing either way.",
        )
        .optional("as long as both ends are there, which the kernel asks them each minute")
        .spoken(Tcp),
        Field::new(
            "stream_idle",
            Kind::Text(&SPAN_OF_TIME),
            "How long a stream of events (text/event-stream), or a request of gRPC, may be silent: \
             instead of idle_timeout and, for gRPC, response_timeout, where it is longer.",
        )
        .default("\"1h\"")
        .spoken(Http),
        Field::new(
            "balance",
            Kind::Text(&BALANCE),
            "How instances are chosen among: p2c: of two drawn at random the one with fewer open \
             requests; round_robin; least_requests; peak_ewma: of two the quicker one; hash: the \
             same one for the same client, header or cookie, while it has no far greater load.",
        )
        .default("\"p2c\""),
        Field::new(
            "slow_start",
            Kind::Text(&DURATION),
            "How long a new instance takes until it gets as many requests as the others; a sole \
             one gets all at once.",
        )
        .default("\"0s\""),
        Field::new(
            "ejection",
            Kind::Table(&EJECTION),
            "When an instance that fails requests gets none for a while; it stays ready for \
             rollouts.",
        )
        .optional("never"),
        Field::new(
            "retry_budget",
            Kind::Text(&SHARE),
            "Requests that may be sent again after a failed attempt, as a share of those of the \
             last ten seconds; ten are free. Counted by each proxy thread.",
        )
        .default("\"100%\"")
        .spoken(Http),
        Field::new(
            "proxy_protocol",
            Kind::Text(&PROXY_PROTOCOL),
            "\"v1\" or \"v2\": connections to the program begin with a PROXY protocol header that \
             names the client, and carry one request each.",
        )
        .optional("no such header"),
        Field::new(
            "limits",
            Kind::Table(&ENDPOINT_LIMITS),
            "The most that each instance is given at a time; further requests wait in a queue.",
        )
        .optional("not limited"),
        Field::new(
            "deadline",
            Kind::Table(&DEADLINE),
            "How long a request may take, beside the bounds of its parts; where it is given, the \
             time in a request's grpc-timeout bounds it further.",
        )
        .optional("as long as its parts may")
        .spoken(Http),
        Field::new(
            "hedge",
            Kind::Table(&HEDGE),
            "When an idempotent request without a body is sent to a second instance of its release \
             because the first is slow; the first answer is taken, the other attempt cancelled.",
        )
        .optional("never")
        .spoken(Http),
    ],
    one_of: &[],
};

/// `deadline`.
pub(crate) const DEADLINE: Section = Section {
    description: "How long a request may take, within a tenth of a second.",
    fields: &[
        Field::new(
            "try",
            Kind::Text(&SPAN_OF_TIME),
            "From the request sent whole to the first byte of the response. An \
             idempotent request whose body is at most 16 KiB is then sent to another instance, \
             within the retry budget; others are answered with 504.",
        )
        .optional("not limited"),
        Field::new(
            "total",
            Kind::Text(&SPAN_OF_TIME),
            "From the request's arrival to the end of its response, waits and further attempts \
             included; time in a pause, WebSockets and event streams are not. Then 504, or, \
             where the response has begun, its abort.",
        )
        .optional("not limited"),
    ],
    one_of: &[],
};

/// `ejection`.
pub(crate) const EJECTION: Section = Section {
    description: "When an instance that fails requests gets none for a while.",
    fields: &[
        Field::new(
            "failures",
            Kind::Whole { min: 1, max: 1_000 },
            "Failures in a row that eject it: no connection, no whole response, 502, 503 or 504.",
        )
        .default("5"),
        Field::new(
            "for",
            Kind::Text(&SPAN_OF_TIME),
            "How long it gets no requests the first time; each further time lasts longer.",
        )
        .default("\"10s\""),
        Field::new(
            "max",
            Kind::Text(&SHARE),
            "Share of a release's instances that are ejected at a time, at most; a sole one never is.",
        )
        .default("\"50%\""),
        Field::new(
            "panic",
            Kind::Text(&SHARE),
            "When more than this share is ejected, all are used.",
        )
        .default("\"50%\""),
    ],
    one_of: &[],
};
