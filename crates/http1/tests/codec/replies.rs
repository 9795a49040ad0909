//! Responses that the proxy makes itself.

use http1::{ErrorPage, Method, Persist, ProxyError, Version, write_error};

const ERROR: ProxyError<'static> = ProxyError {
    status: 503,
    reason: "no-endpoint",
    message: "no instance of the service is ready",
    page: None,
    grpc: None,
    location: None,
    retry_after_seconds: Some(2),
    request_id: None,
    persist: Persist::KeepAlive,
    client: Version::Http11,
    method: Method::Get,
};

fn written(error: &ProxyError<'_>) -> String {
    let mut out = Vec::new();
    write_error(error, &mut out);
    String::from_utf8(out).expect("text")
}

#[test]
fn an_error_is_marked_and_whole() {
    assert_eq!(
        written(&ERROR),
        "HTTP/1.1 503 Service Unavailable\r\n\
         x-gapless-error: no-endpoint\r\n\
         content-type: text/plain; charset=utf-8\r\n\
         cache-control: no-store\r\n\
         retry-after: 2\r\n\
         content-length: 36\r\n\
         \r\n\
         no instance of the service is ready\n"
    );
}

#[test]
fn head_gets_no_body_and_closing_is_said() {
    let error = ProxyError {
        method: Method::Head,
        persist: Persist::Close,
        retry_after_seconds: None,
        ..ERROR
    };
    let text = written(&error);
    assert!(
        text.ends_with("content-length: 36\r\nconnection: close\r\n\r\n"),
        "{text}"
    );
    assert!(!text.contains("retry-after"));
}

#[test]
fn a_page_stands_for_the_sentence_and_head_tells_its_length() {
    let page = ErrorPage {
        content_type: "text/html",
        body: b"<p>soon",
    };
    for (method, body) in [(Method::Get, "<p>soon"), (Method::Head, "")] {
        let text = written(&ProxyError {
            page: Some(page),
            method,
            ..ERROR
        });
        assert!(text.contains("\r\ncontent-type: text/html\r\n"), "{text}");
        assert!(
            text.ends_with(&format!("\r\ncontent-length: 7\r\n\r\n{body}")),
            "{text}"
        );
    }
}

#[test]
fn an_old_client_is_told_that_the_connection_goes_on() {
    let text = written(&ProxyError {
        client: Version::Http10,
        ..ERROR
    });
    assert!(text.contains("\r\nconnection: keep-alive\r\n"), "{text}");
}

#[test]
fn a_client_of_grpc_is_told_in_its_own_words() {
    let text = written(&ProxyError {
        grpc: Some(14),
        ..ERROR
    });
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
    for line in [
        "content-type: application/grpc\r\n",
        "grpc-status: 14\r\n",
        "content-length: 0\r\n",
        "x-gapless-error: ",
        "grpc-message: ",
    ] {
        assert!(text.contains(line), "{line} {text}");
    }
    assert!(text.ends_with("\r\n\r\n"), "{text}");
}
