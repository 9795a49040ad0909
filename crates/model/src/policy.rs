//! The policy of a service: in force at once, never moved back.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Argv, Deadline, EndpointLimits, HttpsPolicy, ServiceName, Shadow, Share};

/// Everything about a service that is no part of its releases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Instances of the active release, at least 1.
    pub replicas: u32,
    /// Host names that lead here, `*.example.com` allowed; empty: any host.
    pub hosts: Vec<String>,
    /// Path prefixes that lead here, by whole segments; empty: any path.
    pub paths: Vec<String>,
    /// Whose requests lead here at all.
    #[serde(default)]
    pub reach: Reach,
    /// Where its clients connect if they speak something else than HTTP.
    #[serde(default)]
    pub tcp: Option<TcpEntrance>,
    /// Services whose rollout of the same deploy must have ended before this one begins.
    pub after: Vec<ServiceName>,
    /// Whether it is promoted and aborted together with the other lockstep services of a deploy.
    pub lockstep: bool,
    /// Bounds of the proxy.
    pub limits: ProxyLimits,
    /// What HTTPS means for it.
    #[serde(default)]
    pub https: HttpsPolicy,
    /// How requests are brought to the service's endpoints.
    #[serde(default)]
    pub delivery: Delivery,
    /// How a new release is rolled out.
    pub rollout: RolloutPolicy,
}

/// Where the clients of a TCP service connect: each connection is one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TcpEntrance {
    /// The address.
    pub address: SocketAddr,
    /// Whether connections begin with a PROXY protocol header.
    pub proxy_protocol: bool,
}

/// Whose requests lead to a service.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// Everybody's, by host and path.
    #[default]
    Public,
    /// Those of the project's other services only, by its own address.
    Internal,
}

/// How requests are brought to a service's endpoints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Delivery {
    /// How endpoints are chosen among.
    pub balance: Balancing,
    /// How long a new endpoint takes until it gets as many requests as the others.
    pub slow_start: Duration,
    /// When an endpoint that fails gets no requests for a while; `None`: never.
    pub ejection: Option<Ejection>,
    /// How many requests may be sent again, as a share of all.
    pub retry_budget: Share,
    /// The PROXY protocol that the program's connections begin with; each then carries one
    /// request, since it is introduced as one client's.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// The most that each endpoint is given at a time; `None`: as much as comes.
    pub limits: Option<EndpointLimits>,
    /// How long a request may take; `None`: as long as its parts may.
    pub deadline: Option<Deadline>,
    /// When a request that is not answered gets a second attempt beside the first; `None`: never.
    pub hedge: Option<Hedge>,
}

impl Default for Delivery {
    fn default() -> Self {
        Self {
            balance: Balancing::P2c,
            slow_start: Duration::ZERO,
            ejection: None,
            retry_budget: Share::ALL,
            proxy_protocol: None,
            limits: None,
            deadline: None,
            hedge: None,
        }
    }
}

/// When a request that is not answered gets a second attempt beside the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hedge {
    /// After how long.
    pub after: HedgeAfter,
    /// How many requests may get one, as a share of all.
    pub share: Share,
}

/// After how long a request gets a second attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HedgeAfter {
    /// As long as so many of a hundred requests take at most.
    Percent(u8),
    /// This.
    Time(Duration),
}

/// How endpoints are chosen among.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Balancing {
    /// Of two drawn at random, the one with fewer open requests.
    P2c,
    /// One after the other.
    RoundRobin,
    /// The one with the fewest open requests.
    LeastRequests,
    /// Of two drawn at random, the one that is quicker for what it has open.
    PeakEwma,
    /// The same one for the same key, unless it has far more than the others.
    Hash(HashKey),
}

/// What requests are told apart by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HashKey {
    /// The value of a header, by its lower-case name.
    Header(String),
    /// The value of a cookie.
    Cookie(String),
    /// The client's address.
    Client,
}

/// When an endpoint that fails gets no requests for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ejection {
    /// Failures in a row that eject it.
    pub failures: u32,
    /// How long the first time; each further one lasts longer.
    pub lasts: Duration,
    /// The share of a release's endpoints that are ejected at a time, at most.
    pub max_share: Share,
    /// When more than this share is ejected, all are used.
    pub panic_share: Share,
}

/// A version of the PROXY protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProxyProtocol {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// Bounds of the proxy for one service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyLimits {
    /// The largest request body in bytes.
    pub body_bytes_max: u64,
    /// How long a request may wait for a first ready endpoint.
    pub wait_ready: Duration,
    /// How long a connection to an endpoint may take.
    pub connect_timeout: Duration,
    /// How long an endpoint may be silent before its response begins.
    pub response_timeout: Duration,
    /// How long either side may be silent within a body.
    pub idle_timeout: Duration,
    /// How long a stream of events, or one of gRPC, may be silent.
    #[serde(default = "stream_idle")]
    pub stream_idle: Duration,
    /// How long a TCP connection may carry nothing either way; `None`: as long as both ends are
    /// there.
    #[serde(default)]
    pub tcp_idle: Option<Duration>,
}

impl Default for ProxyLimits {
    fn default() -> Self {
        Self {
            body_bytes_max: 1 << 30,
            wait_ready: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(2),
            response_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(60),
            stream_idle: stream_idle(),
            tcp_idle: None,
        }
    }
}

fn stream_idle() -> Duration {
    Duration::from_secs(3_600)
}

/// How a new release is rolled out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutPolicy {
    /// The strategy with its own knobs.
    pub strategy: Strategy,
    /// How long an instance must have been ready before it counts.
    pub min_ready: Duration,
    /// How long a rollout may go without progress; held and gated time does not count.
    pub deadline: Duration,
    /// What keeps one user on one release.
    pub affinity: Option<Affinity>,
    /// Whether a user also stays with one instance until it drains.
    pub stick_to_instance: bool,
    /// Conditions on the new release.
    pub checks: Vec<Check>,
    /// Requests that each side of a comparison must have had before a check may pass or fail.
    pub min_requests: u64,
    /// What follows a failed check, a crash loop or a missed deadline.
    pub on_fail: OnFail,
    /// What follows a step that ends without enough data.
    pub on_no_data: OnNoData,
    /// A job run once before the first new instance.
    pub before: Option<Argv>,
    /// A job run once after the new release has all traffic.
    pub after: Option<Argv>,
    /// How long each of the two jobs may take.
    pub job_timeout: Duration,
}

/// A strategy and the knobs that only it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Replaces instances in batches.
    Rolling {
        /// Instances above `replicas`, rounded up.
        surge: Count,
        /// Instances below `replicas`, rounded down; not zero together with `surge`.
        max_unavailable: Count,
        /// The most instances replaced at a time; `None`: as many as the two above allow.
        batch: Option<Count>,
    },
    /// Starts a whole second set and switches once.
    BlueGreen(Blue),
    /// Moves traffic in steps, watched by checks.
    Canary {
        /// The steps in order, with growing weights; after the last one everything moves.
        steps: Vec<Step>,
    },
    /// Stops the old instances before the new ones start.
    Recreate,
}

/// The knobs of blue/green.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blue {
    /// How long the old set stays warm after the switch.
    pub keep: Duration,
    /// Who reaches the new set before the switch.
    pub preview: Option<Audience>,
    /// A command that must exit with 0 against the new set; it gets `$GAPLESS_PREVIEW_URL`.
    pub smoke: Option<Argv>,
    /// Whether a person must approve the switch.
    pub approve: bool,
    /// What comes before the switch, once the new set is proven: shadows, without any weight.
    #[serde(default)]
    pub steps: Vec<Step>,
}

/// One step of a canary, or one before the switch of blue/green.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The share of the new release.
    pub weight: Share,
    /// How long the step lasts at least.
    pub lasts: Duration,
    /// Whether a person must approve leaving it.
    pub approve: bool,
    /// Users added to the share.
    pub audience: Option<Audience>,
    /// Copies that the new release gets while the step lasts.
    #[serde(default)]
    pub shadow: Option<Shadow>,
}

/// Requests that belong together because of something they carry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Audience {
    /// A header with such a value.
    Header {
        /// The header's name, lower case.
        name: String,
        /// Which value.
        value: AudienceValue,
    },
    /// A cookie with such a value.
    Cookie {
        /// The cookie's name.
        name: String,
        /// Which value.
        value: AudienceValue,
    },
    /// A host name of its own (preview only).
    Host(String),
}

/// What a header or cookie must hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AudienceValue {
    /// This, as written in the file.
    Plain(String),
    /// What the secret of this name holds.
    Secret(String),
    /// Any of this share of all values, drawn anew by each rollout.
    Part(Share),
}

/// A number of instances, absolute or as a share of `replicas`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Count {
    /// So many.
    Absolute(u32),
    /// Such a share.
    Part(Share),
}

impl Count {
    /// The number for `replicas`, rounded up.
    #[must_use]
    pub fn up(self, replicas: u32) -> u32 {
        match self {
            Self::Absolute(count) => count,
            Self::Part(share) => share.of_count_up(replicas),
        }
    }

    /// The number for `replicas`, rounded down.
    #[must_use]
    pub fn down(self, replicas: u32) -> u32 {
        match self {
            Self::Absolute(count) => count,
            Self::Part(share) => share.of_count_down(replicas),
        }
    }
}

/// What keeps one user on one release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Affinity {
    /// A random id in a cookie of ours.
    Cookie,
    /// The value of a header, by its lower-case name.
    Header(String),
    /// The client's address.
    Client,
}

/// A condition on a metric of the new release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What is measured.
    pub metric: Metric,
    /// Its bounds, at least one; all must hold.
    pub limits: Vec<Limit>,
}

/// A built-in metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Failed requests in basis points of all.
    ErrorRate,
    /// The median latency in microseconds.
    LatencyP50,
    /// The 90th percentile of latency in microseconds.
    LatencyP90,
    /// The 95th percentile of latency in microseconds.
    LatencyP95,
    /// The 99th percentile of latency in microseconds.
    LatencyP99,
}

/// A bound on a metric, in the metric's own unit (see [`Metric`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// Not above this.
    Max(u64),
    /// Not more than this above the old release.
    MaxDelta(u64),
    /// Not more than this many hundredths of the old release's figure.
    MaxRatio(u32),
}

/// What follows a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFail {
    /// Back to the release it began from.
    Rollback,
    /// Freeze and call a person.
    Hold,
}

/// What follows missing data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnNoData {
    /// Wait for data, a promotion or an abort.
    Hold,
    /// Go on.
    Promote,
    /// Back to the release it began from.
    Rollback,
}
