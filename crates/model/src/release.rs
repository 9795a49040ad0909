//! What a release is made of.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{ProgramTls, ReleaseDatabase, ReleaseId};

/// A SHA-256 digest, printed as 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

/// A text that is no digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no SHA-256 digest")]
pub struct DigestError(pub String);

impl Digest {
    /// Checks and wraps a printed digest.
    ///
    /// # Errors
    ///
    /// [`DigestError`] when the text is not 64 lower-case hexadecimal digits.
    pub fn try_new(hex: &str) -> Result<Self, DigestError> {
        let digits = hex
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if hex.len() == 64 && digits {
            Ok(Self(hex.to_owned()))
        } else {
            Err(DigestError(hex.to_owned()))
        }
    }

    /// The 64 digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;

    fn try_from(hex: String) -> Result<Self, DigestError> {
        Self::try_new(&hex)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A command line, already split; no shell ever sees it.
///
/// `$NAME` and `${NAME}` in its words stand for environment variables of the
/// instance and are replaced when it starts; `$$` stands for a dollar sign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Argv(pub Vec<String>);

/// Which port an instance listens on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Port {
    /// One is assigned and given as `$PORT`.
    Assigned,
    /// Always this one, also given as `$PORT`; such a service has one instance at a time.
    Fixed(u16),
    /// None: the service takes part in rollouts without traffic.
    None,
}

/// What a program speaks on its port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2 in the clear, from the first byte.
    H2c,
    /// HTTP/1.1 over TLS.
    Https,
    /// HTTP/2 over TLS.
    H2,
}

impl Protocol {
    /// True for what every program speaks that says nothing else.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// True if one connection carries many requests.
    #[must_use]
    pub fn is_http2(self) -> bool {
        match self {
            Self::H2c | Self::H2 => true,
            Self::Http1 | Self::Https => false,
        }
    }

    /// True if it is spoken over TLS.
    #[must_use]
    pub fn is_secured(self) -> bool {
        match self {
            Self::Https | Self::H2 => true,
            Self::Http1 | Self::H2c => false,
        }
    }
}

/// How an instance's health is found out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// What is asked.
    pub probe: Probe,
    /// The time between two probes of a ready instance.
    pub every: Duration,
    /// How long one probe may take.
    pub timeout: Duration,
    /// Passes in a row that make an instance ready.
    pub rise: u32,
    /// Failures in a row that make a ready instance unhealthy.
    pub fall: u32,
}

/// One question about an instance's health.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Probe {
    /// `GET path` on its port.
    Http {
        /// The path with its query.
        path: String,
        /// The status that passes; `None`: any from 200 to 399.
        status: Option<u16>,
        /// A text that the body must contain.
        body: Option<String>,
        /// The header of the answer, in lower case, in which the program says the weight that
        /// the instance has among the others; `None`: all are equal.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        weight: Option<String>,
    },
    /// `grpc.health.v1.Health/Check` on its port.
    Grpc {
        /// The service that must be serving; empty: the whole program.
        service: String,
    },
    /// A TCP connection to its port.
    Tcp,
    /// A program in its directory and environment, which must exit with 0.
    Exec(Argv),
}

impl Probe {
    /// True if the answer says what weight the instance has.
    #[must_use]
    pub fn is_weighing(&self) -> bool {
        match self {
            Self::Http { weight, .. } => weight.is_some(),
            Self::Grpc { .. } | Self::Tcp | Self::Exec(_) => false,
        }
    }
}

/// How a program is stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// The signal's number, SIGTERM by default.
    pub signal: i32,
    /// The time between the signal and SIGKILL.
    pub grace: Duration,
}

/// Resource limits of one instance; `None`: not limited by us.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Memory in bytes.
    pub memory_bytes_max: Option<u64>,
    /// Processor time in thousandths of one core.
    pub cpu_millis_max: Option<u32>,
    /// Processes and threads.
    pub processes_max: Option<u32>,
    /// Open files.
    pub files_max: Option<u64>,
}

/// A secret as a release holds it: never its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// The version the release was made with.
    pub version: u32,
}

/// Everything that identifies a release: equal content is the same release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseSpec {
    /// The stored artefact.
    pub artifact: Digest,
    /// What is run.
    pub run: Argv,
    /// Which port the program listens on.
    pub port: Port,
    /// What it speaks there.
    #[serde(default, skip_serializing_if = "Protocol::is_default")]
    pub protocol: Protocol,
    /// What it must prove there, if that is over TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program_tls: Option<ProgramTls>,
    /// Plain environment variables.
    pub env: BTreeMap<String, String>,
    /// Secrets and their versions, by name.
    pub secrets: BTreeMap<String, Secret>,
    /// How readiness and liveness are found out; `None`: running is ready.
    pub health: Option<Health>,
    /// How long anything may take once an instance is drained.
    pub drain: Duration,
    /// The same by what it is, where that differs; the longest of them is `drain`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain_limits: Option<Drain>,
    /// How the program is stopped.
    pub stop: Stop,
    /// The user the program runs as; `None`: the server's own.
    pub user: Option<String>,
    /// Resource limits.
    pub limits: Limits,
    /// The database that it works with.
    #[serde(default)]
    pub database: Option<ReleaseDatabase>,
}

impl ReleaseSpec {
    /// How long what is open may take once an instance is drained.
    #[must_use]
    pub fn drains(&self) -> Drain {
        self.drain_limits.unwrap_or(Drain::all(self.drain))
    }
}

/// What carries what is open at an instance, as far as its end depends on that.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Carrier {
    /// A request with its response, or a connection of a TCP service.
    #[default]
    Request,
    /// A connection that speaks another protocol since: a WebSocket.
    Websocket,
    /// A response without an end of its own: a stream of events, or a request of gRPC.
    Stream,
}

/// How long what is open may take once an instance is drained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    /// Requests, and connections of TCP services.
    pub requests: Duration,
    /// WebSockets and whatever else a connection was upgraded to.
    pub websockets: Duration,
    /// Streams of events, and requests of gRPC.
    pub streams: Duration,
}

impl Drain {
    /// The same for all.
    #[must_use]
    pub const fn all(limit: Duration) -> Self {
        Self {
            requests: limit,
            websockets: limit,
            streams: limit,
        }
    }

    /// For one kind.
    #[must_use]
    pub const fn of(&self, carrier: Carrier) -> Duration {
        match carrier {
            Carrier::Request => self.requests,
            Carrier::Websocket => self.websockets,
            Carrier::Stream => self.streams,
        }
    }

    /// When everything is over.
    #[must_use]
    pub fn longest(&self) -> Duration {
        self.requests.max(self.websockets).max(self.streams)
    }

    /// What is left of each after `passed`.
    #[must_use]
    pub fn after(&self, passed: Duration) -> Self {
        Self {
            requests: self.requests.saturating_sub(passed),
            websockets: self.websockets.saturating_sub(passed),
            streams: self.streams.saturating_sub(passed),
        }
    }
}

/// A release under its number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Its number within the service.
    pub id: ReleaseId,
    /// The digest of its specification.
    pub digest: Digest,
    /// A free label, outside the identity.
    pub label: Option<String>,
    /// What it is made of.
    pub spec: ReleaseSpec,
}
