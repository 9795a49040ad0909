//! Everything that two programs might read in two ways is refused, with its status.

use http1::limits::{FIRST_LINE_BYTES_MAX, HEAD_BYTES_MAX, HEADERS_MAX, TARGET_BYTES_MAX};
use http1::{Refusal, RequestHead};

use super::{try_request, try_response};

/// Header lines after `POST / HTTP/1.1` and a host, and what becomes of them.
const HEADERS: &[(&[u8], Refusal)] = &[
    // CL.TE, TE.CL, in either order and any case.
    (
        b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n",
        Refusal::TwoFramings,
    ),
    (
        b"Transfer-Encoding: chunked\r\nContent-Length: 6\r\n",
        Refusal::TwoFramings,
    ),
    (
        b"TRANSFER-ENCODING: CHUNKED\r\ncontent-length: 0\r\n",
        Refusal::TwoFramings,
    ),
    (
        b"Content-Length: 0\r\nTransfer-Encoding: identity\r\n",
        Refusal::TwoFramings,
    ),
    // TE.TE: one of two is hidden from one of two programs.
    (
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        Refusal::TransferEncoding,
    ),
    (
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        Refusal::TransferEncoding,
    ),
    (
        b"Transfer-Encoding: chunked\r\nTransfer-encoding: cow\r\n",
        Refusal::TransferEncoding,
    ),
    (
        b"Transfer-Encoding: xchunked\r\n",
        Refusal::TransferEncoding,
    ),
    (
        b"Transfer-Encoding: chunkedx\r\n",
        Refusal::TransferEncoding,
    ),
    (
        b"Transfer-Encoding: identity\r\n",
        Refusal::TransferEncoding,
    ),
    (b"Transfer-Encoding: gzip\r\n", Refusal::TransferEncoding),
    (
        b"Transfer-Encoding: chunked, identity\r\n",
        Refusal::TransferEncoding,
    ),
    (
        b"Transfer-Encoding: chunked, chunked\r\n",
        Refusal::TransferEncoding,
    ),
    (
        b"Transfer-Encoding: chunked,\r\n",
        Refusal::TransferEncoding,
    ),
    (
        b"Transfer-Encoding: ,chunked\r\n",
        Refusal::TransferEncoding,
    ),
    (
        b"Transfer-Encoding: \"chunked\"\r\n",
        Refusal::TransferEncoding,
    ),
    (
        b"Transfer-Encoding: chunked;q=1\r\n",
        Refusal::TransferEncoding,
    ),
    (
        b"Transfer-Encoding: chunked foo\r\n",
        Refusal::TransferEncoding,
    ),
    (b"Transfer-Encoding:\r\n", Refusal::TransferEncoding),
    (
        b"Transfer-Encoding: gzip, chunked\r\n",
        Refusal::TransferCoding,
    ),
    (b"Transfer-Encoding:\x0bchunked\r\n", Refusal::Header),
    (b"Transfer-Encoding: \x0cchunked\r\n", Refusal::Header),
    (b"Transfer-Encoding : chunked\r\n", Refusal::Header),
    (b"Transfer-Encoding\t: chunked\r\n", Refusal::Header),
    (b"Transfer-Encoding\r\n : chunked\r\n", Refusal::Header),
    (b"Transfer-Encoding:\r\n chunked\r\n", Refusal::Header),
    (b" Transfer-Encoding: chunked\r\n", Refusal::Header),
    (b"X: y\r\n\tTransfer-Encoding: chunked\r\n", Refusal::Header),
    (b"X: y\rTransfer-Encoding: chunked\r\n", Refusal::Header),
    (b"X: y\nTransfer-Encoding: chunked\r\n", Refusal::BareLf),
    // Content-Length: twice, in a list, signed, in another base, with an end that differs.
    (
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        Refusal::ContentLength,
    ),
    (
        b"Content-Length: 5\r\nContent-Length: 5\r\n",
        Refusal::ContentLength,
    ),
    (
        b"Content-Length: 5\r\ncontent-length: 0\r\n",
        Refusal::ContentLength,
    ),
    (b"Content-Length: 5, 5\r\n", Refusal::ContentLength),
    (b"Content-Length: 5,6\r\n", Refusal::ContentLength),
    (b"Content-Length: +5\r\n", Refusal::ContentLength),
    (b"Content-Length: -5\r\n", Refusal::ContentLength),
    (b"Content-Length: 0x5\r\n", Refusal::ContentLength),
    (b"Content-Length: 5_0\r\n", Refusal::ContentLength),
    (b"Content-Length: 5.0\r\n", Refusal::ContentLength),
    (b"Content-Length: 5e1\r\n", Refusal::ContentLength),
    (b"Content-Length: 5 6\r\n", Refusal::ContentLength),
    (b"Content-Length: 5;\r\n", Refusal::ContentLength),
    (b"Content-Length: \"5\"\r\n", Refusal::ContentLength),
    (b"Content-Length: \xd9\xa5\r\n", Refusal::ContentLength),
    (b"Content-Length:\r\n", Refusal::ContentLength),
    (b"Content-Length: 5\0\r\n", Refusal::Header),
    (b"Content-Length : 5\r\n", Refusal::Header),
    (
        b"Content-Length: 9223372036854775808\r\n",
        Refusal::BodyTooLarge,
    ),
    (
        b"Content-Length: 18446744073709551616\r\n",
        Refusal::BodyTooLarge,
    ),
    (
        b"Content-Length: 99999999999999999999999999\r\n",
        Refusal::BodyTooLarge,
    ),
    // Line ends, folds, control characters, names.
    (b"X: y\n", Refusal::BareLf),
    (b"X: y\r\n\n", Refusal::BareLf),
    (b"X: y\r\n z\r\n", Refusal::Header),
    (b"X: y\0z\r\n", Refusal::Header),
    (b"X: y\x01z\r\n", Refusal::Header),
    (b"X: y\x7fz\r\n", Refusal::Header),
    (b"X: y\r\r\n", Refusal::Header),
    (b"X y: z\r\n", Refusal::Header),
    (b": z\r\n", Refusal::Header),
    (b"X\0: z\r\n", Refusal::Header),
    (b"X\xc3\xa9: z\r\n", Refusal::Header),
    (b"X(: z\r\n", Refusal::Header),
    (b"X\r\n", Refusal::Header),
    // A second host.
    (b"Host: other.example\r\n", Refusal::Host),
    (b"HOST: shop.example\r\n", Refusal::Host),
    // Expectations we do not know.
    (
        b"Content-Length: 5\r\nExpect: 200-ok\r\n",
        Refusal::Expectation,
    ),
    (
        b"Content-Length: 5\r\nExpect: 100-continue, x\r\n",
        Refusal::Expectation,
    ),
];

#[test]
fn ambiguous_request_headers_are_refused() {
    for (lines, refusal) in HEADERS {
        let head = [
            b"POST / HTTP/1.1\r\nHost: shop.example\r\n",
            *lines,
            b"\r\n",
        ]
        .concat();
        assert_eq!(
            try_request(&head).err(),
            Some(*refusal),
            "{}",
            lines.escape_ascii()
        );
    }
}

#[test]
fn ambiguous_response_headers_are_refused() {
    let for_requests_alone = |refusal| matches!(refusal, Refusal::Host | Refusal::Expectation);
    for (lines, refusal) in HEADERS
        .iter()
        .filter(|(_, refusal)| !for_requests_alone(*refusal))
    {
        let head = [b"HTTP/1.1 200 OK\r\n", *lines, b"\r\n"].concat();
        assert_eq!(
            try_response(&head).err(),
            Some(*refusal),
            "{}",
            lines.escape_ascii()
        );
    }
}

#[test]
fn transfer_encoding_is_refused_in_http_1_0() {
    let request = b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(
        try_request(request).err(),
        Some(Refusal::TransferEncodingInOld)
    );
    let response = b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(
        try_response(response).err(),
        Some(Refusal::TransferEncodingInOld)
    );
}

#[test]
fn malformed_request_lines_are_refused() {
    let cases: &[(&[u8], Refusal, u16)] = &[
        (b"GET /\r\n", Refusal::FirstLine, 400),
        (b"GET  / HTTP/1.1\r\n", Refusal::FirstLine, 400),
        (b"GET /  HTTP/1.1\r\n", Refusal::FirstLine, 400),
        (b"GET / HTTP/1.1 \r\n", Refusal::Header, 400),
        (b"GET\t/ HTTP/1.1\r\n", Refusal::FirstLine, 400),
        (b" GET / HTTP/1.1\r\n", Refusal::FirstLine, 400),
        (b"GET / http/1.1\r\n", Refusal::FirstLine, 400),
        (b"GET / HTTP/1.10\r\n", Refusal::Header, 400),
        (b"GET / HTTP/11\r\n", Refusal::FirstLine, 400),
        (b"GET / HTTPS/1.1\r\n", Refusal::FirstLine, 400),
        (b"G(T / HTTP/1.1\r\n", Refusal::FirstLine, 400),
        (b"GET /\0 HTTP/1.1\r\n", Refusal::FirstLine, 400),
        (b"GET /\x7f HTTP/1.1\r\n", Refusal::FirstLine, 400),
        (b"GET / HTTP/1.1\n", Refusal::BareLf, 400),
        (b"\nGET / HTTP/1.1\r\n", Refusal::BareLf, 400),
        (b"\r\n\r\nGET / HTTP/1.1\r\n", Refusal::FirstLine, 400),
        (b"\x16\x03\x01\x02\x00\x01\x00", Refusal::FirstLine, 400),
        (b"GET / HTTP/1.2\r\n", Refusal::Version, 505),
        (b"GET / HTTP/0.9\r\n", Refusal::Version, 505),
        (b"PRI * HTTP/2.0\r\n", Refusal::Version, 505),
        (
            b"CONNECT shop.example:443 HTTP/1.1\r\n",
            Refusal::Method,
            501,
        ),
        (b"connect / HTTP/1.1\r\n", Refusal::Method, 501),
        (b"TRACE / HTTP/1.1\r\n", Refusal::Method, 501),
        (b"Trace / HTTP/1.0\r\n", Refusal::Method, 501),
        (
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG / HTTP/1.1\r\n",
            Refusal::Method,
            501,
        ),
    ];
    for (line, refusal, status) in cases {
        let head = [line, &b"Host: shop.example\r\n\r\n"[..]].concat();
        assert_eq!(
            try_request(&head).err(),
            Some(*refusal),
            "{}",
            line.escape_ascii()
        );
        assert_eq!(refusal.status(), *status);
    }
}

#[test]
fn malformed_status_lines_are_refused() {
    for line in [
        "HTTP/1.1 20 OK",
        "HTTP/1.1 2000 OK",
        "HTTP/1.1 099 Low",
        "HTTP/1.1  200 OK",
        "HTTP/1.1 +20 OK",
    ] {
        let head = format!("{line}\r\n\r\n");
        assert_eq!(
            try_response(head.as_bytes()).err(),
            Some(Refusal::FirstLine),
            "{line}"
        );
    }
    for line in [
        "ICY 200 OK",
        " HTTP/1.1 200 OK",
        "\r\nHTTP/1.1 200 OK",
        "http/1.1 200 OK",
    ] {
        let head = format!("{line}\r\n\r\n");
        assert_eq!(
            try_response(head.as_bytes()).err(),
            Some(Refusal::FirstLine),
            "{line}"
        );
    }
    assert_eq!(
        try_response(b"HTTP/2.0 200 OK\r\n\r\n").err(),
        Some(Refusal::Version)
    );
}

#[test]
fn malformed_targets_are_refused() {
    let targets = [
        "/a#b",
        "/a<b",
        "/a>b",
        "/a\"b",
        "/a|b",
        "/a|b?c",
        "http://shop.example/a|b",
        "/a\\b",
        "/\u{e9}",
        "*",
        "a",
        "?a",
        "shop.example:80",
        "ftp://shop.example/",
        "//",
        "http//shop.example/",
    ];
    for target in targets {
        let head = format!("GET {target} HTTP/1.1\r\nHost: shop.example\r\n\r\n");
        let refusal = try_request(head.as_bytes()).err();
        match target {
            "//" => assert_eq!(refusal, None),
            _ => assert_eq!(refusal, Some(Refusal::Target), "{target}"),
        }
    }
}

#[test]
fn what_browsers_leave_in_a_query_may_stay_there() {
    for target in ["/a?b|c", "/a?b\\c", "/a?^`{}[]'", "http://shop.example?a|b"] {
        let head = format!("GET {target} HTTP/1.1\r\nHost: shop.example\r\n\r\n");
        assert_eq!(try_request(head.as_bytes()).err(), None, "{target}");
    }
}

#[test]
fn dot_segments_are_refused_wherever_they_are_in_the_path() {
    let refusal = |target: &str| {
        let head = format!("GET {target} HTTP/1.1\r\nHost: shop.example\r\n\r\n");
        try_request(head.as_bytes()).err()
    };
    for target in [
        "/..",
        "/../a",
        "/a/../b",
        "/a/..",
        "/./a",
        "/a/.",
        "/a/%2e%2E/b",
        "/a/.%2e/b",
        "/a/%2e./b?c",
        "/%2E",
        "http://shop.example/a/../b",
    ] {
        assert_eq!(refusal(target), Some(Refusal::DotSegment), "{target}");
    }
    for target in [
        "/...",
        "/a..",
        "/..a",
        "/.a",
        "/%2ea",
        "/%2e%2e%2e",
        "/a?/../b",
        "/%2",
        "/.well-known/x",
    ] {
        assert_eq!(refusal(target), None, "{target}");
    }
}

#[test]
fn hosts_must_be_one_and_well_formed() {
    let cases = [
        ("GET / HTTP/1.1", "", Some(Refusal::HostMissing)),
        (
            "GET http://shop.example/ HTTP/1.1",
            "",
            Some(Refusal::HostMissing),
        ),
        ("GET / HTTP/1.0", "", None),
        ("GET / HTTP/1.1", "Host:\r\n", Some(Refusal::Host)),
        ("GET / HTTP/1.1", "Host: a b\r\n", Some(Refusal::Host)),
        ("GET / HTTP/1.1", "Host: a,b\r\n", Some(Refusal::Host)),
        ("GET / HTTP/1.1", "Host: user@a\r\n", Some(Refusal::Host)),
        ("GET / HTTP/1.1", "Host: a/b\r\n", Some(Refusal::Host)),
        ("GET / HTTP/1.1", "Host: a:b\r\n", Some(Refusal::Host)),
        ("GET / HTTP/1.1", "Host: a:1:2\r\n", Some(Refusal::Host)),
        ("GET / HTTP/1.1", "Host: a:123456\r\n", Some(Refusal::Host)),
        ("GET / HTTP/1.1", "Host: a:65536\r\n", Some(Refusal::Host)),
        ("GET / HTTP/1.1", "Host: a:99999\r\n", Some(Refusal::Host)),
        ("GET / HTTP/1.1", "Host: :80\r\n", Some(Refusal::Host)),
        ("GET / HTTP/1.1", "Host: [::1\r\n", Some(Refusal::Host)),
        ("GET / HTTP/1.1", "Host: [::1]x\r\n", Some(Refusal::Host)),
        ("GET / HTTP/1.1", "Host: [x]\r\n", Some(Refusal::Host)),
        (
            "GET / HTTP/1.0",
            "Host: a\r\nHost: b\r\n",
            Some(Refusal::Host),
        ),
        (
            "GET http://a/ HTTP/1.1",
            "Host: b c\r\n",
            Some(Refusal::Host),
        ),
        ("GET http://a/ HTTP/1.1", "Host: b\r\n", None),
        ("GET / HTTP/1.1", "Host: a:65535\r\n", None),
        (
            "GET http://a@b/ HTTP/1.1",
            "Host: b\r\n",
            Some(Refusal::Host),
        ),
        ("GET http:///x HTTP/1.1", "Host: b\r\n", Some(Refusal::Host)),
        ("GET http://A:80/ HTTP/1.1", "Host: a:80\r\n", None),
        ("GET / HTTP/1.1", "Host: [::1]:8080\r\n", None),
        ("GET / HTTP/1.1", "Host: my_service:80\r\n", None),
    ];
    for (line, host, refusal) in cases {
        let head = format!("{line}\r\n{host}\r\n");
        assert_eq!(try_request(head.as_bytes()).err(), refusal, "{line} {host}");
    }
}

#[test]
fn limits_are_exact_and_known_before_the_end() {
    let read = |bytes: &[u8]| RequestHead::default().read(bytes);
    let target = "a".repeat(TARGET_BYTES_MAX - 1);
    let fits = format!("GET /{target} HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(read(fits.as_bytes()), Ok(Some(fits.len())));
    let long = format!("GET /{target}a HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(read(long.as_bytes()), Err(Refusal::TargetTooLong));
    let endless = vec![b'a'; FIRST_LINE_BYTES_MAX + 1];
    assert_eq!(read(&endless), Err(Refusal::TargetTooLong));

    let start = "GET / HTTP/1.1\r\nHost: a\r\nX: ";
    let padding = "a".repeat(HEAD_BYTES_MAX - start.len() - 4);
    let fits = format!("{start}{padding}\r\n\r\n");
    assert_eq!(fits.len(), HEAD_BYTES_MAX);
    assert_eq!(read(fits.as_bytes()), Ok(Some(HEAD_BYTES_MAX)));
    let long = format!("{start}{padding}a\r\n\r\n");
    assert_eq!(read(long.as_bytes()), Err(Refusal::HeadTooLarge));
    assert_eq!(
        read(&long.as_bytes()[..HEAD_BYTES_MAX]),
        Err(Refusal::HeadTooLarge)
    );

    let fields = |count: usize| {
        format!(
            "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
            "X: y\r\n".repeat(count)
        )
    };
    assert!(matches!(
        read(fields(HEADERS_MAX - 1).as_bytes()),
        Ok(Some(_))
    ));
    assert_eq!(
        read(fields(HEADERS_MAX).as_bytes()),
        Err(Refusal::TooManyHeaders)
    );
    let options = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: {}\r\n\r\n",
        "a,".repeat(33)
    );
    assert_eq!(read(options.as_bytes()), Err(Refusal::Header));
}

#[test]
fn statuses_of_limits_are_their_own() {
    assert_eq!(Refusal::TargetTooLong.status(), 414);
    assert_eq!(Refusal::HeadTooLarge.status(), 431);
    assert_eq!(Refusal::TooManyHeaders.status(), 431);
    assert_eq!(Refusal::BodyTooLarge.status(), 413);
    assert_eq!(Refusal::Expectation.status(), 417);
    assert_eq!(Refusal::TransferCoding.status(), 501);
    assert_eq!(Refusal::TwoFramings.status(), 400);
}
