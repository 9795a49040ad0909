//! What a response's head says.

use http1::{Framing, Method, Version};

use super::response;

#[test]
fn parts_of_a_response_are_found() {
    let head =
        response("HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nContent-Length: 3\r\n\r\n");
    assert_eq!((head.status(), head.reason()), (404, &b"Not Found"[..]));
    assert_eq!(head.version(), Version::Http11);
    assert_eq!(head.fields().first("content-type"), Some(&b"text/html"[..]));
    assert_eq!(response("HTTP/1.1 200\r\n\r\n").reason(), b"");
}

#[test]
fn framing_depends_on_method_and_status() {
    let length = "Content-Length: 3\r\n";
    let chunked = "Transfer-Encoding: Chunked\r\n";
    let cases = [
        (Method::Get, "1.1 200", length, Framing::Length(3)),
        (Method::Get, "1.1 200", chunked, Framing::Chunked),
        (Method::Get, "1.1 200", "", Framing::UntilClose),
        (Method::Get, "1.0 200", "", Framing::UntilClose),
        (Method::Head, "1.1 200", length, Framing::None),
        (Method::Head, "1.1 200", chunked, Framing::None),
        (Method::Head, "1.1 200", "", Framing::None),
        (Method::Get, "1.1 204", length, Framing::None),
        (Method::Get, "1.1 304", length, Framing::None),
        (Method::Get, "1.1 304", chunked, Framing::None),
        (Method::Get, "1.1 103", length, Framing::None),
        (Method::Get, "1.1 101", "", Framing::None),
    ];
    for (method, line, headers, wanted) in cases {
        let head = response(&format!("HTTP/{line} x\r\n{headers}\r\n"));
        assert_eq!(head.framing(method), wanted, "{method:?} {line} {headers}");
    }
}

#[test]
fn framing_towards_a_client_depends_on_its_version() {
    for (source, new, old) in [
        (Framing::None, Framing::None, Framing::None),
        (Framing::Length(7), Framing::Length(7), Framing::Length(7)),
        (Framing::Chunked, Framing::Chunked, Framing::UntilClose),
        (Framing::UntilClose, Framing::Chunked, Framing::UntilClose),
    ] {
        assert_eq!(source.towards(Version::Http11), new);
        assert_eq!(source.towards(Version::Http10), old);
    }
}

#[test]
fn persistence_follows_version_and_connection() {
    assert!(response("HTTP/1.1 200 OK\r\n\r\n").keep_alive());
    assert!(!response("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").keep_alive());
    assert!(!response("HTTP/1.0 200 OK\r\n\r\n").keep_alive());
    assert!(response("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n").keep_alive());
}
