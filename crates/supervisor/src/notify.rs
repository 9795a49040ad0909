//! Tells systemd (or whoever set `NOTIFY_SOCKET`) how the server stands.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The variable that names the socket.
pub(crate) const NOTIFY_VARIABLE: &str = "NOTIFY_SOCKET";

/// Sends one line, such as `READY=1`. That nobody listens is no failure of ours.
pub(crate) fn tell(line: &str) {
    let Ok(name) = std::env::var(NOTIFY_VARIABLE) else {
        return;
    };
    let address = match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&name),
    };
    if let (Ok(address), Ok(socket)) = (address, UnixDatagram::unbound()) {
        let _nobody_listens = socket.send_to_addr(line.as_bytes(), &address);
    }
}

/// Says that the server is about to be replaced; `READY=1` must follow.
pub(crate) fn reloading() {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
    tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
}
