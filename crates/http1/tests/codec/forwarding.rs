//! Who a request came from: what is believed of it, and what the program is told.

use std::net::IpAddr;

use http1::{Forwarded, PeerTrust, RewriteRequest, origin, request_id, traceparent, write_request};

use super::request;
use super::support::checks::REWRITE;

/// Where a request of 10.0.0.9 with these lines came from, if 10.0.0.x is trusted.
fn found(lines: &str) -> String {
    let trusts = |address: IpAddr| address.to_string().starts_with("10.0.0.");
    let head = request(&format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n"));
    origin(&head, "10.0.0.9".parse().expect("an address"), trusts).to_string()
}

#[test]
fn a_chain_is_followed_to_the_first_address_that_is_not_trusted() {
    for (lines, address) in [
        ("", "10.0.0.9"),
        ("X-Forwarded-For: 1.2.3.4\r\n", "1.2.3.4"),
        ("X-Forwarded-For: 6.6.6.6, 1.2.3.4, 10.0.0.1\r\n", "1.2.3.4"),
        (
            "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 1.2.3.4\r\n",
            "1.2.3.4",
        ),
        ("X-Forwarded-For: 10.0.0.1\r\n", "10.0.0.1"),
        ("X-Forwarded-For: 1.2.3.4:99\r\n", "1.2.3.4"),
        ("X-Forwarded-For: [2001:db8::1]:99\r\n", "2001:db8::1"),
        ("X-Forwarded-For: ::ffff:1.2.3.4\r\n", "1.2.3.4"),
        (
            "X-Forwarded-For: 1.2.3.4, unknown, 10.0.0.1\r\n",
            "10.0.0.1",
        ),
        (
            "Forwarded: for=6.6.6.6, For=\"[2001:db8::1]:4711\";proto=http\r\n",
            "2001:db8::1",
        ),
        ("Forwarded: by=\"a,for=6.6.6.6\";for=1.2.3.4\r\n", "1.2.3.4"),
        (
            "Forwarded: for=6.6.6.6\r\nX-Forwarded-For: 1.2.3.4\r\n",
            "1.2.3.4",
        ),
        ("Forwarded: for=_hidden\r\n", "10.0.0.9"),
    ] {
        assert_eq!(found(lines), address, "{lines}");
    }
}

#[test]
fn an_untrusted_peer_is_where_its_requests_come_from() {
    let head = request("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n");
    let peer: IpAddr = "192.0.2.7".parse().unwrap();
    assert_eq!(origin(&head, peer, |_| false), peer);
}

#[test]
fn a_chain_is_followed_for_so_many_hops() {
    let line = "10.0.0.1, ".repeat(15);
    let nearer = found(&format!("X-Forwarded-For: 1.2.3.4, {line}10.0.0.2\r\n"));
    assert_eq!(nearer, "10.0.0.1");
}

fn sent_up(lines: &str, forwarded: Forwarded<'static>) -> String {
    let rewrite = RewriteRequest {
        forwarded,
        replace: &[],
        ..REWRITE
    };
    let head = request(&format!("GET / HTTP/1.1\r\nHost: a:80\r\n{lines}\r\n"));
    let mut out = Vec::new();
    write_request(&head, &rewrite, &mut out);
    String::from_utf8(out).expect("text")
}

#[test]
fn forwarded_is_written_as_its_standard_says() {
    let v6 = Forwarded {
        peer: "2001:db8::1",
        client: "2001:db8::1",
        ..REWRITE.forwarded
    };
    let out = sent_up("Forwarded: for=6.6.6.6\r\n", v6);
    let wanted = "forwarded: for=\"[2001:db8::1]\";proto=https;host=\"a:80\"\r\n";
    assert!(out.contains(wanted), "{out}");
    assert!(!out.contains("6.6.6.6"), "{out}");
    let trusted = Forwarded {
        trust: PeerTrust::Trusted,
        client: "6.6.6.6",
        ..REWRITE.forwarded
    };
    let out = sent_up("Forwarded: for=6.6.6.6\r\n", trusted);
    let wanted = "forwarded: for=6.6.6.6, for=192.0.2.7;proto=https;host=\"a:80\"\r\n";
    assert!(out.contains(wanted), "{out}");
    assert!(
        out.contains("x-forwarded-for: 6.6.6.6, 192.0.2.7\r\n"),
        "{out}"
    );
}

#[test]
fn an_id_is_kept_only_in_a_form_that_any_log_can_take() {
    let id = |lines: &str| {
        let head = request(&format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n"));
        request_id(&head).map(|id| String::from_utf8(id.to_vec()).unwrap())
    };
    assert_eq!(
        id("X-Request-Id: a-1.B/2=\r\n").as_deref(),
        Some("a-1.B/2=")
    );
    let long = format!("X-Request-Id: {}\r\n", "a".repeat(129));
    for odd in [
        "",
        "X-Request-Id:\r\n",
        "X-Request-Id: a b\r\n",
        "X-Request-Id: a\"\r\n",
        &long,
        "X-Request-Id: a\r\nX-Request-Id: b\r\n",
    ] {
        assert_eq!(id(odd), None, "{odd}");
    }
}

#[test]
fn a_trace_context_that_is_there_twice_is_none() {
    let line = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n";
    let once = request(&format!("GET / HTTP/1.1\r\nHost: a\r\n{line}\r\n"));
    assert!(traceparent(&once).is_some());
    let twice = request(&format!("GET / HTTP/1.1\r\nHost: a\r\n{line}{line}\r\n"));
    assert!(traceparent(&twice).is_none());
}
