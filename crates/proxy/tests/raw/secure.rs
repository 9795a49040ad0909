//! TLS from clients, with a client that says and checks exactly what a test wants.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use model::{CertificateFiles, HttpsPolicy};
use proxy::Settings;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned};
use traffic::{Closed, ListenerKind, Rejected, Table};

use crate::world::{GUARD, Program, World, until};

pub(crate) type Tls = StreamOwned<ClientConnection, TcpStream>;

/// Files of a certificate for these names; what a client trusts is returned too.
pub(crate) fn issue(
    folder: &Path,
    file: &str,
    names: &[&str],
) -> (CertificateFiles, CertificateDer<'static>) {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let path = |kind: &str| folder.join(format!("{file}.{kind}"));
    let (cert, key) = (path("cert"), path("key"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    let fresh = path("fresh");
    std::fs::write(&fresh, made.signing_key.serialize_pem()).unwrap();
    std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::rename(&fresh, &key).unwrap();
    let files = CertificateFiles {
        cert: cert.to_str().unwrap().to_owned(),
        key: key.to_str().unwrap().to_owned(),
    };
    (files, made.cert.der().clone())
}

/// Makes a table's listener one for HTTPS.
pub(crate) fn secured(table: &mut Table, certificates: Vec<CertificateFiles>) {
    table.listeners[0].kind = ListenerKind::Https;
    table.certificates = certificates;
}

/// A client that trusts these certificates and offers these protocols.
pub(crate) fn trusting(
    certificates: &[&CertificateDer<'static>],
    protocols: &[&[u8]],
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add((*certificate).clone()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    Arc::new(config)
}

/// Connects as a client of `host` would; the handshake is over when this returns.
pub(crate) fn connect(
    world: &World,
    config: &Arc<ClientConfig>,
    host: &str,
) -> std::io::Result<Tls> {
    connect_after(world, b"", (config, host))
}

/// The same with `header` sent before the handshake, in two pieces.
pub(crate) fn connect_after(
    world: &World,
    header: &[u8],
    (config, host): (&Arc<ClientConfig>, &str),
) -> std::io::Result<Tls> {
    let mut stream = TcpStream::connect(world.address)?;
    stream.set_read_timeout(Some(GUARD))?;
    stream.set_nodelay(true)?;
    let (begin, end) = header.split_at(header.len() / 2);
    stream.write_all(begin)?;
    stream.write_all(end)?;
    let name = ServerName::try_from(host.to_owned()).unwrap();
    let mut session = ClientConnection::new(Arc::clone(config), name).unwrap();
    while session.is_handshaking() {
        session.complete_io(&mut stream)?;
    }
    Ok(StreamOwned::new(session, stream))
}

/// One request on a connection that is closed after it: the whole response.
pub(crate) fn ask(tls: &mut Tls, host: &str) -> String {
    let request = format!("GET /path HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    tls.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    tls.read_to_string(&mut answer).unwrap();
    answer
}

pub(crate) fn world(programs: &[&Program], certificates: Vec<CertificateFiles>) -> World {
    let mut world = World::serving(programs);
    world.publish(|table| secured(table, certificates));
    world
}

/// A program that answers with the head it got.
pub(crate) fn mirror() -> Program {
    Program::new(|connection| {
        loop {
            let (head, _) = connection.request()?;
            connection.answer(&head);
        }
    })
}

#[test]
fn requests_over_tls_are_served_and_marked_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let (files, trusted) = issue(folder.path(), "a", &["shop.example.com"]);
    let program = mirror();
    let mut world = world(&[&program], vec![files]);
    world.set_service(|service| {
        service.https = HttpsPolicy {
            redirect: true,
            hsts: Some(Duration::from_secs(600)),
            ..HttpsPolicy::default()
        };
    });
    let config = trusting(&[&trusted], &[b"http/1.1"]);
    let mut tls = connect(&world, &config, "shop.example.com").unwrap();
    // A clean end needs the goodbye of TLS: `read_to_string` fails without.
    let answer = ask(&mut tls, "shop.example.com");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("\r\nstrict-transport-security: max-age=600\r\n"));
    assert!(
        answer.contains("\r\nx-forwarded-proto: https\r\n"),
        "{answer}"
    );
    assert_eq!(tls.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    assert_eq!(world.service().requests, 1);
}

#[test]
fn bodies_larger_than_every_buffer_come_through_both_ways() {
    let folder = tempfile::tempdir().unwrap();
    let (files, trusted) = issue(folder.path(), "a", &["a.test"]);
    let program = Program::echo("one");
    let world = world(&[&program], vec![files]);
    let mut tls = connect(&world, &trusting(&[&trusted], &[]), "a.test").unwrap();
    let body = "x".repeat(300_000);
    let head = format!(
        "POST / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    tls.write_all(head.as_bytes()).unwrap();
    tls.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    tls.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with(&format!("[{body}]")), "{}", answer.len());
}

#[test]
fn each_host_gets_its_certificate_and_a_request_for_another_is_misdirected() {
    let folder = tempfile::tempdir().unwrap();
    let (first, _) = issue(folder.path(), "a", &["first.test"]);
    let (wild, trusted_wild) = issue(folder.path(), "b", &["*.wild.test"]);
    let (exact, trusted_exact) = issue(folder.path(), "c", &["exact.wild.test"]);
    let program = Program::echo("one");
    let world = world(&[&program], vec![first, wild, exact]);
    let config = trusting(&[&trusted_wild], &[]);
    let mut tls = connect(&world, &config, "any.wild.test").unwrap();
    assert!(ask(&mut tls, "ANY.wild.test:8443").starts_with("HTTP/1.1 200"));
    let mut tls = connect(&world, &config, "any.wild.test").unwrap();
    let answer = ask(&mut tls, "exact.wild.test");
    assert!(
        answer.starts_with("HTTP/1.1 421 Misdirected Request\r\n"),
        "{answer}"
    );
    assert!(answer.contains("x-gapless-error: misdirected"), "{answer}");
    // The exact name has a certificate of its own, which this client does not trust.
    assert!(connect(&world, &config, "exact.wild.test").is_err());
    assert!(connect(&world, &trusting(&[&trusted_exact], &[]), "exact.wild.test").is_ok());
    assert_eq!(
        world.ledger.slots().rejected[Rejected::Misdirected.index()],
        1
    );
    until("the failed handshake is counted", || {
        world.ledger.slots().closed(Closed::Handshake) == 1
    });
}

#[test]
fn a_changed_certificate_is_served_and_open_connections_stay() {
    let folder = tempfile::tempdir().unwrap();
    let (files, old) = issue(folder.path(), "a", &["a.test"]);
    let program = Program::echo("one");
    let mut world = world(&[&program], vec![files]);
    let mut kept = connect(&world, &trusting(&[&old], &[]), "a.test").unwrap();
    let (_, new) = issue(folder.path(), "a", &["a.test"]);
    let trusts_new = trusting(&[&new], &[]);
    until("the new certificate is served", || {
        connect(&world, &trusts_new, "a.test").is_ok()
    });
    assert!(ask(&mut kept, "a.test").starts_with("HTTP/1.1 200"));
    // Half of a new pair is no certificate: the last good one stays.
    std::fs::write(folder.path().join("a.cert"), "torn").unwrap();
    world.publish(|_| {});
    assert!(connect(&world, &trusts_new, "a.test").is_ok());
}

#[test]
fn sessions_are_resumed_at_another_proxy_with_the_same_tickets() {
    let folder = tempfile::tempdir().unwrap();
    let (files, trusted) = issue(folder.path(), "a", &["a.test"]);
    let program = Program::echo("one");
    let config = trusting(&[&trusted], &[]);
    for (at, kind) in [HandshakeKind::Full, HandshakeKind::Resumed]
        .into_iter()
        .enumerate()
    {
        let mut world = World::without_proxy();
        world.start_with_tickets(&folder.path().join("tickets"));
        world.set_endpoints(&[&program]);
        world.publish(|table| secured(table, vec![files.clone()]));
        let mut tls = connect(&world, &config, "a.test").unwrap();
        assert!(ask(&mut tls, "a.test").starts_with("HTTP/1.1 200"));
        assert_eq!(tls.conn.handshake_kind(), Some(kind), "connection {at}");
    }
}

#[test]
fn plain_requests_are_redirected_but_not_those_of_other_services() {
    let program = Program::echo("one");
    let mut world = World::serving(&[&program]);
    let other = "127.0.0.1:8443".parse().unwrap();
    world.publish(|table| {
        table.services[0].https.redirect = true;
        let mut https = table.listeners[0].clone();
        (https.address, https.kind) = (other, ListenerKind::Https);
        table.listeners.push(https);
    });
    let mut client = world.client();
    client.send("GET /a%20b?c=d HTTP/1.1\r\nHost: Shop.test:80\r\n\r\n");
    let response = client.response();
    assert_eq!(response.status, 308);
    assert_eq!(
        response.header("location"),
        Some("https://Shop.test:8443/a%20b?c=d")
    );
    assert_eq!(world.service().requests, 0);
    assert_eq!(
        world.ledger.slots().rejected[Rejected::Redirected.index()],
        1
    );
    world.publish(|table| table.listeners[0].kind = ListenerKind::Internal);
    assert_eq!(client.get("/").status, 200);
}

#[test]
fn a_client_that_never_ends_its_handshake_is_let_go_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let (files, _) = issue(folder.path(), "a", &["a.test"]);
    let program = Program::echo("one");
    let mut world = World::with_settings(Settings {
        head_timeout: Duration::from_millis(300),
        ..Settings::default()
    });
    world.set_endpoints(&[&program]);
    world.publish(|table| secured(table, vec![files]));
    let mut slow = TcpStream::connect(world.address).unwrap();
    slow.set_read_timeout(Some(GUARD)).unwrap();
    slow.write_all(&[0x16, 3, 1]).unwrap();
    assert_eq!(slow.read(&mut [0; 16]).unwrap_or(0), 0);
    let mut wrong = world.client();
    wrong.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    until("both are counted", || {
        let slots = world.ledger.slots();
        slots.closed(Closed::HandshakeTimeout) == 1 && slots.closed(Closed::Handshake) == 1
    });
    until("nobody is connected", || {
        world.ledger.slots().connections == 0
    });
}
