//! Ports for instances: outside the ephemeral range, free, not given out twice.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;

use rustix::net::{AddressFamily, SocketFlags, SocketType};

/// The range that ports are taken from by default.
pub const PORTS_DEFAULT: RangeInclusive<u16> = 20_000..=29_999;

/// Why there is no port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// The range holds no port outside the kernel's own.
    #[error("ports {}-{} all lie in the kernel's ephemeral range {}-{}", range.start(), range.end(), ephemeral.start(), ephemeral.end())]
    AllEphemeral {
        /// The range asked for.
        range: RangeInclusive<u16>,
        /// The kernel's.
        ephemeral: RangeInclusive<u16>,
    },
    /// Every port of the range is given out or in use.
    #[error("no port between {} and {} is free", range.start(), range.end())]
    Exhausted {
        /// The range.
        range: RangeInclusive<u16>,
    },
}

/// Which ports are given out.
///
/// A port stays given out until it is released, so that a late request for an
/// old instance never meets a new one. Ports are given out in turn, the one
/// released longest ago first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ports {
    range: RangeInclusive<u16>,
    usable: BTreeSet<u16>,
    taken: BTreeSet<u16>,
    next: u16,
}

impl Ports {
    /// Takes ports from `range`, except those that the kernel gives to outgoing connections.
    ///
    /// # Errors
    ///
    /// [`PortError::AllEphemeral`] if that leaves none.
    pub fn try_new(
        range: RangeInclusive<u16>,
        ephemeral: &RangeInclusive<u16>,
    ) -> Result<Self, PortError> {
        let usable: BTreeSet<u16> = range
            .clone()
            .filter(|port| *port != 0 && !ephemeral.contains(port))
            .collect();
        if usable.is_empty() {
            return Err(PortError::AllEphemeral {
                range,
                ephemeral: ephemeral.clone(),
            });
        }
        let next = *range.start();
        Ok(Self {
            range,
            usable,
            taken: BTreeSet::new(),
            next,
        })
    }

    /// Gives out the next port that is not taken and for which `is_free` holds.
    ///
    /// # Errors
    ///
    /// [`PortError::Exhausted`] if there is none.
    pub fn allocate(&mut self, mut is_free: impl FnMut(u16) -> bool) -> Result<u16, PortError> {
        let in_turn = self
            .usable
            .range(self.next..)
            .chain(self.usable.range(..self.next));
        let mut open = in_turn.filter(|port| !self.taken.contains(*port));
        let Some(port) = open.find(|port| is_free(**port)).copied() else {
            return Err(PortError::Exhausted {
                range: self.range.clone(),
            });
        };
        self.taken.insert(port);
        self.next = port.wrapping_add(1);
        Ok(port)
    }

    /// Marks a port as given out, as found after a restart; false if it already was.
    pub fn claim(&mut self, port: u16) -> bool {
        self.taken.insert(port)
    }

    /// Lets a port be given out again.
    pub fn release(&mut self, port: u16) {
        self.taken.remove(&port);
    }

    /// The ports given out.
    pub fn taken(&self) -> impl Iterator<Item = u16> + '_ {
        self.taken.iter().copied()
    }
}

/// The ports that the kernel gives to outgoing connections.
///
/// # Errors
///
/// If the kernel does not say.
pub fn ephemeral_range() -> std::io::Result<RangeInclusive<u16>> {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")?;
    parse_range(&text).ok_or_else(|| std::io::ErrorKind::InvalidData.into())
}

fn parse_range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.trim().split_once(char::is_whitespace)?;
    Some(first.parse().ok()?..=last.trim().parse().ok()?)
}

/// Whether a program could listen on this port now, on any address.
#[must_use]
pub fn is_free(port: u16) -> bool {
    let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    let any_v6 = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    // Bound but never listening: nobody can connect to it. A machine without
    // IPv6 has nothing there that could be in the way.
    can_bind(any, AddressFamily::INET) == Some(true)
        && can_bind(any_v6, AddressFamily::INET6) != Some(false)
}

/// `None` when there is no such address family.
fn can_bind(address: SocketAddr, family: AddressFamily) -> Option<bool> {
    let socket =
        rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None).ok()?;
    rustix::net::sockopt::set_socket_reuseaddr(&socket, true).ok()?;
    if address.is_ipv6() {
        rustix::net::sockopt::set_ipv6_v6only(&socket, true).ok()?;
    }
    match rustix::net::bind(&socket, &address) {
        Ok(()) => Some(true),
        Err(rustix::io::Errno::ADDRNOTAVAIL) => None,
        Err(_) => Some(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn ports(range: RangeInclusive<u16>) -> Ports {
        Ports::try_new(range, &(32_768..=60_999)).unwrap()
    }

    #[test]
    fn a_port_is_given_out_once_until_released_and_then_last() {
        let mut ports = ports(20_000..=20_002);
        let mut all: Vec<u16> = (0..3).map(|_| ports.allocate(|_| true).unwrap()).collect();
        assert_eq!(all, [20_000, 20_001, 20_002]);
        assert!(matches!(
            ports.allocate(|_| true),
            Err(PortError::Exhausted { .. })
        ));
        ports.release(20_001);
        ports.release(20_000);
        all = (0..2).map(|_| ports.allocate(|_| true).unwrap()).collect();
        assert_eq!(all, [20_000, 20_001]);
    }

    #[test]
    fn a_released_port_rests_while_others_are_free() {
        let mut ports = ports(20_000..=20_002);
        let first = ports.allocate(|_| true).unwrap();
        ports.release(first);
        assert_ne!(ports.allocate(|_| true), Ok(first));
    }

    #[test]
    fn ports_in_use_and_claimed_ones_are_skipped() {
        let mut ports = ports(20_000..=20_005);
        assert!(ports.claim(20_001) && !ports.claim(20_001));
        assert_eq!(ports.allocate(|port| port != 20_000), Ok(20_002));
        assert_eq!(ports.taken().collect::<Vec<_>>(), [20_001, 20_002]);
    }

    #[test]
    fn ephemeral_ports_are_never_given_out() {
        let mut ports = ports(32_766..=32_770);
        assert_eq!(ports.allocate(|_| true), Ok(32_766));
        assert_eq!(ports.allocate(|_| true), Ok(32_767));
        assert!(ports.allocate(|_| true).is_err());
        let inside = Ports::try_new(40_000..=40_010, &(32_768..=60_999));
        assert!(matches!(inside, Err(PortError::AllEphemeral { .. })));
    }

    #[test]
    fn the_kernels_range_is_read() {
        assert_eq!(parse_range("32768\t60999\n"), Some(32_768..=60_999));
        assert_eq!(parse_range("x"), None);
        assert!(ephemeral_range().is_ok());
    }

    #[test]
    fn a_port_that_somebody_listens_on_is_not_free() {
        for address in ["127.0.0.1:0", "0.0.0.0:0"] {
            let listener = TcpListener::bind(address).unwrap();
            let port = listener.local_addr().unwrap().port();
            assert!(!is_free(port));
            drop(listener);
            assert!(is_free(port));
        }
    }
}
