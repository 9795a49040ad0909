//! Tells systemd (or whoever set `NOTIFY_SOCKET`) how the server stands.

use std::os::fd::{AsFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use crate::channel;

/// The variable that names the socket.
pub(crate) const NOTIFY_VARIABLE: &str = "NOTIFY_SOCKET";

/// Sends one line, such as `READY=1`. That nobody listens is no failure of ours.
pub(crate) fn tell(line: &str) {
    tell_with(line, None);
}

/// Sends lines with a file.
pub(crate) fn tell_with(lines: &str, file: Option<BorrowedFd<'_>>) {
    let Ok(name) = std::env::var(NOTIFY_VARIABLE) else {
        return;
    };
    let address = match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&name),
    };
    if let (Ok(address), Ok(socket)) = (address, UnixDatagram::unbound()) {
        let connected = socket.connect_addr(&address);
        let _nobody_listens = connected
            .and_then(|()| channel::send(socket.as_fd(), lines.as_bytes(), file.as_slice()));
    }
}

/// Says that the server is about to be replaced; `READY=1` must follow.
pub(crate) fn reloading() {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
    tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
}
