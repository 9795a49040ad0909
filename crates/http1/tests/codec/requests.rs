//! What a request's head says.

use http1::{Framing, Method, RequestHead, Version};

use super::request;

#[test]
fn parts_of_a_request_are_found() {
    let head = request(
        "POST /api/items?page=2&x HTTP/1.1\r\nHost: Shop.example:8080\r\nCookie: a=1; gapless=u7; b\r\n\
         X-Staff:  yes \r\nContent-Length: 12\r\n\r\n",
    );
    assert_eq!(head.method(), Method::Post);
    assert_eq!(head.method_name(), b"POST");
    assert_eq!(head.target(), b"/api/items?page=2&x");
    assert_eq!(head.path(), b"/api/items");
    assert_eq!(head.query(), Some(&b"page=2&x"[..]));
    assert_eq!(head.version(), Version::Http11);
    assert_eq!(head.host(), Some(&b"Shop.example:8080"[..]));
    assert_eq!(head.hostname(), Some(&b"Shop.example"[..]));
    assert_eq!(head.fields().first("x-staff"), Some(&b"yes"[..]));
    assert_eq!(head.fields().first("x-other"), None);
    assert_eq!(head.framing(), Framing::Length(12));
    assert!(head.keep_alive());
}

#[test]
fn cookies_are_found_by_their_whole_name() {
    let head = request(
        "GET / HTTP/1.1\r\nHost: a\r\nCookie: xid=1; id=2;id=3\r\nCookie: late=4; empty=\r\n\r\n",
    );
    assert_eq!(head.cookie("id"), Some(&b"2"[..]));
    assert_eq!(head.cookie("late"), Some(&b"4"[..]));
    assert_eq!(head.cookie("empty"), Some(&b""[..]));
    assert_eq!(head.cookie("i"), None);
    assert_eq!(head.cookie("ID"), None);
}

#[test]
fn absolute_and_asterisk_targets_have_paths() {
    let head = request("GET http://a:80?q HTTP/1.1\r\nHost: a:80\r\n\r\n");
    assert_eq!((head.path(), head.query()), (&b"/"[..], Some(&b"q"[..])));
    let head = request("GET HTTPS://a/x/y HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((head.path(), head.query()), (&b"/x/y"[..], None));
    let head = request("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((head.path(), head.query()), (&b"*"[..], None));
    let head = request("GET http://a/ HTTP/1.0\r\n\r\n");
    assert_eq!(head.host(), Some(&b"a"[..]));
}

#[test]
fn the_authority_of_the_target_is_meant_whatever_host_says() {
    let head = request("GET http://shop.example:81/x HTTP/1.1\r\nHost: other\r\n\r\n");
    assert_eq!(head.host(), Some(&b"shop.example:81"[..]));
    let head = request("GET http://shop.example/x HTTP/1.0\r\nHost: other\r\n\r\n");
    assert_eq!(head.host(), Some(&b"shop.example"[..]));
}

#[test]
fn one_empty_line_before_a_request_is_skipped() {
    let text = "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(
        RequestHead::default().read(text.as_bytes()),
        Ok(Some(text.len()))
    );
}

#[test]
fn a_head_ends_where_its_empty_line_ends() {
    let first = "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n";
    let both = format!("{first}GET /2 HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut head = RequestHead::default();
    assert_eq!(head.read(both.as_bytes()), Ok(Some(first.len())));
    assert_eq!(head.path(), b"/1");
    assert!(matches!(
        head.read(&both.as_bytes()[first.len()..]),
        Ok(Some(_))
    ));
    assert_eq!(head.path(), b"/2");
}

#[test]
fn a_head_read_in_part_can_be_forgotten() {
    let mut head = RequestHead::default();
    assert_eq!(head.read(b"GET /lost HTTP/1.1\r\nHost:"), Ok(None));
    head.reset();
    let text = "GET /new HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(head.read(text.as_bytes()), Ok(Some(text.len())));
    assert_eq!(head.path(), b"/new");
}

#[test]
fn persistence_follows_version_and_connection() {
    let cases = [
        ("HTTP/1.1", "", true),
        ("HTTP/1.1", "Connection: Close\r\n", false),
        ("HTTP/1.1", "Connection: keep-alive, close\r\n", false),
        ("HTTP/1.1", "Connection: x\r\nConnection: close\r\n", false),
        ("HTTP/1.0", "", false),
        ("HTTP/1.0", "Connection: Keep-Alive\r\n", true),
        ("HTTP/1.0", "Connection: keep-alive, close\r\n", false),
    ];
    for (version, connection, wanted) in cases {
        let head = request(&format!("GET / {version}\r\nHost: a\r\n{connection}\r\n"));
        assert_eq!(head.keep_alive(), wanted, "{version} {connection}");
    }
    let head = request("GET / HTTP/1.1\r\nHost: a\r\nConnection: a, ,b\r\nConnection: c\r\n\r\n");
    assert_eq!(
        head.connection_options().collect::<Vec<_>>(),
        [b"a", b"b", b"c"]
    );
}

#[test]
fn continue_is_wanted_only_before_a_body_in_http_1_1() {
    let wants = |text: &str| request(text).wants_continue();
    assert!(wants(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-Continue\r\n\r\n"
    ));
    assert!(wants(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
    ));
    assert!(!wants(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nExpect: 100-continue\r\n\r\n"
    ));
    assert!(!wants(
        "GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n"
    ));
    assert!(!wants(
        "POST / HTTP/1.0\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
    ));
}

#[test]
fn only_one_plain_upgrade_is_offered() {
    let cases = [
        (
            "GET / HTTP/1.1",
            "Connection: Upgrade\r\nUpgrade: websocket\r\n",
            Some("websocket"),
        ),
        (
            "GET / HTTP/1.1",
            "Connection: keep-alive, upgrade\r\nUpgrade: a/2\r\n",
            Some("a/2"),
        ),
        ("GET / HTTP/1.1", "Upgrade: websocket\r\n", None),
        ("GET / HTTP/1.1", "Connection: upgrade\r\n", None),
        (
            "GET / HTTP/1.1",
            "Connection: upgrade\r\nUpgrade: websocket, a\r\n",
            None,
        ),
        (
            "GET / HTTP/1.1",
            "Connection: upgrade\r\nUpgrade: a\r\nUpgrade: b\r\n",
            None,
        ),
        (
            "GET / HTTP/1.1",
            "Connection: upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n",
            None,
        ),
        (
            "POST / HTTP/1.1",
            "Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n",
            None,
        ),
        (
            "GET / HTTP/1.0",
            "Connection: upgrade\r\nUpgrade: websocket\r\n",
            None,
        ),
    ];
    for (line, headers, wanted) in cases {
        let head = request(&format!("{line}\r\nHost: a\r\n{headers}\r\n"));
        assert_eq!(
            head.upgrade(),
            wanted.map(str::as_bytes),
            "{line} {headers}"
        );
    }
}
