//! The PROXY protocol on both sides: who a connection is introduced as, and who may do that.

use model::ProxyProtocol;

use crate::world::{Program, World};

/// A program that reports every head.
fn told() -> Program {
    Program::new(|connection| {
        loop {
            let (head, _) = connection.request()?;
            connection.report(head);
            connection.answer("fine");
        }
    })
}

fn introduced(program: &Program, trusted: &str) -> World {
    let mut world = World::serving(&[program]);
    world.publish(|table| {
        table.listeners[0].proxy_protocol = true;
        table.peers.trusted = vec![trusted.parse().unwrap()];
    });
    world
}

#[test]
fn a_client_is_who_its_introduction_says() {
    let program = told();
    let world = introduced(&program, "127.0.0.1");
    let v2 = [
        &b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0e"[..],
        &[192, 0, 2, 7, 127, 0, 0, 1, 0x12, 0x67, 0, 80, 4, 0],
    ]
    .concat();
    for header in [&b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 80\r\n"[..], &v2] {
        let mut client = world.client();
        // Byte by byte, and the first request with the header's last one.
        header[..header.len() - 1].iter().for_each(|byte| {
            client.send([*byte]);
        });
        let last = [
            &header[header.len() - 1..],
            b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n",
        ];
        client.send(last.concat());
        assert_eq!(client.response().text(), "fine");
        let head = program.report();
        assert!(
            head.contains("\r\nx-forwarded-for: 192.0.2.7\r\n"),
            "{head}"
        );
        assert_eq!(client.get("/2").text(), "fine");
        assert!(program.report().contains("192.0.2.7"));
    }
}

#[test]
fn a_peers_own_connection_is_its_own() {
    let program = told();
    let world = introduced(&program, "127.0.0.1");
    for header in [
        &b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00"[..],
        b"PROXY UNKNOWN\r\n",
    ] {
        let mut client = world.client();
        client.send(header);
        assert_eq!(client.get("/").text(), "fine");
        assert!(
            program
                .report()
                .contains("\r\nx-forwarded-for: 127.0.0.1\r\n")
        );
    }
}

#[test]
fn only_trusted_peers_introduce_and_nobody_goes_without() {
    let program = told();
    let world = introduced(&program, "10.0.0.0/8");
    let mut stranger = world.client();
    stranger.send("PROXY TCP4 192.0.2.7 127.0.0.1 4711 80\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(stranger.rest().0.is_empty());
    let world = introduced(&program, "127.0.0.1");
    let mut silent = world.client();
    silent.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(silent.rest().0.is_empty());
    assert_eq!(program.connections(), 0);
}

#[test]
fn without_the_option_an_introduction_is_no_request() {
    let program = told();
    let world = World::serving(&[&program]);
    let mut client = world.client();
    client.send("PROXY TCP4 192.0.2.7 127.0.0.1 4711 80\r\n\r\n");
    assert_eq!(client.response().status, 400);
}

#[test]
fn a_connection_before_the_first_table_waits_to_know_how_it_begins() {
    let program = told();
    let mut world = World::without_table();
    let mut client = world.client();
    client.send("PROXY TCP4 192.0.2.7 127.0.0.1 4711 80\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let address = world.address;
    let table = crate::world::table_for(address, program.address);
    world.publish(|old| {
        let revision = old.revision;
        *old = table;
        old.revision = revision;
        old.listeners[0].proxy_protocol = true;
        old.peers.trusted = vec!["127.0.0.1".parse().unwrap()];
    });
    assert_eq!(client.response().text(), "fine");
    assert!(program.report().contains("192.0.2.7"));
}

#[test]
fn a_program_is_told_whose_each_connection_is() {
    for version in [ProxyProtocol::V1, ProxyProtocol::V2] {
        let program = Program::new(move |connection| {
            let begin = match version {
                ProxyProtocol::V1 => connection.read_to(b"\r\n")?,
                ProxyProtocol::V2 => connection.read_exactly(28)?,
            };
            let (head, _) = connection.request()?;
            connection.report(format!("{begin:?}"));
            connection.report(head);
            connection.answer("fine");
            connection.wait_for_end();
            Some(())
        });
        let mut world = World::serving(&[&program]);
        world.set_service(|service| service.delivery.proxy_protocol = Some(version));
        let mut client = world.client();
        let port = client.stream.local_addr().unwrap().port();
        let line = format!(
            "PROXY TCP4 127.0.0.1 127.0.0.1 {port} {}\r\n",
            world.address.port()
        );
        for path in ["/1", "/2"] {
            assert_eq!(client.get(path).text(), "fine");
            let begin = program.report();
            match version {
                ProxyProtocol::V1 => assert_eq!(begin, format!("{:?}", line.as_bytes())),
                ProxyProtocol::V2 => assert!(begin.starts_with("[13, 10, 13, 10, 0, 13, 10, 81")),
            }
            assert!(program.report().contains("\r\nconnection: close\r\n"));
        }
        assert_eq!(program.connections(), 2);
    }
}
