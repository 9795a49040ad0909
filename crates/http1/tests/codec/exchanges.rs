//! What an exchange does to its two connections.

use std::time::Duration;

use http1::limits::{DISCARD_BYTES_MAX, INTERIM_RESPONSES_MAX};
use http1::{
    Answer, AnswerError, ClientSide, DiscardError, Framing, Method, Next, Persist, RequestHead,
    RewriteRequest, Tunnel, UpstreamSide, may_use_idle,
};

use super::support::checks::REWRITE;
use super::{request, response};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const UPGRADE: &str =
    "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
const SWITCHING: &str = "HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: WebSocket\r\n\r\n";

fn post(headers: &str) -> RequestHead {
    request(&format!("POST / HTTP/1.1\r\nHost: a\r\n{headers}\r\n"))
}

/// A finished exchange whose response said `headers`.
fn finished(request: &RequestHead, headers: &str) -> UpstreamSide {
    let mut side = UpstreamSide::new(request, &REWRITE);
    side.request_ended();
    let answer = side.answer(
        request,
        &response(&format!("HTTP/1.1 200 OK\r\n{headers}\r\n")),
    );
    assert!(matches!(answer, Ok(Answer::Final(_))));
    side.response_ended();
    side
}

#[test]
fn an_upstream_is_reused_after_two_whole_messages() {
    assert!(finished(&request(GET), "Content-Length: 2\r\n").may_reuse(0));
    assert!(
        finished(
            &post("Content-Length: 5\r\n"),
            "Transfer-Encoding: chunked\r\n"
        )
        .may_reuse(0)
    );
}

#[test]
fn an_upstream_with_leftover_bytes_is_not_reused() {
    assert!(!finished(&request(GET), "Content-Length: 2\r\n").may_reuse(1));
}

#[test]
fn an_upstream_that_anybody_closes_is_not_reused() {
    assert!(!finished(&request(GET), "Content-Length: 2\r\nConnection: close\r\n").may_reuse(0));
    assert!(!finished(&request(GET), "").may_reuse(0));
    let head = request(GET);
    let mut side = UpstreamSide::new(
        &head,
        &RewriteRequest {
            persist: Persist::Close,
            ..REWRITE
        },
    );
    side.answer(&head, &response("HTTP/1.1 204 x\r\n\r\n"))
        .expect("an answer");
    assert!(!side.may_reuse(0));
}

#[test]
fn an_upstream_that_answers_early_is_not_reused_before_the_request_ended() {
    let head = post("Content-Length: 5\r\n");
    let mut side = UpstreamSide::new(&head, &REWRITE);
    let answer = side.answer(
        &head,
        &response("HTTP/1.1 413 x\r\nContent-Length: 0\r\n\r\n"),
    );
    assert_eq!(answer, Ok(Answer::Final(Framing::Length(0))));
    assert!(!side.may_reuse(0));
    side.request_ended();
    assert!(side.may_reuse(0));
}

#[test]
fn an_upstream_in_the_middle_of_a_response_is_not_reused() {
    let head = request(GET);
    let mut side = UpstreamSide::new(&head, &REWRITE);
    assert!(!side.may_reuse(0));
    assert!(!side.has_answered());
    side.answer(
        &head,
        &response("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"),
    )
    .expect("an answer");
    assert!(side.has_answered());
    assert!(!side.may_reuse(0));
    side.response_ended();
    assert!(side.may_reuse(0));
}

#[test]
fn bodiless_responses_end_with_their_head() {
    for (method, text) in [
        ("GET", "204 x\r\n"),
        ("GET", "304 x\r\nContent-Length: 9\r\n"),
        ("HEAD", "200 x\r\n"),
    ] {
        let head = request(&format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n"));
        let mut side = UpstreamSide::new(&head, &REWRITE);
        let answer = side.answer(&head, &response(&format!("HTTP/1.1 {text}\r\n")));
        assert_eq!(answer, Ok(Answer::Final(Framing::None)));
        assert!(side.may_reuse(0), "{method} {text}");
    }
}

#[test]
fn interim_responses_are_relayed_up_to_their_limit() {
    let head = request(GET);
    let mut side = UpstreamSide::new(&head, &REWRITE);
    let early = response("HTTP/1.1 103 Early Hints\r\n\r\n");
    for _ in 0..INTERIM_RESPONSES_MAX {
        assert_eq!(side.answer(&head, &early), Ok(Answer::Interim));
    }
    assert_eq!(
        side.clone().answer(&head, &early),
        Err(AnswerError::TooManyInterim)
    );
    let last = side.answer(&head, &response("HTTP/1.1 204 x\r\n\r\n"));
    assert_eq!(last, Ok(Answer::Final(Framing::None)));
    let after = side.answer(&head, &early);
    assert_eq!(after, Err(AnswerError::AfterFinal));
}

#[test]
fn a_tunnel_begins_only_with_the_upgrade_that_was_offered() {
    let head = request(UPGRADE);
    let mut side = UpstreamSide::new(&head, &REWRITE);
    assert_eq!(side.answer(&head, &response(SWITCHING)), Ok(Answer::Tunnel));
    side.response_ended();
    assert!(!UpstreamSide::clone(&side).may_reuse(1));

    let refused = |head: &RequestHead, rewrite: &RewriteRequest<'_>, text: &str| {
        UpstreamSide::new(head, rewrite).answer(head, &response(text))
    };
    let unasked = Err(AnswerError::UnaskedUpgrade);
    assert_eq!(refused(&request(GET), &REWRITE, SWITCHING), unasked);
    assert_eq!(
        refused(
            &head,
            &RewriteRequest {
                tunnel: Tunnel::Refused,
                ..REWRITE
            },
            SWITCHING
        ),
        unasked
    );
    for text in [
        "HTTP/1.1 101 x\r\n\r\n",
        "HTTP/1.1 101 x\r\nUpgrade: websocket\r\n\r\n",
        "HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: other\r\n\r\n",
        "HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: websocket, other\r\n\r\n",
        "HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: websocket\r\nUpgrade: websocket\r\n\r\n",
        "HTTP/1.0 101 x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    ] {
        assert_eq!(refused(&head, &REWRITE, text), unasked, "{text}");
    }
}

#[test]
fn an_upstream_that_became_a_tunnel_is_never_reused() {
    let head = request(UPGRADE);
    let mut side = UpstreamSide::new(&head, &REWRITE);
    side.answer(&head, &response(SWITCHING)).expect("a tunnel");
    assert!(!side.may_reuse(0));
    side.response_ended();
    assert!(!side.may_reuse(0));
}

/// A client's exchange whose response was written whole.
fn answered(mut side: ClientSide, framing: Framing, wish: Persist) -> (Persist, Next) {
    let persist = side.begin_response(framing, wish);
    side.response_ended();
    (persist, side.next())
}

#[test]
fn a_client_connection_goes_on_after_two_whole_messages() {
    let side = ClientSide::new(&request(GET));
    let kept = answered(side, Framing::Length(3), Persist::KeepAlive);
    assert_eq!(kept, (Persist::KeepAlive, Next::Request));
}

#[test]
fn a_client_connection_is_closed_when_anybody_says_so() {
    let closed = (Persist::Close, Next::Close);
    let side = ClientSide::new(&request(GET));
    assert_eq!(answered(side, Framing::Length(3), Persist::Close), closed);
    assert_eq!(
        answered(side, Framing::UntilClose, Persist::KeepAlive),
        closed
    );
    let side = ClientSide::new(&request(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    ));
    assert_eq!(
        answered(side, Framing::Length(3), Persist::KeepAlive),
        closed
    );
    let side = ClientSide::new(&request("GET / HTTP/1.0\r\n\r\n"));
    assert_eq!(
        answered(side, Framing::Length(3), Persist::KeepAlive),
        closed
    );
}

#[test]
fn no_further_request_is_read_before_the_response_is_whole() {
    let mut side = ClientSide::new(&request(GET));
    assert_eq!(side.next(), Next::Close);
    assert_eq!(
        side.begin_response(Framing::Length(3), Persist::KeepAlive),
        Persist::KeepAlive
    );
    assert_eq!(side.next(), Next::Close);
    side.response_ended();
    assert_eq!(side.next(), Next::Request);
}

#[test]
fn a_short_unread_body_is_discarded_and_a_long_one_closes() {
    let kept = (Persist::KeepAlive, Next::Discard);
    let closed = (Persist::Close, Next::Close);
    let length = |bytes: u64| ClientSide::new(&post(&format!("Content-Length: {bytes}\r\n")));
    let end = |side| answered(side, Framing::Length(0), Persist::KeepAlive);
    assert_eq!(end(length(DISCARD_BYTES_MAX)), kept);
    assert_eq!(end(length(DISCARD_BYTES_MAX + 1)), closed);
    let mut side = length(DISCARD_BYTES_MAX + 1);
    side.body_read(1);
    assert_eq!(end(side), kept);
    assert_eq!(
        end(ClientSide::new(&post("Transfer-Encoding: chunked\r\n"))),
        kept
    );
    let mut side = length(1_000_000);
    side.body_read(1_000_000);
    side.request_ended();
    assert_eq!(end(side), (Persist::KeepAlive, Next::Request));
}

#[test]
fn discarding_is_bounded() {
    let mut side = ClientSide::new(&post("Transfer-Encoding: chunked\r\n"));
    assert_eq!(side.discarded(DISCARD_BYTES_MAX as usize), Ok(()));
    assert_eq!(side.discarded(1), Err(DiscardError::TooLong));
}

#[test]
fn a_body_that_was_held_back_closes_unless_it_came() {
    let head = post("Content-Length: 5\r\nExpect: 100-continue\r\n");
    let side = ClientSide::new(&head);
    assert!(side.is_held_back());
    let end = |side| answered(side, Framing::Length(0), Persist::KeepAlive);
    assert_eq!(end(side), (Persist::Close, Next::Close));
    let mut continued = side;
    continued.continued();
    assert!(!continued.is_held_back());
    assert_eq!(end(continued), (Persist::KeepAlive, Next::Discard));
    let mut impatient = side;
    impatient.body_read(5);
    impatient.request_ended();
    assert!(!impatient.is_held_back());
    assert_eq!(end(impatient), (Persist::KeepAlive, Next::Request));
}

#[test]
fn a_tunnel_is_opaque_to_the_end() {
    let mut side = ClientSide::new(&request(UPGRADE));
    side.tunnel_began();
    assert_eq!(side.next(), Next::Tunnel);
}

#[test]
fn what_may_not_be_repeated_waits_for_no_stale_connection() {
    let (young, old) = (Duration::from_millis(999), Duration::from_secs(1));
    for method in [Method::Post, Method::Patch, Method::Other] {
        assert!(may_use_idle(method, young));
        assert!(!may_use_idle(method, old));
    }
    for method in [
        Method::Get,
        Method::Head,
        Method::Put,
        Method::Delete,
        Method::Options,
    ] {
        assert!(may_use_idle(method, Duration::from_secs(60)));
    }
}
