//! Whatever is sent, in whatever pieces, arrives unchanged.

use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::world::{Program, World};

/// How a body is framed.
#[derive(Debug, Clone, Copy)]
enum Framed {
    Length,
    Chunked,
    UntilClose,
}

/// One message's body, and the pieces it is written in.
#[derive(Debug, Clone)]
struct Sent {
    framed: Framed,
    bytes: usize,
    pieces: Vec<usize>,
}

impl Sent {
    fn body(&self) -> Vec<u8> {
        (0..self.bytes)
            .map(|at| b'a' + (at * 7 % 26) as u8)
            .collect()
    }

    /// The message with this first line, as bytes.
    fn message(&self, first_line: &str) -> Vec<u8> {
        let body = self.body();
        let mut bytes = format!("{first_line}\r\n").into_bytes();
        match self.framed {
            Framed::Length => {
                bytes.extend(format!("Content-Length: {}\r\n\r\n", body.len()).bytes());
                bytes.extend(body);
            }
            Framed::Chunked => {
                bytes.extend(b"Transfer-Encoding: chunked\r\n\r\n");
                for chunk in body.chunks(1_000 + self.pieces.len() * 999) {
                    bytes.extend(format!("{:X}\r\n", chunk.len()).bytes());
                    bytes.extend(chunk);
                    bytes.extend(b"\r\n");
                }
                bytes.extend(b"0\r\n\r\n");
            }
            Framed::UntilClose => {
                bytes.extend(b"\r\n");
                bytes.extend(body);
            }
        }
        bytes
    }

    /// Cuts a message into its pieces.
    fn cut<'a>(&self, message: &'a [u8]) -> Vec<&'a [u8]> {
        let mut left = message;
        let mut pieces = Vec::new();
        for piece in self.pieces.iter().cycle().take(40) {
            let (now, later) = left.split_at((*piece).min(left.len()));
            pieces.push(now);
            left = later;
        }
        pieces.push(left);
        pieces
    }
}

fn sent(framings: &'static [Framed]) -> impl Strategy<Value = Sent> {
    let size = prop_oneof![Just(0_usize), 1_usize..200, 1_usize..70_000];
    let pieces = prop::collection::vec(prop_oneof![1_usize..30, 1_usize..20_000], 1..6);
    (prop::sample::select(framings), size, pieces).prop_map(|(framed, bytes, pieces)| Sent {
        framed,
        bytes,
        pieces,
    })
}

#[test]
fn any_message_in_any_pieces_arrives_unchanged_both_ways() {
    let answers = Arc::new(std::sync::Mutex::new(None::<Sent>));
    let script = Arc::clone(&answers);
    let program = Program::new(move |connection| {
        loop {
            let (_, body) = connection.request()?;
            connection.report(body);
            let answer = script.lock().unwrap().clone()?;
            let message = answer.message("HTTP/1.1 200 OK");
            for piece in answer.cut(&message) {
                connection.send(piece)?;
            }
            if let Framed::UntilClose = answer.framed {
                return Some(());
            }
        }
    });
    let world = World::serving(&[&program]);
    let client = std::cell::RefCell::new(world.client());
    let mut runner = TestRunner::new(Config {
        cases: 150,
        failure_persistence: None,
        ..Config::default()
    });
    let exchange = (
        sent(&[Framed::Length, Framed::Chunked]),
        sent(&[Framed::Length, Framed::Chunked, Framed::UntilClose]),
    );
    let outcome = runner.run(&exchange, |(asked, answered)| {
        let mut client = client.borrow_mut();
        *answers.lock().unwrap() = Some(answered.clone());
        let message = asked.message("PUT /x HTTP/1.1\r\nHost: h");
        for piece in asked.cut(&message) {
            client.send(piece);
        }
        let response = client.response();
        prop_assert_eq!(response.status, 200);
        prop_assert!(program.report().into_bytes() == asked.body());
        prop_assert!(response.body == answered.body());
        Ok(())
    });
    assert!(outcome.is_ok(), "{}", outcome.unwrap_err());
    assert_eq!(
        world.settled(10).seen().count(),
        1,
        "every outcome is a 2xx"
    );
}
