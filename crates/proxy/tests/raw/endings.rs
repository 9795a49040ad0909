//! Connections that end in the middle of something.

use std::io::Write;
use std::time::Duration;

use model::ProxyLimits;
use proxy::Settings;
use traffic::{Outcome, Rejected};

use crate::world::{Ended, Program, World, until};

fn sends_then_closes(bytes: &'static str) -> Program {
    Program::new(move |connection| {
        connection.request()?;
        connection.send(bytes)
    })
}

#[test]
fn a_program_that_dies_within_a_counted_body_never_looks_whole() {
    let program = sends_then_closes("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
    let world = World::serving(&[&program]);
    let mut client = world.client();
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    let (_, ended) = client.rest();
    assert_eq!(ended, Ended::Reset);
    world.expect_outcomes(10, &[(Outcome::Truncated, 1)]);
}

#[test]
fn a_program_that_dies_within_a_chunked_body_never_looks_whole() {
    let program =
        sends_then_closes("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    let world = World::serving(&[&program]);
    let mut client = world.client();
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    let (bytes, ended) = client.rest();
    assert_eq!(ended, Ended::Reset);
    assert!(!String::from_utf8_lossy(&bytes).contains("\r\n0\r\n"));
    world.expect_outcomes(10, &[(Outcome::Truncated, 1)]);
}

#[test]
fn a_reset_within_a_body_that_ends_with_the_connection_is_no_end() {
    let program = Program::new(|connection| {
        connection.request()?;
        connection.send("HTTP/1.1 200 OK\r\n\r\nhalf")?;
        connection.report("half");
        connection.read_to(b"never");
        Some(())
    });
    let resetting = Program::new(|connection| {
        connection.request()?;
        connection.send("HTTP/1.1 200 OK\r\n\r\nhalf")?;
        connection.report("half");
        std::thread::sleep(Duration::from_millis(50));
        connection.reset();
        Some(())
    });
    drop(program);
    let world = World::serving(&[&resetting]);
    let mut client = world.client();
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    resetting.report();
    let (_, ended) = client.rest();
    assert_eq!(ended, Ended::Reset);
    world.expect_outcomes(10, &[(Outcome::Truncated, 1)]);
}

#[test]
fn a_body_that_ends_with_the_connection_comes_through_whole() {
    let program = sends_then_closes("HTTP/1.1 200 OK\r\n\r\nall of it");
    let world = World::serving(&[&program]);
    let mut client = world.client();
    assert_eq!(client.get("/").text(), "all of it");
    assert_eq!(client.get("/").text(), "all of it");
    let mut old = world.client();
    old.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    let (bytes, ended) = old.rest();
    assert!(bytes.ends_with(b"\r\n\r\nall of it"));
    assert_eq!(ended, Ended::Cleanly);
    world.expect_outcomes(10, &[(Outcome::Status2xx, 3)]);
}

#[test]
fn a_client_that_leaves_ends_the_programs_work() {
    let program = Program::new(|connection| {
        connection.request()?;
        connection.report("asked");
        connection.wait_for_end();
        connection.report("ended");
        Some(())
    });
    let world = World::serving(&[&program]);
    let mut client = world.client();
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(program.report(), "asked");
    assert_eq!(world.open(10), 1);
    drop(client);
    assert_eq!(program.report(), "ended");
    world.expect_outcomes(10, &[(Outcome::ClientGone, 1)]);
}

#[test]
fn a_client_that_leaves_within_its_body_gives_the_program_no_end_of_it() {
    let program = Program::new(|connection| {
        connection.head()?;
        connection.report("asked");
        let bytes = connection.wait_for_end();
        connection.report(format!("{bytes} bytes"));
        Some(())
    });
    let world = World::serving(&[&program]);
    let mut client = world.client();
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhalf");
    assert_eq!(program.report(), "asked");
    drop(client);
    assert_eq!(program.report(), "4 bytes");
    world.expect_outcomes(10, &[(Outcome::ClientGone, 1)]);
}

#[test]
fn a_client_that_leaves_within_a_response_ends_the_programs_work() {
    let program = Program::new(|connection| {
        connection.request()?;
        connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        while connection
            .send("1000\r\n")
            .and_then(|()| connection.send([b'x'; 4_096]))
            .and_then(|()| connection.send("\r\n"))
            .is_some()
        {}
        connection.report("ended");
        Some(())
    });
    let world = World::serving(&[&program]);
    let mut client = world.client();
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    client.read_exactly(10_000);
    drop(client);
    assert_eq!(program.report(), "ended");
    world.expect_outcomes(10, &[(Outcome::ClientGone, 1)]);
}

#[test]
fn a_silent_program_is_given_up_after_the_response_timeout() {
    let program = Program::new(|connection| {
        connection.request()?;
        connection.wait_for_end();
        connection.report("given up");
        Some(())
    });
    let mut world = World::serving(&[&program]);
    world.set_service(|service| service.limits.response_timeout = Duration::from_millis(200));
    let mut client = world.client();
    let response = client.get("/");
    assert_eq!(response.status, 504);
    assert_eq!(response.header("x-gapless-error"), Some("timeout"));
    assert_eq!(program.report(), "given up");
    assert_eq!(client.get("/").status, 504, "the connection goes on");
    world.expect_outcomes(10, &[(Outcome::Timeout, 2)]);
    assert_eq!(world.service().rejected(Rejected::Timeout), 2);
}

#[test]
fn a_program_silent_within_its_body_is_given_up_and_the_response_is_not_ended() {
    let program = Program::new(|connection| {
        connection.request()?;
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")?;
        connection.wait_for_end();
        Some(())
    });
    let mut world = World::serving(&[&program]);
    world.set_service(|service| service.limits.idle_timeout = Duration::from_millis(200));
    let mut client = world.client();
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(client.rest().1, Ended::Reset);
    world.expect_outcomes(10, &[(Outcome::Timeout, 1)]);
}

#[test]
fn a_client_that_stops_sending_its_body_is_told_so() {
    let program = Program::echo("one");
    let mut world = World::serving(&[&program]);
    world.set_service(|service| service.limits.idle_timeout = Duration::from_millis(200));
    let mut client = world.client();
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhalf");
    let response = client.response();
    assert_eq!(response.status, 408);
    assert_eq!(response.header("x-gapless-error"), Some("body_timeout"));
    assert_eq!(response.header("connection"), Some("close"));
    assert_eq!(client.rest().1, Ended::Cleanly);
    world.expect_outcomes(10, &[(Outcome::ClientGone, 1)]);
}

#[test]
fn a_client_that_does_not_finish_its_head_is_told_so() {
    let settings = Settings {
        head_timeout: Duration::from_millis(200),
        ..Settings::default()
    };
    let world = World::with_settings(settings);
    let mut client = world.client();
    client.send("GET / HTTP/1.1\r\nHost: ");
    let response = client.response();
    assert_eq!(response.status, 408);
    assert_eq!(client.rest().1, Ended::Cleanly);
    assert_eq!(
        world.ledger.slots().rejected[Rejected::HeadTimeout.index()],
        1
    );
}

#[test]
fn a_head_that_trickles_in_has_no_more_time_than_another() {
    let settings = Settings {
        head_timeout: Duration::from_millis(400),
        ..Settings::default()
    };
    let world = World::with_settings(settings);
    let mut client = world.client();
    let mut trickle = client.stream.try_clone().unwrap();
    let trickling = std::thread::spawn(move || {
        let head = "GET / HTTP/1.1\r\nHost: h\r\nX: ";
        let bytes = head.bytes().chain(std::iter::repeat_n(b'x', 20_000));
        for byte in bytes {
            if trickle.write_all(&[byte]).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    assert_eq!(client.response().status, 408);
    client.stream.shutdown(std::net::Shutdown::Both).unwrap();
    trickling.join().unwrap();
}

#[test]
fn a_client_that_takes_nothing_of_its_response_is_given_up() {
    let program = Program::new(|connection| {
        connection.request()?;
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")?;
        while connection.send([b'x'; 65_536]).is_some() {}
        connection.report("ended");
        Some(())
    });
    let mut world = World::serving(&[&program]);
    world.set_service(|service| service.limits.idle_timeout = Duration::from_millis(300));
    let mut client = world.client();
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(program.report(), "ended");
    world.expect_outcomes(10, &[(Outcome::ClientGone, 1)]);
}

#[test]
fn an_idle_connection_ends_after_its_time_and_not_before() {
    let program = Program::echo("one");
    let settings = Settings {
        idle_timeout: Duration::from_millis(600),
        ..Settings::default()
    };
    let mut world = World::with_settings(settings);
    world.set_endpoints(&[&program]);
    let mut client = world.client();
    assert_eq!(client.get("/").status, 200);
    assert!(client.is_silent_for(Duration::from_millis(200)));
    assert_eq!(client.get("/").status, 200);
    assert_eq!(client.rest(), (Vec::new(), Ended::Cleanly));
}

#[test]
fn an_endpoint_that_does_not_take_connections_is_given_up_after_the_connect_timeout() {
    // A listening socket whose queue is full leaves further connections waiting.
    let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    full.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into())
        .unwrap();
    full.listen(0).unwrap();
    let address = full.local_addr().unwrap().as_socket().unwrap();
    let _waiting: Vec<_> = (0..4)
        .filter_map(|_| {
            std::net::TcpStream::connect_timeout(&address, Duration::from_millis(100)).ok()
        })
        .collect();
    let mut world = World::serving(&[]);
    world.set_service(|service| {
        service.limits = ProxyLimits {
            connect_timeout: Duration::from_millis(200),
            ..ProxyLimits::default()
        };
        service.stable = crate::world::candidate_at(1, std::iter::once(address), 10);
    });
    assert_eq!(world.client().get("/").status, 502);
    world.expect_outcomes(10, &[(Outcome::ConnectFailed, 1)]);
}

#[test]
fn nothing_is_left_open_when_everyone_has_gone() {
    let program = Program::echo("one");
    let mut world = World::serving(&[&program]);
    let clients: Vec<_> = (0..20).map(|_| world.client()).collect();
    for mut client in clients {
        client.get("/");
    }
    until("no connection is left", || {
        world.ledger.slots().connections == 0
    });
    world.stop();
    assert!(world.ledger.generations().is_empty());
    assert_eq!(world.open(10), 0);
}
