//! TLS as configured: paths and rules, never a key.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The HTTPS listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Https {
    /// Its address.
    pub address: SocketAddr,
    /// What it identifies itself with; at least one, the first for clients that name no host.
    pub certificates: Vec<CertificateFiles>,
    /// What clients identify themselves with; `None`: they are not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clients: Option<ClientCertificates>,
}

/// Certificates that clients show in the handshake.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ClientCertificates {
    /// The authorities that may have issued them, in PEM form; an absolute path.
    pub ca: String,
    /// What becomes of a client that shows none. One that shows a wrong one is refused.
    pub demand: Demand,
}

/// What becomes of a client that shows no certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Demand {
    /// It is refused in the handshake.
    Required,
    /// It is served, and the program is told of nobody.
    Optional,
}

/// Where a certificate and its key are, as absolute paths.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CertificateFiles {
    /// The certificate and those between it and its authority, in PEM form.
    pub cert: String,
    /// Its private key, in PEM form.
    pub key: String,
}

/// What a program that speaks TLS must prove, and what it is shown in return.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProgramTls {
    /// The authorities that may have issued its certificate, in PEM form; an absolute path.
    pub ca: String,
    /// The name that its certificate must be for: a host's or an address.
    pub name: String,
    /// What it is shown if it asks who connects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateFiles>,
}

/// What HTTPS means for one service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpsPolicy {
    /// Whether requests over plain HTTP are sent to the HTTPS listener.
    pub redirect: bool,
    /// How long browsers are told to use nothing but HTTPS; `None`: not told.
    pub hsts: Option<Duration>,
    /// What clients that ask for its hosts must show; `None`: what all others must, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clients: Option<ClientCertificates>,
}
