//! Nanoseconds per head parsed and rewritten, and per body byte relayed; under
//! `valgrind --tool=callgrind` the same loop gives instructions (`-- CASE ROUNDS`).

use std::hint::black_box;

use http1::{
    BodyRelay, Forwarded, Framing, Method, PeerTrust, Persist, RequestHead, ResponseHead,
    RewriteRequest, RewriteResponse, Tunnel, Version, write_request, write_response,
};

const SMALL: &[u8] = b"GET /api/items?page=2 HTTP/1.1\r\nHost: shop.example.com\r\nUser-Agent: load/1.0\r\nAccept: */*\r\n\r\n";
const BROWSER: &[u8] = b"GET /products/42?ref=home HTTP/1.1\r\nHost: shop.example.com\r\nConnection: keep-alive\r\n\
sec-ch-ua: \"Chromium\";v=\"140\", \"Not=A?Brand\";v=\"24\"\r\nsec-ch-ua-mobile: ?0\r\nsec-ch-ua-platform: \"Linux\"\r\n\
Upgrade-Insecure-Requests: 1\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\r\n\
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\nSec-Fetch-Site: same-origin\r\n\
Sec-Fetch-Mode: navigate\r\nSec-Fetch-User: ?1\r\nSec-Fetch-Dest: document\r\nReferer: https://shop.example.com/\r\n\
Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-GB,en;q=0.9\r\n\
Cookie: session=6f1d2c3b4a5968778695a4b3c2d1e0f1; gapless=u7kq2m; theme=dark\r\n\r\n";
const RESPONSE: &[u8] =
    b"HTTP/1.1 200 OK\r\nServer: app/1.2\r\nDate: Thu, 20 Nov 2025 12:00:00 GMT\r\n\
Content-Type: application/json\r\nContent-Length: 128\r\n\r\n";

fn rewrite() -> RewriteRequest<'static> {
    RewriteRequest {
        forwarded: Forwarded {
            peer: "192.0.2.7",
            client: "192.0.2.7",
            proto: "https",
            trust: PeerTrust::Untrusted,
        },
        default_host: "127.0.0.1",
        replace: &[("x-request-id", b"0123456789abcdef0123456789abcdef")],
        tunnel: Tunnel::Offered,
        persist: Persist::KeepAlive,
    }
}

fn requests(text: &[u8], rounds: usize) {
    let mut head = RequestHead::default();
    let mut out = Vec::with_capacity(4096);
    for _ in 0..rounds {
        out.clear();
        let taken = head.read(black_box(text));
        assert_eq!(taken, Ok(Some(text.len())));
        write_request(&head, &rewrite(), &mut out);
        black_box(&out);
    }
}

fn responses(rounds: usize) {
    let mut head = ResponseHead::default();
    let mut out = Vec::with_capacity(4096);
    let rewrite = RewriteResponse {
        client: Version::Http11,
        method: Method::Get,
        persist: Persist::KeepAlive,
        extra: &[],
        replace: &[],
    };
    for _ in 0..rounds {
        out.clear();
        let taken = head.read(black_box(RESPONSE));
        assert_eq!(taken, Ok(Some(RESPONSE.len())));
        write_response(&head, &rewrite, &mut out);
        black_box(&out);
    }
}

fn chunks(wire: &[u8], rounds: usize) {
    for _ in 0..rounds {
        let mut relay = BodyRelay::for_response(Framing::Chunked, Version::Http11);
        assert_eq!(relay.pass(black_box(wire)), Ok(wire.len()));
        assert!(black_box(&relay).is_ended());
    }
}

fn run(case: &str, rounds: usize) {
    match case {
        "small-request" => requests(SMALL, rounds),
        "browser-request" => requests(BROWSER, rounds),
        "response" => responses(rounds),
        "chunks-16k" => chunks(
            &[b"4000\r\n", &[b'x'; 0x4000][..], b"\r\n0\r\n\r\n"].concat(),
            rounds,
        ),
        "chunks-1024x16" => chunks(
            &[
                b"10\r\n0123456789abcdef\r\n".repeat(1024).as_slice(),
                b"0\r\n\r\n",
            ]
            .concat(),
            rounds,
        ),
        other => panic!("no case is called {other}"),
    }
}

#[expect(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "a benchmark reads its arguments and the clock, and prints"
)]
fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"))
        .collect();
    if let [case, rounds] = arguments.as_slice() {
        run(case, rounds.parse().expect("a number of rounds"));
        return;
    }
    const ROUNDS: usize = 20_000;
    for case in [
        "small-request",
        "browser-request",
        "response",
        "chunks-16k",
        "chunks-1024x16",
    ] {
        let begin = std::time::Instant::now();
        run(case, ROUNDS);
        println!(
            "{case:16} {:>8.1} ns",
            begin.elapsed().as_nanos() as f64 / ROUNDS as f64
        );
    }
}
