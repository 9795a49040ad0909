//! Listening sockets: made once for each address, kept until released.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use crate::sys;

/// How many connections may wait at each socket.
const BACKLOG: i32 = 4096;

/// Addresses that are kept at once.
pub(crate) const ADDRESSES_MAX: usize = 256;

/// The sockets of one address.
#[derive(Debug)]
pub(crate) struct Listener {
    /// The address as bound, with its real port.
    pub(crate) address: SocketAddr,
    pub(crate) sockets: Vec<OwnedFd>,
    /// How many sockets of dead servers were on the address before these.
    pub(crate) beside: u32,
}

/// Who gets new connections to an address that a dead server's worker still listens on too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Steering {
    /// That worker: whoever comes here would wait for instances that still start.
    TheDead,
    /// We: what lies in that worker's queues can be accepted to the end.
    Us,
    /// All sockets alike, as without a rival.
    All,
}

impl Listener {
    /// Steers new connections.
    ///
    /// The kernel numbers the sockets of an address in the order of their `listen`, so ours come
    /// last; a number that is none means all alike.
    pub(crate) fn steer(&self, steering: Steering) -> std::io::Result<()> {
        let own = u32::try_from(self.sockets.len()).unwrap_or(u32::MAX);
        let among = match steering {
            Steering::TheDead => Some((0, self.beside)),
            Steering::Us => Some((self.beside, own)),
            Steering::All => None,
        };
        match self.sockets.first() {
            Some(socket) if self.beside > 0 => sys::steer(socket.as_fd(), among),
            Some(_) | None => Ok(()),
        }
    }
}

/// All listening sockets, by the address that was asked for.
pub(crate) type Listeners = BTreeMap<SocketAddr, Listener>;

/// How other sockets on the same address are treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// There must be none.
    Alone,
    /// Those that allow it too, of the same user.
    Beside,
}

/// Finds out whether the address is free, without keeping it.
pub(crate) fn probe(address: SocketAddr) -> Result<(), Errno> {
    socket(address, Sharing::Alone).map(drop)
}

/// Makes `count` listening sockets on one address, beside as many of dead servers.
pub(crate) fn listen(address: SocketAddr, count: usize, beside: u32) -> Result<Listener, Errno> {
    let first = socket(address, Sharing::Beside)?;
    let bound = SocketAddr::try_from(rustix::net::getsockname(&first)?)?;
    let mut sockets = vec![first];
    while sockets.len() < count {
        sockets.push(socket(bound, Sharing::Beside)?);
    }
    // Only now, so that no connection waits at a socket that is given up.
    for socket in &sockets {
        rustix::net::listen(socket, BACKLOG)?;
    }
    Ok(Listener {
        address: bound,
        sockets,
        beside,
    })
}

fn socket(address: SocketAddr, sharing: Sharing) -> Result<OwnedFd, Errno> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if sharing == Sharing::Beside {
        sockopt::set_socket_reuseport(&socket, true)?;
    }
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    rustix::net::bind(&socket, &address)?;
    Ok(socket)
}

/// Connections that the kernel dropped at the sockets of one address.
pub(crate) fn drops(listener: &Listener) -> u64 {
    let of = |socket: &OwnedFd| sys::socket_drops(socket.as_fd()).map_or(0, u64::from);
    listener.sockets.iter().map(of).sum()
}

/// How many connections the kernel lets wait at each socket.
pub(crate) fn backlog() -> u32 {
    let limit = std::fs::read_to_string("/proc/sys/net/core/somaxconn");
    let limit = limit.ok().and_then(|text| text.trim().parse().ok());
    limit.unwrap_or(u32::MAX).min(BACKLOG.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn all_sockets_share_one_port_and_accept_into_their_backlogs() {
        let listener = listen("127.0.0.1:0".parse().unwrap(), 4, 0).unwrap();
        assert_eq!(listener.sockets.len(), 4);
        let connections: Vec<TcpStream> = (0..32)
            .map(|_| TcpStream::connect(listener.address).unwrap())
            .collect();
        let accepted: usize = listener
            .sockets
            .iter()
            .map(|socket| std::iter::from_fn(|| rustix::net::accept(socket).ok()).count())
            .sum();
        assert_eq!(accepted, connections.len());
        assert_eq!(drops(&listener), 0);
    }

    #[test]
    fn a_strangers_port_is_not_free() {
        let stranger = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = stranger.local_addr().unwrap();
        assert_eq!(probe(address), Err(Errno::ADDRINUSE));
        drop(stranger);
        assert_eq!(probe(address), Ok(()));
    }

    #[test]
    fn a_port_shared_by_a_dead_servers_socket_is_not_free_but_can_be_joined() {
        let old = listen("127.0.0.1:0".parse().unwrap(), 1, 0).unwrap();
        assert_eq!(probe(old.address), Err(Errno::ADDRINUSE));
        assert_eq!(listen(old.address, 2, 1).unwrap().sockets.len(), 2);
    }

    fn waiting(listener: &Listener) -> usize {
        let sockets = listener.sockets.iter();
        sockets
            .map(|socket| std::iter::from_fn(|| rustix::net::accept(socket).ok()).count())
            .sum()
    }

    #[test]
    fn new_connections_go_where_they_are_steered() {
        let old = listen("127.0.0.1:0".parse().unwrap(), 3, 0).unwrap();
        let new = listen(old.address, 2, 3).unwrap();
        let connect = || {
            let all = (0..64).map(|_| TcpStream::connect(old.address).unwrap());
            all.collect::<Vec<_>>()
        };
        for (steering, expected) in [(Steering::TheDead, (64, 0)), (Steering::Us, (0, 64))] {
            new.steer(steering).unwrap();
            let _clients = connect();
            assert_eq!((waiting(&old), waiting(&new)), expected, "{steering:?}");
        }
        new.steer(Steering::All).unwrap();
        let _clients = connect();
        let (at_old, at_new) = (waiting(&old), waiting(&new));
        assert!(at_old > 0 && at_new > 0, "{at_old} and {at_new}");
    }

    #[test]
    fn nobody_is_refused_when_the_dead_close_their_sockets() {
        for steering in [Steering::TheDead, Steering::Us] {
            let old = listen("127.0.0.1:0".parse().unwrap(), 3, 0).unwrap();
            let new = listen(old.address, 2, 3).unwrap();
            new.steer(steering).unwrap();
            drop(old);
            let _clients: Vec<TcpStream> = (0..32)
                .map(|_| TcpStream::connect(new.address).unwrap())
                .collect();
            assert_eq!(waiting(&new), 32, "{steering:?}");
        }
    }
}
