//! Words from a closed list.

use model::{Affinity, Demand, Metric, OnFail, OnNoData, Protocol, ProxyProtocol, SearchPath};

use super::{Form, Parsed, name::header_name};
use crate::declare::StrategyName;
use crate::diagnostic::did_you_mean;
use crate::value::Value;

/// How a release is rolled out.
pub(crate) const STRATEGY: Form = Form::choices(
    "one of \"rolling\", \"blue_green\", \"canary\", \"recreate\"",
    &[
        ("rolling", Value::Strategy(StrategyName::Rolling)),
        ("blue_green", Value::Strategy(StrategyName::BlueGreen)),
        ("canary", Value::Strategy(StrategyName::Canary)),
        ("recreate", Value::Strategy(StrategyName::Recreate)),
    ],
);

/// What follows a failure.
pub(crate) const ON_FAIL: Form = Form::choices(
    "\"rollback\" or \"hold\"",
    &[
        ("rollback", Value::OnFail(OnFail::Rollback)),
        ("hold", Value::OnFail(OnFail::Hold)),
    ],
);

/// What follows missing data.
pub(crate) const ON_NO_DATA: Form = Form::choices(
    "one of \"hold\", \"promote\", \"rollback\"",
    &[
        ("hold", Value::OnNoData(OnNoData::Hold)),
        ("promote", Value::OnNoData(OnNoData::Promote)),
        ("rollback", Value::OnNoData(OnNoData::Rollback)),
    ],
);

/// A built-in metric.
pub(crate) const METRIC: Form = Form::choices(
    "one of \"error_rate\", \"latency_p50\", \"latency_p90\", \"latency_p95\", \"latency_p99\"",
    &[
        ("error_rate", Value::Metric(Metric::ErrorRate)),
        ("latency_p50", Value::Metric(Metric::LatencyP50)),
        ("latency_p90", Value::Metric(Metric::LatencyP90)),
        ("latency_p95", Value::Metric(Metric::LatencyP95)),
        ("latency_p99", Value::Metric(Metric::LatencyP99)),
    ],
);

/// What a user stays with beside the release.
pub(crate) const STICK: Form =
    Form::choices("\"instance\"", &[("instance", Value::StickToInstance)]);

/// A signal that may end a program; the numbers are Linux's on every processor it runs on here.
pub(crate) const SIGNAL: Form = Form::choices(
    "a signal: SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2, SIGWINCH or SIGKILL",
    &[
        ("SIGTERM", Value::Signal(15)),
        ("SIGINT", Value::Signal(2)),
        ("SIGQUIT", Value::Signal(3)),
        ("SIGHUP", Value::Signal(1)),
        ("SIGUSR1", Value::Signal(10)),
        ("SIGUSR2", Value::Signal(12)),
        ("SIGWINCH", Value::Signal(28)),
        ("SIGKILL", Value::Signal(9)),
    ],
);

/// How connections find the version of a schema.
pub(crate) const SEARCH_PATH: Form = Form::choices(
    "\"url\", \"pgoptions\", \"alias\" or \"role\"",
    &[
        ("url", Value::SearchPath(SearchPath::Url)),
        ("pgoptions", Value::SearchPath(SearchPath::Pgoptions)),
        ("alias", Value::SearchPath(SearchPath::Alias)),
        ("role", Value::SearchPath(SearchPath::Role)),
    ],
);

/// A version of the PROXY protocol.
pub(crate) const PROXY_PROTOCOL: Form = Form::choices(
    "\"v1\" or \"v2\"",
    &[
        ("v1", Value::ProxyProtocol(ProxyProtocol::V1)),
        ("v2", Value::ProxyProtocol(ProxyProtocol::V2)),
    ],
);

/// What a program speaks on its port.
pub(crate) const PROTOCOL: Form = Form::choices(
    "one of \"http1\", \"h2c\", \"https\", \"h2\"",
    &[
        ("http1", Value::Protocol(Protocol::Http1)),
        ("h2c", Value::Protocol(Protocol::H2c)),
        ("https", Value::Protocol(Protocol::Https)),
        ("h2", Value::Protocol(Protocol::H2)),
    ],
);

/// What becomes of clients without certificate.
pub(crate) const DEMAND: Form = Form::choices(
    "\"required\" or \"optional\"",
    &[
        ("required", Value::Demand(Demand::Required)),
        ("optional", Value::Demand(Demand::Optional)),
    ],
);

/// What keeps a user on a release.
pub(crate) const AFFINITY: Form = Form::new(
    "\"cookie\", \"client\" or \"header:NAME\"",
    "^(cookie|client|header:[!#$%&'*+.^_`|~0-9A-Za-z-]+)$",
    affinity,
);

fn affinity(text: &str) -> Parsed {
    let affinity = match text {
        "cookie" => Some(Affinity::Cookie),
        "client" => Some(Affinity::Client),
        _ => text
            .strip_prefix("header:")
            .and_then(header_name)
            .map(Affinity::Header),
    };
    let meant = || did_you_mean(text, ["cookie", "client", "header:NAME"]);
    affinity.map(Value::Affinity).ok_or_else(meant)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_strategy_is_written_as_it_is_shown() {
        for (name, strategy) in [
            ("rolling", StrategyName::Rolling),
            ("blue_green", StrategyName::BlueGreen),
            ("canary", StrategyName::Canary),
            ("recreate", StrategyName::Recreate),
        ] {
            assert!(matches!(STRATEGY.parse(name), Ok(Value::Strategy(seen)) if seen == strategy));
            assert_eq!(strategy.as_str(), name);
        }
    }

    #[test]
    fn signals_without_their_prefix_are_refused_with_it() {
        let Err(hint) = SIGNAL.parse("TERM") else {
            panic!("TERM is accepted");
        };
        assert_eq!(hint, Some("did you mean `SIGTERM`?".to_owned()));
    }

    #[test]
    fn affinity_by_header_is_lower_case() {
        let Ok(Value::Affinity(affinity)) = AFFINITY.parse("header:X-User") else {
            panic!("header:X-User is refused");
        };
        assert_eq!(affinity, Affinity::Header("x-user".to_owned()));
        for text in ["", "header:", "header:a b", "Cookie", "session"] {
            assert!(AFFINITY.parse(text).is_err(), "{text}");
        }
    }
}
