//! Listening sockets that the service manager made before us, or kept for us while we were away.
//!
//! They come as descriptors from 3 on. Only streams that listen are taken; the rest is closed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use rustix::net::sockopt;

use crate::listener::Listener;
use crate::{notify, sys};

/// What tells of them; meant for this process alone.
pub(crate) const VARIABLES: [&str; 3] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];

/// The first descriptor.
const FIRST: RawFd = 3;

/// More are not looked at.
const SOCKETS_MAX: i32 = 1024;

/// Sockets that nobody has asked for yet, by their address.
pub(crate) type Inherited = BTreeMap<SocketAddr, Vec<OwnedFd>>;

/// Takes the sockets that this process was started with.
pub(crate) fn inherited() -> Inherited {
    let number = |name| std::env::var(name).ok()?.parse::<i32>().ok();
    let [pid, count, _] = VARIABLES;
    let own = i32::try_from(std::process::id()).ok();
    if number(pid).is_none() || number(pid) != own {
        return Inherited::new();
    }
    let count = number(count).unwrap_or(0).clamp(0, SOCKETS_MAX);
    by_address((FIRST..FIRST + count).filter_map(sys::adopt))
}

/// Listening sockets by their address; others are closed.
pub(crate) fn by_address(sockets: impl Iterator<Item = OwnedFd>) -> Inherited {
    let mut all = Inherited::new();
    for socket in sockets {
        if let Some(address) = listening_address(&socket)
            && rustix::io::ioctl_fionbio(&socket, true).is_ok()
        {
            all.entry(address).or_default().push(socket);
        }
    }
    all
}

fn listening_address(socket: &OwnedFd) -> Option<SocketAddr> {
    let is_stream = sockopt::socket_type(socket).ok()? == rustix::net::SocketType::STREAM;
    if !is_stream || !sockopt::socket_acceptconn(socket).ok()? {
        return None;
    }
    SocketAddr::try_from(rustix::net::getsockname(socket).ok()?).ok()
}

/// The listener of an address made of inherited sockets, if there are any: `count` descriptors at
/// least, so that each proxy thread has one, and each socket at least once.
pub(crate) fn claim(
    inherited: &mut Inherited,
    address: SocketAddr,
    count: usize,
) -> Option<Listener> {
    let mut sockets = inherited.remove(&address)?;
    let made = sockets.len();
    while sockets.len() < count {
        sockets.push(sockets[sockets.len() % made].try_clone().ok()?);
    }
    Some(Listener {
        address,
        sockets,
        beside: 0,
    })
}

/// Has the service manager keep an address' sockets for the next start of this service.
pub(crate) fn store(listener: &Listener) {
    for socket in &listener.sockets {
        let line = format!("FDSTORE=1\nFDNAME={}", name(listener.address));
        notify::tell_with(&line, Some(socket.as_fd()));
    }
}

/// Has the service manager forget an address' sockets.
pub(crate) fn forget(listener: &Listener) {
    notify::tell(&format!(
        "FDSTOREREMOVE=1\nFDNAME={}",
        name(listener.address)
    ));
}

/// A name that the service manager takes: no colon.
fn name(address: SocketAddr) -> String {
    format!("listen-{}", address.to_string().replace(':', "."))
}

/// The numbers of all of them.
pub(crate) fn numbers(inherited: &Inherited) -> Vec<RawFd> {
    inherited
        .values()
        .flatten()
        .map(AsRawFd::as_raw_fd)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::fd::OwnedFd;

    #[test]
    fn only_listening_streams_are_taken() {
        let listening = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listening.local_addr().unwrap();
        let connected = TcpStream::connect(address).unwrap();
        let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
        let file = std::fs::File::open("/dev/null").unwrap();
        let all: [OwnedFd; 4] = [
            listening.into(),
            connected.into(),
            datagrams.into(),
            file.into(),
        ];
        let mut taken = by_address(all.into_iter());
        assert_eq!(taken.keys().collect::<Vec<_>>(), [&address]);
        assert!(claim(&mut taken, "127.0.0.1:1".parse().unwrap(), 2).is_none());
        let listener = claim(&mut taken, address, 3).unwrap();
        assert_eq!((listener.address, listener.sockets.len()), (address, 3));
        assert!(taken.is_empty());
        assert_eq!(
            name(address),
            format!("listen-127.0.0.1.{}", address.port())
        );
    }
}
