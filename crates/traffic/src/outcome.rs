//! What can become of a request, and what each of it means for a receipt.

use model::Lost;

use crate::listed::listed;

listed! {
    /// Whether Gapless had already told the instance to go when the outcome was seen.
    pub enum Phase {
        /// It is there to serve.
        Serving,
        /// It was signalled or stopped. While it only drains the program is not touched: what it
        /// fails then, it fails by itself.
        Told,
    }
}

listed! {
    /// What became of one attempt at one endpoint. Each admitted attempt ends with exactly one;
    /// only [`Outcome::TunnelOpened`] is counted beside the one that ends it.
    pub enum Outcome {
        /// A whole response, 2xx.
        Status2xx,
        /// A whole response, 3xx.
        Status3xx,
        /// A whole response, 4xx.
        Status4xx,
        /// A whole response, 5xx but for the three below (and above 599).
        Status5xx,
        /// A whole response, 502.
        Status502,
        /// A whole response, 503.
        Status503,
        /// A whole response, 504.
        Status504,
        /// The connection failed, and nothing else was tried.
        ConnectFailed,
        /// The connection failed, and the request went elsewhere.
        ConnectRepeated,
        /// The connection ended before a whole response head.
        NoResponse,
        /// The same, and the request went elsewhere.
        NoResponseRepeated,
        /// The endpoint answered with something that is no response to this request.
        BadResponse,
        /// The response ended before its end.
        Truncated,
        /// The endpoint was silent for too long, before or within its response.
        Timeout,
        /// We ended it at the drain limit.
        Cut,
        /// It was open in a worker that died.
        Killed,
        /// The client went away, or broke the rules, before it had its whole response.
        ClientGone,
        /// A tunnel began.
        TunnelOpened,
        /// A tunnel was ended by one of its ends.
        TunnelClosed,
    }
}

impl Outcome {
    /// The outcome of a whole response with `status`.
    #[must_use]
    pub fn of_status(status: u16) -> Self {
        match status {
            502 => Self::Status502,
            503 => Self::Status503,
            504 => Self::Status504,
            0..300 => Self::Status2xx,
            300..400 => Self::Status3xx,
            400..500 => Self::Status4xx,
            500.. => Self::Status5xx,
        }
    }

    /// What this outcome in this phase means for a receipt.
    ///
    /// Two outcomes are the program's own in either phase. A whole 5xx is an answer that it
    /// made. And a request that ran into its time limit had all the time it would have had
    /// without the rollout: requests are only claimed before an endpoint is told, and it is not
    /// signalled while one is open, but for the drain limit, which cuts.
    #[must_use]
    pub fn effect(self, phase: Phase) -> Effect {
        let missing = |lost: Lost| match phase {
            Phase::Serving => Effect::Failed,
            Phase::Told => Effect::Lost(lost),
        };
        match self {
            Self::Status2xx | Self::Status3xx | Self::Status4xx => Effect::Fine,
            Self::Status5xx | Self::Timeout => Effect::Failed,
            Self::Status502 | Self::Status503 | Self::Status504 => missing(Lost::Unavailable),
            Self::ConnectFailed => missing(Lost::Connect),
            Self::NoResponse | Self::BadResponse => missing(Lost::NoResponse),
            Self::Truncated => missing(Lost::Truncated),
            Self::ConnectRepeated | Self::NoResponseRepeated => Effect::Repeated,
            Self::Cut | Self::Killed => Effect::Cut,
            Self::ClientGone => Effect::Abandoned,
            Self::TunnelOpened => Effect::None,
            Self::TunnelClosed => Effect::Fine,
        }
    }

    /// True if a check counts it against the release: everything that a user of this release
    /// alone would have felt, repeated attempts included.
    #[must_use]
    pub fn is_error(self) -> bool {
        match self.effect(Phase::Serving) {
            Effect::Failed | Effect::Repeated | Effect::Lost(_) => true,
            Effect::Fine | Effect::Cut | Effect::Abandoned | Effect::None => false,
        }
    }
}

/// What an [`Outcome`] in a [`Phase`] means for a receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// A whole response made by the program, or a tunnel that its ends ended.
    Fine,
    /// Lost because of the rollout.
    Lost(Lost),
    /// Failed by the release.
    Failed,
    /// Not felt: it went on elsewhere; the attempt counts against its release in checks.
    Repeated,
    /// Cut.
    Cut,
    /// Ended by the client.
    Abandoned,
    /// Says nothing about a request's end.
    None,
}

listed! {
    /// Why the proxy itself answered a request.
    pub enum Rejected {
        /// No route leads anywhere from this host and path.
        NoRoute => "no_route",
        /// The request is malformed.
        BadRequest => "bad_request",
        /// The head did not come in time.
        HeadTimeout => "head_timeout",
        /// There are too many connections.
        Connections => "connections",
        /// This client has too many connections.
        ClientConnections => "client_connections",
        /// The body is larger than the limit.
        BodyTooLarge => "body_too_large",
        /// The body did not come in time.
        BodyTimeout => "body_timeout",
        /// No endpoint was ready in time.
        NoEndpoint => "no_endpoint",
        /// Too many requests wait for an endpoint.
        Overload => "overload",
        /// No connection to an endpoint could be made.
        Connect => "connect",
        /// The endpoint closed without a response.
        NoResponse => "no_response",
        /// The endpoint's response is none.
        BadResponse => "bad_response",
        /// The endpoint was silent for too long.
        Timeout => "timeout",
        /// It was open at the drain limit.
        Cut => "cut",
        /// The service is paused, and too many requests are held already, or this one for too long.
        Paused => "paused",
        /// The service is closed for maintenance.
        Maintenance => "maintenance",
        /// The connection was made for another host, or not under what this one's service demands.
        Misdirected => "misdirected",
        /// It is to come over TLS instead.
        Redirected => "redirected",
        /// Every endpoint is full, and so is the queue.
        QueueFull => "queue_full",
        /// It waited too long for a place at an endpoint.
        QueueTimeout => "queue_timeout",
        /// No attempt brought a byte of a response in its time.
        DeadlineTry => "deadline_try",
        /// The time for the whole exchange was over.
        DeadlineTotal => "deadline_total",
        /// No endpoint proved over TLS to be the right one.
        NotSecured => "not_secured",
    }
}

impl Rejected {
    /// The status of the response.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::NoRoute => 404,
            Self::BadRequest => 400,
            Self::HeadTimeout | Self::BodyTimeout => 408,
            Self::BodyTooLarge => 413,
            Self::Connections
            | Self::ClientConnections
            | Self::NoEndpoint
            | Self::Overload
            | Self::Paused
            | Self::Maintenance
            | Self::QueueFull
            | Self::QueueTimeout => 503,
            Self::Connect | Self::NotSecured | Self::NoResponse | Self::BadResponse | Self::Cut => {
                502
            }
            Self::Timeout | Self::DeadlineTry | Self::DeadlineTotal => 504,
            Self::Misdirected => 421,
            Self::Redirected => 308,
        }
    }

    /// One sentence for a person.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::NoRoute => "no service is configured for this host and path",
            Self::BadRequest => "the request is malformed",
            Self::HeadTimeout => "the request's head did not come in time",
            Self::Connections => "too many connections",
            Self::ClientConnections => "too many connections from this client's address",
            Self::BodyTooLarge => "the request's body is larger than the limit",
            Self::BodyTimeout => "the request's body did not come in time",
            Self::NoEndpoint => "no instance of the service is ready",
            Self::Overload => "too many requests wait for an instance of the service",
            Self::Maintenance => "the service is closed for maintenance",
            Self::Paused => "the service is paused, and too many requests wait for its end",
            Self::Connect => "no connection to an instance could be made",
            Self::NotSecured => "no instance proved over TLS to be the right one",
            Self::NoResponse => "the instance closed the connection without a response",
            Self::BadResponse => "the instance's response is malformed",
            Self::Timeout => "the instance did not answer in time",
            Self::Cut => "the instance was stopped before it answered",
            Self::Misdirected => {
                "the connection was made for another host, or without showing what this one asks for"
            }
            Self::Redirected => "this is served over https",
            Self::QueueFull => "every instance of the service is full, and so is its queue",
            Self::QueueTimeout => "every instance of the service was full for too long",
            Self::DeadlineTry => "no instance began to answer in the time that an attempt has",
            Self::DeadlineTotal => "the time for the whole exchange is over",
        }
    }

    /// Seconds after which another try makes sense, where it does.
    #[must_use]
    pub const fn retry_after_seconds(self) -> Option<u32> {
        match self {
            Self::Connections
            | Self::ClientConnections
            | Self::NoEndpoint
            | Self::Overload
            | Self::Paused
            | Self::Maintenance
            | Self::QueueFull
            | Self::QueueTimeout => Some(1),
            Self::NoRoute
            | Self::BadRequest
            | Self::HeadTimeout
            | Self::BodyTooLarge
            | Self::BodyTimeout
            | Self::Connect
            | Self::NotSecured
            | Self::NoResponse
            | Self::BadResponse
            | Self::Timeout
            | Self::DeadlineTry
            | Self::DeadlineTotal
            | Self::Cut
            | Self::Misdirected
            | Self::Redirected => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_failure_is_the_releases_before_and_ours_after_it_was_told() {
        for (outcome, lost) in [
            (Outcome::ConnectFailed, Lost::Connect),
            (Outcome::NoResponse, Lost::NoResponse),
            (Outcome::BadResponse, Lost::NoResponse),
            (Outcome::Truncated, Lost::Truncated),
            (Outcome::Status503, Lost::Unavailable),
        ] {
            assert_eq!(outcome.effect(Phase::Serving), Effect::Failed);
            assert_eq!(outcome.effect(Phase::Told), Effect::Lost(lost));
        }
    }

    #[test]
    fn only_told_instances_lose() {
        for outcome in Outcome::ALL {
            let serving = outcome.effect(Phase::Serving);
            assert!(!matches!(serving, Effect::Lost(_)), "{outcome:?}");
        }
    }

    #[test]
    fn what_the_program_did_by_itself_is_its_own_also_while_it_is_drained() {
        for outcome in [Outcome::of_status(500), Outcome::Timeout] {
            assert_eq!(outcome.effect(Phase::Serving), Effect::Failed);
            assert_eq!(outcome.effect(Phase::Told), Effect::Failed);
        }
    }

    #[test]
    fn a_repeated_attempt_counts_against_its_release() {
        assert!(Outcome::ConnectRepeated.is_error());
        assert!(Outcome::NoResponseRepeated.is_error());
        assert!(!Outcome::ClientGone.is_error());
    }

    #[test]
    fn every_status_has_a_class() {
        let classes = [200, 204, 301, 404, 500, 502, 503, 504, 599].map(Outcome::of_status);
        assert_eq!(classes[0], Outcome::Status2xx);
        assert_eq!(classes[2], Outcome::Status3xx);
        assert_eq!(classes[3], Outcome::Status4xx);
        assert_eq!(classes[5], Outcome::Status502);
        assert_eq!(classes[8], Outcome::Status5xx);
    }
}
