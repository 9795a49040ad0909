//! Who the server takes requests from, and whom of them it believes.

use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Share;

/// A range of addresses: one address, or all that begin with the same bits.
///
/// An IPv4 address and the same one mapped into IPv6 are one address here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Network {
    first: IpAddr,
    bits: u8,
}

/// Why a text is no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// It has another form.
    #[error("neither an address nor a network")]
    Form,
    /// The address has bits beyond the prefix.
    #[error("the network is written {0}")]
    Inexact(Network),
}

impl Network {
    /// The network of all addresses that share the first `bits` bits of `address`.
    ///
    /// # Errors
    ///
    /// [`NetworkError::Form`] if there are more bits than the address has.
    pub fn try_new(address: IpAddr, bits: u8) -> Result<Self, NetworkError> {
        if u32::from(bits) > width(address) {
            return Err(NetworkError::Form);
        }
        let spare = width(address) - u32::from(bits);
        let first = match address {
            IpAddr::V4(v4) => IpAddr::V4((v4.to_bits() & clear(spare) as u32).into()),
            IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & clear(spare)).into()),
        };
        Ok(Self { first, bits })
    }

    /// True if `address` lies in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        width(address) == width(self.first)
            && Self::try_new(address, self.bits).is_ok_and(|other| other.first == self.first)
    }
}

/// How many bits an address has.
const fn width(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// All bits but the last `spare` ones.
const fn clear(spare: u32) -> u128 {
    match u128::MAX.checked_shl(spare) {
        Some(bits) => bits,
        None => 0,
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NetworkError::Form)?;
        let is_mapped = address != address.to_canonical();
        let bits = match bits {
            None => width(address) as u8,
            Some(digits) if !is_mapped && digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.parse().map_err(|_| NetworkError::Form)?
            }
            Some(_) => return Err(NetworkError::Form),
        };
        let address = if is_mapped {
            address.to_canonical()
        } else {
            address
        };
        let bits = bits.min(if is_mapped { 32 } else { bits });
        let network = Self::try_new(address, bits)?;
        if network.first == address {
            Ok(network)
        } else {
            Err(NetworkError::Inexact(network))
        }
    }
}

impl TryFrom<String> for Network {
    type Error = NetworkError;

    fn try_from(text: String) -> Result<Self, NetworkError> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.first, self.bits)
    }
}

/// Whom the proxy believes of those that connect to it, what it begins for the others, and how
/// much of it each may have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Peers {
    /// Proxies whose word about a client's address is taken.
    pub trusted: Vec<Network>,
    /// Whether connections to the public address begin with a PROXY protocol header, which
    /// only trusted peers may send.
    pub proxy_protocol: bool,
    /// The share of the traces begun here that are marked to be recorded.
    pub trace_sampled: Share,
    /// Connections that one address may have, trusted ones and this machine's own aside; 0:
    /// any number.
    pub connections_per_client: u32,
}

impl Peers {
    /// How many connections `address` may have; `None`: any number.
    ///
    /// A trusted proxy brings the connections of many, and so may one on this machine.
    #[must_use]
    pub fn connections_max(&self, address: IpAddr) -> Option<u32> {
        let is_bounded = self.connections_per_client > 0
            && !address.to_canonical().is_loopback()
            && !self.trusts(address);
        is_bounded.then_some(self.connections_per_client)
    }

    /// True if what `address` says of others is believed.
    #[must_use]
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_has_the_addresses_that_share_its_bits() {
        for (text, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("10.1.2.3", "10.1.2.3", "10.1.2.4"),
            ("192.168.4.0/22", "192.168.7.255", "192.168.8.0"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("::1", "::1", "::2"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
            ("::/0", "ffff::", "1.2.3.4"),
            ("10.0.0.0/8", "::ffff:10.1.1.1", "::10.1.1.1"),
            ("::ffff:10.1.1.1", "10.1.1.1", "10.1.1.2"),
        ] {
            assert!(network(text).contains(inside.parse().unwrap()), "{text}");
            assert!(!network(text).contains(outside.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn this_machine_and_trusted_proxies_have_as_many_connections_as_they_like() {
        let peers = Peers {
            trusted: vec![network("10.0.0.0/8")],
            connections_per_client: 5,
            ..Peers::default()
        };
        for free in ["127.0.0.1", "::1", "::ffff:127.0.0.2", "10.1.1.1"] {
            assert_eq!(peers.connections_max(free.parse().unwrap()), None, "{free}");
        }
        let other = "192.0.2.1".parse().unwrap();
        assert_eq!(peers.connections_max(other), Some(5));
        assert_eq!(Peers::default().connections_max(other), None);
    }

    #[test]
    fn a_network_is_written_in_one_way() {
        for (text, shown) in [("10.0.0.0/8", "10.0.0.0/8"), ("::1", "::1/128")] {
            assert_eq!(network(text).to_string(), shown);
            assert_eq!(network(shown), network(text));
        }
        let inexact = "10.1.2.3/8".parse::<Network>();
        assert_eq!(inexact, Err(NetworkError::Inexact(network("10.0.0.0/8"))));
        for odd in [
            "",
            "/",
            "10.0.0.0/",
            "10.0.0.0/33",
            "::/129",
            "10.0/8",
            "x",
            "1.2.3.4/+8",
            "::ffff:1.2.3.4/8",
        ] {
            assert_eq!(odd.parse::<Network>(), Err(NetworkError::Form), "{odd}");
        }
    }
}
