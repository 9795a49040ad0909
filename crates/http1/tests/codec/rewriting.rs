//! Heads written anew: what is sent on, replaced, added and dropped.

use http1::{
    Forwarded, Framing, Method, PeerTrust, Persist, RewriteRequest, RewriteResponse, Tunnel,
    Version, write_interim, write_request, write_response,
};

use super::support::checks::REWRITE;
use super::{request, response};

fn sent_up(text: &str, rewrite: &RewriteRequest<'_>) -> String {
    let mut out = Vec::new();
    write_request(&request(text), rewrite, &mut out);
    String::from_utf8(out).expect("text")
}

fn plain() -> RewriteRequest<'static> {
    RewriteRequest {
        replace: &[],
        ..REWRITE
    }
}

const FORWARDED: &str =
    "x-forwarded-for: 192.0.2.7\r\nx-real-ip: 192.0.2.7\r\nx-forwarded-proto: https\r\n";
const ELEMENT: &str = "forwarded: for=192.0.2.7;proto=https;host=a\r\n";

#[test]
fn a_request_is_sent_on_with_its_own_headers() {
    let out = sent_up(
        "GET /a?b HTTP/1.1\r\nHost: shop.example\r\nAccept: */*\r\nX-Empty:\r\n\r\n",
        &plain(),
    );
    let wanted = format!(
        "GET /a?b HTTP/1.1\r\nhost: shop.example\r\nAccept: */*\r\nX-Empty: \r\n{FORWARDED}\
         x-forwarded-host: shop.example\r\nforwarded: for=192.0.2.7;proto=https;host=shop.example\r\n\r\n"
    );
    assert_eq!(out, wanted);
}

#[test]
fn what_belongs_to_one_connection_is_dropped() {
    let out = sent_up(
        "POST / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, X-Hop, host, content-length, x-forwarded-for\r\n\
         x-hop: 1\r\nX-Hop: 2\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\nTE: trailers\r\nProxy: evil\r\n\
         Upgrade: h2c\r\nHTTP2-Settings: x\r\nContent_Length: 9\r\nX_Y: z\r\nContent-Length: 0003\r\nX-Stays: 1\r\n\r\n",
        &plain(),
    );
    let wanted = format!(
        "POST / HTTP/1.1\r\nhost: a\r\nX-Stays: 1\r\n{FORWARDED}x-forwarded-host: a\r\n{ELEMENT}content-length: 3\r\n\r\n"
    );
    assert_eq!(out, wanted);
}

#[test]
fn an_untrusted_peer_does_not_say_where_a_request_came_from() {
    let out = sent_up(
        "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 6.6.6.6\r\nx-real-ip: 6.6.6.6\r\nX-Forwarded-Proto: ftp\r\n\
         X-FORWARDED-HOST: evil\r\nForwarded: for=6.6.6.6\r\nX-Forwarded-Port: 6\r\nX_Forwarded_For: 6.6.6.6\r\n\r\n",
        &plain(),
    );
    assert_eq!(
        out,
        format!("GET / HTTP/1.1\r\nhost: a\r\n{FORWARDED}x-forwarded-host: a\r\n{ELEMENT}\r\n")
    );
}

#[test]
fn a_trusted_peer_is_believed_and_added() {
    let forwarded = Forwarded {
        trust: PeerTrust::Trusted,
        client: "10.0.0.1",
        ..REWRITE.forwarded
    };
    let rewrite = RewriteRequest {
        forwarded,
        ..plain()
    };
    let out = sent_up(
        "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 10.0.0.1, 10.0.0.2\r\nX-Forwarded-For: 10.0.0.3\r\n\
         X-Forwarded-Proto: http\r\n\r\n",
        &rewrite,
    );
    let wanted = "GET / HTTP/1.1\r\nhost: a\r\nX-Forwarded-Proto: http\r\n\
         x-forwarded-for: 10.0.0.1, 10.0.0.2, 10.0.0.3, 192.0.2.7\r\nx-real-ip: 10.0.0.1\r\nx-forwarded-host: a\r\n\
         forwarded: for=10.0.0.1, for=192.0.2.7;proto=https;host=a\r\n\r\n";
    assert_eq!(out, wanted);
}

#[test]
fn a_connection_header_takes_nothing_from_the_codec() {
    let forwarded = Forwarded {
        trust: PeerTrust::Trusted,
        client: "10.0.0.1",
        ..REWRITE.forwarded
    };
    let rewrite = RewriteRequest {
        forwarded,
        ..plain()
    };
    let out = sent_up(
        "POST / HTTP/1.1\r\nHost: a\r\nConnection: x-forwarded-for, x-forwarded-proto, expect, host\r\n\
         X-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Proto: http\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n",
        &rewrite,
    );
    assert!(
        out.contains("x-forwarded-for: 10.0.0.1, 192.0.2.7\r\n"),
        "{out}"
    );
    assert!(out.contains("X-Forwarded-Proto: http\r\n"), "{out}");
    assert!(out.contains("expect: 100-continue\r\n"), "{out}");
}

#[test]
fn a_request_id_replaces_the_clients() {
    let out = sent_up(
        "GET / HTTP/1.1\r\nHost: a\r\nX-Request-ID: forged\r\n\r\n",
        &REWRITE,
    );
    assert!(out.contains("x-request-id: 0123456789abcdef\r\n"), "{out}");
    assert!(!out.contains("forged"), "{out}");
    let out = sent_up(
        "GET / HTTP/1.1\r\nHost: a\r\nX-Request-ID: kept\r\n\r\n",
        &plain(),
    );
    assert!(out.contains("X-Request-ID: kept\r\n"), "{out}");
    let taken = RewriteRequest {
        replace: &[("tracestate", b"")],
        ..REWRITE
    };
    let out = sent_up(
        "GET / HTTP/1.1\r\nHost: a\r\nTraceState: a=1\r\n\r\n",
        &taken,
    );
    assert!(!out.to_ascii_lowercase().contains("tracestate"), "{out}");
}

#[test]
fn an_upgrade_is_sent_on_only_when_it_is_offered() {
    let text = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let out = sent_up(text, &plain());
    assert!(
        out.ends_with("\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"),
        "{out}"
    );
    let out = sent_up(
        text,
        &RewriteRequest {
            tunnel: Tunnel::Refused,
            ..plain()
        },
    );
    assert!(!out.to_ascii_lowercase().contains("upgrade"), "{out}");
}

#[test]
fn framing_expectation_and_closing_are_written_once() {
    let text = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\nExpect: 100-Continue\r\nConnection: close\r\n\r\n";
    let out = sent_up(text, &plain());
    assert!(
        out.ends_with("host=a\r\ntransfer-encoding: chunked\r\nexpect: 100-continue\r\n\r\n"),
        "{out}"
    );
    let out = sent_up(
        text,
        &RewriteRequest {
            persist: Persist::Close,
            ..plain()
        },
    );
    assert!(
        out.ends_with("expect: 100-continue\r\nconnection: close\r\n\r\n"),
        "{out}"
    );
}

#[test]
fn old_and_absolute_requests_become_plain_ones() {
    let out = sent_up("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", &plain());
    assert!(
        out.starts_with("GET / HTTP/1.1\r\nhost: fallback.example\r\n"),
        "{out}"
    );
    assert!(!out.contains("onnection"), "{out}");
    let out = sent_up(
        "GET http://a:8080?q HTTP/1.1\r\nHost: a:8080\r\n\r\n",
        &plain(),
    );
    assert!(
        out.starts_with("GET /?q HTTP/1.1\r\nhost: a:8080\r\n"),
        "{out}"
    );
    let out = sent_up("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", &plain());
    assert!(out.starts_with("OPTIONS * HTTP/1.1\r\n"), "{out}");
}

const KEEP: RewriteResponse<'static> = RewriteResponse {
    client: Version::Http11,
    method: Method::Get,
    persist: Persist::KeepAlive,
    extra: &[],
    replace: &[],
};
const OLD: RewriteResponse<'static> = RewriteResponse {
    client: Version::Http10,
    ..KEEP
};

fn sent_down(text: &str, rewrite: &RewriteResponse<'_>) -> (String, Framing) {
    let mut out = Vec::new();
    let framing = write_response(&response(text), rewrite, &mut out);
    (String::from_utf8(out).expect("text"), framing)
}

#[test]
fn a_response_is_sent_on_without_what_belongs_to_one_connection() {
    let (out, framing) = sent_down(
        "HTTP/1.0 200 Fine\r\nServer: x\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\n\
         Upgrade: h2c\r\nX_Y: z\r\nContent-Length: 3\r\n\r\n",
        &KEEP,
    );
    assert_eq!(
        out,
        "HTTP/1.1 200 Fine\r\nServer: x\r\nX_Y: z\r\ncontent-length: 3\r\n\r\n"
    );
    assert_eq!(framing, Framing::Length(3));
}

#[test]
fn a_field_of_ours_replaces_the_programs() {
    let rewrite = RewriteResponse {
        replace: &[("x-request-id", b"7")],
        ..KEEP
    };
    let text = "HTTP/1.1 200 OK\r\nX-Request-Id: theirs\r\nContent-Length: 0\r\n\r\n";
    let wanted = "HTTP/1.1 200 OK\r\nx-request-id: 7\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(sent_down(text, &rewrite).0, wanted);
}

#[test]
fn the_callers_headers_are_added() {
    let rewrite = RewriteResponse {
        extra: &[("set-cookie", b"gapless=7; Path=/")],
        persist: Persist::Close,
        ..KEEP
    };
    let (out, _) = sent_down(
        "HTTP/1.1 200 OK\r\nSet-Cookie: theirs=1\r\nContent-Length: 0\r\n\r\n",
        &rewrite,
    );
    let wanted = "HTTP/1.1 200 OK\r\nSet-Cookie: theirs=1\r\nset-cookie: gapless=7; Path=/\r\ncontent-length: 0\r\n\
         connection: close\r\n\r\n";
    assert_eq!(out, wanted);
}

#[test]
fn unknown_lengths_become_chunks_or_a_closing() {
    for text in [
        "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    ] {
        let (out, framing) = sent_down(text, &KEEP);
        assert_eq!(
            (out.as_str(), framing),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
                Framing::Chunked
            )
        );
        let (out, framing) = sent_down(text, &OLD);
        assert_eq!(
            (out.as_str(), framing),
            (
                "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n",
                Framing::UntilClose
            )
        );
    }
    let (out, _) = sent_down("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n", &OLD);
    assert_eq!(
        out,
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\nconnection: keep-alive\r\n\r\n"
    );
}

#[test]
fn bodiless_responses_keep_what_they_say_about_the_body() {
    let head = RewriteResponse {
        method: Method::Head,
        ..KEEP
    };
    let length = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n";
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(
        sent_down(length, &head).0,
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n"
    );
    assert_eq!(
        sent_down(chunked, &head).0,
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    assert_eq!(
        sent_down("HTTP/1.1 200 OK\r\n\r\n", &head),
        ("HTTP/1.1 200 OK\r\n\r\n".to_owned(), Framing::None)
    );
    let old_head = RewriteResponse {
        method: Method::Head,
        ..OLD
    };
    assert_eq!(
        sent_down(chunked, &old_head).0,
        "HTTP/1.1 200 OK\r\nconnection: keep-alive\r\n\r\n"
    );
    let nothing = "HTTP/1.1 204 x\r\nContent-Length: 9\r\n\r\n";
    assert_eq!(sent_down(nothing, &head).0, "HTTP/1.1 204 x\r\n\r\n");
    let unchanged = "HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n";
    assert_eq!(sent_down(unchanged, &KEEP).0, unchanged);
    assert_eq!(
        sent_down("HTTP/1.1 204 x\r\nContent-Length: 9\r\n\r\n", &KEEP).0,
        "HTTP/1.1 204 x\r\n\r\n"
    );
}

#[test]
fn interim_responses_carry_headers_but_no_framing() {
    let mut out = Vec::new();
    let text = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nContent-Length: 5\r\nConnection: close\r\n\r\n";
    write_interim(&response(text), &mut out);
    assert_eq!(out, b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n");
    out.clear();
    let text = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n";
    write_interim(&response(text), &mut out);
    let wanted = "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    assert_eq!(out, wanted.as_bytes());
}
