//! What gRPC says in other words than HTTP: its statuses.

use crate::Rejected;

/// `DEADLINE_EXCEEDED`: a time is over, and whether anything was done is not known.
const DEADLINE_EXCEEDED: u8 = 4;
/// `RESOURCE_EXHAUSTED`, which a message above the limit is for gRPC's libraries too.
const RESOURCE_EXHAUSTED: u8 = 8;
/// `FAILED_PRECONDITION`: the same again will not do.
const FAILED_PRECONDITION: u8 = 9;
/// `UNIMPLEMENTED`: nobody here knows the method.
const UNIMPLEMENTED: u8 = 12;
/// `INTERNAL`: somebody broke the rules of the protocol.
const INTERNAL: u8 = 13;
/// `UNAVAILABLE`: the client may try again.
const UNAVAILABLE: u8 = 14;

/// True for the media type of a message of gRPC. Not for gRPC-Web, whose status is in the body.
#[must_use]
pub fn is_grpc(content_type: &[u8]) -> bool {
    const NAME: &[u8] = b"application/grpc";
    let Some((name, rest)) = content_type.split_at_checked(NAME.len()) else {
        return false;
    };
    name.eq_ignore_ascii_case(NAME) && matches!(rest.first(), None | Some(b'+' | b';' | b' '))
}

/// The status that a client of gRPC is told when the proxy answers in the program's stead.
#[must_use]
pub const fn code_of(rejected: Rejected) -> u8 {
    match rejected {
        Rejected::Timeout
        | Rejected::DeadlineTry
        | Rejected::DeadlineTotal
        | Rejected::HeadTimeout
        | Rejected::BodyTimeout => DEADLINE_EXCEEDED,
        Rejected::BodyTooLarge => RESOURCE_EXHAUSTED,
        Rejected::Misdirected | Rejected::Redirected => FAILED_PRECONDITION,
        Rejected::NoRoute => UNIMPLEMENTED,
        Rejected::BadRequest => INTERNAL,
        Rejected::Connections
        | Rejected::ClientConnections
        | Rejected::NoEndpoint
        | Rejected::Overload
        | Rejected::Connect
        | Rejected::NotSecured
        | Rejected::NoResponse
        | Rejected::BadResponse
        | Rejected::Cut
        | Rejected::Paused
        | Rejected::Maintenance
        | Rejected::QueueFull
        | Rejected::QueueTimeout => UNAVAILABLE,
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
    fn clients_are_told_what_they_may_do() {
        let told = |code: u8| {
            let all = Rejected::ALL.into_iter();
            all.filter(|&one| code_of(one) == code).collect::<Vec<_>>()
        };
        assert_eq!(
            told(DEADLINE_EXCEEDED),
            [
                Rejected::HeadTimeout,
                Rejected::BodyTimeout,
                Rejected::Timeout,
                Rejected::DeadlineTry,
                Rejected::DeadlineTotal,
            ]
        );
        // Everything that says when to come back may be tried again.
        for rejected in Rejected::ALL {
            let comes_back = rejected.retry_after_seconds().is_some();
            assert!(
                !comes_back || code_of(rejected) == UNAVAILABLE,
                "{rejected:?}"
            );
        }
        assert_eq!(told(RESOURCE_EXHAUSTED), [Rejected::BodyTooLarge]);
        assert_eq!(told(UNIMPLEMENTED), [Rejected::NoRoute]);
        assert_eq!(told(INTERNAL), [Rejected::BadRequest]);
    }
}
