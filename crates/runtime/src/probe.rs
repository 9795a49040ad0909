//! Probes: one question to an instance, answered within a bounded time.

mod exec;
mod grpc;
mod http;
mod http2;
mod wire;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::{Probe, Protocol, Weight};
use supervisor::Key;
use tls::Trust;
use tokio::net::TcpStream;

use wire::Asked;

use crate::driver::{Driver, PortOwner, StartSpec};

pub use exec::end_abandoned;

/// The most of an answer that is kept as evidence, in bytes before escaping.
pub const EXCERPT_BYTES_MAX: usize = 2048;

/// What the instance is, to a probe.
#[derive(Debug, Clone, Copy)]
pub struct ProbeTarget<'a> {
    /// Its key.
    pub key: &'a Key,
    /// Its port on the loopback address, if it has one.
    pub port: Option<u16>,
    /// What it speaks there.
    pub protocol: Protocol,
    /// What it must prove there, if that is over TLS.
    pub trust: Option<&'a Arc<Trust>>,
    /// How it was started; an exec probe runs in the same place.
    pub spec: &'a StartSpec,
}

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeOutcome {
    /// As it should be.
    Pass {
        /// How long it took.
        elapsed: Duration,
        /// The weight that the instance announced, where it was asked for one.
        weight: Option<Weight>,
    },
    /// Not as it should be.
    Fail(ProbeFailure),
}

/// Why a probe did not pass, with the evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeFailure {
    /// In words.
    pub reason: String,
    /// The HTTP status or exit code, if there was one.
    pub status: Option<i32>,
    /// The beginning of the body or the end of the output, control characters
    /// escaped; at most [`EXCERPT_BYTES_MAX`] bytes before that.
    pub body_excerpt: Option<String>,
    /// How long it took.
    pub elapsed: Duration,
}

/// A pass, with the weight that was announced, or a failure.
type Found = Result<Option<Weight>, Failure>;

/// A failure before its time is known.
struct Failure {
    reason: String,
    status: Option<i32>,
    excerpt: Option<String>,
}

impl Failure {
    fn because(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            status: None,
            excerpt: None,
        }
    }
}

/// Asks the question, for at most `timeout`.
///
/// `Http`, `Grpc` and `Tcp` of an instance without a port fail. `Exec` must be awaited to
/// its end: what is dropped before leaves its program running.
pub async fn run(
    driver: &dyn Driver,
    probe: &Probe,
    target: ProbeTarget<'_>,
    timeout: Duration,
) -> ProbeOutcome {
    let began = Instant::now();
    let address = target
        .port
        .map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let asked = |address| Asked {
        address,
        protocol: target.protocol,
        trust: target.trust,
    };
    let found = match (probe, address) {
        (
            Probe::Http {
                path,
                status,
                body,
                weight,
            },
            Some(address),
        ) => {
            let wanted = http::Wanted {
                path,
                status: *status,
                body: body.as_deref(),
                weight: weight.as_deref(),
            };
            let asked = http::ask(asked(address), wanted);
            explained(bounded(timeout, asked).await, driver, (target.key, address)).await
        }
        (Probe::Grpc { service }, Some(address)) => {
            let asked = unweighed(grpc::ask(asked(address), service));
            explained(bounded(timeout, asked).await, driver, (target.key, address)).await
        }
        (Probe::Tcp, Some(address)) => {
            let asked = bounded(timeout, unweighed(connect(address))).await;
            explained(asked, driver, (target.key, address)).await
        }
        (Probe::Http { .. } | Probe::Grpc { .. } | Probe::Tcp, None) => {
            Err(Failure::because("the service has no port"))
        }
        // It bounds itself, since it has something to end.
        (Probe::Exec(argv), _) => unweighed(exec::ask(driver, &argv.0, target, timeout)).await,
    };
    outcome(found, began)
}

/// A question whose answer says nothing of a weight.
async fn unweighed(asked: impl Future<Output = Result<(), Failure>>) -> Found {
    asked.await.map(|()| None)
}

/// Adds to a failure where the instance listens, if that is not where it was asked.
async fn explained(found: Found, driver: &dyn Driver, (key, asked): (&Key, SocketAddr)) -> Found {
    let mut failure = match found {
        Ok(weight) => return Ok(weight),
        Err(failure) => failure,
    };
    if failure.status.is_none()
        && let Ok(addresses) = driver.listening(key).await
    {
        failure.reason.push_str(&elsewhere(&addresses, asked));
    }
    Err(failure)
}

fn elsewhere(addresses: &[SocketAddr], asked: SocketAddr) -> String {
    let answers = |at: &SocketAddr| {
        at.port() == asked.port() && (at.ip().is_unspecified() || at.ip() == asked.ip())
    };
    if addresses.iter().any(answers) {
        return String::new();
    }
    let all: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
    match all.as_slice() {
        [] => "; the program listens nowhere".to_owned(),
        some => format!(
            "; the program listens on {}, its $PORT is {}",
            some.join(" and "),
            asked.port()
        ),
    }
}

/// Checks that whoever answers on `port` is the instance itself.
pub async fn check_port(driver: &dyn Driver, key: &Key, port: u16) -> ProbeOutcome {
    let began = Instant::now();
    let found = match driver.owners(port).await {
        Ok(owners) => judge_owners(&owners, key, port),
        Err(error) => Err(Failure::because(format!(
            "cannot tell who listens on port {port}: {error}"
        ))),
    };
    outcome(found.map(|()| None), began)
}

fn judge_owners(owners: &[PortOwner], key: &Key, port: u16) -> Result<(), Failure> {
    if owners.is_empty() {
        return Err(Failure::because(format!("nothing listens on port {port}")));
    }
    let Some(stranger) = owners.iter().find(|owner| owner.key.as_ref() != Some(key)) else {
        return Ok(());
    };
    Err(Failure::because(format!(
        "port {port} belongs to {stranger}, not to this instance"
    )))
}

async fn connect(address: SocketAddr) -> Result<(), Failure> {
    let connected = TcpStream::connect(address).await;
    connected
        .map(drop)
        .map_err(|error| Failure::because(format!("cannot connect to {address}: {error}")))
}

async fn bounded(timeout: Duration, asked: impl Future<Output = Found>) -> Found {
    match tokio::time::timeout(timeout, asked).await {
        Ok(found) => found,
        Err(_) => Err(timed_out(timeout)),
    }
}

fn timed_out(timeout: Duration) -> Failure {
    Failure::because(format!("no answer within {timeout:?}"))
}

fn outcome(found: Found, began: Instant) -> ProbeOutcome {
    let elapsed = began.elapsed();
    match found {
        Ok(weight) => ProbeOutcome::Pass { elapsed, weight },
        Err(Failure {
            reason,
            status,
            excerpt,
        }) => ProbeOutcome::Fail(ProbeFailure {
            reason,
            status,
            body_excerpt: excerpt,
            elapsed,
        }),
    }
}

/// Makes bytes safe to show: line breaks stay, other control characters are escaped.
fn excerpt(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        // Besides control characters, the ones that reorder text.
        let reorders = matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if (character.is_control() && character != '\n' && character != '\t') || reorders {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    (!shown.is_empty()).then_some(shown)
}

#[cfg(test)]
mod tests;
