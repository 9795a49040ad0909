//! Who a client of an HTTPS listener is: by a header before its handshake, or by a certificate
//! in it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use model::{CertificateFiles, ClientCertificates, Demand, ServiceName};
use rcgen::{CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, HandshakeKind, RootCertStore};
use traffic::{Cell, Closed, HostPattern, ListenerKind, Rejected, Route};

use crate::secure::{ask, connect, connect_after, issue, mirror, trusting, world};
use crate::world::{GUARD, World, candidate, until};

const V1: &[u8] = b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 443\r\n";
const SUBJECT: &str = "x-client-certificate-subject: ";

fn v2() -> Vec<u8> {
    let header = &b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x03\x0c"[..];
    let addresses = [192, 0, 2, 7, 127, 0, 0, 1, 0x12, 0x67, 1, 187];
    // Extensions that are longer than one look at the socket.
    [header, &addresses, &[4; 0x300]].concat()
}

#[test]
fn a_header_before_the_handshake_says_whose_the_connection_is() {
    let folder = tempfile::tempdir().unwrap();
    let (files, trusted) = issue(folder.path(), "a", &["a.test"]);
    let program = mirror();
    let mut world = world(&[&program], vec![files]);
    world.publish(|table| {
        table.listeners[0].proxy_protocol = true;
        table.peers.trusted = vec!["127.0.0.1".parse().unwrap()];
    });
    let config = trusting(&[&trusted], &[]);
    for header in [V1, &v2()] {
        let mut tls = connect_after(&world, header, (&config, "a.test")).unwrap();
        let answer = ask(&mut tls, "a.test");
        assert!(
            answer.contains("x-forwarded-for: 192.0.2.7\r\n"),
            "{answer}"
        );
        assert!(answer.contains("x-forwarded-proto: https\r\n"), "{answer}");
    }
    // A handshake alone introduces nobody.
    assert!(connect(&world, &config, "a.test").is_err());
    let slots = || world.ledger.slots();
    until("the stranger is counted", || {
        slots().rejected[Rejected::BadRequest.index()] == 1
    });
    world.publish(|table| table.peers.trusted = vec!["10.0.0.0/8".parse().unwrap()]);
    assert!(connect_after(&world, V1, (&config, "a.test")).is_err());
    until("nobody is connected", || {
        world.ledger.slots().connections == 0
    });
}

/// An authority, and the files of what it has signed.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    /// A client that shows a certificate of this subject, and trusts `server`.
    fn client(
        &self,
        subject: &[(DnType, &str)],
        server: &CertificateDer<'static>,
    ) -> Arc<ClientConfig> {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, value) in subject {
            params.distinguished_name.push(kind.clone(), *value);
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(server.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = builder.with_root_certificates(roots);
        let chain = vec![certificate.der().clone()];
        Arc::new(builder.with_client_auth_cert(chain, key).unwrap())
    }

    fn write(&self, path: &Path) {
        let fresh = path.with_extension("fresh");
        std::fs::write(&fresh, &self.pem).unwrap();
        std::fs::rename(&fresh, path).unwrap();
    }
}

fn asking(files: CertificateFiles, ca: &Path, demand: Demand) -> World {
    let program: &'static _ = Box::leak(Box::new(mirror()));
    let mut world = world(&[program], vec![files]);
    let clients = ClientCertificates {
        ca: ca.to_str().unwrap().to_owned(),
        demand,
    };
    world.publish(|table| table.clients = Some(clients));
    world
}

/// A request with a subject of the client's own making. `None`: it was refused.
fn told(world: &World, config: &Arc<ClientConfig>) -> Option<String> {
    let mut tls = connect(world, config, "a.test").ok()?;
    let request = format!(
        "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n{SUBJECT}CN=root\r\nX_Client_Certificate_Subject: CN=root\r\n\r\n"
    );
    tls.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    // In TLS 1.3 a refusal comes after the client's last word of the handshake.
    tls.read_to_string(&mut answer).ok()?;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(!answer.to_lowercase().contains("cn=root"), "{answer}");
    let line = answer.lines().find_map(|line| line.strip_prefix(SUBJECT));
    Some(line.unwrap_or("nobody").to_owned())
}

#[test]
fn a_client_without_the_right_certificate_is_refused_in_the_handshake() {
    let folder = tempfile::tempdir().unwrap();
    let (files, server) = issue(folder.path(), "a", &["a.test"]);
    let ca = folder.path().join("ca.pem");
    let (own, other) = (Authority::new(), Authority::new());
    own.write(&ca);
    let world = asking(files, &ca, Demand::Required);
    let alice = own.client(
        &[
            (DnType::OrganizationName, "Shop, Inc."),
            (DnType::CommonName, "alice=é"),
        ],
        &server,
    );
    let subject = "CN=alice\\=\\C3\\A9,O=Shop\\, Inc.";
    assert_eq!(told(&world, &alice).as_deref(), Some(subject));
    let nobody = trusting(&[&server], &[]);
    assert_eq!(told(&world, &nobody), None);
    let mallory = other.client(&[(DnType::CommonName, "alice")], &server);
    assert_eq!(told(&world, &mallory), None);
    until("both are counted", || {
        world.ledger.slots().closed(Closed::Handshake) == 2
    });
    assert_eq!(world.service().requests, 1);
}

#[test]
fn a_certificate_may_be_left_out_where_it_is_optional_but_not_be_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let (files, server) = issue(folder.path(), "a", &["a.test"]);
    let ca = folder.path().join("ca.pem");
    let (own, other) = (Authority::new(), Authority::new());
    own.write(&ca);
    let world = asking(files, &ca, Demand::Optional);
    let nobody = trusting(&[&server], &[]);
    assert_eq!(told(&world, &nobody).as_deref(), Some("nobody"));
    let alice = own.client(&[(DnType::CommonName, "alice")], &server);
    assert_eq!(told(&world, &alice).as_deref(), Some("CN=alice"));
    let mallory = other.client(&[(DnType::CommonName, "alice")], &server);
    assert_eq!(told(&world, &mallory), None);
    // Requests in the clear are nobody's.
    let mut world = World::serving(&[&mirror()]);
    world.publish(|_| {});
    let mut plain = world.client();
    plain.send(format!(
        "GET / HTTP/1.1\r\nHost: h\r\n{SUBJECT}CN=root\r\n\r\n"
    ));
    assert!(!plain.response().text().contains("CN=root"));
}

#[test]
fn each_handshake_looks_at_the_certificate_and_at_the_authorities_of_its_time() {
    let folder = tempfile::tempdir().unwrap();
    let (files, server) = issue(folder.path(), "a", &["a.test"]);
    let ca = folder.path().join("ca.pem");
    let (own, other) = (Authority::new(), Authority::new());
    own.write(&ca);
    let mut world = asking(files, &ca, Demand::Required);
    let demanded = world.table.clients.clone();
    world.publish(|table| table.clients = None);
    let alice = own.client(&[(DnType::CommonName, "alice")], &server);
    // This session could be resumed, if nobody wanted to know who resumes it.
    let nobody = trusting(&[&server], &[]);
    assert_eq!(told(&world, &nobody).as_deref(), Some("nobody"));
    let mut resumed = connect(&world, &nobody, "a.test").unwrap();
    ask(&mut resumed, "a.test");
    assert_eq!(resumed.conn.handshake_kind(), Some(HandshakeKind::Resumed));
    world.publish(|table| table.clients = demanded);
    assert_eq!(told(&world, &nobody), None);
    for _ in 0..2 {
        let mut tls = connect(&world, &alice, "a.test").unwrap();
        ask(&mut tls, "a.test");
        assert_eq!(tls.conn.handshake_kind(), Some(HandshakeKind::Full));
    }
    other.write(&ca);
    until("alice is nobody any more", || {
        told(&world, &alice).is_none()
    });
    let bob = other.client(&[(DnType::CommonName, "bob")], &server);
    assert_eq!(told(&world, &bob).as_deref(), Some("CN=bob"));
}

#[test]
fn nobody_is_served_while_it_is_not_known_whom_to_believe() {
    let folder = tempfile::tempdir().unwrap();
    let (files, server) = issue(folder.path(), "a", &["a.test"]);
    let ca = folder.path().join("ca.pem");
    let world = asking(files, &ca, Demand::Required);
    let mut waiting = TcpStream::connect(world.address).unwrap();
    waiting.set_read_timeout(Some(GUARD)).unwrap();
    waiting.write_all(b"\x16\x03").unwrap();
    let own = Authority::new();
    own.write(&ca);
    let alice = own.client(&[(DnType::CommonName, "alice")], &server);
    assert_eq!(told(&world, &alice).as_deref(), Some("CN=alice"));
    // What is torn later changes nothing.
    std::fs::write(&ca, "torn").unwrap();
    assert_eq!(told(&world, &alice).as_deref(), Some("CN=alice"));
}

/// A world in which `b.test` is a service of its own that asks its clients; `a.test` asks nobody.
fn apart(certificates: Vec<CertificateFiles>, ca: &Path) -> World {
    let program: &'static _ = Box::leak(Box::new(mirror()));
    let mut world = world(&[program], certificates);
    let clients = ClientCertificates {
        ca: ca.to_str().unwrap().to_owned(),
        demand: Demand::Required,
    };
    world.publish(|table| {
        let mut asking = table.services[0].clone();
        asking.name = ServiceName::try_new("asking").unwrap();
        asking.cell = Cell(2);
        asking.stable = candidate(1, &[program], 30);
        asking.https.clients = Some(clients);
        table.services.push(asking);
        let open = table.listeners[0].routes[0].clone();
        table.listeners[0].routes.push(Route {
            host: HostPattern::Exact("b.test".to_owned()),
            service: 1,
            ..open
        });
    });
    world
}

/// What a client that names this host in its handshake, if any, is answered for another.
fn crossed(
    world: &World,
    (config, asked): (&Arc<ClientConfig>, Option<&str>),
    host: &str,
) -> Option<String> {
    let mut config = (**config).clone();
    config.enable_sni = asked.is_some();
    let mut tls = connect(world, &Arc::new(config), asked.unwrap_or("a.test")).ok()?;
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    tls.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    tls.read_to_string(&mut answer).ok()?;
    Some(answer.lines().next()?.to_owned())
}

#[test]
fn one_service_asks_its_clients_and_another_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let (files, server) = issue(folder.path(), "a", &["a.test", "b.test"]);
    let ca = folder.path().join("ca.pem");
    let (own, other) = (Authority::new(), Authority::new());
    own.write(&ca);
    let world = apart(vec![files], &ca);
    let nobody = trusting(&[&server], &[]);
    let alice = own.client(&[(DnType::CommonName, "alice")], &server);
    let mallory = other.client(&[(DnType::CommonName, "alice")], &server);
    let fine = Some("HTTP/1.1 200 OK");
    let misdirected = Some("HTTP/1.1 421 Misdirected Request");
    for (client, asked, host, answer) in [
        (&nobody, Some("a.test"), "a.test", fine),
        (&nobody, Some("b.test"), "b.test", None),
        (&mallory, Some("b.test"), "b.test", None),
        (&alice, Some("b.test"), "b.test", fine),
        // Whoever was not asked gets nowhere where it would have been, whatever it then says.
        (&nobody, Some("a.test"), "b.test", misdirected),
        (&nobody, None, "b.test", misdirected),
        (&alice, None, "b.test", misdirected),
        (&nobody, None, "a.test", fine),
        (&alice, Some("b.test"), "a.test", misdirected),
    ] {
        let seen = crossed(&world, (client, asked), host);
        assert_eq!(seen.as_deref(), answer, "{asked:?} {host}");
    }
    until("the refused ones are counted", || {
        world.ledger.slots().closed(Closed::Handshake) == 2
    });
}

#[test]
fn over_http2_an_authority_that_was_not_asked_for_is_misdirected_too() {
    let folder = tempfile::tempdir().unwrap();
    let (files, server) = issue(folder.path(), "a", &["a.test", "b.test"]);
    let ca = folder.path().join("ca.pem");
    Authority::new().write(&ca);
    let world = apart(vec![files], &ca);
    let mut config = (*trusting(&[&server], &[b"h2"])).clone();
    config.enable_sni = false;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(world.address).await.unwrap();
        let name = rustls::pki_types::ServerName::try_from("a.test").unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let stream = connector.connect(name, stream).await.unwrap();
        let (mut send, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        for (authority, status) in [("a.test", 200), ("b.test", 421), ("a.test", 200)] {
            let request = http::Request::get(format!("https://{authority}/"));
            send = send.ready().await.unwrap();
            let (response, _) = send.send_request(request.body(()).unwrap(), true).unwrap();
            let response = tokio::time::timeout(GUARD, response)
                .await
                .unwrap()
                .unwrap();
            assert_eq!(response.status(), status, "{authority}");
        }
    });
}

#[test]
fn in_the_clear_nobody_from_outside_reaches_a_service_that_must_know_its_clients() {
    let program = mirror();
    let mut world = World::serving(&[&program]);
    let demand = |world: &mut World, demand, kind| {
        world.publish(|table| {
            table.services[0].https.clients = Some(ClientCertificates {
                ca: "/nowhere".to_owned(),
                demand,
            });
            table.listeners[0].kind = kind;
        });
    };
    for (how, kind, status) in [
        (Demand::Required, ListenerKind::Http, 421),
        (Demand::Optional, ListenerKind::Http, 200),
        (Demand::Required, ListenerKind::Internal, 200),
    ] {
        demand(&mut world, how, kind);
        assert_eq!(world.client().get("/").status, status, "{how:?} {kind:?}");
    }
}
