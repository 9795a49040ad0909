//! Programs that speak over TLS: what they must prove, and that all else is as it was.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use model::{CertificateFiles, ProgramTls, Protocol, ProxyLimits, Shadow, ShadowKey, Share};
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
    let mut world = World::serving(&[&old]);
    let mut target = candidate_at(2, std::iter::once(veil.address), 20);
    target.tls = Some(must(&files));
    target.endpoints[0].protocol = Protocol::Https;
    world.set_service(|service| {
        service.shadow = Some(ShadowTable {
            key: ShadowKey {
                rollout: model::RolloutId(5),
                step: 1,
                round: 0,
            },
            target,
            policy: Shadow {
                share: Share::ALL,
                methods: vec!["POST".to_owned()],
                body_bytes_max: 1_024,
                compare: None,
            },
        });
    });
    assert_eq!(world.client().post("/", "body").status, 200);
    assert_eq!(new.report(), "POST / HTTP/1.1 body");
}
