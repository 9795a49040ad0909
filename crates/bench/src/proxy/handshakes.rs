//! TLS 1.3 handshakes, full and resumed, by a client that shakes hands and leaves.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use rustls::client::{ClientSessionMemoryCache, Resumption};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, Stream};
use serde_json::Value;

use super::front::{Front, OTHER_CORE};
use super::measure::{Rounds, cost};

const ROUNDS: usize = 7;
const HANDSHAKES: u32 = 1_000;

/// Whether a client comes back with what it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comes {
    New,
    Again,
}

/// CPU time of a handshake, each with one small request, so that tickets have been read.
pub(super) fn run(fronts: &[&Front], (name, certificate): (&str, &Path)) -> Result<Value, String> {
    let authority =
        CertificateDer::from_pem_file(certificate).map_err(|error| error.to_string())?;
    let mut out = serde_json::Map::new();
    for (comes, kind) in [(Comes::New, "full"), (Comes::Again, "resumed")] {
        let rounds = Rounds::run(fronts, ROUNDS, |front| {
            let config = client(&authority, comes)?;
            cost(front, || shake(front.tls, config, comes))
        })?;
        let what = format!("{name}, {kind} handshakes");
        out.insert(kind.to_owned(), rounds.report(&what, "us of CPU each"));
    }
    Ok(Value::Object(out))
}

fn client(authority: &CertificateDer<'static>, comes: Comes) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    roots
        .add(authority.clone())
        .map_err(|error| error.to_string())?;
    let versions: &[_] = &[&rustls::version::TLS13];
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions);
    let config = config.map_err(|error| error.to_string())?;
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.resumption = match comes {
        Comes::New => Resumption::disabled(),
        Comes::Again => Resumption::store(Arc::new(ClientSessionMemoryCache::new(8))),
    };
    Ok(Arc::new(config))
}

/// Shakes hands so often, and returns how often.
fn shake(port: u16, config: Arc<ClientConfig>, comes: Comes) -> Result<f64, String> {
    std::thread::spawn(move || {
        super::tools::pin_this(OTHER_CORE)?;
        let mut resumed = 0;
        for _ in 0..HANDSHAKES {
            let kind =
                shake_once(port, &config).map_err(|error| format!("port {port}: {error}"))?;
            resumed += u32::from(kind == HandshakeKind::Resumed);
        }
        // The first one has nothing to come back with.
        let right = match comes {
            Comes::New => resumed == 0,
            Comes::Again => resumed + 1 >= HANDSHAKES,
        };
        if right {
            Ok(f64::from(HANDSHAKES))
        } else {
            Err(format!(
                "port {port}: {resumed} of {HANDSHAKES} handshakes were resumed"
            ))
        }
    })
    .join()
    .map_err(|_| "the client died".to_owned())?
}

fn shake_once(port: u16, config: &Arc<ClientConfig>) -> std::io::Result<HandshakeKind> {
    let name = ServerName::try_from("web.localhost").map_err(std::io::Error::other)?;
    let client = ClientConnection::new(Arc::clone(config), name);
    let mut client = client.map_err(std::io::Error::other)?;
    let mut socket = TcpStream::connect(("127.0.0.1", port))?;
    socket.set_nodelay(true)?;
    let mut stream = Stream::new(&mut client, &mut socket);
    stream.write_all(b"GET / HTTP/1.1\r\nHost: web.localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        // Some close without a goodbye; the answer says whether it was whole.
        Err(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => return Err(error),
        Ok(_) | Err(_) if answer.starts_with(b"HTTP/1.1 200") => {}
        Ok(_) | Err(_) => return Err(std::io::ErrorKind::InvalidData.into()),
    }
    client
        .handshake_kind()
        .ok_or_else(|| std::io::ErrorKind::NotConnected.into())
}
