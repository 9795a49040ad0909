//! The proxy's whole routing state.

use std::net::SocketAddr;
use std::time::Duration;

use model::{
    AccessLog, Affinity, CertificateFiles, ClientCertificates, Delivery, HttpsPolicy, InstanceId,
    Maintenance, Peers, ProgramTls, Protocol, ProxyLimits, ReleaseId, Revision, RolloutId,
    ServiceName, Share, Time, Weight,
};
use serde::{Deserialize, Serialize};

use crate::ShadowTable;

/// The proxy's whole routing state at one revision; replaced as a whole, never changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Its number; a thread never goes back to a smaller one.
    pub revision: Revision,
    /// What is listened on. Endpoints behind a listener come from its routes.
    pub listeners: Vec<Listener>,
    /// Whom of those that connect is believed.
    #[serde(default)]
    pub peers: Peers,
    /// The access log, if there is to be one.
    #[serde(default)]
    pub access_log: Option<AccessLog>,
    /// The services, in the order of their names.
    pub services: Vec<ServiceTable>,
    /// What HTTPS listeners identify themselves with, the first for clients that name no host.
    #[serde(default)]
    pub certificates: Vec<CertificateFiles>,
    /// What clients of HTTPS listeners identify themselves with; `None`: they are not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clients: Option<ClientCertificates>,
    /// The longest that anything may take once its instance is drained, so that a worker that
    /// leaves knows how long it may have to stay.
    #[serde(default)]
    pub drain: Duration,
}

/// An address that requests arrive at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// The address.
    pub address: SocketAddr,
    /// Who speaks there, and how.
    #[serde(default)]
    pub kind: ListenerKind,
    /// Whether connections begin with a PROXY protocol header.
    #[serde(default)]
    pub proxy_protocol: bool,
    /// Its routes; the most specific that matches is taken.
    pub routes: Vec<Route>,
}

/// Who speaks at a listener, and how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ListenerKind {
    /// Anybody, in the clear.
    #[default]
    Http,
    /// Anybody, over TLS.
    Https,
    /// Other services on this machine, in the clear.
    Internal,
    /// Anybody, in whatever protocol: each connection is one request.
    Tcp,
}

/// Host and path that lead to a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Which hosts.
    pub host: HostPattern,
    /// The path prefix by whole segments, `/` for all.
    pub path: String,
    /// The index in [`Table::services`].
    pub service: usize,
    /// The release that this route alone leads to, whatever the split (a preview).
    pub only: Option<ReleaseId>,
}

/// Which hosts a route takes, in lower case and without port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostPattern {
    /// Exactly this one.
    Exact(String),
    /// Every host below this domain: `example.com` for `*.example.com`.
    Below(String),
    /// Any.
    Any,
}

/// Everything about one service that a request needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceTable {
    /// Its name.
    pub name: ServiceName,
    /// The index of its figures in the ledger.
    pub cell: Cell,
    /// The release that has the rest of the traffic.
    pub stable: Candidate,
    /// The release that a rollout is moving to, if any share or audience is its already.
    pub candidate: Option<Candidate>,
    /// The candidate's share of the users (or of the requests, without affinity).
    pub share: Share,
    /// Mixed into the hash of a user, so that each rollout draws its own sample.
    pub rollout: Option<RolloutId>,
    /// What keeps one user on one release.
    pub affinity: Option<Affinity>,
    /// Whether a user also stays with one instance.
    pub stick_to_instance: bool,
    /// Requests that go to the candidate beside the share: any of these that matches.
    pub audiences: Vec<AudienceRule>,
    /// Bounds.
    pub limits: ProxyLimits,
    /// What HTTPS means for it.
    #[serde(default)]
    pub https: HttpsPolicy,
    /// How requests are brought to the endpoints.
    #[serde(default)]
    pub delivery: Delivery,
    /// While it lasts, new requests are held.
    #[serde(default)]
    pub paused: Option<Paused>,
    /// While it is closed, new requests are answered by the proxy.
    #[serde(default)]
    pub closed: Option<ServiceClosed>,
    /// The release that gets copies of requests and answers nobody.
    #[serde(default)]
    pub shadow: Option<ShadowTable>,
}

impl ServiceTable {
    /// A service all of whose requests go to one release, with the defaults of everything else.
    #[must_use]
    pub fn serving(name: ServiceName, cell: Cell, stable: Candidate) -> Self {
        Self {
            name,
            cell,
            stable,
            candidate: None,
            share: Share::NONE,
            rollout: None,
            affinity: None,
            stick_to_instance: false,
            audiences: Vec::new(),
            limits: ProxyLimits::default(),
            https: HttpsPolicy::default(),
            delivery: Delivery::default(),
            paused: None,
            closed: None,
            shadow: None,
        }
    }

    /// True if requests that are let through are split and placed as in `other`, whatever holds
    /// requests back or is copied of them.
    #[must_use]
    pub fn routes_like(&self, other: &Self) -> bool {
        let bare = |table: &Self| Self {
            paused: None,
            closed: None,
            shadow: None,
            ..table.clone()
        };
        bare(self) == bare(other)
    }

    /// Every release that gets anything: the stable one, the candidate and the shadow.
    pub fn sides(&self) -> impl Iterator<Item = &Candidate> {
        let shadow = self.shadow.as_ref().map(|shadow| &shadow.target);
        std::iter::once(&self.stable)
            .chain(&self.candidate)
            .chain(shadow)
    }
}

/// What a closed service answers, and whom it lets in. Previews are open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceClosed {
    /// What is answered.
    pub maintenance: Maintenance,
    /// Who is let in, the secret's value resolved by whoever publishes the table; without it
    /// nobody is.
    #[serde(skip)]
    pub pass: Option<AudienceRule>,
}

/// Until when new requests are held.
///
/// A preview is not: only routes without [`Route::only`] are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paused {
    /// On the engine's clock.
    pub until: Time,
    /// The same in microseconds of the system's monotonic clock, which whoever publishes the
    /// table fills in. The proxy lets requests go at that time whether or not another table has come.
    pub until_micros: u64,
}

/// One of the releases that a service's requests can go to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// The release.
    pub release: ReleaseId,
    /// Its endpoints that may get new requests.
    pub endpoints: Vec<Endpoint>,
    /// What they must prove, if they speak over TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ProgramTls>,
}

/// An address of an instance that can receive traffic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Whose it is.
    pub instance: InstanceId,
    /// Where it listens.
    pub address: SocketAddr,
    /// What it speaks there.
    #[serde(default)]
    pub protocol: Protocol,
    /// The index of its figures in the ledger; its own until the instance is forgotten.
    pub cell: Cell,
    /// What it takes beside the others of its release; `None`: they are all equal. Either every
    /// endpoint of a release has one, or none has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<Weight>,
}

impl Endpoint {
    /// Its weight among the endpoints of its release.
    #[must_use]
    pub fn weight(&self) -> u64 {
        u64::from(self.weight.unwrap_or_default().get())
    }
}

/// An index into the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Cell(pub u32);

/// A resolved audience: secrets are values here, so a table is never printed or logged.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AudienceRule {
    /// A header, by its lower-case name.
    Header(String, Wanted),
    /// A cookie.
    Cookie(String, Wanted),
}

/// The values that belong to an audience.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// This one.
    Exactly(String),
    /// This share of all.
    Part(Share),
}

impl std::fmt::Debug for AudienceRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Header(name, _) => write!(f, "Header({name}, …)"),
            Self::Cookie(name, _) => write!(f, "Cookie({name}, …)"),
        }
    }
}
