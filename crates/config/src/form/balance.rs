//! How endpoints are chosen among.

use model::{Balancing, HashKey};

use super::name::header_name;
use super::{Form, Parsed};
use crate::diagnostic::did_you_mean;
use crate::value::Value;

/// How endpoints are chosen among.
pub(crate) const BALANCE: Form = Form::new(
    "\"p2c\", \"round_robin\", \"least_requests\", \"peak_ewma\", \"hash:client\", \
     \"hash:header:NAME\" or \"hash:cookie:NAME\"",
    "^(p2c|round_robin|least_requests|peak_ewma|hash:client|hash:(header|cookie):[!#$%&'*+.^_`|~0-9A-Za-z-]+)$",
    balance,
);

fn balance(text: &str) -> Parsed {
    let balance = match text {
        "p2c" => Some(Balancing::P2c),
        "round_robin" => Some(Balancing::RoundRobin),
        "least_requests" => Some(Balancing::LeastRequests),
        "peak_ewma" => Some(Balancing::PeakEwma),
        _ => text
            .strip_prefix("hash:")
            .and_then(key)
            .map(Balancing::Hash),
    };
    let names = [
        "p2c",
        "round_robin",
        "least_requests",
        "peak_ewma",
        "hash:client",
        "hash:header:NAME",
        "hash:cookie:NAME",
    ];
    balance
        .map(Value::Balancing)
        .ok_or_else(|| did_you_mean(text, names))
}

fn key(text: &str) -> Option<HashKey> {
    match text.split_once(':') {
        None if text == "client" => Some(HashKey::Client),
        Some(("header", name)) => header_name(name).map(HashKey::Header),
        Some(("cookie", name)) => header_name(name).map(|_| HashKey::Cookie(name.to_owned())),
        None | Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_says_what_it_is_made_from() {
        let read = |text: &str| match BALANCE.parse(text) {
            Ok(Value::Balancing(Balancing::Hash(key))) => Some(key),
            _ => None,
        };
        assert_eq!(read("hash:client"), Some(HashKey::Client));
        let header = HashKey::Header("x-user".to_owned());
        assert_eq!(read("hash:header:X-User"), Some(header));
        assert_eq!(
            read("hash:cookie:Sid"),
            Some(HashKey::Cookie("Sid".to_owned()))
        );
        for text in [
            "",
            "hash",
            "hash:",
            "hash:header",
            "hash:header:",
            "hash:header:a b",
            "hash:user:x",
            "P2C",
        ] {
            assert!(BALANCE.parse(text).is_err(), "{text}");
        }
    }
}
