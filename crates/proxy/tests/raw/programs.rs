//! Programs that speak over TLS: what they must prove, and that all else is as it was.

use std::io::Read as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use model::{
    CertificateFiles, ProgramTls, Protocol, ProxyLimits, ProxyProtocol, Shadow, ShadowKey, Share,
};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair,
};
use rustls::pki_types::CertificateDer;
use traffic::{Outcome, Phase, Rejected, ShadowTable};

use crate::frames::*;
use crate::http2::{get, speak, whole};
use crate::secure::issue;
use crate::world::{
    Ended, GUARD, Manners, Program, Veil, World, candidate_at, speaking, suspicious, until,
};

/// What a program with this certificate must prove.
fn must(files: &CertificateFiles) -> ProgramTls {
    ProgramTls {
        ca: files.cert.clone(),
        name: "localhost".to_owned(),
        certificate: None,
    }
}

fn localhost(folder: &Path) -> (CertificateFiles, CertificateDer<'static>) {
    issue(folder, "program", &["localhost"])
}

/// A proxy whose endpoints are these, and must prove this.
fn world(addresses: &[SocketAddr], protocol: Protocol, tls: ProgramTls) -> World {
    let mut world = World::serving(&[]);
    world.set_service(|service| {
        service.stable = candidate_at(1, addresses.iter().copied(), 10);
        service.stable.tls = Some(tls);
        for endpoint in &mut service.stable.endpoints {
            endpoint.protocol = protocol;
        }
    });
    world
}

#[test]
fn requests_reach_a_program_over_tls_on_a_connection_that_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (files, _) = localhost(folder.path());
    let program = Program::echo("one");
    let veil = Veil::new(&program, speaking(&files, &[b"http/1.1"]));
    let world = world(&[veil.address], Protocol::Https, must(&files));
    let mut client = world.client();
    for number in 0..5 {
        let answer = client.post(&format!("/{number}"), "body");
        let wanted = format!("one: POST /{number} HTTP/1.1 [body]");
        assert_eq!((answer.status, answer.text()), (200, &*wanted));
    }
    let body = "x".repeat(300_000);
    assert!(
        client
            .post("/", &body)
            .text()
            .ends_with(&format!("[{body}]"))
    );
    assert_eq!(veil.handshakes(), 1);
    world.expect_outcomes(10, &[(Outcome::Status2xx, 6)]);
}

#[test]
fn a_program_that_proves_nothing_gets_no_request_and_another_one_does() {
    let folder = tempfile::tempdir().unwrap();
    let (files, _) = localhost(folder.path());
    let (others, _) = issue(folder.path(), "other", &["localhost"]);
    let program = Program::echo("one");
    let right = Veil::new(&program, speaking(&files, &[]));
    let wrong = Veil::new(&program, speaking(&others, &[]));
    let plain = Program::echo("plain");
    for address in [wrong.address, plain.address] {
        let mut world = world(&[address], Protocol::Https, must(&files));
        let answer = world.client().post("/", "body");
        assert_eq!(answer.status, 502);
        assert_eq!(answer.header("x-gapless-error"), Some("not_secured"));
        world.expect_outcomes(10, &[(Outcome::ConnectFailed, 1)]);
        assert_eq!(world.service().rejected(Rejected::NotSecured), 1);
        let (addresses, tls) = ([address, right.address], Some(must(&files)));
        world.set_service(|service| {
            service.stable = candidate_at(1, addresses.into_iter(), 20);
            service.stable.tls = tls;
            for endpoint in &mut service.stable.endpoints {
                endpoint.protocol = Protocol::Https;
            }
        });
        // Nothing was sent to the other one: whatever the method, it goes elsewhere.
        for _ in 0..8 {
            assert_eq!(world.client().post("/", "body").status, 200);
        }
        let failed = world.settled(20);
        let repeated = failed.outcome(Phase::Serving, Outcome::ConnectRepeated);
        assert!(repeated > 0 && repeated == failed.ended(), "{repeated}");
    }
}

#[test]
fn a_certificate_for_another_name_proves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (files, _) = localhost(folder.path());
    let program = Program::echo("one");
    let veil = Veil::new(&program, speaking(&files, &[]));
    let mut tls = must(&files);
    tls.name = "127.0.0.1".to_owned();
    let world = world(&[veil.address], Protocol::Https, tls);
    let answer = world.client().get("/");
    assert_eq!(answer.header("x-gapless-error"), Some("not_secured"));
}

#[test]
fn http2_is_agreed_upon_or_not_spoken() {
    let folder = tempfile::tempdir().unwrap();
    let (files, _) = localhost(folder.path());
    let program = Program::new(|connection| {
        connection.greet(b"")?;
        loop {
            let stream = connection.called()?;
            connection.send(head(stream, 0, &[("", "200")]))?;
            connection.send(frame(DATA, END_STREAM, stream, b"whole"))?;
        }
    });
    let veil = Veil::new(&program, speaking(&files, &[b"h2", b"http/1.1"]));
    let calling = world(&[veil.address], Protocol::H2, must(&files));
    speak(&calling, async |send| {
        let mut send = send.ready().await.unwrap();
        let all: Vec<_> = (0..10)
            .map(|_| send.send_request(get("/"), true).unwrap().0)
            .collect();
        for response in all {
            assert_eq!(whole(response).await.unwrap().1, "whole");
        }
    });
    calling.expect_outcomes(10, &[(Outcome::Status2xx, 10)]);
    assert_eq!(veil.handshakes(), 1);
    // One that says nothing of HTTP/2 does not speak it.
    let silent = Veil::new(&program, speaking(&files, &[]));
    let other = Veil::new(&program, speaking(&files, &[b"http/1.1"]));
    for veil in [silent, other] {
        let refused = world(&[veil.address], Protocol::H2, must(&files));
        let answer = refused.client().get("/");
        assert_eq!(answer.status, 502);
        assert_eq!(answer.header("x-gapless-error"), Some("not_secured"));
    }
}

#[test]
fn a_program_may_ask_who_connects() {
    let folder = tempfile::tempdir().unwrap();
    let (files, _) = localhost(folder.path());
    let (own, shown) = issue(folder.path(), "own", &["gapless.test"]);
    let program = Program::echo("one");
    let veil = Veil::new(&program, suspicious(&files, shown));
    let mut tls = must(&files);
    let nobody = world(&[veil.address], Protocol::Https, tls.clone());
    // What it refuses it says after its own handshake: the request may be on its way by then.
    assert_eq!(nobody.client().get("/").status, 502);
    assert_eq!(veil.handshakes(), 0);
    tls.certificate = Some(own);
    let known = world(&[veil.address], Protocol::Https, tls);
    assert_eq!(known.client().get("/").status, 200);
}

#[test]
fn tunnels_go_over_tls_and_their_goodbyes_with_them() {
    let folder = tempfile::tempdir().unwrap();
    let (files, _) = localhost(folder.path());
    let program = Program::new(|connection| {
        connection.head()?;
        connection.send(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: own\r\n\r\nhello",
        )?;
        while let Some(bytes) = connection.some() {
            connection.send(bytes.to_ascii_uppercase())?;
        }
        connection.report("ended");
        Some(())
    });
    let veil = Veil::new(&program, speaking(&files, &[]));
    let world = world(&[veil.address], Protocol::Https, must(&files));
    let mut client = world.client();
    client.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: own\r\n\r\n");
    assert_eq!(client.head().status, 101);
    assert_eq!(client.read_exactly(5), b"hello");
    client.send("over tls");
    assert_eq!(client.read_exactly(8), b"OVER TLS");
    drop(client);
    assert_eq!(program.report(), "ended");
    world.expect_outcomes(
        10,
        &[(Outcome::TunnelOpened, 1), (Outcome::TunnelClosed, 1)],
    );
}

#[test]
fn a_body_whose_end_tls_does_not_vouch_for_has_none() {
    let folder = tempfile::tempdir().unwrap();
    let (files, _) = localhost(folder.path());
    let program = Program::new(|connection| {
        connection.request()?;
        connection.send("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhalf")
    });
    for (manners, ended) in [(Manners::Goodbye, true), (Manners::Rude, false)] {
        let veil = Veil::with(&program, speaking(&files, &[]), manners);
        let world = world(&[veil.address], Protocol::Https, must(&files));
        let mut client = world.client();
        client.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        client.read_to(b"half\r\n");
        let (rest, how) = client.rest();
        assert_eq!(rest == b"0\r\n\r\n", ended, "{rest:?}");
        assert_eq!(how == Ended::Cleanly, ended);
    }
}

#[test]
fn other_authorities_are_believed_once_their_file_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let (old, _) = localhost(folder.path());
    let (new, _) = issue(folder.path(), "new", &["localhost"]);
    let program = Program::echo("one");
    let veil = Veil::new(&program, speaking(&old, &[]));
    let ca = folder.path().join("ca.pem");
    let tls = ProgramTls {
        ca: ca.to_str().unwrap().to_owned(),
        ..must(&old)
    };
    std::fs::copy(&old.cert, &ca).unwrap();
    let world = world(&[veil.address], Protocol::Https, tls);
    let mut client = world.client();
    assert_eq!(client.get("/").status, 200);
    let replace = |files: &CertificateFiles| {
        let fresh = folder.path().join("fresh");
        std::fs::copy(&files.cert, &fresh).unwrap();
        std::fs::rename(&fresh, &ca).unwrap();
    };
    replace(&new);
    // The connection that is kept was proven to somebody else.
    until("nobody believes the program", || {
        world.client().get("/").status == 502
    });
    replace(&old);
    until("it is believed again", || {
        world.client().get("/").status == 200
    });
}

#[test]
fn a_handshake_has_the_time_of_a_connection() {
    let folder = tempfile::tempdir().unwrap();
    let (files, _) = localhost(folder.path());
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    for protocol in [Protocol::Https, Protocol::H2] {
        let address = silent.local_addr().unwrap();
        let mut world = world(&[address], protocol, must(&files));
        world.set_service(|service| {
            service.limits = ProxyLimits {
                connect_timeout: Duration::from_millis(300),
                response_timeout: GUARD * 2,
                ..ProxyLimits::default()
            };
        });
        let answer = world.client().get("/");
        assert_eq!(answer.status, 502);
        assert_eq!(answer.header("x-gapless-error"), Some("not_secured"));
        world.expect_outcomes(10, &[(Outcome::ConnectFailed, 1)]);
    }
}

/// A proxy with a shadow at this address, which speaks this.
fn shadowed(old: &Program, shadow: (SocketAddr, Protocol), tls: Option<ProgramTls>) -> World {
    let mut world = World::serving(&[old]);
    let mut target = candidate_at(2, std::iter::once(shadow.0), 20);
    target.tls = tls;
    target.endpoints[0].protocol = shadow.1;
    world.set_service(|service| {
        service.shadow = Some(ShadowTable {
            key: KEY,
            target,
            policy: Shadow {
                share: Share::ALL,
                methods: vec!["POST".to_owned()],
                body_bytes_max: 1_024,
                compare: None,
            },
        });
    });
    world
}

const KEY: ShadowKey = ShadowKey {
    rollout: model::RolloutId(5),
    step: 1,
    round: 0,
};

#[test]
fn copies_for_a_shadow_go_over_tls_too() {
    let folder = tempfile::tempdir().unwrap();
    let (files, _) = localhost(folder.path());
    let old = Program::echo("old");
    let new = Program::new(|connection| {
        let (head, body) = connection.request()?;
        connection.report(format!("{} {body}", head.lines().next()?));
        connection.answer("new");
        Some(())
    });
    let veil = Veil::new(&new, speaking(&files, &[]));
    let world = shadowed(&old, (veil.address, Protocol::Https), Some(must(&files)));
    assert_eq!(world.client().post("/", "body").status, 200);
    assert_eq!(new.report(), "POST / HTTP/1.1 body");
}

/// A program of HTTP/2 that answers as the body of a request says: with that status of gRPC.
fn told_by_the_body() -> (Program, std::sync::mpsc::Receiver<String>) {
    let (send, seen) = std::sync::mpsc::channel();
    let send = std::sync::Mutex::new(send);
    let program = crate::calls::speaking(async move |request, mut respond| {
        let (head, mut body) = request.into_parts();
        let mut text = Vec::new();
        while let Some(data) = body.data().await {
            let data = data.ok()?;
            body.flow_control().release_capacity(data.len()).ok()?;
            text.extend_from_slice(&data);
        }
        let text = String::from_utf8(text).ok()?;
        let mark = head
            .headers
            .get("gapless-shadow")
            .map(|mark| mark.to_str().unwrap());
        let said = format!("{} {} {mark:?} {text}", head.method, head.uri.path());
        let _ = send.lock().unwrap().send(said);
        let kind = ("content-type", "application/grpc");
        let answer = http::Response::builder()
            .header(kind.0, kind.1)
            .body(())
            .ok()?;
        let mut answer = respond.send_response(answer, false).ok()?;
        answer.send_data(vec![b'x'; 200_000].into(), false).ok()?;
        let mut trailers = http::HeaderMap::new();
        trailers.insert("grpc-status", text.parse().ok()?);
        answer.send_trailers(trailers).ok()
    });
    (program, seen)
}

#[test]
fn copies_for_a_shadow_that_speaks_http2_have_their_bodies_and_a_status_of_grpc() {
    let folder = tempfile::tempdir().unwrap();
    let (files, _) = localhost(folder.path());
    let old = Program::echo("old");
    for protocol in [Protocol::H2c, Protocol::H2] {
        let (new, seen) = told_by_the_body();
        let veil = Veil::new(&new, speaking(&files, &[b"h2"]));
        let (address, tls) = match protocol.is_secured() {
            true => (veil.address, Some(must(&files))),
            false => (new.address, None),
        };
        let world = shadowed(&old, (address, protocol), tls);
        let mut client = world.client();
        assert_eq!(client.post("/measured", "0").status, 200);
        let told = seen.recv_timeout(GUARD).unwrap();
        assert_eq!(told, "POST /measured Some(\"mirror\") 0");
        client.send("POST /chunked HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
        client.send("1\r\n1\r\n1\r\n4\r\n0\r\n\r\n");
        assert_eq!(client.response().status, 200);
        let told = seen.recv_timeout(GUARD).unwrap();
        assert_eq!(told, "POST /chunked Some(\"mirror\") 14");
        let answered = || {
            let copies = world.ledger.copies(traffic::Cell(20));
            let seen = copies.seen().map(|(_, outcome, count)| (outcome, count));
            seen.collect::<Vec<_>>()
        };
        until("both are answered", || {
            answered() == [(Outcome::Status2xx, 1), (Outcome::Status503, 1)]
        });
        world.expect_outcomes(10, &[(Outcome::Status2xx, 2)]);
    }
}

#[test]
fn a_shadow_that_does_not_speak_http2_harms_nobody() {
    let (old, new) = (Program::echo("old"), Program::echo("new"));
    let world = shadowed(&old, (new.address, Protocol::H2c), None);
    let mut client = world.client();
    assert_eq!(
        client.post("/", "body").text(),
        "old: POST / HTTP/1.1 [body]"
    );
    until("the copy has failed", || {
        world.ledger.copies(traffic::Cell(20)).ended() == 1
    });
    let copies = world.ledger.copies(traffic::Cell(20));
    let outcomes: Vec<Outcome> = copies.seen().map(|(_, outcome, _)| outcome).collect();
    assert!(
        matches!(outcomes[..], [Outcome::BadResponse | Outcome::NoResponse]),
        "{outcomes:?}"
    );
}

/// Takes a header off each connection, then passes everything to `behind`.
fn introduced(behind: SocketAddr, version: ProxyProtocol) -> Program {
    Program::new(move |connection| {
        // No byte of what follows is taken: it is the handshake's.
        let mut begin = Vec::new();
        let is_whole = |begin: &[u8]| match version {
            ProxyProtocol::V1 => begin.ends_with(b"\r\n"),
            ProxyProtocol::V2 => begin.len() == 28,
        };
        while !is_whole(&begin) {
            let mut byte = [0];
            connection.stream.read_exact(&mut byte).ok()?;
            begin.extend(byte);
        }
        connection.report(String::from_utf8_lossy(&begin).into_owned());
        let veil = TcpStream::connect(behind).ok()?;
        let (mut from, mut to) = (connection.stream.try_clone().ok()?, veil.try_clone().ok()?);
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut from, &mut to);
            to.shutdown(std::net::Shutdown::Write)
        });
        let mut veil = veil;
        std::io::copy(&mut veil, &mut connection.stream).ok()?;
        Some(())
    })
}

#[test]
fn a_program_is_told_whose_a_connection_is_before_the_handshake() {
    let folder = tempfile::tempdir().unwrap();
    let (files, _) = localhost(folder.path());
    let program = Program::echo("one");
    let veil = Veil::new(&program, speaking(&files, &[]));
    let line = |client: &crate::world::Client, world: &World| {
        let port = client.stream.local_addr().unwrap().port();
        let own = world.address.port();
        format!("PROXY TCP4 127.0.0.1 127.0.0.1 {port} {own}\r\n")
    };
    let front = introduced(veil.address, ProxyProtocol::V1);
    let mut world = world(&[front.address], Protocol::Https, must(&files));
    world.set_service(|service| {
        service.delivery.proxy_protocol = Some(ProxyProtocol::V1);
    });
    let mut client = world.client();
    let wanted = line(&client, &world);
    for path in ["/1", "/2"] {
        let text = format!("one: GET {path} HTTP/1.1 []");
        assert_eq!(client.get(path).text(), text);
        assert_eq!(front.report(), wanted);
    }
    assert_eq!(veil.handshakes(), 2, "one connection for each");
    let binary = introduced(veil.address, ProxyProtocol::V2);
    world.set_service(|service| {
        service.delivery.proxy_protocol = Some(ProxyProtocol::V2);
        service.stable.endpoints[0].address = binary.address;
    });
    assert_eq!(world.client().get("/3").status, 200);
    assert!(binary.report().starts_with("\r\n\r\n\0\r\nQUIT\n"));
}

/// A certificate that calls itself an authority's, made with `key`, for these names, and until
/// when it is one.
fn authority(folder: &Path, file: &str, params: CertificateParams) -> (CertificateFiles, KeyPair) {
    let key = KeyPair::generate().unwrap();
    let made = params.self_signed(&key).unwrap();
    (written(folder, file, (&made, &key)), key)
}

fn written(folder: &Path, file: &str, (made, key): (&Certificate, &KeyPair)) -> CertificateFiles {
    use std::os::unix::fs::PermissionsExt as _;
    let path = |kind: &str| {
        folder
            .join(format!("{file}.{kind}"))
            .to_str()
            .unwrap()
            .to_owned()
    };
    let files = CertificateFiles {
        cert: path("cert"),
        key: path("key"),
    };
    std::fs::write(&files.cert, made.pem()).unwrap();
    std::fs::write(&files.key, key.serialize_pem()).unwrap();
    let private = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(&files.key, private).unwrap();
    files
}

fn authoritative(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

#[test]
fn an_authoritys_own_certificate_is_believed_where_exactly_it_was_named_and_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    let program = Program::echo("one");
    let status = |shown: &CertificateFiles, tls: ProgramTls| {
        let veil = Veil::new(&program, speaking(shown, &[]));
        let world = world(&[veil.address], Protocol::Https, tls);
        world.client().get("/").status
    };
    let (own, key) = authority(folder.path(), "own", authoritative(&["localhost"]));
    assert_eq!(status(&own, must(&own)), 200);
    // The same key and names in another certificate are not that certificate.
    let again = authoritative(&["localhost"]).self_signed(&key).unwrap();
    let again = written(folder.path(), "again", (&again, &key));
    assert_eq!(status(&again, must(&own)), 502);
    let (other, _) = authority(folder.path(), "other", authoritative(&["localhost"]));
    assert_eq!(status(&own, must(&other)), 502);
    // An authority below the one that was named is none for a server.
    let issuer = Issuer::new(authoritative(&["localhost"]), key);
    let below_key = KeyPair::generate().unwrap();
    let below = authoritative(&["localhost"])
        .signed_by(&below_key, &issuer)
        .unwrap();
    let below = written(folder.path(), "below", (&below, &below_key));
    assert_eq!(status(&below, must(&own)), 502);
    // It has to be for the name, for servers, and for now.
    let renamed = ProgramTls {
        name: "other.test".to_owned(),
        ..must(&own)
    };
    assert_eq!(status(&own, renamed), 502);
    let mut late = authoritative(&["localhost"]);
    late.not_after = rcgen::date_time_ymd(2001, 1, 1);
    let mut clients = authoritative(&["localhost"]);
    clients.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    for (file, params) in [("late", late), ("clients", clients)] {
        let (files, _) = authority(folder.path(), file, params);
        assert_eq!(status(&files, must(&files)), 502, "{file}");
    }
}
