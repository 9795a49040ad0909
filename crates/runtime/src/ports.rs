//! What the machine says of ports: which it gives to outgoing connections, which are free.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;

use rustix::net::{AddressFamily, SocketFlags, SocketType};

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
