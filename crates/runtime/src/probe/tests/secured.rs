//! Programs that speak over TLS.

use std::sync::Arc;

use model::ProgramTls;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use super::*;

/// A program with a certificate of its own, and what it must prove.
struct Secured {
    config: Arc<ServerConfig>,
    trust: Arc<Trust>,
}

fn secured(protocols: &[&[u8]]) -> Secured {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, made.cert.pem()).unwrap();
    let trust = Trust::load(&ProgramTls {
        ca: ca.to_str().unwrap().to_owned(),
        name: "localhost".to_owned(),
        certificate: None,
    });
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth();
    let mut config = builder
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    Secured {
        config: Arc::new(config),
        trust: Arc::new(trust.unwrap()),
    }
}

/// Answers one connection over TLS, in HTTP/2 if that is agreed upon.
async fn serving(config: &Arc<ServerConfig>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = TlsAcceptor::from(Arc::clone(config));
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let Ok(mut stream) = acceptor.accept(stream).await else {
            return;
        };
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            let mut connection = h2::server::handshake(stream).await.unwrap();
            let (request, mut respond) = connection.accept().await.unwrap().unwrap();
            assert_eq!(request.uri().scheme_str(), Some("https"));
            respond
                .send_response(::http::Response::new(()), true)
                .unwrap();
            let _ = connection.accept().await;
        } else {
            let mut request = [0; 1024];
            let count = stream.read(&mut request).await.unwrap();
            assert!(request[..count].starts_with(b"GET /healthz?full HTTP/1.1\r\n"));
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
            stream.write_all(answer).await.unwrap();
            stream.flush().await.unwrap();
        }
    });
    port
}

async fn ask(protocol: Protocol, trust: &Arc<Trust>, port: u16) -> Result<(), String> {
    let probe = super::http(None, None);
    let asked = ask_as((protocol, Some(trust)), &probe, Some(port));
    asked.await.map_err(|failure| failure.reason)
}

#[tokio::test]
async fn a_program_is_asked_over_tls_in_what_it_speaks() {
    let program = secured(&[b"h2", b"http/1.1"]);
    for protocol in [Protocol::Https, Protocol::H2] {
        let port = serving(&program.config).await;
        assert_eq!(ask(protocol, &program.trust, port).await, Ok(()));
    }
}

#[tokio::test]
async fn one_that_does_not_prove_who_it_is_fails_with_the_reason() {
    let (program, other) = (secured(&[]), secured(&[]));
    let port = serving(&program.config).await;
    let reason = ask(Protocol::Https, &other.trust, port).await.unwrap_err();
    assert!(
        reason.contains("does not prove over TLS to be `localhost`: invalid peer certificate"),
        "{reason}"
    );
    let port = serving(&program.config).await;
    let reason = ask(Protocol::H2, &program.trust, port).await.unwrap_err();
    assert!(
        reason.contains("agreed over TLS to speak nothing"),
        "{reason}"
    );
}
