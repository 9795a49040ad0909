//! The invariants, for any input.

use http1::{
    Answer, BodyRelay, ClientSide, Framing, Next, Persist, RewriteRequest, Tunnel, UpstreamSide,
    Version,
};
use proptest::prelude::*;

use super::support::checks::REWRITE;
use super::support::message::{self, Body};
use super::support::{checks, seed::Seed};
use super::{request, response};

/// Bytes that are likelier to mean something than any bytes.
fn wire() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        any::<Vec<u8>>(),
        "[ -~]{0,20}".prop_map(String::into_bytes),
        Just(b"\r\n".to_vec()),
        Just(b"GET / HTTP/1.1\r\nHost: a\r\n".to_vec()),
        Just(b"POST /x HTTP/1.1\r\nhost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec()),
        Just(b"HTTP/1.1 200 OK\r\n".to_vec()),
        Just(b"Content-Length: 4\r\n".to_vec()),
        Just(b"5;x\r\nhello\r\n".to_vec()),
        Just(b"0\r\n\r\n".to_vec()),
    ];
    proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    // Invariants 1 to 4 on any bytes.
    #[test]
    fn any_bytes_hold_the_promises(data in wire()) {
        checks::request_head(&data);
        checks::response_head(&data);
        checks::chunked_body(&data);
        checks::split_invariance(&data);
    }

    // Invariant 4: whatever is missing at the end, no end is sent.
    #[test]
    fn no_prefix_of_a_body_has_an_end(seed in any::<u64>(), old in any::<bool>()) {
        let message = message::response(&mut Seed(seed));
        let framing = match message.body {
            Body::Chunked => Framing::Chunked,
            Body::Length if !message.payload.is_empty() => Framing::Length(message.payload.len() as u64),
            Body::Length | Body::UntilClose | Body::Absent => return Ok(()),
        };
        let client = if old { Version::Http10 } else { Version::Http11 };
        let wire = &message.bytes[message.head_bytes..];
        let cut = Seed(seed).below(wire.len());
        let mut relay = BodyRelay::for_response(framing, client);
        let mut out = Vec::new();
        prop_assert_eq!(relay.pump(&wire[..cut], &mut out), Ok(cut));
        prop_assert!(relay.end_of_input(&mut out).is_err());
        prop_assert!(!relay.is_ended());
        prop_assert_eq!(relay.pump(&wire[cut..], &mut out), Ok(wire.len() - cut));
        prop_assert!(relay.is_ended());
        prop_assert_eq!(relay.payload_bytes(), message.payload.len() as u64);
    }

    // Invariant 6, as the conjunction that it states.
    #[test]
    fn an_upstream_is_reused_exactly_when_all_conditions_hold(
        request_ended in any::<bool>(), response_ended in any::<bool>(), unread in 0_usize..3,
        we_close in any::<bool>(), they_close in any::<bool>(), until_close in any::<bool>(),
    ) {
        let head = request("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n");
        let persist = if we_close { Persist::Close } else { Persist::KeepAlive };
        let mut side = UpstreamSide::new(&head, &RewriteRequest { persist, ..REWRITE });
        if request_ended {
            side.request_ended();
        }
        let close = if they_close { "Connection: close\r\n" } else { "" };
        let length = if until_close { "" } else { "Content-Length: 5\r\n" };
        let answer = side.answer(&head, &response(&format!("HTTP/1.1 200 OK\r\n{close}{length}\r\n")));
        prop_assert!(matches!(answer, Ok(Answer::Final(_))));
        if response_ended {
            side.response_ended();
        }
        let wanted = request_ended && response_ended && unread == 0 && !we_close && !they_close && !until_close;
        prop_assert_eq!(side.may_reuse(unread), wanted);
    }

    // Invariant 5, whatever happens in whatever order.
    #[test]
    fn a_further_request_is_read_only_after_two_whole_messages(events in proptest::collection::vec(0_u8..5, 0..8)) {
        let head = request("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
        let mut side = ClientSide::new(&head);
        let (mut request_ended, mut response_began, mut response_ended) = (false, false, false);
        let mut said = Persist::KeepAlive;
        for event in events {
            match event {
                0 => side.continued(),
                1 => side.body_read(2),
                2 => {
                    side.request_ended();
                    request_ended = true;
                }
                3 => {
                    said = side.begin_response(Framing::Length(1), Persist::KeepAlive);
                    response_began = true;
                    response_ended = false;
                }
                _ => {
                    side.response_ended();
                    response_ended = response_began;
                }
            }
            if side.next() == Next::Request {
                prop_assert!(request_ended && response_ended && said == Persist::KeepAlive);
            }
            if said == Persist::Close {
                prop_assert_eq!(side.next(), Next::Close, "a promised close was taken back");
            }
        }
    }

    // Invariant 7: a tunnel needs both sides' words.
    #[test]
    fn a_tunnel_needs_a_matching_offer(
        offered in prop_oneof![Just(""), Just("websocket"), Just("other"), Just("h2c")],
        chosen in prop_oneof![Just(""), Just("WebSocket"), Just("other"), Just("h2c")],
        sent in any::<bool>(),
    ) {
        let lines = |protocol: &str| match protocol {
            "" => String::new(),
            protocol => format!("Connection: upgrade\r\nUpgrade: {protocol}\r\n"),
        };
        let head = request(&format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", lines(offered)));
        let tunnel = if sent { Tunnel::Offered } else { Tunnel::Refused };
        let mut side = UpstreamSide::new(&head, &RewriteRequest { tunnel, ..REWRITE });
        let answer = side.answer(&head, &response(&format!("HTTP/1.1 101 x\r\n{}\r\n", lines(chosen))));
        let matching = sent && !matches!(offered, "" | "h2c") && offered.eq_ignore_ascii_case(chosen);
        prop_assert_eq!(answer == Ok(Answer::Tunnel), matching);
        prop_assert!(!side.may_reuse(0));
    }
}
