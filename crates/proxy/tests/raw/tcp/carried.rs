//! Every byte arrives, in its order and once, and so do the ends.

use std::io::{Read, Write};
use std::sync::Mutex;
use std::sync::mpsc::channel;

use model::ProxyProtocol;
use traffic::Outcome;

use super::{WHOLE, echo, is_echoed, noise};
use crate::access::Logged;
use crate::world::{Ended, GUARD, Program, World, until};

#[test]
fn many_bytes_both_ways_at_a_time_arrive_as_they_were_sent() {
    const BYTES: usize = 24 << 20;
    let program = echo();
    let world = World::carrying(&[&program]);
    let client = world.client();
    let (mut reader, mut writer) = (client.stream.try_clone().unwrap(), client.stream);
    let sent = noise(BYTES, 7);
    let told = sent.clone();
    let writing = std::thread::spawn(move || {
        // Pieces of all sizes, so that what is copied and what is spliced follow one another.
        let mut at = 0;
        for step in (0..).map(|n: usize| 1 + n * n * 37 % 300_000) {
            let end = (at + step).min(BYTES);
            writer.write_all(&told[at..end]).unwrap();
            at = end;
            if at == BYTES {
                break;
            }
        }
        writer.shutdown(std::net::Shutdown::Write).unwrap();
    });
    let mut got = Vec::new();
    reader.read_to_end(&mut got).unwrap();
    writing.join().unwrap();
    assert!(got == sent, "{} of {BYTES} bytes", got.len());
    world.expect_outcomes(10, &WHOLE);
    let totals = world.cell(10);
    let all = BYTES as u64;
    assert_eq!((totals.bytes_to, totals.bytes_from), (all, all));
}

#[test]
fn each_side_may_end_while_the_other_goes_on() {
    let (go, gone) = channel::<()>();
    let gone = Mutex::new(gone);
    let program = Program::new(move |connection| {
        connection.send("hello")?;
        let asked = connection.wait_for_end();
        connection.report(format!("heard {asked}"));
        gone.lock().unwrap().recv().ok()?;
        connection.send("late answer")
    });
    let world = World::carrying(&[&program]);
    // The client first: the answer comes long after.
    let mut client = world.client();
    assert_eq!(client.read_exactly(5), b"hello");
    client.send("question").half_close();
    assert_eq!(program.report(), "heard 8");
    go.send(()).unwrap();
    assert_eq!(client.rest(), (b"late answer".to_vec(), Ended::Cleanly));
    world.expect_outcomes(10, &WHOLE);
    // The program first: it goes on listening.
    let program = Program::new(|connection| {
        connection.send("all I say")?;
        connection.half_close();
        let heard = connection.wait_for_end();
        connection.report(format!("heard {heard}"));
        Some(())
    });
    let world = World::carrying(&[&program]);
    let mut client = world.client();
    client.read_exactly(9);
    let mut byte = [0];
    assert_eq!(
        client.stream.read(&mut byte).unwrap(),
        0,
        "its end is heard"
    );
    client.send("still here").half_close();
    assert_eq!(program.report(), "heard 10");
    world.expect_outcomes(10, &WHOLE);
}

#[test]
fn what_nobody_reads_is_held_back_at_its_source() {
    let (go, gone) = channel::<()>();
    let gone = Mutex::new(gone);
    let program = Program::new(move |connection| {
        gone.lock().unwrap().recv().ok()?;
        let heard = connection.wait_for_end();
        connection.report(format!("heard {heard}"));
        Some(())
    });
    let world = World::carrying(&[&program]);
    let mut client = world.client();
    // Until the sockets' own buffers and ours are full: they are finite.
    client.stream.set_nonblocking(true).unwrap();
    let piece = noise(1 << 16, 3);
    let mut sent = 0;
    let mut refused = 0;
    while refused < 50 {
        match client.stream.write(&piece) {
            Ok(count) => {
                sent += count;
                refused = 0;
            }
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
                refused += 1;
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        }
        assert!(sent < 256 << 20, "nothing holds it back");
    }
    client.stream.set_nonblocking(false).unwrap();
    client.stream.set_write_timeout(Some(GUARD)).unwrap();
    go.send(()).unwrap();
    client.send("the rest").half_close();
    assert_eq!(program.report(), format!("heard {}", sent + 8));
    world.expect_outcomes(10, &WHOLE);
}

#[test]
fn more_connections_than_there_are_pipes_are_carried_all_the_same() {
    const BYTES: usize = 300_000;
    let program = echo();
    let world = World::carrying(&[&program]);
    let address = world.address;
    let each = (0..80).map(|number| {
        std::thread::spawn(move || {
            let sent = noise(BYTES, number);
            let client = crate::world::Client::connect(address);
            let (mut reader, mut writer) = (client.stream.try_clone().unwrap(), client.stream);
            let told = sent.clone();
            let writing = std::thread::spawn(move || {
                writer.write_all(&told).unwrap();
                writer.shutdown(std::net::Shutdown::Write).unwrap();
            });
            let mut got = Vec::new();
            reader.read_to_end(&mut got).unwrap();
            writing.join().unwrap();
            got == sent
        })
    });
    let each: Vec<_> = each.collect();
    assert!(each.into_iter().all(|one| one.join().unwrap()));
    world.expect_outcomes(
        10,
        &[(Outcome::TunnelOpened, 80), (Outcome::TunnelClosed, 80)],
    );
}

#[test]
fn a_program_is_told_whose_a_connection_is_and_a_peer_says_it() {
    let program = Program::new(|connection| {
        let line = connection.read_to(b"\r\n")?;
        connection.report(String::from_utf8(line).unwrap());
        loop {
            let bytes = connection.some()?;
            connection.send(bytes)?;
        }
    });
    let mut world = World::carrying(&[&program]);
    world.set_service(|service| service.delivery.proxy_protocol = Some(ProxyProtocol::V1));
    let mut client = world.client();
    let port = client.stream.local_addr().unwrap().port();
    assert!(is_echoed(&mut client, "a"));
    let own = world.address.port();
    assert_eq!(
        program.report(),
        format!("PROXY TCP4 127.0.0.1 127.0.0.1 {port} {own}\r\n")
    );
    client.half_close();
    assert_eq!(client.rest().1, Ended::Cleanly);
    world.expect_outcomes(10, &WHOLE);
    assert_eq!(
        world.cell(10).bytes_to,
        1,
        "an introduction is nobody's byte"
    );
    world.publish(|table| {
        table.listeners[0].proxy_protocol = true;
        table.peers.trusted = vec!["127.0.0.1".parse().unwrap()];
    });
    let mut client = world.client();
    client.send("PROXY TCP4 192.0.2.7 127.0.0.1 4711 80\r\n");
    assert!(is_echoed(&mut client, "b"));
    assert_eq!(
        program.report(),
        format!("PROXY TCP4 192.0.2.7 127.0.0.1 4711 {own}\r\n")
    );
    let mut stranger = world.client();
    stranger.send("no introduction");
    assert_eq!(stranger.rest(), (Vec::new(), Ended::Reset));
}

#[test]
fn the_access_log_has_a_line_for_each_connection() {
    let program = echo();
    let mut logged = Logged::new(&[&program]);
    logged.world.carry();
    let mut client = logged.world.client();
    assert!(is_echoed(&mut client, "hello"));
    client.half_close();
    assert_eq!(client.rest().1, Ended::Cleanly);
    let line = logged.line();
    assert_eq!(
        (&line["protocol"], &line["termination"], &line["service"]),
        (&"TCP".into(), &"complete".into(), &"web".into())
    );
    assert_eq!(
        (&line["bytes_in"], &line["bytes_out"], &line["release"]),
        (&5.into(), &5.into(), &"v1".into())
    );
    for nothing in ["host", "method", "path", "status", "reason"] {
        assert!(line[nothing].is_null(), "{line}");
    }
    assert!(line["connect_ms"].is_number() && line["first_byte_ms"].is_number());
}

#[test]
fn a_pipe_is_given_back_when_nothing_more_comes() {
    let program = echo();
    let world = World::carrying(&[&program]);
    let files = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let mut clients: Vec<_> = (0..20).map(|_| world.client()).collect();
    for client in &mut clients {
        assert!(is_echoed(client, "warm"));
    }
    let before = files();
    let sent = noise(1 << 20, 1);
    for client in &mut clients {
        let mut writer = client.stream.try_clone().unwrap();
        let told = sent.clone();
        let writing = std::thread::spawn(move || writer.write_all(&told).unwrap());
        assert!(client.read_exactly(sent.len()) == sent);
        writing.join().unwrap();
    }
    // Other tests of this process open and close files meanwhile: what is lasting would show.
    until("the pipes are closed", || files() <= before + 30);
}
