//! What gRPC says in other words than HTTP: its statuses.

/// `UNAVAILABLE`: the client may try again.
pub const UNAVAILABLE: u8 = 14;

/// True for the media type of a message of gRPC. Not for gRPC-Web, whose status is in the body.
#[must_use]
pub fn is_grpc(content_type: &[u8]) -> bool {
    const NAME: &[u8] = b"application/grpc";
    let Some((name, rest)) = content_type.split_at_checked(NAME.len()) else {
        return false;
    };
    name.eq_ignore_ascii_case(NAME) && matches!(rest.first(), None | Some(b'+' | b';' | b' '))
}

/// The status of gRPC for an answer with this status of HTTP, as gRPC's own mapping has it.
#[must_use]
pub fn code_of_http(status: u16) -> u8 {
    const UNKNOWN: u8 = 2;
    const PERMISSION_DENIED: u8 = 7;
    const RESOURCE_EXHAUSTED: u8 = 8;
    const UNIMPLEMENTED: u8 = 12;
    const INTERNAL: u8 = 13;
    const UNAUTHENTICATED: u8 = 16;
    match status {
        400 | 431 => INTERNAL,
        401 => UNAUTHENTICATED,
        403 => PERMISSION_DENIED,
        404 => UNIMPLEMENTED,
        // A message above the limit is this for gRPC's libraries too.
        413 => RESOURCE_EXHAUSTED,
        429 | 502..=504 => UNAVAILABLE,
        _ => UNKNOWN,
    }
}

/// The status of HTTP that says the same, so that a failure of a program is one whatever it
/// speaks. `None`: the program did not say, which gRPC takes for `UNKNOWN`.
#[must_use]
pub fn http_of_code(code: Option<u8>) -> u16 {
    match code {
        Some(0) => 200,
        // The client cancelled.
        Some(1) => 499,
        Some(3 | 9 | 11) => 400,
        Some(4) => 504,
        Some(5) => 404,
        Some(6 | 10) => 409,
        Some(7) => 403,
        Some(8) => 429,
        Some(12) => 501,
        Some(UNAVAILABLE) => 503,
        Some(16) => 401,
        // UNKNOWN, INTERNAL, DATA_LOSS and what nobody knows.
        Some(_) | None => 500,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_grpc_itself_is_grpc() {
        for (kind, expected) in [
            ("application/grpc", true),
            ("Application/gRPC+proto", true),
            ("application/grpc;charset=utf-8", true),
            ("application/grpc-web", false),
            ("application/grpc-web+proto", false),
            ("application/json", false),
            ("application/grp", false),
        ] {
            assert_eq!(is_grpc(kind.as_bytes()), expected, "{kind}");
        }
    }

    #[test]
    fn failures_of_a_program_are_those_that_opentelemetry_counts() {
        let failed = |code: u8| http_of_code(Some(code)) >= 500;
        let failures: Vec<u8> = (0..=16).filter(|&code| failed(code)).collect();
        assert_eq!(failures, [2, 4, 12, 13, 14, 15]);
        assert_eq!((http_of_code(None), http_of_code(Some(99))), (500, 500));
    }

    #[test]
    fn what_may_be_tried_again_is_unavailable() {
        for status in [429, 502, 503, 504] {
            assert_eq!(code_of_http(status), UNAVAILABLE);
        }
        assert_eq!((code_of_http(404), code_of_http(413)), (12, 8));
    }
}
