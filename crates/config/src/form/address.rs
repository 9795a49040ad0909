//! Addresses to listen on, and ranges of ports.

use std::net::SocketAddr;

use model::{Network, NetworkError};

use super::{Form, Parsed, write};
use crate::value::Value;

/// An address with its port.
pub(crate) const ADDRESS: Form = Form::new(
    "an address and a port, such as \"127.0.0.1:8080\" or \"[::1]:8080\"",
    "^([0-9]{1,3}(\\.[0-9]{1,3}){3}|\\[[0-9A-Fa-f:.]+(%[0-9]+)?\\]):[0-9]{1,5}$",
    |text| {
        let address = text.parse().ok();
        address.map(Value::Address).ok_or_else(|| meant(text))
    },
);

/// Two ports, the second not below the first.
pub(crate) const PORTS: Form = Form::new(
    "two ports, the first not above the second, such as \"20000-29999\"",
    "^0*[1-9][0-9]{0,4}-0*[1-9][0-9]{0,4}$",
    ports,
);

/// An address, or all that begin alike.
pub(crate) const NETWORK: Form = Form::new(
    "an address or a network, such as \"10.0.0.7\", \"10.0.0.0/8\" or \"fd00::/8\"",
    "^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$",
    |text| match text.parse::<Network>() {
        Ok(network) => Ok(Value::Network(network)),
        Err(NetworkError::Inexact(network)) => Err(write(network)),
        Err(NetworkError::Form) => Err(None),
    },
);

/// The address that was probably meant.
fn meant(text: &str) -> Option<String> {
    let text = text.trim_start_matches("http://").trim_end_matches('/');
    let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
    let port: u16 = port.parse().ok()?;
    match host {
        "" | "*" => write(format_args!("0.0.0.0:{port}")),
        "localhost" => write(format_args!("127.0.0.1:{port}")),
        host => {
            let address: SocketAddr = format!("{host}:{port}").parse().ok()?;
            write(address)
        }
    }
}

fn ports(text: &str) -> Parsed {
    let port = |text: &str| {
        let port = text.parse::<u16>().ok().filter(|&port| port > 0);
        port.filter(|_| text.bytes().all(|b| b.is_ascii_digit()))
    };
    let (begin, end) = text.split_once('-').ok_or(None)?;
    match (port(begin), port(end)) {
        (Some(begin), Some(end)) if begin <= end => Ok(Value::Ports(begin, end)),
        (Some(begin), Some(end)) => Err(write(format_args!("{end}-{begin}"))),
        _ => Err(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_refused_with_the_one_that_was_meant() {
        for text in ["127.0.0.1:0", "0.0.0.0:80", "[::]:8080", "[::1]:1"] {
            assert!(ADDRESS.parse(text).is_ok(), "{text}");
        }
        for (text, instead) in [
            (":8080", Some("0.0.0.0:8080")),
            ("8080", Some("0.0.0.0:8080")),
            ("*:80", Some("0.0.0.0:80")),
            ("localhost:80", Some("127.0.0.1:80")),
            ("http://10.0.0.1:80/", Some("10.0.0.1:80")),
            ("example.com:80", None),
            ("127.0.0.1", None),
            ("127.0.0.1:65536", None),
            ("", None),
        ] {
            assert_eq!(
                ADDRESS.parse(text).err(),
                Some(instead.and_then(write)),
                "{text}"
            );
        }
    }

    #[test]
    fn a_network_has_no_bits_beyond_its_prefix() {
        for text in ["10.0.0.0/8", "192.0.2.7", "::1", "fd00::/8", "0.0.0.0/0"] {
            assert!(NETWORK.parse(text).is_ok(), "{text}");
        }
        assert_eq!(NETWORK.parse("10.0.0.1/8").err(), Some(write("10.0.0.0/8")));
        for text in ["", "10.0.0.0/33", "localhost", "10.*", "10.0.0.0-10.0.0.9"] {
            assert_eq!(NETWORK.parse(text).err(), Some(None), "{text}");
        }
    }

    #[test]
    fn a_range_of_ports_never_ends_before_it_begins() {
        assert!(matches!(ports("1-65535"), Ok(Value::Ports(1, 65_535))));
        assert!(matches!(ports("80-80"), Ok(Value::Ports(80, 80))));
        assert_eq!(ports("300-200").err(), Some(write("200-300")));
        for text in ["", "-", "1", "0-9", "1-65536", "+1-2", "1-2-3", "a-b"] {
            assert_eq!(ports(text).err(), Some(None), "{text}");
        }
    }
}
